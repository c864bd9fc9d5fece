//! adarem optimizers for dfdx models
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(not(feature = "zero-copy"), forbid(unsafe_code))]

extern crate alloc;

mod cpu;
mod error;
mod group;
mod params;
mod place;
mod roll;
mod rules;
mod theta;
mod update;

pub use cpu::Slices;
pub use error::Error;
pub use group::Group;
pub use params::Param;
pub use place::{Key, Lent, Place};
pub use rules::*;
pub use update::{Groups, Update};
