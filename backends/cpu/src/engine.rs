//! A step of a rule over a batch, shared among threads.
//!
//! Every thread runs the rule's own code. A large tensor is cut at chunks and all threads work on it
//! together, meeting once after each pass that folds; small tensors are taken whole, by whoever is free. A
//! rule with a fold over the group is run in stages: all tensors up to that fold, then again from there, the
//! passes already made being skipped and their folds remembered.

use std::array;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use adarem::plan::{MAX_FOLDS, MAX_PASSES};
use adarem::{
    Accumulators, Bf16, CHUNK, Element, Engine, ErrorKind, F16, Fold, FoldOp, Half, Lane, Lanes,
    MAX_CARRIED, MAX_SLOTS, Mismatch, Real, Rewrite, Rule, Scope, Stored, View, backend::packing,
};

use crate::simd::{Job, Simd};
use crate::team::{Rendezvous, Team};
use crate::{Cpu, Memory};

/// Lanes from which a tensor is worth sharing, and a batch worth waking threads for: about 20 us of work.
const WORTH_SHARING: usize = 16 * CHUNK;

/// Folds of one step, at most.
const FOLDS: usize = MAX_PASSES * MAX_FOLDS;

/// Memory that steps use again.
#[derive(Debug, Default)]
pub(crate) struct Work<T> {
    tensors: Vec<Tensor<T>>,
    /// Folds of each tensor, [`FOLDS`] of them, for a rule that is run in stages.
    folded: Vec<T>,
    /// Partials of the tensor that is being shared; two sets, as one thread may be a pass ahead.
    partials: Vec<T>,
}

// SAFETY: the pointers in `tensors` are used only during a step, from what the step borrows.
unsafe impl<T: Send> Send for Work<T> {}

/// Where one tensor of the batch lies.
#[derive(Clone, Copy, Debug)]
struct Tensor<T> {
    theta: *mut T,
    /// Theta and the gradient as the network has them, of the type that the step is taken with.
    params: *mut (),
    grad: *const (),
    len: usize,
    /// Where its state begins in each slot.
    state: usize,
}

/// The tensors of one step, as [`Batch`] has them, with gradients of type `P`; and, where that is a half type, the
/// parameters that theta is copied to.
pub(crate) struct Tensors<'a, 't, 'p, T, P> {
    pub(crate) theta: &'a mut [&'t mut [T]],
    pub(crate) params: &'a mut [&'p mut [P]],
    pub(crate) grad: &'a [&'a [P]],
    pub(crate) slots: &'a mut [Memory<T>],
    pub(crate) carried: &'a mut Memory<T>,
}

/// Step `t` of `rule`.
pub(crate) struct Step<'r, R> {
    pub(crate) rule: &'r R,
    pub(crate) t: u64,
}

