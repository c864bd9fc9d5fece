//! Stochastic gradient descent, plain and with momentum.

use super::decay::{Decay, Shrink, check_scheduled};
use super::given;
use super::rest::{Walk, rest_or_walk, rests};
use crate::error::{Invalid, ensure, fraction, non_negative};
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
    /// Learning rate; at least 0, no upper bound. Default 1e-3, as in PyTorch.
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
        non_negative("lr", self.lr)?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        rest_or_walk(rests(self.lr), self, t, e);
    }
}

impl Walk for Sgd {
    #[inline(always)]
    fn walk<E: Engine>(&self, _: u64, e: &mut E) {
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
/// input: lr, momentum, dampening, average, lr_inside, nesterov, weight_decay; theta_0
/// initialize: b = 0
/// for t = 0, 1, ..
///   g = gradient at theta + weight_decay theta                   (L2, default; or decoupled as in Sgd)
///   f = g                                                        (t = 0, and always without dampening)
///     = (1 - dampening) g                                        (t > 0)
///     = (1 - momentum) g                                         (average)
///   b = momentum b + f
///   u = b
///     = f + momentum b                                           (nesterov)
///   theta = theta - lr u
/// with lr_inside: b = momentum b + lr f, u = b or lr f + momentum b, theta = theta - u
/// ```
///
/// By default as `torch.optim.SGD`. With `average` b is the running average that AdaRem, Adam and
/// AdaBound keep. With `lr_inside` every gradient keeps the rate of its own step, as Rumelhart, Hinton
/// and Williams (1986) and most lectures write it: the same as without while lr is constant, but a
/// schedule then reaches theta late. With `nesterov` besides, it is the second form of
/// [`Nag`](crate::Nag). burn's default dampening is 0.1; optax never dampens.
///
/// One state vector; 20 bytes a parameter in `f32`. A NaN or infinite gradient stays in its own lane,
/// and in its `b`. A zero gradient lets theta coast along `b`, and with `lr_inside` so does a rate of 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdM {
    /// Learning rate; at least 0, no upper bound. Default 1e-3, as in PyTorch.
    pub lr: f64,
    /// Decay of the buffer b, in [0, 1). Default 0.9.
    pub momentum: f64,
    /// What is left out of every gradient but the first, in [0, 1). Default 0.
    pub dampening: f64,
    /// Whether b is a running average: every gradient, the first too, counts 1 - momentum. Default false.
    pub average: bool,
    /// Whether a gradient is multiplied by lr when it enters b, not when b is applied. Default false.
    pub lr_inside: bool,
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
            average: false,
            lr_inside: false,
            nesterov: false,
            weight_decay: 0.0,
            decoupled: false,
        }
    }
}

