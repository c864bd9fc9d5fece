//! Adagrad, and its kin of one accumulator that only grows: one number per tensor, or damped by an
//! exponential.

use super::decay::Shrink;
use super::rest::{Walk, rest_or_walk, rests};
use crate::elementary::exp_minus;
use crate::error::{Invalid, ensure, non_negative, positive};
use crate::fold::{Fold, Scope};
use crate::real::Real;
use crate::rule::{Engine, Lane, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// Adagrad: divides by the root of the sum of all squared gradients.
///
/// ```text
/// input: lr, lr_decay, initial_accumulator_value, eps, weight_decay; theta_0
/// initialize: s = initial_accumulator_value
/// for t = 0, 1, ..
///   g = gradient at theta + weight_decay theta
///   s = s + g^2
///   theta = theta - lr / (1 + t lr_decay) g / (sqrt(s) + eps)
/// ```
///
/// Source: Duchi, Hazan and Singer, "Adaptive Subgradient Methods" (2011), in the form of
/// `torch.optim.Adagrad`. With eps = 0 it is the form that averages the squares and lets the rate fall
/// with 1 / sqrt(t). optax starts s at 0.1 and has eps 1e-7.
///
/// One state vector; 20 bytes a parameter in `f32`; a root and a division a lane. With eps = 0 a
/// gradient that was always 0 gives 0 / 0. g^2 overflows beyond 1.8e19 in `f32`, and such a lane stands
/// still from then on. A NaN stays in its lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adagrad {
    /// Learning rate; at least 0, no upper bound. Default 1e-2.
    pub lr: f64,
    /// How fast the rate falls besides, per step; at least 0. Default 0.
    pub lr_decay: f64,
    /// What s starts at, in units of gradient squared, at least 0; read when the optimizer is built.
    /// Default 0.
    pub initial_accumulator_value: f64,
    /// Least denominator, in units of gradient; at least 0. Default 1e-10.
    pub eps: f64,
    /// L2 weight decay, joined to the gradient; at least 0. Default 0.
    pub weight_decay: f64,
}

impl Default for Adagrad {
    fn default() -> Self {
        Adagrad {
            lr: 1e-2,
            lr_decay: 0.0,
            initial_accumulator_value: 0.0,
            eps: 1e-10,
            weight_decay: 0.0,
        }
    }
}

impl Rule for Adagrad {
    const NAME: &'static str = "adagrad";
    const SLOTS: usize = 1;
    const CARRIED: usize = 0;

    fn slot(&self, _: usize) -> Slot {
        Slot {
            name: "s",
            start: self.initial_accumulator_value,
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        non_negative("lr", self.lr)?;
        non_negative("lr_decay", self.lr_decay)?;
        non_negative("initial_accumulator_value", self.initial_accumulator_value)?;
        non_negative("eps", self.eps)?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        rest_or_walk(rests(self.lr), self, t, e);
    }
}

impl Walk for Adagrad {
    #[inline(always)]
    fn walk<E: Engine>(&self, t: u64, e: &mut E) {
        let lr = e.uniform(self.lr / (1.0 + t as f64 * self.lr_decay));
        let eps = e.uniform(self.eps);
        let shrink = Shrink::l2(self.weight_decay, e);
        e.map(|x| {
            let [s] = x.slot;
            let (theta, g) = shrink.apply(x.theta, x.grad);
            let s = s + g * g;
            Lane {
                theta: theta - lr * g / (s.sqrt() + eps),
                slot: [s],
                ..x
            }
        });
    }
}

impl Tunable for Adagrad {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("lr_decay", Setting::Number(&mut self.lr_decay));
        visit(
            "initial_accumulator_value",
            Setting::Number(&mut self.initial_accumulator_value),
        );
        visit("eps", Setting::Number(&mut self.eps));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
    }
}

