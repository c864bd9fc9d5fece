//! [`HalfState`]: state vectors in two bytes a number.

use core::array;
use core::marker::PhantomData;

use adarem::{
    Bf16, Engine, F16, Fold, FoldOp, Half, Invalid, Lane, Name, Overlay, Real, Rewrite, Rule,
    Setting, Slot, Stored, Tunable, View, Wraps,
};

/// A rule whose state vectors hold only numbers of a type of 16 bits, [`Bf16`] or [`F16`]: memory may keep them in two
/// bytes each. All arithmetic stays in full.
///
/// ```text
/// every step of the rule, in every lane:
///   state = nearest(what the rule leaves)
///   max |x| is folded over nearest(x)
/// ```
///
/// The rounding is part of the step, written in the operations that every device has, so this is the same rule to the bit
/// on all of them. Those that pack (`adarem-cpu`, `adarem-cuda`, `adarem-vulkan`) keep 2 bytes a number instead of 4, and an AdaRem step
/// moves 16 bytes a parameter instead of 20; on the others it saves nothing. [`Host::mixed`](adarem::Host::mixed)
/// takes the state of one tensor as a slice of the type. In `f64` nothing is packed, and state is rounded to 37 bits
/// ([`Bf16`]) or 40 ([`F16`]).
///
/// *Error.* A number moves by at most half a place a step: 1 in 256 of itself in [`Bf16`], 1 in 2,048 in [`F16`]. An
/// average with decay beta forgets that at its own pace, so it is wrong by at most 1 / (1 - beta) of these, and it
/// stands still where a step moves it by less than half a place: take a beta of 0.95 at most in [`Bf16`], of 0.999 in
/// [`F16`], and do not keep Adam's v in either. In [`Bf16`] what is below 1.2e-38 becomes 0, and what is not below
/// 2.6e33 infinite; in [`F16`] what is below 3e-8 becomes 0, and what is not below 65,520 infinite, so scale gradients
/// that are as small. As the maximum is
/// folded over what is kept, AdaRem's b stays within [-1, 1].
///
/// *Stochastic rounding.* With a [`seed`](Self::seed) a number goes to one of the two that it lies between, to the nearer
/// one the more likely, so that on average it stays what it was: an average no longer stands still, and any beta will do. The
/// chance comes from the last 16 bits of (theta + gradient) c, where c in [1, 2) is drawn anew for every step from the seed
/// and the step's number: no state, and the same bits on every device. Where theta and gradient are both 0, and where a
/// number is subnormal in [`Bf16`] or next to infinity, rounding is to the nearest. It is for `f32`.
///
/// Put it outermost: `HalfState<Scheduled<..>>`. Around it another
/// wrapper, whose own state is not rounded, has all state kept in full; no bit changes by that, but nothing is saved.
///
/// ```
/// use adarem::{AdaRem, Optimizer};
/// use adarem_adapters::HalfState;
/// use adarem_cpu::Cpu;
///
/// let mut cpu = Cpu::new();
/// let rule = HalfState::bf16(AdaRem::default());
/// let mut optimizer = Optimizer::new(rule, &mut cpu, &[1000])?;
/// assert_eq!(optimizer.state_bytes(), 2 * 1024 + 4);
///
/// let mut theta = vec![1.0f32; 1000];
/// for _ in 0..100 {
///     let grad: Vec<f32> = theta.iter().map(|x| 2.0 * x).collect();
///     optimizer.step(&mut cpu, &mut [&mut theta], &[&grad])?;
/// }
/// assert!(theta.iter().all(|x| x.abs() < 1e-3));
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HalfState<R, M> {
    /// The rule.
    pub rule: R,
    /// The seed of stochastic rounding; `None` (default) rounds to the nearest.
    pub seed: Option<u64>,
    stored: PhantomData<M>,
}

impl<R, M> HalfState<R, M> {
    fn of(rule: R) -> Self {
        HalfState {
            rule,
            seed: None,
            stored: PhantomData,
        }
    }

    /// The same with stochastic rounding.
    ///
    /// ```
    /// use adarem::{Host, Rule, SgdM};
    /// use adarem_adapters::HalfState;
    ///
    /// // A buffer that grows by 1 in 1,000 of itself a step, less than half a place of bf16.
    /// let rule = HalfState::bf16(SgdM { lr: 1e-6, momentum: 1.0 - 1e-9, ..SgdM::default() });
    /// let buffer = |rule: &HalfState<SgdM, _>| {
    ///     let (mut theta, mut b) = ([0.5f32; 100], [1.0; 100]);
    ///     for t in 1..=100 {
    ///         rule.step(t, &mut Host::new(&mut theta, &[1e-3; 100], [&mut b], &mut []).unwrap());
    ///     }
    ///     b.iter().sum::<f32>() / 100.0
    /// };
    /// assert_eq!(buffer(&rule), 1.0);
    /// assert!((buffer(&rule.stochastic(7)) - 1.1).abs() < 0.02);
    /// ```
    pub fn stochastic(self, seed: u64) -> Self {
        let seed = Some(seed);
        HalfState { seed, ..self }
    }
}

