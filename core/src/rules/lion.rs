//! Lion: the sign of the momentum, and nothing else.

use super::decay::Decay;
use super::moments::Average;
use super::rest::{Walk, rest_or_walk, rests};
use super::signed::signed;
use crate::error::{Invalid, fraction, non_negative};
use crate::rule::{Engine, Lane, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// Lion: every coordinate moves by lr against the sign of an average of its gradients.
///
/// ```text
/// input: lr, beta1, beta2, weight_decay; theta_0
/// initialize: m = 0
/// for t = 0, 1, ..
///   g = gradient at theta
///   c = beta1 m + (1 - beta1) g
///   theta = (theta - lr weight_decay theta) - lr sign(c)
///   m = beta2 m + (1 - beta2) g
/// ```
///
/// Source: Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023), Program 1. It stands
/// outside the papers that this library is about; `docs/new-rule.md` writes it step by step.
///
/// One state vector; 20 bytes a parameter in `f32`; no division, no root. sign(0) is 0: a gradient that
/// was always 0 moves nothing. A NaN makes its own lane NaN; an infinite gradient is a sign like any
/// other, which m then keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lion {
    /// Learning rate, the length of every step in units of theta; at least 0, no upper bound. Default 1e-4.
    pub lr: f64,
    /// Weight of m in the step's direction, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay of m, in [0, 1). Default 0.99.
    pub beta2: f64,
    /// Decoupled weight decay per unit of lr, at least 0. Default 0.
    pub weight_decay: f64,
}

impl Default for Lion {
    fn default() -> Self {
        Lion {
            lr: 1e-4,
            beta1: 0.9,
            beta2: 0.99,
            weight_decay: 0.0,
        }
    }
}

impl Rule for Lion {
    const NAME: &'static str = "lion";
    const SLOTS: usize = 1;
    const CARRIED: usize = 0;

    fn slot(&self, _: usize) -> Slot {
        Slot::zero("m")
    }

    fn check(&self) -> Result<(), Invalid> {
        non_negative("lr", self.lr)?;
        fraction("beta1", self.beta1)?;
        fraction("beta2", self.beta2)?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        rest_or_walk(rests(self.lr), self, t, e);
    }
}

impl Walk for Lion {
    #[inline(always)]
    fn walk<E: Engine>(&self, _: u64, e: &mut E) {
        let lr = e.uniform(self.lr);
        let (ahead, average) = (Average::new(self.beta1, e), Average::new(self.beta2, e));
        let decay = Decay::new(self.lr * self.weight_decay, e);
        e.map(|x| {
            let [m] = x.slot;
            let along = signed(lr, ahead.next(m, x.grad));
            Lane {
                theta: decay.keep(x.theta) - along,
                slot: [average.next(m, x.grad)],
                ..x
            }
        });
    }
}

impl Tunable for Lion {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("beta1", Setting::Number(&mut self.beta1));
        visit("beta2", Setting::Number(&mut self.beta2));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
    }
}
