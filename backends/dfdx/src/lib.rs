//! adarem optimizers for dfdx models
