//! Running averages: of the gradient, and of its square.

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
