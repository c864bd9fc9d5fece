//! Plans that were once evaluated wrongly.

use adarem::{Engine, Invalid, Lane, Rule};
use adarem_conformance::{Interpreter, agree};

/// Its first pass copies one carried scalar, its second reads the other, which changes in this step.
struct ReadsLate;

impl Rule for ReadsLate {
    const NAME: &'static str = "reads_late";
    const SLOTS: usize = 2;
    const CARRIED: usize = 2;

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    fn step<E: Engine>(&self, _: u64, e: &mut E) {
        let (copied, read) = (e.carried::<0>(), e.carried::<1>());
        e.map(|x| {
            let [_, kept] = x.slot;
            let slot = [copied, kept];
            Lane { slot, ..x }
        });
        e.map(|x| {
            let [copy, _] = x.slot;
            let slot = [copy, read - x.grad];
            Lane { slot, ..x }
        });
        e.carry::<1>(copied);
    }
}

/// Found by fuzzing: the pass that copied a carried scalar was taken for the last that read any.
#[test]
fn a_carried_scalar_is_written_after_its_last_reader() {
    let mut numbers = (1..).map(|x| x as f32);
    let backend = &mut Interpreter::<f32>::default();
    let agreed = agree(backend, &ReadsLate, &[2, 0, 3], 0..2, &mut || {
        numbers.next().unwrap_or(0.0)
    });
    assert_eq!(agreed, Ok(()));
}
