//! Powers and exponentials of lanes, over [`Real`]'s operations alone, so that every device computes
//! them, and wherever its division and root are exact, to the same bits.
//!
//! No table is read by lane. A number is brought into a small range by a ladder, "is it at least 2^256? then
//! divide by 2^256; at least 2^128? ..", or by [halvings](Real::halvings), which are one for devices, and
//! what was taken out is multiplied back at the end. What is left is a short polynomial.

use crate::halvings::two_to;
use crate::real::Real;
use crate::rule::Engine;

/// The rungs of a ladder down from 2^1024, coarse to fine.
const RUNGS: [i64; 10] = [512, 256, 128, 64, 32, 16, 8, 4, 2, 1];

/// x^q for lanes x >= 0 and one exponent q in (0, 1], a host scalar.
///
/// For q = 1, 1/2, 1/4, 1/8 and 1/16 it is that many square roots, each correctly rounded. For any other
/// q the relative error is below 1e-14 in `f64` and 3e-6 in `f32`, over all normal x and all subnormal
/// ones; a result below the smallest normal number may come out as 0. 0, infinity and NaN give
/// themselves, and x < 0 gives NaN unless q = 1.
///
/// *How.* s = sqrt(x) is normal even where x is not, and so is 1 / s; the larger of the two, u >= 1,
/// goes down the ladder to m in [sqrt(1/2), sqrt(2)], while the host's numbers 2^(2 q k) gather in r.
/// Then, with z = (m - 1) / (m + 1), ln m = 2 (z + z^3/3 + z^5/5 + ..), and m^(2 q) = e^(2 q ln m) by
/// its power series.
///
/// ```
/// use adarem::elementary::Power;
/// use adarem::{Engine, Host, Lane};
///
/// // A pass that raises every coordinate to the power 0.3.
/// let mut theta = [0.0f64, 1.0, 10.0, 1e300];
/// let grad = [0.0; 4];
/// let mut host = Host::new(&mut theta, &grad, [], &mut [])?;
/// let power = Power::new(0.3, &mut host);
/// host.map(|x: Lane<f64, 0>| x.moved(power.of(x.theta)));
/// assert_eq!(theta[..2], [0.0, 1.0]);
/// assert!((theta[2] / 10f64.powf(0.3) - 1.0).abs() < 1e-14);
/// assert!((theta[3] / 1e90 - 1.0).abs() < 1e-14);
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
///
/// A rule that cares for speed looks which form it has before its pass, not in every lane.
#[derive(Clone, Debug)]
pub enum Power<R> {
    /// So many square roots, at most 4.
    Roots(u8),
    /// Any other power.
    Series(Series<R>),
}

/// The numbers of a [`Power`] that no roots make.
#[derive(Clone, Debug)]
pub struct Series<R> {
    /// 2^(2 q k) for every rung k.
    rungs: [R; RUNGS.len()],
    /// 4 q: what z and its powers are multiplied by for 2 q ln m.
    slope: R,
}

/// 1/23, 1/21, .., 1/3, 1: the series of ln in z^2, for |z| <= 0.172, and no less exact than 1e-17.
const LN: [f64; 12] = {
    let mut terms = [0.0; 12];
    let mut n = 0;
    while n < terms.len() {
        terms[n] = 1.0 / (2 * (terms.len() - n) - 1) as f64;
        n += 1;
    }
    terms
};

/// 1/18!, 1/17!, .., 1: the series of e^y, for |y| <= 1, and no less exact than 1e-17.
const EXP: [f64; 19] = series(1.0);

/// The power series of e^(y x), the highest term first.
const fn series<const N: usize>(y: f64) -> [f64; N] {
    let mut terms = [1.0; N];
    let mut n = 1;
    while n < N {
        terms[N - 1 - n] = terms[N - n] * y / n as f64;
        n += 1;
    }
    terms
}

