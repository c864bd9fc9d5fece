//! Numbers of 16 bits: [`Bf16`] and [`F16`], for memory; nothing is computed in them.
//!
//! A step of most rules is bound by memory, so a number that is kept in half the bytes takes half the time. State
//! vectors and gradients bear it, and so do the parameters that a network computes with, as long as a master copy in
//! full remembers the small steps.
//!
//! Conversions round to the nearest, of two the even one; what is too large becomes infinite, and a NaN stays one. They
//! are written without branches, so that the compiler may do many at once.

use core::fmt::{self, Debug};

use crate::real::Element;

/// A type of 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Half {
    /// [`Bf16`]
    Bf16,
    /// [`F16`]
    F16,
}

impl Half {
    /// `x` rounded to this type.
    ///
    /// ```
    /// use adarem::Half;
    ///
    /// assert_eq!(Half::Bf16.round(1.01f32), 1.0078125);
    /// assert_eq!(Half::F16.round(1e6f32), f32::INFINITY);
    /// ```
    #[inline]
    pub fn round<T: Element>(self, x: T) -> T {
        match self {
            Half::Bf16 => Bf16::store(x).load(),
            Half::F16 => F16::store(x).load(),
        }
    }

    /// Two numbers in one element of four bytes, the first in the low half.
    #[inline]
    pub fn pack<T: Element>(self, [low, high]: [T; 2]) -> T {
        let bits = |x: T| match self {
            Half::Bf16 => Bf16::store(x).to_bits(),
            Half::F16 => F16::store(x).to_bits(),
        };
        T::from_le(u64::from(bits(low)) | u64::from(bits(high)) << 16)
    }

    /// The two numbers that [`pack`](Self::pack) put into an element.
    #[inline]
    pub fn unpack<T: Element>(self, packed: T) -> [T; 2] {
        [0, 16].map(|shift| {
            let bits = (packed.to_le() >> shift) as u16;
            match self {
                Half::Bf16 => Bf16::from_bits(bits).load(),
                Half::F16 => F16::from_bits(bits).load(),
            }
        })
    }
}

/// What memory holds of a number `T`: the number itself, half of its bits, or a byte.
///
/// ```
/// use adarem::{Bf16, Stored};
///
/// let kept = Bf16::store(0.1f32);
/// assert_eq!(size_of_val(&kept), 2);
/// let x: f32 = kept.load();
/// assert!((x - 0.1).abs() < 0.1 / 256.0);
/// ```
pub trait Stored<T>: Copy + Default + Debug + Send + Sync + 'static {
    /// The half type that it is, if it is one.
    const HALF: Option<Half>;

    /// The number, exactly.
    fn load(self) -> T;

    /// What is nearest to `x`.
    fn store(x: T) -> Self;
}

/// What the parameters and gradients of a device may be: `f32`, [`Bf16`] or [`F16`].
///
/// Kernels know how these lie in memory, and any bits are a number of each. Nothing else can be one.
///
/// ```compile_fail,E0277
/// fn zeros_of<P: adarem::Param>() {}
/// zeros_of::<i8>(); // which is `Stored<f32>`, too
/// ```
pub trait Param: Stored<f32> + sealed::Sealed {}

impl Param for f32 {}
impl Param for Bf16 {}
impl Param for F16 {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for super::Bf16 {}
    impl Sealed for super::F16 {}
}

impl<T: Element> Stored<T> for T {
    const HALF: Option<Half> = None;

    #[inline(always)]
    fn load(self) -> T {
        self
    }

    #[inline(always)]
    fn store(x: T) -> T {
        x
    }
}

/// Whole numbers from -127 to 127, for [`AdaRem8`](crate::AdaRem8), which keeps m in units. Of two that are equally near
/// the even one is taken, a number beyond the last becomes the last, and a NaN 0.
impl Stored<f32> for i8 {
    const HALF: Option<Half> = None;

    #[inline(always)]
    fn load(self) -> f32 {
        self.into()
    }

    #[inline(always)]
    fn store(x: f32) -> i8 {
        let x = if x.is_nan() { 0.0 } else { x };
        let x = if x < -127.0 { -127.0 } else { x };
        let x = if 127.0 < x { 127.0 } else { x };
        // Beside 1.5 * 2^23 a float has no place behind the point, and its last bits are the integer. A cast is no
        // instruction of vectors.
        (x + 12_582_912.0).to_bits() as i8
    }
}

impl<T: Element> Stored<T> for Bf16 {
    const HALF: Option<Half> = Some(Half::Bf16);

    #[inline(always)]
    fn load(self) -> T {
        widened(self.to_f32())
    }

    #[inline(always)]
    fn store(x: T) -> Self {
        Bf16::from_f32(narrowed(x))
    }
}

