//! [`Plan`]: one step of a rule as data, for devices.
//!
//! A plan is straight-line code in static single assignment form: a list of [`Op`]s, each naming earlier
//! ones by [`Id`], and a list of [`Pass`]es that say what is written and folded. It does not know the
//! number type; a literal is an `f64`, rounded once when it is used.
//!
//! # To run a plan (for authors of backends)
//! For each pass, in order:
//! 1. For every lane of every tensor: evaluate [`Plan::lane_ops`], write theta and the slots that
//!    [`Pass::theta`] and [`Pass::slot`] name, and fold what [`Pass::folds`] names in the order of
//!    [`fold`](crate::fold).
//! 2. Per tensor: evaluate [`Plan::scalar_ops`], keep what [`Plan::handed`] names for later passes, and
//!    write the carried scalars that [`Plan::carries`] names.
//!
//! [`Plan::eval`] is the meaning of the ops; a first backend may simply call it.
//!
//! An op has a *rate*: a lane op depends on theta, the gradient or a slot and has a value per lane; any
//! other has one value per tensor. It also has a *stage*: the number of passes that must have ended
//! before its value is known.

use core::fmt;

use heapless::Vec;

use crate::error::Number;
use crate::fold::{Fold, FoldOp, Scope};
use crate::half::Half;
use crate::real::{Element, Real};
use crate::rule::{MAX_CARRIED, MAX_SLOTS};

/// Ops of one plan, at most.
pub const MAX_OPS: usize = 512;
/// Passes of one plan, at most.
pub const MAX_PASSES: usize = 16;
/// Numbers folded by one pass, at most.
pub const MAX_FOLDS: usize = 4;
/// Host scalars of one plan, at most.
pub const MAX_UNIFORMS: usize = 24;

/// The place of an op in its plan.
pub type Id = u16;

/// A constant: the bits of an `f64`, so that equal means identical.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Literal(u64);

impl Literal {
    /// The constant `x`.
    pub fn new(x: f64) -> Self {
        Literal(x.to_bits())
    }

    /// Its value, still to be rounded to the tensor's type.
    pub fn value(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl fmt::Debug for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Number(self.value()).fmt(f)
    }
}

/// One operation. Those with a pass as first field read memory as that pass finds it.
///
/// [`Plan::eval`] gives each its meaning. A mask is 1 or 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// The parameter, as pass `.0` finds it.
    Theta(u8),
    /// The gradient, for pass `.0`.
    Grad(u8),
    /// State vector `.1`, as pass `.0` finds it.
    Slot(u8, u8),
    /// Host scalar `.0`.
    Uniform(u8),
    /// Carried scalar `.0`, as the step found it.
    Carried(u8),
    /// Fold `.1` of pass `.0`.
    Folded(u8, u8),
    /// A constant.
    Lit(Literal),
    /// `.0 + .1`
    Add(Id, Id),
    /// `.0 - .1`
    Sub(Id, Id),
    /// `.0 * .1`
    Mul(Id, Id),
    /// `.0 / .1`
    Div(Id, Id),
    /// `.1` if `.0 < .1` or `.0` is NaN, else `.0`.
    Max(Id, Id),
    /// `.0` with its sign bit XOR that of `.1`.
    XorSign(Id, Id),
    /// The mask `.0 < .1`.
    Lt(Id, Id),
    /// `.0` with its sign bit flipped.
    Neg(Id),
    /// `.0` with its sign bit cleared.
    Abs(Id),
    /// The square root of `.0`.
    Sqrt(Id),
    /// `.1` where the mask `.0` holds, else `.2`.
    Select(Id, Id, Id),
}

impl Op {
    /// The ops that it reads, in order.
    pub fn args(self) -> impl Iterator<Item = Id> {
        use Op::*;
        let (count, args) = match self {
            Theta(_) | Grad(_) | Slot(..) | Uniform(_) | Carried(_) | Folded(..) | Lit(_) => {
                (0, [0; 3])
            }
            Neg(a) | Abs(a) | Sqrt(a) => (1, [a, 0, 0]),
            Add(a, b)
            | Sub(a, b)
            | Mul(a, b)
            | Div(a, b)
            | Max(a, b)
            | XorSign(a, b)
            | Lt(a, b) => (2, [a, b, 0]),
            Select(m, a, b) => (3, [m, a, b]),
        };
        args.into_iter().take(count)
    }

