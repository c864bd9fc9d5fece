//! The C interface of [`adarem`]: optimizers by name, on memory that the caller gives, without a heap.
//!
//! From C, read `include/adarem.h`; it is made from this crate. `libadarem.a` and `libadarem.so` are made by
//! the package in `library/`, which adds only what a library without `std` must have: a panic handler. The
//! README shows how to build and link them.
//!
//! Every function that can fail returns a [`Status`] and, where the caller wants it, fills an [`Error`] with
//! a text that names what is wrong and its value. Nothing is changed where a call is refused.
#![no_std]

mod config;
mod door;
mod error;
mod functions;
mod group;
mod pointers;
mod schedule;

pub use config::{Config, DTYPE_F32, DTYPE_F64, NamedValue};
pub use door::Optimizer;
pub use error::{ERROR_TEXT, Error, Status};
pub use functions::*;
pub use group::{ALIGNMENT, MOST_SCHEDULES};
pub use schedule::{
    SCHEDULE_CONSTANT, SCHEDULE_COSINE, SCHEDULE_EXPONENTIAL, SCHEDULE_INVERSE_SQRT,
    SCHEDULE_LINEAR, SCHEDULE_POLYNOMIAL, SCHEDULE_STEPS, Schedule,
};