/// AdaGrad-norm: one rate for the whole tensor, divided by the root of the sum of all squared gradient
/// norms.
///
/// ```text
/// input: lr, b0; theta_0
/// initialize: s = b0^2
/// for t = 0, 1, ..
///   g = gradient at theta
///   s = s + |g|^2
///   theta = theta - lr / sqrt(s) g
/// ```
///
/// Source: Ward, Wu and Bottou, "AdaGrad stepsizes: Sharp convergence over nonconvex landscapes" (2019),
/// Algorithm 1.
///
/// Two passes, 16 bytes a parameter in `f32`: the first reads the gradient alone. No state but one
/// number a tensor. A NaN or infinite gradient makes s so, and with it the tensor, or the group that
/// shares it: NaN spreads, and with an infinite s all but the infinite lanes stand still from then on. At a
/// rate of 0 s goes on, and the second pass is left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdagradNorm {
    /// Learning rate, in units of theta; at least 0, no upper bound. Default 1.
    pub lr: f64,
    /// The root of what s starts at, in units of gradient; positive; read when the optimizer is built.
    /// Default 0.1.
    pub b0: f64,
    /// What shares one rate: each tensor on its own (default), or the group, as the paper has it.
    pub scope: Scope,
}

impl Default for AdagradNorm {
    fn default() -> Self {
        AdagradNorm {
            lr: 1.0,
            b0: 0.1,
            scope: Scope::Tensor,
        }
    }
}

impl Rule for AdagradNorm {
    const NAME: &'static str = "adagrad_norm";
    const SLOTS: usize = 0;
    const CARRIED: usize = 1;

    fn carried(&self, _: usize) -> Slot {
        Slot {
            name: "s",
            start: self.b0 * self.b0,
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        non_negative("lr", self.lr)?;
        positive("b0", self.b0)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, _: u64, e: &mut E) {
        let s = e.carried::<0>();
        let lr = e.uniform(self.lr);
        let squares = |x: Lane<_, 0>| ([], [x.grad * x.grad]);
        let [square] = e.pass([Fold::SUM.over(self.scope)], squares);
        let s = s + square;
        if !rests(self.lr) {
            let rate = lr / s.sqrt();
            e.map(|x: Lane<_, 0>| x.moved(x.theta - rate * x.grad));
        }
        e.carry::<0>(s);
    }
}

impl Tunable for AdagradNorm {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("b0", Setting::Number(&mut self.b0));
        visit("scope", Setting::Scope(&mut self.scope));
    }
}

/// SC-Adagrad: Adagrad for strongly convex losses, which divides by the sum itself, not by its root.
///
/// ```text
/// input: lr, xi1, xi2, weight_decay; theta_0
/// initialize: v = 0
/// for t = 0, 1, ..
///   g = gradient at theta + weight_decay theta
///   v = v + g^2
///   theta = theta - lr g / (v + xi2 exp(-xi1 v))
/// ```
///
/// Source: Mukkamala and Hein, "Variants of RMSProp and Adagrad with Logarithmic Regret Bounds" (2017),
/// Algorithm 2, with the authors' damping. The exponential is that of
/// [`elementary`](crate::elementary::exp_minus).
///
/// One state vector; 20 bytes a parameter in `f32`; an exponential, about forty operations, and a
/// division a lane. A zero gradient moves nothing. g^2 overflows beyond 1.8e19 in `f32`, and such a lane
/// stands still from then on. A NaN stays in its lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScAdagrad {
    /// Learning rate; at least 0, no upper bound. Default 1e-2.
    pub lr: f64,
    /// How fast the damping fades as v grows, at least 0. Default 0.1.
    pub xi1: f64,
    /// The damping at v = 0; positive. Default 0.1.
    pub xi2: f64,
    /// L2 weight decay, joined to the gradient; at least 0. Default 0.
    pub weight_decay: f64,
}

impl Default for ScAdagrad {
    fn default() -> Self {
        ScAdagrad {
            lr: 1e-2,
            xi1: 0.1,
            xi2: 0.1,
            weight_decay: 0.0,
        }
    }
}

impl Rule for ScAdagrad {
    const NAME: &'static str = "sc_adagrad";
    const SLOTS: usize = 1;
    const CARRIED: usize = 0;

    fn slot(&self, _: usize) -> Slot {
        Slot::zero("v")
    }

    fn check(&self) -> Result<(), Invalid> {
        non_negative("lr", self.lr)?;
        check_damping(self.xi1, self.xi2)?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        rest_or_walk(rests(self.lr), self, t, e);
    }
}

