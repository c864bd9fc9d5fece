//! RMSProp: plain, with momentum, and centered.

use super::decay::Shrink;
use super::moments::Average;
use super::rest::{Walk, rest_or_walk, rests};
use crate::error::{Invalid, fraction, non_negative};
use crate::real::Real;
use crate::rule::{Engine, Lane, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// RMSProp: steps by the gradient over the root of its average square.
///
/// ```text
/// input: lr, alpha, eps, weight_decay; theta_0
/// initialize: v = 0
/// for t = 0, 1, ..
///   g = gradient at theta + weight_decay theta
///   v = alpha v + (1 - alpha) g^2
///   theta = theta - lr g / (sqrt(v) + eps)
///         = theta - lr g / sqrt(v + eps)                         (eps_inside)
/// ```
///
/// Source: Tieleman and Hinton, "Lecture 6.5: rmsprop" (2012), in the form of `torch.optim.RMSprop`.
/// TensorFlow and optax put eps inside the root. [`RmsPropM`] and [`RmsPropCentered`] keep more state.
///
/// One state vector; 20 bytes a parameter in `f32`; a root and a division a lane. With eps = 0 a
/// gradient that was always 0 gives 0 / 0; g^2 overflows beyond 1.8e19 in `f32`, and such a lane stands
/// still. A NaN stays in its lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    /// Learning rate; at least 0, no upper bound. Default 1e-2, as in PyTorch; AdaRem's authors use 1e-4.
    pub lr: f64,
    /// Decay of the average square v, in [0, 1). Default 0.99, as in PyTorch; the lecture has 0.9.
    pub alpha: f64,
    /// Least denominator, in units of gradient, or with `eps_inside` of its square; at least 0. Default
    /// 1e-8.
    pub eps: f64,
    /// Whether eps stands inside the root. Default false.
    pub eps_inside: bool,
    /// L2 weight decay, joined to the gradient; at least 0. Default 0.
    pub weight_decay: f64,
}

impl Default for RmsProp {
    fn default() -> Self {
        RmsProp {
            lr: 1e-2,
            alpha: 0.99,
            eps: 1e-8,
            eps_inside: false,
            weight_decay: 0.0,
        }
    }
}

impl Rule for RmsProp {
    const NAME: &'static str = "rmsprop";
    const SLOTS: usize = 1;
    const CARRIED: usize = 0;

    fn slot(&self, _: usize) -> Slot {
        Slot::zero("v")
    }

    fn check(&self) -> Result<(), Invalid> {
        non_negative("lr", self.lr)?;
        fraction("alpha", self.alpha)?;
        non_negative("eps", self.eps)?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        rest_or_walk(rests(self.lr), self, t, e);
    }
}

impl Walk for RmsProp {
    #[inline(always)]
    fn walk<E: Engine>(&self, _: u64, e: &mut E) {
        let lr = e.uniform(self.lr);
        let average = Average::new(self.alpha, e);
        let denominator = Denominator::new(self.eps, self.eps_inside, e);
        let shrink = Shrink::l2(self.weight_decay, e);
        e.map(|x| {
            let [v] = x.slot;
            let (theta, g) = shrink.apply(x.theta, x.grad);
            let v = average.next(v, g * g);
            Lane {
                theta: theta - lr * g / denominator.of(v),
                slot: [v],
                ..x
            }
        });
    }
}

impl Tunable for RmsProp {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("alpha", Setting::Number(&mut self.alpha));
        visit("eps", Setting::Number(&mut self.eps));
        visit("eps_inside", Setting::Flag(&mut self.eps_inside));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
    }
}

