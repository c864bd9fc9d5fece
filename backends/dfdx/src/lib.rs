//! AdaRem, AdaRem-S and their family as dfdx optimizers.
//!
//! Every rule of the library, and any rule of your own, is a [`dfdx::optim::Optimizer`] here, in `f32` and `f64`,
//! with the bits of the library's other backends. [`AdaRem`], [`AdaRemS`], [`Adam`] and the others are named as dfdx names its
//! own: `AdaRem::new(&model, AdaRemConfig::default())`, with a public `cfg`. A rule may be wrapped in those of
//! `adarem_adapters`: clipping by a global norm, schedules, guards.
//!
//! ```
//! use adarem_adapters::{ClipNorm, Scheduled, schedule::Cosine};
//! use adarem_dfdx::{AdaRemConfig, Group};
//! use dfdx::prelude::*;
//!
//! let dev = Cpu::default();
//! let mut model = dev.build_module::<(Linear<4, 8>, ReLU, Linear<8, 2>), f32>();
//! let clipped = ClipNorm::global(AdaRemConfig::default(), 1.0);
//! let rule = Scheduled::new(clipped, "lr", Cosine { from: 0.1, to: 0.001, steps: 100 })?;
//! let mut opt = Group::new(&model, rule);
//!
//! let x: Tensor<Rank2<16, 4>, f32, _> = dev.sample_normal();
//! let mut grads = model.alloc_grads();
//! for _ in 0..100 {
//!     grads = model.forward_mut(x.clone().traced(grads)).square().mean().backward();
//!     opt.update_in_place(&mut model, &mut grads)?;
//!     model.zero_grads(&mut grads);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`Group`] is the optimizer, for a whole model or for the parameters whose names a predicate accepts;
//!   [`Groups`] joins two of them. What no group steps is frozen.
//! - [`Group::update_in_place`] does without the copy of the gradients that the trait's `update` costs.
//! - `Group::state_dict` and `Group::load_state_dict` (feature `safetensors`) save and load what it remembers.
//! - [`Walk`] steps tensors of any dfdx device by tensor operations: `Cuda`, and the host without `std`.
//!
//! # Features
//! `std` (default) steps slices on the host, with the processor's widest vectors. Without it, and with `no-std` as
//! dfdx wants it, the crate needs an allocator only. `safetensors` (default) needs `std`. `cpu`, `cuda` and
//! `ci-check` are dfdx's; train on the host with `cpu`, as dfdx's matrix product is wrong without it.
//!
//! `zero-copy` steps a parameter on the host where it lies. dfdx hands out no slice of a parameter, so without this
//! feature it is copied out and back in; with it, the pointer to its first element is taken to reach
//! the others. That is memory of the same `Vec`, which the pointer's own checks confirm; but whether a pointer to
//! one element may reach another is not yet decided in Rust: the model called Tree Borrows says yes, Stacked Borrows
//! says no.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(not(feature = "zero-copy"), forbid(unsafe_code))]

extern crate alloc;

#[cfg(feature = "std")]
mod cpu;
mod error;
mod flat;
mod group;
mod params;
mod place;
mod roll;
mod rules;
#[cfg(feature = "safetensors")]
mod state;
mod tensors;
#[cfg(feature = "std")]
mod theta;
mod update;
mod walk;

#[cfg(feature = "std")]
pub use cpu::Slices;
pub use error::Error;
pub use flat::Flat;
pub use group::Group;
pub use params::Param;
pub use place::{Key, Lent, Place};
pub use rules::*;
pub use tensors::Tensors;
pub use update::{Groups, Update};
pub use walk::Walk;

pub use adarem::{Rule, Tunable};
