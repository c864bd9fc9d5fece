//! LAMB: Adam whose step is as long as the tensor, times lr.

use super::moments::{Moments, Root, check_moments, reached};
use super::rest::rests;
use crate::error::{Invalid, non_negative};
use crate::fold::Fold;
use crate::real::Real;
use crate::rule::{Engine, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// LAMB: the direction of AdamW, and a length in proportion to the norm of each tensor.
///
/// ```text
/// input: lr, beta1, beta2, eps, weight_decay; theta_0
/// initialize: m = 0, v = 0
/// for t = 1, 2, ..
///   g = gradient at theta
///   m = beta1 m + (1 - beta1) g
///   v = beta2 v + (1 - beta2) g^2
///   r = m / (1 - beta1^t) / (sqrt(v) / sqrt(1 - beta2^t) + eps) + weight_decay theta
///   theta = theta - lr |theta| / |r| r                           (lr r where either norm is 0 or NaN)
/// ```
///
/// Source: You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes" (2020),
/// Algorithm 2, with phi the identity. Some implementations clip |theta| to [0, 10] or leave the
/// correction out.
///
/// Two passes, two state vectors; 40 bytes a parameter in `f32`: the second pass computes r again rather
/// than keeping it, with a root and a division a lane. A NaN stays in its lane, and makes the others
/// step by lr r. An infinite r, or g^2 beyond 1.8e19 in `f32`, makes the other lanes of the tensor stand
/// still. At a rate of 0 all of them do, whatever the norms are, and the second pass is left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lamb {
    /// Learning rate: the length of a step against the norm of theta; at least 0, no upper bound. Default
    /// 1e-3.
    pub lr: f64,
    /// Decay of the first moment m, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay of the second moment v, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Least denominator, in units of gradient; at least 0. Default 1e-6.
    pub eps: f64,
    /// Decoupled weight decay, at least 0. Default 0.01.
    pub weight_decay: f64,
}

impl Default for Lamb {
    fn default() -> Self {
        Lamb {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-6,
            weight_decay: 0.01,
        }
    }
}

impl Rule for Lamb {
    const NAME: &'static str = "lamb";
    const SLOTS: usize = 2;
    const CARRIED: usize = 0;

    fn slot(&self, k: usize) -> Slot {
        Slot::zero(["m", "v"][k.min(1)])
    }

    fn check(&self) -> Result<(), Invalid> {
        check_moments([self.lr, self.beta1, self.beta2, self.eps])?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        let moments = Moments::new(self.beta1, self.beta2, e);
        let correction = e.uniform(1.0 / reached(self.beta1, t));
        let root = Root::corrected(self.beta2, self.eps, t, e);
        let decay = e.uniform(self.weight_decay);
        let direction = |theta, m, v| correction * m / root.of(v) + decay * theta;

        let [theta_square, square] = e.pass([Fold::SUM, Fold::SUM], |x| {
            let [m, v] = x.slot;
            let (m, v) = moments.next(m, v, x.grad);
            let r = direction(x.theta, m, v);
            ([m, v], [x.theta * x.theta, r * r])
        });
        if rests(self.lr) {
            return;
        }

        let (zero, lr) = (E::Real::lit(0.0), e.uniform(self.lr));
        let rate = lr * theta_square.sqrt() / square.sqrt();
        let rate = E::Real::select(zero.lt(square), rate, lr);
        let rate = E::Real::select(zero.lt(theta_square), rate, lr);
        e.map(|x| {
            let [m, v] = x.slot;
            x.moved(x.theta - rate * direction(x.theta, m, v))
        });
    }
}

impl Tunable for Lamb {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("beta1", Setting::Number(&mut self.beta1));
        visit("beta2", Setting::Number(&mut self.beta2));
        visit("eps", Setting::Number(&mut self.eps));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
    }
}
