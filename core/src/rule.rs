//! [`Rule`]: an optimizer's update, written once; [`Engine`]: what carries it out.
//!
//! A step is a few passes over memory. A pass rewrites every lane (one coordinate: its parameter, its
//! gradient, its state), or some of it, and may fold numbers over all lanes; scalars are computed between passes. A rule
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

impl<R: Copy, const S: usize> Lane<R, S> {
    /// What a pass leaves that rewrites theta alone.
    #[inline(always)]
    pub fn moved(self, theta: R) -> Lane<R, 0> {
        Lane {
            theta,
            grad: self.grad,
            slot: [],
        }
    }
}

/// What a pass rewrites in a lane. The type of what its closure returns says how much that is, so that no engine moves
/// a byte for the rest:
///
/// - `Lane<R, F>`: theta and the first `F` state vectors of those that the pass sees, most often all;
/// - `[R; F]`: the first `F` state vectors, and theta stays; `[]` rewrites nothing, for a pass that only folds.
///
/// ```
/// use adarem::{Engine, Fold, Host, Lane};
///
/// let (mut theta, mut m) = ([3.0f32, 4.0], [0.5, 0.5]);
/// let mut host = Host::new(&mut theta, &[1.0, 1.0], [&mut m], &mut [])?;
/// // Reads theta. Rewrites m. Reads m, rewrites theta.
/// let [square] = host.pass([Fold::SUM], |x: Lane<f32, 0>| ([], [x.theta * x.theta]));
/// host.map(|x: Lane<f32, 1>| [x.slot[0] + x.grad]);
/// host.map(|x: Lane<f32, 1>| x.moved(x.theta - x.slot[0]));
/// assert_eq!((square, theta, m), (25.0, [1.5, 2.5], [1.5, 1.5]));
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
///
/// To rewrite more state vectors than the pass sees does not compile.
pub trait Rewrite<R, const S: usize> {
    /// Whether theta is rewritten.
    const THETA: bool;

    /// How many state vectors are: the first of those that the pass sees.
    const SLOTS: usize;

    /// The lane that it leaves, where it found `lane`.
    fn onto(self, lane: Lane<R, S>) -> Lane<R, S>;

    /// The same with other numbers: what `theta` and `slot` make of a new number and of that in `found`. For an engine
    /// that wraps another and has a say in what is written.
    fn amend(self, found: &Lane<R, S>, theta: impl Fn(R, R) -> R, slot: impl Fn(R, R) -> R)
    -> Self;
}

impl<R: Copy, const S: usize, const F: usize> Rewrite<R, S> for Lane<R, F> {
    const THETA: bool = true;
    const SLOTS: usize = F;

    #[inline(always)]
    fn onto(self, lane: Lane<R, S>) -> Lane<R, S> {
        Lane {
            theta: self.theta,
            ..self.slot.onto(lane)
        }
    }

    #[inline(always)]
    fn amend(
        self,
        found: &Lane<R, S>,
        theta: impl Fn(R, R) -> R,
        slot: impl Fn(R, R) -> R,
    ) -> Self {
        Lane {
            theta: theta(self.theta, found.theta),
            grad: self.grad,
            slot: self.slot.amend(found, theta, slot),
        }
    }
}

impl<R: Copy, const S: usize, const F: usize> Rewrite<R, S> for [R; F] {
    const THETA: bool = false;
    const SLOTS: usize = F;

    #[inline(always)]
    fn onto(self, mut lane: Lane<R, S>) -> Lane<R, S> {
        const {
            assert!(
                F <= S,
                "a pass rewrites no state vector that it does not see"
            )
        };
        each::<F>(|k| {
            if let (Some(place), Some(&x)) = (lane.slot.get_mut(k), self.get(k)) {
                *place = x;
            }
        });
        lane
    }

    #[inline(always)]
    fn amend(
        mut self,
        found: &Lane<R, S>,
        _: impl Fn(R, R) -> R,
        slot: impl Fn(R, R) -> R,
    ) -> Self {
        each::<F>(|k| {
            if let (Some(new), Some(&old)) = (self.get_mut(k), found.slot.get(k)) {
                *new = slot(*new, old);
            }
        });
        self
    }
}

