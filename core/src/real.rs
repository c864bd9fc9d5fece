//! [`Real`]: the numbers a rule is written over, and [`Element`]: the numbers a tensor holds.
//!
//! A rule sees only these operations. Run over `f32` or `f64` they compute; run over the numbers of a
//! [trace](crate::trace) they write themselves down. Each one is defined to the bit, so that host, SIMD
//! unit and GPU agree: nothing is fused, nothing is reassociated, subnormal numbers are kept. Where a
//! result is NaN, its sign and payload do not count.

use core::any::TypeId;
use core::fmt::{Debug, Display};
use core::ops::{Add, Div, Mul, Neg, Sub};

use num_traits::Float;

use crate::halvings::{by_bits, ladder, two_to};

/// A number that a rule computes with: a float, or a node of a trace.
///
/// There is no `PartialOrd`: a rule never branches on a coordinate, it [selects](Real::select), because
/// on a GPU all coordinates run the same instructions.
///
/// ```
/// use adarem::Real;
///
/// // A rule's own helper: the sign of x, with 0 for 0.
/// fn sign<R: Real>(x: R) -> R {
///     let zero = R::lit(0.0);
///     let negative = R::select(x.lt(zero), R::lit(-1.0), zero);
///     R::select(zero.lt(x), R::lit(1.0), negative)
/// }
/// assert_eq!(sign(-2.5f32), -1.0);
/// assert_eq!(sign(0.0f64), 0.0);
/// ```
pub trait Real:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// The outcome of a comparison, to [`select`](Self::select) by.
    type Mask: Copy;

    /// The constant `x`, rounded once to this type.
    fn lit(x: f64) -> Self;

    /// The magnitude: the sign bit cleared.
    fn abs(self) -> Self;

    /// The correctly rounded square root; NaN below zero.
    fn sqrt(self) -> Self;

    /// The larger of the two; a NaN loses. Of two zeros, `self`.
    fn max(self, other: Self) -> Self;

    /// `self` with its sign bit XOR the sign bit of `of`: exact, and without a case for `sign(0)`.
    fn xor_sign(self, of: Self) -> Self;

    /// Whether `self < other`; false where either is NaN.
    fn lt(self, other: Self) -> Self::Mask;

    /// `yes` where the mask holds, else `no`.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;

    /// How often 1 is to be halved: k, the whole number nearest to `self` (of two, the even one), and 2^-k, or 0 where
    /// that is no normal number. `self` is first brought into [0, 1500]; NaN counts as 0.
    ///
    /// Provided: a ladder of the operations above, which is what a trace writes down. Floats look at their bits
    /// instead, in a tenth of the operations and to the same result.
    ///
    /// ```
    /// use adarem::Real;
    ///
    /// assert_eq!(3.4f32.halvings(), (3.0, 0.125));
    /// assert_eq!((2.5f64.halvings().0, 3.5f64.halvings().0), (2.0, 4.0));
    /// assert_eq!(126f32.halvings(), (126.0, f32::MIN_POSITIVE));
    /// assert_eq!(127f32.halvings(), (127.0, 0.0));
    /// ```
    #[inline(always)]
    fn halvings(self) -> (Self, Self) {
        ladder(self)
    }
}

/// Whether the processors that the library is built for have vector registers.
pub(crate) const VECTORS: bool = cfg!(any(
    target_feature = "sse2",
    target_feature = "neon",
    target_feature = "simd128"
));

/// The sign bits.
const SIGN_F32: u32 = 1 << 31;
const SIGN_F64: u64 = 1 << 63;

impl<T: Float + 'static> Real for T {
    type Mask = bool;

    #[inline(always)]
    fn lit(x: f64) -> T {
        // Never `None` for a float; NaN stands for a float type that cannot hold any f64.
        T::from(x).unwrap_or_else(T::nan)
    }

    #[inline(always)]
    fn abs(self) -> T {
        Float::abs(self)
    }

    #[inline(always)]
    fn sqrt(self) -> T {
        Float::sqrt(self)
    }

    #[inline(always)]
    fn max(self, other: T) -> T {
        if self < other || self.is_nan() {
            other
        } else {
            self
        }
    }

    #[inline(always)]
    fn xor_sign(self, of: T) -> T {
        // The same as the choice below, in one instruction of vectors where a compiler makes three of the choice; without
        // vectors the choice is shorter. The types are compared when the program is built.
        if VECTORS
            && TypeId::of::<T>() == TypeId::of::<f32>()
            && let (Some(x), Some(of)) = (self.to_f32(), of.to_f32())
            && let Some(x) = T::from(f32::from_bits(x.to_bits() ^ of.to_bits() & SIGN_F32))
        {
            return x;
        }
        if VECTORS
            && TypeId::of::<T>() == TypeId::of::<f64>()
            && let (Some(x), Some(of)) = (self.to_f64(), of.to_f64())
            && let Some(x) = T::from(f64::from_bits(x.to_bits() ^ of.to_bits() & SIGN_F64))
        {
            return x;
        }
        if of.is_sign_negative() { -self } else { self }
    }

    #[inline(always)]
    fn lt(self, other: T) -> bool {
        self < other
    }

    #[inline(always)]
    fn select(mask: bool, yes: T, no: T) -> T {
        if mask { yes } else { no }
    }

    #[inline(always)]
    fn halvings(self) -> (T, T) {
        // The types are compared when the program is built.
        if TypeId::of::<T>() == TypeId::of::<f32>() {
            return by_bits(self, 1.5 * two_to(23), 127.0, |x| {
                let bits = x.to_f32().unwrap_or(f32::NAN).to_bits();
                T::from(f32::from_bits(bits << 23)).unwrap_or(x)
            });
        }
        if TypeId::of::<T>() == TypeId::of::<f64>() {
            return by_bits(self, 1.5 * two_to(52), 1023.0, |x| {
                let bits = x.to_f64().unwrap_or(f64::NAN).to_bits();
                T::from(f64::from_bits(bits << 52)).unwrap_or(x)
            });
        }
        ladder(self)
    }
}

