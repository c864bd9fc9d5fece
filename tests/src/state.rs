//! The tensors and the state of one step: in the host's memory, and in a backend's.

use core::borrow::{Borrow, BorrowMut};
use core::ops::Range;

use adarem::backend::{ALIGN, packing, ranges};
use adarem::trace::trace;
use adarem::{Backend, Batch, Element, ErrorKind, Half, Rule};

use crate::direct::rounded;
use crate::number::ulps;

/// Everything that a step reads or writes, as an optimizer lays it out.
#[derive(Clone, Debug)]
pub(crate) struct State<T> {
    pub(crate) theta: Vec<Vec<T>>,
    pub(crate) grad: Vec<Vec<T>>,
    pub(crate) slots: Vec<Vec<T>>,
    pub(crate) carried: Vec<T>,
    /// The type that every number in the slots is one of.
    half: Option<Half>,
}

impl<T: Element> State<T> {
    /// Tensors of these lengths before the first step of `rule`; theta and the gradients from `number`.
    ///
    /// The gaps between the tensors' state hold a number that no step may change.
    pub(crate) fn start<R: Rule>(
        rule: &R,
        lengths: &[usize],
        mut number: impl FnMut() -> T,
    ) -> State<T> {
        let mut tensors = || -> Vec<Vec<T>> {
            let tensor = |&len: &usize| (0..len).map(|_| number()).collect();
            lengths.iter().map(tensor).collect()
        };
        let (theta, grad) = (tensors(), tensors());
        let padded = |len: usize| len.next_multiple_of(ALIGN);
        let elements = lengths.iter().copied().map(padded).sum();
        let slot = |k| {
            let mut slot = vec![kept::<T>(R::HALF, rounded(0.1)); elements];
            for range in ranges(lengths.iter().copied()) {
                slot[range].fill(rounded(rule.slot(k).start));
            }
            slot
        };
        let carried = (0..R::CARRIED).map(|k| rounded(rule.carried(k).start));
        State {
            theta,
            grad,
            slots: (0..R::SLOTS).map(slot).collect(),
            carried: carried.collect::<Vec<T>>().repeat(lengths.len()),
            half: R::HALF,
        }
    }

    /// The same with all state from `number` too, gaps included: what no step has led to, but may.
    pub(crate) fn of_any<R: Rule>(
        rule: &R,
        lengths: &[usize],
        mut number: impl FnMut() -> T,
    ) -> State<T> {
        let mut state = State::start(rule, lengths, &mut number);
        let slots = state.slots.iter_mut().flatten();
        slots.for_each(|x| *x = kept(R::HALF, number()));
        state.carried.iter_mut().for_each(|x| *x = number());
        state
    }

    /// Puts 0 into the gaps, as an optimizer's own state has it where its slots start at 0.
    pub(crate) fn clear_gaps(&mut self) {
        let ranges = self.ranges();
        for slot in &mut self.slots {
            let ends = ranges.iter().map(|range| range.end);
            let starts = ranges
                .iter()
                .map(|range| range.start)
                .skip(1)
                .chain([slot.len()]);
            for (end, start) in ends.zip(starts) {
                slot[end..start].fill(T::zero());
            }
        }
    }

    pub(crate) fn tensors(&self) -> usize {
        self.theta.len()
    }

    /// Where each tensor's state lies in a slot.
    pub(crate) fn ranges(&self) -> Vec<Range<usize>> {
        ranges(self.theta.iter().map(Vec::len)).collect()
    }

    /// How many numbers a step may change.
    pub(crate) fn numbers(&self) -> u64 {
        let all = self.theta.iter().chain(&self.slots).map(Vec::len);
        (all.sum::<usize>() + self.carried.len()) as u64
    }

    /// Whether `after` has the parameters and the state vectors of `self`, bit for bit.
    pub(crate) fn kept(&self, after: &State<T>) -> bool {
        let numbers = |state: &State<T>| {
            let lists = state.theta.iter().chain(&state.slots).flatten();
            lists.map(|x| x.to_le()).collect::<Vec<u64>>()
        };
        numbers(self) == numbers(after)
    }

