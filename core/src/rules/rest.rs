//! A rate of 0: the state goes on as with any other, and theta stays.

use crate::fold::Fold;
use crate::overlay::Overlay;
use crate::rule::{Engine, Lane, Rewrite, View};

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

impl<E: Engine> Overlay for Resting<'_, E> {
    type Beneath = E;

    #[inline(always)]
    fn beneath(&mut self) -> &mut E {
        self.0
    }

    #[inline(always)]
    fn pass_over<const S: usize, const K: usize, W: Rewrite<E::Real, S>>(
        &mut self,
        view: View,
        folds: [Fold; K],
        f: impl Fn(Lane<E::Real, S>) -> (W, [E::Real; K]),
    ) -> [E::Real; K] {
        self.0.pass_at(view, folds, |x| {
            let (left, folded) = f(x);
            (left.amend(&x, |_, theta| theta, |slot, _| slot), folded)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::rests;
    use crate::rules::Swats;
    use crate::{Host, Rule};

    #[test]
    fn a_rate_of_either_zero_rests_and_no_other_does() {
        assert!(rests(0.0) && rests(-0.0));
        assert!(!rests(f64::from_bits(1)) && !rests(1e-3));
    }

    #[test]
    fn what_a_rule_keeps_goes_on_at_rest() {
        // Swats, in the step after its switch to a rate of 0.5.
        let (mut theta, [mut m, mut v], mut carried) = ([1.0f64], [[8.0], [4.0]], [0.25, 0.5, 1.0]);
        let rule = Swats {
            lr: 0.0,
            beta2: 0.5,
            ..Swats::default()
        };
        let slots = [&mut m[..], &mut v];
        rule.step(
            3,
            &mut Host::new(&mut theta, &[2.0], slots, &mut carried).unwrap(),
        );
        // The momentum began anew with the gradient, and will not do so again.
        assert_eq!((theta, m, v), ([1.0], [2.0], [4.0]));
        assert_eq!(carried, [0.25, 0.5, 0.0]);
    }
}