impl<R: Rule> Step<'_, R> {
    pub(crate) fn run<T: Element, P: Stored<T>>(
        &self,
        simd: Simd,
        team: &mut Team,
        work: &mut Work<T>,
        batch: Tensors<'_, '_, '_, T, P>,
    ) -> Result<(), ErrorKind> {
        let (mut total, mut longest, mut elements) = (0, 0, 0);
        let wrong = |what, tensor, expected, got| {
            Err(Mismatch {
                what,
                tensor,
                expected,
                got,
            }
            .into())
        };
        if batch.theta.len() != batch.grad.len() {
            return wrong("the list of grads", 0, batch.theta.len(), batch.grad.len());
        }
        if P::HALF.is_some() && batch.theta.len() != batch.params.len() {
            return wrong(
                "the list of params",
                0,
                batch.theta.len(),
                batch.params.len(),
            );
        }
        work.tensors.clear();
        let ranges = adarem::backend::ranges(batch.grad.iter().map(|grad| grad.len()));
        for (i, ((theta, grad), range)) in batch
            .theta
            .iter_mut()
            .zip(batch.grad)
            .zip(ranges)
            .enumerate()
        {
            let len = theta.len();
            if grad.len() != len {
                return wrong("grad", i, len, grad.len());
            }
            let mut params = std::ptr::null_mut();
            if P::HALF.is_some() {
                let lent = &mut *batch.params[i];
                if lent.len() != len {
                    return wrong("params", i, len, lent.len());
                }
                params = lent.as_mut_ptr().cast();
            }
            total += len;
            longest = longest.max(len);
            elements = range.end;
            work.tensors.push(Tensor {
                theta: theta.as_mut_ptr(),
                params,
                grad: grad.as_ptr().cast(),
                len,
                state: range.start,
            });
        }
        // What the pointers below reach must be there, whoever made the batch.
        let carried = work.tensors.len() * R::CARRIED;
        if batch.slots.len() < R::SLOTS {
            return wrong("the list of slots", 0, R::SLOTS, batch.slots.len());
        }
        let packed = if packing::<Cpu<T>>(R::HALF).is_some() {
            2
        } else {
            1
        };
        let state = elements.div_ceil(packed);
        if let Some(slot) = batch.slots.iter().find(|slot| slot.len() < state) {
            return wrong("a slot, for all tensors", 0, state, slot.len());
        }
        if batch.carried.len() < carried {
            return wrong(
                "the carried scalars of all tensors",
                0,
                carried,
                batch.carried.len(),
            );
        }
        work.folded.resize(work.tensors.len() * FOLDS, T::zero());
        let threads = if total < WORTH_SHARING {
            1
        } else {
            team.threads()
        };
        if threads > 1 && longest >= WORTH_SHARING {
            let partials = 2 * MAX_FOLDS * longest.div_ceil(CHUNK);
            work.partials
                .resize(partials.max(work.partials.len()), T::zero());
        }
        let mut slots = [std::ptr::null_mut(); MAX_SLOTS];
        for (pointer, slot) in slots.iter_mut().zip(batch.slots.iter_mut()) {
            *pointer = slot.as_mut_ptr();
        }

        let mut made = 0;
        loop {
            let stage = Stage {
                step: self,
                tensors: &work.tensors,
                slots: &slots,
                carried: batch.carried.as_mut_ptr(),
                folded: work.folded.as_mut_ptr(),
                partials: work.partials.as_mut_ptr(),
                threads,
                made,
                ends_at: AtomicUsize::new(0),
                group: [const { AtomicU8::new(0) }; FOLDS],
                next: AtomicUsize::new(0),
                meeting: Rendezvous::default(),
                misfit: AtomicBool::new(false),
            };
            let part = |index| {
                simd.run(Part {
                    stage: &stage,
                    index,
                    lent: PhantomData::<P>,
                })
            };
            if threads == 1 {
                part(0)
            } else {
                team.run(&part)
            }
            if stage.misfit.into_inner() {
                let limit = "slots or carried scalars than it declares";
                return Err(adarem::plan::Misfit::TooMany(limit, R::SLOTS.max(R::CARRIED)).into());
            }
            made = stage.ends_at.into_inner();
            if made == 0 {
                return Ok(());
            }
            for (k, op) in stage.group.into_iter().enumerate() {
                let op = match op.into_inner() {
                    SUM => FoldOp::Sum,
                    MAX_ABS => FoldOp::MaxAbs,
                    _ => continue,
                };
                let mut acc = Accumulators::new(op);
                work.folded
                    .iter()
                    .skip(k)
                    .step_by(FOLDS)
                    .for_each(|&x| acc.push(x));
                let result = acc.finish();
                work.folded
                    .iter_mut()
                    .skip(k)
                    .step_by(FOLDS)
                    .for_each(|x| *x = result);
            }
        }
    }
}

/// Marks of a fold over the group.
const SUM: u8 = 1;
const MAX_ABS: u8 = 2;

/// All tensors, from one fold over the group to the next.
struct Stage<'a, R, T> {
    step: &'a Step<'a, R>,
    tensors: &'a [Tensor<T>],
    /// The state vectors, perhaps [packed](packing).
    slots: &'a [*mut T; MAX_SLOTS],
    carried: *mut T,
    folded: *mut T,
    partials: *mut T,
    threads: usize,
    /// Passes that earlier stages made.
    made: usize,
    /// Passes made when this stage ends at a fold over the group, else 0.
    ends_at: AtomicUsize,
    /// Which folds reach over the group.
    group: [AtomicU8; FOLDS],
    /// The next tensor that no thread has taken.
    next: AtomicUsize,
    meeting: Rendezvous,
    /// Whether the rule used more than it declares.
    misfit: AtomicBool,
}