/// RMSProp with momentum.
///
/// ```text
/// input: lr, alpha, momentum, eps, weight_decay; theta_0
/// initialize: v = 0, b = 0
/// for t = 0, 1, ..
///   g, v as RmsProp
///   b = momentum b + g / (sqrt(v) + eps)                         (or eps inside the root)
///   theta = theta - lr b
/// ```
///
/// Source: as [`RmsProp`]. Two state vectors; 28 bytes a parameter in `f32`. Special values as [`RmsProp`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsPropM {
    /// Learning rate; at least 0, no upper bound. Default 1e-2.
    pub lr: f64,
    /// Decay of the average square v, in [0, 1). Default 0.99.
    pub alpha: f64,
    /// Decay of the buffer b, in [0, 1). Default 0.9.
    pub momentum: f64,
    /// Least denominator, in units of gradient, or with `eps_inside` of its square; at least 0. Default
    /// 1e-8.
    pub eps: f64,
    /// Whether eps stands inside the root. Default false.
    pub eps_inside: bool,
    /// L2 weight decay, joined to the gradient; at least 0. Default 0.
    pub weight_decay: f64,
}

impl Default for RmsPropM {
    fn default() -> Self {
        RmsPropM {
            lr: 1e-2,
            alpha: 0.99,
            momentum: 0.9,
            eps: 1e-8,
            eps_inside: false,
            weight_decay: 0.0,
        }
    }
}

impl Rule for RmsPropM {
    const NAME: &'static str = "rmsprop_m";
    const SLOTS: usize = 2;
    const CARRIED: usize = 0;

    fn slot(&self, k: usize) -> Slot {
        Slot::zero(["v", "b"][k.min(1)])
    }

    fn check(&self) -> Result<(), Invalid> {
        non_negative("lr", self.lr)?;
        fraction("alpha", self.alpha)?;
        fraction("momentum", self.momentum)?;
        non_negative("eps", self.eps)?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        rest_or_walk(rests(self.lr), self, t, e);
    }
}

impl Walk for RmsPropM {
    #[inline(always)]
    fn walk<E: Engine>(&self, _: u64, e: &mut E) {
        let (lr, momentum) = (e.uniform(self.lr), e.uniform(self.momentum));
        let average = Average::new(self.alpha, e);
        let denominator = Denominator::new(self.eps, self.eps_inside, e);
        let shrink = Shrink::l2(self.weight_decay, e);
        e.map(|x| {
            let [v, b] = x.slot;
            let (theta, g) = shrink.apply(x.theta, x.grad);
            let v = average.next(v, g * g);
            let b = momentum * b + g / denominator.of(v);
            Lane {
                theta: theta - lr * b,
                slot: [v, b],
                ..x
            }
        });
    }
}

impl Tunable for RmsPropM {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("alpha", Setting::Number(&mut self.alpha));
        visit("momentum", Setting::Number(&mut self.momentum));
        visit("eps", Setting::Number(&mut self.eps));
        visit("eps_inside", Setting::Flag(&mut self.eps_inside));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
    }
}

/// Centered RMSProp: steps by the gradient over an estimate of its standard deviation.
///
/// ```text
/// input: lr, alpha, momentum, eps, weight_decay; theta_0
/// initialize: v = 0, a = 0, b = 0
/// for t = 0, 1, ..
///   g, v as RmsProp
///   a = alpha a + (1 - alpha) g
///   s = max(v - a^2, 0)                                          (v where v is infinite)
///   b = momentum b + g / (sqrt(s) + eps)                         (or eps inside the root)
///   theta = theta - lr b
/// ```
///
/// Source: Graves, "Generating Sequences With Recurrent Neural Networks" (2013), in the form of
/// `torch.optim.RMSprop(centered=True)`. There a variance that rounding makes negative becomes NaN; here
/// it is 0.
///
/// Three state vectors; 36 bytes a parameter in `f32`, or 28 with momentum = 0 (default), which leaves b
/// untouched. Special values as [`RmsProp`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsPropCentered {
    /// Learning rate; at least 0, no upper bound. Default 1e-2.
    pub lr: f64,
    /// Decay of the averages v and a, in [0, 1). Default 0.99.
    pub alpha: f64,
    /// Decay of the buffer b, in [0, 1). Default 0.
    pub momentum: f64,
    /// Least denominator, in units of gradient, or with `eps_inside` of its square; at least 0. Default
    /// 1e-8.
    pub eps: f64,
    /// Whether eps stands inside the root. Default false.
    pub eps_inside: bool,
    /// L2 weight decay, joined to the gradient; at least 0. Default 0.
    pub weight_decay: f64,
}

