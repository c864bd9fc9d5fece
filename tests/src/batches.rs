//! Checks of batches: none, one, few and a thousand tensors, empty ones among them, over several steps.

use adarem::{AdaRem, AdaRemS, Backend, Scope};

use crate::kit::{Run, several_steps};
use crate::state::State;

pub(crate) fn check<B: Backend>(run: &mut Run<'_, B>) {
    for (name, count, bound) in [
        ("batch of no tensor", 0, 1),
        ("batch of five empty tensors", 5, 1),
        ("batch of one tensor", 1, 20_000),
        ("batch of seven tensors", 7, 9_000),
        ("batch of a thousand tensors", 1_000, 40),
    ] {
        run.check(name, |backend, random, tally| {
            let lengths: Vec<usize> = (0..count).map(|_| random.below(bound)).collect();
            let apart = AdaRem::default();
            let state = State::start(&apart, &lengths, || random.ordinary());
            several_steps(
                backend,
                tally,
                &apart,
                state,
                0..4,
                &mut |_| random.ordinary(),
                "AdaRem",
            )?;
            let together = AdaRemS {
                scope: Scope::Group,
                sphere: Scope::Group,
                ..AdaRemS::default()
            };
            let state = State::start(&together, &lengths, || random.ordinary());
            several_steps(
                backend,
                tally,
                &together,
                state,
                0..4,
                &mut |_| random.ordinary(),
                "AdaRemS",
            )
        });
    }
}