/// Which state vectors a pass sees, and in which order: so many in a row, the last of which may form a ring.
///
/// A ring holds what was put into it in the last steps, such as gradients. The pass of each step sees it turned one place
/// further, so that the oldest stands first, is the one that is rewritten, and no lane asks which that is.
///
/// ```
/// use adarem::View;
///
/// // Five state vectors from number 2 on. The first stands still; of the ring of four behind it three are past.
/// let view = View::ring(2, 1, 3);
/// let seen = core::array::from_fn(|place| view.vector::<5>(place));
/// assert_eq!(seen, [2, 6, 3, 4, 5]);
/// assert_eq!(View::from(2).vector::<5>(4), 6);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    first: usize,
    still: usize,
    turn: usize,
}

impl View {
    /// The state vectors from `first` on, of which the first `still` stand still and the others form a ring, turned by
    /// `turn` places: a step number will do, as a whole turn changes nothing.
    pub const fn ring(first: usize, still: usize, turn: usize) -> View {
        View { first, still, turn }
    }

    /// The number of the state vector that is seen in place `place` of `S`.
    #[inline(always)]
    pub fn vector<const S: usize>(self, place: usize) -> usize {
        let in_ring = || {
            let ring = S.checked_sub(self.still)?;
            let place = place.checked_sub(self.still)?;
            place
                .wrapping_add(self.turn.checked_rem(ring)?)
                .checked_rem(ring)
        };
        let place = match self.turn {
            0 => place,
            _ => in_ring().map_or(place, |place| self.still.saturating_add(place)),
        };
        self.first.saturating_add(place)
    }

    /// One more than the greatest number that any of `S` state vectors has.
    #[inline(always)]
    pub fn end<const S: usize>(self) -> usize {
        self.first.saturating_add(S)
    }
}

impl From<usize> for View {
    /// The state vectors from this one on, in a row.
    #[inline(always)]
    fn from(first: usize) -> View {
        View::ring(first, 0, 0)
    }
}

