//! The conformance kit of adarem: proves a backend, bit for bit.
//!
//! One line in the tests of a backend, ours or a stranger's:
//!
//! ```no_run
//! # type Npu = adarem_conformance::Interpreter<f32>;
//! adarem_conformance::conformance("npu", || Npu::default());
//! ```
//!
//! It compares every number that a step writes (parameters, state, carried scalars, and the gaps that must
//! not be written) with the core's own host code: for every op on spicy and random bits, both folds at
//! every length where their tree changes shape, batches of none to a thousand tensors, every rule of the
//! library with every hyper-parameter changed, wrappers, the policy for gradients that are not finite,
//! reference vectors, and random rules. It checks what a backend promises
//! besides numbers: errors by kind, refusals that change nothing, order, flush, and checkpoints that are
//! resumed on another backend. NaN equals NaN; otherwise equal means the same bits, and whatever may
//! differ is a line of [one table](TABLE).
//!
//! - [`Kit`] adjusts it: tolerances for a device that needs them, a seed, one check alone.
//! - [`Report`] is what it finds, to be printed.
//! - [`Interpreter`] is the plainest backend: a model for the first draft of yours.
//! - [`Failing`] makes any backend fail when told to, for tests of your own.
//! - [`mixed_precision`] proves steps with parameters and gradients of 16 bits, where a backend takes them.
//! - [`Alone`] steps one tensor by any rule on the host.
//! - `vectors` replays what other implementations did.
//! - [`programs`] makes random rules, [`cases`] what to try a rule on, and [`agree`] steps any rule on both sides: for
//!   property tests and fuzzers, ours and yours. [`promises`] and [`schedules`] are what both ask of AdaRem and of
//!   schedules.
//!
//! The guide `docs/new-backend.md` builds a backend from nothing.

mod alone;
mod batches;
pub mod cases;
mod checkpoints;
mod contracts;
mod direct;
mod failing;
mod folds;
mod kit;
mod mixed;
mod number;
mod ops;
mod policies;
pub mod programs;
pub mod promises;
mod reference;
mod report;
mod rules;
pub mod schedules;
mod state;
mod tolerance;
#[cfg(feature = "vectors")]
pub mod vectors;

pub use alone::Alone;
pub use failing::{Call, Failing};
pub use folds::lengths_around_the_tree;
pub use kit::{Kit, agree};
pub use mixed::{Mixed, mixed_precision};
pub use number::{Bytes, Random, spicy, ulps};
pub use reference::Interpreter;
pub use report::{Outcome, Report, Verdict};
pub use state::Difference;
pub use tolerance::{TABLE, Tolerance};

/// Proves the backend that `open` opens, and prints the report.
///
/// ```no_run
/// use adarem_conformance::{Interpreter, conformance};
///
/// conformance("interpreter", Interpreter::<f32>::default);
/// ```
///
/// # Panics
/// With the report, where anything differs from the host or a contract is broken.
pub fn conformance<B: adarem::Backend>(device: &str, open: impl FnOnce() -> B) {
    let report = Kit::new(device).check(&mut open());
    assert!(report.passed(), "{report}");
    println!("{report}");
}

/// The guide "Add your own rule": its code is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/new-rule.md")]
pub mod new_rule {}
