//! NosAdam: Adam whose second moment never forgets the past faster than the present.

use super::decay::Shrink;
use super::moments::{Average, check_moments, reached};
use super::rest::{Walk, rest_or_walk, rests};
use crate::error::{Invalid, ensure, non_negative};
use crate::real::Real;
use crate::rule::{Engine, Lane, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// NosAdam: a second moment in which step k has the weight k^-gamma, so that early gradients count more.
///
/// ```text
/// input: lr, beta1, gamma, eps, weight_decay; theta_0
/// initialize: m = 0, v = 0, B_0 = 0
/// for t = 1, 2, ..
///   g = gradient at theta + weight_decay theta                   (L2, default; or decoupled)
///   B_t = B_(t-1) + t^-gamma
///   m = beta1 m + (1 - beta1) g
///   v = B_(t-1) / B_t v + (1 - B_(t-1) / B_t) g^2
///   theta = theta - lr / (1 - beta1^t) m / (sqrt(v) + eps)
/// ```
///
/// Source: Huang, Wang and Dong, "Nostalgic Adam: Weighting more of the past gradients when designing
/// the adaptive learning rate" (2019), NosAdam-HH. v is a weighted mean from the first step on, so it
/// needs no correction. B_t is computed afresh in every step, by Euler and Maclaurin's formula, so that
/// there is no state in which it could drift.
///
/// Two state vectors; 28 bytes a parameter in `f32`; a root and a division a lane. Special values as
/// [`Adam`](crate::Adam).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NosAdam {
    /// Learning rate; at least 0, no upper bound. Default 1e-3.
    pub lr: f64,
    /// Decay of the first moment m, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// How much more the past counts, in [0, 8]; 0 weighs all steps alike. Default 0.1.
    pub gamma: f64,
    /// Least denominator, in units of gradient; at least 0. Default 1e-8.
    pub eps: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Whether the decay acts on theta itself, times lr, instead of joining the gradient. Default false.
    pub decoupled: bool,
}

impl Default for NosAdam {
    fn default() -> Self {
        NosAdam {
            lr: 1e-3,
            beta1: 0.9,
            gamma: 0.1,
            eps: 1e-8,
            weight_decay: 0.0,
            decoupled: false,
        }
    }
}

impl NosAdam {
    /// B_t: the sum of k^-gamma for k = 1 .. t.
    fn weight_until(&self, t: f64) -> f64 {
        let gamma = self.gamma;
        let f = |x: f64| libm::pow(x, -gamma);
        // So many terms are summed as they stand; the formula is exact to 1e-16 beyond.
        let few = 32.0;
        let mut sum = 0.0;
        let mut k = 1.0;
        while k <= t && k <= few {
            sum += f(k);
            k += 1.0;
        }
        if t <= few {
            return sum;
        }
        // The integral of f from `few` to t, half of what f falls by, and f's odd derivatives times B_2k / (2k)!.
        let log = libm::log(t / few);
        let integral = if gamma == 1.0 {
            log
        } else {
            few * f(few) * libm::expm1((1.0 - gamma) * log) / (1.0 - gamma)
        };
        let first = |x: f64| -gamma * f(x) / x;
        let third = |x: f64| first(x) * (gamma + 1.0) * (gamma + 2.0) / (x * x);
        let fifth = |x: f64| third(x) * (gamma + 3.0) * (gamma + 4.0) / (x * x);
        let rest = (first(t) - first(few)) / 12.0 - (third(t) - third(few)) / 720.0
            + (fifth(t) - fifth(few)) / 30240.0;
        sum + integral + 0.5 * (f(t) - f(few)) + rest
    }
}

impl Rule for NosAdam {
    const NAME: &'static str = "nosadam";
    const SLOTS: usize = 2;
    const CARRIED: usize = 0;

    fn slot(&self, k: usize) -> Slot {
        Slot::zero(["m", "v"][k.min(1)])
    }

    fn check(&self) -> Result<(), Invalid> {
        check_moments([self.lr, self.beta1, 0.0, self.eps])?;
        let gamma = self.gamma;
        ensure(
            (0.0..=8.0).contains(&gamma),
            "gamma",
            "lie in [0, 8]",
            gamma,
        )?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        rest_or_walk(rests(self.lr), self, t, e);
    }
}

impl Walk for NosAdam {
    #[inline(always)]
    fn walk<E: Engine>(&self, t: u64, e: &mut E) {
        let shrink = Shrink::new(self.lr, self.weight_decay, self.decoupled, e);
        let rate = e.uniform(self.lr / reached(self.beta1, t));
        let eps = e.uniform(self.eps);
        let first = Average::new(self.beta1, e);
        let t = t as f64 + 1.0;
        let share = libm::pow(t, -self.gamma) / self.weight_until(t);
        let (keep, share) = (e.uniform(1.0 - share), e.uniform(share));
        e.map(|x| {
            let [m, v] = x.slot;
            let (theta, g) = shrink.apply(x.theta, x.grad);
            let m = first.next(m, g);
            let v = keep * v + share * (g * g);
            Lane {
                theta: theta - rate * m / (v.sqrt() + eps),
                slot: [m, v],
                ..x
            }
        });
    }
}

impl Tunable for NosAdam {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("beta1", Setting::Number(&mut self.beta1));
        visit("gamma", Setting::Number(&mut self.gamma));
        visit("eps", Setting::Number(&mut self.eps));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
        visit("decoupled", Setting::Flag(&mut self.decoupled));
    }
}

#[cfg(test)]
mod tests {
    use super::NosAdam;

    #[test]
    fn the_sum_of_weights_is_the_sum() {
        for gamma in [0.0, 0.01, 0.1, 0.5, 1.0, 1.0 + 1e-9, 1.5, 3.0, 8.0] {
            let rule = NosAdam {
                gamma,
                ..NosAdam::default()
            };
            let mut sum = 0.0;
            for t in 1..5000 {
                let t = f64::from(t);
                sum += libm::pow(t, -gamma);
                let error = (rule.weight_until(t) / sum - 1.0).abs();
                assert!(error < 1e-13, "gamma {gamma}, step {t}: {error:e}");
            }
        }
    }
}
