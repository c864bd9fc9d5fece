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
use crate::rule::{Engine, Lane, MAX_CARRIED, MAX_SLOTS, Rule};

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

    fn pass_at<const S: usize, const K: usize>(
        &mut self,
        first: usize,
        folds: [Fold; K],
        f: impl Fn(Lane<Node<'t>, S>) -> (Lane<Node<'t>, S>, [Node<'t>; K]),
    ) -> [Node<'t>; K] {
        let tape = self.tape;
        if first.saturating_add(S) > self.slots {
            tape.fail(Misfit::TooMany("slots", self.slots));
        }
        let here = self.passes.len() as u8;
        let load = |op| Node::Load(tape, op);
        let slot = |k: usize| Op::Slot(here, first.saturating_add(k) as u8);
        let (lane, folded) = f(Lane {
            theta: load(Op::Theta(here)),
            grad: load(Op::Grad(here)),
            slot: core::array::from_fn(|k| load(slot(k))),
        });

        // What comes back as it was is not written.
        let rewritten = |node, was: Op| match node {
            Node::Load(_, op) if op == was => None,
            node => Some(tape.id(node)),
        };
        let mut pass = Pass {
            theta: rewritten(lane.theta, Op::Theta(here)),
            ..Pass::default()
        };
        let own = pass.slots.iter_mut().skip(first);
        for (k, (place, node)) in own.zip(lane.slot).enumerate() {
            *place = rewritten(node, slot(k));
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