// SAFETY: threads write to disjoint lanes, folds and carried scalars: a tensor belongs to the one thread
// that took it from `next`, or is shared by chunks that only one thread sweeps; what threads read of each other
// (partials) is ordered by `meeting`.
unsafe impl<R: Sync, T: Sync> Sync for Stage<'_, R, T> {}

impl<R, T> Stage<'_, R, T> {
    /// The next tensor that no thread has taken.
    #[inline(always)]
    fn take(&self) -> Option<(usize, &Tensor<T>)> {
        let i = if self.threads > 1 {
            self.next.fetch_add(1, Ordering::Relaxed)
        } else {
            let i = self.next.load(Ordering::Relaxed);
            self.next.store(i + 1, Ordering::Relaxed);
            i
        };
        Some((i, self.tensors.get(i)?))
    }
}

/// What one thread does of a stage, with params and gradients of type `P`.
struct Part<'a, R, T, P> {
    stage: &'a Stage<'a, R, T>,
    index: usize,
    lent: PhantomData<P>,
}

impl<R: Rule, T: Element, P: Stored<T>> Job for Part<'_, R, T, P> {
    #[inline(always)]
    fn run<const BITS: usize>(self) {
        // Constants of type bool: the compiler then leaves out, unseen, the loops that no rule of this type needs.
        if const { packing::<Cpu<T>>(R::HALF).is_none() } {
            self.walk::<BITS, T>()
        } else if const { matches!(R::HALF, Some(Half::Bf16)) } {
            self.walk::<BITS, Exact>()
        } else {
            self.walk::<BITS, F16>()
        }
    }
}

/// A [`Bf16`] that is stored without rounding: a rule that says its state is one leaves nothing to round.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
struct Exact(Bf16);

impl<T: Element> Stored<T> for Exact {
    const HALF: Option<Half> = Some(Half::Bf16);

    #[inline(always)]
    fn load(self) -> T {
        self.0.load()
    }

    #[inline(always)]
    fn store(x: T) -> Self {
        let bits = x.to_f32().unwrap_or(f32::NAN).to_bits();
        Exact(Bf16::from_bits((bits >> 16) as u16))
    }
}

impl<R: Rule, T: Element, P: Stored<T>> Part<'_, R, T, P> {
    /// This thread's share of the stage, with state stored as `M`.
    #[inline(always)]
    fn walk<const BITS: usize, M: Stored<T>>(self) {
        let Part { stage, index, .. } = self;
        let shared = |tensor: &Tensor<T>| stage.threads > 1 && tensor.len >= WORTH_SHARING;
        let broken = BreakOnPanic(&stage.meeting);
        let tensors = stage.tensors.iter().enumerate();
        let mut together = tensors.filter(|(_, tensor)| shared(tensor));
        let alone = || {
            let next = || stage.take();
            std::iter::from_fn(next).find(|(_, tensor)| !shared(tensor))
        };
        // One place to run the rule, so that even a long one is inlined into it.
        while let Some((i, tensor, share)) = match together.next() {
            Some((i, tensor)) => Some((i, tensor, Some(index))),
            None => alone().map(|(i, tensor)| (i, tensor, None)),
        } {
            Worker::<BITS, _, _, M, P>::new(stage, i, *tensor, share).run();
        }
        std::mem::forget(broken);
    }
}

/// Lets the other threads go when one panics.
struct BreakOnPanic<'a>(&'a Rendezvous);

impl Drop for BreakOnPanic<'_> {
    fn drop(&mut self) {
        self.0.break_up();
    }
}

/// The engine of one thread on one tensor, with vectors of `BITS` bits, state stored as `M`, and params and gradients
/// as `P`.
struct Worker<'a, const BITS: usize, R, T, M, P> {
    stage: &'a Stage<'a, R, T>,
    tensor: Tensor<T>,
    /// Which thread this is, where all threads share the tensor.
    shared: Option<usize>,
    /// Where this tensor's carried scalars and folds lie.
    carried: *mut T,
    folded: *mut T,
    /// The carried scalars as the step found them, and as it leaves them.
    found: [T; MAX_CARRIED],
    left: [T; MAX_CARRIED],
    passes: usize,
    folds: usize,
    /// How often the threads of a shared tensor have met to fold.
    meetings: usize,
    /// Whether a fold over the group is awaited: what follows belongs to the next stage.
    waiting: bool,
    stored: PhantomData<(M, P)>,
}

