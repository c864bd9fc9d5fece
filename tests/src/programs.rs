//! Random rules: every string of bytes is one.
//!
//! A [`Program`] is decoded from bytes, so that the same generator serves the kit's seeded rounds,
//! property tests (which shrink the bytes) and fuzzers (which mutate them). It is a valid rule whatever the
//! bytes: it traces into a plan, and it runs on the host.

use adarem::{Backend, Engine, Fold, FoldOp, Invalid, Lane, Real, Rule, Scope};
use proptest::strategy::Strategy;

use crate::cases::bytes;
use crate::kit::{Run, several_steps};
use crate::number::Bytes;
use crate::ops::Calculation;
use crate::state::State;

/// State vectors of a [`Program`].
pub const SLOTS: usize = 3;
/// Carried scalars of a [`Program`].
pub const CARRIED: usize = 3;

const PASSES: usize = 4;
const UNIFORMS: usize = 8;
/// Numbers that one scope of a program may name.
const NAMES: usize = 96;

/// A rule made of bytes.
///
/// ```
/// use adarem::trace::trace;
/// use adarem_conformance::programs::Program;
///
/// let program = Program::decode(b"any bytes at all");
/// assert!(trace(&program, 0).is_ok());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    uniforms: Vec<f64>,
    passes: Vec<Body>,
    /// After each pass, scalars.
    between: Vec<Vec<Instruction>>,
    carry: [Option<u8>; CARRIED],
}

/// What a pass does in a lane.
#[derive(Clone, Debug, PartialEq)]
struct Body {
    instructions: Vec<Instruction>,
    theta: Option<u8>,
    slots: [Option<u8>; SLOTS],
    folds: Vec<(Fold, u8)>,
}

/// One op; names count back from the newest number, around the scope.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Instruction {
    Literal(f64),
    Calculate(Calculation, u8, u8, u8),
}

fn instructions(bytes: &mut Bytes<'_>) -> Vec<Instruction> {
    let count = bytes.below(12);
    let instruction = |_| {
        let kind = bytes.below(Calculation::ALL.len() + 2);
        match Calculation::ALL.get(kind) {
            Some(&of) => Instruction::Calculate(of, bytes.byte(), bytes.byte(), bytes.byte()),
            None => Instruction::Literal(bytes.number()),
        }
    };
    (0..count).map(instruction).collect()
}

/// A name, three times out of four.
fn maybe(bytes: &mut Bytes<'_>) -> Option<u8> {
    let byte = bytes.byte();
    (!byte.is_multiple_of(4)).then_some(byte / 4)
}

impl Program {
    /// The rule that these bytes are.
    pub fn decode(bytes: &[u8]) -> Program {
        Program::read(&mut Bytes::new(bytes))
    }

    /// The rule that the next of these bytes are.
    pub fn read(bytes: &mut Bytes<'_>) -> Program {
        let uniforms = (0..bytes.below(UNIFORMS)).map(|_| bytes.number()).collect();
        let passes = 1 + bytes.below(PASSES);
        let mut program = Program {
            uniforms,
            passes: Vec::new(),
            between: Vec::new(),
            carry: [None; CARRIED],
        };
        for _ in 0..passes {
            let lane = instructions(bytes);
            let theta = maybe(bytes);
            let slots = core::array::from_fn(|_| maybe(bytes));
            let folds = (0..bytes.below(5)).map(|_| {
                let byte = bytes.byte();
                let op = if byte & 1 == 0 {
                    FoldOp::Sum
                } else {
                    FoldOp::MaxAbs
                };
                let scope = if byte & 6 == 0 {
                    Scope::Group
                } else {
                    Scope::Tensor
                };
                (Fold { op, scope }, bytes.byte())
            });
            program.passes.push(Body {
                folds: folds.collect(),
                instructions: lane,
                theta,
                slots,
            });
            program.between.push(instructions(bytes));
        }
        program.carry = core::array::from_fn(|_| maybe(bytes));
        program
    }

    /// Whether it uses this op.
    pub(crate) fn uses(&self, op: Calculation) -> bool {
        let lanes = self.passes.iter().flat_map(|body| &body.instructions);
        lanes
            .chain(self.between.iter().flatten())
            .any(|i| matches!(i, Instruction::Calculate(of, ..) if *of == op))
    }
}

/// Rules for property tests: shrinking shortens them.
pub fn any_program() -> impl Strategy<Value = Program> {
    bytes().prop_map(|bytes| Program::decode(&bytes))
}

/// The numbers that can be named: first the scope's givens, then the results of its instructions.
#[derive(Clone, Copy)]
struct Scratch<R> {
    numbers: [Named<R>; NAMES],
    len: usize,
}

/// Two literals must not meet, so it is known of each number whether it is one.
#[derive(Clone, Copy)]
enum Named<R> {
    Literal(f64),
    Number(R),
}

impl<R: Real> Named<R> {
    fn value(self) -> R {
        match self {
            Named::Literal(x) => R::lit(x),
            Named::Number(x) => x,
        }
    }
}

impl<R: Real> Scratch<R> {
    fn new() -> Self {
        Scratch {
            numbers: [Named::Literal(1.0); NAMES],
            len: 0,
        }
    }

    fn push(&mut self, x: Named<R>) {
        self.numbers[self.len] = x;
        self.len += 1;
    }

