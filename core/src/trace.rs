//! The tracer: an engine that writes a rule down instead of running it.
//!
//! Its numbers are nodes of a [`Plan`]. Adding two of them appends an op; an op that stands there
//! already is found again, so a plan holds each once. Tracing a rule takes about a microsecond and no heap.

use core::cell::Cell;
use core::ops::{Add, Div, Mul, Neg, Sub};

use heapless::Vec;

use crate::fold::Fold;
use crate::plan::{
    Id, Literal, MAX_FOLDS, MAX_OPS, MAX_PASSES, MAX_UNIFORMS, Misfit, Op, Pass, Plan,
};
use crate::real::Real;
use crate::rule::{Engine, Lane, MAX_CARRIED, MAX_SLOTS, Rewrite, Rule, View};

/// A plan, and the host scalars of the step that was traced.
#[derive(Clone, Debug, PartialEq)]
pub struct Traced {
    /// What to run.
    pub plan: Plan,
    uniforms: Vec<f64, MAX_UNIFORMS>,
}

impl Traced {
    /// The host scalars, in the order of [`Op::Uniform`]; each still to be rounded to the tensor's type.
    pub fn uniforms(&self) -> &[f64] {
        &self.uniforms
    }
}

/// Writes step `t` of `rule` down.
///
/// ```
/// use adarem::{Sgd, trace::trace};
///
/// let traced = trace(&Sgd { lr: 0.5, ..Sgd::default() }, 0)?;
/// assert_eq!(traced.uniforms(), [0.5]);
/// assert_eq!(traced.plan.passes().len(), 1);
/// # Ok::<(), adarem::plan::Misfit>(())
/// ```
///
/// # Errors
/// A [`Misfit`] where the rule exceeds a limit of plans, leaks a lane's number out of its pass, makes no
/// pass or combines two literals.
pub fn trace<R: Rule>(rule: &R, t: u64) -> Result<Traced, Misfit> {
    let tape = Tape::default();
    let mut tracer = Tracer::new(&tape, R::SLOTS, R::CARRIED);
    rule.step(t, &mut tracer);
    let Tracer {
        uniforms,
        passes,
        carry,
        ..
    } = tracer;
    if let Some(misfit) = tape.misfit.get() {
        return Err(misfit);
    }
    let mut ops = Vec::new();
    for op in tape.ops.iter().take(tape.len.get()) {
        if ops.push(op.get()).is_err() {
            return Err(Misfit::TooMany("ops", MAX_OPS));
        }
    }
    let plan = Plan {
        name: R::NAME,
        slots: R::SLOTS as u8,
        carried: R::CARRIED as u8,
        half: R::HALF,
        uniforms: uniforms.len() as u8,
        ops,
        passes,
        carry,
    };
    plan.check()?;
    Ok(Traced { plan, uniforms })
}

/// What a trace is written on.
struct Tape {
    ops: [Cell<Op>; MAX_OPS],
    len: Cell<usize>,
    misfit: Cell<Option<Misfit>>,
}

impl Default for Tape {
    fn default() -> Self {
        Tape {
            ops: [const { Cell::new(Op::Uniform(0)) }; MAX_OPS],
            len: Cell::new(0),
            misfit: Cell::new(None),
        }
    }
}