/// What carries out a step: the host's slices, the tracer, or an [`Overlay`](crate::Overlay) of another engine.
///
/// # To use it
/// A rule's own state vectors and carried scalars are numbered from 0, and [`carried`](Self::carried),
/// [`carry`](Self::carry) and [`pass`](Self::pass) reach them by numbers known at compile time. A rule that
/// wraps another keeps its own behind the other's, where only
/// [`carried_at`](Self::carried_at), [`carry_at`](Self::carry_at) and [`pass_at`](Self::pass_at) reach.
///
/// # To implement it
/// The methods that end in `_at` do the work; the others are given by them. An engine that changes another one is
/// shorter as an [`Overlay`](crate::Overlay).
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

    /// One trip over memory: shows `f` every lane with `S` state vectors, from a number on or in another [`View`],
    /// [rewrites](Rewrite) with what it returns, and folds the `K` numbers that it returns besides. A gradient that it
    /// returns is ignored.
    fn pass_at<const S: usize, const K: usize, W: Rewrite<Self::Real, S>>(
        &mut self,
        view: impl Into<View>,
        folds: [Fold; K],
        f: impl Fn(Lane<Self::Real, S>) -> (W, [Self::Real; K]),
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
    fn pass<const S: usize, const K: usize, W: Rewrite<Self::Real, S>>(
        &mut self,
        folds: [Fold; K],
        f: impl Fn(Lane<Self::Real, S>) -> (W, [Self::Real; K]),
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
    fn map<const S: usize, W: Rewrite<Self::Real, S>>(
        &mut self,
        f: impl Fn(Lane<Self::Real, S>) -> W,
    ) {
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
///         engine.map(|x: Lane<_, 0>| x.moved(x.theta - lr.xor_sign(x.grad)));
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

/// Calls `f` with 0, 1, .., `N` - 1.
///
/// The first calls are written out, as most rules have no more slots and folds: a compiler takes a loop apart late, and
/// what it learns from it, that arrays may live in registers and lengths are equal, it would learn too late. `f` must
/// not index: it may be compiled as a function of its own, where nothing is known of `k`.
#[inline(always)]
pub(crate) fn each<const N: usize>(mut f: impl FnMut(usize)) {
    if N > 0 {
        f(0);
    }
    if N > 1 {
        f(1);
    }
    if N > 2 {
        f(2);
    }
    for k in 3..N {
        f(k);
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::{Engine, Lane, MAX_CARRIED, MAX_SLOTS, Rewrite, Rule, Slot, View};
    use crate::{AdaRem, AdaRemS, Fold, Host, Invalid};

    const FOUND: Lane<i32, 3> = Lane {
        theta: 1,
        grad: 2,
        slot: [3, 4, 5],
    };

    #[test]
    fn what_a_pass_returns_goes_where_its_type_says_and_nowhere_else() {
        fn left<W: Rewrite<i32, 3>>(w: W) -> (bool, usize, i32, [i32; 3]) {
            let lane = w.onto(FOUND);
            assert_eq!(lane.grad, 2);
            (W::THETA, W::SLOTS, lane.theta, lane.slot)
        }
        let lane = |slot| Lane {
            theta: 9,
            grad: 0,
            slot,
        };
        assert_eq!(left([]), (false, 0, 1, [3, 4, 5]));
        assert_eq!(left([7, 8]), (false, 2, 1, [7, 8, 5]));
        assert_eq!(left(FOUND.moved(9)), (true, 0, 9, [3, 4, 5]));
        assert_eq!(left(lane([6, 7, 8])), (true, 3, 9, [6, 7, 8]));
    }

    #[test]
    fn an_engine_amends_what_is_rewritten_beside_what_was_there() {
        let (theta, slot) = (|new, old| 10 * new + old, |new, old| 100 * new + old);
        assert_eq!([7, 8].amend(&FOUND, theta, slot), [703, 804]);
        let lane = Lane {
            theta: 9,
            grad: 0,
            slot: [7],
        };
        let amended = Lane {
            theta: 91,
            grad: 0,
            slot: [703],
        };
        assert_eq!(lane.amend(&FOUND, theta, slot), amended);
    }

    #[test]
    fn a_ring_is_turned_behind_what_stands_still() {
        let seen = |view: View| core::array::from_fn(|place| view.vector::<4>(place));
        assert_eq!(seen(View::from(0)), [0, 1, 2, 3]);
        assert_eq!(seen(View::from(5)), [5, 6, 7, 8]);
        assert_eq!(seen(View::ring(0, 0, 1)), [1, 2, 3, 0]);
        assert_eq!(seen(View::ring(0, 0, 4)), [0, 1, 2, 3]);
        assert_eq!(seen(View::ring(2, 1, 2)), [2, 5, 3, 4]);
        assert_eq!(seen(View::ring(2, 3, 7)), [2, 3, 4, 5]);
        assert_eq!(
            (View::from(5).end::<4>(), View::ring(2, 1, 2).end::<4>()),
            (9, 6)
        );
    }

    #[test]
    fn a_view_of_any_numbers_is_one() {
        let most = usize::MAX;
        assert_eq!(View::ring(most, 0, 1).vector::<2>(1), most);
        assert_eq!(View::ring(0, 0, most).vector::<2>(0), 1);
        assert_eq!(View::ring(0, most, 1).vector::<2>(1), 1);
        assert_eq!(View::ring(0, 2, 1).vector::<2>(2), 2);
        assert_eq!(View::ring(0, 0, most - 1).vector::<2>(most), 1);
        assert_eq!(View::from(most).end::<3>(), most);
    }

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
            let [sum] = e.pass([Fold::SUM], |x: Lane<E::Real, 0>| ([], [x.theta]));
            e.map(|x: Lane<E::Real, 0>| x.moved(x.theta + one));
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
