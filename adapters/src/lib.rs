//! What is put around an optimizer: schedules, wrappers, radius tracking and measures. No `std`, no heap.
//!
//! *Schedules.* [`schedule`] holds learning rates (and lambdas, and momenta) as pure functions of the step;
//! [`Scheduled`] attaches one to a rule.
//!
//! *Wrappers.* [`ClipValue`] and [`ClipNorm`] bound the gradient, [`Guarded`] says what becomes of gradients that
//! are not finite, [`Lookahead`] and [`Averaged`] keep other weights beside theta, [`Sphere`] and [`Tangent`] are for
//! weights whose scale does not matter, [`HalfState`] halves the state. (Projection into a region is in [`adarem::projection`].) A wrapper is itself a
//! [`Rule`](adarem::Rule), so wrappers nest, and run on every backend. Its state stands behind that of the rule it
//! wraps, and its name around the rule's: `guarded(clip_norm(adarem))`. To write one, see [`Overlay`](adarem::Overlay).
//!
//! *Measures.* [`Oscillation`] measures Q, the path length per displacement; [`RegretBound`] what the regret cannot
//! exceed; [`probe_scale`] finds the tensors for a sphere, and [`RadiusTracker`] is the sphere's arithmetic for those who
//! take their own steps.
#![no_std]
#![forbid(unsafe_code)]

mod averaged;
mod clip;
mod gradient;
mod guarded;
mod half_state;
mod lookahead;
mod oscillation;
mod probe;
mod radius;
mod regret;
pub mod schedule;
mod scheduled;
mod sphere;

pub use averaged::{Average, Averaged};
pub use clip::{ClipNorm, ClipValue};
pub use guarded::{Guarded, NonFinite};
pub use half_state::HalfState;
pub use lookahead::Lookahead;
pub use oscillation::{Oscillation, Q};
pub use probe::{Scale, probe_scale};
pub use radius::RadiusTracker;
pub use regret::RegretBound;
pub use scheduled::Scheduled;
pub use sphere::{Sphere, Tangent, Units};

use adarem::projection::{Ball, HalfSpace, Interval, Projected, Simplex};
use adarem::rules::EachRule;
use adarem::{AdaRem, AdaRemS, AdamW, Bf16, F16, SgdM};

/// Calls `each` with every wrapper around some rule, for tests of backends: as
/// [`adarem::rules::for_each`] does with every rule.
///
/// ```
/// use adarem::rules::EachRule;
///
/// struct Names(Vec<&'static str>);
/// impl EachRule for Names {
///     fn rule<R: adarem::Tunable>(&mut self) {
///         self.0.push(R::NAME);
///     }
/// }
/// let mut names = Names(Vec::new());
/// adarem_adapters::for_each(&mut names);
/// assert!(names.0.contains(&"guarded(clip_norm(averaged(adamw)))"));
/// ```
pub fn for_each(each: &mut impl EachRule) {
    each.rule::<ClipValue<AdaRem>>();
    each.rule::<ClipNorm<AdaRem>>();
    each.rule::<Guarded<AdaRem>>();
    each.rule::<Guarded<AdaRemS>>();
    each.rule::<Guarded<ClipNorm<Averaged<AdamW>>>>();
    each.rule::<Lookahead<SgdM>>();
    each.rule::<Averaged<AdaRem>>();
    each.rule::<Sphere<AdaRem>>();
    each.rule::<Sphere<Tangent<SgdM>>>();
    each.rule::<HalfState<AdaRem, Bf16>>();
    each.rule::<HalfState<AdaRemS, Bf16>>();
    each.rule::<HalfState<SgdM, F16>>();
    each.rule::<Projected<AdaRem, Interval>>();
    each.rule::<Projected<AdaRem, Ball>>();
    each.rule::<Projected<SgdM, HalfSpace>>();
    each.rule::<Projected<AdaRem, Simplex>>();
}