/// The polynomial with these coefficients, the highest first, at `x`: one in x^2 whose coefficients are pairs,
/// (c_5 x + c_4), (c_3 x + c_2), .., so that a processor need not wait for one sum after the other.
#[inline(always)]
fn polynomial<R: Real, const N: usize>(coefficients: &[f64; N], x: R) -> R {
    let square = x * x;
    let (alone, pairs) = coefficients.split_at_checked(N % 2).unwrap_or_default();
    let (pairs, _) = pairs.as_chunks();
    let mut sum = alone.first().map(|&c| R::lit(c));
    for &[high, low] in pairs {
        // `x` stands beside the literals, so no two of them meet.
        let pair = x * R::lit(high) + R::lit(low);
        sum = Some(sum.map_or(pair, |sum| sum * square + pair));
    }
    sum.unwrap_or(R::lit(0.0))
}

impl<R: Real> Power<R> {
    /// Raises to the power `q`, in (0, 1].
    #[inline(always)]
    pub fn new<E: Engine<Real = R>>(q: f64, e: &mut E) -> Self {
        let roots = [1.0, 0.5, 0.25, 0.125, 0.0625];
        if let Some(roots) = roots.iter().position(|&root| root == q) {
            return Power::Roots(roots as u8);
        }
        Power::Series(Series {
            rungs: RUNGS.map(|k| e.uniform(libm::exp2(2.0 * q * k as f64))),
            slope: e.uniform(4.0 * q),
        })
    }

    /// x^q.
    #[inline(always)]
    pub fn of(&self, x: R) -> R {
        match self {
            Power::Roots(count) => (0..*count).fold(x, |x, _| x.sqrt()),
            Power::Series(series) => series.of(x),
        }
    }
}

impl<R: Real> Series<R> {
    /// x^q.
    #[inline(always)]
    pub fn of(&self, x: R) -> R {
        let one = R::lit(1.0);
        let s = x.sqrt();
        let small = s.lt(one);
        let mut m = R::select(small, one / s, s);
        let mut r = one;
        for (&k, &power) in RUNGS.iter().zip(&self.rungs) {
            // In f32 the first rungs are infinite, and no finite number stands on them.
            let below = m.lt(R::lit(two_to(k)));
            m = R::select(below, m, m * R::lit(two_to(-k)));
            r = R::select(below, r, r * power);
        }
        // From [1, 2) to [sqrt(1/2), sqrt(2)], with the finest rung once more.
        let [.., half] = self.rungs;
        let high = R::lit(core::f64::consts::SQRT_2).lt(m);
        m = R::select(high, m * R::lit(0.5), m);
        r = R::select(high, r * half, r);

        let z = (m - one) / (m + one);
        let y = self.slope * z * polynomial(&LN, z * z);
        let power = r * polynomial(&EXP, y);
        let power = R::select(small, one / power, power);
        // 0, infinity and NaN are their own powers.
        let power = R::select(R::lit(0.0).lt(s), power, s);
        R::select(s.lt(R::lit(f64::INFINITY)), power, s)
    }
}

/// e^(-x) for lanes x >= 0. The relative error is below 1e-14 in `f64` and 3e-6 in `f32` while the result is
/// normal; a smaller one may come out as 0. Infinity gives 0, NaN itself; for -1/3 <= x < 0 it is right too,
/// and below that meaningless.
///
/// *How.* x = k ln 2 - r with k the nearest whole number, so that e^-x = 2^-k e^r; [`Real::halvings`] gives
/// both k and 2^-k. ln 2 is taken in two parts, the first so short that its product with k is exact. The power
/// series of e^(r / 4) is summed, and squared twice.
///
/// ```
/// use adarem::elementary::exp_minus;
///
/// assert!((exp_minus(2.5f64) / (-2.5f64).exp() - 1.0).abs() < 1e-14);
/// assert_eq!(exp_minus(f32::INFINITY), 0.0);
/// ```
#[inline(always)]
pub fn exp_minus<R: Real>(x: R) -> R {
    let limit = R::lit(1024.0);
    let x = R::select(limit.lt(x), limit, x);
    let (k, power) = (x * R::lit(core::f64::consts::LOG2_E)).halvings();
    let r = (k * R::lit(LN_2[0]) - x) + k * R::lit(LN_2[1]);
    let root = polynomial(&QUARTER, r);
    let square = root * root;
    power * (square * square)
}

/// ln 2 in two parts: 15 bits, and the rest.
const LN_2: [f64; 2] = [22_713.0 / 32_768.0, 1.428_606_820_309_417_2e-6];

/// 1/(4^8 8!), 1/(4^7 7!), .., 1: the series of e^(r / 4), for |r| <= ln 2 / 2, and no less exact than 1e-15.
const QUARTER: [f64; 9] = series(0.25);

