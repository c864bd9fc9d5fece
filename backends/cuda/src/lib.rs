//! adarem optimizers on NVIDIA GPUs
