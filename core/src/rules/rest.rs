//! A rate of 0: the state goes on as with any other, and theta stays.

use crate::fold::Fold;
use crate::rule::{Engine, Lane};

/// Whether a rate is 0. Asked of its bits, for the reason that [`given`](super::given) has.
#[inline(always)]
pub(super) fn rests(lr: f64) -> bool {
    lr.to_bits() << 1 == 0
}

/// A rule's step as its equations have it.
pub(super) trait Walk {
    fn walk<E: Engine>(&self, t: u64, e: &mut E);
}

/// Step `t` of `rule`, or, where it rests, all of it but theta.
///
/// The equations alone would not leave theta as it is: 0 times a step that has overflowed is NaN, and of a
/// theta of -0 a step of -0 makes +0. Decided here, not in every lane.
#[inline(always)]
pub(super) fn rest_or_walk<E: Engine>(rests: bool, rule: &impl Walk, t: u64, e: &mut E) {
    if rests {
        rule.walk(t, &mut Resting(e));
    } else {
        rule.walk(t, e);
    }
}

/// An engine that leaves theta as it is.
pub(super) struct Resting<'a, E>(pub(super) &'a mut E);

impl<E: Engine> Engine for Resting<'_, E> {
    type Real = E::Real;
    const SLOTS: usize = E::SLOTS;
    const CARRIED: usize = E::CARRIED;

    #[inline(always)]
    fn uniform(&mut self, x: f64) -> E::Real {
        self.0.uniform(x)
    }

    #[inline(always)]
    fn carried_at(&mut self, k: usize) -> E::Real {
        self.0.carried_at(k)
    }

    #[inline(always)]
    fn carry_at(&mut self, k: usize, x: E::Real) {
        self.0.carry_at(k, x);
    }

    #[inline(always)]
    fn pass_at<const S: usize, const K: usize>(
        &mut self,
        first: usize,
        folds: [Fold; K],
        f: impl Fn(Lane<E::Real, S>) -> (Lane<E::Real, S>, [E::Real; K]),
    ) -> [E::Real; K] {
        self.0.pass_at(first, folds, |x| {
            let (lane, folded) = f(x);
            let theta = x.theta;
            (Lane { theta, ..lane }, folded)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::rests;
    use crate::rules::AdagradNorm;
    use crate::{Host, Rule};

    #[test]
    fn a_rate_of_either_zero_rests_and_no_other_does() {
        assert!(rests(0.0) && rests(-0.0));
        assert!(!rests(f64::from_bits(1)) && !rests(1e-3));
    }

    #[test]
    fn what_a_rule_carries_goes_on_at_rest() {
        let after_three_steps = |lr| {
            let rule = AdagradNorm {
                lr,
                ..AdagradNorm::default()
            };
            let (mut theta, mut carried) = ([1.0f32, 2.0], [rule.carried(0).start as f32]);
            for t in 0..3 {
                let grad = [0.5, -1.0];
                let slots: [&mut [f32]; 0] = [];
                rule.step(
                    t,
                    &mut Host::new(&mut theta, &grad, slots, &mut carried).unwrap(),
                );
            }
            (theta, carried)
        };
        let ((rested, at_rest), (moved, on_the_way)) =
            (after_three_steps(0.0), after_three_steps(0.1));
        assert_eq!((rested, at_rest), ([1.0, 2.0], on_the_way));
        assert!(moved != rested && on_the_way[0] > 3.0);
    }
}
