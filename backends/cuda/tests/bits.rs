//! Every rule on the device equals the core's host in every bit that a step writes.

mod beside;

use adarem::rules::{EachRule, for_each};
use adarem::{Element, Rule, Tunable};
use adarem_cuda::ptx::Form;
use adarem_cuda_softdriver::{Machine, Order};
use beside::{Setting, differ};

/// Lengths around everything that has a length: a vector, a warp, a row of accumulators, a chunk.
const LENGTHS: [usize; 18] = [
    0, 1, 2, 3, 4, 5, 31, 127, 128, 129, 511, 512, 513, 4095, 4096, 4097, 8192, 9001,
];

struct Agrees(Setting);

impl EachRule for Agrees {
    fn rule<R: Tunable + Default + Clone>(&mut self) {
        // Hyper-parameters that no default hides: decay and, where there is one, an eps.
        let mut rule = R::default();
        rule.set("weight_decay", 0.01);
        for rule in [R::default(), rule] {
            agrees::<f32, R>(&rule, &self.0);
            agrees::<f64, R>(&rule, &self.0);
        }
    }
}

#[track_caller]
fn agrees<T: Element, R: Rule + Clone>(rule: &R, setting: &Setting) {
    if let Some(difference) = differ::<T, R>(&Machine::claim(), rule, setting) {
        panic!("{}: {difference}, {setting:?}", R::NAME);
    }
}

#[test]
fn every_rule_agrees() {
    for_each(&mut Agrees(Setting::of(&LENGTHS)));
}

#[test]
fn in_any_order_of_blocks() {
    for order in [Order::Backward, Order::Shuffled(5)] {
        let lengths = [9001, 0, 4096, 20_000, 3];
        for_each(&mut Agrees(Setting {
            order,
            ..Setting::of(&lengths)
        }));
    }
}

#[test]
fn where_memory_is_not_aligned() {
    for shift in [1, 2, 3] {
        for_each(&mut Agrees(Setting {
            shift,
            ..Setting::of(&[4099, 8192, 1])
        }));
    }
}

#[test]
fn with_the_ends_of_passes_in_launches_of_their_own() {
    for_each(&mut Agrees(Setting {
        form: Form::Split,
        ..Setting::of(&LENGTHS)
    }));
}