impl Walk for ScAdagrad {
    #[inline(always)]
    fn walk<E: Engine>(&self, _: u64, e: &mut E) {
        let lr = e.uniform(self.lr);
        let (xi1, xi2) = (e.uniform(self.xi1), e.uniform(self.xi2));
        let shrink = Shrink::l2(self.weight_decay, e);
        e.map(|x| {
            let [v] = x.slot;
            let (theta, g) = shrink.apply(x.theta, x.grad);
            let v = v + g * g;
            Lane {
                theta: theta - lr * g / (v + xi2 * exp_minus(xi1 * v)),
                slot: [v],
                ..x
            }
        });
    }
}

impl Tunable for ScAdagrad {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("xi1", Setting::Number(&mut self.xi1));
        visit("xi2", Setting::Number(&mut self.xi2));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
    }
}

/// SC-RMSProp: SC-Adagrad over an average of squared gradients that grows with time.
///
/// ```text
/// input: lr, gamma, xi1, xi2, weight_decay; theta_0
/// initialize: v = 0
/// for t = 1, 2, ..
///   g = gradient at theta + weight_decay theta
///   beta = 1 - gamma / t
///   v = beta v + (1 - beta) g^2
///   theta = theta - lr g / (t v + xi2 exp(-xi1 t v))
/// ```
///
/// Source: as [`ScAdagrad`], Algorithm 5. With gamma = 1 it *is* SC-Adagrad.
///
/// State, cost and special values as [`ScAdagrad`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScRmsProp {
    /// Learning rate; at least 0, no upper bound. Default 1e-2.
    pub lr: f64,
    /// How much the average leans to the present, in (0, 1]. Default 0.9.
    pub gamma: f64,
    /// How fast the damping fades as t v grows, at least 0. Default 0.1.
    pub xi1: f64,
    /// The damping at v = 0; positive. Default 0.1.
    pub xi2: f64,
    /// L2 weight decay, joined to the gradient; at least 0. Default 0.
    pub weight_decay: f64,
}

impl Default for ScRmsProp {
    fn default() -> Self {
        ScRmsProp {
            lr: 1e-2,
            gamma: 0.9,
            xi1: 0.1,
            xi2: 0.1,
            weight_decay: 0.0,
        }
    }
}

impl Rule for ScRmsProp {
    const NAME: &'static str = "sc_rmsprop";
    const SLOTS: usize = 1;
    const CARRIED: usize = 0;

    fn slot(&self, _: usize) -> Slot {
        Slot::zero("v")
    }

    fn check(&self) -> Result<(), Invalid> {
        non_negative("lr", self.lr)?;
        let gamma = self.gamma;
        ensure(gamma > 0.0 && gamma <= 1.0, "gamma", "lie in (0, 1]", gamma)?;
        check_damping(self.xi1, self.xi2)?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        rest_or_walk(rests(self.lr), self, t, e);
    }
}

impl Walk for ScRmsProp {
    #[inline(always)]
    fn walk<E: Engine>(&self, t: u64, e: &mut E) {
        let t = t as f64 + 1.0;
        let (lr, time) = (e.uniform(self.lr), e.uniform(t));
        let (keep, share) = (e.uniform(1.0 - self.gamma / t), e.uniform(self.gamma / t));
        let (xi1, xi2) = (e.uniform(self.xi1), e.uniform(self.xi2));
        let shrink = Shrink::l2(self.weight_decay, e);
        e.map(|x| {
            let [v] = x.slot;
            let (theta, g) = shrink.apply(x.theta, x.grad);
            let v = keep * v + share * (g * g);
            let sum = time * v;
            Lane {
                theta: theta - lr * g / (sum + xi2 * exp_minus(xi1 * sum)),
                slot: [v],
                ..x
            }
        });
    }
}

impl Tunable for ScRmsProp {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("gamma", Setting::Number(&mut self.gamma));
        visit("xi1", Setting::Number(&mut self.xi1));
        visit("xi2", Setting::Number(&mut self.xi2));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
    }
}

fn check_damping(xi1: f64, xi2: f64) -> Result<(), Invalid> {
    non_negative("xi1", xi1)?;
    positive("xi2", xi2)
}
