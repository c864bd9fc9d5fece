//! adarem optimizers for dfdx models
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
