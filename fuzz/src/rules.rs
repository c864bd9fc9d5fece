//! Any rule of the library, and any program, on any bits: the plan, the host and the CPU agree with the
//! direct computation in every bit.

use core::fmt::Debug;

use adarem::rules::EachRule;
use adarem::{Element, Optimizer, Setting, Tunable};
use adarem_conformance::programs::Program;
use adarem_conformance::{Bytes, Interpreter, Random, agree};
use adarem_cpu::Cpu;

use crate::native::Native;

/// A rule by number, hyper-parameters of any bits, and numbers of any bits.
pub(crate) fn run(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let mut pick = Pick {
        number: bytes.byte(),
        seen: 0,
        bytes,
    };
    adarem::rules::for_each(&mut pick);
    adarem_adapters::for_each(&mut pick);
}

/// Runs the rule whose number it is.
struct Pick<'b> {
    number: u8,
    seen: u8,
    bytes: Bytes<'b>,
}

impl EachRule for Pick<'_> {
    fn rule<R: Tunable + Default + Clone + PartialEq + Debug + Send + 'static>(&mut self) {
        if self.seen == self.number {
            one::<R>(&mut self.bytes);
        }
        self.seen = self.seen.wrapping_add(1);
    }
}

fn one<R: Tunable + Default + Clone + Debug>(bytes: &mut Bytes<'_>) {
    let t = if bytes.byte().is_multiple_of(2) {
        0
    } else {
        bytes.bits()
    };
    let Some(rule) = tuned::<R>(bytes, t) else {
        return;
    };
    let shape = lengths(bytes);
    let mut numbers = numbers(bytes);
    let steps = t..t.saturating_add(2);
    let plan = agree(
        &mut Interpreter::<f32>::default(),
        &rule,
        &shape,
        steps,
        &mut numbers,
    );
    let alone = agree(
        &mut Native,
        &rule,
        &[37],
        t..t.saturating_add(1),
        &mut numbers,
    );
    for (side, agreed) in [("plan", plan), ("host", alone)] {
        agreed.unwrap_or_else(|error| panic!("{side}, {rule:?}, {shape:?}, step {t}: {error}"));
    }
}

/// The rule with hyper-parameters of any bits, where it takes them for step `t`; whoever asks for an
/// optimizer with any that it refuses is refused.
fn tuned<R: Tunable + Default + Clone + Debug>(bytes: &mut Bytes<'_>, t: u64) -> Option<R> {
    let mut rule = R::default();
    let mut names = Vec::new();
    rule.settings(&mut |name, _| names.push(name));
    for name in names {
        if bytes.byte().is_multiple_of(2) {
            continue;
        }
        let value = bytes.number();
        let mut changed = rule.clone();
        changed.settings(&mut |field, setting| {
            if field == name {
                Setting::set(setting, value);
            }
        });
        let refused = changed.check().err();
        let made = Optimizer::new(changed.clone(), &mut Interpreter::<f32>::default(), &[1]);
        assert_eq!(made.is_err(), refused.is_some(), "{changed:?}");
        if let Some(invalid) = refused {
            assert!(!invalid.to_string().is_empty());
        } else {
            rule = changed;
        }
    }
    rule.check_at(t).is_ok().then_some(rule)
}

/// A program, on the interpreter in both types and on the CPU natively.
pub(crate) fn programs(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let shape = lengths(&mut bytes);
    let program = Program::read(&mut bytes);
    let (mut of_f32, mut of_f64) = (numbers(&bytes), numbers(&bytes));
    let agreed = [
        agree(
            &mut Interpreter::<f32>::default(),
            &program,
            &shape,
            0..2,
            &mut of_f32,
        ),
        agree(
            &mut Interpreter::<f64>::default(),
            &program,
            &shape,
            0..2,
            &mut of_f64,
        ),
        agree(&mut Cpu::<f32>::new(), &program, &shape, 0..2, &mut of_f32),
    ];
    for (backend, agreed) in ["interpreter in f32", "interpreter in f64", "cpu"]
        .iter()
        .zip(agreed)
    {
        agreed.unwrap_or_else(|error| panic!("{backend}: {program:?} on {shape:?}: {error}"));
    }
}

/// A few tensors, none or some of them empty.
pub(crate) fn lengths(bytes: &mut Bytes<'_>) -> Vec<usize> {
    (0..bytes.below(4)).map(|_| bytes.below(70)).collect()
}

/// The numbers that the rest of these bytes are; when they are used up, random ones.
pub(crate) fn numbers<'b, T: Element>(bytes: &Bytes<'b>) -> impl FnMut() -> T + use<'b, T> {
    let mut bytes = bytes.clone();
    let seed = bytes
        .clone()
        .rest()
        .iter()
        .fold(1u64, |seed, &b| seed.wrapping_mul(257) + u64::from(b));
    let mut random = Random::new(seed);
    move || {
        if bytes.are_used_up() {
            random.any()
        } else {
            bytes.number()
        }
    }
}
