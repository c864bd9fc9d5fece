//! One file per optimizer: the algorithm box first, then the rule.

mod adam;
mod adarem;
mod adarem_s;
mod decay;
mod moments;
mod resilience;
mod sgd;

use core::fmt::Debug;

use crate::tunable::Tunable;

pub use adam::{Adam, AdamW, AmsGrad};
pub use adarem::AdaRem;
pub use adarem_s::AdaRemS;
pub use sgd::{Sgd, SgdM};

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
    each.rule::<Adam>();
    each.rule::<AdamW>();
    each.rule::<AdaRem>();
    each.rule::<AdaRemS>();
    each.rule::<AmsGrad>();
    each.rule::<Sgd>();
    each.rule::<SgdM>();
}

/// Whether the hyper-parameter `x` is in use: whether an `f32` tells it from 0.
///
/// Asked in `f32` because a processor without doubles calls a function for each comparison of two, and
/// compilers have been seen to move that call into the loop over lanes.
#[inline(always)]
fn given(x: f64) -> bool {
    x as f32 != 0.0
}