/// A number type that tensors hold: `f32` or `f64`.
///
/// ```
/// use adarem::{Dtype, Element};
///
/// assert_eq!(f32::DTYPE, Dtype::F32);
/// assert_eq!(f64::DTYPE.bytes(), 8);
/// assert_eq!(f32::from_le(f32::to_le(0.1)), 0.1);
/// ```
pub trait Element: Float + Default + Debug + Display + Send + Sync + 'static {
    /// Which type this is, for data that outlives the program.
    const DTYPE: Dtype;

    /// The bits, least significant byte first, in the low [`Dtype::bytes`] bytes.
    fn to_le(self) -> u64;

    /// The number of these bits; what lies above [`Dtype::bytes`] bytes is ignored.
    fn from_le(bits: u64) -> Self;
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;

    #[inline]
    fn to_le(self) -> u64 {
        u64::from(self.to_bits())
    }

    #[inline]
    fn from_le(bits: u64) -> f32 {
        f32::from_bits(bits as u32)
    }
}

impl Element for f64 {
    const DTYPE: Dtype = Dtype::F64;

    #[inline]
    fn to_le(self) -> u64 {
        self.to_bits()
    }

    #[inline]
    fn from_le(bits: u64) -> f64 {
        f64::from_bits(bits)
    }
}

/// The name of a number type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dtype {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl Dtype {
    /// Bytes a number.
    pub const fn bytes(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::F64 => 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Dtype, Element, Real};

    #[test]
    fn a_nan_loses_a_maximum() {
        assert_eq!(Real::max(f32::NAN, 1.0), 1.0);
        assert_eq!(Real::max(1.0, f32::NAN), 1.0);
        assert_eq!(Real::max(-0.0f32, 0.0).to_bits(), (-0.0f32).to_bits());
    }

    #[test]
    fn xor_sign_works_on_zeros_and_infinities() {
        fn works<T: Element>(positive: [T; 4]) {
            let (zero, two) = (T::zero(), T::one() + T::one());
            for x in positive {
                for (x, of, want) in [
                    (x, zero, x),
                    (x, two, x),
                    (x, -zero, -x),
                    (x, -two, -x),
                    (-x, zero, -x),
                    (-x, two, -x),
                    (-x, -zero, x),
                    (-x, -two, x),
                ] {
                    assert_eq!(x.xor_sign(of).to_le(), want.to_le(), "{x} by {of}");
                }
            }
        }
        works([0.0f32, 1.5, f32::INFINITY, f32::MIN_POSITIVE]);
        works([0.0f64, 1.5, f64::INFINITY, f64::MIN_POSITIVE]);
    }

    #[test]
    fn a_literal_is_rounded_once() {
        assert_eq!(<f32 as Real>::lit(0.1), 0.1f32);
        assert_eq!(<f32 as Real>::lit(1e300), f32::INFINITY);
        assert!(<f32 as Real>::lit(f64::NAN).is_nan());
    }

    #[test]
    fn floats_are_compared_chosen_and_rooted_as_the_text_says() {
        let nan = f64::NAN;
        for (a, b, less) in [(1.0, 2.0, true), (2.0, 1.0, false), (1.0, 1.0, false)] {
            assert_eq!((a.lt(b), Real::max(a, b)), (less, f64::max(a, b)));
        }
        assert!(!nan.lt(1.0) && !1.0.lt(nan) && !(-0.0).lt(0.0));
        assert_eq!(
            (Real::select(true, 1.0, 2.0), Real::select(false, 1.0, 2.0)),
            (1.0, 2.0)
        );
        assert_eq!((Real::abs(-3.0f32), Real::sqrt(9.0f32)), (3.0, 3.0));
        assert!(Real::abs(-0.0f64).is_sign_positive() && Real::sqrt(-1.0f64).is_nan());
    }

    #[test]
    fn elements_keep_their_bits() {
        assert_eq!((Dtype::F32.bytes(), Dtype::F64.bytes()), (4, 8));
        assert_eq!(Element::to_le(-1.5f32), 0xbfc0_0000);
        assert_eq!(Element::to_le(-1.5f64), 0xbff8_0000_0000_0000);
        assert_eq!(<f32 as Element>::from_le(0xffff_ffff_bfc0_0000), -1.5);
        assert_eq!(<f64 as Element>::from_le(0xbff8_0000_0000_0000), -1.5);
    }
}
