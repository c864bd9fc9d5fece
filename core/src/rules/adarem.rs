//! AdaRem: Adaptive Gradient Method with Resilience and Momentum.

use super::decay::Decay;
use super::moments::Average;
use super::resilience::{Resilience, Stride, check_eps, inverse};
use super::rest::{Resting, rests};
use crate::error::{Invalid, fraction, non_negative};
use crate::fold::{Fold, Scope};
use crate::rule::{Engine, Lane, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// AdaRem: every coordinate's step is lengthened where the gradient agrees with its past average, and
/// shortened where it does not.
///
/// ```text
/// input: lr, beta, lambda, eps, weight_decay; theta_0
/// initialize: m = 0, M = 0
/// for t = 0, 1, ..
///   g = gradient at theta
///   b = sign(g) m / M              (eq. 1 with eps = 0; b = 0 where 1 / M is 0 or infinite)
///     = g m / (|g| M + eps)        (eq. 1 as printed, with eps > 0)
///   a = 1 + lambda b               (eq. 2)
///   theta = (theta - lr weight_decay theta) - lr a g
///   m = beta m + (1 - beta) g
///   M = max |m|
/// ```
///
/// Source: "Adaptive Gradient Method with Resilience and Momentum" (2020), Algorithm 1.
///
/// `b` uses `m` from before the step, so the next `M` is folded while `m` is written and carried as a
/// number: one pass, 20 bytes a parameter in `f32`. For all finite input |b| <= 1 and 1 - lambda <= a
/// <= 1 + lambda exactly, so no update turns against its gradient; the first step is plain SGD, and
/// lambda = 0 is [`Sgd`](crate::Sgd) with decoupled decay, bit for bit.
///
/// *NaN, infinity, zero.* A NaN gradient makes its own lane NaN and no other: a NaN loses the maximum. An
/// infinite gradient makes its lane and M infinite; while M is infinite, b is 0 in all other lanes of its
/// scope, which then step as SGD. A zero gradient moves nothing but the decay. An empty tensor is fine.
///
/// *Convergence.* A regret of O(sqrt T) needs a lambda that decays to 0 and lr ~ 1/sqrt(t); with a
/// constant lambda there is a convex problem on which AdaRem settles at the wrong end. In practice the
/// paper multiplies lambda by 0.999 once per epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaRem {
    /// Learning rate, in units of theta per unit of gradient; at least 0, no upper bound. Default 0.1; the
    /// paper trains ImageNet with 0.4 at batch 1024 and a cosine schedule.
    pub lr: f64,
    /// Decay of the past average m, in [0, 1). Default 0.9; the paper does not state it.
    pub beta: f64,
    /// How strongly agreement counts, in [0, 1). Default 0.999 (paper, section 4.1).
    pub lambda: f64,
    /// 0 for the scale-free coefficient, else the eps of eq. 1 in units of gradient squared, in
    /// [1.2e-38, 1]. Default 0. As it stands beside a *product* of two gradients it damps small ones: at a
    /// gradient scale of 1e-3, 1e-4, 1e-5 an eps of 1e-8 leaves 97 %, 42 %, 0.9 % of b, and it costs a
    /// division a lane.
    pub eps: f64,
    /// Decoupled weight decay per unit of lr, at least 0: theta shrinks by `lr * weight_decay` of itself a
    /// step. Default 0; 1e-4 is usual for networks.
    pub weight_decay: f64,
    /// What M is the maximum of: one tensor (default), or all tensors of the group, as the paper writes it.
    pub scope: Scope,
}

impl Default for AdaRem {
    fn default() -> Self {
        AdaRem {
            lr: 0.1,
            beta: 0.9,
            lambda: 0.999,
            eps: 0.0,
            weight_decay: 0.0,
            scope: Scope::Tensor,
        }
    }
}

impl Rule for AdaRem {
    const NAME: &'static str = "adarem";
    const SLOTS: usize = 1;
    const CARRIED: usize = 1;

    fn slot(&self, _: usize) -> Slot {
        Slot::zero("m")
    }