    /// Its name in a listing.
    pub fn name(self) -> &'static str {
        use Op::*;
        match self {
            Theta(_) => "theta",
            Grad(_) => "grad",
            Slot(..) => "slot",
            Uniform(_) => "uniform",
            Carried(_) => "carried",
            Folded(..) => "folded",
            Lit(_) => "lit",
            Add(..) => "add",
            Sub(..) => "sub",
            Mul(..) => "mul",
            Div(..) => "div",
            Max(..) => "max",
            XorSign(..) => "xor_sign",
            Lt(..) => "lt",
            Neg(_) => "neg",
            Abs(_) => "abs",
            Sqrt(_) => "sqrt",
            Select(..) => "select",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match *self {
            Op::Slot(_, k) | Op::Uniform(k) | Op::Carried(k) => write!(f, " {k}"),
            Op::Folded(pass, k) => write!(f, " {pass}.{k}"),
            Op::Lit(x) => write!(f, " {x:?}"),
            op => {
                for id in op.args() {
                    write!(f, " %{id}")?;
                }
                Ok(())
            }
        }
    }
}

/// What one trip over memory writes and folds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pass {
    pub(crate) theta: Option<Id>,
    pub(crate) slots: [Option<Id>; MAX_SLOTS],
    pub(crate) folds: Vec<(Fold, Id), MAX_FOLDS>,
}

impl Pass {
    /// What theta becomes, or `None` where it stays.
    pub fn theta(&self) -> Option<Id> {
        self.theta
    }

    /// What state vector `k` becomes, or `None` where it stays.
    pub fn slot(&self, k: usize) -> Option<Id> {
        self.slots.get(k).copied().flatten()
    }

    /// The folds, each with the number that every lane contributes.
    pub fn folds(&self) -> &[(Fold, Id)] {
        &self.folds
    }

    fn outputs(&self) -> impl Iterator<Item = Id> + '_ {
        let folded = self.folds.iter().map(|&(_, id)| id);
        self.theta
            .into_iter()
            .chain(self.slots.iter().flatten().copied())
            .chain(folded)
    }
}

/// A set of ops of one plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OpSet([u64; MAX_OPS / 64]);

impl OpSet {
    /// Whether `id` is in it.
    pub fn contains(&self, id: Id) -> bool {
        self.0
            .get(usize::from(id) / 64)
            .is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// How many ops are in it.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Its ops, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Id> + '_ {
        Ids {
            words: self.0.iter(),
            left: 0,
            end: 0,
        }
    }

    fn insert(&mut self, id: Id) {
        if let Some(word) = self.0.get_mut(usize::from(id) / 64) {
            *word |= 1 << (id % 64);
        }
    }

    fn minus(mut self, other: &OpSet) -> OpSet {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word &= !other;
        }
        self
    }
}

/// The ops of a set that are still to come.
struct Ids<'a> {
    words: core::slice::Iter<'a, u64>,
    /// What is left of the last word taken.
    left: u64,
    /// One more than the last id that this word may hold.
    end: Id,
}

impl Iterator for Ids<'_> {
    type Item = Id;

    fn next(&mut self) -> Option<Id> {
        while self.left == 0 {
            self.left = *self.words.next()?;
            self.end = self.end.wrapping_add(64);
        }
        let first = self.end.wrapping_sub(64);
        let id = first.wrapping_add(self.left.trailing_zeros() as Id);
        // The lowest bit goes.
        self.left &= self.left.wrapping_sub(1);
        Some(id)
    }
}

