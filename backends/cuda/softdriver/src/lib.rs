//! A software CUDA driver for tests
