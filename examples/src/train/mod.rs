//! The race of `train`: the same network, the same batches, the same schedule, one optimizer after
//! the other.
//!
//! [`Settings`] say what is run, [`Race`] runs it and can be stopped after any step, [`checkpoint`]
//! keeps it in a file, and [`report`] shows what came of it.

pub mod checkpoint;
mod descent;
mod method;
mod oscillation;
mod race;
pub mod report;
mod run;
mod settings;

pub use method::Method;
pub use oscillation::{Oscillation, Q};
pub use race::{Outcome, Progress, Race};
pub use run::{Epoch, Run};
pub use settings::{Device, LambdaSchedule, Rate, Schedule, Settings, TaskName};
