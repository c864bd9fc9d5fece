//! One file per optimizer: the algorithm box first, then the rule.

mod adam;
mod adarem;
mod adarem_s;
mod decay;
mod moments;
mod resilience;
mod sgd;

pub use adam::{Adam, AdamW, AmsGrad};
pub use adarem::AdaRem;
pub use adarem_s::AdaRemS;
pub use sgd::{Sgd, SgdM};
