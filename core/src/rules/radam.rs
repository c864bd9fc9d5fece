//! RAdam: Adam that waits until its second moment can be trusted.

use super::decay::Shrink;
use super::moments::{Moments, Root, check_moments, hat_rate, reached};
use super::rest::{Walk, rest_or_walk, rests};
use crate::error::{Invalid, non_negative};
use crate::rule::{Engine, Lane, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// RAdam: Adam's rate times a factor r, which rises to 1 as the second moment averages over more steps.
///
/// ```text
/// input: lr, beta1, beta2, eps, hold, weight_decay; theta_0
/// initialize: m = 0, v = 0,  n_max = 2 / (1 - beta2) - 1
/// for t = 1, 2, ..
///   g = gradient at theta + weight_decay theta                   (L2, default; or decoupled)
///   m = beta1 m + (1 - beta1) g
///   v = beta2 v + (1 - beta2) g^2
///   n = n_max - 2 t beta2^t / (1 - beta2^t)
///   r = sqrt((n - 4) (n - 2) n_max / ((n_max - 4) (n_max - 2) n))
///   theta = theta - lr r sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)     (n > 5)
///         = theta - lr / (1 - beta1^t) m                                           (else)
///         = theta                                                                  (else, hold)
/// ```
///
/// Source: Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond" (2020), in the form of
/// `torch.optim.RAdam`: momentum alone until n is above 5. The authors' code by default moves nothing
/// until n is at least 5: that is `hold`. With beta2 = 0.999 the start takes 5 steps. For beta2 up to 2/3 it
/// never ends, and RAdam stays SGD with momentum, or with `hold` where it is.
///
/// Two state vectors; 28 bytes a parameter in `f32`; a root and a division a lane, none at the start.
/// Special values as [`Adam`](crate::Adam).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RAdam {
    /// Learning rate; at least 0, no upper bound. Default 1e-3.
    pub lr: f64,
    /// Decay of the first moment m, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay of the second moment v, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Least denominator, in units of gradient; at least 0. Default 1e-8.
    pub eps: f64,
    /// Whether nothing but decoupled decay moves theta at the start, as in the authors' code. Default
    /// false.
    pub hold: bool,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Whether the decay acts on theta itself, times lr, instead of joining the gradient. Default false.
    pub decoupled: bool,
}

impl Default for RAdam {
    fn default() -> Self {
        RAdam {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            hold: false,
            weight_decay: 0.0,
            decoupled: false,
        }
    }
}

impl RAdam {
    /// The factor r of step `t`, counted from 0; `None` while the second moment is not used.
    ///
    /// ```
    /// use adarem::RAdam;
    ///
    /// let rule = RAdam::default();
    /// assert_eq!(rule.rectification(4), None);
    /// assert!(rule.rectification(5).is_some_and(|r| r < 0.03));
    /// assert!(rule.rectification(100_000).is_some_and(|r| (r - 1.0).abs() < 1e-9));
    /// ```
    pub fn rectification(&self, t: u64) -> Option<f64> {
        let most = 2.0 / (1.0 - self.beta2) - 1.0;
        let reached = reached(self.beta2, t);
        let n = most - 2.0 * (t as f64 + 1.0) * (1.0 - reached) / reached;
        let trusted = if self.hold { n >= 5.0 } else { n > 5.0 };
        trusted.then(|| {
            let now = (n - 4.0) * (n - 2.0) / n;
            libm::sqrt(now * (most / ((most - 4.0) * (most - 2.0))))
        })
    }
}

impl Rule for RAdam {
    const NAME: &'static str = "radam";
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
        rest_or_walk(rests(self.lr), self, t, e);
    }
}

impl Walk for RAdam {
    #[inline(always)]
    fn walk<E: Engine>(&self, t: u64, e: &mut E) {
        let shrink = Shrink::new(self.lr, self.weight_decay, self.decoupled, e);
        let moments = Moments::new(self.beta1, self.beta2, e);
        // Decided here, not in every lane.
        if let Some(r) = self.rectification(t) {
            let rate = e.uniform(hat_rate(self.lr * r, self.beta1, self.beta2, t));
            let root = Root::raw(self.eps, e);
            pass(&shrink, &moments, e, |m, v| rate * m / root.of(v));
        } else if self.hold {
            e.map(|x| {
                let [m, v] = x.slot;
                let (theta, g) = shrink.apply(x.theta, x.grad);
                let (m, v) = moments.next(m, v, g);
                Lane {
                    theta,
                    slot: [m, v],
                    ..x
                }
            });
        } else {
            let rate = e.uniform(self.lr / reached(self.beta1, t));
            pass(&shrink, &moments, e, |m, _| rate * m);
        }
    }
}

/// Moves every lane by `update` of its moments.
#[inline(always)]
fn pass<E: Engine>(
    shrink: &Shrink<E::Real>,
    moments: &Moments<E::Real>,
    e: &mut E,
    update: impl Fn(E::Real, E::Real) -> E::Real,
) {
    e.map(|x| {
        let [m, v] = x.slot;
        let (theta, g) = shrink.apply(x.theta, x.grad);
        let (m, v) = moments.next(m, v, g);
        Lane {
            theta: theta - update(m, v),
            slot: [m, v],
            ..x
        }
    });
}

impl Tunable for RAdam {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("beta1", Setting::Number(&mut self.beta1));
        visit("beta2", Setting::Number(&mut self.beta2));
        visit("eps", Setting::Number(&mut self.eps));
        visit("hold", Setting::Flag(&mut self.hold));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
        visit("decoupled", Setting::Flag(&mut self.decoupled));
    }
}

#[cfg(test)]
mod tests {
    use super::RAdam;
    use crate::{Host, Rule};

    #[test]
    fn a_length_of_just_5_is_trusted_by_the_form_that_holds() {
        let just = |hold| RAdam {
            beta2: 0.839_768_574_865_979,
            hold,
            ..RAdam::default()
        };
        assert_eq!(just(false).rectification(5), None);
        assert!(just(true).rectification(5).is_some());
    }

    #[test]
    fn a_decoupled_decay_goes_on_while_theta_is_held() {
        let rule = RAdam {
            lr: 0.5,
            weight_decay: 0.25,
            decoupled: true,
            hold: true,
            ..RAdam::default()
        };
        let (mut theta, mut m, mut v) = ([8.0f64], [0.0], [0.0]);
        let slots = [&mut m[..], &mut v];
        rule.step(
            0,
            &mut Host::new(&mut theta, &[1.0], slots, &mut []).unwrap(),
        );
        assert_eq!(theta, [7.0]);
        assert!(m[0] > 0.0 && v[0] > 0.0);
    }
}
