//! One op of a plan as instructions. Each must mean what [`Plan::eval`](adarem::Plan::eval) says, to the bit.

use super::writer::{Register, Writer};
use adarem::Dtype;
use adarem::plan::{Id, Op, OpSet, Plan};
use std::collections::BTreeMap;

/// The registers that hold values of ops; a mask's is a predicate.
#[derive(Clone, Default)]
pub(super) struct Values(BTreeMap<Id, Register>);

impl Values {
    pub(super) fn insert(&mut self, id: Id, register: Register) {
        self.0.insert(id, register);
    }

    /// # Panics
    /// When the op was not evaluated before: a plan names earlier ops only.
    pub(super) fn get(&self, id: Id) -> Register {
        self.0[&id]
    }
}

/// Evaluates, in order, the ops of `set` that `which` accepts and that have no value yet. The leaves among them have one.
pub(super) fn evaluate(
    writer: &mut Writer,
    plan: &Plan,
    set: &OpSet,
    values: &mut Values,
    which: impl Fn(Id) -> bool,
) {
    for id in set.iter().filter(|id| which(*id)) {
        if !values.0.contains_key(&id) {
            let register = operation(writer, plan.op(id), values);
            values.insert(id, register);
        }
    }
}

fn operation(writer: &mut Writer, op: Op, values: &Values) -> Register {
    let x = |id: Id| values.get(id);
    match op {
        Op::Theta(_)
        | Op::Grad(_)
        | Op::Slot(..)
        | Op::Uniform(_)
        | Op::Carried(_)
        | Op::Folded(..) => {
            unreachable!("{op} is loaded before ops are evaluated")
        }
        Op::Lit(literal) => writer.constant(literal.value()),
        Op::Add(a, b) => writer.real_of("add.rn", &[x(a), x(b)]),
        Op::Sub(a, b) => writer.real_of("sub.rn", &[x(a), x(b)]),
        Op::Mul(a, b) => writer.real_of("mul.rn", &[x(a), x(b)]),
        Op::Div(a, b) => writer.real_of("div.rn", &[x(a), x(b)]),
        Op::Max(a, b) => maximum(writer, x(a), x(b)),
        Op::XorSign(a, b) => xor_sign(writer, x(a), x(b)),
        Op::Lt(a, b) => less(writer, x(a), x(b)),
        Op::Neg(a) => writer.real_of("neg", &[x(a)]),
        Op::Abs(a) => writer.real_of("abs", &[x(a)]),
        Op::Sqrt(a) => writer.real_of("sqrt.rn", &[x(a)]),
        Op::Select(mask, a, b) => select(writer, x(mask), x(a), x(b)),
    }
}

fn less(writer: &mut Writer, a: Register, b: Register) -> Register {
    let kind = writer.real_type();
    writer.test(&format!("lt.{kind}"), a, b)
}

pub(super) fn select(writer: &mut Writer, mask: Register, a: Register, b: Register) -> Register {
    writer.real_of("selp", &[a, b, mask])
}

/// `b` where `a < b` or `a` is NaN, else `a`. Not PTX's `max`, which tells -0 from +0.
fn maximum(writer: &mut Writer, a: Register, b: Register) -> Register {
    let kind = writer.real_type();
    let is_less = less(writer, a, b);
    let is_nan = writer.test(&format!("neu.{kind}"), a, a);
    let either = writer.predicate();
    writer.line(format_args!("or.pred {either}, {is_less}, {is_nan};"));
    select(writer, either, b, a)
}

fn xor_sign(writer: &mut Writer, a: Register, of: Register) -> Register {
    let to = writer.real();
    let (sign, bits, mask) = match writer.dtype {
        Dtype::F64 => (writer.long(), "b64", "0x8000000000000000"),
        _ => (writer.word(), "b32", "0x80000000"),
    };
    writer.line(format_args!("and.{bits} {sign}, {of}, {mask};"));
    writer.line(format_args!("xor.{bits} {to}, {a}, {sign};"));
    to
}