    /// New gradients.
    pub(crate) fn draw_gradients(&mut self, mut number: impl FnMut() -> T) {
        let lanes = self.grad.iter_mut().flatten();
        lanes.for_each(|x| *x = number());
    }

    /// The place where `self` and `other` differ most, if they do.
    pub(crate) fn worst(&self, other: &State<T>) -> Option<Difference> {
        let tensors = |what: &'static str, want: &[Vec<T>], got: &[Vec<T>]| {
            let pairs = want.iter().zip(got).enumerate();
            let worst =
                pairs.filter_map(|(i, (want, got))| worst(want, got, |lane| (what, i, lane)));
            worst.max_by_key(|difference| difference.ulps)
        };
        let carried_per_tensor = self.carried.len() / self.tensors().max(1);
        let carried = worst(&self.carried, &other.carried, |at| {
            (
                "carried scalar of tensor",
                at / carried_per_tensor,
                at % carried_per_tensor,
            )
        });
        [
            tensors("theta", &self.theta, &other.theta),
            tensors("grad", &self.grad, &other.grad),
            tensors("slot", &self.slots, &other.slots),
            carried,
        ]
        .into_iter()
        .flatten()
        .max_by_key(|difference| difference.ulps)
    }
}

fn worst<T: Element>(
    want: &[T],
    got: &[T],
    place: impl Fn(usize) -> (&'static str, usize, usize),
) -> Option<Difference> {
    let (mut at, mut most) = (0, 0);
    for (i, (&want, &got)) in want.iter().zip(got).enumerate() {
        let apart = ulps(want, got);
        if apart > most {
            (at, most) = (i, apart);
        }
    }
    if most == 0 {
        return None;
    }
    let (what, index, lane) = place(at);
    let shown = |x: T| format!("{x:?} ({:#x})", x.to_le());
    Some(Difference {
        place: format!("{what} {index}, number {lane}"),
        want: shown(*want.get(at)?),
        got: shown(*got.get(at)?),
        ulps: most,
    })
}

/// One number that a backend computed otherwise than the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which number.
    pub place: String,
    /// The host's, and its bits.
    pub want: String,
    /// The backend's, and its bits.
    pub got: String,
    /// How many units in the last place lie between, as [`ulps`] counts them.
    pub ulps: u64,
}

/// What a state vector of such a rule may hold, next to `x`.
fn kept<T: Element>(half: Option<Half>, x: T) -> T {
    half.map_or(x, |half| half.round(x))
}

/// A state vector as `B` is given it.
pub(crate) fn packed<B: Backend>(half: Option<Half>, slot: &[B::Elem]) -> Vec<B::Elem> {
    match packing::<B>(half) {
        Some(half) => slot
            .as_chunks()
            .0
            .iter()
            .map(|&pair| half.pack(pair))
            .collect(),
        None => slot.to_vec(),
    }
}

/// Reads a state vector that `B` was given.
pub(crate) fn read_packed<B: Backend>(
    backend: &mut B,
    half: Option<Half>,
    memory: &B::Tensor,
    slot: &mut [B::Elem],
) -> Result<(), B::Error> {
    // What a read leaves untouched must not look right.
    slot.fill(rounded(0.123_456_789));
    let Some(half) = packing::<B>(half) else {
        return backend.read(memory, 0, slot);
    };
    let pairs = slot.as_chunks_mut().0;
    let mut elements: Vec<B::Elem> = pairs.iter().map(|&pair| half.pack(pair)).collect();
    backend.read(memory, 0, &mut elements)?;
    let halves = pairs.iter_mut().zip(elements);
    halves.for_each(|(pair, element)| *pair = half.unpack(element));
    Ok(())
}

/// The way a step enters a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// [`Backend::step`], which a backend may have overridden.
    Step,
    /// [`Backend::run`] of the traced plan.
    Run,
}

