//! adarem optimizers as Vulkan compute kernels
