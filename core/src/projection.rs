//! Steps that stay in a convex region: projection in the metric of the step.
//!
//! A step of lengths `s_i` (lane i moved by `-s_i g_i`) that leaves a region F is taken back to
//!
//! ```text
//! x = argmin over F of sum_i (x_i - y_i)^2 / s_i
//! ```
//!
//! and not to the point of F that is nearest in the ordinary sense: so the theorems want it, and with it a lane
//! that hardly moved is hardly moved back. Where all lengths are equal, the two are the same.
//!
//! *A rate of 0* makes all lengths 0, and a lane of length 0 is not moved back at all. A theta that lies in the region
//! stays there. One outside is cut off by a box as ever, and scaled into a ball or onto a simplex; a half-space lets it
//! wait for the first step that has a length.
//!
//! [`Projected`] wraps a rule, and every [`Region`] can also be applied alone, to slices through a
//! [`Host`](crate::Host). All of it is passes and folds, so it runs on every backend.

use crate::error::{Invalid, ensure, positive};
use crate::fold::{Fold, Scope};
use crate::name::{Name, Wraps};
use crate::real::Real;
use crate::rule::{Engine, Lane, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// A closed convex set that theta must stay in.
///
/// # To use it
/// Give it to [`Projected`], or apply [`project`](Self::project) to slices:
///
/// ```
/// use adarem::Host;
/// use adarem::projection::{Ball, Region};
///
/// // The lengths lie in slot 0; where they are left out, all are equal.
/// let (mut x, grad, mut lengths) = ([3.0, 4.0], [0.0; 2], [0.1, 0.1]);
/// let mut host = Host::new(&mut x, &grad, [&mut lengths], &mut [])?;
/// Ball::new(1.0).project(Some(0), 1, &mut host);
/// assert!((x[0] - 0.6f64).abs() < 1e-15 && (x[1] - 0.8).abs() < 1e-15);
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
///
/// # To implement it
/// Write theta with passes that touch no state but the lengths and the region's own.
pub trait Region: Sync {
    /// What a rule is that is projected into it, as in `in_ball(adarem)`.
    const NAME: &'static str;

    /// State vectors of parameter size that describe the region.
    const SLOTS: usize;

    /// The name and start of state vector `k < SLOTS`.
    fn slot(&self, _k: usize) -> Slot {
        Slot::zero("region")
    }

    /// Whether its parameters make sense.
    ///
    /// # Errors
    /// The first that does not, by name and value.
    fn check(&self) -> Result<(), Invalid>;

    /// Takes theta back into the region, in the metric of the lengths in slot `lengths`; of equal lengths where
    /// that is `None`. The region's own state stands from slot `own` on, directly behind the lengths.
    fn project<E: Engine>(&self, lengths: Option<usize>, own: usize, e: &mut E);

    /// Shows its parameters to `visit`, by name, as [`Tunable::settings`] does.
    fn settings(&mut self, _visit: &mut dyn FnMut(&'static str, Setting<'_>)) {}
}

/// All coordinates between two bounds: a box. The projection cuts off; the lengths do not matter. Exact.
///
/// A NaN stays NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The least value of a coordinate; may be negative infinity.
    pub low: f64,
    /// The greatest value of a coordinate, at least `low`; may be infinity.
    pub high: f64,
}

impl Default for Interval {
    /// All coordinates in [-1, 1].
    fn default() -> Self {
        Interval {
            low: -1.0,
            high: 1.0,
        }
    }
}

impl Region for Interval {
    const NAME: &'static str = "in_box";
    const SLOTS: usize = 0;

    fn check(&self) -> Result<(), Invalid> {
        ensure(!self.low.is_nan(), "low", "be a number", self.low)?;
        ensure(self.low <= self.high, "high", "be at least low", self.high)
    }

    #[inline(always)]
    fn project<E: Engine>(&self, _lengths: Option<usize>, _own: usize, e: &mut E) {
        let (low, high) = (e.uniform(self.low), e.uniform(self.high));
        e.map(|x: Lane<_, 0>| {
            let above = E::Real::select(x.theta.lt(low), low, x.theta);
            let theta = E::Real::select(high.lt(above), high, above);
            x.moved(theta)
        });
    }

    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("low", Setting::Number(&mut self.low));
        visit("high", Setting::Number(&mut self.high));
    }
}

/// Rounds of Newton's method that a projection takes where the lengths differ.
///
/// The rounds approach the multiplier from below and never pass it; a last scaling leads into the region, so the
/// result is feasible after any number of them. For a ball, and lengths that differ by a factor of 2,000 (AdaRem's with
/// lambda = 0.999), eight reach the last digits of `f64` from points far outside, and four from a step outside;
/// where all lengths lie at these two ends, eight leave 1e-7 at worst.
const ROUNDS: usize = 8;

