//! [`Rule`]: an optimizer's update, written once; [`Engine`]: what carries it out.
//!
//! A step is a few passes over memory. A pass rewrites every lane (one coordinate: its parameter, its
//! gradient, its state) and may fold numbers over all lanes; scalars are computed between passes. A rule
//! says what is done to *one* lane and knows nothing of slices, threads or devices.
//!
//! # To write a rule
//! Implement [`Rule`] for a struct that holds the hyper-parameters. Ask the engine for host scalars with
//! [`Engine::uniform`], compute them in `f64` before, and call [`Engine::pass`] once per trip over memory.
//! Mark `step` `#[inline(always)]`, so that the host's vector units see the loop whole.
//!
//! # To carry one out
//! [`Host`](crate::Host) runs a rule on slices and [`trace`](crate::trace::trace) writes it down as a
//! [`Plan`](crate::Plan) for a device. Implement [`Engine`] yourself only for a third way.

use crate::error::Invalid;
use crate::fold::Fold;
use crate::half::Half;
use crate::real::Real;

/// State vectors that a rule may keep per parameter tensor.
pub const MAX_SLOTS: usize = 12;

/// Scalars that a rule may carry from step to step per parameter tensor.
pub const MAX_CARRIED: usize = 8;

/// One coordinate: its parameter, its gradient and `S` numbers of state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lane<R, const S: usize> {
    /// The parameter.
    pub theta: R,
    /// The gradient of the loss by the parameter. A pass may read it, not write it.
    pub grad: R,
    /// The `S` state vectors that the pass touches, at this coordinate.
    pub slot: [R; S],
}

/// What carries out a step: the host's slices, the tracer, or a wrapper around another engine.
///
/// # To use it
/// A rule's own state vectors and carried scalars are numbered from 0, and [`carried`](Self::carried),
/// [`carry`](Self::carry) and [`pass`](Self::pass) reach them by numbers known at compile time. A rule that
/// wraps another keeps its own behind the other's, where only
/// [`carried_at`](Self::carried_at), [`carry_at`](Self::carry_at) and [`pass_at`](Self::pass_at) reach.
///
/// # To implement it
/// The methods that end in `_at` do the work; the others are given by them.
pub trait Engine {
    /// The numbers it computes with.
    type Real: Real;

    /// State vectors that it holds: a rule that reaches for more does not compile.
    const SLOTS: usize;

    /// Carried scalars that it holds: a rule that reaches for more does not compile.
    const CARRIED: usize;

    /// The host scalar `x`, computed in `f64` and rounded once, here. It may differ from step to step.
    fn uniform(&mut self, x: f64) -> Self::Real;

    /// Carried scalar `k` of this tensor, as it was when the step began.
    fn carried_at(&mut self, k: usize) -> Self::Real;

    /// Sets carried scalar `k` of this tensor for the next step.
    fn carry_at(&mut self, k: usize, x: Self::Real);

    /// One trip over memory: rewrites theta and the `S` state vectors from `first` on, of every lane, with
    /// what `f` returns, and folds the `K` numbers that it returns besides. The gradient that `f` returns is
    /// ignored.
    fn pass_at<const S: usize, const K: usize>(
        &mut self,
        first: usize,
        folds: [Fold; K],
        f: impl Fn(Lane<Self::Real, S>) -> (Lane<Self::Real, S>, [Self::Real; K]),
    ) -> [Self::Real; K];

    /// [`carried_at`](Self::carried_at) a number known at compile time.
    #[inline(always)]
    fn carried<const K: usize>(&mut self) -> Self::Real {
        const {
            assert!(
                K < Self::CARRIED,
                "the rule carries more scalars than this engine holds"
            )
        };
        self.carried_at(K)
    }

    /// [`carry_at`](Self::carry_at) a number known at compile time.
    #[inline(always)]
    fn carry<const K: usize>(&mut self, x: Self::Real) {
        const {
            assert!(
                K < Self::CARRIED,
                "the rule carries more scalars than this engine holds"
            )
        };
        self.carry_at(K, x);
    }

    /// A [`pass_at`](Self::pass_at) over the first `S` state vectors.
    #[inline(always)]
    fn pass<const S: usize, const K: usize>(
        &mut self,
        folds: [Fold; K],
        f: impl Fn(Lane<Self::Real, S>) -> (Lane<Self::Real, S>, [Self::Real; K]),
    ) -> [Self::Real; K] {
        const {
            assert!(
                S <= Self::SLOTS,
                "the rule has more slots than this engine holds"
            )
        };
        self.pass_at(0, folds, f)
    }

