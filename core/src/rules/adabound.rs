//! AdaBound and AMSBound: Adam whose rates are clipped between bounds that close in on one rate.

use super::decay::Shrink;
use super::moments::{Moments, Root, check_moments, hat_rate};
use super::rest::{Walk, rest_or_walk, rests};
use crate::error::{Invalid, non_negative, positive};
use crate::real::Real;
use crate::rule::{Engine, Lane, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// AdaBound: begins as Adam and ends as SGD with momentum.
///
/// ```text
/// input: lr, beta1, beta2, eps, final_lr, gamma, base_lr, weight_decay; theta_0
/// initialize: m = 0, v = 0
/// for t = 1, 2, ..
///   g = gradient at theta + weight_decay theta                   (L2, default; or decoupled)
///   m = beta1 m + (1 - beta1) g
///   v = beta2 v + (1 - beta2) g^2
///   f = final_lr lr / base_lr                                    (final_lr without a base_lr)
///   r = lr sqrt(1 - beta2^t) / (1 - beta1^t) / (sqrt(v) + eps)
///   r = clip(r, f (1 - 1 / (gamma t + 1)), f (1 + 1 / (gamma t)))
///   theta = theta - r m
/// ```
///
/// Source: Luo, Xiong, Liu and Sun, "Adaptive Gradient Methods with Dynamic Bound of Learning Rate"
/// (2019), in the form of the authors' code. The paper corrects nothing and divides by sqrt(t), and its
/// bounds have gamma = 1 - beta2.
///
/// *What `final_lr` means.* It is the rate of the SGD that AdaBound ends as, in absolute terms; it does
/// not grow with `lr`. Under a schedule of `lr` the bounds stand still, unless `base_lr` says which `lr`
/// they belong to: then they move in proportion to lr / base_lr. The authors' code always does the
/// latter, from the lr that the optimizer was built with. An `lr` of 0 leaves theta as it is, wherever the
/// bounds are.
///
/// *AdaBoundW* is this with `decoupled`. Here the decay is multiplied by lr, in its code it is not: divide
/// its weight decay by lr for the same steps.
///
/// Two state vectors; 28 bytes a parameter in `f32`; a root and a division a lane. A gradient that was
/// always 0 has the upper bound as its rate, and stands still. g^2 overflows beyond 1.8e19 in `f32`;
/// such a lane has the lower bound. A NaN stays in its lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaBound {
    /// Learning rate at the start; at least 0, no upper bound. Default 1e-3.
    pub lr: f64,
    /// Decay of the first moment m, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay of the second moment v, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Least denominator, in units of gradient; at least 0. Default 1e-8.
    pub eps: f64,
    /// Learning rate at the end, that of SGD; positive. Default 0.1.
    pub final_lr: f64,
    /// How fast the bounds close in, per step; positive. Default 1e-3.
    pub gamma: f64,
    /// The lr at which the bounds close in on `final_lr` itself; `None` (default): at every lr. Positive.
    pub base_lr: Option<f64>,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Whether the decay acts on theta itself, times lr, instead of joining the gradient. Default false.
    pub decoupled: bool,
}

impl Default for AdaBound {
    fn default() -> Self {
        AdaBound {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            final_lr: 0.1,
            gamma: 1e-3,
            base_lr: None,
            weight_decay: 0.0,
            decoupled: false,
        }
    }
}

impl AdaBound {
    /// The bounds of a lane's rate in step `t`, counted from 0.
    ///
    /// ```
    /// let (low, high) = adarem::AdaBound::default().bounds(999_999);
    /// assert!((0.0999..0.1).contains(&low) && (0.1..0.1002).contains(&high));
    /// ```
    pub fn bounds(&self, t: u64) -> (f64, f64) {
        let end = self.final_lr * self.base_lr.map_or(1.0, |base| self.lr / base);
        let age = self.gamma * (t as f64 + 1.0);
        // 1 - 1 / (age + 1), without the difference of two numbers that are almost equal while age is small.
        (end * (1.0 / (1.0 + 1.0 / age)), end * (1.0 + 1.0 / age))
    }
}

impl Rule for AdaBound {
    const NAME: &'static str = "adabound";
    const SLOTS: usize = 2;
    const CARRIED: usize = 0;

    fn slot(&self, k: usize) -> Slot {
        Slot::zero(NAMES[k.min(1)])
    }