/// More than rounding takes from a sum, relative to it, in any type and of any number of lanes.
const ROUNDING: f64 = 1.0 / 4096.0;

/// A ball around the origin: `|theta| <= radius`.
///
/// Its projection is `y / (1 + k s)` with the k that puts it on the sphere, found by Newton's method on `1 / |x|`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ball {
    /// The radius, positive.
    pub radius: f64,
    /// What lies in the ball: each tensor, or the group as one vector.
    pub scope: Scope,
}

impl Ball {
    /// A ball for each tensor.
    pub fn new(radius: f64) -> Self {
        Ball {
            radius,
            scope: Scope::Tensor,
        }
    }

    #[inline(always)]
    fn solve<E: Engine, const S: usize>(
        &self,
        rounds: usize,
        first: usize,
        e: &mut E,
        length: impl Fn([E::Real; S]) -> E::Real,
    ) {
        let radius = e.uniform(self.radius);
        let (zero, one) = (E::Real::lit(0.0), E::Real::lit(1.0));
        let sum = Fold::SUM.over(self.scope);
        let mut multiplier = e.uniform(0.0);
        for _ in 0..rounds {
            // |x|^2 and the half of its derivative, at this multiplier.
            let [square, slope] = e.pass_at(first, [sum, sum], |lane| {
                let s = length(lane.slot);
                let shrink = one / (one + multiplier * s);
                let x = lane.theta * shrink;
                ([], [x * x, x * x * (s * shrink)])
            });
            let step = square * (square.sqrt() / radius - one) / slope;
            // Without lengths there is nothing to find: the scaling below does all of it.
            let step = E::Real::select(zero.lt(slope), step, zero);
            // Inside the ball the step is negative.
            multiplier = multiplier + step.max(zero);
        }
        let [square] = e.pass_at(first, [sum], |lane| {
            let x = lane.theta / (one + multiplier * length(lane.slot));
            (lane.moved(x), [x * x])
        });
        let norm = square.sqrt();
        let scale = E::Real::select(radius.lt(norm), radius / norm, one);
        e.map(|lane: Lane<_, 0>| lane.moved(lane.theta * scale));
    }
}

impl Default for Ball {
    /// The unit ball, for each tensor.
    fn default() -> Self {
        Ball::new(1.0)
    }
}

impl Region for Ball {
    const NAME: &'static str = "in_ball";
    const SLOTS: usize = 0;

    fn check(&self) -> Result<(), Invalid> {
        positive("radius", self.radius)
    }

    #[inline(always)]
    fn project<E: Engine>(&self, lengths: Option<usize>, _own: usize, e: &mut E) {
        match lengths {
            Some(slot) => self.solve(ROUNDS, slot, e, |[s]| s),
            // With equal lengths the first round is exact, and the scaling does all of it.
            None => self.solve(0, 0, e, |[]| E::Real::lit(1.0)),
        }
    }

    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("ball_radius", Setting::Number(&mut self.radius));
        visit("ball_scope", Setting::Scope(&mut self.scope));
    }
}

/// What to multiply a vector of this norm by to be on the sphere of this radius: `radius / norm`, and 1 where
/// there is nothing to scale by, where the norm is 0 or infinite or the radius 0. A NaN stays.
///
/// ```
/// use adarem::projection::onto_sphere;
///
/// assert_eq!([5.0, 0.0, f32::INFINITY].map(|norm| onto_sphere(1.0, norm)), [0.2, 1.0, 1.0]);
/// assert!(onto_sphere(1.0, f32::NAN).is_nan());
/// ```
#[inline(always)]
pub fn onto_sphere<R: Real>(radius: R, norm: R) -> R {
    let (zero, one) = (R::lit(0.0), R::lit(1.0));
    let scale = radius / norm;
    let finite = R::select(scale.lt(R::lit(f64::INFINITY)), scale, one);
    // A scale of 0 becomes 1 by adding 1, and so does a norm of 0; NaN remains NaN.
    let scaled = R::select(zero.lt(scale), finite, scale + one);
    R::select(zero.lt(norm), scaled, norm + one)
}

/// A half-space: `<normal, theta> <= bound`.
///
/// The normal is a state vector that starts at 1 in every lane, which bounds the sum of theta; the caller may
/// write another. Exact: `y - s normal (<normal, y> - bound) / <normal, s normal>` where the bound is exceeded. A
/// normal of zeros bounds nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HalfSpace {
    /// The bound, finite.
    pub bound: f64,
    /// What is bounded: each tensor, or the group as one vector.
    pub scope: Scope,
}

