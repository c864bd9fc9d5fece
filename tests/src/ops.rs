//! Checks of every op, each by a small rule: per lane, per tensor, and against constants.

use adarem::{Backend, Element, Engine, Fold, Invalid, Lane, Real, Rule};

use crate::kit::{Run, one_step};
use crate::number::{Random, spicy};
use crate::state::State;

/// An op of a plan that takes arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calculation {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    XorSign,
    Lt,
    Neg,
    Abs,
    Sqrt,
    Select,
}

impl Calculation {
    pub(crate) const ALL: [Calculation; 11] = {
        use Calculation::*;
        [Add, Sub, Mul, Div, Max, XorSign, Lt, Neg, Abs, Sqrt, Select]
    };

    /// As [`adarem::plan::Op::name`] says it.
    pub(crate) fn name(self) -> &'static str {
        use Calculation::*;
        match self {
            Add => "add",
            Sub => "sub",
            Mul => "mul",
            Div => "div",
            Max => "max",
            XorSign => "xor_sign",
            Lt => "lt",
            Neg => "neg",
            Abs => "abs",
            Sqrt => "sqrt",
            Select => "select",
        }
    }

    /// Whether it takes two numbers of one kind, so that either may be a constant.
    fn is_binary(self) -> bool {
        !matches!(self, Self::Neg | Self::Abs | Self::Sqrt | Self::Select)
    }

    /// The op on as many of these as it takes. A comparison becomes 1 or 0; a selection is by `a < b`.
    pub(crate) fn of<R: Real>(self, a: R, b: R, c: R) -> R {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Max => a.max(b),
            Self::XorSign => a.xor_sign(b),
            Self::Lt => R::select(a.lt(b), R::lit(1.0), R::lit(0.0)),
            Self::Neg => -a,
            Self::Abs => a.abs(),
            Self::Sqrt => a.sqrt(),
            Self::Select => R::select(a.lt(b), c, a),
        }
    }
}

/// In every lane: theta becomes the op of theta, the gradient and the slot.
struct PerLane(Calculation);

impl Rule for PerLane {
    const NAME: &'static str = "per_lane";
    const SLOTS: usize = 1;
    const CARRIED: usize = 0;

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    fn step<E: Engine>(&self, _: u64, e: &mut E) {
        e.map(|x: Lane<_, 1>| {
            let theta = self.0.of(x.theta, x.grad, x.slot[0]);
            Lane { theta, ..x }
        });
    }
}

/// Once per tensor, of scalars that are carried or folded: computed by the lanes for themselves, between
/// two passes, and at the end.
struct PerTensor(Calculation);

impl Rule for PerTensor {
    const NAME: &'static str = "per_tensor";
    const SLOTS: usize = 2;
    const CARRIED: usize = 4;

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    fn step<E: Engine>(&self, _: u64, e: &mut E) {
        let (a, b, c) = (e.carried::<0>(), e.carried::<1>(), e.carried::<2>());
        let of_carried = self.0.of(a, b, c);
        let [folded] = e.pass([Fold::SUM], |x: Lane<_, 1>| {
            let slot = [of_carried];
            (Lane { slot, ..x }, [x.theta])
        });
        let of_folded = self.0.of(folded, b, c);
        e.map(|x: Lane<_, 2>| {
            let slot = [x.slot[0], of_folded];
            Lane { slot, ..x }
        });
        e.carry::<0>(of_folded);
        e.carry::<3>(of_carried);
    }
}

/// Each slot becomes the op of theta and one constant: from either side, as a literal or a host scalar.
struct Constants {
    calculation: Calculation,
    constants: [f64; 3],
}

