//! Numbers to test with: the spicy ones, random bits, and how far two numbers lie apart.

use adarem::{Dtype, Element, Real};

/// A stream of random bits, the same for the same seed on every machine (SplitMix64).
///
/// ```
/// use adarem_conformance::Random;
///
/// assert_eq!(Random::new(7).bits(), Random::new(7).bits());
/// ```
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The stream for one subject of many that share a seed.
    pub fn about(seed: u64, subject: &str) -> Self {
        // FNV-1a, so that subjects of one letter's difference part at once.
        let hash = subject.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Random(seed ^ hash)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, and 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// A number of any bits: one in four is spicy.
    pub fn any<T: Element>(&mut self) -> T {
        if self.below(4) == 0 {
            let spicy = spicy::<T>();
            spicy[self.below(spicy.len())]
        } else {
            T::from_le(self.bits())
        }
    }

    /// A number as training meets it: of either sign, with a magnitude between 2^-12 and 2^4, all its bits
    /// in use, so that a sum of such numbers shows its order.
    pub fn ordinary<T: Element>(&mut self) -> T {
        let mantissa = 1.0 + (self.bits() >> 11) as f64 * (-53f64).exp2();
        let scale = (self.below(16) as f64 - 12.0).exp2();
        let sign = if self.bits() >> 63 == 0 { 1.0 } else { -1.0 };
        T::from(sign * mantissa * scale).unwrap_or_else(T::nan)
    }

    /// An ordinary number, but for three in 64: a zero, one at the low end of the normal range, and a small one.
    pub fn mild<T: Element>(&mut self) -> T {
        let x = self.ordinary::<T>();
        x * match self.below(64) {
            0 => T::zero(),
            1 => T::min_positive_value(),
            2 => Real::lit(1e-12),
            _ => T::one(),
        }
    }

    /// So many numbers, one drawn after the other.
    ///
    /// ```
    /// use adarem_conformance::Random;
    ///
    /// let numbers: Vec<f32> = Random::new(7).many(3, Random::ordinary);
    /// assert_eq!(numbers.len(), 3);
    /// ```
    pub fn many<T>(&mut self, len: usize, mut draw: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..len).map(|_| draw(self)).collect()
    }
}

/// A string of bytes as a source of choices: what a fuzzer mutates. Used up, it gives zeros.
///
/// ```
/// use adarem_conformance::Bytes;
///
/// let mut bytes = Bytes::new(&[7, 130]);
/// assert_eq!((bytes.below(5), bytes.byte(), bytes.byte()), (2, 130, 0));
/// ```
#[derive(Clone, Debug)]
pub struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    /// These bytes.
    pub fn new(bytes: &'b [u8]) -> Self {
        Bytes(bytes)
    }

    /// The next one.
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// A number below `bound`, which is 1 to 256, by one byte.
    ///
    /// # Panics
    /// Where the bound is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    /// 64 bits, by eight bytes.
    pub fn bits(&mut self) -> u64 {
        (0..8).fold(0, |bits, _| bits << 8 | u64::from(self.byte()))
    }

    /// A number of at least 0 and below 1, by eight bytes.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (-53f64).exp2()
    }

    /// A number: a spicy one by one byte, one of magnitude 2^-64 to 2^64 by three, or any by nine.
    pub fn number<T: Element>(&mut self) -> T {
        let spicy = spicy::<T>();
        let choice = usize::from(self.byte());
        match spicy.get(choice) {
            Some(&x) => x,
            None if choice.is_multiple_of(8) => T::from_le(self.bits()),
            None => {
                let exponent = i32::from(self.byte()) / 2 - 64;
                let sign = if choice.is_multiple_of(2) { 1.0 } else { -1.0 };
                let mantissa = 1.0 + f64::from(self.byte()) / 256.0;
                T::from(sign * mantissa * f64::from(exponent).exp2()).unwrap_or_else(T::nan)
            }
        }
    }

    /// Whether none is left.
    pub fn are_used_up(&self) -> bool {
        self.0.is_empty()
    }

    /// What is left.
    pub fn rest(self) -> &'b [u8] {
        self.0
    }
}

