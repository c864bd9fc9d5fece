//! [`Optimizer`]: a rule and its state over a list of tensors, as a state machine.

use core::borrow::{Borrow, BorrowMut};
use core::fmt;

use heapless::Vec;

use crate::backend::{ALIGN, Backend, Batch, Tensor, packing};
use crate::error::{ErrorKind, Mismatch};
use crate::half::Half;
use crate::real::Element;
use crate::rule::{MAX_CARRIED, MAX_SLOTS, Rule};

/// Whether parameters and state belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// They do; a step may begin.
    Ready,
    /// A step began and failed half-way. Only [`Optimizer::restore`] leads out, with parameters of the same
    /// moment restored by the caller.
    Torn,
}

/// One parameter group: a rule, its hyper-parameters and its state over a list of tensors.
///
/// The parameters and gradients stay the caller's and are lent to each [`step`](Self::step); the state is
/// allocated once, by the backend, in [`new`](Self::new). Ready → Torn → Ready: a step that is refused changes
/// nothing, one that fails half-way leaves the optimizer [`Torn`](Phase::Torn).
///
/// Use one optimizer per parameter group: say one for weights that live on a sphere, and one for the rest.
pub struct Optimizer<R, B: Backend> {
    rule: R,
    steps: u64,
    phase: Phase,
    layout: Layout,
    slots: Vec<B::Memory, MAX_SLOTS>,
    carried: B::Memory,
}

impl<R: Rule, B: Backend> Optimizer<R, B> {
    /// The state of tensors of these `lengths`, at step 0.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a hyper-parameter out of its range, [`ErrorKind::OutOfMemory`],
    /// [`ErrorKind::DeviceLost`].
    pub fn new(rule: R, backend: &mut B, lengths: &[usize]) -> Result<Self, B::Error> {
        const { assert!(R::SLOTS <= MAX_SLOTS && R::CARRIED <= MAX_CARRIED) };
        rule.check().map_err(ErrorKind::from)?;
        let layout = Layout::of(lengths.iter().copied()).ok_or(ErrorKind::OutOfMemory)?;
        let mut slots = Vec::new();
        for k in 0..R::SLOTS {
            let (start, mut len) = (crate::Real::lit(rule.slot(k).start), layout.elements);
            let start = match packing::<B>(R::HALF) {
                Some(half) => {
                    len /= 2;
                    half.pack([start; 2])
                }
                None => start,
            };
            let mut memory = backend.zeros(len)?;
            fill::<B>(backend, &mut memory, start, len)?;
            slots.push(memory).ok().ok_or(ErrorKind::OutOfMemory)?;
        }
        let count = layout
            .tensors
            .checked_mul(R::CARRIED)
            .ok_or(ErrorKind::OutOfMemory)?;
        let mut carried = backend.zeros(count)?;
        let starts: [B::Elem; MAX_CARRIED] = core::array::from_fn(|k| {
            if k < R::CARRIED {
                crate::Real::lit(rule.carried(k).start)
            } else {
                num_traits::zero()
            }
        });
        let starts = starts.get(..R::CARRIED).unwrap_or(&[]);
        if starts.iter().any(|&x| x != num_traits::zero()) {
            for i in 0..layout.tensors {
                backend.write(carried.borrow_mut(), i * R::CARRIED, starts)?;
            }
        }
        Ok(Optimizer {
            rule,
            steps: 0,
            phase: Phase::Ready,
            layout,
            slots,
            carried,
        })
    }

    /// One step: rewrites every `theta[i]` by `grad[i]`, which are as long as `lengths[i]` of
    /// [`new`](Self::new).
    ///
    /// # Errors
    /// [`ErrorKind::Torn`], [`ErrorKind::Config`], [`ErrorKind::Length`]: refused, nothing was changed. Any
    /// other: the backend failed, and the optimizer is torn.
    pub fn step(
        &mut self,
        backend: &mut B,
        theta: &mut [&mut B::Tensor],
        grad: &[&B::Tensor],
    ) -> Result<(), B::Error> {
        if self.phase == Phase::Torn {
            return Err(ErrorKind::Torn.into());
        }
        self.rule.check_at(self.steps).map_err(ErrorKind::from)?;
        self.layout
            .check(theta.iter().map(|x| x.len()), grad.iter().map(|x| x.len()))?;
        self.phase = Phase::Torn;
        let batch = Batch {
            theta,
            grad,
            slots: &mut self.slots,
            carried: &mut self.carried,
        };
        match backend.step(&self.rule, self.steps, batch) {
            Ok(()) => {
                self.steps = self.steps.saturating_add(1);
                self.phase = Phase::Ready;
                Ok(())
            }
            Err(error) => {
                // A rule that no plan can hold is refused before anything runs.
                if matches!(crate::Error::kind(&error), ErrorKind::Plan(_)) {
                    self.phase = Phase::Ready;
                }
                Err(error)
            }
        }
    }

    /// The rule and its hyper-parameters.
    pub fn rule(&self) -> &R {
        &self.rule
    }