impl<R> HalfState<R, Bf16> {
    /// `rule` with state in [`Bf16`]: the range of `f32`, and 8 bits of each number.
    pub fn bf16(rule: R) -> Self {
        HalfState::of(rule)
    }
}

impl<R> HalfState<R, F16> {
    /// `rule` with state in [`F16`]: a small range, and 11 bits of each number.
    pub fn f16(rule: R) -> Self {
        HalfState::of(rule)
    }
}

impl<R: Default, M> Default for HalfState<R, M> {
    fn default() -> Self {
        HalfState::of(R::default())
    }
}

impl<R: Rule, M: Stored<f32>> Wraps for HalfState<R, M> {
    const WRAPPER: &'static str = match M::HALF {
        Some(Half::Bf16) => "bf16_state",
        Some(Half::F16) => "f16_state",
        None => "full_state",
    };
    type Inner = R;
}

impl<R: Rule, M: Stored<f32>> Rule for HalfState<R, M> {
    const NAME: &'static str = Name::<Self>::OF;
    const SLOTS: usize = R::SLOTS;
    const CARRIED: usize = R::CARRIED;
    const HALF: Option<Half> = M::HALF;

    fn slot(&self, k: usize) -> Slot {
        let slot = self.rule.slot(k);
        let start = M::store(slot.start as f32).load().into();
        Slot { start, ..slot }
    }

    fn carried(&self, k: usize) -> Slot {
        self.rule.carried(k)
    }

    fn check(&self) -> Result<(), Invalid> {
        self.rule.check()
    }

    fn check_at(&self, t: u64) -> Result<(), Invalid> {
        self.rule.check_at(t)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, engine: &mut E) {
        let draw = self.seed.map(|seed| engine.uniform(drawn(seed, t)));
        let stored = PhantomData::<M>;
        let mut engine = Rounding {
            engine,
            draw,
            stored,
        };
        self.rule.step(t, &mut engine);
    }
}

impl<R: Tunable, M: Stored<f32>> Tunable for HalfState<R, M> {
    /// Those of the rule.
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        self.rule.settings(visit);
    }
}

/// An engine that rounds what is left in state vectors.
struct Rounding<'a, E: Engine, M> {
    engine: &'a mut E,
    /// What this step has drawn, for stochastic rounding.
    draw: Option<E::Real>,
    stored: PhantomData<M>,
}

impl<E: Engine, M: Stored<f32>> Overlay for Rounding<'_, E, M> {
    type Beneath = E;

    #[inline(always)]
    fn beneath(&mut self) -> &mut E {
        self.engine
    }

    #[inline(always)]
    fn pass_over<const S: usize, const K: usize, W: Rewrite<E::Real, S>>(
        &mut self,
        view: View,
        folds: [Fold; K],
        f: impl Fn(Lane<E::Real, S>) -> (W, [E::Real; K]),
    ) -> [E::Real; K] {
        // Decided here, not in every lane.
        match self.draw {
            None => self.engine.pass_at(view, folds, |x| {
                kept(&x, f(x), folds, nearest::<E::Real, M>)
            }),
            Some(draw) => self.engine.pass_at(view, folds, |x| {
                let chance = Chance::new((x.theta + x.grad) * draw);
                kept(&x, f(x), folds, |y| chance.either::<M>(y))
            }),
        }
    }
}

/// What a pass leaves where it found `x`, with state and maxima rounded.
#[inline(always)]
fn kept<R: Real, W: Rewrite<R, S>, const S: usize, const K: usize>(
    x: &Lane<R, S>,
    (left, folded): (W, [R; K]),
    folds: [Fold; K],
    rounded: impl Fn(R) -> R,
) -> (W, [R; K]) {
    let left = left.amend(x, |theta, _| theta, |slot, _| rounded(slot));
    let folded = array::from_fn(|k| match folds[k].op {
        FoldOp::MaxAbs => rounded(folded[k]),
        FoldOp::Sum => folded[k],
    });
    (left, folded)
}

