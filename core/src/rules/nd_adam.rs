//! ND-Adam: Adam for directions.

use super::moments::{Average, check_moments, reached};
use super::rest::rests;
use crate::error::Invalid;
use crate::fold::Fold;
use crate::projection::onto_sphere;
use crate::real::Real;
use crate::rule::{Engine, Lane, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// ND-Adam: keeps the tensor on the unit sphere, and adapts one rate to all of it.
///
/// ```text
/// input: lr, beta1, beta2, eps; theta_0
/// initialize: m = 0, v = 0, theta = theta_0 / |theta_0|
/// for t = 1, 2, ..
///   g = gradient at theta
///   g = g - <g, theta> theta
///   m = beta1 m + (1 - beta1) g
///   v = beta2 v + (1 - beta2) |g|^2                              (one number)
///   h = theta - lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)
///   theta = h / |h|
/// ```
///
/// Source: Zhang, Ma, Li and Wu, "Normalized Direction-preserving Adam" (2017), Algorithm 1. There a
/// vector is the input weights of one hidden unit; here it is one tensor, so give each unit's weights as
/// a tensor of their own, or take it as one rate for a whole layer.
///
/// Four passes, 44 bytes a parameter in `f32`, and two more in step 0; no division a lane. A NaN, an
/// infinite gradient, or one whose square overflows, reaches the whole tensor through the norm. A tensor
/// of zeros has no direction: it stays unscaled until it has one. With eps = 0 a gradient that was
/// always 0, or along theta, gives 0 / 0 for the tensor. At a rate of 0 step 0 still leads onto the sphere,
/// where the gradient is taken for one; the others leave theta as it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NdAdam {
    /// Learning rate, about the angle of a step in radians; at least 0, no upper bound. Default 1e-3.
    pub lr: f64,
    /// Decay of the first moment m, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay of the second moment v, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Least denominator, in units of the gradient's norm; at least 0. Default 1e-8.
    pub eps: f64,
}

impl Default for NdAdam {
    fn default() -> Self {
        NdAdam {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
        }
    }
}

/// theta / |theta|
#[inline(always)]
fn normalize<E: Engine>(square: E::Real, e: &mut E) {
    let scale = onto_sphere(e.uniform(1.0), square.sqrt());
    e.map(|x: Lane<_, 0>| x.moved(x.theta * scale));
}

impl Rule for NdAdam {
    const NAME: &'static str = "nd_adam";
    const SLOTS: usize = 1;
    const CARRIED: usize = 1;

    fn slot(&self, _: usize) -> Slot {
        Slot::zero("m")
    }

    fn carried(&self, _: usize) -> Slot {
        Slot::zero("v")
    }

    fn check(&self) -> Result<(), Invalid> {
        check_moments([self.lr, self.beta1, self.beta2, self.eps])
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        if t == 0 {
            let squares = |x: Lane<_, 0>| ([], [x.theta * x.theta]);
            let [square] = e.pass([Fold::SUM], squares);
            normalize(square, e);
        }
        let radial = |x: Lane<_, 0>| ([], [x.grad * x.theta]);
        let [radial] = e.pass([Fold::SUM], radial);
        let average = Average::new(self.beta1, e);
        let [square] = e.pass([Fold::SUM], |x| {
            let [m] = x.slot;
            let g = x.grad - radial * x.theta;
            ([average.next(m, g)], [g * g])
        });

        let v = e.carried::<0>();
        let v = Average::new(self.beta2, e).next(v, square);
        e.carry::<0>(v);
        if rests(self.lr) {
            return;
        }
        let corrected = v * e.uniform(1.0 / reached(self.beta2, t));
        let rate = e.uniform(self.lr / reached(self.beta1, t));
        let rate = rate / (corrected.sqrt() + e.uniform(self.eps));
        let [square] = e.pass([Fold::SUM], |x| {
            let [m] = x.slot;
            let theta = x.theta - rate * m;
            (x.moved(theta), [theta * theta])
        });
        normalize(square, e);
    }
}

impl Tunable for NdAdam {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("beta1", Setting::Number(&mut self.beta1));
        visit("beta2", Setting::Number(&mut self.beta2));
        visit("eps", Setting::Number(&mut self.eps));
    }
}
