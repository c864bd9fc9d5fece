//! Any schedule with parameters of any bits, in any step: no panic, and either refused by name or a number; the same
//! number whenever it is asked for; and between its ends where it has two.

use core::fmt::Debug;

use adarem::Invalid;
use adarem_adapters::schedule::{
    Anneal, Cosine, Cycle, Cyclic, Exponential, Geometric, InversePower, InverseSqrt, LiArora,
    Linear, MultiStep, Noam, OneCycle, Plateau, Polynomial, RangeTest, Schedule, StepDecay, Tanh,
    WarmRestarts, WarmupStableDecay,
};

use crate::number::Bytes;

/// Where the numbers of a schedule lie that is not refused.
#[derive(Clone, Copy)]
enum Reach {
    /// Between its ends.
    Between(f64, f64),
    /// Somewhere, unless its parameters are enormous.
    Finite,
    /// Anywhere: it may grow beyond all numbers.
    Growing,
}

/// Draws a schedule and the steps it is asked for.
///
/// # Panics
/// Where it is not as it should be.
pub fn check(bytes: &[u8]) {
    let bytes = &mut Bytes::new(bytes);
    let (from, to, other) = (
        bytes.number::<f64>(),
        bytes.number::<f64>(),
        bytes.number::<f64>(),
    );
    let moderate = [from, to, other].iter().all(|x| x.abs() < 1e150);
    let finite = if moderate {
        Reach::Finite
    } else {
        Reach::Growing
    };
    let between = Reach::Between(from.min(to), from.max(to));
    let [a, b, c] = core::array::from_fn(|_| steps(bytes));
    let shape = if a % 2 == 0 {
        Anneal::Cosine
    } else {
        Anneal::Linear
    };
    match bytes.below(18) {
        0 => one(InverseSqrt { start: from }, finite, bytes),
        1 => one(
            InversePower {
                start: from,
                power: to,
            },
            finite,
            bytes,
        ),
        2 => one(Linear { from, to, steps: a }, between, bytes),
        3 => one(Cosine { from, to, steps: a }, between, bytes),
        4 => one(
            Polynomial {
                from,
                to,
                steps: a,
                power: other,
            },
            between,
            bytes,
        ),
        5 => one(
            Tanh {
                lower: other,
                ..Tanh::new(from, to, a)
            },
            between,
            bytes,
        ),
        6 => one(
            Exponential {
                start: from,
                factor: to,
            },
            Reach::Growing,
            bytes,
        ),
        7 => one(
            StepDecay {
                start: from,
                factor: to,
                every: a,
            },
            Reach::Growing,
            bytes,
        ),
        8 => one(
            MultiStep {
                start: from,
                factor: to,
                milestones: [a, b, c],
            },
            Reach::Growing,
            bytes,
        ),
        9 => one(
            Geometric {
                start: from,
                factor: to,
                first: a,
                growth: b,
            },
            Reach::Growing,
            bytes,
        ),
        10 => {
            let cycle = [Cycle::Same, Cycle::Halving, Cycle::Decaying(other)][(b % 3) as usize];
            one(
                Cyclic {
                    base: from,
                    max: to,
                    half: a,
                    cycle,
                },
                if b % 3 == 2 { Reach::Growing } else { finite },
                bytes,
            );
        }
        11 => one(
            WarmRestarts {
                from,
                to,
                first: a,
                growth: b,
            },
            between,
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
            one(cycle, between, bytes);
        }
        13 => one(
            RangeTest {
                from,
                to,
                steps: a,
                linear: b % 2 == 0,
            },
            between,
            bytes,
        ),
        14 => one(
            Noam {
                scale: from,
                width: a,
                warmup: b,
            },
            finite,
            bytes,
        ),
        15 => {
            let (peak, end) = (from, to);
            one(
                WarmupStableDecay {
                    peak,
                    end,
                    warmup: a,
                    stable: b,
                    decay: c,
                    shape,
                },
                finite,
                bytes,
            );
        }
        16 => {
            let (lr, weight_decay, momentum) = (from, to, other);
            let rate = LiArora {
                lr,
                weight_decay,
                momentum,
            };
            rate.first_buffer();
            rate.last_below(bytes.number());
            one(rate, Reach::Growing, bytes);
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

/// Asks one schedule for a few steps, one that is refused, too.
fn one<S: Schedule + Clone + Debug>(schedule: S, reach: Reach, bytes: &mut Bytes<'_>) {
    let refused = schedule.check().err();
    if let Some(Invalid { name, must, .. }) = refused {
        assert!(!name.is_empty() && !must.is_empty());
    }
    let (warmup, first) = (steps(bytes), steps(bytes));
    let combined = schedule.clone().warmed_up(warmup).then(first, 0.5);
    assert_eq!(combined.check().is_err(), refused.is_some());
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
        let (value, combined) = (schedule.at(t), combined.at(t));
        assert_eq!(
            value.to_bits(),
            schedule.at(t).to_bits(),
            "{schedule:?} in step {t}"
        );
        if refused.is_some() {
            continue;
        }
        assert!(!value.is_nan(), "{schedule:?} is NaN in step {t}");
        assert!(
            !combined.is_nan(),
            "{schedule:?} behind {warmup} is NaN in step {t}"
        );
        let lies = match reach {
            Reach::Between(low, high) => {
                // A rounding error beyond the ends; below the normal range it does not shrink with them.
                let room = 1e-14 * low.abs().max(high.abs()) + f64::from_bits(4);
                low - room <= value && value <= high + room
            }
            Reach::Finite => value.is_finite(),
            Reach::Growing => true,
        };
        assert!(lies, "{schedule:?} is {value:e} in step {t}");
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
    let refused = plateau.check().is_err();
    let mut rate = lr.max(plateau.least);
    while !bytes.are_used_up() {
        let next = plateau.observe(bytes.number());
        assert!(
            refused || next <= rate && next > 0.0 || next == plateau.least,
            "from {rate:e} to {next:e}"
        );
        rate = next;
    }
}
