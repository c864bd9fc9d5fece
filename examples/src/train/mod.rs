//! The race of `train`: the same network, the same batches, the same schedule, one optimizer after
//! the other.
//!
//! [`Settings`] say what is run, [`Race`] runs it and can be stopped after any step, [`checkpoint`]
//! keeps it in a file, and [`report`] shows what came of it. [`command`] is the program around them.

pub mod checkpoint;
pub mod command;
mod descent;
mod meter;
mod method;
mod race;
pub mod range_test;
pub mod report;
mod run;
mod settings;

pub use meter::Meter;
pub use method::Method;
pub use race::{Outcome, Progress, Race};
pub use run::{Epoch, Run};
pub use settings::{Device, LambdaSchedule, Rate, RateSchedule, Settings, TaskName};