impl HalfSpace {
    /// A half-space for each tensor.
    pub fn new(bound: f64) -> Self {
        HalfSpace {
            bound,
            scope: Scope::Tensor,
        }
    }

    #[inline(always)]
    fn solve<E: Engine, const S: usize>(
        &self,
        first: usize,
        e: &mut E,
        split: impl Fn([E::Real; S]) -> (E::Real, E::Real),
    ) {
        let bound = e.uniform(self.bound);
        let zero = E::Real::lit(0.0);
        let sum = Fold::SUM.over(self.scope);
        let [dot, square] = e.pass_at(first, [sum, sum], |lane| {
            let (s, normal) = split(lane.slot);
            ([], [normal * lane.theta, s * normal * normal])
        });
        let excess = E::Real::select(bound.lt(dot), dot - bound, zero);
        let share = E::Real::select(zero.lt(square), excess / square, zero);
        e.pass_at(first, [], |lane| {
            let (s, normal) = split(lane.slot);
            (lane.moved(lane.theta - s * normal * share), [])
        });
    }
}

impl Default for HalfSpace {
    /// A sum of at most 0, for each tensor.
    fn default() -> Self {
        HalfSpace::new(0.0)
    }
}

impl Region for HalfSpace {
    const NAME: &'static str = "in_half_space";
    const SLOTS: usize = 1;

    fn slot(&self, _: usize) -> Slot {
        Slot {
            name: "normal",
            start: 1.0,
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        ensure(self.bound.is_finite(), "bound", "be finite", self.bound)
    }

    #[inline(always)]
    fn project<E: Engine>(&self, lengths: Option<usize>, own: usize, e: &mut E) {
        match lengths {
            Some(slot) => self.solve(slot, e, |[s, normal]| (s, normal)),
            None => self.solve(own, e, |[normal]| (E::Real::lit(1.0), normal)),
        }
    }

    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("bound", Setting::Number(&mut self.bound));
        visit("half_space_scope", Setting::Scope(&mut self.scope));
    }
}

/// A simplex: no coordinate below 0, and all together `sum`.
///
/// Its projection is `max(0, y - k s)` with the k that makes the sum right, found by Newton's method, which ends
/// after finitely many rounds: after one if no coordinate becomes 0, usually after a few. What is not found in
/// the rounds of one step is found in the next; the result lies on the simplex in any case, up to the rounding of
/// its sum. k is held as two numbers, of which the second is what is lost of k in the first: so `sum` counts
/// beside coordinates of any size whose own sum does not overflow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Simplex {
    /// The sum, positive.
    pub sum: f64,
    /// What lies on the simplex: each tensor, or the group as one vector.
    pub scope: Scope,
}

impl Simplex {
    /// A simplex for each tensor.
    pub fn new(sum: f64) -> Self {
        Simplex {
            sum,
            scope: Scope::Tensor,
        }
    }

    #[inline(always)]
    fn solve<E: Engine, const S: usize>(
        &self,
        first: usize,
        e: &mut E,
        length: impl Fn([E::Real; S]) -> E::Real,
    ) {
        let goal = e.uniform(self.sum);
        let (zero, one) = (E::Real::lit(0.0), E::Real::lit(1.0));
        let fold = Fold::SUM.over(self.scope);
        let share = |sum: E::Real, lengths: E::Real, otherwise| {
            let share = (sum - goal) / lengths;
            // Where the goal is about to be lost in the sum, a little less: so rounding does not lead too far.
            let rounding = sum.abs() * E::Real::lit(ROUNDING);
            let less = share - share.abs() * E::Real::lit(ROUNDING);
            let share = E::Real::select(goal.lt(rounding), less, share);
            E::Real::select(zero.lt(lengths), share, otherwise)
        };
        let [sum, lengths] = e.pass_at(first, [fold, fold], |lane| {
            ([], [lane.theta, length(lane.slot)])
        });
        // The multiplier is their sum.
        let (mut most, mut rest) = (share(sum, lengths, zero), e.uniform(0.0));
        for round in 1..=ROUNDS {
            let [sum, lengths] = e.pass_at(first, [fold, fold], |lane| {
                let s = length(lane.slot);
                let x = lane.theta - most * s;
                let stays = (rest * s).lt(x);
                let kept = |x| E::Real::select(stays, x, zero);
                ([], [kept(x), kept(s)])
            });
            // Newton's method comes from below, so where no lane is left, rounding has led too far.
            let back = rest - most.abs() * E::Real::lit(ROUNDING);
            let next = share(sum, lengths, back);
            if round == ROUNDS {
                rest = next;
            } else {
                let moved = most + next;
                rest = next - (moved - most);
                most = moved;
            }
        }
        let [sum] = e.pass_at(first, [fold], |lane| {
            let s = length(lane.slot);
            let x = lane.theta - most * s - rest * s;
            let x = E::Real::select(x.lt(zero), zero, x);
            (lane.moved(x), [x])
        });
        let scale = E::Real::select(zero.lt(sum), goal / sum, one);
        e.map(|lane: Lane<_, 0>| lane.moved(lane.theta * scale));
    }
}

