//! What is put around an optimizer: schedules, wrappers, radius tracking and measures. No `std`, no heap.
//!
//! *Schedules.* [`schedule`] holds learning rates (and lambdas, and momenta) as pure functions of the step;
//! [`Scheduled`] attaches one to a rule.
//!
//! *Wrappers.* [`ClipValue`], [`ClipNorm`], [`Guarded`] (gradients that are not finite). A wrapper is itself a
//! [`Rule`](adarem::Rule), so wrappers nest, and run on every backend. Its state stands behind that of the rule
//! it wraps, and its name around the rule's: `guarded(clip_norm(adarem))`.
//!
//! *Measures.* [`Oscillation`] measures Q, the path length per displacement.
#![no_std]
#![forbid(unsafe_code)]

mod clip;
mod gradient;
mod guarded;
mod name;
mod oscillation;
pub mod schedule;
mod scheduled;

pub use clip::{ClipNorm, ClipValue};
pub use guarded::{Guarded, NonFinite};
pub use oscillation::{Oscillation, Q};
pub use scheduled::Scheduled;