impl<'a, const BITS: usize, R: Rule, T: Element, M: Stored<T>, P: Stored<T>>
    Worker<'a, BITS, R, T, M, P>
{
    #[inline(always)]
    fn new(stage: &'a Stage<'a, R, T>, i: usize, tensor: Tensor<T>, shared: Option<usize>) -> Self {
        let mut found = [T::zero(); MAX_CARRIED];
        // SAFETY: `carried` holds CARRIED numbers and `folded` FOLDS numbers for each tensor.
        let (carried, folded) = unsafe {
            let carried = stage.carried.add(i * R::CARRIED);
            for (k, x) in found.iter_mut().enumerate().take(R::CARRIED) {
                *x = *carried.add(k);
            }
            (carried, stage.folded.add(i * FOLDS))
        };
        if shared.is_some() && R::CARRIED > 0 {
            // All have read before one may write.
            stage.meeting.wait(stage.threads);
        }
        let (passes, folds, meetings, waiting) = (0, 0, 0, false);
        Worker {
            stage,
            tensor,
            shared,
            carried,
            folded,
            found,
            left: found,
            passes,
            folds,
            meetings,
            waiting,
            stored: PhantomData,
        }
    }

    #[inline(always)]
    fn run(mut self) {
        let step = self.stage.step;
        step.rule.step(step.t, &mut self);
        if !self.waiting && self.shared.unwrap_or(0) == 0 {
            for (k, &x) in self.left.iter().enumerate().take(R::CARRIED) {
                // SAFETY: as in `new`; of the threads that share a tensor only the first comes here.
                unsafe { *self.carried.add(k) = x };
            }
        }
    }

    /// Lanes `from..to` of the tensor, with the `S` slots of `view`.
    ///
    /// # Safety
    /// They lie within the tensor, no other thread uses them, and the rule has so many slots.
    #[inline(always)]
    unsafe fn lanes<const S: usize>(
        &self,
        view: View,
        from: usize,
        to: usize,
    ) -> Lanes<'a, T, S, M, P> {
        let Tensor {
            theta,
            params,
            grad,
            state,
            ..
        } = self.tensor;
        let len = to - from;
        // SAFETY: the batch lent theta, grad and, of a half type, params, of this length, and slots that hold this tensor's state
        // from `state`, as `M`, which is no larger than `T` and as aligned at most, for the duration of the step; the
        // rest is the caller's promise.
        unsafe {
            let theta = std::slice::from_raw_parts_mut(theta.add(from), len);
            let params = if P::HALF.is_some() {
                std::slice::from_raw_parts_mut(params.cast::<P>().add(from), len)
            } else {
                &mut []
            };
            let grad = std::slice::from_raw_parts(grad.cast::<P>().add(from), len);
            let slots = |k: usize| {
                let slot = self.stage.slots[view.vector::<S>(k)].cast::<M>();
                std::slice::from_raw_parts_mut(slot.add(state + from), len)
            };
            Lanes::mixed(theta, params, grad, array::from_fn(slots)).unwrap_unchecked()
        }
    }

    /// A pass over the tensor: this thread's chunks of it, and then the folds of all.
    #[inline(always)]
    fn sweep<const S: usize, const K: usize, W: Rewrite<T, S>>(
        &self,
        view: View,
        folds: [Fold; K],
        f: &impl Fn(Lane<T, S>) -> (W, [T; K]),
    ) -> [T; K] {
        let (threads, index) = self
            .shared
            .map_or((1, 0), |index| (self.stage.threads, index));
        let chunks = self.tensor.len.div_ceil(CHUNK);
        let (from, to) = (chunks * index / threads, chunks * (index + 1) / threads);
        // SAFETY: chunk ranges of different threads are disjoint, and `pass_at` has checked the slots.
        let lanes =
            unsafe { self.lanes::<S>(view, from * CHUNK, (to * CHUNK).min(self.tensor.len)) };

        // Partial k of chunk c; the passes that fold take turns with two sets.
        // SAFETY: `partials` holds two sets of MAX_FOLDS numbers for each chunk of the longest tensor.
        let place = |c: usize, k: usize| unsafe {
            self.stage
                .partials
                .add(((self.meetings % 2) * MAX_FOLDS + k) * chunks + c)
        };
        let mut tensor = folds.map(|fold| Accumulators::new(fold.op));
        let mut next = from;
        lanes.chunks(folds, f, |partials| {
            for (k, x) in partials.into_iter().enumerate() {
                if self.shared.is_some() {
                    // SAFETY: only this thread writes the partials of its chunks.
                    unsafe { *place(next, k) = x };
                } else {
                    tensor[k].push(x);
                }
            }
            next += 1;
        });
        if K > 0 && self.shared.is_some() {
            // Maxima come in one piece, which stands for all chunks of this thread.
            for (c, k) in (next..to).flat_map(|c| (0..K).map(move |k| (c, k))) {
                // SAFETY: as above.
                unsafe { *place(c, k) = T::zero() };
            }
            self.stage.meeting.wait(threads);
            for (c, k) in (0..chunks).flat_map(|c| (0..K).map(move |k| (c, k))) {
                // SAFETY: all threads have written theirs, and none writes this set before all meet again.
                tensor[k].push(unsafe { *place(c, k) });
            }
        }
        let mut folded = [T::zero(); K];
        for (folded, tensor) in folded.iter_mut().zip(tensor) {
            *folded = tensor.finish();
        }
        folded
    }
}

