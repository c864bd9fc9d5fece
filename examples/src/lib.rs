//! Programs that show adarem at work, and the small neural networks they train.
//!
//! - `cargo run --release --bin train` trains a real network on real data with several optimizers on
//!   equal terms, and prints and draws how they fare.

pub mod network;
pub mod task;
pub mod train;
