//! Steps that know a direction only by its sign.

use crate::real::Real;

/// `length` sign(x), for a `length` of at least 0. A zero and a NaN are passed on.
#[inline(always)]
pub(super) fn signed<R: Real>(length: R, x: R) -> R {
    R::select(R::lit(0.0).lt(x.abs()), length.xor_sign(x), x)
}
