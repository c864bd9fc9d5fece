//! Operations and folds as rules: what a kernel makes of numbers stands where theta stood, or is carried.
#![allow(dead_code, reason = "each test uses a part")]

use adarem::{Engine, Fold, Half, Invalid, Lane, Real, Rule, Scope};

/// An operation on theta and the gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    XorSign,
    Less,
    Neg,
    Abs,
    Sqrt,
    /// Shows a device that keeps more bits between a product and a sum, or fuses them.
    MulAdd,
    /// Shows a compiler that takes floats for real numbers and cancels.
    AddSub,
    MulDiv,
    OneOver,
}

impl Probe {
    pub const ALL: [Probe; 14] = {
        use Probe::*;
        [
            Add, Sub, Mul, Div, Max, XorSign, Less, Neg, Abs, Sqrt, MulAdd, AddSub, MulDiv, OneOver,
        ]
    };

    /// Whether it divides or takes a root.
    pub fn divides(self) -> bool {
        matches!(
            self,
            Probe::Div | Probe::Sqrt | Probe::MulDiv | Probe::OneOver
        )
    }

    /// Its meaning.
    #[inline(always)]
    pub fn of<R: Real>(self, a: R, b: R) -> R {
        match self {
            Probe::Add => a + b,
            Probe::Sub => a - b,
            Probe::Mul => a * b,
            Probe::Div => a / b,
            Probe::Max => a.max(b),
            Probe::XorSign => a.xor_sign(b),
            Probe::Less => R::select(a.lt(b), R::lit(1.0), R::lit(0.0)),
            Probe::Neg => -a,
            Probe::Abs => a.abs(),
            Probe::Sqrt => a.sqrt(),
            Probe::MulAdd => a * b + a,
            Probe::AddSub => (a + b) - a,
            Probe::MulDiv => (a * b) / b,
            Probe::OneOver => R::lit(1.0) / a,
        }
    }
}

impl Rule for Probe {
    const NAME: &'static str = "probe";
    const SLOTS: usize = 0;
    const CARRIED: usize = 0;

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    #[inline(always)]
    fn step<E: Engine>(&self, _: u64, engine: &mut E) {
        engine.map(|x: Lane<_, 0>| Lane {
            theta: self.of(x.theta, x.grad),
            ..x
        });
    }
}

/// Every fold, over a tensor and over the group, and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Folds;

impl Rule for Folds {
    const NAME: &'static str = "folds";
    const SLOTS: usize = 0;
    const CARRIED: usize = 4;

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    #[inline(always)]
    fn step<E: Engine>(&self, _: u64, engine: &mut E) {
        let over = |fold: Fold| [fold, fold.over(Scope::Group)];
        let [[sum, all], [largest, most]] = [Fold::SUM, Fold::MAX_ABS].map(over);
        let [sum, all, largest, most] = engine.pass([sum, all, largest, most], |x: Lane<_, 0>| {
            (x, [x.grad, x.grad, x.grad, x.grad])
        });
        engine.carry::<0>(sum);
        engine.carry::<1>(all);
        engine.carry::<2>(largest);
        engine.carry::<3>(most);
    }
}

/// The type of state of the rules below.
const fn half(bf16: bool) -> Option<Half> {
    Some(if bf16 { Half::Bf16 } else { Half::F16 })
}

/// Keeps the gradient in 16 bits, and brings what was kept out again. Gradients are numbers of the type.
#[derive(Clone, Copy, Debug)]
pub struct Swaps<const BF16: bool>;

impl<const BF16: bool> Rule for Swaps<BF16> {
    const NAME: &'static str = "swaps";
    const SLOTS: usize = 1;
    const CARRIED: usize = 0;
    const HALF: Option<Half> = half(BF16);

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    #[inline(always)]
    fn step<E: Engine>(&self, _: u64, engine: &mut E) {
        engine.map(|x: Lane<_, 1>| Lane {
            theta: x.slot[0],
            slot: [x.grad],
            ..x
        });
    }
}

/// Keeps the gradient in 16 bits and never looks at what was kept. Gradients are numbers of the type.
#[derive(Clone, Copy, Debug)]
pub struct Keeps<const BF16: bool>;

impl<const BF16: bool> Rule for Keeps<BF16> {
    const NAME: &'static str = "keeps";
    const SLOTS: usize = 1;
    const CARRIED: usize = 0;
    const HALF: Option<Half> = half(BF16);

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    #[inline(always)]
    fn step<E: Engine>(&self, _: u64, engine: &mut E) {
        engine.map(|x: Lane<_, 1>| Lane {
            slot: [x.grad],
            ..x
        });
    }
}