impl<T: Element> Stored<T> for F16 {
    const HALF: Option<Half> = Some(Half::F16);

    #[inline(always)]
    fn load(self) -> T {
        widened(self.to_f32())
    }

    #[inline(always)]
    fn store(x: T) -> Self {
        F16::from_f32(narrowed(x))
    }
}

#[inline(always)]
fn widened<T: Element>(x: f32) -> T {
    T::from(x).unwrap_or(T::nan())
}

#[inline(always)]
fn narrowed<T: Element>(x: T) -> f32 {
    x.to_f32().unwrap_or(f32::NAN)
}

/// The half of an `f32` that matters most: its sign, its exponent and seven bits of its fraction. It reaches as far as
/// `f32` and tells numbers apart that differ by 1 in 128.
///
/// ```
/// use adarem::Bf16;
///
/// assert_eq!(Bf16::from_f32(3.0).to_bits(), 0x4040);
/// assert_eq!(Bf16::from_f32(1e38).to_f32(), 9.96921e37);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Bf16(u16);

impl Bf16 {
    /// The number with these bits.
    #[inline(always)]
    pub const fn from_bits(bits: u16) -> Self {
        Bf16(bits)
    }

    /// Its bits: sign 1, exponent 8, fraction 7.
    #[inline(always)]
    pub const fn to_bits(self) -> u16 {
        self.0
    }

    /// The nearest to `x`.
    #[inline(always)]
    pub fn from_f32(x: f32) -> Self {
        let bits = x.to_bits();
        let even = bits >> 16 & 1;
        let rounded = bits.wrapping_add(0x7fff + even) >> 16;
        let nan = bits >> 16 | 0x40;
        Bf16(if x.is_nan() { nan } else { rounded } as u16)
    }

    /// The number, exactly.
    #[inline(always)]
    pub fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
}

impl Debug for Bf16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_f32().fmt(f)
    }
}

/// IEEE 754 binary16. It reaches from 6e-8 to 65,504 and, from 6e-5 on, tells numbers apart that differ by 1 in 1,024.
///
/// ```
/// use adarem::F16;
///
/// assert_eq!(F16::from_f32(1.0).to_bits(), 0x3c00);
/// assert_eq!(F16::from_f32(1e-8).to_f32(), 0.0);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct F16(u16);

/// What the exponent of an `f32` is larger by.
const REBIAS: u32 = 112 << 23;

impl F16 {
    /// The number with these bits.
    #[inline(always)]
    pub const fn from_bits(bits: u16) -> Self {
        F16(bits)
    }

    /// Its bits: sign 1, exponent 5, fraction 10.
    #[inline(always)]
    pub const fn to_bits(self) -> u16 {
        self.0
    }

    /// The nearest to `x`.
    #[inline(always)]
    pub fn from_f32(x: f32) -> Self {
        let sign = x.to_bits() >> 16 & 0x8000;
        let bits = x.to_bits() & 0x7fff_ffff;
        let even = bits >> 13 & 1;
        let normal = bits.wrapping_sub(REBIAS).wrapping_add(0xfff + even) >> 13;
        // Beside 1/2 an f32 has just the places of a subnormal, and the addition rounds to them.
        let subnormal = (f32::from_bits(bits) + 0.5)
            .to_bits()
            .wrapping_sub(0.5f32.to_bits());
        let finite = if bits < 113 << 23 { subnormal } else { normal };
        // From half a place above the largest number on.
        let large = if bits >= 0x477f_f000 { 0x7c00 } else { finite };
        let all = if x.is_nan() { 0x7e00 } else { large };
        F16((all | sign) as u16)
    }

    /// The number, exactly.
    #[inline(always)]
    pub fn to_f32(self) -> f32 {
        let sign = u32::from(self.0 & 0x8000) << 16;
        let bits = u32::from(self.0 & 0x7fff);
        let normal = (bits << 13).wrapping_add(REBIAS);
        let subnormal = (f32::from_bits(0.5f32.to_bits() | bits) - 0.5).to_bits();
        let finite = if bits < 0x400 { subnormal } else { normal };
        let all = if bits >= 0x7c00 {
            bits << 13 | 0x7f80_0000
        } else {
            finite
        };
        f32::from_bits(all | sign)
    }
}