#[cfg(test)]
mod tests {
    use super::{Power, exp_minus};
    use crate::host::Host;

    fn power(q: f64, x: f64) -> f64 {
        let mut none = Host::<f64, 0, 0>::new(&mut [], &[], [], &mut []).expect("empty");
        Power::new(q, &mut none).of(x)
    }

    fn power_f32(q: f64, x: f32) -> f32 {
        let mut none = Host::<f32, 0, 0>::new(&mut [], &[], [], &mut []).expect("empty");
        Power::new(q, &mut none).of(x)
    }

    #[test]
    fn a_power_is_right_over_the_whole_range() {
        for q in [1e-9, 0.01, 0.1, 0.3, 1.0 / 3.0, 0.6, 0.9, 0.999] {
            for k in -1073..1024 {
                for m in [1.0, 1.1, 1.4, core::f64::consts::SQRT_2, 1.5, 1.999_999_9] {
                    let x = libm::ldexp(m, k);
                    let error = (power(q, x) / libm::pow(x, q) - 1.0).abs();
                    // Not for results that are subnormal.
                    assert!(
                        error < 1e-14 || q * f64::from(k) < -1022.0,
                        "{x:e}^{q}: {error:e}"
                    );
                    let (x, y) = (x as f32, power_f32(q, x as f32));
                    let want = libm::pow(f64::from(x), q);
                    let error = (f64::from(y) / want - 1.0).abs();
                    let out_of_range = x == 0.0 || x.is_infinite() || want < 2e-38;
                    assert!(error < 3e-6 || out_of_range, "{x:e}^{q} in f32: {error:e}");
                }
            }
        }
    }

    #[test]
    fn a_power_of_zero_infinity_nan_and_less() {
        for q in [0.5, 0.3, 0.125, 0.01] {
            assert_eq!(power(q, 0.0).to_bits(), 0);
            assert_eq!(power(q, f64::INFINITY), f64::INFINITY);
            assert_eq!(power_f32(q, 0.0).to_bits(), 0);
            assert_eq!(power_f32(q, f32::INFINITY), f32::INFINITY);
            assert!(power(q, f64::NAN).is_nan() && power(q, -2.0).is_nan());
            assert_eq!(power(q, 1.0), 1.0);
        }
    }

    #[test]
    fn roots_are_rounded_once_each() {
        let x = 7.3f64;
        for (n, q) in [(0, 1.0), (1, 0.5), (2, 0.25), (3, 0.125), (4, 0.0625)] {
            let root = (0..n).fold(x, |x, _| libm::sqrt(x));
            assert_eq!(power(q, x).to_bits(), root.to_bits());
        }
    }

    #[test]
    fn an_exponential_is_right_over_the_whole_range() {
        for i in 0..74_000 {
            let x = f64::from(i) * 0.01 * 0.95;
            let error = (exp_minus(x) / libm::exp(-x) - 1.0).abs();
            assert!(error < 1e-14, "e^-{x}: {error:e}");
            let x = x as f32;
            let error = (f64::from(exp_minus(x)) / libm::exp(-f64::from(x)) - 1.0).abs();
            assert!(error < 3e-6 || x > 87.0, "e^-{x} in f32: {error:e}");
        }
    }

    /// Where what is left of x is largest, the last term is 3e-13 of the sum.
    #[test]
    fn an_exponential_leaves_no_term_out() {
        for halves in [1.0, 3.0, 5.0] {
            for off in [-1e-3, -1e-9, 1e-9, 1e-3] {
                let x = core::f64::consts::LN_2 / 2.0 * (halves + off);
                let error = (exp_minus(x) / libm::exp(-x) - 1.0).abs();
                assert!(error < 6e-15, "e^-{x}: {error:e}");
            }
        }
    }

    #[test]
    fn an_exponential_of_zero_infinity_and_nan() {
        assert_eq!(exp_minus(0.0f64), 1.0);
        for x in [1024.0, 1e5, f64::MAX, f64::INFINITY] {
            assert_eq!(exp_minus(x), 0.0);
        }
        assert_eq!(exp_minus(1e5f32), 0.0);
        assert!(exp_minus(f32::NAN).is_nan());
    }
}