    /// A [`pass`](Self::pass) that folds nothing.
    #[inline(always)]
    fn map<const S: usize>(&mut self, f: impl Fn(Lane<Self::Real, S>) -> Lane<Self::Real, S>) {
        let [] = self.pass([], |x| (f(x), []));
    }
}

/// The name of a number that a rule keeps between steps, and its value before the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slot {
    /// The paper's letter for it, such as `m`; unique within the rule.
    pub name: &'static str,
    /// Its value before the first step, in every lane.
    pub start: f64,
}

impl Slot {
    /// State called `name` that starts at zero.
    pub const fn zero(name: &'static str) -> Slot {
        Slot { name, start: 0.0 }
    }
}

/// An optimizer's update rule.
///
/// ```
/// use adarem::{Engine, Host, Invalid, Lane, Rule, Slot, error::non_negative};
///
/// /// Sign descent: every coordinate moves by `lr` against its gradient's sign.
/// struct SignSgd {
///     lr: f64,
/// }
///
/// impl Rule for SignSgd {
///     const NAME: &'static str = "sign_sgd";
///     const SLOTS: usize = 0;
///     const CARRIED: usize = 0;
///
///     fn check(&self) -> Result<(), Invalid> {
///         non_negative("lr", self.lr)
///     }
///
///     #[inline(always)]
///     fn step<E: Engine>(&self, _: u64, engine: &mut E) {
///         use adarem::Real;
///         let lr = engine.uniform(self.lr);
///         engine.map(|x: Lane<_, 0>| Lane { theta: x.theta - lr.xor_sign(x.grad), ..x });
///     }
/// }
///
/// let mut theta = [1.0f32, 1.0];
/// SignSgd { lr: 0.5 }.step(0, &mut Host::new(&mut theta, &[3.0, -3.0], [], &mut [])?);
/// assert_eq!(theta, [0.5, 1.5]);
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
pub trait Rule: Sync {
    /// The rule's name, in lower case: `adarem_s`. It stands in checkpoints.
    const NAME: &'static str;

    /// State vectors of parameter size; at most [`MAX_SLOTS`].
    const SLOTS: usize;

    /// Scalars carried per tensor; at most [`MAX_CARRIED`].
    const CARRIED: usize;

    /// A type of 16 bits to which the rule rounds all that it leaves in its state vectors, so that a backend may
    /// [pack](crate::Backend::PACKS) them without changing a bit; `None` where it does not. A wrapper has none, whatever
    /// it wraps, unless it says so.
    const HALF: Option<Half> = None;

    /// The name and start of state vector `k < SLOTS`.
    fn slot(&self, k: usize) -> Slot {
        const NAMES: [&str; MAX_SLOTS] = [
            "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11",
        ];
        Slot::zero(NAMES.get(k).copied().unwrap_or("s"))
    }

    /// The name and start of carried scalar `k < CARRIED`.
    fn carried(&self, k: usize) -> Slot {
        const NAMES: [&str; MAX_CARRIED] = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"];
        Slot::zero(NAMES.get(k).copied().unwrap_or("c"))
    }

    /// Whether every hyper-parameter lies in its range.
    ///
    /// # Errors
    /// The first that does not, by name and value.
    fn check(&self) -> Result<(), Invalid>;

    /// Whether every hyper-parameter lies in its range in step `t`. Given: [`check`](Self::check). For rules
    /// whose hyper-parameters follow a schedule.
    ///
    /// # Errors
    /// The first that does not, by name and value.
    fn check_at(&self, _t: u64) -> Result<(), Invalid> {
        self.check()
    }

    /// Step `t`, counted from 0.
    fn step<E: Engine>(&self, t: u64, engine: &mut E);

    /// Whether [`step_measured`](Self::step_measured) leaves lengths.
    const MEASURED: bool = false;

    /// Step `t`; where the rule is [`MEASURED`](Self::MEASURED) it also leaves, in state vector
    /// [`SLOTS`](Self::SLOTS), the length of each lane's step: what it multiplied the lane's gradient by. For
    /// [projections](crate::projection) in the metric of the step.
    #[inline(always)]
    fn step_measured<E: Engine>(&self, t: u64, engine: &mut E) {
        self.step(t, engine);
    }
}

