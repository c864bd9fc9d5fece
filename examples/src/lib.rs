//! Programs that show adarem at work, and the small neural networks they train.
//!
//! - `cargo run --release --bin train` trains a real network on real data with several optimizers on
//!   equal terms, and prints and draws how they fare.
//! - `cargo run --release --bin range_test` lets the learning rate rise until training falls apart.
//! - `cargo run --release --bin bare_metal` cancels an echo with AdaRem, without a heap.
//! - `cargo run --release --bin new_rule` writes a rule of one's own and runs it in three ways.

pub mod network;
pub mod task;
pub mod train;

/// The snippets of the repository's README, so that they compile and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct ReadMe;
