//! Optimizers for engines that are not PyTorch.
