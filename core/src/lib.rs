//! Optimizers for engines that are not PyTorch: AdaRem, AdaRem-S and the family they are measured against.
//!
//! A [`Rule`] says what happens to one coordinate, once. Run over slices it is the host's loop; traced, it
//! is a [`Plan`] that a device runs; either way the bits are the same. Nothing here needs `std` or a heap, no
//! code is `unsafe`, and no panic can be reached.
//!
//! # To take a step
//! - On slices, without a heap: [`Host`] and [`Rule::step`].
//! - On a list of tensors, with state kept for you: [`Optimizer`], on a [`Backend`]. [`Lent`] is one without
//!   a heap; the crate `adarem-cpu` is the fast one for hosts, and others are for CUDA, Vulkan and dfdx.
//! - With parameters, gradients or state of 16 bits: [`Host::mixed`], `step_mixed` of the backends for hosts, CUDA and
//!   Vulkan, and `HalfState` of the crate `adarem-adapters`; with a byte of state a parameter: [`AdaRem8`].
//!
//! ```
//! use adarem::{AdaRem, Host, Rule};
//!
//! let rule = AdaRem::default();
//! let (mut theta, mut m, mut carried) = ([3.0f32, -4.0], [0.0; 2], [0.0; AdaRem::CARRIED]);
//! for t in 0..100 {
//!     let grad = theta.map(|x| 2.0 * x);
//!     rule.step(t, &mut Host::new(&mut theta, &grad, [&mut m], &mut carried)?);
//! }
//! assert!(theta.iter().all(|x| x.abs() < 1e-3));
//! # Ok::<(), adarem::ErrorKind>(())
//! ```
//!
//! # To choose a rule
//! [`rules`] has them all, one page each: the algorithm, its source, its hyper-parameters, what it does with
//! NaN, infinity and zero. [`Tunable`] reaches hyper-parameters by name. [`projection`] confines any rule.
//!
//! # To write a rule
//! Implement [`Rule`] over an [`Engine`]: see [`Rule`] for one in ten lines. A rule computes with [`Real`]
//! numbers, a [`Lane`] at a time, and folds numbers over all lanes in the order that [`fold`] states.
//!
//! # To bring a device
//! Implement [`Backend`]: its one method that computes is given a [`Plan`]. The crate `adarem-conformance`
//! proves it, bit for bit.
//!
//! # To save and resume
//! [`Optimizer::save`] and [`Optimizer::restore`]; the bytes are described in [`checkpoint`].
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod backend;
pub mod checkpoint;
pub mod elementary;
pub mod error;
pub mod fold;
mod half;
mod halvings;
mod host;
mod lent;
mod name;
mod optimizer;
mod overlay;
pub mod plan;
pub mod projection;
mod real;
mod rule;
pub mod rules;
pub mod trace;
mod tunable;

pub use backend::{Backend, Batch, Tensor};
pub use error::{Error, ErrorKind, Invalid, Mismatch};
pub use fold::{Accumulators, CHUNK, Fold, FoldOp, Scope, WIDTH};
pub use half::{Bf16, F16, Half, Param, Stored};
pub use host::{Host, Lanes};
pub use lent::Lent;
pub use name::{Name, Wraps};
pub use optimizer::{Optimizer, Phase, Turn};
pub use overlay::Overlay;
pub use plan::Plan;
pub use real::{Dtype, Element, Real};
pub use rule::{Engine, Lane, MAX_CARRIED, MAX_SLOTS, Rewrite, Rule, Slot, View};
pub use rules::*;
pub use tunable::{Setting, Tunable};