    fn check(&self) -> Result<(), Invalid> {
        check_moments([self.lr, self.beta1, self.beta2, self.eps])?;
        positive("final_lr", self.final_lr)?;
        positive("gamma", self.gamma)?;
        self.base_lr
            .map_or(Ok(()), |base| positive("base_lr", base))?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        rest_or_walk(rests(self.lr), self, t, e);
    }
}

impl Walk for AdaBound {
    #[inline(always)]
    fn walk<E: Engine>(&self, t: u64, e: &mut E) {
        let shrink = Shrink::new(self.lr, self.weight_decay, self.decoupled, e);
        let moments = Moments::new(self.beta1, self.beta2, e);
        let rate = Bounded::new(self, t, e);
        e.map(|x| {
            let [m, v] = x.slot;
            let (theta, g) = shrink.apply(x.theta, x.grad);
            let (m, v) = moments.next(m, v, g);
            Lane {
                theta: theta - rate.of(v) * m,
                slot: [m, v],
                ..x
            }
        });
    }
}

impl Tunable for AdaBound {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("beta1", Setting::Number(&mut self.beta1));
        visit("beta2", Setting::Number(&mut self.beta2));
        visit("eps", Setting::Number(&mut self.eps));
        visit("final_lr", Setting::Number(&mut self.final_lr));
        visit("gamma", Setting::Number(&mut self.gamma));
        visit("base_lr", Setting::Optional(&mut self.base_lr));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
        visit("decoupled", Setting::Flag(&mut self.decoupled));
    }
}

/// AMSBound: AdaBound, with the largest second moment so far.
///
/// ```text
/// initialize: m = 0, v = 0, v_max = 0
/// for t = 1, 2, ..
///   g, m, v as AdaBound
///   v_max = max(v_max, v)
///   r, theta as AdaBound, with v_max in place of v
/// ```
///
/// Source: as [`AdaBound`]; `amsbound=True` in the authors' code. Its fields are AdaBound's, so it holds
/// one.
///
/// Three state vectors; 36 bytes a parameter in `f32`. A NaN in v loses the maximum. Else as [`AdaBound`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AmsBound(
    /// The hyper-parameters.
    pub AdaBound,
);

impl Rule for AmsBound {
    const NAME: &'static str = "amsbound";
    const SLOTS: usize = 3;
    const CARRIED: usize = 0;

    fn slot(&self, k: usize) -> Slot {
        Slot::zero(NAMES[k.min(2)])
    }

    fn check(&self) -> Result<(), Invalid> {
        self.0.check()
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        rest_or_walk(rests(self.0.lr), self, t, e);
    }
}

impl Walk for AmsBound {
    #[inline(always)]
    fn walk<E: Engine>(&self, t: u64, e: &mut E) {
        let AmsBound(bound) = self;
        let shrink = Shrink::new(bound.lr, bound.weight_decay, bound.decoupled, e);
        let moments = Moments::new(bound.beta1, bound.beta2, e);
        let rate = Bounded::new(bound, t, e);
        e.map(|x| {
            let [m, v, largest] = x.slot;
            let (theta, g) = shrink.apply(x.theta, x.grad);
            let (m, v) = moments.next(m, v, g);
            let largest = largest.max(v);
            Lane {
                theta: theta - rate.of(largest) * m,
                slot: [m, v, largest],
                ..x
            }
        });
    }
}

impl Tunable for AmsBound {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        self.0.settings(visit);
    }
}

const NAMES: [&str; 3] = ["m", "v", "v_max"];

/// The rate of a lane, clipped.
struct Bounded<R> {
    rate: R,
    root: Root<R>,
    low: R,
    high: R,
}

impl<R: Real> Bounded<R> {
    #[inline(always)]
    fn new<E: Engine<Real = R>>(rule: &AdaBound, t: u64, e: &mut E) -> Self {
        let (low, high) = rule.bounds(t);
        Bounded {
            rate: e.uniform(hat_rate(rule.lr, rule.beta1, rule.beta2, t)),
            root: Root::raw(rule.eps, e),
            low: e.uniform(low),
            high: e.uniform(high),
        }
    }

    #[inline(always)]
    fn of(&self, v: R) -> R {
        let rate = (self.rate / self.root.of(v)).max(self.low);
        R::select(self.high.lt(rate), self.high, rate)
    }
}
