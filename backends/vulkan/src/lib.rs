//! The optimizers of `adarem` as Vulkan compute kernels.

mod asm;
mod context;
mod error;
mod exact;
mod memory;
pub mod spirv;

pub use context::{Choice, Context, Enabled, Floats, Limits};
pub use error::Error;
pub use memory::Tensor;
pub use spirv::Division;
