//! AdaShift: the second moment of old gradients only, so that it does not depend on the one it divides.

use super::moments::{Average, Root, check_moments, reached};
use super::rest::{Walk, rest_or_walk, rests};
use crate::error::Invalid;
use crate::fold::{Fold, Scope};
use crate::real::Real;
use crate::rule::{Engine, Lane, MAX_SLOTS, Rule, Slot, View};
use crate::tunable::{Setting, Tunable};

/// AdaShift, with one second moment per tensor: that of the largest gradient `N` steps ago.
///
/// ```text
/// input: lr, beta1, beta2, eps, N; theta_0
/// initialize: v = 0
/// for t = 1, 2, ..
///   g_t = gradient at theta, kept for N steps
///   for t > N
///     v = beta2 v + (1 - beta2) max(g_(t-N))^2
///     m = (g_t + beta1 g_(t-1) + .. + beta1^(N-1) g_(t-N+1)) / (1 + beta1 + .. + beta1^(N-1))
///     theta = theta - lr m / (sqrt(v / (1 - beta2^(t-N))) + eps)
/// ```
///
/// Source: Zhou, Zhang, Lu, Wang, Zhang and Yu, "AdaShift: Decorrelation and Convergence of Adaptive
/// Learning Rate Methods" (2019), Algorithm 3 with phi the maximum over a tensor; [`AdaShiftEach`] has
/// phi the identity. The first `N` steps only collect gradients.
///
/// One pass, `N` state vectors: a ring, of which a step writes one and reads all. With the default of 10
/// that is 52 bytes a parameter in `f32`. `N` is at least 1 and at most [`MAX_SLOTS`](crate::MAX_SLOTS).
/// A step's plan depends on where in the ring it writes: a device compiles `2 N` of them.
///
/// A NaN gradient makes its lane NaN, loses the maximum, and so touches no other. An infinite gradient
/// makes its lane infinite at once and, `N` steps later, v; the tensor, or the group that shares v, then
/// stands still. With eps = 0 a tensor whose gradient was all 0 gives 0 / 0. At a rate of 0 the ring and v
/// go on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaShift<const N: usize = 10> {
    /// Learning rate; at least 0, no upper bound. Default 1e-3.
    pub lr: f64,
    /// Weight of a gradient in m against the one after it, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay of the second moment v, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Least denominator, in units of gradient; at least 0. Default 1e-10.
    pub eps: f64,
    /// What shares one v: each tensor on its own (default), or the group.
    pub scope: Scope,
}

impl<const N: usize> Default for AdaShift<N> {
    fn default() -> Self {
        AdaShift {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-10,
            scope: Scope::Tensor,
        }
    }
}

const V: usize = 0;
/// The largest magnitude of the gradient that leaves the ring in the next step.
const LEAVING: usize = 1;

impl<const N: usize> Rule for AdaShift<N> {
    const NAME: &'static str = "adashift";
    const SLOTS: usize = {
        assert!(N >= 1, "AdaShift keeps at least one gradient");
        N
    };
    const CARRIED: usize = 2;

    fn slot(&self, k: usize) -> Slot {
        Slot::zero(RING[k.min(RING.len() - 1)])
    }

    fn carried(&self, k: usize) -> Slot {
        Slot::zero(["v", "leaving"][k.min(1)])
    }

    fn check(&self) -> Result<(), Invalid> {
        check_moments([self.lr, self.beta1, self.beta2, self.eps])
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        let window = Window::<_, N>::new(0, self.beta1, t, e);
        let moved = window.full_for.and_then(|shifted| {
            let v = e.carried::<V>();
            let largest = e.carried::<LEAVING>();
            let v = Average::new(self.beta2, e).next(v, largest * largest);
            e.carry::<V>(v);
            if rests(self.lr) {
                return None;
            }
            let correction = e.uniform(1.0 / reached(self.beta2, shifted));
            let eps = e.uniform(self.eps);
            Some(e.uniform(self.lr) / ((v * correction).sqrt() + eps))
        });
        let folds = [Fold::MAX_ABS.over(self.scope)];
        // Decided here, not in every lane.
        let [leaving] = match moved {
            Some(rate) => e.pass_at(window.view, folds, |x| {
                let lane = Lane {
                    theta: x.theta - rate * window.mean(&x.slot, x.grad),
                    grad: x.grad,
                    slot: [x.grad],
                };
                (lane, [window.leaves_next(&x.slot, x.grad)])
            }),
            None => e.pass_at(window.view, folds, |x| {
                ([x.grad], [window.leaves_next(&x.slot, x.grad)])
            }),
        };
        e.carry::<LEAVING>(leaving);
    }
}

impl<const N: usize> Tunable for AdaShift<N> {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("beta1", Setting::Number(&mut self.beta1));
        visit("beta2", Setting::Number(&mut self.beta2));
        visit("eps", Setting::Number(&mut self.eps));
        visit("scope", Setting::Scope(&mut self.scope));
    }
}