impl Rule for Constants {
    const NAME: &'static str = "constants";
    const SLOTS: usize = 12;
    const CARRIED: usize = 0;

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    fn step<E: Engine>(&self, _: u64, e: &mut E) {
        let uniforms = self.constants.map(|x| e.uniform(x));
        e.map(|x: Lane<_, 12>| {
            let slot = core::array::from_fn(|k| {
                let (constant, literal) = (k / 4, k % 2 == 0);
                let constant = if literal {
                    Real::lit(self.constants[constant])
                } else {
                    uniforms[constant]
                };
                if k % 4 < 2 {
                    self.calculation.of(x.theta, constant, x.grad)
                } else {
                    self.calculation.of(constant, x.theta, x.grad)
                }
            });
            Lane { slot, ..x }
        });
    }
}

/// Constants that are hard to write down or to round: the last three are no `f32`.
const CONSTANTS: [[f64; 3]; 6] = [
    [0.0, -0.0, 1.0],
    [f64::INFINITY, f64::NEG_INFINITY, f64::NAN],
    [1e-45, f32::MIN_POSITIVE as f64, -f64::MIN_POSITIVE],
    [f32::MAX as f64, f64::MAX, -1.0],
    [0.1, 1.0 / 3.0, 2.0],
    [5e-324, 16_777_217.0, -1e-40],
];

/// Checks of every op.
pub(crate) fn check<B: Backend>(run: &mut Run<'_, B>) {
    for calculation in Calculation::ALL {
        let name = calculation.name();
        run.check(format!("op {name}"), |backend, random, tally| {
            let rule = PerLane(calculation);
            let state = all_pairs(&rule, calculation, random);
            one_step(backend, tally, &rule, 0, &state, "one step")
        });
        run.check(format!("scalar op {name}"), |backend, random, tally| {
            let rule = PerTensor(calculation);
            let mut state = State::of_any(&rule, &[1; 1500], || random.any());
            let of = state.carried.iter_mut().skip(1).step_by(4);
            of.for_each(|x| *x = signed(calculation, *x));
            one_step(backend, tally, &rule, 0, &state, "one step")
        });
        if calculation.is_binary() {
            run.check(
                format!("op {name} with constants"),
                |backend, random, tally| {
                    for constants in CONSTANTS {
                        if calculation == Calculation::XorSign
                            && constants.iter().any(|x| x.is_nan())
                        {
                            continue;
                        }
                        let rule = Constants {
                            calculation,
                            constants,
                        };
                        let mut state = State::start(&rule, &[600], || random.any());
                        let spicy = spicy();
                        state.theta[0][..spicy.len()].copy_from_slice(&spicy);
                        let lanes = state.theta.iter_mut().flatten();
                        lanes.for_each(|x| *x = signed(calculation, *x));
                        one_step(backend, tally, &rule, 0, &state, &format!("{constants:?}"))?;
                    }
                    Ok(())
                },
            );
        }
    }
}

/// Every pair of spicy numbers, random ones of any bits, and ordinary ones.
fn all_pairs<T: Element, R: Rule>(
    rule: &R,
    calculation: Calculation,
    random: &mut Random,
) -> State<T> {
    let spicy = spicy::<T>();
    let pairs = spicy.len() * spicy.len();
    let mut state = State::of_any(rule, &[pairs + 4000, 1000], || random.any());
    for (i, (theta, grad)) in state.theta[0]
        .iter_mut()
        .zip(&mut state.grad[0])
        .enumerate()
    {
        if i < pairs {
            (*theta, *grad) = (spicy[i / spicy.len()], spicy[i % spicy.len()]);
        }
    }
    let ordinary = state.theta[1].iter_mut().chain(&mut state.grad[1]);
    ordinary.for_each(|x| *x = random.ordinary());
    let of = state.grad.iter_mut().flatten();
    of.for_each(|x| *x = signed(calculation, *x));
    state
}

/// The sign of a NaN does not count, so none is a reason to flip another number's sign.
fn signed<T: Element>(calculation: Calculation, x: T) -> T {
    if calculation == Calculation::XorSign && x.is_nan() {
        T::infinity()
    } else {
        x
    }
}
