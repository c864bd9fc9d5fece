//! Rprop: only the signs of gradients count.

use super::signed::signed;
use crate::error::{Invalid, ensure, positive};
use crate::real::Real;
use crate::rule::{Engine, Lane, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// Rprop: every coordinate has a step of its own, longer after two gradients of one sign, shorter after
/// a change.
///
/// ```text
/// input: lr, eta_minus, eta_plus, step_min, step_max; theta_0
/// initialize: p = 0, d = lr
/// for t = 0, 1, ..
///   g = gradient at theta
///   d = min(d eta_plus, step_max)                                (g p > 0)
///     = max(d eta_minus, step_min),  g = 0                       (g p < 0)
///   theta = theta - sign(g) d
///   p = g
/// ```
///
/// Source: Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: the
/// RPROP algorithm" (1993), in the form of `torch.optim.Rprop`, for gradients of the full batch. The
/// sign of g p is taken from the two signs, so that no product can underflow.
///
/// Two state vectors; 28 bytes a parameter in `f32`; no division, no root. A zero gradient moves nothing
/// and leaves d. A NaN makes its own lane NaN; an infinite gradient is a sign like any other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rprop {
    /// The length of the first steps, in units of theta; positive, as no step is shorter than `step_min`
    /// and 0 would hold nothing still; read when the optimizer is built, so a schedule does not reach it.
    /// Default 1e-2.
    pub lr: f64,
    /// The factor after a change of sign, in (0, 1). Default 0.5.
    pub eta_minus: f64,
    /// The factor after two equal signs, finite and above 1. Default 1.2.
    pub eta_plus: f64,
    /// The shortest step, positive. Default 1e-6.
    pub step_min: f64,
    /// The longest step, at least `step_min`. Default 50.
    pub step_max: f64,
}

impl Default for Rprop {
    fn default() -> Self {
        Rprop {
            lr: 1e-2,
            eta_minus: 0.5,
            eta_plus: 1.2,
            step_min: 1e-6,
            step_max: 50.0,
        }
    }
}

impl Rule for Rprop {
    const NAME: &'static str = "rprop";
    const SLOTS: usize = 2;
    const CARRIED: usize = 0;

    fn slot(&self, k: usize) -> Slot {
        match k {
            0 => Slot::zero("p"),
            _ => Slot {
                name: "d",
                start: self.lr,
            },
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        let length = self.lr > 0.0 && self.lr.is_finite();
        let must = "be positive and finite, the length of the first steps";
        ensure(length, "lr", must, self.lr)?;
        let (minus, plus) = (self.eta_minus, self.eta_plus);
        ensure(
            minus > 0.0 && minus < 1.0,
            "eta_minus",
            "lie in (0, 1)",
            minus,
        )?;
        let above = plus > 1.0 && plus.is_finite();
        ensure(above, "eta_plus", "be finite and above 1", plus)?;
        positive("step_min", self.step_min)?;
        let ordered = self.step_max >= self.step_min && self.step_max.is_finite();
        ensure(
            ordered,
            "step_max",
            "be finite and at least step_min",
            self.step_max,
        )
    }

    #[inline(always)]
    fn step<E: Engine>(&self, _: u64, e: &mut E) {
        let (minus, plus) = (e.uniform(self.eta_minus), e.uniform(self.eta_plus));
        let (least, most) = (e.uniform(self.step_min), e.uniform(self.step_max));
        let (zero, one) = (E::Real::lit(0.0), E::Real::lit(1.0));
        e.map(|x| {
            let ([p, d], g) = (x.slot, x.grad);
            // Positive where the signs agree, negative where not, zero where either gradient is.
            let moves = zero.lt(g.abs());
            let agreement = E::Real::select(moves, p.xor_sign(g), zero);
            let turned = agreement.lt(zero);
            let factor = E::Real::select(zero.lt(agreement), plus, one);
            let d = (d * E::Real::select(turned, minus, factor)).max(least);
            let d = E::Real::select(most.lt(d), most, d);
            let g = E::Real::select(turned, zero, g);
            Lane {
                theta: x.theta - signed(d, g),
                slot: [g, d],
                ..x
            }
        });
    }
}

impl Tunable for Rprop {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("eta_minus", Setting::Number(&mut self.eta_minus));
        visit("eta_plus", Setting::Number(&mut self.eta_plus));
        visit("step_min", Setting::Number(&mut self.step_min));
        visit("step_max", Setting::Number(&mut self.step_max));
    }
}
