//! Stochastic gradient descent, plain and with momentum.

use super::decay::Shrink;
use super::given;
use crate::error::{Invalid, ensure, fraction, non_negative, positive};
use crate::rule::{Engine, Lane, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// Stochastic gradient descent.
///
/// ```text
/// input: lr, weight_decay; theta_0
/// for t = 0, 1, ..
///   g = gradient at theta
///   theta = theta - lr (g + weight_decay theta)                  (L2, default)
///   theta = (theta - lr weight_decay theta) - lr g               (decoupled)
/// ```
///
/// No state; 12 bytes a parameter in `f32`. A NaN or infinite gradient stays in its own lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate; positive, no upper bound. Default 1e-3, as in PyTorch.
    pub lr: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Whether the decay acts on theta itself instead of joining the gradient. Default false.
    pub decoupled: bool,
}

impl Default for Sgd {
    fn default() -> Self {
        Sgd {
            lr: 1e-3,
            weight_decay: 0.0,
            decoupled: false,
        }
    }
}

impl Rule for Sgd {
    const NAME: &'static str = "sgd";
    const SLOTS: usize = 0;
    const CARRIED: usize = 0;

    fn check(&self) -> Result<(), Invalid> {
        positive("lr", self.lr)?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, _: u64, e: &mut E) {
        let lr = e.uniform(self.lr);
        let shrink = Shrink::new(self.lr, self.weight_decay, self.decoupled, e);
        e.map(|x: Lane<_, 0>| {
            let (theta, g) = shrink.apply(x.theta, x.grad);
            Lane {
                theta: theta - lr * g,
                ..x
            }
        });
    }
}

impl Tunable for Sgd {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
        visit("decoupled", Setting::Flag(&mut self.decoupled));
    }
}

/// Stochastic gradient descent with momentum.
///
/// ```text
/// input: lr, momentum, dampening, nesterov, weight_decay; theta_0
/// initialize: b = 0
/// for t = 0, 1, ..
///   g = gradient at theta + weight_decay theta                   (L2, default; or decoupled as in Sgd)
///   b = g                                                        (t = 0)
///     = momentum b + (1 - dampening) g                           (t > 0)
///   theta = theta - lr b
///         = theta - lr (g + momentum b)                          (nesterov)
/// ```
///
/// As `torch.optim.SGD`. burn's default dampening is 0.1; optax never dampens. One state vector; 20 bytes a
/// parameter in `f32`. A NaN or infinite gradient stays in its own lane, and in its `b`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdM {
    /// Learning rate; positive, no upper bound. Default 1e-3, as in PyTorch.
    pub lr: f64,
    /// Decay of the buffer b, in [0, 1). Default 0.9.
    pub momentum: f64,
    /// What is left out of every gradient but the first, in [0, 1). Default 0.
    pub dampening: f64,
    /// Whether the step looks ahead along b. Default false.
    pub nesterov: bool,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Whether the decay acts on theta itself instead of joining the gradient. Default false.
    pub decoupled: bool,
}

impl Default for SgdM {
    fn default() -> Self {
        SgdM {
            lr: 1e-3,
            momentum: 0.9,
            dampening: 0.0,
            nesterov: false,
            weight_decay: 0.0,
            decoupled: false,
        }
    }
}

impl Rule for SgdM {
    const NAME: &'static str = "sgdm";
    const SLOTS: usize = 1;
    const CARRIED: usize = 0;

    fn slot(&self, _: usize) -> Slot {
        Slot::zero("momentum_buffer")
    }

    fn check(&self) -> Result<(), Invalid> {
        positive("lr", self.lr)?;
        fraction("momentum", self.momentum)?;
        fraction("dampening", self.dampening)?;
        let plain = !self.nesterov || self.dampening == 0.0;
        ensure(plain, "dampening", "be 0 with nesterov", self.dampening)?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        let lr = e.uniform(self.lr);
        let momentum = e.uniform(self.momentum);
        let share = given(self.dampening)
            .then(|| e.uniform(if t == 0 { 1.0 } else { 1.0 - self.dampening }));
        let shrink = Shrink::new(self.lr, self.weight_decay, self.decoupled, e);
        e.map(|x| {
            let [b] = x.slot;
            let (theta, g) = shrink.apply(x.theta, x.grad);
            let b = momentum * b + share.map_or(g, |share| share * g);
            let along = if self.nesterov { g + momentum * b } else { b };
            Lane {
                theta: theta - lr * along,
                slot: [b],
                ..x
            }
        });
    }
}

impl Tunable for SgdM {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("momentum", Setting::Number(&mut self.momentum));
        visit("dampening", Setting::Number(&mut self.dampening));
        visit("nesterov", Setting::Flag(&mut self.nesterov));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
        visit("decoupled", Setting::Flag(&mut self.decoupled));
    }
}