impl Default for RmsPropCentered {
    fn default() -> Self {
        RmsPropCentered {
            lr: 1e-2,
            alpha: 0.99,
            momentum: 0.0,
            eps: 1e-8,
            eps_inside: false,
            weight_decay: 0.0,
        }
    }
}

impl Rule for RmsPropCentered {
    const NAME: &'static str = "rmsprop_centered";
    const SLOTS: usize = 3;
    const CARRIED: usize = 0;

    fn slot(&self, k: usize) -> Slot {
        Slot::zero(["v", "a", "b"][k.min(2)])
    }

    fn check(&self) -> Result<(), Invalid> {
        non_negative("lr", self.lr)?;
        fraction("alpha", self.alpha)?;
        fraction("momentum", self.momentum)?;
        non_negative("eps", self.eps)?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        rest_or_walk(rests(self.lr), self, t, e);
    }
}

impl Walk for RmsPropCentered {
    #[inline(always)]
    fn walk<E: Engine>(&self, _: u64, e: &mut E) {
        let lr = e.uniform(self.lr);
        let momentum = (self.momentum != 0.0).then(|| e.uniform(self.momentum));
        let average = Average::new(self.alpha, e);
        let denominator = Denominator::new(self.eps, self.eps_inside, e);
        let shrink = Shrink::l2(self.weight_decay, e);
        let (zero, infinity) = (E::Real::lit(0.0), E::Real::lit(f64::INFINITY));
        // Theta decayed, both averages, and the gradient divided.
        let along = |theta, grad, [v, a]: [E::Real; 2]| {
            let (theta, g) = shrink.apply(theta, grad);
            let (v, a) = (average.next(v, g * g), average.next(a, g));
            // Where g^2 overflowed, a^2 may have too, and inf - inf is no variance.
            let variance = E::Real::select(v.lt(infinity), (v - a * a).max(zero), v);
            (theta, [v, a], g / denominator.of(variance))
        };
        match momentum {
            None => e.map(|x| {
                let (theta, slot, along) = along(x.theta, x.grad, x.slot);
                Lane {
                    theta: theta - lr * along,
                    slot,
                    ..x
                }
            }),
            Some(momentum) => e.map(|x| {
                let [v, a, b] = x.slot;
                let (theta, [v, a], along) = along(x.theta, x.grad, [v, a]);
                let b = momentum * b + along;
                Lane {
                    theta: theta - lr * b,
                    slot: [v, a, b],
                    ..x
                }
            }),
        }
    }
}

impl Tunable for RmsPropCentered {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("alpha", Setting::Number(&mut self.alpha));
        visit("momentum", Setting::Number(&mut self.momentum));
        visit("eps", Setting::Number(&mut self.eps));
        visit("eps_inside", Setting::Flag(&mut self.eps_inside));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
    }
}

/// sqrt(v) + eps, or sqrt(v + eps).
struct Denominator<R> {
    eps: R,
    inside: bool,
}

impl<R: Real> Denominator<R> {
    #[inline(always)]
    fn new<E: Engine<Real = R>>(eps: f64, inside: bool, e: &mut E) -> Self {
        let eps = e.uniform(eps);
        Denominator { eps, inside }
    }

    #[inline(always)]
    fn of(&self, v: R) -> R {
        if self.inside {
            (v + self.eps).sqrt()
        } else {
            v.sqrt() + self.eps
        }
    }
}
