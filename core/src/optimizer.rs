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

/// A step that [has begun](Optimizer::begin): the rule, the number of the step, and the state to rewrite, laid out as in
/// a [`Batch`].
pub struct Turn<'a, R, B: Backend> {
    /// The rule, checked.
    pub rule: &'a R,
    /// The step, counted from 0.
    pub t: u64,
    /// One for each slot of the rule.
    pub slots: &'a mut [B::Memory],
    /// The carried scalars of all tensors.
    pub carried: &'a mut B::Memory,
    phase: &'a mut Phase,
    steps: &'a mut u64,
}

impl<R, B: Backend> Turn<'_, R, B> {
    /// Ends the step, and hands back how it went.
    ///
    /// # Errors
    /// Those of `result`. With [`ErrorKind::Plan`] or [`ErrorKind::Length`] nothing has run, and the optimizer is as it
    /// was; with any other it stays torn.
    pub fn end(self, result: Result<(), B::Error>) -> Result<(), B::Error> {
        let kind = result.as_ref().map_err(crate::Error::kind);
        if matches!(
            kind,
            Ok(()) | Err(ErrorKind::Plan(_) | ErrorKind::Length(_))
        ) {
            *self.phase = Phase::Ready;
        }
        *self.steps = self.steps.saturating_add(u64::from(result.is_ok()));
        result
    }
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
        let turn = self.begin(theta.iter().map(|x| x.len()), grad.iter().map(|x| x.len()))?;
        let batch = Batch {
            theta,
            grad,
            slots: &mut *turn.slots,
            carried: &mut *turn.carried,
        };
        let result = backend.step(turn.rule, turn.t, batch);
        turn.end(result)
    }

    /// Begins a step over tensors of these lengths that something else than [`Backend::step`] takes: for backends that
    /// can be lent more than a [`Batch`] holds, such as parameters of 16 bits beside a master copy. Whoever takes it
    /// rewrites the state as that function would, and says in [`Turn::end`] what came of it; until then the
    /// optimizer is [`Torn`](Phase::Torn).
    ///
    /// ```
    /// use adarem::{AdaRem, Backend, Batch, Lent, Optimizer};
    ///
    /// let (mut memory, mut theta, grad) = ([0.0f32; 128], [1.0, 2.0], [0.5, -0.5]);
    /// let mut lent = Lent::new(&mut memory);
    /// let mut optimizer = Optimizer::new(AdaRem::default(), &mut lent, &[2])?;
    ///
    /// let turn = optimizer.begin([2].into_iter(), [2].into_iter())?;
    /// let (theta, grad): (&mut [&mut [_]], &[&[_]]) = (&mut [&mut theta], &[&grad]);
    /// let batch = Batch { theta, grad, slots: &mut *turn.slots, carried: &mut *turn.carried };
    /// let result = lent.step(turn.rule, turn.t, batch);
    /// turn.end(result)?;
    /// assert_eq!(optimizer.steps(), 1);
    /// # Ok::<(), adarem::ErrorKind>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Torn`], [`ErrorKind::Config`], [`ErrorKind::Length`]: refused, nothing was changed.
    pub fn begin(
        &mut self,
        theta: impl ExactSizeIterator<Item = usize>,
        grad: impl ExactSizeIterator<Item = usize>,
    ) -> Result<Turn<'_, R, B>, ErrorKind> {
        if self.phase == Phase::Torn {
            return Err(ErrorKind::Torn);
        }
        self.rule.check_at(self.steps)?;
        self.layout.check(theta, grad)?;
        self.phase = Phase::Torn;
        Ok(Turn {
            rule: &self.rule,
            t: self.steps,
            slots: &mut self.slots,
            carried: &mut self.carried,
            phase: &mut self.phase,
            steps: &mut self.steps,
        })
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

#[cfg(test)]
pub(crate) mod tests {
    use std::format;

    use super::{Fnv, Optimizer, Phase};
    use crate::backend::{ALIGN, ranges};
    use crate::error::{Invalid, Mismatch, positive};
    use crate::lent::tests::Planned;
    use crate::{Engine, ErrorKind, Fold, Lane, Lent, Rule, Slot};

    /// In a slot they take 320, 0 and 128 elements: more than is filled at a time.
    pub(crate) const LENGTHS: [usize; 3] = [300, 0, 65];

    /// Descends, counts its steps in every lane from 1.5, and sums theta up from 2.
    #[derive(Clone, Debug)]
    pub(crate) struct Counting {
        pub(crate) lr: f64,
    }

    impl Rule for Counting {
        const NAME: &'static str = "counting";
        const SLOTS: usize = 2;
        const CARRIED: usize = 3;

        fn slot(&self, k: usize) -> Slot {
            let count = Slot {
                name: "count",
                start: 1.5,
            };
            [Slot::zero("last"), count][k]
        }

        fn carried(&self, k: usize) -> Slot {
            let sum = Slot {
                name: "sum",
                start: 2.0,
            };
            [Slot::zero("first"), sum, Slot::zero("third")][k]
        }

        fn check(&self) -> Result<(), Invalid> {
            positive("lr", self.lr)
        }

