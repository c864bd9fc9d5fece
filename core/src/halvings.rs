//! [`Real::halvings`]: a power of two, by a ladder of a rule's operations or by a float's bits, to the same result.

use num_traits::Float;

use crate::real::Real;

/// The most that are counted: 2^-k is zero long before.
const MOST: f64 = 1500.0;

/// Is it at least 512? then take 512 away; and so on down to 1. What is left says whether to round up.
#[inline(always)]
pub(crate) fn ladder<R: Real>(x: R) -> (R, R) {
    let [zero, one, two, half, most] = [0.0, 1.0, 2.0, 0.5, MOST].map(R::lit);
    let x = x.max(zero);
    let x = R::select(most.lt(x), most, x);
    let (mut rest, mut odd, mut powers) = (x, zero, None);
    for rung in [512, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1] {
        let whole = R::lit(rung as f64);
        let below = rest.lt(whole);
        rest = R::select(below, rest, rest - whole);
        odd = R::select(below, zero, one);
        // 2^-k, and 2^(k + 1), which is infinite where 2^-k is not normal. No two literals meet.
        let (halved, doubled) = (R::lit(two_to(-rung)), R::lit(two_to(rung)));
        powers = Some(match powers {
            None => (
                R::select(below, one, halved),
                R::select(below, two, R::lit(two_to(rung + 1))),
            ),
            Some((power, inverse)) => (
                R::select(below, power, power * halved),
                R::select(below, inverse, inverse * doubled),
            ),
        });
    }
    let (power, inverse) = powers.unwrap_or((one, two));
    let up = R::select(rest.lt(half), zero, R::select(half.lt(rest), one, odd));
    let normal = (inverse * (one + up)).lt(R::lit(f64::INFINITY));
    let power = power - up * half * power;
    (x - rest + up, R::select(normal, power, zero))
}

/// `magic` is 1.5 times the number from which on all floats are whole: a sum with it is rounded to a whole number, which
/// its last bits hold. So they hold the biased exponent of 2^-k, and `shift` moves it to its place.
#[inline(always)]
pub(crate) fn by_bits<T: Float + 'static>(
    x: T,
    magic: f64,
    bias: f64,
    shift: impl Fn(T) -> T,
) -> (T, T) {
    let [zero, most, magic, bias] = [0.0, MOST, magic, bias].map(T::lit);
    let x = Real::max(x, zero);
    let x = if most < x { most } else { x };
    let k = (x + magic) - magic;
    let exponent = (magic + bias) - k;
    (k, shift(if exponent < magic { magic } else { exponent }))
}

/// 2^k, exactly, for k in -1022 to 1023.
pub(crate) const fn two_to(k: i64) -> f64 {
    f64::from_bits(((1023 + k) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::{ladder, two_to};
    use crate::real::{Element, Real};

    #[test]
    fn they_are_counted_alike_by_bits_and_by_ladder() {
        #[track_caller]
        fn counted<T: Element>(x: T, k: f64, power: f64) {
            let want = (T::lit(k).to_le(), T::lit(power).to_le());
            for (k, power) in [x.halvings(), ladder(x)] {
                assert_eq!((k.to_le(), power.to_le()), want, "{x}");
            }
        }
        fn halved<T: Element>(normal: i64) {
            let steps = || (0..=12_064).map(|eighths| f64::from(eighths) / 8.0);
            for x in steps() {
                let k = x.round_ties_even().min(1500.0);
                let power = if k <= normal as f64 {
                    two_to(-k as i64)
                } else {
                    0.0
                };
                counted(T::lit(x), k, power);
                counted(-T::lit(x), 0.0, 1.0);
            }
            for x in steps().map(T::lit) {
                // The neighbours, one of which lies beyond a tie where x is one.
                for x in [
                    T::from_le(x.to_le() + 1),
                    x + x * T::epsilon(),
                    x - x * T::epsilon(),
                ] {
                    let (by_bits, by_ladder) = (x.halvings(), ladder(x));
                    assert!(by_bits == by_ladder, "{x}: {by_bits:?}, {by_ladder:?}");
                }
            }
            counted(T::nan(), 0.0, 1.0);
            counted(T::infinity(), 1500.0, 0.0);
            counted(T::max_value(), 1500.0, 0.0);
            counted(T::min_positive_value(), 0.0, 1.0);
        }
        halved::<f32>(126);
        halved::<f64>(1022);
    }
}