/// A number under trace. A load is written down when it is first used.
#[derive(Clone, Copy)]
enum Node<'t> {
    Lit(f64),
    Load(&'t Tape, Op),
    Op(&'t Tape, Id),
    /// What comes of combining two literals: an error, once a tape hears of it.
    Literals,
}

impl Tape {
    /// Remembers the first misfit.
    fn fail(&self, misfit: Misfit) {
        self.misfit.set(self.misfit.get().or(Some(misfit)));
    }

    /// The place of `op`, appended where it is new.
    fn push(&self, op: Op) -> Id {
        let len = self.len.get();
        if let Some(known) = self
            .ops
            .iter()
            .take(len)
            .position(|known| known.get() == op)
        {
            return known as Id;
        }
        match self.ops.get(len) {
            Some(place) => {
                place.set(op);
                self.len.set(len + 1);
            }
            None => self.fail(Misfit::TooMany("ops", MAX_OPS)),
        }
        len as Id
    }

    fn id(&self, node: Node<'_>) -> Id {
        match node {
            Node::Lit(x) => self.push(Op::Lit(Literal::new(x))),
            Node::Load(_, op) => self.push(op),
            Node::Op(_, id) => id,
            Node::Literals => {
                self.fail(Misfit::Literals);
                0
            }
        }
    }
}

impl<'t> Node<'t> {
    fn tape(self) -> Option<&'t Tape> {
        match self {
            Node::Load(tape, _) | Node::Op(tape, _) => Some(tape),
            Node::Lit(_) | Node::Literals => None,
        }
    }

    /// Whether both are the same node of a tape.
    fn same(self, other: Self) -> bool {
        match (self, other) {
            (Node::Load(_, a), Node::Load(_, b)) => a == b,
            (Node::Op(_, a), Node::Op(_, b)) => a == b,
            _ => false,
        }
    }

    fn unary(self, op: fn(Id) -> Op) -> Self {
        match self.tape() {
            Some(tape) => Node::Op(tape, tape.push(op(tape.id(self)))),
            None => Node::Literals,
        }
    }

    fn binary(self, other: Self, op: fn(Id, Id) -> Op) -> Self {
        match self.tape().or(other.tape()) {
            Some(tape) => {
                let (a, b) = (tape.id(self), tape.id(other));
                Node::Op(tape, tape.push(op(a, b)))
            }
            None => Node::Literals,
        }
    }
}

impl Add for Node<'_> {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.binary(other, Op::Add)
    }
}

impl Sub for Node<'_> {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.binary(other, Op::Sub)
    }
}

impl Mul for Node<'_> {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        self.binary(other, Op::Mul)
    }
}

impl Div for Node<'_> {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        self.binary(other, Op::Div)
    }
}

impl Neg for Node<'_> {
    type Output = Self;
    fn neg(self) -> Self {
        match self {
            Node::Lit(x) => Node::Lit(-x),
            node => node.unary(Op::Neg),
        }
    }
}

impl Real for Node<'_> {
    type Mask = Self;

    fn lit(x: f64) -> Self {
        Node::Lit(x)
    }

    fn abs(self) -> Self {
        match self {
            Node::Lit(x) => Node::Lit(x.abs()),
            node => node.unary(Op::Abs),
        }
    }

    fn sqrt(self) -> Self {
        self.unary(Op::Sqrt)
    }

    fn max(self, other: Self) -> Self {
        self.binary(other, Op::Max)
    }

    fn xor_sign(self, of: Self) -> Self {
        self.binary(of, Op::XorSign)
    }

    fn lt(self, other: Self) -> Self {
        self.binary(other, Op::Lt)
    }

    fn select(mask: Self, yes: Self, no: Self) -> Self {
        // Either way the same number: so a pass behind a mask still writes only what it changes.
        if yes.same(no) {
            return yes;
        }
        match mask.tape() {
            Some(tape) => {
                let (m, a, b) = (tape.id(mask), tape.id(yes), tape.id(no));
                Node::Op(tape, tape.push(Op::Select(m, a, b)))
            }
            None => Node::Literals,
        }
    }
}

struct Tracer<'t> {
    tape: &'t Tape,
    slots: usize,
    carried: usize,
    uniforms: Vec<f64, MAX_UNIFORMS>,
    passes: Vec<Pass, MAX_PASSES>,
    carry: [Option<Id>; MAX_CARRIED],
}

impl<'t> Tracer<'t> {
    fn new(tape: &'t Tape, slots: usize, carried: usize) -> Self {
        if slots > MAX_SLOTS {
            tape.fail(Misfit::TooMany("slots", MAX_SLOTS));
        }
        if carried > MAX_CARRIED {
            tape.fail(Misfit::TooMany("carried scalars", MAX_CARRIED));
        }
        let carry = [None; MAX_CARRIED];
        Tracer {
            tape,
            slots,
            carried,
            uniforms: Vec::new(),
            passes: Vec::new(),
            carry,
        }
    }
}