impl SgdM {
    /// What the gradient of step `t` is multiplied by when it enters b; `None` where that is always 1.
    #[inline(always)]
    fn share(&self, t: u64) -> Option<f64> {
        let share = if self.average {
            1.0 - self.momentum
        } else if t == 0 {
            1.0
        } else {
            1.0 - self.dampening
        };
        if self.lr_inside {
            Some(self.lr * share)
        } else {
            (self.average || given(self.dampening)).then_some(share)
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
        non_negative("lr", self.lr)?;
        fraction("momentum", self.momentum)?;
        fraction("dampening", self.dampening)?;
        let plain = self.dampening == 0.0;
        ensure(
            plain || !self.nesterov,
            "dampening",
            "be 0 with nesterov",
            self.dampening,
        )?;
        ensure(
            plain || !self.average,
            "dampening",
            "be 0 with average",
            self.dampening,
        )?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        rest_or_walk(rests(self.lr) && !self.lr_inside, self, t, e);
    }
}

impl Walk for SgdM {
    #[inline(always)]
    fn walk<E: Engine>(&self, t: u64, e: &mut E) {
        let lr = (!self.lr_inside).then(|| e.uniform(self.lr));
        let momentum = e.uniform(self.momentum);
        let share = self.share(t).map(|share| e.uniform(share));
        let shrink = Shrink::new(self.lr, self.weight_decay, self.decoupled, e);
        e.map(|x| {
            let [b] = x.slot;
            let (theta, g) = shrink.apply(x.theta, x.grad);
            let fed = share.map_or(g, |share| share * g);
            let b = momentum * b + fed;
            let along = if self.nesterov { fed + momentum * b } else { b };
            Lane {
                theta: theta - lr.map_or(along, |lr| lr * along),
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
        visit("average", Setting::Flag(&mut self.average));
        visit("lr_inside", Setting::Flag(&mut self.lr_inside));
        visit("nesterov", Setting::Flag(&mut self.nesterov));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
        visit("decoupled", Setting::Flag(&mut self.decoupled));
    }
}

/// SGDW: momentum with the rate inside, and weight decay on theta itself that follows the schedule.
///
/// ```text
/// input: lr, momentum, weight_decay, base_lr; theta_0
/// initialize: m = 0
/// for t = 0, 1, ..
///   g = gradient at theta
///   m = momentum m + lr g
///   theta = (theta - lr weight_decay theta) - m
///         = (theta - lr / base_lr weight_decay theta) - m        (with a base_lr)
/// ```
///
/// Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019), Algorithm 1. There the
/// decay is multiplied by the schedule alone: give `base_lr` the lr that the schedule starts from. With
/// restarts of the schedule it is SGDWR.
///
/// One state vector; 20 bytes a parameter in `f32`. Special values as [`SgdM`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdW {
    /// Learning rate; at least 0, no upper bound. Default 0.1, the authors'.
    pub lr: f64,
    /// Decay of m, in [0, 1). Default 0.9.
    pub momentum: f64,
    /// Decoupled weight decay, at least 0. Default 5e-4.
    pub weight_decay: f64,
    /// What the decay is multiplied by: lr where this is `None` (default), else the schedule alone, lr /
    /// base_lr. Positive.
    pub base_lr: Option<f64>,
}

impl Default for SgdW {
    fn default() -> Self {
        SgdW {
            lr: 0.1,
            momentum: 0.9,
            weight_decay: 5e-4,
            base_lr: None,
        }
    }
}

impl Rule for SgdW {
    const NAME: &'static str = "sgdw";
    const SLOTS: usize = 1;
    const CARRIED: usize = 0;

    fn slot(&self, _: usize) -> Slot {
        Slot::zero("m")
    }

    fn check(&self) -> Result<(), Invalid> {
        non_negative("lr", self.lr)?;
        fraction("momentum", self.momentum)?;
        check_scheduled(self.weight_decay, self.base_lr)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, _: u64, e: &mut E) {
        let (lr, momentum) = (e.uniform(self.lr), e.uniform(self.momentum));
        let decay = Decay::scheduled(self.lr, self.base_lr, self.weight_decay, e);
        e.map(|x| {
            let [m] = x.slot;
            let m = momentum * m + lr * x.grad;
            Lane {
                theta: decay.keep(x.theta) - m,
                slot: [m],
                ..x
            }
        });
    }
}

impl Tunable for SgdW {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("momentum", Setting::Number(&mut self.momentum));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
        visit("base_lr", Setting::Optional(&mut self.base_lr));
    }
}

#[cfg(test)]
mod tests {
    use super::SgdM;
    use crate::{Host, Rule};

    /// Theta after each of two steps with a gradient of 8, from 0.
    fn two_steps(rule: SgdM) -> [f64; 2] {
        let (mut theta, mut b) = ([0.0], [0.0]);
        [0, 1].map(|t| {
            let mut host = Host::new(&mut theta, &[8.0], [&mut b], &mut []).unwrap();
            rule.step(t, &mut host);
            theta[0]
        })
    }

    #[test]
    fn with_the_rate_inside_a_gradient_enters_by_the_product_of_rate_and_share() {
        let rule = SgdM {
            lr: 0.5,
            momentum: 0.75,
            lr_inside: true,
            ..SgdM::default()
        };
        let average = SgdM {
            average: true,
            ..rule
        };
        assert_eq!(two_steps(average), [-1.0, -1.0 - 1.75]);
        let dampened = SgdM {
            dampening: 0.25,
            ..rule
        };
        assert_eq!(two_steps(dampened), [-4.0, -4.0 - (3.0 + 3.0)]);
    }

    #[test]
    fn at_a_rate_of_0_theta_coasts_where_the_rate_is_inside_and_else_rests() {
        let after = |lr_inside, grad: &[f64]| {
            let (mut theta, mut b) = ([-0.0], [4.0]);
            let rule = SgdM {
                lr: 0.0,
                momentum: 0.75,
                lr_inside,
                ..SgdM::default()
            };
            let mut host = Host::new(&mut theta, grad, [&mut b], &mut []).unwrap();
            rule.step(1, &mut host);
            (theta[0].to_bits(), b[0])
        };
        assert_eq!(after(true, &[8.0]), ((-3.0f64).to_bits(), 3.0));
        let resting = (-0.0f64).to_bits();
        assert_eq!(after(false, &[8.0]), (resting, 11.0));
        assert_eq!(after(false, &[f64::INFINITY]), (resting, f64::INFINITY));
    }
}
