//! Every schedule with parameters of any bits, in any step: refused by name, or a number; the same number
//! whenever it is asked for; and between its ends where it has two.

use adarem::Invalid;
use adarem_adapters::schedule::{
    Anneal, Cosine, Cycle, Cyclic, Exponential, Geometric, InversePower, InverseSqrt, LiArora,
    Linear, MultiStep, Noam, OneCycle, Plateau, Polynomial, RangeTest, Schedule, StepDecay, Tanh,
    WarmRestarts, WarmupStableDecay,
};
use adarem_conformance::Bytes;

pub(crate) fn run(bytes: &[u8]) {
    let bytes = &mut Bytes::new(bytes);
    let (from, to, other) = (
        bytes.number::<f64>(),
        bytes.number::<f64>(),
        bytes.number::<f64>(),
    );
    let ends = Some((from.min(to), from.max(to)));
    let [a, b, c] = core::array::from_fn(|_| steps(bytes));
    let shape = if a % 2 == 0 {
        Anneal::Cosine
    } else {
        Anneal::Linear
    };
    match bytes.below(18) {
        0 => check(InverseSqrt { start: from }, None, bytes),
        1 => check(
            InversePower {
                start: from,
                power: to,
            },
            None,
            bytes,
        ),
        2 => check(Linear { from, to, steps: a }, ends, bytes),
        3 => check(Cosine { from, to, steps: a }, ends, bytes),
        4 => check(
            Polynomial {
                from,
                to,
                steps: a,
                power: other,
            },
            ends,
            bytes,
        ),
        5 => check(
            Tanh {
                lower: other,
                ..Tanh::new(from, to, a)
            },
            ends,
            bytes,
        ),
        6 => check(
            Exponential {
                start: from,
                factor: to,
            },
            None,
            bytes,
        ),
        7 => check(
            StepDecay {
                start: from,
                factor: to,
                every: a,
            },
            None,
            bytes,
        ),
        8 => check(
            MultiStep {
                start: from,
                factor: to,
                milestones: [a, b, c],
            },
            None,
            bytes,
        ),
        9 => check(
            Geometric {
                start: from,
                factor: to,
                first: a,
                growth: b,
            },
            None,
            bytes,
        ),
        10 => {
            let cycle = [Cycle::Same, Cycle::Halving, Cycle::Decaying(other)][(b % 3) as usize];
            check(
                Cyclic {
                    base: from,
                    max: to,
                    half: a,
                    cycle,
                },
                None,
                bytes,
            );
        }
        11 => check(
            WarmRestarts {
                from,
                to,
                first: a,
                growth: b,
            },
            ends,
            bytes,
        ),
        12 => {
            let cycle = OneCycle {
                start: from,
                peak: to,
                end: from,
                steps: a,
                rise: other,
                shape,
            };
            check(cycle, ends, bytes);
        }
        13 => check(
            RangeTest {
                from,
                to,
                steps: a,
                linear: b % 2 == 0,
            },
            ends,
            bytes,
        ),
        14 => check(
            Noam {
                scale: from,
                width: a,
                warmup: b,
            },
            None,
            bytes,
        ),
        15 => {
            let (peak, end) = (from, to);
            check(
                WarmupStableDecay {
                    peak,
                    end,
                    warmup: a,
                    stable: b,
                    decay: c,
                    shape,
                },
                None,
                bytes,
            );
        }
        16 => {
            let (lr, weight_decay, momentum) = (from, to, other);
            check(
                LiArora {
                    lr,
                    weight_decay,
                    momentum,
                },
                None,
                bytes,
            );
        }
        _ => plateau(from, to, other, bytes),
    }
}

/// A number of steps: small, or of any bits.
fn steps(bytes: &mut Bytes<'_>) -> u64 {
    match bytes.byte() {
        255 => bytes.bits(),
        few => few.into(),
    }
}

fn check<S: Schedule + Clone + core::fmt::Debug>(
    schedule: S,
    ends: Option<(f64, f64)>,
    bytes: &mut Bytes<'_>,
) {
    if let Err(Invalid { name, must, .. }) = schedule.check() {
        assert!(!name.is_empty() && !must.is_empty());
        return;
    }
    let (warmup, first) = (steps(bytes), steps(bytes));
    let combined = schedule.clone().warmed_up(warmup).then(first, 0.5);
    assert!(combined.check().is_ok());
    for t in [
        0,
        1,
        u64::MAX - 1,
        u64::MAX,
        first,
        warmup,
        steps(bytes),
        steps(bytes),
    ] {
        let value = schedule.at(t);
        assert!(!value.is_nan(), "{schedule:?} is NaN in step {t}");
        assert_eq!(
            value.to_bits(),
            schedule.at(t).to_bits(),
            "{schedule:?} in step {t}"
        );
        if let Some((low, high)) = ends {
            // A rounding error beyond the ends; below the normal range it does not shrink with them.
            let room = 1e-14 * low.abs().max(high.abs()) + f64::from_bits(4);
            let between = low - room <= value && value <= high + room;
            assert!(between, "{schedule:?} is {value:e} in step {t}");
        }
        let combined = combined.at(t);
        assert!(
            !combined.is_nan(),
            "{schedule:?} behind {warmup} is NaN in step {t}"
        );
    }
}

/// A plateau never raises its rate, whatever losses it sees.
fn plateau(lr: f64, factor: f64, threshold: f64, bytes: &mut Bytes<'_>) {
    let patience = bytes.below(4) as u64;
    let mut plateau = Plateau {
        factor,
        threshold,
        patience,
        ..Plateau::new(lr)
    };
    if plateau.check().is_err() {
        return;
    }
    let mut rate = lr.max(plateau.least);
    while !bytes.are_used_up() {
        let next = plateau.observe(bytes.number());
        assert!(
            next <= rate && next > 0.0 || next == plateau.least,
            "from {rate:e} to {next:e}"
        );
        rate = next;
    }
}