/// One step of a rule as data. [`trace`](crate::trace::trace) makes one.
///
/// Two plans are equal exactly if a device may run the same kernels for both, so a plan is the key of a
/// cache of compiled kernels. `Display` prints a listing:
///
/// ```
/// use adarem::{AdaRem, trace::trace};
///
/// let traced = trace(&AdaRem::default(), 0)?;
/// let listing = traced.plan.to_string();
/// assert!(listing.starts_with("adarem: 1 slots, 1 carried, 4 uniforms\npass 0\n"));
/// # Ok::<(), adarem::plan::Misfit>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    pub(crate) name: &'static str,
    pub(crate) slots: u8,
    pub(crate) carried: u8,
    pub(crate) half: Option<Half>,
    pub(crate) uniforms: u8,
    pub(crate) ops: Vec<Op, MAX_OPS>,
    pub(crate) passes: Vec<Pass, MAX_PASSES>,
    pub(crate) carry: [Option<Id>; MAX_CARRIED],
}

impl Plan {
    /// The name of its rule.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// State vectors per tensor.
    pub fn slots(&self) -> usize {
        self.slots.into()
    }

    /// Carried scalars per tensor.
    pub fn carried(&self) -> usize {
        self.carried.into()
    }

    /// The type to which all numbers in the state vectors are rounded: [`Rule::HALF`](crate::Rule::HALF). The state of
    /// a backend that [packs](crate::Backend::PACKS) is packed accordingly.
    pub fn half(&self) -> Option<Half> {
        self.half
    }

    /// Host scalars, the same for all tensors of a step.
    pub fn uniforms(&self) -> usize {
        self.uniforms.into()
    }

    /// All ops; an [`Id`] is an index into them.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The passes, in order.
    pub fn passes(&self) -> &[Pass] {
        &self.passes
    }

    /// Op `id`; a literal 0 where the plan has no such op.
    pub fn op(&self, id: Id) -> Op {
        self.ops
            .get(usize::from(id))
            .copied()
            .unwrap_or(Op::Lit(Literal(0)))
    }

    /// Whether any fold reaches over the whole group, so that all tensors must end a pass before any
    /// begins the next.
    pub fn has_group_folds(&self) -> bool {
        self.passes
            .iter()
            .flat_map(|p| &p.folds)
            .any(|(fold, _)| fold.scope == Scope::Group)
    }

    /// Whether there is a pass, every lane op stays in its own, and no carried scalar is a lane's.
    pub(crate) fn check(&self) -> Result<(), Misfit> {
        if self.passes.is_empty() {
            return Err(Misfit::NoPass);
        }
        let (lanes, stages) = (self.lanes(), self.stages());
        let stage = |id: Id| stages.get(usize::from(id)).copied();
        // A load's stage is its pass, so a lane op that mixes passes has an argument of an earlier stage.
        let stays = (0..)
            .zip(&self.ops)
            .filter(|&(id, _)| lanes.contains(id))
            .all(|(id, op)| {
                op.args().all(|a| {
                    if lanes.contains(a) {
                        stage(a) == stage(id)
                    } else {
                        stage(a) <= stage(id)
                    }
                })
            });
        let written_there = (0..).zip(&self.passes).all(|(p, pass)| {
            pass.outputs().all(|id| {
                if lanes.contains(id) {
                    stage(id) == Some(p)
                } else {
                    stage(id) <= Some(p)
                }
            })
        });
        let scalar = self.carry.iter().flatten().all(|&id| !lanes.contains(id));
        if stays && written_there && scalar {
            Ok(())
        } else {
            Err(Misfit::Leak)
        }
    }

    /// The lane ops: those with a value per lane.
    pub fn lanes(&self) -> OpSet {
        let mut lanes = OpSet::default();
        for (id, op) in (0..).zip(&self.ops) {
            let load = matches!(op, Op::Theta(_) | Op::Grad(_) | Op::Slot(..));
            if load || op.args().any(|a| lanes.contains(a)) {
                lanes.insert(id);
            }
        }
        lanes
    }

    /// The ops that `targets` need, without what lies behind `known`: neither those nor what only they need.
    fn needed(&self, targets: impl Iterator<Item = Id>, known: &OpSet) -> OpSet {
        let mut live = OpSet::default();
        targets
            .filter(|&id| !known.contains(id))
            .for_each(|id| live.insert(id));
        for id in (0..self.ops.len() as Id).rev() {
            if live.contains(id) {
                self.op(id)
                    .args()
                    .filter(|&a| !known.contains(a))
                    .for_each(|a| live.insert(a));
            }
        }
        live
    }

