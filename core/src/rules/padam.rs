//! Padam: how adaptive AMSGrad is, as a number.

use super::decay::Shrink;
use super::moments::{Moments, Root, check_moments, hat_rate};
use super::rest::{Walk, rest_or_walk, rests};
use crate::elementary::Power;
use crate::error::{Invalid, ensure, non_negative};
use crate::real::Real;
use crate::rule::{Engine, Lane, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// Padam: divides by the second moment to a power p between SGD's 0 and AMSGrad's 1/2.
///
/// ```text
/// input: lr, beta1, beta2, eps, partial p, weight_decay; theta_0
/// initialize: m = 0, v = 0, v_max = 0
/// for t = 1, 2, ..
///   g = gradient at theta + weight_decay theta                   (L2, default; or decoupled)
///   m = beta1 m + (1 - beta1) g
///   v = beta2 v + (1 - beta2) g^2
///   v_max = max(v_max, v)
///   theta = theta - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v_max) + eps)^(2 p)
/// ```
///
/// Source: Chen, Zhou, Tang, Yang, Cao and Gu, "Closing the Generalization Gap of Adaptive Gradient
/// Methods in Training Deep Neural Networks" (2020), Algorithm 1, in the form of the authors' code,
/// which corrects the moments (by the root, whatever p is) and adds eps inside the power. p = 1/2 is
/// [`AmsGrad`](crate::AmsGrad) with `eps_hat`; as p falls to 0 it becomes SGD with momentum, 1 - beta1
/// times as fast.
///
/// p = 1/2, 1/4, 1/8, 1/16 and 1/32 take 0 to 4 more roots a lane. Any other p takes the power of
/// [`elementary`](crate::elementary::Power): the same bits wherever division and root are exact, at
/// about a hundred operations a lane.
///
/// Three state vectors; 36 bytes a parameter in `f32`. With eps = 0 a gradient that was always 0 gives 0
/// / 0. A NaN in v loses the maximum, but m keeps it in its lane. g^2 overflows beyond 1.8e19 in `f32`,
/// and such a lane stands still from then on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Padam {
    /// Learning rate; at least 0, no upper bound: recurrent networks take up to 10. Default 0.1.
    pub lr: f64,
    /// Decay of the first moment m, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay of the second moment v, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Least root of the second moment, in units of gradient; at least 0. Default 1e-8.
    pub eps: f64,
    /// The power p of the second moment, in (0, 1/2]. Default 1/8, the paper's for convolutional
    /// networks; the code has 1/4, and 0.4 or 0.2 for recurrent networks.
    pub partial: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Whether the decay acts on theta itself, times lr, instead of joining the gradient. Default false.
    pub decoupled: bool,
}

impl Default for Padam {
    fn default() -> Self {
        Padam {
            lr: 0.1,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            partial: 0.125,
            weight_decay: 0.0,
            decoupled: false,
        }
    }
}

impl Rule for Padam {
    const NAME: &'static str = "padam";
    const SLOTS: usize = 3;
    const CARRIED: usize = 0;

    fn slot(&self, k: usize) -> Slot {
        Slot::zero(["m", "v", "v_max"][k.min(2)])
    }

    fn check(&self) -> Result<(), Invalid> {
        check_moments([self.lr, self.beta1, self.beta2, self.eps])?;
        let p = self.partial;
        ensure(p > 0.0 && p <= 0.5, "partial", "lie in (0, 0.5]", p)?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        rest_or_walk(rests(self.lr), self, t, e);
    }
}

impl Walk for Padam {
    #[inline(always)]
    fn walk<E: Engine>(&self, t: u64, e: &mut E) {
        let shrink = Shrink::new(self.lr, self.weight_decay, self.decoupled, e);
        let moments = Moments::new(self.beta1, self.beta2, e);
        let rate = e.uniform(hat_rate(self.lr, self.beta1, self.beta2, t));
        let update = Update {
            shrink,
            moments,
            rate,
            root: Root::raw(self.eps, e),
        };
        match Power::new(2.0 * self.partial, e) {
            Power::Roots(0) => update.pass(e, |x| x),
            Power::Roots(1) => update.pass(e, |x| x.sqrt()),
            Power::Roots(2) => update.pass(e, |x| x.sqrt().sqrt()),
            Power::Roots(3) => update.pass(e, |x| x.sqrt().sqrt().sqrt()),
            Power::Roots(_) => update.pass(e, |x| x.sqrt().sqrt().sqrt().sqrt()),
            Power::Series(series) => update.pass(e, |x| series.of(x)),
        }
    }
}

/// What a lane needs of a step, but for the power.
struct Update<R> {
    shrink: Shrink<R>,
    moments: Moments<R>,
    rate: R,
    root: Root<R>,
}

impl<R: Real> Update<R> {
    #[inline(always)]
    fn pass<E: Engine<Real = R>>(&self, e: &mut E, power: impl Fn(R) -> R) {
        e.map(|x| {
            let [m, v, largest] = x.slot;
            let (theta, g) = self.shrink.apply(x.theta, x.grad);
            let (m, v) = self.moments.next(m, v, g);
            let largest = largest.max(v);
            Lane {
                theta: theta - self.rate * m / power(self.root.of(largest)),
                slot: [m, v, largest],
                ..x
            }
        });
    }
}

impl Tunable for Padam {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("beta1", Setting::Number(&mut self.beta1));
        visit("beta2", Setting::Number(&mut self.beta2));
        visit("eps", Setting::Number(&mut self.eps));
        visit("partial", Setting::Number(&mut self.partial));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
        visit("decoupled", Setting::Flag(&mut self.decoupled));
    }
}
