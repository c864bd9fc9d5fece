//! adarem optimizers on host threads with SIMD