    /// How many passes must have ended before op `id` is known, for every op.
    fn stages(&self) -> [u8; MAX_OPS] {
        let mut stages = [0u8; MAX_OPS];
        for (k, op) in self.ops.iter().enumerate() {
            let stage = match *op {
                Op::Theta(pass) | Op::Grad(pass) | Op::Slot(pass, _) => pass,
                Op::Folded(pass, _) => pass.saturating_add(1),
                op => op
                    .args()
                    .filter_map(|a| stages.get(usize::from(a)))
                    .copied()
                    .max()
                    .unwrap_or(0),
            };
            if let Some(slot) = stages.get_mut(k) {
                *slot = stage;
            }
        }
        stages
    }

    /// The scalars known after pass `pass` that anything later reads, except those that every pass can
    /// compute for itself from host scalars, carried scalars and literals.
    pub fn handed(&self, pass: usize) -> OpSet {
        let (stages, lanes) = (self.stages(), self.lanes());
        let stage = |id: Id| stages.get(usize::from(id)).map_or(0, |&s| usize::from(s));
        let mut handed = OpSet::default();
        let mut read_later = |id: Id| {
            if !lanes.contains(id) && (1..=pass + 1).contains(&stage(id)) {
                handed.insert(id);
            }
        };
        for (id, op) in (0..).zip(&self.ops) {
            let later = if lanes.contains(id) {
                stage(id) > pass
            } else {
                stage(id) > pass + 1
            };
            if later {
                op.args().for_each(&mut read_later);
            }
        }
        self.passes
            .iter()
            .skip(pass + 1)
            .flat_map(Pass::outputs)
            .for_each(&mut read_later);
        if pass < self.carry_pass() {
            self.carry
                .iter()
                .flatten()
                .copied()
                .for_each(&mut read_later);
        }
        handed
    }

    fn handed_to(&self, pass: usize) -> OpSet {
        pass.checked_sub(1)
            .map_or(OpSet::default(), |before| self.handed(before))
    }

    /// The ops to evaluate in every lane of pass `pass`, in ascending order; the scalars among them are
    /// the same in all lanes. What [`handed`](Self::handed) named after the pass before is given.
    pub fn lane_ops(&self, pass: usize) -> OpSet {
        let outputs = self.passes.get(pass).into_iter().flat_map(Pass::outputs);
        self.needed(outputs, &self.handed_to(pass))
    }

    /// The handed scalars that the lanes of pass `pass` read.
    pub fn lane_inputs(&self, pass: usize) -> OpSet {
        let given = self.handed_to(pass);
        let outputs = self.passes.get(pass).into_iter().flat_map(Pass::outputs);
        let mut inputs = OpSet::default();
        outputs
            .filter(|&id| given.contains(id))
            .for_each(|id| inputs.insert(id));
        for id in self.lane_ops(pass).iter() {
            self.op(id)
                .args()
                .filter(|&a| given.contains(a))
                .for_each(|a| inputs.insert(a));
        }
        inputs
    }

    /// The ops to evaluate once per tensor when pass `pass` has ended and its folds are known, in
    /// ascending order. What [`handed`](Self::handed) named after the pass before is given.
    pub fn scalar_ops(&self, pass: usize) -> OpSet {
        let carries = self.carries(pass).map(|(_, id)| id);
        let handed = self.handed(pass);
        self.needed(handed.iter().chain(carries), &self.handed_to(pass))
    }

    /// Scalars first known after pass `pass`, for later passes: [`handed`](Self::handed) without those
    /// handed before.
    pub fn newly_handed(&self, pass: usize) -> OpSet {
        self.handed(pass).minus(&self.handed_to(pass))
    }

