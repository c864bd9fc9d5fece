//! What AdaRem and AdaRem-S share: the coefficient of equations 1 and 2, and the lane's move by it.

use super::decay::Decay;
use super::given;
use super::moments::Average;
use crate::error::{Invalid, ensure};
use crate::real::Real;
use crate::rule::Engine;

/// a = 1 + lambda b, with b = sign(g) m / M or, with eps, g m / (|g| M + eps).
pub(super) struct Resilience<R> {
    one: R,
    lambda: R,
    /// 1 / M, or 0 where there is none.
    inverse: R,
    /// eps / (2 M), and 1/2.
    eps: Option<(R, R)>,
}

impl<R: Real> Resilience<R> {
    /// `inverse` is what [`inverse`] made of the last step's M.
    #[inline(always)]
    pub(super) fn new<E: Engine<Real = R>>(lambda: f64, eps: f64, inverse: R, e: &mut E) -> Self {
        let lambda = e.uniform(lambda);
        let eps = given(eps).then(|| {
            // Not below the smallest normal f32, so that a zero gradient gives 0 / eps and not 0 / 0.
            let least = e.uniform(f64::from(f32::MIN_POSITIVE));
            ((e.uniform(0.5 * eps) * inverse).max(least), R::lit(0.5))
        });
        Resilience {
            one: R::lit(1.0),
            lambda,
            inverse,
            eps,
        }
    }

    /// a.
    #[inline(always)]
    pub(super) fn factor(&self, m: R, g: R) -> R {
        let Some((eps, half)) = self.eps else {
            return self.plain_factor(m, g);
        };
        // g m / (|g| M + eps) = b |g| / (|g| + eps / M), halved above and below: neither product of two
        // gradients can overflow, and the quotient is at most 1.
        let halved = half * g.abs();
        let b = self.agreement(m, g) * (halved / (halved + eps));
        self.one + self.lambda * b
    }

    /// a where there is no eps.
    #[inline(always)]
    fn plain_factor(&self, m: R, g: R) -> R {
        self.one + self.lambda * self.agreement(m, g)
    }

    /// sign(g) m / M.
    #[inline(always)]
    fn agreement(&self, m: R, g: R) -> R {
        m.xor_sign(g) * self.inverse
    }
}

/// The move of a lane: theta - lr a g, decayed, and the next m.
pub(super) struct Stride<R> {
    pub(super) resilience: Resilience<R>,
    pub(super) average: Average<R>,
    pub(super) lr: R,
    pub(super) decay: Decay<R>,
}

impl<R: Real> Stride<R> {
    /// Whether there is neither eps nor decay.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        self.resilience.eps.is_none() && self.decay.is_none()
    }

    /// The next theta and m, and the coefficient a. With `PLAIN`, the stride [is plain](Self::is_plain), and no lane
    /// asks for eps and decay.
    #[inline(always)]
    pub(super) fn of<const PLAIN: bool>(&self, theta: R, m: R, g: R) -> (R, R, R) {
        let (a, kept) = if PLAIN {
            (self.resilience.plain_factor(m, g), theta)
        } else {
            (self.resilience.factor(m, g), self.decay.keep(theta))
        };
        (kept - self.lr * (a * g), self.average.next(m, g), a)
    }
}

/// 1 / M, or 0 where M has no reciprocal with `M * (1 / M) <= 1`: where it is 0 or infinite, or so small that the
/// quotient is infinite, or so large that it is not normal and rounded up. As |m| <= M and rounding is monotonic,
/// |b| <= 1 follows for every lane.
#[inline(always)]
pub(super) fn inverse<R: Real>(largest: R) -> R {
    let (zero, one) = (R::lit(0.0), R::lit(1.0));
    let inverse = one / largest;
    let back = largest * inverse;
    R::select(zero.lt(back), R::select(one.lt(back), zero, inverse), zero)
}

pub(super) fn check_eps(eps: f64) -> Result<(), Invalid> {
    let holds = eps == 0.0 || (f64::from(f32::MIN_POSITIVE)..=1.0).contains(&eps);
    ensure(holds, "eps", "be 0 or lie in [1.2e-38, 1]", eps)
}

#[cfg(test)]
mod tests {
    use super::inverse;

    #[test]
    fn nothing_times_its_inverse_is_more_than_one() {
        for largest in [0.0, f32::INFINITY, f32::from_bits(1)] {
            assert_eq!(inverse(largest), 0.0, "{largest:e}");
        }
        let (mut kept, mut above) = (0, 0);
        for k in 1..5000 {
            for largest in [k as f32 * 0.01, k as f32 * 6e34] {
                let (inverse, plain) = (inverse(largest), 1.0 / largest);
                assert!(inverse * largest <= 1.0, "{largest:e}");
                if plain * largest > 1.0 {
                    above += 1;
                    assert_eq!(inverse, 0.0, "{largest:e}");
                } else {
                    kept += 1;
                    assert_eq!(inverse, plain, "{largest:e}");
                }
            }
        }
        assert!(kept > 1000 && above > 100, "{kept} kept, {above} above");
    }
}