impl<const BITS: usize, R: Rule, T: Element, M: Stored<T>, P: Stored<T>> Engine
    for Worker<'_, BITS, R, T, M, P>
{
    type Real = T;
    const SLOTS: usize = R::SLOTS;
    const CARRIED: usize = R::CARRIED;

    #[inline(always)]
    fn uniform(&mut self, x: f64) -> T {
        T::lit(x)
    }

    #[inline(always)]
    fn carried_at(&mut self, k: usize) -> T {
        self.found[k]
    }

    #[inline(always)]
    fn carry_at(&mut self, k: usize, x: T) {
        self.left[k] = x;
    }

    #[inline(always)]
    fn pass_at<const S: usize, const K: usize, W: Rewrite<T, S>>(
        &mut self,
        view: impl Into<View>,
        folds: [Fold; K],
        f: impl Fn(Lane<T, S>) -> (W, [T; K]),
    ) -> [T; K] {
        let view = view.into();
        if view.end::<S>() > R::SLOTS || self.passes >= MAX_PASSES || K > MAX_FOLDS {
            self.stage.misfit.store(true, Ordering::Relaxed);
            return [T::zero(); K];
        }
        let (pass, first) = (self.passes, self.folds);
        // SAFETY: the counts were checked against the size of a tensor's share of `folded`.
        let memory = |k: usize| unsafe { self.folded.add(first + k) };
        let result = if self.waiting {
            [T::zero(); K]
        } else if pass < self.stage.made {
            // SAFETY: an earlier stage wrote it.
            array::from_fn(|k| unsafe { *memory(k) })
        } else {
            let result = self.sweep(view, folds, &f);
            if self.shared.unwrap_or(0) == 0 {
                for (k, x) in result.into_iter().enumerate() {
                    // SAFETY: as above; of the threads that share a tensor only the first comes here.
                    unsafe { *memory(k) = x };
                }
            }
            if folds.iter().any(|fold| fold.scope == Scope::Group) {
                self.waiting = true;
                self.stage.ends_at.store(pass + 1, Ordering::Relaxed);
                for (k, fold) in folds
                    .iter()
                    .enumerate()
                    .filter(|(_, fold)| fold.scope == Scope::Group)
                {
                    let mark = if fold.op == FoldOp::Sum { SUM } else { MAX_ABS };
                    self.stage.group[first + k].store(mark, Ordering::Relaxed);
                }
            }
            result
        };
        self.passes += 1;
        self.meetings += usize::from(K > 0);
        self.folds += K;
        result
    }
}