    /// The carried scalars that are written when pass `pass` has ended, each with its new value. All
    /// change in the same pass, and after it nothing reads an old one; evaluate every new value first.
    pub fn carries(&self, pass: usize) -> impl Iterator<Item = (usize, Id)> + '_ {
        let written = self
            .carry
            .iter()
            .enumerate()
            .filter_map(|(k, id)| Some((k, (*id)?)));
        written.filter(move |_| pass == self.carry_pass())
    }

    /// The pass after which the carried scalars are written: their new values are known, and the old
    /// ones have been read for the last time.
    fn carry_pass(&self) -> usize {
        let (stages, lanes) = (self.stages(), self.lanes());
        let stage = |id: Id| stages.get(usize::from(id)).map_or(0, |&s| usize::from(s));
        // Scalars that a pass computes for itself from carried ones: whoever reads them reads those.
        let mut old = OpSet::default();
        let mut last = 0;
        for (id, op) in (0..).zip(&self.ops) {
            let reads = matches!(op, Op::Carried(_)) || op.args().any(|a| old.contains(a));
            if reads && lanes.contains(id) {
                last = last.max(stage(id));
            } else if reads && stage(id) > 0 {
                last = last.max(stage(id) - 1);
            } else if reads {
                old.insert(id);
            }
        }
        for (p, pass) in self.passes.iter().enumerate() {
            if pass.outputs().any(|id| old.contains(id)) {
                last = last.max(p);
            }
        }
        let known = self
            .carry
            .iter()
            .flatten()
            .map(|&id| stage(id).saturating_sub(1))
            .max();
        last.max(known.unwrap_or(0))
    }

    /// Evaluates `ops` in ascending order into `values`, where the value of op `id` stands at `id`; a mask
    /// is 1 or 0. `leaf` gives the ops without arguments, except literals; what else `ops` reads must stand
    /// in `values` already.
    pub fn eval<T: Element>(&self, ops: &OpSet, values: &mut [T; MAX_OPS], leaf: impl Fn(Op) -> T) {
        let at = |values: &[T; MAX_OPS], id: Id| {
            values.get(usize::from(id)).copied().unwrap_or(T::zero())
        };
        for id in ops.iter() {
            let x = |id| at(values, id);
            let value = match self.op(id) {
                op @ (Op::Theta(_) | Op::Grad(_) | Op::Slot(..)) => leaf(op),
                op @ (Op::Uniform(_) | Op::Carried(_) | Op::Folded(..)) => leaf(op),
                Op::Lit(c) => T::lit(c.value()),
                Op::Add(a, b) => x(a) + x(b),
                Op::Sub(a, b) => x(a) - x(b),
                Op::Mul(a, b) => x(a) * x(b),
                Op::Div(a, b) => x(a) / x(b),
                Op::Max(a, b) => Real::max(x(a), x(b)),
                Op::XorSign(a, b) => x(a).xor_sign(x(b)),
                Op::Lt(a, b) => {
                    if x(a).lt(x(b)) {
                        T::one()
                    } else {
                        T::zero()
                    }
                }
                Op::Neg(a) => -x(a),
                Op::Abs(a) => Real::abs(x(a)),
                Op::Sqrt(a) => Real::sqrt(x(a)),
                Op::Select(m, a, b) => T::select(x(m) != T::zero(), x(a), x(b)),
            };
            if let Some(slot) = values.get_mut(usize::from(id)) {
                *slot = value;
            }
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan {
            name,
            slots,
            carried,
            uniforms,
            ..
        } = self;
        writeln!(
            f,
            "{name}: {slots} slots, {carried} carried, {uniforms} uniforms"
        )?;
        for (p, pass) in self.passes.iter().enumerate() {
            writeln!(f, "pass {p}")?;
            for id in self.lane_ops(p).iter() {
                writeln!(f, "  %{id} = {}", self.op(id))?;
            }
            if let Some(id) = pass.theta {
                writeln!(f, "  theta <- %{id}")?;
            }
            for (k, id) in pass
                .slots
                .iter()
                .enumerate()
                .filter_map(|(k, id)| Some((k, (*id)?)))
            {
                writeln!(f, "  slot {k} <- %{id}")?;
            }
            for (k, (fold, id)) in pass.folds.iter().enumerate() {
                let op = match fold.op {
                    FoldOp::MaxAbs => "max_abs",
                    FoldOp::Sum => "sum",
                };
                let over = match fold.scope {
                    Scope::Tensor => "",
                    Scope::Group => " over the group",
                };
                writeln!(f, "  fold {p}.{k} <- {op} %{id}{over}")?;
            }
            writeln!(f, "after pass {p}")?;
            for id in self.scalar_ops(p).iter() {
                writeln!(f, "  %{id} = {}", self.op(id))?;
            }
            for (k, id) in self.carries(p) {
                writeln!(f, "  carry {k} <- %{id}")?;
            }
        }
        Ok(())
    }
}