/// The numbers where arithmetic goes wrong first, each with both signs: zeros, subnormals, the ends of the
/// normal range, the neighbours of 1, magnitudes whose product or reciprocal over- or underflows,
/// infinities and NaNs.
pub fn spicy<T: Element>() -> Vec<T> {
    let (one, two) = (T::one(), T::one() + T::one());
    let (least, most) = (T::min_positive_value(), T::max_value());
    let subnormal = T::from_le(1);
    let root = least.sqrt();
    let quiet_nan_with_payload = T::from_le(T::nan().to_le() | 0x2a);
    let positive = [
        T::zero(),
        subnormal,
        subnormal + subnormal,
        least - subnormal,
        least,
        least + subnormal,
        least / two,
        least * two,
        root,
        T::from_le(root.to_le() + 1),
        T::epsilon(),
        one / (two + one),
        T::from_le(one.to_le() - 1),
        one,
        one + T::epsilon(),
        two,
        two + one,
        one / root,
        one / least / two,
        one / least,
        one / least * two,
        most / two,
        T::from_le(most.to_le() - 1),
        most,
        T::infinity(),
        T::nan(),
        quiet_nan_with_payload,
    ];
    positive.into_iter().flat_map(|x| [x, -x]).collect()
}

/// How many steps of the last place lie between two numbers: 0 exactly for the same bits, or two NaNs; the
/// most there is where only one is NaN. The zeros lie 1 apart.
///
/// ```
/// use adarem_conformance::ulps;
///
/// assert_eq!(ulps(f32::NAN, -f32::NAN), 0);
/// assert_eq!(ulps(0.0f32, -0.0), 1);
/// assert_eq!(ulps(1.0, 1.0 - f64::EPSILON / 2.0), 1);
/// assert_eq!(ulps(1.0f32, f32::NAN), u64::MAX);
/// ```
pub fn ulps<T: Element>(a: T, b: T) -> u64 {
    if a.to_le() == b.to_le() || a.is_nan() && b.is_nan() {
        return 0;
    }
    if a.is_nan() || b.is_nan() {
        return u64::MAX;
    }
    let sign = match T::DTYPE {
        Dtype::F32 => 1 << 31,
        _ => 1 << 63,
    };
    // Along the number line, with both zeros at 0.
    let place = |x: T| {
        let magnitude = i128::from(x.to_le() & (sign - 1));
        if x.to_le() & sign == 0 {
            magnitude
        } else {
            -magnitude
        }
    };
    let apart = (place(a) - place(b)).unsigned_abs();
    u64::try_from(apart).unwrap_or(u64::MAX - 1).max(1)
}

#[cfg(test)]
mod tests {
    use super::{Random, spicy, ulps};
    use adarem::Element;

    fn spicy_holds_every_class<T: Element>() {
        use std::num::FpCategory::{Infinite, Nan, Normal, Subnormal, Zero};
        for class in [Zero, Subnormal, Normal, Infinite, Nan] {
            for negative in [false, true] {
                let found = spicy::<T>()
                    .iter()
                    .any(|x| x.classify() == class && x.is_sign_negative() == negative);
                assert!(found, "no {class:?} that is negative: {negative}");
            }
        }
    }

    #[test]
    fn spicy_numbers_are_of_every_class() {
        spicy_holds_every_class::<f32>();
        spicy_holds_every_class::<f64>();
    }

    #[test]
    fn ulps_reach_across_zero() {
        let least = f32::from_bits(1);
        assert_eq!(ulps(least, -least), 2);
        assert_eq!(ulps(f32::MAX, f32::INFINITY), 1);
        assert_eq!(
            ulps(f64::INFINITY, f64::NEG_INFINITY),
            2 * 0x7ff0_0000_0000_0000
        );
    }

    #[test]
    fn ordinary_numbers_are_ordinary() {
        let mut random = Random::new(1);
        for _ in 0..1000 {
            let x: f32 = random.ordinary();
            assert!((0.0002..=16.0).contains(&x.abs()), "{x}");
        }
    }
}