impl Debug for F16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_f32().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bf16, F16, Half, Stored};

    #[test]
    fn a_byte_holds_the_nearest_integer() {
        assert_eq!(<i8 as Stored<f32>>::HALF, None);
        for q in -127..=127i8 {
            let x: f32 = q.load();
            assert_eq!(x, f32::from(q));
            for near in [x, x - 0.4999, x + 0.4999] {
                assert_eq!(i8::store(near), q, "{near}");
            }
            let above = q.saturating_add(1);
            let even = if q % 2 == 0 { q } else { above };
            if q < 126 {
                assert_eq!(i8::store(x + 0.5), even, "{x} and a half");
            }
        }
        for x in [127.4, 127.5, 128.0, 1e30, f32::INFINITY] {
            assert_eq!((i8::store(x), i8::store(-x)), (127, -127));
        }
        for bits in [0x7fc0_0000, 0x7f80_0001, 0xffff_ffff, 0x7fc0_0055] {
            assert_eq!(i8::store(f32::from_bits(bits)), 0);
        }
        assert_eq!(
            (i8::store(0.5), i8::store(-0.5), i8::store(-0.0)),
            (0, 0, 0)
        );
        assert_eq!((i8::store(1.5), i8::store(-2.5)), (2, -2));
    }

    /// The two numbers of a type that lie around `x`, by trying all: the slow way to the nearest.
    fn nearest(x: f32, all: &[(f32, u16)]) -> u16 {
        // Compared in f64, where differences of f32 that lie close are exact.
        let distance = |&(y, bits): &(f32, u16)| {
            // Infinity stands where the next finite number would.
            let y = if y.is_infinite() {
                2.0 * f64::from(all[all.len() - 2].0) - f64::from(all[all.len() - 3].0)
            } else {
                y.into()
            };
            ((f64::from(x.abs()) - y).abs(), bits & 1)
        };
        let at = all.partition_point(|&(y, _)| y < x.abs());
        let near = &all[at.saturating_sub(1)..(at + 1).min(all.len())];
        let best = near
            .iter()
            .min_by(|a, b| distance(a).partial_cmp(&distance(b)).unwrap())
            .unwrap();
        best.1 | if x.is_sign_negative() { 0x8000 } else { 0 }
    }

    fn check(from: fn(f32) -> u16, to: fn(u16) -> f32, infinity: u16) {
        let all: std::vec::Vec<(f32, u16)> = (0..=infinity).map(|bits| (to(bits), bits)).collect();
        assert!(all.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for &(x, bits) in &all {
            for (sign, flip) in [(1.0, 0), (-1.0, 0x8000)] {
                assert_eq!(from(sign * x), bits | flip, "{x}");
                assert_eq!(to(bits | flip).to_bits(), (sign * x).to_bits());
            }
        }
        let between = all.windows(2).filter(|pair| pair[1].0.is_finite());
        for pair in between {
            let middle = ((f64::from(pair[0].0) + f64::from(pair[1].0)) / 2.0) as f32;
            for x in [middle.next_down(), middle, middle.next_up(), -middle] {
                assert_eq!(from(x), nearest(x, &all), "{x:e}");
            }
        }
        for x in [
            f32::MAX,
            f32::MIN_POSITIVE,
            1e-45,
            3e-8,
            2.9802322e-8,
            65519.996,
            65520.0,
            65536.0,
            1e-3,
            0.1,
        ] {
            assert_eq!(from(x), nearest(x, &all), "{x:e}");
        }
        for nan in [
            f32::NAN,
            -f32::NAN,
            f32::from_bits(0x7f80_0001),
            f32::from_bits(0xffff_ffff),
        ] {
            assert!(to(from(nan)).is_nan());
        }
    }

    #[test]
    fn conversions_go_to_the_nearest_and_back() {
        check(
            |x| Bf16::from_f32(x).to_bits(),
            |bits| Bf16::from_bits(bits).to_f32(),
            0x7f80,
        );
        check(
            |x| F16::from_f32(x).to_bits(),
            |bits| F16::from_bits(bits).to_f32(),
            0x7c00,
        );
    }

    #[test]
    fn a_number_is_shown_as_an_f32_is() {
        let (brief, exact) = (Bf16::from_f32(-1.5), F16::from_f32(0.25));
        assert_eq!(std::format!("{brief:?} {exact:?}"), "-1.5 0.25");
    }

    #[test]
    fn two_numbers_share_an_element() {
        for half in [Half::Bf16, Half::F16] {
            let pair = [1.5f32, -0.0];
            assert_eq!(
                half.unpack(half.pack(pair)).map(f32::to_bits),
                pair.map(f32::to_bits)
            );
            // Whatever the bits say, even those of a NaN.
            let bits = f32::from_bits(0x7fa1_ff81);
            assert!(half.unpack(bits).iter().all(|x| x.is_nan()));
        }
        assert_eq!(Half::F16.round(f64::MAX), f64::INFINITY);
        assert_eq!(Half::Bf16.round(0.1f64), f64::from(0.100_097_656f32));
    }
}