impl Door {
    pub(crate) const BOTH: [Door; 2] = [Door::Step, Door::Run];
}

/// A state in a backend's memory.
pub(crate) struct Loaded<B: Backend> {
    theta: Vec<B::Memory>,
    grad: Vec<B::Memory>,
    slots: Vec<B::Memory>,
    carried: B::Memory,
}

impl<B: Backend> Loaded<B> {
    pub(crate) fn new(backend: &mut B, state: &State<B::Elem>) -> Result<Self, B::Error> {
        let mut load = |numbers: &[B::Elem]| {
            let mut memory = backend.zeros(numbers.len())?;
            backend.write(memory.borrow_mut(), 0, numbers)?;
            Ok(memory)
        };
        Ok(Loaded {
            theta: state
                .theta
                .iter()
                .map(|theta| load(theta))
                .collect::<Result<_, B::Error>>()?,
            grad: state
                .grad
                .iter()
                .map(|grad| load(grad))
                .collect::<Result<_, B::Error>>()?,
            slots: state
                .slots
                .iter()
                .map(|slot| load(&packed::<B>(state.half, slot)))
                .collect::<Result<_, B::Error>>()?,
            carried: load(&state.carried)?,
        })
    }

    /// Writes the gradients of `state` over those that are loaded.
    pub(crate) fn write_gradients(
        &mut self,
        backend: &mut B,
        state: &State<B::Elem>,
    ) -> Result<(), B::Error> {
        let pairs = self.grad.iter_mut().zip(&state.grad);
        pairs
            .into_iter()
            .try_for_each(|(memory, grad)| backend.write(memory.borrow_mut(), 0, grad))
    }

    pub(crate) fn step<R: Rule>(
        &mut self,
        backend: &mut B,
        rule: &R,
        t: u64,
        door: Door,
    ) -> Result<(), B::Error> {
        self.step_by(backend, rule, t, door, false)
    }

    /// A step that lends the first gradient to every tensor.
    pub(crate) fn step_by_one_gradient<R: Rule>(
        &mut self,
        backend: &mut B,
        rule: &R,
        t: u64,
    ) -> Result<(), B::Error> {
        self.step_by(backend, rule, t, Door::Step, true)
    }

    fn step_by<R: Rule>(
        &mut self,
        backend: &mut B,
        rule: &R,
        t: u64,
        door: Door,
        one_gradient: bool,
    ) -> Result<(), B::Error> {
        let mut theta: Vec<&mut B::Tensor> =
            self.theta.iter_mut().map(BorrowMut::borrow_mut).collect();
        let mut grad: Vec<&B::Tensor> = self.grad.iter().map(Borrow::borrow).collect();
        if one_gradient {
            grad.fill(self.grad[0].borrow());
        }
        let batch = Batch {
            theta: &mut theta,
            grad: &grad,
            slots: &mut self.slots,
            carried: &mut self.carried,
        };
        match door {
            Door::Step => backend.step(rule, t, batch),
            Door::Run => {
                let traced = trace(rule, t).map_err(ErrorKind::from)?;
                backend.run(&traced.plan, traced.uniforms(), batch)
            }
        }
    }

    /// Reads everything back; the shape is that of `like`.
    pub(crate) fn read(
        &self,
        backend: &mut B,
        like: &State<B::Elem>,
    ) -> Result<State<B::Elem>, B::Error> {
        let mut state = like.clone();
        let lists = [
            (&self.theta, &mut state.theta, None),
            (&self.grad, &mut state.grad, None),
            (&self.slots, &mut state.slots, like.half),
        ];
        for (memories, numbers, half) in lists {
            for (memory, numbers) in memories.iter().zip(numbers) {
                read_packed(backend, half, memory.borrow(), numbers)?;
            }
        }
        read_packed(backend, None, self.carried.borrow(), &mut state.carried)?;
        Ok(state)
    }
}
