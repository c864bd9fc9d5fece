//! Running averages of the gradient and of its square, and what is divided by the root of the latter.

use crate::error::{Invalid, fraction, non_negative};
use crate::real::Real;
use crate::rule::Engine;

/// A running average: m = beta m + (1 - beta) g.
pub(super) struct Average<R> {
    beta: R,
    rest: R,
}

impl<R: Real> Average<R> {
    #[inline(always)]
    pub(super) fn new<E: Engine<Real = R>>(beta: f64, e: &mut E) -> Self {
        Average {
            beta: e.uniform(beta),
            rest: e.uniform(1.0 - beta),
        }
    }

    #[inline(always)]
    pub(super) fn next(&self, m: R, g: R) -> R {
        self.beta * m + self.rest * g
    }
}

/// m = beta1 m + (1 - beta1) g and v = beta2 v + (1 - beta2) g^2.
pub(super) struct Moments<R> {
    first: Average<R>,
    second: Average<R>,
}

impl<R: Real> Moments<R> {
    #[inline(always)]
    pub(super) fn new<E: Engine<Real = R>>(beta1: f64, beta2: f64, e: &mut E) -> Self {
        Moments {
            first: Average::new(beta1, e),
            second: Average::new(beta2, e),
        }
    }

    #[inline(always)]
    pub(super) fn next(&self, m: R, v: R, g: R) -> (R, R) {
        (self.first.next(m, g), self.second.next(v, g * g))
    }
}

/// 1 - beta^(t + 1): what a running average of constant 1 that started at 0 has reached after step `t`.
#[inline(always)]
pub(super) fn reached(beta: f64, t: u64) -> f64 {
    1.0 - libm::pow(beta, t as f64 + 1.0)
}

/// The root of a second moment, and eps: what a first moment is divided by.
pub(super) struct Root<R> {
    /// 1 / sqrt(1 - beta2^t); `None` where the correction stands in the rate instead.
    correction: Option<R>,
    eps: R,
}

impl<R: Real> Root<R> {
    /// sqrt(v / (1 - beta2^t)) + eps.
    #[inline(always)]
    pub(super) fn corrected<E: Engine<Real = R>>(beta2: f64, eps: f64, t: u64, e: &mut E) -> Self {
        Root {
            correction: Some(e.uniform(1.0 / libm::sqrt(reached(beta2, t)))),
            eps: e.uniform(eps),
        }
    }

    /// sqrt(v) + eps.
    #[inline(always)]
    pub(super) fn raw<E: Engine<Real = R>>(eps: f64, e: &mut E) -> Self {
        Root {
            correction: None,
            eps: e.uniform(eps),
        }
    }

    #[inline(always)]
    pub(super) fn of(&self, v: R) -> R {
        let root = v.sqrt();
        self.correction.map_or(root, |c| root * c) + self.eps
    }
}

/// lr m / (sqrt(v) + eps), with both moments corrected for their start at 0.
pub(super) struct Corrected<R> {
    rate: R,
    root: Root<R>,
}

impl<R: Real> Corrected<R> {
    /// lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps); `eps_hat` adds eps to the uncorrected root:
    /// lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps).
    #[inline(always)]
    pub(super) fn new<E: Engine<Real = R>>(
        [lr, beta1, beta2, eps]: [f64; 4],
        eps_hat: bool,
        t: u64,
        e: &mut E,
    ) -> Self {
        if eps_hat {
            Corrected {
                rate: e.uniform(hat_rate(lr, beta1, beta2, t)),
                root: Root::raw(eps, e),
            }
        } else {
            Corrected {
                rate: e.uniform(lr / reached(beta1, t)),
                root: Root::corrected(beta2, eps, t, e),
            }
        }
    }

    #[inline(always)]
    pub(super) fn update(&self, m: R, v: R) -> R {
        self.rate * m / self.root.of(v)
    }
}

/// lr sqrt(1 - beta2^t) / (1 - beta1^t): the rate that corrects both moments, for an eps beside the raw
/// root.
#[inline(always)]
pub(super) fn hat_rate(lr: f64, beta1: f64, beta2: f64, t: u64) -> f64 {
    lr * libm::sqrt(reached(beta2, t)) / reached(beta1, t)
}

/// The ranges of what every rule with two moments has.
pub(super) fn check_moments([lr, beta1, beta2, eps]: [f64; 4]) -> Result<(), Invalid> {
    non_negative("lr", lr)?;
    fraction("beta1", beta1)?;
    fraction("beta2", beta2)?;
    non_negative("eps", eps)
}
