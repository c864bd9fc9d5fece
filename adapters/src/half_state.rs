//! [`HalfState`]: state vectors in two bytes a number.

use core::array;
use core::marker::PhantomData;

use adarem::{
    Bf16, Engine, F16, Fold, FoldOp, Half, Invalid, Lane, Name, Real, Rewrite, Rule, Setting, Slot,
    Stored, Tunable, View, Wraps,
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
/// A pass that leaves state as it was writes it all the same. Put it outermost: `HalfState<Scheduled<..>>`. Around it another
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
    stored: PhantomData<M>,
}

impl<R> HalfState<R, Bf16> {
    /// `rule` with state in [`Bf16`]: the range of `f32`, and 8 bits of each number.
    pub fn bf16(rule: R) -> Self {
        let stored = PhantomData;
        HalfState { rule, stored }
    }
}

impl<R> HalfState<R, F16> {
    /// `rule` with state in [`F16`]: a small range, and 11 bits of each number.
    pub fn f16(rule: R) -> Self {
        let stored = PhantomData;
        HalfState { rule, stored }
    }
}

impl<R: Default, M> Default for HalfState<R, M> {
    fn default() -> Self {
        HalfState {
            rule: R::default(),
            stored: PhantomData,
        }
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
        let stored = PhantomData::<M>;
        self.rule.step(t, &mut Rounding { engine, stored });
    }
}

impl<R: Tunable, M: Stored<f32>> Tunable for HalfState<R, M> {
    /// Those of the rule.
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        self.rule.settings(visit);
    }
}

/// An engine that rounds what is left in state vectors.
struct Rounding<'a, E, M> {
    engine: &'a mut E,
    stored: PhantomData<M>,
}

impl<E: Engine, M: Stored<f32>> Engine for Rounding<'_, E, M> {
    type Real = E::Real;
    const SLOTS: usize = E::SLOTS;
    const CARRIED: usize = E::CARRIED;

    #[inline(always)]
    fn uniform(&mut self, x: f64) -> E::Real {
        self.engine.uniform(x)
    }

    #[inline(always)]
    fn carried_at(&mut self, k: usize) -> E::Real {
        self.engine.carried_at(k)
    }

    #[inline(always)]
    fn carry_at(&mut self, k: usize, x: E::Real) {
        self.engine.carry_at(k, x);
    }

    #[inline(always)]
    fn pass_at<const S: usize, const K: usize, W: Rewrite<E::Real, S>>(
        &mut self,
        view: impl Into<View>,
        folds: [Fold; K],
        f: impl Fn(Lane<E::Real, S>) -> (W, [E::Real; K]),
    ) -> [E::Real; K] {
        self.engine.pass_at(view, folds, |x| {
            let (left, folded) = f(x);
            let left = left.amend(&x, |theta, _| theta, |slot, _| nearest::<E::Real, M>(slot));
            let folded = array::from_fn(|k| match folds[k].op {
                FoldOp::MaxAbs => nearest::<E::Real, M>(folded[k]),
                FoldOp::Sum => folded[k],
            });
            (left, folded)
        })
    }
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
    use super::{Bf16, F16, Half, Stored, nearest};

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

    #[test]
    fn the_operations_of_every_device_find_the_nearest() {
        check::<Bf16>(f32::MIN_POSITIVE, 2f32.powi(111));
        check::<F16>(0.0, 65_520.0);
        assert_eq!(nearest::<f32, Bf16>(1e-38), 0.0);
        assert_eq!(nearest::<f32, f32>(0.1), 0.1);
        assert_eq!(<Bf16 as Stored<f32>>::HALF, Some(Half::Bf16));
    }
}
