//! Every rule on the device equals the core's host in every bit that a step writes: where only a GPU could differ. The
//! conformance kit asks the rest.

mod beside;

use adarem::rules::{EachRule, for_each};
use adarem::{Element, Engine, Invalid, Rule, Sgd, Tunable};
use adarem_cuda::ptx::Form;
use adarem_cuda_softdriver::{Machine, Order};
use beside::{Setting, differ};

struct Agrees(Setting);

impl EachRule for Agrees {
    fn rule<R: Tunable + Default + Clone>(&mut self) {
        // With decay, which no default has.
        let mut rule = R::default();
        rule.set("weight_decay", 0.01);
        agrees::<f32, R>(&rule, &self.0);
        agrees::<f64, R>(&rule, &self.0);
    }
}

#[track_caller]
fn agrees<T: Element, R: Rule + Clone>(rule: &R, setting: &Setting) {
    if let Some(difference) = differ::<T, R>(&Machine::claim(), rule, setting) {
        panic!("{}: {difference}, {setting:?}", R::NAME);
    }
}

/// Around a vector, a warp, the accumulators of a block, and a chunk.
#[test]
fn at_lengths_around_everything_that_has_a_length() {
    let lengths = [
        0, 1, 3, 4, 5, 31, 127, 129, 511, 513, 4095, 4096, 4097, 9001,
    ];
    for_each(&mut Agrees(Setting::of(&lengths)));
}

#[test]
fn in_any_order_of_blocks() {
    for order in [Order::Backward, Order::Shuffled(5)] {
        for_each(&mut Agrees(Setting {
            order,
            ..Setting::of(&[9001, 0, 3])
        }));
    }
}

#[test]
fn where_memory_is_not_aligned() {
    for shift in [1, 2, 3] {
        for_each(&mut Agrees(Setting {
            shift,
            ..Setting::of(&[4099, 1])
        }));
    }
}

#[test]
fn with_the_ends_of_passes_in_launches_of_their_own() {
    for_each(&mut Agrees(Setting {
        form: Form::Split,
        ..Setting::of(&[4097, 0, 513])
    }));
}

#[derive(Clone)]
struct OddlyNamed;

impl Rule for OddlyNamed {
    const NAME: &'static str = "2nd try (not-to-be-named) é";
    const SLOTS: usize = 0;
    const CARRIED: usize = 0;

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    fn step<E: Engine>(&self, t: u64, engine: &mut E) {
        Sgd::default().step(t, engine);
    }
}

#[test]
fn under_any_name_of_a_rule() {
    agrees::<f32, _>(&OddlyNamed, &Setting::of(&[4097]));
}
