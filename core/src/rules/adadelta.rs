//! Adadelta: steps in units of theta, measured by the steps before.

use super::decay::Shrink;
use super::moments::Average;
use super::rest::{Walk, rest_or_walk, rests};
use crate::error::{Invalid, fraction, non_negative, positive};
use crate::real::Real;
use crate::rule::{Engine, Lane, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// Adadelta: RMSProp whose rate is the average length of its own past steps.
///
/// ```text
/// input: lr, rho, eps, weight_decay; theta_0
/// initialize: v = 0, u = 0
/// for t = 0, 1, ..
///   g = gradient at theta + weight_decay theta                   (L2, default; or decoupled)
///   v = rho v + (1 - rho) g^2
///   d = sqrt(u + eps) / sqrt(v + eps) g
///   u = rho u + (1 - rho) d^2
///   theta = theta - lr d
/// ```
///
/// Source: Zeiler, "ADADELTA: An Adaptive Learning Rate Method" (2012), in the form of
/// `torch.optim.Adadelta`.
///
/// Two state vectors; 28 bytes a parameter in `f32`; two roots and a division a lane. A zero gradient
/// moves nothing. g^2 overflows beyond 1.8e19 in `f32`, and such a lane stands still. A NaN stays in its
/// lane. A rate of 0 does not touch u, which averages d and not lr d.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adadelta {
    /// A factor on every step; at least 0, no upper bound. Default 1.
    pub lr: f64,
    /// Decay of both averages, in [0, 1). Default 0.9; the paper has 0.95.
    pub rho: f64,
    /// What is added to both averages inside the root; positive. Its own root is the length of the first
    /// steps. Default 1e-6.
    pub eps: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Whether the decay acts on theta itself, times lr, instead of joining the gradient. Default false.
    pub decoupled: bool,
}

impl Default for Adadelta {
    fn default() -> Self {
        Adadelta {
            lr: 1.0,
            rho: 0.9,
            eps: 1e-6,
            weight_decay: 0.0,
            decoupled: false,
        }
    }
}

impl Rule for Adadelta {
    const NAME: &'static str = "adadelta";
    const SLOTS: usize = 2;
    const CARRIED: usize = 0;

    fn slot(&self, k: usize) -> Slot {
        Slot::zero(["v", "u"][k.min(1)])
    }

    fn check(&self) -> Result<(), Invalid> {
        non_negative("lr", self.lr)?;
        fraction("rho", self.rho)?;
        positive("eps", self.eps)?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        rest_or_walk(rests(self.lr), self, t, e);
    }
}

impl Walk for Adadelta {
    #[inline(always)]
    fn walk<E: Engine>(&self, _: u64, e: &mut E) {
        let shrink = Shrink::new(self.lr, self.weight_decay, self.decoupled, e);
        let (lr, eps) = (e.uniform(self.lr), e.uniform(self.eps));
        let average = Average::new(self.rho, e);
        e.map(|x| {
            let [v, u] = x.slot;
            let (theta, g) = shrink.apply(x.theta, x.grad);
            let v = average.next(v, g * g);
            let d = (u + eps).sqrt() / (v + eps).sqrt() * g;
            let u = average.next(u, d * d);
            Lane {
                theta: theta - lr * d,
                slot: [v, u],
                ..x
            }
        });
    }
}

impl Tunable for Adadelta {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("rho", Setting::Number(&mut self.rho));
        visit("eps", Setting::Number(&mut self.eps));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
        visit("decoupled", Setting::Flag(&mut self.decoupled));
    }
}
