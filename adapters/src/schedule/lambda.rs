//! Schedules for AdaRem's lambda.
//!
//! A constant lambda is a plain number, and `1 / t^p` is [`InversePower`](super::InversePower).

use super::{Exponential, StepDecay};

/// `lambda^t`, t from 1: the schedule under which AdaRem's regret is O(sqrt T).
///
/// ```
/// use adarem_adapters::schedule::{Schedule, lambda_per_step};
/// assert_eq!([0, 1].map(|t| lambda_per_step(0.5).at(t)), [0.5, 0.25]);
/// ```
pub fn lambda_per_step(lambda: f64) -> Exponential {
    Exponential {
        start: lambda,
        factor: lambda,
    }
}

/// `lambda decay^epoch`, with `epoch` steps an epoch: what the paper trains with, `lambda` and `decay` both 0.999.
///
/// ```
/// use adarem_adapters::schedule::{Schedule, lambda_per_epoch};
/// let lambda = lambda_per_epoch(0.999, 0.999, 100);
/// assert_eq!(lambda.at(99), 0.999);
/// assert_eq!(lambda.at(100), 0.999 * 0.999);
/// ```
pub fn lambda_per_epoch(lambda: f64, decay: f64, epoch: u64) -> StepDecay {
    StepDecay {
        start: lambda,
        factor: decay,
        every: epoch,
    }
}
