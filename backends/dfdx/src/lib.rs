//! adarem optimizers for dfdx models
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod cpu;
mod error;
mod group;
mod params;
mod place;
mod roll;
mod rules;
mod update;

pub use error::Error;
pub use group::Group;
pub use params::Param;
pub use place::{Lent, Place};
pub use rules::*;
pub use update::{Groups, Update};