/// AdaShift, with a second moment per coordinate.
///
/// ```text
/// initialize: v = 0
/// for t = 1, 2, ..
///   g_t, m as AdaShift, with N = S - 1
///   for t > N
///     v = beta2 v + (1 - beta2) g_(t-N)^2
///     theta = theta - lr m / (sqrt(v / (1 - beta2^(t-N))) + eps)
/// ```
///
/// Source: as [`AdaShift`], with phi the identity.
///
/// One pass, `S` state vectors: v, and a ring of `S - 1` gradients; `S` is at least 2 and at most
/// [`MAX_SLOTS`](crate::MAX_SLOTS). With the default of 11 that is 64 bytes a parameter in `f32`; a root
/// and a division a lane. A coordinate whose first gradient is not 0 when the one `N` steps before was
/// moves by m / eps; the default eps makes that a leap, so give a larger one where gradients are sparse.
/// A NaN stays in its lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaShiftEach<const S: usize = 11> {
    /// Learning rate; at least 0, no upper bound. Default 1e-3.
    pub lr: f64,
    /// Weight of a gradient in m against the one after it, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay of the second moment v, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Least denominator, in units of gradient; at least 0. Default 1e-10.
    pub eps: f64,
}

impl<const S: usize> Default for AdaShiftEach<S> {
    fn default() -> Self {
        AdaShiftEach {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-10,
        }
    }
}

impl<const S: usize> Rule for AdaShiftEach<S> {
    const NAME: &'static str = "adashift_each";
    const SLOTS: usize = {
        assert!(S >= 2, "AdaShiftEach keeps v and at least one gradient");
        S
    };
    const CARRIED: usize = 0;

    fn slot(&self, k: usize) -> Slot {
        match k.checked_sub(1) {
            None => Slot::zero("v"),
            Some(k) => Slot::zero(RING[k.min(RING.len() - 1)]),
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        check_moments([self.lr, self.beta1, self.beta2, self.eps])
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        rest_or_walk(rests(self.lr), self, t, e);
    }
}

impl<const S: usize> Walk for AdaShiftEach<S> {
    #[inline(always)]
    fn walk<E: Engine>(&self, t: u64, e: &mut E) {
        let window = Window::<_, S>::new(1, self.beta1, t, e);
        let moved = window.full_for.map(|shifted| {
            let root = Root::corrected(self.beta2, self.eps, shifted, e);
            (e.uniform(self.lr), Average::new(self.beta2, e), root)
        });
        let Some((lr, second, root)) = moved else {
            // Of the two that are rewritten v stands first, and stays.
            let collect = |x: Lane<_, S>| ([x.slot.first().copied().unwrap_or(x.grad), x.grad], []);
            let [] = e.pass_at(window.view, [], collect);
            return;
        };
        e.pass_at(window.view, [], |x: Lane<_, S>| {
            let old = window.leaves_now(&x.slot);
            let v = x.slot.first().copied().unwrap_or(old);
            let v = second.next(v, old * old);
            let step = lr * window.mean(&x.slot, x.grad) / root.of(v);
            let lane = Lane {
                theta: x.theta - step,
                grad: x.grad,
                slot: [v, x.grad],
            };
            (lane, [])
        });
    }
}

impl<const S: usize> Tunable for AdaShiftEach<S> {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("beta1", Setting::Number(&mut self.beta1));
        visit("beta2", Setting::Number(&mut self.beta2));
        visit("eps", Setting::Number(&mut self.eps));
    }
}

const RING: [&str; MAX_SLOTS] = [
    "g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7", "g8", "g9", "g10", "g11",
];

/// The gradients of the last steps, as step `t` finds them: a ring in the state vectors from `first` on. The oldest stands
/// at `first`, where that of this step takes its place.
struct Window<R, const S: usize> {
    first: usize,
    view: View,
    /// What a gradient counts for in m, by its place: beta1^age / (1 + beta1 + ..).
    weights: [R; S],
    /// How many steps the ring has been full for; `None` while it is not.
    full_for: Option<u64>,
}

impl<R: Real, const S: usize> Window<R, S> {
    #[inline(always)]
    fn new<E: Engine<Real = R>>(first: usize, beta1: f64, t: u64, e: &mut E) -> Self {
        let length = S.saturating_sub(first).max(1);
        // Checked, though never by 0: a panic that the compiler does not see through would be one.
        let turn = t.checked_rem(length as u64).unwrap_or(0) as usize;
        let weight = |age: usize| libm::pow(beta1, age as f64);
        let sum: f64 = (0..length).map(weight).sum();
        let weights = core::array::from_fn(|place| {
            let age = match place.checked_sub(first) {
                None | Some(0) => 0,
                Some(place) => length.saturating_sub(place),
            };
            e.uniform(weight(age) / sum)
        });
        Window {
            first,
            view: View::ring(0, first, turn),
            weights,
            full_for: t.checked_sub(length as u64),
        }
    }

    /// The gradient that leaves the ring in this step.
    #[inline(always)]
    fn leaves_now(&self, slot: &[R; S]) -> R {
        slot.get(self.first).copied().unwrap_or(R::lit(0.0))
    }

    /// The gradient that will leave it in the next, where `g` joins it in this.
    #[inline(always)]
    fn leaves_next(&self, slot: &[R; S], g: R) -> R {
        slot.get(self.first.saturating_add(1)).copied().unwrap_or(g)
    }

    /// m: the weighted mean of the ring, `g` in place of the oldest.
    #[inline(always)]
    fn mean(&self, slot: &[R; S], g: R) -> R {
        let mut weighted = slot.iter().zip(&self.weights).skip(self.first);
        let newest = weighted.next().map_or(g, |(_, &weight)| weight * g);
        weighted.fold(newest, |sum, (&g, &weight)| sum + weight * g)
    }
}