    fn named(&self, name: u8) -> Named<R> {
        match self.len {
            0 => Named::Literal(1.0),
            len => self.numbers[len - 1 - usize::from(name) % len],
        }
    }

    fn run(&mut self, instructions: &[Instruction]) {
        for instruction in instructions {
            let result = match *instruction {
                Instruction::Literal(x) => Named::Literal(x),
                Instruction::Calculate(of, a, b, c) => {
                    calculate(of, self.named(a), self.named(b), self.named(c))
                }
            };
            self.push(result);
        }
    }
}

fn calculate<R: Real>(of: Calculation, a: Named<R>, b: Named<R>, c: Named<R>) -> Named<R> {
    use Named::{Literal, Number};
    Number(match (of, a, b) {
        (Calculation::Neg | Calculation::Abs | Calculation::Sqrt, Literal(_), _) => return c,
        (_, Literal(_), Literal(_)) => return c,
        // The sign of a NaN does not count, so it must not decide about another number's.
        (Calculation::XorSign, a, Literal(b)) if b.is_nan() => a.value(),
        (Calculation::XorSign, a, Number(b)) => {
            a.value().xor_sign(b.max(R::lit(f64::NEG_INFINITY)))
        }
        (of, a, b) => of.of(a.value(), b.value(), c.value()),
    })
}

impl Body {
    /// The pass in one lane, whose scope begins with the scalars.
    fn lane<R: Real, const K: usize>(
        &self,
        scalars: &Scratch<R>,
        x: Lane<R, SLOTS>,
    ) -> (Lane<R, SLOTS>, [R; K]) {
        let mut scratch = *scalars;
        for load in [x.theta, x.grad].into_iter().chain(x.slot) {
            scratch.push(Named::Number(load));
        }
        scratch.run(&self.instructions);
        let or_kept =
            |name: Option<u8>, kept| name.map_or(kept, |name| scratch.named(name).value());
        let lane = Lane {
            theta: or_kept(self.theta, x.theta),
            grad: x.grad,
            slot: core::array::from_fn(|k| or_kept(self.slots[k], x.slot[k])),
        };
        let folded = core::array::from_fn(|k| scratch.named(self.folds[k].1).value());
        (lane, folded)
    }

    fn pass<E: Engine, const K: usize>(&self, e: &mut E, scalars: &mut Scratch<E::Real>) {
        let folds: [Fold; K] = core::array::from_fn(|k| self.folds[k].0);
        let folded = e.pass(folds, |x| self.lane(scalars, x));
        folded
            .into_iter()
            .for_each(|x| scalars.push(Named::Number(x)));
    }
}

impl Rule for Program {
    const NAME: &'static str = "program";
    const SLOTS: usize = SLOTS;
    const CARRIED: usize = CARRIED;

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    fn step<E: Engine>(&self, _: u64, e: &mut E) {
        let mut scalars = Scratch::new();
        let carried = [e.carried::<0>(), e.carried::<1>(), e.carried::<2>()];
        let uniforms = self.uniforms.iter().map(|&x| e.uniform(x));
        uniforms
            .chain(carried)
            .for_each(|x| scalars.push(Named::Number(x)));
        for (body, between) in self.passes.iter().zip(&self.between) {
            match body.folds.len() {
                0 => body.pass::<E, 0>(e, &mut scalars),
                1 => body.pass::<E, 1>(e, &mut scalars),
                2 => body.pass::<E, 2>(e, &mut scalars),
                3 => body.pass::<E, 3>(e, &mut scalars),
                _ => body.pass::<E, 4>(e, &mut scalars),
            }
            scalars.run(between);
        }
        let [first, second, third] = self
            .carry
            .map(|name| name.map(|n| scalars.named(n).value()));
        first.into_iter().for_each(|x| e.carry::<0>(x));
        second.into_iter().for_each(|x| e.carry::<1>(x));
        third.into_iter().for_each(|x| e.carry::<2>(x));
    }
}

/// Rounds of random programs.
const ROUNDS: usize = 64;

pub(crate) fn check<B: Backend>(run: &mut Run<'_, B>) {
    let inexact: Vec<Calculation> = Calculation::ALL
        .into_iter()
        .filter(|of| run.is_inexact(&format!("op {}", of.name())))
        .collect();
    run.check("random rules", |backend, random, tally| {
        for _ in 0..ROUNDS {
            let bytes: Vec<u8> = (0..random.below(240))
                .map(|_| random.bits() as u8)
                .collect();
            let program = Program::decode(&bytes);
            if inexact.iter().any(|&of| program.uses(of)) {
                continue;
            }
            let lengths: Vec<usize> = (0..random.below(4)).map(|_| random.below(900)).collect();
            let note = format!("Program::decode(&{bytes:?})");
            let spicy = random.below(2) == 0;
            let mut number = |_| {
                if spicy {
                    random.any()
                } else {
                    random.ordinary()
                }
            };
            let state = State::of_any(&program, &lengths, || number(0));
            several_steps(backend, tally, &program, state, 0..3, &mut number, &note)?;
        }
        Ok(())
    });
}

#[cfg(test)]
mod tests {
    use super::any_program;
    use adarem::trace::trace;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_string_of_bytes_is_a_rule_that_traces(program in any_program()) {
            let traced = trace(&program, 0);
            prop_assert!(traced.is_ok(), "{:?}: {:?}", program, traced.err());
        }
    }
}
