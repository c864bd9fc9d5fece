#![doc = include_str!("../README.md")]

mod asm;
mod context;
mod device;
mod error;
mod exact;
mod memory;
mod mixed;
mod pipeline;
pub mod spirv;
mod step;

pub use context::{Choice, Context, Enabled, Floats, Limits};
pub use device::{Recorded, Vulkan};
pub use error::Error;
pub use memory::Tensor;
pub use spirv::Division;
