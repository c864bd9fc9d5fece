//! One file per optimizer: the algorithm box first, then the rule.
//!
//! *A rate of 0.* Every rule but [`Rprop`] takes it, so a schedule may begin and end at 0. Theta then keeps its
//! bits, whatever the gradient is, and the state goes on as with any other rate; where a rule has more to say of
//! it, it does.

mod adabound;
mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod adarem;
mod adarem8;
mod adarem_s;
mod adashift;
mod decay;
mod lamb;
mod lion;
mod moments;
mod nadam;
mod nag;
mod nd_adam;
mod nosadam;
mod padam;
mod radam;
mod resilience;
mod rest;
mod rmsprop;
mod rprop;
mod sgd;
mod signed;
mod swats;
mod yogi;

use core::fmt::Debug;

use crate::tunable::Tunable;

pub use adabound::{AdaBound, AmsBound};
pub use adadelta::Adadelta;
pub use adagrad::{Adagrad, AdagradNorm, ScAdagrad, ScRmsProp};
pub use adam::{Adam, AdamW, AmsGrad};
pub use adamax::Adamax;
pub use adarem::AdaRem;
pub use adarem_s::AdaRemS;
pub use adarem8::AdaRem8;
pub use adashift::{AdaShift, AdaShiftEach};
pub use lamb::Lamb;
pub use lion::Lion;
pub use nadam::Nadam;
pub use nag::Nag;
pub use nd_adam::NdAdam;
pub use nosadam::NosAdam;
pub use padam::Padam;
pub use radam::RAdam;
pub use rmsprop::{RmsProp, RmsPropCentered, RmsPropM};
pub use rprop::Rprop;
pub use sgd::{Sgd, SgdM, SgdW};
pub use swats::Swats;
pub use yogi::Yogi;

/// Something done with every rule of this library, whatever its type: see [`for_each`].
pub trait EachRule {
    /// Called once for each rule.
    fn rule<R: Tunable + Default + Clone + PartialEq + Debug + Send + 'static>(&mut self);
}

/// Calls `each` with every rule of this library, in the order of the alphabet.
///
/// ```
/// use adarem::rules::{EachRule, for_each};
///
/// struct Names(Vec<&'static str>);
/// impl EachRule for Names {
///     fn rule<R: adarem::Tunable>(&mut self) {
///         self.0.push(R::NAME);
///     }
/// }
/// let mut names = Names(Vec::new());
/// for_each(&mut names);
/// assert!(names.0.contains(&"adarem") && names.0.is_sorted());
/// ```
pub fn for_each(each: &mut impl EachRule) {
    each.rule::<AdaBound>();
    each.rule::<Adadelta>();
    each.rule::<Adagrad>();
    each.rule::<AdagradNorm>();
    each.rule::<Adam>();
    each.rule::<Adamax>();
    each.rule::<AdamW>();
    each.rule::<AdaRem>();
    each.rule::<AdaRemS>();
    each.rule::<AdaShift>();
    each.rule::<AdaShiftEach>();
    each.rule::<AmsBound>();
    each.rule::<AmsGrad>();
    each.rule::<Lamb>();
    each.rule::<Lion>();
    each.rule::<Nadam>();
    each.rule::<Nag>();
    each.rule::<NdAdam>();
    each.rule::<NosAdam>();
    each.rule::<Padam>();
    each.rule::<RAdam>();
    each.rule::<RmsProp>();
    each.rule::<RmsPropCentered>();
    each.rule::<RmsPropM>();
    each.rule::<Rprop>();
    each.rule::<ScAdagrad>();
    each.rule::<ScRmsProp>();
    each.rule::<Sgd>();
    each.rule::<SgdM>();
    each.rule::<SgdW>();
    each.rule::<Swats>();
    each.rule::<Yogi>();
}

/// Whether the hyper-parameter `x` is in use: whether an `f32` tells it from 0.
///
/// Asked in `f32` because a processor without doubles calls a function for each comparison of two, and
/// compilers have been seen to move that call into the loop over lanes.
#[inline(always)]
fn given(x: f64) -> bool {
    x as f32 != 0.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{EachRule, for_each};
    use crate::{MAX_SLOTS, Tunable};

    /// They stand in checkpoints, where they tell one rule's state from another's.
    #[test]
    fn every_number_that_a_rule_keeps_has_a_name_of_its_own() {
        struct Names(BTreeSet<&'static str>);
        impl EachRule for Names {
            fn rule<R: Tunable + Default>(&mut self) {
                let rule = R::default();
                let slots = (0..R::SLOTS).map(|k| rule.slot(k).name);
                let mut names: BTreeSet<_> = slots.collect();
                names.extend((0..R::CARRIED).map(|k| rule.carried(k).name));
                assert_eq!(names.len(), R::SLOTS + R::CARRIED, "{}: {names:?}", R::NAME);
                assert!(!names.contains(""), "{}", R::NAME);
                assert!(self.0.insert(R::NAME), "two rules are called {}", R::NAME);
            }
        }
        let mut names = Names(BTreeSet::new());
        for_each(&mut names);
        assert!(names.0.contains("adarem") && names.0.contains("adarem_s"));
    }

    /// Nothing panics, so neither does a question for state that there is not.
    #[test]
    fn state_that_a_rule_does_not_keep_has_the_name_of_some_that_it_does() {
        struct Beyond;
        impl EachRule for Beyond {
            fn rule<R: Tunable + Default>(&mut self) {
                let rule = R::default();
                for k in [MAX_SLOTS, usize::MAX] {
                    assert_ne!(rule.slot(k).name, "", "{}", R::NAME);
                    assert_ne!(rule.carried(k).name, "", "{}", R::NAME);
                }
            }
        }
        for_each(&mut Beyond);
    }
}
