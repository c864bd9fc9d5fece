//! Any rule of the library, and any program, on any bits: the plan, the host and the CPU agree with the
//! direct computation in every bit.

use core::fmt::Debug;

use adarem::Tunable;
use adarem::rules::EachRule;
use adarem_conformance::cases::{self, Tuned};
use adarem_conformance::programs::Program;
use adarem_conformance::{Bytes, Interpreter, agree};
use adarem_cpu::Cpu;

use crate::native::Native;

/// A rule by number, hyper-parameters of any bits, and numbers of any bits.
pub(crate) fn run(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    cases::rule(bytes.byte(), &mut Steps { bytes });
}

/// Two steps of a rule.
struct Steps<'b> {
    bytes: Bytes<'b>,
}

impl EachRule for Steps<'_> {
    fn rule<R: Tunable + Default + Clone + PartialEq + Debug + Send + 'static>(&mut self) {
        let tuned = Tuned::<R>::read(&mut self.bytes);
        tuned.check();
        let Tuned { rule, t, .. } = tuned;
        if rule.check_at(t).is_err() {
            return;
        }
        let shape = cases::lengths(&mut self.bytes);
        let mut numbers = cases::numbers(&self.bytes);
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
}

/// A program, on the interpreter in both types and on the CPU natively.
pub(crate) fn programs(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let shape = cases::lengths(&mut bytes);
    let program = Program::read(&mut bytes);
    let (mut of_f32, mut of_f64) = (cases::numbers(&bytes), cases::numbers(&bytes));
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
