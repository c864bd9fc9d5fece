//! Yogi: Adam whose second moment changes by so much, not by such a factor.

use super::decay::Shrink;
use super::moments::{Average, Corrected, check_moments};
use super::rest::{Walk, rest_or_walk, rests};
use crate::error::{Invalid, non_negative};
use crate::real::Real;
use crate::rule::{Engine, Lane, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// Yogi: the second moment moves towards the squared gradient by a step that only the gradient decides.
///
/// ```text
/// input: lr, beta1, beta2, eps, initial_accumulator, weight_decay; theta_0
/// initialize: m = v = initial_accumulator
/// for t = 1, 2, ..
///   g = gradient at theta + weight_decay theta                   (L2, default; or decoupled)
///   m = beta1 m + (1 - beta1) g
///   v = v - (1 - beta2) sign(v - g^2) g^2
///   theta = theta - lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
/// ```
///
/// Source: Zaheer, Reddi, Sachan, Kale and Kumar, "Adaptive Methods for Nonconvex Optimization" (2018),
/// with the correction of both moments and the starts of TensorFlow Addons, where `m` starts at
/// `initial_accumulator` too. The paper corrects nothing; optax starts `m` at 0.
///
/// Two state vectors; 28 bytes a parameter in `f32`; a root and a division a lane. A NaN stays in its
/// lane. g^2 overflows beyond 1.8e19 in `f32`, and makes v infinite; such a lane stands still.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yogi {
    /// Learning rate; at least 0, no upper bound. Default 1e-2.
    pub lr: f64,
    /// Decay of the first moment m, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// How much of g^2 the second moment does not move by, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Least denominator, in units of gradient; at least 0. Default 1e-3.
    pub eps: f64,
    /// What both moments start at, at least 0; read when the optimizer is built. Default 1e-6.
    pub initial_accumulator: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Whether the decay acts on theta itself, times lr, instead of joining the gradient. Default false.
    pub decoupled: bool,
}

impl Default for Yogi {
    fn default() -> Self {
        Yogi {
            lr: 1e-2,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-3,
            initial_accumulator: 1e-6,
            weight_decay: 0.0,
            decoupled: false,
        }
    }
}

impl Rule for Yogi {
    const NAME: &'static str = "yogi";
    const SLOTS: usize = 2;
    const CARRIED: usize = 0;

    fn slot(&self, k: usize) -> Slot {
        Slot {
            name: ["m", "v"][k.min(1)],
            start: self.initial_accumulator,
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        check_moments([self.lr, self.beta1, self.beta2, self.eps])?;
        non_negative("initial_accumulator", self.initial_accumulator)?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        rest_or_walk(rests(self.lr), self, t, e);
    }
}

impl Walk for Yogi {
    #[inline(always)]
    fn walk<E: Engine>(&self, t: u64, e: &mut E) {
        let shrink = Shrink::new(self.lr, self.weight_decay, self.decoupled, e);
        let average = Average::new(self.beta1, e);
        let share = e.uniform(1.0 - self.beta2);
        let hyper = [self.lr, self.beta1, self.beta2, self.eps];
        let correct = Corrected::new(hyper, false, t, e);
        e.map(|x| {
            let [m, v] = x.slot;
            let (theta, g) = shrink.apply(x.theta, x.grad);
            let m = average.next(m, g);
            let square = g * g;
            let above = v - square;
            // sign(0) is 0: a v that has arrived stays.
            let apart = E::Real::lit(0.0).lt(above.abs());
            let v = E::Real::select(apart, v - share * square.xor_sign(above), v);
            Lane {
                theta: theta - correct.update(m, v),
                slot: [m, v],
                ..x
            }
        });
    }
}

impl Tunable for Yogi {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("beta1", Setting::Number(&mut self.beta1));
        visit("beta2", Setting::Number(&mut self.beta2));
        visit("eps", Setting::Number(&mut self.eps));
        visit(
            "initial_accumulator",
            Setting::Number(&mut self.initial_accumulator),
        );
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
        visit("decoupled", Setting::Flag(&mut self.decoupled));
    }
}