        fn step<E: Engine>(&self, _: u64, e: &mut E) {
            use crate::Real;
            let (lr, before) = (e.uniform(self.lr), e.carried::<1>());
            let [sum] = e.pass([Fold::SUM], |x: Lane<E::Real, 2>| {
                let theta = x.theta - lr * x.grad;
                let slot = [x.theta, x.slot[1] + E::Real::lit(1.0)];
                (Lane { theta, slot, ..x }, [theta])
            });
            e.carry::<1>(before + sum);
        }
    }

    /// An optimizer of tensors of [`LENGTHS`], their parameters, all 1, and their gradients, all 2.
    pub(crate) struct Training<'m> {
        pub(crate) backend: Planned<'m>,
        pub(crate) optimizer: Optimizer<Counting, Planned<'m>>,
        pub(crate) theta: [std::vec::Vec<f32>; 3],
    }

    impl<'m> Training<'m> {
        pub(crate) fn new(memory: &'m mut [f32]) -> Self {
            let mut backend = Planned::new(memory);
            let rule = Counting { lr: 0.25 };
            Training {
                optimizer: Optimizer::new(rule, &mut backend, &LENGTHS).unwrap(),
                backend,
                theta: LENGTHS.map(|len| std::vec![1.0; len]),
            }
        }

        pub(crate) fn step(&mut self) -> Result<(), ErrorKind> {
            let mut theta = self.theta.each_mut().map(|x| &mut x[..]);
            let grad = LENGTHS.map(|len| std::vec![2.0; len]);
            let grad = grad.each_ref().map(|x| &x[..]);
            self.optimizer.step(&mut self.backend, &mut theta, &grad)
        }
    }

    #[test]
    fn state_begins_as_the_rule_says_and_a_step_goes_on_from_there() {
        let mut memory = [9.0; 1000];
        let mut training = Training::new(&mut memory);
        let elements = ranges(LENGTHS.into_iter()).last().unwrap().start + 2 * ALIGN;
        let optimizer = &training.optimizer;
        assert_eq!(optimizer.slot(0).unwrap(), std::vec![0.0; elements]);
        assert_eq!(optimizer.slot(1).unwrap(), std::vec![1.5; elements]);
        assert!(optimizer.slot(2).is_none());
        assert_eq!(optimizer.carried(), [0.0, 2.0, 0.0].repeat(3));
        assert_eq!((optimizer.steps(), optimizer.phase()), (0, Phase::Ready));
        assert_eq!(optimizer.state_bytes(), (2 * elements + 9) * 4);

        training.step().unwrap();
        training.optimizer.rule_mut().lr = 0.5;
        training.step().unwrap();
        let optimizer = &training.optimizer;
        assert_eq!(optimizer.rule().lr, 0.5);
        assert_eq!((optimizer.steps(), optimizer.phase()), (2, Phase::Ready));
        for (theta, range) in training.theta.iter().zip(ranges(LENGTHS.into_iter())) {
            assert!(theta.iter().all(|&x| x == -0.5));
            assert!(
                optimizer.slot(0).unwrap()[range.clone()]
                    .iter()
                    .all(|&x| x == 0.5)
            );
            assert!(optimizer.slot(1).unwrap()[range].iter().all(|&x| x == 3.5));
        }
        // After the first step every theta is 0.5, after the second -0.5.
        assert_eq!(optimizer.carried(), [0.0, 2.0, 0.0].repeat(3));
        let shown = format!("{optimizer:?}");
        assert!(
            shown.contains("lr: 0.5") && shown.contains("steps: 2"),
            "{shown}"
        );
    }

    #[test]
    fn other_tensors_than_those_of_the_start_are_refused() {
        let mut memory = [0.0; 1000];
        let mut training = Training::new(&mut memory);
        let numbers = [1.0f32; 300];
        let mut refused = |theta: &[usize], grad: &[usize]| {
            let mut theta: std::vec::Vec<_> =
                theta.iter().map(|&len| std::vec![1.0f32; len]).collect();
            let mut theta: std::vec::Vec<_> = theta.iter_mut().map(|x| &mut x[..]).collect();
            let grad: std::vec::Vec<_> = grad.iter().map(|&len| &numbers[..len]).collect();
            let optimizer = &mut training.optimizer;
            match optimizer.step(&mut training.backend, &mut theta, &grad) {
                Err(ErrorKind::Length(mismatch)) => {
                    assert_eq!((optimizer.steps(), optimizer.phase()), (0, Phase::Ready));
                    let Mismatch {
                        what,
                        tensor,
                        expected,
                        got,
                    } = mismatch;
                    (what, tensor, expected, got)
                }
                other => panic!("{other:?}"),
            }
        };
        let lengths = [300, 0, 65];
        assert_eq!(
            refused(&[300, 0], &lengths),
            ("the list of thetas", 0, 3, 2)
        );
        assert_eq!(refused(&lengths, &[300, 0]), ("the list of grads", 0, 3, 2));
        assert_eq!(refused(&lengths, &[300, 0, 64]), ("grad", 2, 65, 64));
        let state = "the state for all thetas, up";
        assert_eq!(refused(&[300, 0, 64], &[300, 0, 64]), (state, 3, 448, 384));
        // As much state, but not in these places.
        assert_eq!(refused(&[65, 0, 300], &[65, 0, 300]), (state, 3, 448, 448));
        assert_eq!(refused(&[299, 0, 65], &[299, 0, 65]), (state, 3, 448, 448));
        training.step().unwrap();
    }

    #[test]
    fn a_hyper_parameter_out_of_its_range_is_refused_before_anything_is_written() {
        let mut memory = [0.0; 1000];
        let lr = Invalid {
            name: "lr",
            must: "be positive and finite",
            value: -1.0,
        };
        let refused = Optimizer::new(Counting { lr: -1.0 }, &mut Planned::new(&mut memory), &[1]);
        assert_eq!(refused.unwrap_err(), ErrorKind::Config(lr));

        let mut training = Training::new(&mut memory);
        training.optimizer.rule_mut().lr = -1.0;
        assert_eq!(training.step(), Err(ErrorKind::Config(lr)));
        assert!(training.theta.iter().flatten().all(|&x| x == 1.0));
        assert_eq!(training.optimizer.phase(), Phase::Ready);
        training.optimizer.rule_mut().lr = 0.25;
        assert_eq!(training.step(), Ok(()));
    }

    #[test]
    fn a_step_that_fails_half_way_leaves_the_optimizer_torn() {
        let mut memory = [0.0; 1000];
        let mut training = Training::new(&mut memory);
        training.backend.fault = Some(ErrorKind::DeviceLost);
        assert_eq!(training.step(), Err(ErrorKind::DeviceLost));
        let after = (training.optimizer.steps(), training.optimizer.phase());
        assert_eq!(after, (0, Phase::Torn));
        training.backend.fault = None;
        assert_eq!(training.step(), Err(ErrorKind::Torn));
        assert!(training.theta.iter().flatten().all(|&x| x == 1.0));
    }

    /// Reaches for a carried scalar that it did not announce.
    struct Greedy;

    impl Rule for Greedy {
        const NAME: &'static str = "greedy";
        const SLOTS: usize = 0;
        const CARRIED: usize = 0;

        fn check(&self) -> Result<(), Invalid> {
            Ok(())
        }

        fn step<E: Engine>(&self, _: u64, e: &mut E) {
            let x = e.carried_at(0);
            e.map(|lane: Lane<E::Real, 0>| lane.moved(x));
        }
    }

    #[test]
    fn a_rule_that_no_plan_can_hold_is_refused_and_nothing_is_torn() {
        fn refused<B: crate::Backend<Tensor = [f32]>>(mut backend: B)
        where
            B::Error: PartialEq,
        {
            let mut optimizer = Optimizer::new(Greedy, &mut backend, &[1]).unwrap();
            let mut theta = [1.0];
            let refused = optimizer.step(&mut backend, &mut [&mut theta], &[&[1.0]]);
            let misfit = crate::plan::Misfit::TooMany("carried scalars", 0);
            assert_eq!(refused, Err(ErrorKind::Plan(misfit).into()));
            assert_eq!((optimizer.phase(), theta), (Phase::Ready, [1.0]));
        }
        let (mut a, mut b) = ([0.0; 10], [0.0; 10]);
        refused(Planned::new(&mut a));
        refused(Lent::new(&mut b));
    }

    #[test]
    fn a_step_that_has_begun_is_torn_until_it_ends_well() {
        let mut memory = [0.0f32; 128];
        let mut lent = Lent::new(&mut memory);
        let mut optimizer = Optimizer::new(crate::AdaRem::default(), &mut lent, &[2]).unwrap();
        let lengths = || [2].into_iter();
        let mismatch = crate::Mismatch {
            what: "params",
            tensor: 0,
            expected: 2,
            got: 3,
        };
        for (t, result, phase, steps) in [
            (0, Ok(()), Phase::Ready, 1),
            (1, Err(ErrorKind::from(mismatch)), Phase::Ready, 1),
            (1, Ok(()), Phase::Ready, 2),
            (2, Err(ErrorKind::DeviceLost), Phase::Torn, 2),
        ] {
            let turn = optimizer.begin(lengths(), lengths()).unwrap();
            assert_eq!((turn.t, turn.slots.len()), (t, 1));
            assert_eq!(turn.end(result), result);
            assert_eq!((optimizer.phase(), optimizer.steps()), (phase, steps));
        }
        assert!(optimizer.begin(lengths(), lengths()).is_err());

        optimizer.set(2, Phase::Ready);
        assert!(optimizer.begin(lengths(), [3].into_iter()).is_err());
        assert_eq!(optimizer.phase(), Phase::Ready);
        drop(optimizer.begin(lengths(), lengths()));
        assert_eq!((optimizer.phase(), optimizer.steps()), (Phase::Torn, 2));
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        for (text, hash) in [
            ("", 0xcbf2_9ce4_8422_2325),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] {
            let mut fnv = Fnv::new();
            fnv.write(text.as_bytes());
            assert_eq!(fnv.0, hash, "{text}");
        }
    }
}