impl<R: Rule> Rule for &R {
    const NAME: &'static str = R::NAME;
    const SLOTS: usize = R::SLOTS;
    const CARRIED: usize = R::CARRIED;
    const HALF: Option<Half> = R::HALF;

    fn slot(&self, k: usize) -> Slot {
        (**self).slot(k)
    }

    fn carried(&self, k: usize) -> Slot {
        (**self).carried(k)
    }

    fn check(&self) -> Result<(), Invalid> {
        (**self).check()
    }

    fn check_at(&self, t: u64) -> Result<(), Invalid> {
        (**self).check_at(t)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, engine: &mut E) {
        (**self).step(t, engine)
    }

    const MEASURED: bool = R::MEASURED;

    #[inline(always)]
    fn step_measured<E: Engine>(&self, t: u64, engine: &mut E) {
        (**self).step_measured(t, engine)
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::{Engine, Lane, MAX_CARRIED, MAX_SLOTS, Rule, Slot};
    use crate::{AdaRem, AdaRemS, Fold, Host, Invalid};

    /// Adds 1 to theta, where step_measured is not its own.
    struct Nameless;

    impl Rule for Nameless {
        const NAME: &'static str = "nameless";
        const SLOTS: usize = MAX_SLOTS;
        const CARRIED: usize = MAX_CARRIED;

        fn check(&self) -> Result<(), Invalid> {
            crate::error::positive("x", -1.0)
        }

        fn step<E: Engine>(&self, _: u64, e: &mut E) {
            use crate::Real;
            let one = E::Real::lit(1.0);
            let before = e.carried::<7>();
            let [sum] = e.pass([Fold::SUM], |x: Lane<E::Real, 0>| (x, [x.theta]));
            e.map(|x: Lane<E::Real, 0>| Lane {
                theta: x.theta + one,
                ..x
            });
            e.carry::<7>(before + sum);
        }
    }

    #[test]
    fn what_a_rule_leaves_out_is_given() {
        assert_eq!(Nameless.slot(0), Slot::zero("s0"));
        assert_eq!(Nameless.slot(MAX_SLOTS - 1), Slot::zero("s11"));
        assert_eq!(Nameless.slot(MAX_SLOTS), Slot::zero("s"));
        assert_eq!(Nameless.carried(0), Slot::zero("c0"));
        assert_eq!(Nameless.carried(MAX_CARRIED - 1), Slot::zero("c7"));
        assert_eq!(Nameless.carried(MAX_CARRIED), Slot::zero("c"));
        assert_eq!(Nameless.check_at(3), Nameless.check());
        assert!(Nameless.check_at(3).is_err());

        let (mut theta, mut carried) = ([3.0f32, 4.0], [0.0f32; MAX_CARRIED]);
        for t in 0..2 {
            let mut state = [[0.0f32; 2]; MAX_SLOTS];
            let slots = state.each_mut().map(|slot| &mut slot[..]);
            let mut host = Host::new(&mut theta, &[0.0; 2], slots, &mut carried).unwrap();
            Nameless.step_measured(t, &mut host);
        }
        assert_eq!(theta, [5.0, 6.0]);
        assert_eq!(carried[7], 7.0 + 9.0);
    }

    /// All that a rule is asked, of `R` itself and not of what it borrows.
    fn asked<R: Rule>(rule: R) -> std::string::String {
        let step = |t: u64, measured: bool| {
            let (mut theta, mut m, mut length) = ([1.0f32], [0.0], [0.0]);
            let mut carried = [0.0; 3];
            let slots = [&mut m[..], &mut length];
            let mut host = Host::new(&mut theta, &[2.0], slots, &mut carried).unwrap();
            if measured {
                rule.step_measured(t, &mut host);
            } else {
                rule.step(t, &mut host);
            }
            (theta, m, length, carried)
        };
        let names = [rule.slot(0), rule.carried(0), rule.carried(1)];
        let checks = [rule.check(), rule.check_at(0)];
        let steps = [step(0, false), step(1, false), step(1, true)];
        format!("{names:?} {checks:?} {steps:?}")
    }

    #[test]
    fn a_borrowed_rule_is_the_rule() {
        fn same<R: Rule + Clone>(rule: &R) {
            assert_eq!(asked::<&R>(rule), asked::<R>(rule.clone()));
        }
        let default = AdaRem::default();
        same(&AdaRem {
            weight_decay: 0.5,
            ..default
        });
        same(&AdaRem {
            lr: -1.0,
            ..default
        });
        same(&AdaRemS::default());
    }
}
