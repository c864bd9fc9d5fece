//! Checks of both folds, over a tensor and over the group, at every length where the tree changes shape.

use adarem::{Backend, CHUNK, Element, Engine, Fold, Invalid, Lane, Rule, WIDTH};

use crate::kit::{Run, one_step};
use crate::number::{Random, spicy};
use crate::state::State;

/// Just beyond the length at which the partials of a tensor outnumber the accumulators.
pub(crate) const TWO_LEVELS: usize = CHUNK * WIDTH + CHUNK + 1;

/// Both folds, over both scopes, carried; and used by a second pass.
struct Folds;

impl Rule for Folds {
    const NAME: &'static str = "folds";
    const SLOTS: usize = 1;
    const CARRIED: usize = 4;

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    fn step<E: Engine>(&self, _: u64, e: &mut E) {
        let folds = [
            Fold::SUM,
            Fold::MAX_ABS,
            Fold::SUM.over_group(),
            Fold::MAX_ABS.over_group(),
        ];
        let [sum, largest, group_sum, group_largest] = e.pass(folds, |x: Lane<_, 0>| {
            (x, [x.theta, x.grad, x.grad, x.theta])
        });
        e.map(|x| {
            let [s] = x.slot;
            Lane {
                theta: x.theta - sum,
                slot: [s + group_sum],
                ..x
            }
        });
        e.carry::<0>(sum);
        e.carry::<1>(largest);
        e.carry::<2>(group_sum);
        e.carry::<3>(group_largest);
    }
}

/// Lengths one below, at and one above every place where the tree changes shape.
pub fn lengths_around_the_tree() -> Vec<usize> {
    let places = [
        2,
        4,
        8,
        16,
        32,
        64,
        128,
        256,
        WIDTH,
        2 * WIDTH,
        3 * WIDTH,
        CHUNK - WIDTH,
        CHUNK,
        CHUNK + WIDTH,
        2 * CHUNK,
        5 * CHUNK,
    ];
    let mut lengths: Vec<usize> = places.iter().flat_map(|&n| [n - 1, n, n + 1]).collect();
    lengths.extend([0, 2 * CHUNK + 777]);
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

pub(crate) fn check<B: Backend>(run: &mut Run<'_, B>) {
    let largest = run.largest();
    let lengths = lengths_around_the_tree();
    run.check("folds of one tensor", |backend, random, tally| {
        for &len in lengths.iter().filter(|&&len| len <= largest) {
            let state = State::start(&Folds, &[len], || random.ordinary());
            one_step(backend, tally, &Folds, 0, &state, &format!("{len} lanes"))?;
        }
        Ok(())
    });
    run.check("folds of a batch", |backend, random, tally| {
        let mut lengths = lengths.clone();
        lengths.retain(|&len| len <= largest);
        shuffle(&mut lengths, random);
        let state = State::start(&Folds, &lengths, || random.ordinary());
        one_step(
            backend,
            tally,
            &Folds,
            0,
            &state,
            &format!("lengths {lengths:?}"),
        )
    });
    run.check(
        "folds over a group of more tensors than accumulators",
        |backend, random, tally| {
            let lengths: Vec<usize> = (0..2 * WIDTH + 3).map(|_| random.below(3)).collect();
            let state = State::start(&Folds, &lengths, || random.ordinary());
            one_step(backend, tally, &Folds, 0, &state, "1027 tensors")
        },
    );
    if largest >= TWO_LEVELS {
        run.check(
            "folds of more partials than accumulators",
            |backend, random, tally| {
                let state = State::start(&Folds, &[TWO_LEVELS], || random.ordinary());
                one_step(
                    backend,
                    tally,
                    &Folds,
                    0,
                    &state,
                    &format!("{TWO_LEVELS} lanes"),
                )
            },
        );
    }
    run.check("folds of any bits", |backend, random, tally| {
        for len in [1, 2, 17, WIDTH + 1, CHUNK + 1] {
            let state = State::start(&Folds, &[len, 2], || random.any());
            one_step(backend, tally, &Folds, 0, &state, &format!("{len} lanes"))?;
            let subnormal = B::Elem::from_le(0x7f_ffff);
            let state = State::start(&Folds, &[len, 2], || match random.below(3) {
                0 => -num_traits::zero::<B::Elem>(),
                1 => subnormal,
                _ => -B::Elem::from_le(random.bits() & 0x7f_ffff),
            });
            one_step(
                backend,
                tally,
                &Folds,
                0,
                &state,
                &format!("{len} subnormal lanes"),
            )?;
        }
        Ok(())
    });
    run.check("folds with one spicy number", |backend, random, tally| {
        for spice in spicy::<B::Elem>() {
            let len = [1, 3, 600, CHUNK + 1][random.below(4)];
            let mut state = State::start(&Folds, &[len, 2], || random.ordinary());
            let at = random.below(len);
            (state.theta[0][at], state.grad[0][at]) = (spice, spice);
            one_step(
                backend,
                tally,
                &Folds,
                0,
                &state,
                &format!("{spice:?} at {at} of {len}"),
            )?;
        }
        Ok(())
    });
}

fn shuffle<T>(list: &mut [T], random: &mut Random) {
    for i in (1..list.len()).rev() {
        list.swap(i, random.below(i + 1));
    }
}
