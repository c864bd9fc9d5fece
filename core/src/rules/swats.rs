//! SWATS: Adam that becomes SGD when it knows SGD's rate.

use super::decay::Shrink;
use super::moments::{Average, Corrected, check_moments, reached};
use super::rest::{Walk, rest_or_walk, rests};
use crate::error::{Invalid, non_negative};
use crate::fold::{Fold, Scope};
use crate::real::Real;
use crate::rule::{Engine, Lane, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// SWATS: steps as Adam, estimates which rate would make SGD take the same steps, and once the estimate
/// has settled goes on as SGD with momentum.
///
/// ```text
/// input: lr, beta1, beta2, eps, atol, rtol, weight_decay; theta_0
/// initialize: m = 0, v = 0, l = 0, rate = 0
/// for t = 1, 2, ..
///   g = gradient at theta + weight_decay theta
///   while rate = 0                                               (Adam)
///     m = beta1 m + (1 - beta1) g,   v = beta2 v + (1 - beta2) g^2
///     p = lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)
///     theta = theta - p
///     if <p, g> != 0
///       c = <p, p> / <p, g>
///       l = beta2 l + (1 - beta2) c,   L = l / (1 - beta2^t)
///       if t > 1, L > 0 and |L - c| < atol + rtol |c|:  rate = L / lr,  m = 0
///   from then on                                                 (SGD)
///     m = beta1 m + g
///     theta = theta - (1 - beta1) lr rate m
/// ```
///
/// Source: Keskar and Socher, "Improving Generalization Performance by Switching from Adam to SGD"
/// (2017), Algorithm 1. There lr is constant and the SGD runs at L; here it runs at L times what lr has
/// become since the switch, so that a schedule goes on.
///
/// The switch is decided where the tensor lies, in carried numbers: no step waits for the host. To learn
/// of it, read carried scalar [`Swats::RATE`] whenever the host waits anyway: it is 0 before the switch.
/// Two devices, or two number types, may switch in different steps, as a comparison of two sums decides.
///
/// One pass, two state vectors; 28 bytes a parameter in `f32`; a root and a division a lane, after the
/// switch too. A NaN or infinite gradient stays in its lane, but no switch comes about in that step, and
/// with a NaN in the parameters of the tensor, or of the group that switches together, none ever does. A
/// rate of 0 has no steps to estimate from: l stays, and no switch comes about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Swats {
    /// Adam's learning rate; at least 0, no upper bound. Default 1e-3.
    pub lr: f64,
    /// Decay of the first moment, and SGD's momentum, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay of the second moment and of the estimate, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Adam's least denominator, in units of gradient; at least 0. Default 1e-8.
    pub eps: f64,
    /// How near the estimate must be to its average, in units of lr; at least 0. Default 1e-9.
    pub atol: f64,
    /// The same as a share of the estimate; at least 0. Default 0. A replay in `f32` may need 1e-6.
    pub rtol: f64,
    /// L2 weight decay, joined to the gradient; at least 0. Default 0.
    pub weight_decay: f64,
    /// What switches together: each tensor on its own (default), or the group, as the paper has it.
    pub scope: Scope,
}

impl Swats {
    /// Which carried scalar is the rate of SGD in units of lr; 0 before the switch.
    pub const RATE: usize = 1;
}

const ESTIMATE: usize = 0;
/// 1 in the step after the switch, whose momentum begins anew.
const FRESH: usize = 2;

impl Default for Swats {
    fn default() -> Self {
        Swats {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            atol: 1e-9,
            rtol: 0.0,
            weight_decay: 0.0,
            scope: Scope::Tensor,
        }
    }
}

impl Rule for Swats {
    const NAME: &'static str = "swats";
    const SLOTS: usize = 2;
    const CARRIED: usize = 3;

    fn slot(&self, k: usize) -> Slot {
        Slot::zero(["m", "v"][k.min(1)])
    }

    fn carried(&self, k: usize) -> Slot {
        Slot::zero(["l", "rate", "fresh"][k.min(2)])
    }

    fn check(&self) -> Result<(), Invalid> {
        check_moments([self.lr, self.beta1, self.beta2, self.eps])?;
        non_negative("atol", self.atol)?;
        non_negative("rtol", self.rtol)?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        rest_or_walk(rests(self.lr), self, t, e);
    }
}

impl Walk for Swats {
    #[inline(always)]
    fn walk<E: Engine>(&self, t: u64, e: &mut E) {
        let (zero, one) = (E::Real::lit(0.0), E::Real::lit(1.0));
        let select = E::Real::select;
        let (estimate, rate) = (e.carried::<ESTIMATE>(), e.carried::<{ Swats::RATE }>());
        let fresh = e.carried::<FRESH>();
        let switched = zero.lt(rate);

        // m is Adam's average before the switch, and SGD's buffer after it.
        let (beta1, rest) = (e.uniform(self.beta1), e.uniform(1.0 - self.beta1));
        let keep = select(zero.lt(fresh), zero, beta1);
        let share = select(switched, one, rest);
        let second = Average::new(self.beta2, e);
        let adam = Corrected::new([self.lr, self.beta1, self.beta2, self.eps], true, t, e);
        let sgd = e.uniform(self.lr * (1.0 - self.beta1)) * rate;
        let shrink = Shrink::l2(self.weight_decay, e);

        let folds = [Fold::SUM.over(self.scope), Fold::SUM.over(self.scope)];
        let [square, along] = e.pass(folds, |x| {
            let [m, v] = x.slot;
            let (theta, g) = shrink.apply(x.theta, x.grad);
            let m = keep * m + share * g;
            let v = second.next(v, g * g);
            let p = select(switched, sgd * m, adam.update(m, v));
            let lane = Lane {
                theta: theta - p,
                slot: [m, v],
                ..x
            };
            (lane, [p * p, p * g])
        });

        let estimable = zero.lt(along.abs());
        let now = square / along;
        let next = select(estimable, second.next(estimate, now), estimate);
        e.carry::<ESTIMATE>(select(switched, estimate, next));
        if t == 0 {
            return;
        }
        let settled = next * e.uniform(1.0 / reached(self.beta2, t));
        let near = (settled - now)
            .abs()
            .lt(e.uniform(self.atol) + e.uniform(self.rtol) * now.abs());
        let found = settled / e.uniform(self.lr);
        let found = select(near, found, zero);
        let found = select(estimable, found, zero);
        let found = select(zero.lt(settled), found, zero);
        e.carry::<{ Swats::RATE }>(select(switched, rate, found));
        let begins = select(zero.lt(found), one, zero);
        e.carry::<FRESH>(select(switched, zero, begins));
    }
}

impl Tunable for Swats {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("beta1", Setting::Number(&mut self.beta1));
        visit("beta2", Setting::Number(&mut self.beta2));
        visit("eps", Setting::Number(&mut self.eps));
        visit("atol", Setting::Number(&mut self.atol));
        visit("rtol", Setting::Number(&mut self.rtol));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
        visit("scope", Setting::Scope(&mut self.scope));
    }
}