/// A number of [1, 2) that looks random, for step `t`. Source: the generator SplitMix64, of Steele, Lea and Flood, "Fast
/// splittable pseudorandom number generators" (2014), whose state this many steps on is a product.
fn drawn(seed: u64, t: u64) -> f64 {
    let state = seed.wrapping_add(t.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    1.0 + ((state ^ (state >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// A lane's draw: a number that is even over `[0, whole)`.
struct Chance<R> {
    part: R,
    whole: R,
}

impl<R: Real> Chance<R> {
    /// What the last 16 bits of `x` are of a place of the others.
    #[inline(always)]
    fn new(x: R) -> Self {
        let near = without_last(16, x);
        let off = x - near;
        let next = without_last(16, near + toward(off, near, 8, 0.0));
        Chance {
            part: (off + off).abs(),
            whole: (next - near).abs(),
        }
    }

    /// One of the two numbers of the half type that `x` lies between, to which it is as likely to go as it is near.
    #[inline(always)]
    fn either<M: Stored<f32>>(&self, x: R) -> R {
        let near = nearest::<R, M>(x);
        let off = x - near;
        let step = match M::HALF {
            // Subnormal numbers lie as far from each other as the smallest normal ones.
            Some(Half::F16) => toward(off, near, 11, 1.0 / 16_384.0),
            _ => toward(off, near, 8, 0.0),
        };
        let next = nearest::<R, M>(near + step);
        // off / (next - near) beside part / whole, without dividing.
        let far = ((next - near).abs() * self.part).lt(off.abs() * self.whole);
        R::select(far, next, near)
    }
}

/// From a number of `bits` bits a step in the direction of `off`, to where the next of them is the nearest: between 0.7 and
/// 1.4 of their distance, which is that of normal numbers, of `least` at least.
#[inline(always)]
fn toward<R: Real>(off: R, near: R, bits: i32, least: f64) -> R {
    let size = near.abs().max(R::lit(least));
    (size * R::lit(0.7 / f64::from(1 << (bits - 1)))).xor_sign(off)
}

/// The number of the half type that is nearest to `x`; of two, either.
#[inline(always)]
fn nearest<R: Real, M: Stored<f32>>(x: R) -> R {
    match M::HALF {
        Some(Half::Bf16) => nearest_bf16(x),
        Some(Half::F16) => nearest_f16(x),
        None => x,
    }
}

/// The multiple of the last of 24 - `bits` places of an `f32` that is nearest to `x`. Source: Dekker, "A floating-point
/// technique for extending the available precision" (1971), where it is credited to Veltkamp. `x` times 2^`bits` must be
/// in range.
#[inline(always)]
fn without_last<R: Real>(bits: i32, x: R) -> R {
    let many = x * R::lit(f64::from((1 << bits) + 1));
    many - (many - x)
}

#[inline(always)]
fn nearest_bf16<R: Real>(x: R) -> R {
    let magnitude = x.abs();
    let subnormal = magnitude.lt(R::lit(f64::from(f32::MIN_POSITIVE)));
    let near = R::select(subnormal, R::lit(0.0), without_last(16, x));
    // 2^111; from there on infinity, and a NaN stays one.
    let finite = magnitude.lt(R::lit(2_596_148_429_267_413_814_265_248_164_610_048.0));
    R::select(finite, near, x * R::lit(f64::INFINITY))
}

#[inline(always)]
fn nearest_f16<R: Real>(x: R) -> R {
    let magnitude = x.abs();
    // Beside 3/4 an f32 has just the places of a subnormal, and the sum is rounded to them.
    let subnormal = (x + R::lit(0.75)) - R::lit(0.75);
    let small = magnitude.lt(R::lit(1.0 / 16_384.0));
    let near = R::select(small, subnormal, without_last(13, x));
    // From half a place above the largest number on: infinity, and a NaN stays one.
    let finite = magnitude.lt(R::lit(65_520.0));
    R::select(finite, near, x * R::lit(f64::INFINITY))
}

#[cfg(test)]
mod tests {
    use super::{Bf16, Chance, F16, Half, Stored, drawn, nearest};

    /// Numbers of every exponent and all kinds of fractions.
    fn numbers() -> impl Iterator<Item = f32> {
        let fractions = (0..1u32 << 23).step_by(4099).chain([
            0, 1, 0x7fff, 0x8000, 0x8001, 0x17fff, 0x18000, 0xfff, 0x1000, 0x1001, 0x7f_7fff,
            0x7f_8000, 0x7f_8001, 0x7f_efff, 0x7f_f000, 0x7f_ffff,
        ]);
        fractions.flat_map(|fraction| (0..512).map(move |top| f32::from_bits(top << 23 | fraction)))
    }

    /// Numbers below `least` may become 0, and such as are not below `most` infinite.
    fn check<M: Stored<f32>>(least: f32, most: f32) {
        let half = M::HALF.unwrap();
        for x in numbers() {
            let near = nearest::<f32, M>(x);
            assert!(
                half.round(near).to_bits() == near.to_bits() || near.is_nan(),
                "{x:e} becomes {near:e}, which {half:?} does not hold"
            );
            assert_eq!(near.is_nan(), x.is_nan());
            if x.abs() >= most {
                assert_eq!(near, x * f32::INFINITY);
                continue;
            }
            let even = half.round(x);
            let (distance, best) = ((near - x).abs(), (even - x).abs());
            assert!(
                near == even || distance == best || x.is_nan() || x.abs() < least,
                "{x:e} becomes {near:e}, but {even:e} is nearer"
            );
        }
    }

    /// Of the two numbers of the type around `x` each is taken as often as it is near.
    fn is_even_handed<M: Stored<f32>>(x: f32) {
        const DRAWS: u32 = 20_000;
        let half = M::HALF.unwrap();
        let near = half.round(x);
        let (mut others, mut other) = (0, near);
        for t in 0..DRAWS {
            let y = Chance::new(0.37 * drawn(5, t.into()) as f32).either::<M>(x);
            assert_eq!(half.round(y).to_bits(), y.to_bits(), "{x:e} becomes {y:e}");
            if y != near {
                assert!(
                    other == near || other == y,
                    "{x:e} becomes {other:e} and {y:e}"
                );
                (others, other) = (others + 1, y);
            }
        }
        if x == near {
            assert_eq!(others, 0, "{x:e} is held as it is");
            return;
        }
        assert!(
            (x < other) != (x < near),
            "{x:e} lies between {near:e} and {other:e}"
        );
        let want = f64::from(x - near) / f64::from(other - near);
        let got = f64::from(others) / f64::from(DRAWS);
        // Four times the deviation of so many draws, which are at most one place of 2^16 from even.
        let deviation = (want * (1.0 - want) / f64::from(DRAWS)).sqrt();
        assert!(
            (got - want).abs() < 4.0 * deviation + 2e-5,
            "{x:e}: {got}, not {want}"
        );
    }

    #[test]
    fn stochastic_rounding_keeps_the_mean() {
        for sign in [1.0, -1.0] {
            for k in [-100, -20, -3, 0, 1, 60] {
                // Around a power of two places change.
                for m in [1.0, 1.000_5, 1.003_8, 1.3, 1.999, 0.9995] {
                    is_even_handed::<Bf16>(sign * m * 2f32.powi(k));
                }
            }
            for k in [-24, -20, -15, -14, -13, 0, 7] {
                for m in [1.0, 1.000_3, 1.3, 1.999_7, 0.9998] {
                    is_even_handed::<F16>(sign * m * 2f32.powi(k));
                }
            }
        }
    }

    #[test]
    fn what_no_chance_decides_goes_to_the_nearest() {
        let fair = Chance::new(0.37f32 * 1.2);
        for x in [f32::INFINITY, 3e38, -3e38, 0.0, -0.0, 1e-39] {
            let (near, got) = (nearest::<f32, Bf16>(x), fair.either::<Bf16>(x));
            assert_eq!(got.to_bits(), near.to_bits(), "{x:e}");
        }
        assert_eq!(fair.either::<F16>(65_530.0), f32::INFINITY);
        assert!(fair.either::<F16>(f32::NAN).is_nan());
        for none in [0.0, f32::NAN, f32::INFINITY] {
            let none = Chance::new(none);
            for x in numbers().step_by(97).filter(|x| !x.is_nan()) {
                let near = nearest::<f32, F16>(x);
                assert_eq!(none.either::<F16>(x).to_bits(), near.to_bits(), "{x:e}");
            }
        }
    }

    #[test]
    fn every_step_draws_another_number() {
        let mut draws: [f64; 1000] = core::array::from_fn(|t| drawn(3, t as u64));
        assert!(draws.iter().all(|x| (1.0..2.0).contains(x)));
        assert!((draws.iter().sum::<f64>() / 1000.0 - 1.5).abs() < 0.04);
        assert_ne!(draws[0], drawn(4, 0));
        draws.sort_by(f64::total_cmp);
        assert!(draws.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn the_operations_of_every_device_find_the_nearest() {
        check::<Bf16>(f32::MIN_POSITIVE, 2f32.powi(111));
        check::<F16>(0.0, 65_520.0);
        assert_eq!(nearest::<f32, Bf16>(1e-38), 0.0);
        assert_eq!(nearest::<f32, f32>(0.1), 0.1);
        assert_eq!(<Bf16 as Stored<f32>>::HALF, Some(Half::Bf16));
    }
}
