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
    /// The first `S` state vectors of the rule, at this coordinate.
    pub slot: [R; S],
}

/// What carries out a step: the host's slices, or the tracer.
pub trait Engine {
    /// The numbers it computes with.
    type Real: Real;

    /// The host scalar `x`, computed in `f64` and rounded once, here. It may differ from step to step.
    fn uniform(&mut self, x: f64) -> Self::Real;

    /// Carried scalar `K` of this tensor, as it was when the step began.
    fn carried<const K: usize>(&mut self) -> Self::Real;

    /// Sets carried scalar `K` of this tensor for the next step.
    fn carry<const K: usize>(&mut self, x: Self::Real);

    /// One trip over memory: rewrites theta and the first `S` state vectors of every lane with what `f`
    /// returns, and folds the `K` numbers that it returns besides. The gradient that `f` returns is ignored.
    fn pass<const S: usize, const K: usize>(
        &mut self,
        folds: [Fold; K],
        f: impl Fn(Lane<Self::Real, S>) -> (Lane<Self::Real, S>, [Self::Real; K]),
    ) -> [Self::Real; K];

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
/// use adarem::{Engine, Host, Invalid, Lane, Rule, Slot, error::positive};
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
///         positive("lr", self.lr)
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

    /// Step `t`, counted from 0.
    fn step<E: Engine>(&self, t: u64, engine: &mut E);
}

impl<R: Rule> Rule for &R {
    const NAME: &'static str = R::NAME;
    const SLOTS: usize = R::SLOTS;
    const CARRIED: usize = R::CARRIED;

    fn slot(&self, k: usize) -> Slot {
        (**self).slot(k)
    }

    fn carried(&self, k: usize) -> Slot {
        (**self).carried(k)
    }

    fn check(&self) -> Result<(), Invalid> {
        (**self).check()
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, engine: &mut E) {
        (**self).step(t, engine)
    }
}