    fn carried(&self, _: usize) -> Slot {
        Slot::zero("inverse_max_m")
    }

    fn check(&self) -> Result<(), Invalid> {
        non_negative("lr", self.lr)?;
        fraction("beta", self.beta)?;
        fraction("lambda", self.lambda)?;
        check_eps(self.eps)?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, _: u64, e: &mut E) {
        self.walk(e, |[m]| m, |m, _| [m]);
    }

    const MEASURED: bool = true;

    #[inline(always)]
    fn step_measured<E: Engine>(&self, _: u64, e: &mut E) {
        let lr = e.uniform(self.lr);
        self.walk(e, |[m, _]| m, |m, a| [m, lr * a]);
    }
}

impl AdaRem {
    /// The step. `past` finds m among the state of a lane, and `state` puts it back, with the coefficient a beside it.
    #[inline(always)]
    fn walk<E: Engine, const S: usize>(
        &self,
        e: &mut E,
        past: impl Fn([E::Real; S]) -> E::Real,
        state: impl Fn(E::Real, E::Real) -> [E::Real; S],
    ) {
        let inverse_max = e.carried::<0>();
        let stride = Stride {
            resilience: Resilience::new(self.lambda, self.eps, inverse_max, e),
            average: Average::new(self.beta, e),
            lr: e.uniform(self.lr),
            decay: Decay::new(self.lr * self.weight_decay, e),
        };
        let largest = if rests(self.lr) {
            self.pass::<false, _, S>(&stride, &mut Resting(e), past, state)
        } else if stride.is_plain() {
            self.pass::<true, _, S>(&stride, e, past, state)
        } else {
            self.pass::<false, _, S>(&stride, e, past, state)
        };
        e.carry::<0>(inverse(largest));
    }

    /// The trip over memory, for a stride that is plain or for any; returns the largest |m|.
    #[inline(always)]
    fn pass<const PLAIN: bool, E: Engine, const S: usize>(
        &self,
        stride: &Stride<E::Real>,
        e: &mut E,
        past: impl Fn([E::Real; S]) -> E::Real,
        state: impl Fn(E::Real, E::Real) -> [E::Real; S],
    ) -> E::Real {
        let [largest] = e.pass([Fold::MAX_ABS.over(self.scope)], |x| {
            let (theta, m, a) = stride.of::<PLAIN>(x.theta, past(x.slot), x.grad);
            let slot = state(m, a);
            (Lane { theta, slot, ..x }, [m])
        });
        largest
    }
}

impl Tunable for AdaRem {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("beta", Setting::Number(&mut self.beta));
        visit("lambda", Setting::Number(&mut self.lambda));
        visit("eps", Setting::Number(&mut self.eps));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
        visit("scope", Setting::Scope(&mut self.scope));
    }
}

#[cfg(test)]
mod tests {
    use super::AdaRem;
    use crate::{Host, Rule};

    #[test]
    fn a_measured_step_is_the_step_and_leaves_what_it_multiplied_the_gradient_by() {
        let rule = AdaRem::default();
        let (mut theta, mut m, mut carried) = ([3.0f64, -2.0], [0.0; 2], [0.0]);
        let (mut same, mut same_m, mut same_carried) = (theta, m, carried);
        let mut length = [0.0; 2];
        for (t, grad) in [[1.0, -2.0], [0.5, 2.0], [-1.0, 1.0]].iter().enumerate() {
            let (t, before) = (t as u64, theta);
            let slots = [&mut m[..], &mut length];
            rule.step_measured(
                t,
                &mut Host::new(&mut theta, grad, slots, &mut carried).unwrap(),
            );
            let slots = [&mut same_m[..]];
            rule.step(
                t,
                &mut Host::new(&mut same, grad, slots, &mut same_carried).unwrap(),
            );
            assert_eq!((theta, m, carried), (same, same_m, same_carried));
            for i in 0..2 {
                assert!((before[i] - length[i] * grad[i] - theta[i]).abs() < 1e-15);
                assert_eq!(length[i] == rule.lr, t == 0);
            }
        }
    }
}
