//! Checks of checkpoints: saved on one backend, resumed on another, as if nothing had happened.

use core::borrow::{Borrow, BorrowMut};

use adarem::{AdaRem, AdaRemS, Backend, ErrorKind, Optimizer, Rule};
use adarem_adapters::HalfState;

use crate::direct;
use crate::kit::{Run, Stop, Tally, ensure};
use crate::number::Random;
use crate::reference::Interpreter;
use crate::state::{State, read_packed};

pub(crate) fn check<B: Backend>(run: &mut Run<'_, B>) {
    run.check(
        "checkpoint of this backend resumed on the interpreter",
        |backend, random, tally| {
            let other = &mut Interpreter::default();
            resume(backend, other, random, tally, AdaRem::default())?;
            resume(backend, other, random, tally, AdaRemS::default())?;
            resume(
                backend,
                other,
                random,
                tally,
                HalfState::bf16(AdaRem::default()),
            )
        },
    );
    run.check(
        "checkpoint of the interpreter resumed on this backend",
        |backend, random, tally| {
            let other = &mut Interpreter::default();
            resume(other, backend, random, tally, AdaRem::default())?;
            resume(other, backend, random, tally, AdaRemS::default())?;
            resume(
                other,
                backend,
                random,
                tally,
                HalfState::bf16(AdaRem::default()),
            )
        },
    );
    run.check(
        "checkpoint that is damaged changes nothing",
        |backend, random, tally| damaged(backend, random, tally),
    );
}

/// An optimizer and its tensors, beside the same computed directly.
pub(crate) struct Training<R: Rule, B: Backend> {
    pub(crate) optimizer: Optimizer<R, B>,
    pub(crate) theta: Vec<B::Memory>,
    pub(crate) grad: Vec<B::Memory>,
}

impl<R: Rule + Clone, B: Backend> Training<R, B> {
    pub(crate) fn new(backend: &mut B, rule: &R, state: &State<B::Elem>) -> Result<Self, Stop> {
        let lengths: Vec<usize> = state.theta.iter().map(Vec::len).collect();
        let mut training = Training {
            optimizer: Optimizer::new(rule.clone(), backend, &lengths)?,
            theta: Vec::new(),
            grad: Vec::new(),
        };
        for theta in &state.theta {
            training.theta.push(load(backend, theta)?);
            training.grad.push(backend.zeros(theta.len())?);
        }
        Ok(training)
    }

    /// One step, here and directly.
    pub(crate) fn step(
        &mut self,
        backend: &mut B,
        state: &mut State<B::Elem>,
        random: &mut Random,
    ) -> Result<(), Stop> {
        state.draw_gradients(|| random.ordinary());
        direct::step(self.optimizer.rule(), self.optimizer.steps(), state);
        for (memory, grad) in self.grad.iter_mut().zip(&state.grad) {
            backend.write(memory.borrow_mut(), 0, grad)?;
        }
        self.bare_step(backend)?;
        Ok(())
    }

    /// One step with the gradients that lie there.
    pub(crate) fn bare_step(&mut self, backend: &mut B) -> Result<(), B::Error> {
        let mut theta: Vec<_> = self.theta.iter_mut().map(BorrowMut::borrow_mut).collect();
        let grad: Vec<_> = self.grad.iter().map(Borrow::borrow).collect();
        self.optimizer.step(backend, &mut theta, &grad)
    }

    pub(crate) fn write_theta(
        &mut self,
        backend: &mut B,
        state: &State<B::Elem>,
    ) -> Result<(), B::Error> {
        let mut pairs = self.theta.iter_mut().zip(&state.theta);
        pairs.try_for_each(|(memory, theta)| backend.write(memory.borrow_mut(), 0, theta))
    }

    pub(crate) fn save(&self, backend: &mut B) -> Result<Vec<u8>, Stop> {
        let mut bytes = Vec::new();
        self.optimizer
            .save(backend, |piece| bytes.extend_from_slice(piece))?;
        Ok(bytes)
    }

    pub(crate) fn compare(
        &self,
        backend: &mut B,
        state: &State<B::Elem>,
        tally: &mut Tally,
        note: &str,
    ) -> Result<(), Stop> {
        let mut got = state.clone();
        for (memory, theta) in self.theta.iter().zip(&mut got.theta) {
            backend.read(memory.borrow(), 0, theta)?;
        }
        for (k, slot) in got.slots.iter_mut().enumerate() {
            let memory = self.optimizer.slot(k).ok_or("the optimizer lacks a slot")?;
            read_packed(backend, R::HALF, memory, slot)?;
        }
        backend.read(self.optimizer.carried(), 0, &mut got.carried)?;
        tally.compare(state, &got, || format!("{note} of {}", R::NAME));
        Ok(())
    }
}

fn load<B: Backend>(backend: &mut B, numbers: &[B::Elem]) -> Result<B::Memory, Stop> {
    let mut memory = backend.zeros(numbers.len())?;
    backend.write(memory.borrow_mut(), 0, numbers)?;
    Ok(memory)
}

/// Steps on `first`, a checkpoint, more steps on `second`: the same as steps without a break.
fn resume<A: Backend, B: Backend<Elem = A::Elem>, R: Rule + Clone>(
    first: &mut A,
    second: &mut B,
    random: &mut Random,
    tally: &mut Tally,
    rule: R,
) -> Result<(), Stop> {
    let lengths = [300, 0, 1, 5000];
    let mut state = State::start(&rule, &lengths, || random.ordinary());
    state.clear_gaps();

    let mut before = Training::new(first, &rule, &state)?;
    for _ in 0..3 {
        before.step(first, &mut state, random)?;
    }
    let bytes = before.save(first)?;
    let mut after = Training::new(second, &rule, &state)?;
    after.optimizer.restore(second, &bytes)?;
    ensure(
        after.optimizer.steps() == 3,
        "a restored optimizer has another step count",
    )?;
    ensure(
        after.save(second)? == bytes,
        "a restored optimizer saves other bytes",
    )?;
    for _ in 0..3 {
        after.step(second, &mut state, random)?;
    }
    after.compare(second, &state, tally, "resumed steps")
}

/// Every kind of damage is refused, and the next step is what it would have been.
fn damaged<B: Backend>(
    backend: &mut B,
    random: &mut Random,
    tally: &mut Tally,
) -> Result<(), Stop> {
    let rule = AdaRem::default();
    let mut state = State::start(&rule, &[70, 3], || random.ordinary());
    state.clear_gaps();
    let mut training = Training::new(backend, &rule, &state)?;
    training.step(backend, &mut state, random)?;
    let bytes = training.save(backend)?;

    for at in (0..bytes.len()).step_by(61) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        for bad in [&flipped, &bytes[..at]] {
            let refused = training
                .optimizer
                .restore(backend, bad)
                .map_err(|e| adarem::Error::kind(&e));
            ensure(
                matches!(refused, Err(ErrorKind::Checkpoint(_))),
                format!("a checkpoint damaged at byte {at} gave {refused:?}"),
            )?;
        }
    }
    training.step(backend, &mut state, random)?;
    training.compare(backend, &state, tally, "the step after the refusals")
}
