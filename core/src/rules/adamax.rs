//! Adamax: Adam with the largest gradient in place of the average square.

use super::decay::Shrink;
use super::moments::{Average, check_moments, reached};
use super::rest::{Walk, rest_or_walk, rests};
use crate::error::{Invalid, non_negative};
use crate::real::Real;
use crate::rule::{Engine, Lane, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// Adamax: divides by the largest recent gradient.
///
/// ```text
/// input: lr, beta1, beta2, eps, weight_decay; theta_0
/// initialize: m = 0, u = 0
/// for t = 1, 2, ..
///   g = gradient at theta + weight_decay theta
///   m = beta1 m + (1 - beta1) g
///   u = max(beta2 u, |g| + eps)
///   theta = theta - lr / (1 - beta1^t) m / u
/// ```
///
/// Source: Kingma and Ba, "Adam" (2015), Algorithm 2, in the form of `torch.optim.Adamax`: eps inside
/// the maximum. The paper has none; optax adds it to the denominator.
///
/// Two state vectors; 28 bytes a parameter in `f32`; a division and no root a lane, and no square, so
/// that no finite gradient overflows. With eps = 0 a gradient that was always 0 gives 0 / 0. A NaN loses
/// the maximum, but m keeps it in its lane; an infinite gradient makes its lane NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adamax {
    /// Learning rate; at least 0, no upper bound. Default 2e-3.
    pub lr: f64,
    /// Decay of the average m, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay of the largest gradient u, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// What is added to every |g|, in units of gradient; at least 0. Default 1e-8.
    pub eps: f64,
    /// L2 weight decay, joined to the gradient; at least 0. Default 0.
    pub weight_decay: f64,
}

impl Default for Adamax {
    fn default() -> Self {
        Adamax {
            lr: 2e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
        }
    }
}

impl Rule for Adamax {
    const NAME: &'static str = "adamax";
    const SLOTS: usize = 2;
    const CARRIED: usize = 0;

    fn slot(&self, k: usize) -> Slot {
        Slot::zero(["m", "u"][k.min(1)])
    }

    fn check(&self) -> Result<(), Invalid> {
        check_moments([self.lr, self.beta1, self.beta2, self.eps])?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        rest_or_walk(rests(self.lr), self, t, e);
    }
}

impl Walk for Adamax {
    #[inline(always)]
    fn walk<E: Engine>(&self, t: u64, e: &mut E) {
        let rate = e.uniform(self.lr / reached(self.beta1, t));
        let average = Average::new(self.beta1, e);
        let (beta2, eps) = (e.uniform(self.beta2), e.uniform(self.eps));
        let shrink = Shrink::l2(self.weight_decay, e);
        e.map(|x| {
            let [m, u] = x.slot;
            let (theta, g) = shrink.apply(x.theta, x.grad);
            let m = average.next(m, g);
            let u = (beta2 * u).max(g.abs() + eps);
            Lane {
                theta: theta - rate * m / u,
                slot: [m, u],
                ..x
            }
        });
    }
}

impl Tunable for Adamax {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("beta1", Setting::Number(&mut self.beta1));
        visit("beta2", Setting::Number(&mut self.beta2));
        visit("eps", Setting::Number(&mut self.eps));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
    }
}
