//! Checks of the policy for gradients that are not finite: one anywhere decides about the whole step.

use adarem::{AdaRem, AdaRemS, Backend, Rule};
use adarem_adapters::{Guarded, NonFinite};

use crate::direct::{self, rounded};
use crate::kit::{Run, Stop, Tally, ensure};
use crate::number::{Random, ulps};
use crate::state::{Door, Loaded, State};

pub(crate) fn check<B: Backend>(run: &mut Run<'_, B>) {
    for (name, policy) in [
        ("non-finite gradient is propagated", NonFinite::Propagate),
        ("non-finite gradient skips the step", NonFinite::Skip),
        (
            "non-finite gradient refuses steps until cleared",
            NonFinite::Refuse,
        ),
    ] {
        run.check(name, |backend, random, tally| {
            let infinity: B::Elem = num_traits::Float::infinity();
            for poison in [infinity, -infinity, num_traits::Float::nan()] {
                for tensor in [0, 2] {
                    let place = (tensor, random.below(LENGTHS[tensor]));
                    let one = Guarded::new(AdaRem::default(), policy);
                    poisoned(backend, random, tally, one, poison, place)?;
                    let two = Guarded::new(AdaRemS::default(), policy);
                    poisoned(backend, random, tally, two, poison, place)?;
                }
            }
            Ok(())
        });
    }
}

const LENGTHS: [usize; 3] = [900, 0, 5];

/// Six steps: the third has one gradient that is not finite, and before the fifth a refusal is cleared.
fn poisoned<B: Backend, R: Rule + Copy>(
    backend: &mut B,
    random: &mut Random,
    tally: &mut Tally,
    mut rule: Guarded<R>,
    poison: B::Elem,
    (tensor, lane): (usize, usize),
) -> Result<(), Stop> {
    let policy = rule.policy;
    let mut want = State::start(&rule, &LENGTHS, || random.ordinary());
    let mut loaded = Loaded::new(backend, &want)?;
    for t in 0..6 {
        want.draw_gradients(|| random.ordinary());
        if t == 2 {
            want.grad[tensor][lane] = poison;
        }
        if t == 4 {
            rule.clear(t);
        }
        loaded.write_gradients(backend, &want)?;
        let before = loaded.read(backend, &want)?;
        direct::step(&rule, t, &mut want);
        loaded.step(
            backend,
            &rule,
            t,
            if t % 2 == 0 { Door::Step } else { Door::Run },
        )?;
        let after = loaded.read(backend, &want)?;
        let note = || {
            format!(
                "{policy:?} of {}, after step {t}, {poison:?} in step 2",
                R::NAME
            )
        };
        tally.compare(&want, &after, note);

        // And what the words promise, whatever the host's code does.
        let skips = match policy {
            NonFinite::Propagate => false,
            NonFinite::Skip => t == 2,
            NonFinite::Refuse => t == 2 || t == 3,
        };
        let kept = before.kept(&after);
        ensure(
            kept == skips,
            format!("{}: the step was taken: {}", note(), !kept),
        )?;
        let skipped = match policy {
            NonFinite::Propagate => 0,
            NonFinite::Skip => u8::from(t >= 2),
            NonFinite::Refuse => u8::from(t >= 2) + u8::from(t >= 3),
        };
        let counted = after.carried[Guarded::<R>::SKIPPED];
        let right = ulps(counted, rounded(skipped.into())) == 0;
        ensure(
            right,
            format!(
                "{}: {counted} skipped steps are counted, not {skipped}",
                note()
            ),
        )?;
    }
    Ok(())
}
