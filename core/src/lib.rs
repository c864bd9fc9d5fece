//! Optimizers for engines that are not PyTorch.
#![no_std]
#![forbid(unsafe_code)]

pub mod backend;
pub mod checkpoint;
pub mod elementary;
pub mod error;
pub mod fold;
mod host;
mod name;
mod optimizer;
pub mod plan;
pub mod projection;
mod real;
mod rule;
pub mod rules;
pub mod trace;
mod tunable;
pub use backend::{Backend, Batch, Tensor};
pub use error::{Error, ErrorKind, Invalid, Mismatch};
pub use fold::{Accumulators, CHUNK, Fold, FoldOp, Scope, WIDTH};
pub use host::{Host, Lanes};
pub use name::{Name, Wraps};
pub use optimizer::{Optimizer, Phase};
pub use plan::Plan;
pub use real::{Dtype, Element, Real};
pub use rule::{Engine, Lane, MAX_CARRIED, MAX_SLOTS, Rule, Slot};
pub use rules::*;
pub use tunable::{Setting, Tunable};
