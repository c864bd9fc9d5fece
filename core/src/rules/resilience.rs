//! What AdaRem and AdaRem-S share: the coefficient of equations 1 and 2.

use super::given;
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

    #[inline(always)]
    pub(super) fn factor(&self, m: R, g: R) -> R {
        let b = m.xor_sign(g) * self.inverse;
        let b = match self.eps {
            None => b,
            // g m / (|g| M + eps) = b |g| / (|g| + eps / M), halved above and below: neither product of two
            // gradients can overflow, and the quotient is at most 1.
            Some((eps, half)) => {
                let g = half * g.abs();
                b * (g / (g + eps))
            }
        };
        self.one + self.lambda * b
    }
}

/// 1 / M, or 0 where M has no reciprocal with `M * (1 / M) <= 1`: where it is 0, infinite, or so small or
/// large that the quotient is not normal. As |m| <= M and rounding is monotonic, |b| <= 1 follows for every lane.
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