impl Default for Simplex {
    /// The probability simplex, for each tensor.
    fn default() -> Self {
        Simplex::new(1.0)
    }
}

impl Region for Simplex {
    const NAME: &'static str = "in_simplex";
    const SLOTS: usize = 0;

    fn check(&self) -> Result<(), Invalid> {
        positive("sum", self.sum)
    }

    #[inline(always)]
    fn project<E: Engine>(&self, lengths: Option<usize>, _own: usize, e: &mut E) {
        match lengths {
            Some(slot) => self.solve(slot, e, |[s]| s),
            None => self.solve(0, e, |[]| E::Real::lit(1.0)),
        }
    }

    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("simplex_sum", Setting::Number(&mut self.sum));
        visit("simplex_scope", Setting::Scope(&mut self.scope));
    }
}

/// A rule whose steps are taken back into a region, in the metric of the step.
///
/// A rule that [measures](Rule::MEASURED) its steps, as [`AdaRem`](crate::AdaRem) does, leaves the length of each
/// lane's step in a state vector behind its own; for any other all lengths count as equal. Wrappers that change a
/// rule's gradient or skip its step go around this one.
///
/// ```
/// use adarem::projection::{Interval, Projected};
/// use adarem::{AdaRem, Host, Rule};
///
/// type Bounded = Projected<AdaRem, Interval>;
/// let rule = Bounded { rule: AdaRem::default(), region: Interval { low: -1.0, high: 1.0 } };
/// let (mut theta, grad) = ([0.0f32, 0.5], [20.0, -20.0]);
/// let (mut m, mut lengths, mut carried) = ([0.0; 2], [0.0; 2], [0.0; Bounded::CARRIED]);
/// rule.step(0, &mut Host::new(&mut theta, &grad, [&mut m, &mut lengths], &mut carried)?);
/// assert_eq!(theta, [-1.0, 1.0]);
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Projected<R, F> {
    /// The rule.
    pub rule: R,
    /// The region.
    pub region: F,
}

impl<R: Rule, F: Region> Projected<R, F> {
    /// The state vector that holds the lengths of the last step, where the rule measures them.
    pub const LENGTHS: Option<usize> = if R::MEASURED { Some(R::SLOTS) } else { None };
    /// The first state vector of the region, where it has any.
    pub const REGION: usize = R::SLOTS + R::MEASURED as usize;
}

impl<R: Rule, F: Region> Wraps for Projected<R, F> {
    const WRAPPER: &'static str = F::NAME;
    type Inner = R;
}

impl<R: Rule, F: Region> Rule for Projected<R, F> {
    const NAME: &'static str = Name::<Self>::OF;
    const SLOTS: usize = Self::REGION + F::SLOTS;
    const CARRIED: usize = R::CARRIED;

    fn slot(&self, k: usize) -> Slot {
        match k.checked_sub(Self::REGION) {
            Some(own) => self.region.slot(own),
            None if Some(k) == Self::LENGTHS => Slot::zero("length"),
            None => self.rule.slot(k),
        }
    }

    fn carried(&self, k: usize) -> Slot {
        self.rule.carried(k)
    }

    fn check(&self) -> Result<(), Invalid> {
        self.check_at(0)
    }

    fn check_at(&self, t: u64) -> Result<(), Invalid> {
        self.region.check()?;
        self.rule.check_at(t)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        const {
            assert!(
                Self::SLOTS <= E::SLOTS,
                "the rule has more slots than this engine holds"
            )
        };
        self.rule.step_measured(t, e);
        self.region.project(Self::LENGTHS, Self::REGION, e);
    }
}

impl<R: Tunable, F: Region> Tunable for Projected<R, F> {
    /// Those of the rule and of the region.
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        self.rule.settings(visit);
        self.region.settings(visit);
    }
}

impl<R: Default, F: Default> Default for Projected<R, F> {
    fn default() -> Self {
        Projected {
            rule: R::default(),
            region: F::default(),
        }
    }
}
