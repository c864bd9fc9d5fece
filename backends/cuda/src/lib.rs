//! adarem optimizers on NVIDIA GPUs.
pub mod ptx;
