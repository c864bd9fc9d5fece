//! AdaRem-S: AdaRem on a sphere, with the radius of plain training tracked as one number.

use super::decay::Decay;
use super::moments::Average;
use super::resilience::{Resilience, Stride, check_eps, inverse};
use super::rest::rests;
use crate::error::{Invalid, fraction, non_negative, positive};
use crate::fold::{Fold, Scope};
use crate::projection::onto_sphere;
use crate::real::Real;
use crate::rule::{Engine, Lane, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// AdaRem-S: every tensor stays on its own sphere, for weights whose scale does not matter to the loss
/// (those that a normalization follows).
///
/// ```text
/// input: lr, beta, lambda, eps, weight_decay, radius R; theta_0
/// initialize: m = 0, M = 0, R = |theta_0| unless given, alpha = |theta_0| / R, theta = theta_0 / alpha
/// for t = 0, 1, ..
///   g     = gradient at theta
///   a     = 1 + lambda b                              (eq. 1 and 2, as AdaRem)
///   lr_s  = lr / alpha^2 with radius tracking, else lr
///   half  = (theta - lr weight_decay theta) - lr_s a g
///   m     = beta m + (1 - beta) g,   M = max |m|
///   alpha = alpha |half| / R with radius tracking
///   theta = half R / |half|
/// ```
///
/// Source: "Adaptive Gradient Method with Resilience and Momentum" (2020), Algorithm 2 and
/// section 3.4.1.
///
/// *Radius tracking* (SLR). Where the loss does not depend on the scale of theta, gradient descent off the
/// sphere from `alpha theta` with rate `lr` walks through the same directions as descent on the sphere with
/// rate `lr / alpha^2`: with lambda = 0, AdaRem-S *is* SGD with decoupled weight decay seen from the sphere,
/// for every schedule, and the tracked `alpha R` is the norm that plain training would have had. The
/// decay uses the rate of plain training, not `lr_s`.
///
/// Two passes, 28 bytes a parameter in `f32`: the second only rescales. Only `m` and three numbers are kept.
///
/// *NaN, infinity, zero.* A NaN in the gradient reaches the whole tensor through the norm. Where the norm of
/// `half` is 0 or infinite there is nothing to scale by, and theta and alpha stay as `half` left them. A tensor
/// of zeros therefore steps as plain AdaRem until it has a norm, which without a given radius becomes its radius.
/// A rate of 0 leaves theta and alpha as they are, once step 0 has led onto a given radius.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaRemS {
    /// Learning rate *of plain training*; at least 0, no upper bound. Default 0.1.
    pub lr: f64,
    /// Decay of the past average m, in [0, 1). Default 0.9.
    pub beta: f64,
    /// How strongly agreement counts, in [0, 1). Default 0.999.
    pub lambda: f64,
    /// As [`AdaRem::eps`](crate::AdaRem::eps). Default 0.
    pub eps: f64,
    /// Decoupled weight decay per unit of lr, at least 0; on the sphere it acts through alpha alone. Default 0.
    pub weight_decay: f64,
    /// The sphere's radius, positive; `None` (default) keeps the norm that theta has before the first step.
    /// The walk does not depend on it, if the gradient of step 0 is computed at theta as scaled to it: that
    /// step takes its gradient for one on the sphere, and scales theta first.
    pub radius: Option<f64>,
    /// Whether the radius of plain training is tracked and the rate divided by alpha^2 (SLR). Default true.
    pub slr: bool,
    /// What M is the maximum of. Default one tensor.
    pub scope: Scope,
    /// What lies on one sphere: each tensor on its own (default), or the group as one vector.
    pub sphere: Scope,
}

impl Default for AdaRemS {
    fn default() -> Self {
        AdaRemS {
            lr: 0.1,
            beta: 0.9,
            lambda: 0.999,
            eps: 0.0,
            weight_decay: 0.0,
            radius: None,
            slr: true,
            scope: Scope::Tensor,
            sphere: Scope::Tensor,
        }
    }
}

const INVERSE_MAX: usize = 0;
const ALPHA: usize = 1;
const RADIUS: usize = 2;

impl AdaRemS {
    /// Which carried scalar is alpha: the norm of plain training in units of the radius.
    pub const ALPHA: usize = ALPHA;
    /// Which carried scalar is the radius.
    pub const RADIUS: usize = RADIUS;

    /// The radius and alpha with which step `t` begins; step 0 measures theta and puts it on its sphere.
    #[inline(always)]
    fn enter<E: Engine>(&self, t: u64, e: &mut E) -> (E::Real, E::Real) {
        if t != 0 {
            let radius = match self.radius {
                Some(radius) => e.uniform(radius),
                None => e.carried::<RADIUS>(),
            };
            return (radius, e.carried::<ALPHA>());
        }
        let squares = |x: Lane<_, 0>| ([], [x.theta * x.theta]);
        let [square] = e.pass([Fold::SUM.over(self.sphere)], squares);
        let norm = square.sqrt();
        let one = e.uniform(1.0);
        let Some(radius) = self.radius else {
            return (norm, one);
        };
        let radius = e.uniform(radius);
        let scale = onto_sphere(radius, norm);
        e.map(|x: Lane<_, 0>| x.moved(x.theta * scale));
        (radius, one / scale)
    }