    /// The rule, to change hyper-parameters between steps; they are checked by the next.
    pub fn rule_mut(&mut self) -> &mut R {
        &mut self.rule
    }

    /// Steps taken; the next one is this, counted from 0.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Whether a step may begin.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// State vector `k` of all tensors, laid out as [`ranges`](crate::backend::ranges) says, and packed where
    /// [`packing`] says so.
    pub fn slot(&self, k: usize) -> Option<&B::Tensor> {
        self.slots.get(k).map(Borrow::borrow)
    }

    /// The carried scalars: those of tensor `i` from `i * R::CARRIED`.
    pub fn carried(&self) -> &B::Tensor {
        self.carried.borrow()
    }

    /// Bytes of state that the backend holds.
    pub fn state_bytes(&self) -> usize {
        let packed = if packing::<B>(R::HALF).is_some() {
            2
        } else {
            1
        };
        let elements = self.layout.elements / packed * R::SLOTS + self.layout.tensors * R::CARRIED;
        elements * B::Elem::DTYPE.bytes()
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// All state, each piece with how it is packed.
    pub(crate) fn state(&self) -> impl Iterator<Item = (Option<Half>, &B::Tensor)> {
        let slots = self.slots.iter().map(|slot| (packing::<B>(R::HALF), slot));
        slots
            .chain(core::iter::once((None, &self.carried)))
            .map(|(half, memory)| (half, memory.borrow()))
    }

    pub(crate) fn state_mut(&mut self) -> impl Iterator<Item = (Option<Half>, &mut B::Tensor)> {
        let slots = self
            .slots
            .iter_mut()
            .map(|slot| (packing::<B>(R::HALF), slot));
        slots
            .chain(core::iter::once((None, &mut self.carried)))
            .map(|(half, memory)| (half, memory.borrow_mut()))
    }

    pub(crate) fn set(&mut self, steps: u64, phase: Phase) {
        self.steps = steps;
        self.phase = phase;
    }
}

impl<R: fmt::Debug, B: Backend> fmt::Debug for Optimizer<R, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Optimizer");
        debug
            .field("rule", &self.rule)
            .field("steps", &self.steps)
            .field("phase", &self.phase);
        debug.finish_non_exhaustive()
    }
}

/// Fills memory of `len` elements with `start`; it holds zeros.
fn fill<B: Backend>(
    backend: &mut B,
    memory: &mut B::Memory,
    start: B::Elem,
    len: usize,
) -> Result<(), B::Error> {
    if start.to_le() == 0 {
        return Ok(());
    }
    let block = [start; 256];
    for at in (0..len).step_by(block.len()) {
        let count = block.len().min(len - at);
        backend.write(
            memory.borrow_mut(),
            at,
            block.get(..count).unwrap_or(&block),
        )?;
    }
    Ok(())
}

/// What an optimizer remembers of its tensors' lengths without keeping them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// How many tensors.
    pub(crate) tensors: usize,
    /// Elements of one slot's memory.
    pub(crate) elements: usize,
    /// A hash of the lengths, in order.
    pub(crate) fingerprint: u64,
}

impl Layout {
    /// `None` where the elements cannot be counted.
    fn of(lengths: impl Iterator<Item = usize>) -> Option<Layout> {
        let mut layout = Layout {
            tensors: 0,
            elements: 0,
            fingerprint: Fnv::new().0,
        };
        for len in lengths {
            let mut hash = Fnv(layout.fingerprint);
            hash.write(&(len as u64).to_le_bytes());
            let elements = layout
                .elements
                .checked_add(len.checked_next_multiple_of(ALIGN)?)?;
            layout = Layout {
                tensors: layout.tensors + 1,
                elements,
                fingerprint: hash.0,
            };
        }
        Some(layout)
    }

    /// Whether these are the tensors of [`Layout::of`], with gradients of the same lengths.
    fn check(
        &self,
        theta: impl ExactSizeIterator<Item = usize>,
        grad: impl ExactSizeIterator<Item = usize>,
    ) -> Result<(), ErrorKind> {
        let wrong = |what, tensor, expected, got| {
            Err(Mismatch {
                what,
                tensor,
                expected,
                got,
            }
            .into())
        };
        if theta.len() != self.tensors {
            return wrong("the list of thetas", 0, self.tensors, theta.len());
        }
        if grad.len() != self.tensors {
            return wrong("the list of grads", 0, self.tensors, grad.len());
        }
        let (mut elements, mut hash) = (0usize, Fnv::new());
        for (i, (theta, grad)) in theta.zip(grad).enumerate() {
            if theta != grad {
                return wrong("grad", i, theta, grad);
            }
            elements =
                elements.saturating_add(theta.checked_next_multiple_of(ALIGN).unwrap_or(theta));
            hash.write(&(theta as u64).to_le_bytes());
        }
        if elements != self.elements || hash.0 != self.fingerprint {
            return wrong(
                "the state for all thetas, up",
                self.tensors,
                self.elements,
                elements,
            );
        }
        Ok(())
    }
}

/// The FNV-1a hash, 64 bits.
pub(crate) struct Fnv(pub(crate) u64);

impl Fnv {
    pub(crate) fn new() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