/// Why a rule does not fit a [`Plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misfit {
    /// More than so many of something: ops, passes, folds of a pass, uniforms, slots, carried scalars.
    TooMany(&'static str, usize),
    /// A number of one lane was used outside its pass: in another pass, or as a scalar.
    Leak,
    /// No pass at all: nothing to run.
    NoPass,
    /// Two literals were combined, which would round twice: combine them in f64 and write one literal.
    Literals,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfit::TooMany(what, limit) => write!(f, "the rule has more than {limit} {what}"),
            Misfit::NoPass => f.write_str("the rule makes no pass"),
            Misfit::Leak => f.write_str("the rule uses a number of one lane outside its pass"),
            Misfit::Literals => f.write_str(
                "the rule combines two literals: combine them in f64 and write one literal",
            ),
        }
    }
}

impl core::error::Error for Misfit {}

impl From<Misfit> for crate::error::ErrorKind {
    fn from(misfit: Misfit) -> Self {
        crate::error::ErrorKind::Plan(misfit)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use super::{Id, Literal, MAX_OPS, Misfit, Op, OpSet, Plan};
    use crate::trace::trace;
    use crate::{AdaRem, Engine, Fold, Invalid, Lane, Real, Rule};

    /// Four passes; the later ones read scalars, masks and carried numbers that earlier ones knew.
    struct Relay;

    impl Rule for Relay {
        const NAME: &'static str = "relay";
        const SLOTS: usize = 2;
        const CARRIED: usize = 2;

        fn check(&self) -> Result<(), Invalid> {
            Ok(())
        }

        fn step<E: Engine>(&self, _: u64, e: &mut E) {
            let (old, older) = (e.carried::<0>(), e.carried::<1>());
            let (scale, half) = (e.uniform(3.0), e.uniform(0.5));
            let folds = [Fold::SUM, Fold::MAX_ABS.over_group()];
            let [sum, max] = e.pass(folds, |x: Lane<E::Real, 0>| {
                ([], [x.theta * x.grad, x.grad])
            });
            let falls = sum.lt(old);
            let rate = scale / (max + E::Real::lit(0.25));
            let [moved] = e.pass([Fold::SUM], |x: Lane<E::Real, 1>| {
                let step = rate * x.grad;
                let theta = E::Real::select(falls, x.theta - step, x.theta.abs());
                let slot = [x.slot[0] + theta];
                (Lane { theta, slot, ..x }, [step])
            });
            e.map(|x: Lane<E::Real, 0>| x.moved(-x.theta));
            let root = (moved * moved).sqrt().max(sum);
            e.map(|x: Lane<E::Real, 2>| Lane {
                theta: root,
                slot: [x.slot[0], x.slot[1].xor_sign(x.grad) / older],
                ..x
            });
            e.carry::<0>(moved - half);
            e.carry::<1>(E::Real::select(falls, sum, old));
        }
    }

    fn relay() -> Plan {
        trace(&Relay, 0).unwrap().plan
    }

    #[test]
    fn a_plan_lists_what_is_read_computed_and_written_where() {
        let listing = "\
relay: 2 slots, 2 carried, 2 uniforms
pass 0
  %0 = theta
  %1 = grad
  %2 = mul %0 %1
  fold 0.0 <- sum %2
  fold 0.1 <- max_abs %1 over the group
after pass 0
  %3 = folded 0.0
  %4 = carried 0
  %5 = lt %3 %4
  %6 = folded 0.1
  %7 = lit 0.25
  %8 = add %6 %7
  %9 = uniform 0
  %10 = div %9 %8
  %32 = select %5 %3 %4
pass 1
  %11 = grad
  %12 = mul %10 %11
  %13 = theta
  %14 = sub %13 %12
  %15 = abs %13
  %16 = select %5 %14 %15
  %17 = slot 0
  %18 = add %17 %16
  theta <- %16
  slot 0 <- %18
  fold 1.0 <- sum %12
after pass 1
  %21 = folded 1.0
  %22 = mul %21 %21
  %23 = sqrt %22
  %24 = max %23 %3
  %30 = uniform 1
  %31 = sub %21 %30
pass 2
  %19 = theta
  %20 = neg %19
  theta <- %20
after pass 2
pass 3
  %25 = slot 1
  %26 = grad
  %27 = xor_sign %25 %26
  %28 = carried 1
  %29 = div %27 %28
  theta <- %24
  slot 1 <- %29
after pass 3
  carry 0 <- %31
  carry 1 <- %32
";
        assert_eq!(relay().to_string(), listing);
    }

    fn ids(set: OpSet) -> Vec<Id> {
        set.iter().collect()
    }

    #[test]
    fn scalars_are_handed_on_while_anything_reads_them() {
        let plan = relay();
        let (sum, falls, rate, kept) = (3, 5, 10, 32);
        let (root, less) = (24, 31);
        assert_eq!(ids(plan.handed(0)), [sum, falls, rate, kept]);
        assert_eq!(ids(plan.newly_handed(0)), [sum, falls, rate, kept]);
        assert_eq!(ids(plan.lane_inputs(1)), [falls, rate]);
        assert_eq!(ids(plan.handed(1)), [root, less, kept]);
        assert_eq!(ids(plan.newly_handed(1)), [root, less]);
        assert_eq!(ids(plan.handed(2)), [root, less, kept]);
        for idle in [plan.newly_handed(2), plan.lane_inputs(2), plan.handed(3)] {
            assert!(idle.is_empty());
        }
        assert_eq!(ids(plan.lane_inputs(3)), [root]);
        let carries: Vec<_> = (0..4)
            .map(|p| plan.carries(p).collect::<Vec<_>>())
            .collect();
        assert_eq!(carries[..3], [[], [], []]);
        assert_eq!(carries[3], [(0, less), (1, kept)]);
    }

    #[test]
    fn a_plan_says_how_much_it_needs() {
        let plan = relay();
        assert_eq!((plan.name(), plan.ops().len()), ("relay", 33));
        assert_eq!((plan.slots(), plan.carried(), plan.uniforms()), (2, 2, 2));
        assert_eq!(plan.half(), None);
        assert_eq!(plan.op(3), Op::Folded(0, 0));
        assert_eq!(plan.op(33), Op::Lit(Literal::new(0.0)));
        let [first, second, .., last] = plan.passes() else {
            panic!("{plan}");
        };
        assert_eq!((first.theta(), second.theta()), (None, Some(16)));
        assert_eq!(
            (last.slot(0), last.slot(1), last.slot(99)),
            (None, Some(29), None)
        );
        let folds = [(Fold::SUM, 2), (Fold::MAX_ABS.over_group(), 1)];
        assert_eq!((first.folds(), last.folds()), (&folds[..], &[][..]));
        assert!(plan.has_group_folds());
        assert!(!trace(&AdaRem::default(), 0).unwrap().plan.has_group_folds());
    }

    #[test]
    fn carried_scalars_change_as_soon_as_nothing_reads_the_old_ones() {
        struct Early;
        impl Rule for Early {
            const NAME: &'static str = "early";
            const SLOTS: usize = 0;
            const CARRIED: usize = 2;

            fn check(&self) -> Result<(), Invalid> {
                Ok(())
            }

            fn step<E: Engine>(&self, _: u64, e: &mut E) {
                let double = e.carried::<0>() + e.carried::<0>();
                let [sum] = e.pass([Fold::SUM], |x: Lane<E::Real, 0>| ([], [x.theta]));
                // Known after the first pass, and handed on: the second reads no carried number.
                let scale = sum + double;
                let [other] = e.pass([Fold::SUM], |x: Lane<E::Real, 0>| ([], [x.grad * scale]));
                e.map(|x: Lane<E::Real, 0>| x.moved(x.theta * other));
                e.carry::<0>(sum);
                e.carry::<1>(scale);
            }
        }
        let plan = trace(&Early, 0).unwrap().plan;
        assert_eq!(plan.carries(0).map(|(k, _)| k).collect::<Vec<_>>(), [0, 1]);
        assert_eq!((plan.carries(1).count(), plan.carries(2).count()), (0, 0));
        // What is carried already need not be handed on for it.
        let handed = |p| {
            plan.handed(p)
                .iter()
                .map(|id| plan.op(id).name())
                .collect::<Vec<_>>()
        };
        assert_eq!((handed(0), handed(1)), (["add"].into(), ["folded"].into()));
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let mut set = OpSet::default();
        assert!(set.is_empty() && ids(set).is_empty());
        let all = [0, 1, 63, 64, 130, MAX_OPS as Id - 1];
        for &id in all.iter().rev() {
            assert!(!set.contains(id));
            set.insert(id);
            assert!(set.contains(id) && !set.is_empty());
        }
        // No plan has these.
        set.insert(MAX_OPS as Id);
        assert!(!set.contains(MAX_OPS as Id) && !set.contains(Id::MAX));
        assert_eq!((ids(set), set.len()), (all.to_vec(), 6));
        for id in 0..MAX_OPS as Id {
            assert_eq!(set.contains(id), all.contains(&id), "{id}");
        }
        let mut other = OpSet::default();
        other.insert(1);
        other.insert(2);
        other.insert(130);
        assert_eq!(ids(set.minus(&other)), [0, 63, 64, MAX_OPS as Id - 1]);
        assert_eq!(ids(other.minus(&set)), [2]);
    }

    #[test]
    fn every_op_means_what_it_says() {
        let ops = [
            Op::Uniform(0),
            Op::Carried(1),
            Op::Add(0, 1),
            Op::Sub(0, 1),
            Op::Mul(0, 1),
            Op::Div(0, 1),
            Op::Max(0, 1),
            Op::XorSign(0, 1),
            Op::Lt(1, 0),
            Op::Lt(0, 1),
            Op::Neg(0),
            Op::Abs(1),
            Op::Sqrt(0),
            Op::Select(8, 0, 1),
            Op::Select(9, 0, 1),
            Op::Lit(Literal::new(0.1)),
            Op::Theta(0),
            Op::Grad(0),
            Op::Slot(0, 1),
            Op::Folded(0, 3),
        ];
        let plan = Plan {
            ops: heapless::Vec::from_slice(&ops).unwrap(),
            ..relay()
        };
        let mut all = OpSet::default();
        (0..ops.len() as Id).for_each(|id| all.insert(id));
        let mut values = [-7.0f32; MAX_OPS];
        plan.eval(&all, &mut values, |op| match op {
            Op::Uniform(0) => 9.0,
            Op::Carried(1) => -4.0,
            Op::Theta(0) => 1.0,
            Op::Grad(0) => 2.0,
            Op::Slot(0, 1) => 3.0,
            Op::Folded(0, 3) => 4.0,
            other => panic!("{other}"),
        });
        let want = [
            9.0, -4.0, 5.0, 13.0, -36.0, -2.25, 9.0, -9.0, 1.0, 0.0, -9.0, 4.0, 3.0, 9.0, -4.0,
            0.1, 1.0, 2.0, 3.0, 4.0,
        ];
        assert_eq!(values[..ops.len()], want);
        assert_eq!(values[ops.len()], -7.0);
        // Only what is asked for is computed.
        let mut one = OpSet::default();
        one.insert(10);
        let mut values = [5.0f64; MAX_OPS];
        plan.eval(&one, &mut values, |op| panic!("{op}"));
        assert_eq!(values[9..12], [5.0, -5.0, 5.0]);
    }

    #[test]
    fn a_misfit_says_what_does_not_fit() {
        let text = |misfit: Misfit| crate::ErrorKind::from(misfit).to_string();
        assert_eq!(
            text(Misfit::TooMany("ops", 512)),
            "the rule has more than 512 ops"
        );
        assert_eq!(text(Misfit::NoPass), "the rule makes no pass");
        assert!(text(Misfit::Leak).contains("outside its pass"));
        assert!(text(Misfit::Literals).contains("two literals"));
    }
}