    /// The largest |m| and the square of the norm after the half step of a rate of 0, which is none.
    #[inline(always)]
    fn rest<E: Engine>(&self, stride: &Stride<E::Real>, e: &mut E) -> [E::Real; 2] {
        e.pass(self.folds(), |x| {
            let [m] = x.slot;
            let m = stride.average.next(m, x.grad);
            ([m], [m, x.theta * x.theta])
        })
    }

    /// The half step, for a stride that is plain or for any: the largest |m|, and the square of the norm.
    #[inline(always)]
    fn pass<const PLAIN: bool, E: Engine>(
        &self,
        stride: &Stride<E::Real>,
        e: &mut E,
    ) -> [E::Real; 2] {
        e.pass(self.folds(), |x| {
            let [m] = x.slot;
            let (theta, m, _) = stride.of::<PLAIN>(x.theta, m, x.grad);
            (
                Lane {
                    theta,
                    slot: [m],
                    ..x
                },
                [m, theta * theta],
            )
        })
    }

    /// What every half step folds.
    #[inline(always)]
    fn folds(&self) -> [Fold; 2] {
        [Fold::MAX_ABS.over(self.scope), Fold::SUM.over(self.sphere)]
    }
}

impl Rule for AdaRemS {
    const NAME: &'static str = "adarem_s";
    const SLOTS: usize = 1;
    const CARRIED: usize = 3;

    fn slot(&self, _: usize) -> Slot {
        Slot::zero("m")
    }

    fn carried(&self, k: usize) -> Slot {
        match k {
            INVERSE_MAX => Slot::zero("inverse_max_m"),
            ALPHA => Slot {
                name: "alpha",
                start: 1.0,
            },
            _ => Slot::zero("radius"),
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        non_negative("lr", self.lr)?;
        fraction("beta", self.beta)?;
        fraction("lambda", self.lambda)?;
        check_eps(self.eps)?;
        non_negative("weight_decay", self.weight_decay)?;
        self.radius
            .map_or(Ok(()), |radius| positive("radius", radius))
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        let (radius, alpha) = self.enter(t, e);
        let inverse_max = e.carried::<INVERSE_MAX>();
        let resilience = Resilience::new(self.lambda, self.eps, inverse_max, e);
        let average = Average::new(self.beta, e);
        let lr = e.uniform(self.lr);
        let stride = Stride {
            resilience,
            average,
            lr: if self.slr { lr / (alpha * alpha) } else { lr },
            decay: Decay::new(self.lr * self.weight_decay, e),
        };
        let [largest, square] = if rests(self.lr) {
            self.rest(&stride, e)
        } else if stride.is_plain() {
            self.pass::<true, E>(&stride, e)
        } else {
            self.pass::<false, E>(&stride, e)
        };
        let norm = square.sqrt();
        // 0 where step 0 found zeros, or was skipped by a wrapper: then this is the first norm there is.
        let radius = E::Real::select(E::Real::lit(0.0).lt(radius), radius, norm);
        let alpha = if rests(self.lr) {
            alpha
        } else {
            let scale = onto_sphere(radius, norm);
            e.map(|x: Lane<_, 0>| x.moved(x.theta * scale));
            if self.slr { alpha / scale } else { alpha }
        };

        e.carry::<INVERSE_MAX>(inverse(largest));
        e.carry::<ALPHA>(alpha);
        e.carry::<RADIUS>(radius);
    }
}

impl Tunable for AdaRemS {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("beta", Setting::Number(&mut self.beta));
        visit("lambda", Setting::Number(&mut self.lambda));
        visit("eps", Setting::Number(&mut self.eps));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
        visit("radius", Setting::Optional(&mut self.radius));
        visit("slr", Setting::Flag(&mut self.slr));
        visit("scope", Setting::Scope(&mut self.scope));
        visit("sphere", Setting::Scope(&mut self.sphere));
    }
}

#[cfg(test)]
mod tests {
    use super::AdaRemS;
    use crate::{Host, Rule};

    #[test]
    fn a_rate_of_0_finds_the_radius_that_the_first_step_did_not() {
        let rule = AdaRemS {
            lr: 0.0,
            ..AdaRemS::default()
        };
        let (mut theta, mut m, mut carried) = ([3.0f64, 4.0], [0.0; 2], [0.0, 1.0, 0.0]);
        let mut host = Host::new(&mut theta, &[1.0; 2], [&mut m], &mut carried).unwrap();
        rule.step(1, &mut host);
        assert_eq!((theta, carried[AdaRemS::RADIUS]), ([3.0, 4.0], 5.0));
    }
}
