//! Nesterov's accelerated gradient, with the weights and the point of the gradient both kept.

use crate::error::{Invalid, fraction, non_negative};
use crate::rule::{Engine, Lane, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// Nesterov's accelerated gradient, as written: the gradient is taken ahead of the weights.
///
/// It has three forms, and here are all of them.
///
/// ```text
/// input: lr, momentum; w_0
/// initialize: m = 0
/// for t = 0, 1, ..                                         (form i: this rule)
///   theta = w - momentum m                                 (where the loss is differentiated)
///   g = gradient at theta
///   m = momentum m + lr g
///   w = w - m
///
/// for t = 0, 1, ..                                         (form ii: SgdM { nesterov, lr_inside })
///   g = gradient at theta
///   m = momentum m + lr g
///   theta = theta - momentum m - lr g
///
/// for t = 0, 1, ..                                         (form iii: SgdM { nesterov }, torch.optim.SGD)
///   g = gradient at theta
///   b = momentum b + g
///   theta = theta - lr (g + momentum b)
/// ```
///
/// Source: Nesterov, "A method of solving a convex programming problem with convergence rate O(1/k^2)"
/// (1983); Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013).
/// Substituting `theta = w - momentum m` turns form i into form ii, whatever the schedule; form iii,
/// with `m = lr b`, is the same while lr is constant.
///
/// The tensor of parameters holds `theta`, the point that the next gradient is taken at; the weights `w`
/// are state, vector [`Nag::WEIGHTS`], and what to evaluate and to keep. In the two other forms only
/// `theta` is at hand, which differs from `w` by a fading `momentum m`.
///
/// Two state vectors; 24 bytes a parameter in `f32`. A NaN or infinite gradient stays in its own lane. At a
/// rate of 0 theta and `w` coast along m, which fades: its gradients keep the rates of their own steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nag {
    /// Learning rate; at least 0, no upper bound. Default 1e-3.
    pub lr: f64,
    /// Decay of m, and how far ahead the gradient is taken; in [0, 1). Default 0.9.
    pub momentum: f64,
}

impl Nag {
    /// Which state vector holds the weights.
    pub const WEIGHTS: usize = 1;
}

impl Default for Nag {
    fn default() -> Self {
        Nag {
            lr: 1e-3,
            momentum: 0.9,
        }
    }
}

impl Rule for Nag {
    const NAME: &'static str = "nag";
    const SLOTS: usize = 2;
    const CARRIED: usize = 0;

    fn slot(&self, k: usize) -> Slot {
        Slot::zero(["m", "w"][k.min(1)])
    }

    fn check(&self) -> Result<(), Invalid> {
        non_negative("lr", self.lr)?;
        fraction("momentum", self.momentum)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        let (lr, momentum) = (e.uniform(self.lr), e.uniform(self.momentum));
        e.map(|x| {
            let [m, w] = x.slot;
            let w = if t == 0 { x.theta } else { w };
            let m = momentum * m + lr * x.grad;
            let w = w - m;
            Lane {
                theta: w - momentum * m,
                slot: [m, w],
                ..x
            }
        });
    }
}

impl Tunable for Nag {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("momentum", Setting::Number(&mut self.momentum));
    }
}