impl<'t> Engine for Tracer<'t> {
    type Real = Node<'t>;
    // Any number compiles; what the rule did not announce is a misfit.
    const SLOTS: usize = usize::MAX;
    const CARRIED: usize = usize::MAX;

    fn uniform(&mut self, x: f64) -> Node<'t> {
        let k = self.uniforms.len();
        if self.uniforms.push(x).is_err() {
            self.tape.fail(Misfit::TooMany("uniforms", MAX_UNIFORMS));
        }
        Node::Load(self.tape, Op::Uniform(k as u8))
    }

    fn carried_at(&mut self, k: usize) -> Node<'t> {
        if k >= self.carried {
            self.tape
                .fail(Misfit::TooMany("carried scalars", self.carried));
        }
        Node::Load(self.tape, Op::Carried(k as u8))
    }

    fn carry_at(&mut self, k: usize, x: Node<'t>) {
        let id = self.tape.id(x);
        match self.carry.get_mut(k).filter(|_| k < self.carried) {
            Some(carry) => *carry = Some(id),
            None => self
                .tape
                .fail(Misfit::TooMany("carried scalars", self.carried)),
        }
    }

    fn pass_at<const S: usize, const K: usize, W: Rewrite<Node<'t>, S>>(
        &mut self,
        view: impl Into<View>,
        folds: [Fold; K],
        f: impl Fn(Lane<Node<'t>, S>) -> (W, [Node<'t>; K]),
    ) -> [Node<'t>; K] {
        let (tape, view) = (self.tape, view.into());
        if view.end::<S>() > self.slots {
            tape.fail(Misfit::TooMany("slots", self.slots));
        }
        let here = self.passes.len() as u8;
        let load = |op| Node::Load(tape, op);
        let slot = |place: usize| Op::Slot(here, view.vector::<S>(place) as u8);
        let lane = Lane {
            theta: load(Op::Theta(here)),
            grad: load(Op::Grad(here)),
            slot: core::array::from_fn(|place| load(slot(place))),
        };
        let (left, folded) = f(lane);
        let lane = left.onto(lane);

        // What comes back as it was is not written.
        let rewritten = |node, was: Op| match node {
            Node::Load(_, op) if op == was => None,
            node => Some(tape.id(node)),
        };
        let mut pass = Pass {
            theta: rewritten(lane.theta, Op::Theta(here)),
            ..Pass::default()
        };
        for (place, node) in lane.slot.into_iter().enumerate() {
            if let Some(vector) = pass.slots.get_mut(view.vector::<S>(place)) {
                *vector = rewritten(node, slot(place));
            }
        }
        for (fold, node) in folds.into_iter().zip(folded) {
            if pass.folds.push((fold, tape.id(node))).is_err() {
                tape.fail(Misfit::TooMany("folds of a pass", MAX_FOLDS));
            }
        }
        if self.passes.push(pass).is_err() {
            tape.fail(Misfit::TooMany("passes", MAX_PASSES));
        }
        core::array::from_fn(|k| load(Op::Folded(here, k as u8)))
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;
    use std::string::ToString;

    use super::trace;
    use crate::plan::{MAX_FOLDS, MAX_OPS, MAX_PASSES, MAX_UNIFORMS, Misfit};
    use crate::{Engine, Fold, Invalid, Lane, MAX_CARRIED, MAX_SLOTS, Plan, Real, Rule};

    /// What a rule may do in a step, and what it may not.
    #[derive(Clone, Copy)]
    enum Deed {
        Fold(usize),
        Passes(usize),
        Uniforms(usize),
        Ops(usize),
        Reach(usize),
        Carry(usize),
        Recall(usize),
        Literals,
        LiteralsBesideNumbers,
        LaneInAnotherPass,
        LaneBesideAnother,
        LaneAsScalar,
        Same,
    }

    fn fold<E: Engine, const K: usize>(e: &mut E) {
        e.pass([Fold::SUM; K], |x: Lane<_, 0>| ([], [x.grad; K]));
    }

    /// Has `S` slots and `C` carried scalars.
    struct Doing<const S: usize, const C: usize>(Deed);

    impl<const S: usize, const C: usize> Rule for Doing<S, C> {
        const NAME: &'static str = "doing";
        const SLOTS: usize = S;
        const CARRIED: usize = C;

        fn check(&self) -> Result<(), Invalid> {
            Ok(())
        }

        fn step<E: Engine>(&self, _: u64, e: &mut E) {
            let leaked = Cell::new(None);
            let leak = |x: Lane<E::Real, 0>| {
                leaked.set(Some(x.theta));
                x
            };
            let descend = |x: Lane<E::Real, 0>| x.moved(x.theta - x.grad);
            match self.0 {
                Deed::Fold(1) => fold::<E, 1>(e),
                Deed::Fold(MAX_FOLDS) => fold::<E, MAX_FOLDS>(e),
                Deed::Fold(_) => fold::<E, { MAX_FOLDS + 1 }>(e),
                Deed::Passes(count) => (0..count).for_each(|_| e.map(descend)),
                Deed::Uniforms(count) => {
                    for k in 0..count {
                        e.uniform(k as f64);
                    }
                    e.map(descend);
                }
                // The gradient, and then one op for each turn.
                Deed::Ops(count) => e.map(|x: Lane<E::Real, 0>| {
                    let twice = (2..count).fold(x.grad + x.grad, |sum, _| sum + x.grad);
                    Lane { theta: twice, ..x }
                }),
                Deed::Reach(first) => {
                    e.pass_at(first, [], |x: Lane<E::Real, 1>| {
                        let slot = [x.grad];
                        (Lane { slot, ..x }, [])
                    });
                }
                Deed::Carry(k) => {
                    let [sum] = e.pass([Fold::SUM], |x: Lane<_, 0>| ([], [x.grad]));
                    e.carry_at(k, sum);
                }
                Deed::Recall(k) => {
                    let before = e.carried_at(k);
                    e.map(|x: Lane<E::Real, 0>| x.moved(before));
                }
                Deed::Literals => {
                    let three = E::Real::lit(1.0) + E::Real::lit(2.0);
                    e.map(|x: Lane<E::Real, 0>| x.moved(three));
                }
                Deed::LiteralsBesideNumbers => e.map(|x: Lane<E::Real, 0>| {
                    let (one, two) = (-E::Real::lit(-1.0), E::Real::lit(-2.0).abs());
                    let theta = (one * x.theta).max(two);
                    Lane { theta, ..x }
                }),
                Deed::LaneInAnotherPass => {
                    e.map(leak);
                    e.map(|x: Lane<E::Real, 0>| x.moved(leaked.get().unwrap_or(x.theta)));
                }
                Deed::LaneBesideAnother => {
                    e.map(leak);
                    e.map(|x: Lane<E::Real, 0>| x.moved(x.theta + leaked.get().unwrap_or(x.theta)));
                }
                Deed::LaneAsScalar => {
                    e.map(leak);
                    e.carry_at(0, leaked.get().unwrap_or(E::Real::lit(0.0)));
                }
                Deed::Same => e.map(|x: Lane<E::Real, 0>| {
                    let twice = x.grad + x.grad;
                    let positive = E::Real::lit(0.0).lt(x.grad);
                    let same = E::Real::select(positive, x.theta, x.theta);
                    let either = E::Real::select(positive, twice, twice);
                    let theta = E::Real::select(positive, same, either);
                    Lane { theta, ..x }
                }),
            }
        }
    }

    fn plan_of<const S: usize, const C: usize>(deed: Deed) -> Result<Plan, Misfit> {
        trace(&Doing::<S, C>(deed), 0).map(|traced| traced.plan)
    }

    #[test]
    fn a_rule_may_use_all_that_a_plan_holds_and_no_more() {
        let plan = |deed| plan_of::<2, 2>(deed).map(|plan| plan.passes().len());
        let too_many = |what, limit| Err(Misfit::TooMany(what, limit));
        assert_eq!(plan(Deed::Fold(MAX_FOLDS)), Ok(1));
        assert_eq!(
            plan(Deed::Fold(MAX_FOLDS + 1)),
            too_many("folds of a pass", MAX_FOLDS)
        );
        assert_eq!(plan(Deed::Passes(MAX_PASSES)), Ok(MAX_PASSES));
        assert_eq!(
            plan(Deed::Passes(MAX_PASSES + 1)),
            too_many("passes", MAX_PASSES)
        );
        assert_eq!(plan(Deed::Passes(0)), Err(Misfit::NoPass));
        assert_eq!(plan(Deed::Uniforms(MAX_UNIFORMS)), Ok(1));
        assert_eq!(
            plan(Deed::Uniforms(MAX_UNIFORMS + 1)),
            too_many("uniforms", MAX_UNIFORMS)
        );
        assert_eq!(
            plan_of::<0, 0>(Deed::Ops(MAX_OPS)).unwrap().ops().len(),
            MAX_OPS
        );
        assert_eq!(plan(Deed::Ops(MAX_OPS + 1)), too_many("ops", MAX_OPS));
        assert_eq!(plan(Deed::Reach(1)), Ok(1));
        assert_eq!(plan(Deed::Reach(2)), too_many("slots", 2));
        assert_eq!(plan(Deed::Carry(1)), Ok(1));
        assert_eq!(plan(Deed::Carry(2)), too_many("carried scalars", 2));
        assert_eq!(plan(Deed::Recall(1)), Ok(1));
        assert_eq!(plan(Deed::Recall(2)), too_many("carried scalars", 2));
        let misfit = plan_of::<{ MAX_SLOTS + 1 }, 0>(Deed::Fold(1)).unwrap_err();
        assert_eq!(misfit, Misfit::TooMany("slots", MAX_SLOTS));
        let misfit = plan_of::<0, { MAX_CARRIED + 1 }>(Deed::Fold(1)).unwrap_err();
        assert_eq!(misfit, Misfit::TooMany("carried scalars", MAX_CARRIED));
        let plan = plan_of::<MAX_SLOTS, MAX_CARRIED>(Deed::Carry(MAX_CARRIED - 1)).unwrap();
        assert_eq!((plan.slots(), plan.carried()), (MAX_SLOTS, MAX_CARRIED));
    }

    #[test]
    fn a_lanes_number_does_not_leave_its_pass() {
        let plan = |deed| plan_of::<0, 1>(deed).map(|_| ());
        for deed in [
            Deed::LaneInAnotherPass,
            Deed::LaneBesideAnother,
            Deed::LaneAsScalar,
        ] {
            assert_eq!(plan(deed), Err(Misfit::Leak));
        }
    }

    #[test]
    fn literals_meet_numbers_only() {
        let plan = plan_of::<0, 0>;
        assert_eq!(plan(Deed::Literals), Err(Misfit::Literals));
        let listing = plan(Deed::LiteralsBesideNumbers).unwrap().to_string();
        let ops =
            "  %0 = lit 1.0\n  %1 = theta\n  %2 = mul %0 %1\n  %3 = lit 2.0\n  %4 = max %2 %3\n";
        assert!(listing.contains(ops), "{listing}");
    }

    #[test]
    fn an_op_stands_there_once_and_a_choice_of_the_same_is_none() {
        let listing = plan_of::<0, 0>(Deed::Same).unwrap().to_string();
        let pass = "\
pass 0
  %0 = grad
  %1 = add %0 %0
  %2 = lit 0.0
  %3 = lt %2 %0
  %4 = theta
  %5 = select %3 %4 %1
  theta <- %5
";
        assert!(listing.contains(pass), "{listing}");
    }

    #[test]
    fn host_scalars_are_those_of_the_step() {
        let traced = trace(&Doing::<0, 0>(Deed::Uniforms(3)), 0).unwrap();
        assert_eq!(traced.uniforms(), [0.0, 1.0, 2.0]);
        assert_eq!(traced.plan.uniforms(), 3);
    }
}
