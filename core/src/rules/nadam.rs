//! Nadam: Adam with Nesterov's momentum.

use super::decay::Shrink;
use super::moments::{Moments, Root, check_moments, reached};
use super::rest::{Walk, rest_or_walk, rests};
use crate::error::{Invalid, non_negative};
use crate::rule::{Engine, Lane, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// Nadam: the step of Adam, taken from the momentum that the next step will have.
///
/// ```text
/// input: lr, beta1, beta2, eps, momentum_decay psi, weight_decay; theta_0
/// initialize: m = 0, v = 0
/// for t = 1, 2, ..
///   g = gradient at theta + weight_decay theta                   (L2, default; or decoupled)
///   mu_t = beta1 (1 - 0.96^(t psi) / 2),   P_t = mu_1 mu_2 .. mu_t
///   m = beta1 m + (1 - beta1) g
///   v = beta2 v + (1 - beta2) g^2
///   u = (1 - mu_t) / (1 - P_t) g + mu_(t+1) / (1 - P_(t+1)) m
///     = (1 - beta1) / (1 - beta1^t) g + beta1 / (1 - beta1^t) m  (constant_momentum)
///   theta = theta - lr u / (sqrt(v) / sqrt(1 - beta2^t) + eps)
/// ```
///
/// Source: Dozat, "Incorporating Nesterov Momentum into Adam" (2016), in the form of
/// `torch.optim.NAdam`; with `constant_momentum` the form without his schedule of mu. P_t is computed
/// afresh in every step, in closed form, so that there is no state in which it could drift.
///
/// Two state vectors; 28 bytes a parameter in `f32`; a root and a division a lane. Special values as
/// [`Adam`](crate::Adam).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nadam {
    /// Learning rate; at least 0, no upper bound. Default 2e-3.
    pub lr: f64,
    /// Decay of the first moment m, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay of the second moment v, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Least denominator, in units of gradient; at least 0. Default 1e-8.
    pub eps: f64,
    /// How fast mu rises from beta1 / 2 to beta1, per step; at least 0. Default 4e-3.
    pub momentum_decay: f64,
    /// Whether mu is beta1 in all steps. Default false.
    pub constant_momentum: bool,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Whether the decay acts on theta itself, times lr, instead of joining the gradient. Default false.
    pub decoupled: bool,
}

impl Default for Nadam {
    fn default() -> Self {
        Nadam {
            lr: 2e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            momentum_decay: 4e-3,
            constant_momentum: false,
            weight_decay: 0.0,
            decoupled: false,
        }
    }
}

impl Nadam {
    /// ln 0.96^psi
    fn fade(&self) -> f64 {
        self.momentum_decay * libm::log(0.96)
    }

    /// mu_t, with t counted from 1.
    fn mu(&self, t: f64) -> f64 {
        self.beta1 * (1.0 - 0.5 * libm::exp(self.fade() * t))
    }

    /// mu_1 mu_2 .. mu_t.
    ///
    /// With q = 0.96^psi it is beta1^t times the product of 1 - q^k / 2 for k = 1 .. t, whose logarithm is
    /// - sum over n of (1/2)^n / n (q^n + q^2n + .. + q^tn), where the bracket is a geometric series.
    fn product(&self, t: f64) -> f64 {
        let power = libm::pow(self.beta1, t);
        // Beside 1 it no longer counts.
        if power < 1e-18 {
            return 0.0;
        }
        let mut sum = 0.0;
        for n in (1..=60).rev() {
            let n = f64::from(n);
            let step = self.fade() * n;
            let series = if step == 0.0 {
                t
            } else {
                libm::exp(step) * libm::expm1(step * t) / libm::expm1(step)
            };
            sum += libm::exp2(-n) / n * series;
        }
        power * libm::exp(-sum)
    }

    /// What g and m are multiplied by in step `t`, counted from 1; without lr.
    fn shares(&self, t: u64) -> (f64, f64) {
        if self.constant_momentum {
            let reached = reached(self.beta1, t);
            return ((1.0 - self.beta1) / reached, self.beta1 / reached);
        }
        let t = t as f64 + 1.0;
        let (mu, next) = (self.mu(t), self.mu(t + 1.0));
        let product = self.product(t);
        ((1.0 - mu) / (1.0 - product), next / (1.0 - product * next))
    }
}

impl Rule for Nadam {
    const NAME: &'static str = "nadam";
    const SLOTS: usize = 2;
    const CARRIED: usize = 0;

    fn slot(&self, k: usize) -> Slot {
        Slot::zero(["m", "v"][k.min(1)])
    }

    fn check(&self) -> Result<(), Invalid> {
        check_moments([self.lr, self.beta1, self.beta2, self.eps])?;
        non_negative("momentum_decay", self.momentum_decay)?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        rest_or_walk(rests(self.lr), self, t, e);
    }
}

impl Walk for Nadam {
    #[inline(always)]
    fn walk<E: Engine>(&self, t: u64, e: &mut E) {
        let shrink = Shrink::new(self.lr, self.weight_decay, self.decoupled, e);
        let moments = Moments::new(self.beta1, self.beta2, e);
        let (share_g, share_m) = self.shares(t);
        let (share_g, share_m) = (e.uniform(self.lr * share_g), e.uniform(self.lr * share_m));
        let root = Root::corrected(self.beta2, self.eps, t, e);
        e.map(|x| {
            let [m, v] = x.slot;
            let (theta, g) = shrink.apply(x.theta, x.grad);
            let (m, v) = moments.next(m, v, g);
            Lane {
                theta: theta - (share_g * g + share_m * m) / root.of(v),
                slot: [m, v],
                ..x
            }
        });
    }
}

impl Tunable for Nadam {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("beta1", Setting::Number(&mut self.beta1));
        visit("beta2", Setting::Number(&mut self.beta2));
        visit("eps", Setting::Number(&mut self.eps));
        visit("momentum_decay", Setting::Number(&mut self.momentum_decay));
        visit(
            "constant_momentum",
            Setting::Flag(&mut self.constant_momentum),
        );
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
        visit("decoupled", Setting::Flag(&mut self.decoupled));
    }
}

#[cfg(test)]
mod tests {
    use super::Nadam;

    #[test]
    fn the_product_of_mu_is_the_product() {
        for beta1 in [0.5, 0.9, 0.999] {
            for momentum_decay in [0.0, 4e-3, 0.3, 1e9] {
                let rule = Nadam {
                    beta1,
                    momentum_decay,
                    ..Nadam::default()
                };
                let mut product = 1.0;
                for t in 1..3000 {
                    let t = f64::from(t);
                    product *= rule.mu(t);
                    let error = (rule.product(t) - product).abs();
                    assert!(
                        error < 1e-12 * product + 1e-18,
                        "{rule:?} at {t}: {error:e}"
                    );
                }
            }
        }
    }
}
