//! [`Lent`]: a backend without heap, threads or `std`, in memory that the caller lends.

use core::{array, mem};

use crate::backend::{ALIGN, Backend, Batch, copy_in, copy_out};
use crate::error::ErrorKind;
use crate::fold::{Accumulators, CHUNK, Fold, FoldOp, Scope};
use crate::host::{Lanes, seen};
use crate::plan::{MAX_FOLDS, MAX_OPS, MAX_PASSES, Misfit, Op, Plan};
use crate::real::{Element, Real};
use crate::rule::{Engine, Lane, MAX_CARRIED, MAX_SLOTS, Rewrite, Rule, View};

/// The host's slices as a [`Backend`], for machines without a heap: state lies in memory that the caller
/// lends, so an [`Optimizer`](crate::Optimizer), its groups and its checkpoints work on a microcontroller.
///
/// The bits are those of [`Host`](crate::Host). For one tensor and no checkpoint, `Host` is smaller.
///
/// ```
/// use adarem::{AdaRem, Lent, Optimizer};
///
/// let (mut weight, mut bias) = ([0.5f32; 6], [0.0; 2]);
/// let rule = AdaRem::default();
/// let mut memory = [0.0f32; 192];
/// assert!(Lent::<f32>::elements(&rule, &[6, 2]).unwrap() <= memory.len());
///
/// let mut lent = Lent::new(&mut memory);
/// let mut optimizer = Optimizer::new(rule, &mut lent, &[6, 2])?;
/// optimizer.step(&mut lent, &mut [&mut weight, &mut bias], &[&[0.1; 6], &[-0.2; 2]])?;
/// assert!(bias.iter().all(|x| (x - 0.02).abs() < 1e-6));
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
#[derive(Debug)]
pub struct Lent<'m, T> {
    free: &'m mut [T],
}

impl<'m, T: Element> Lent<'m, T> {
    /// A backend that takes what it needs from the front of `memory`, and keeps it.
    pub fn new(memory: &'m mut [T]) -> Self {
        Lent { free: memory }
    }

    /// How many elements an optimizer takes for tensors of these lengths: its state, and what a step needs
    /// beside it for folds over the group. `None` where they cannot be counted.
    pub fn elements<R: Rule>(rule: &R, lengths: &[usize]) -> Option<usize> {
        let mut lanes = 0usize;
        for len in lengths {
            lanes = lanes.checked_add(len.checked_next_multiple_of(ALIGN)?)?;
        }
        let state = lanes.checked_mul(R::SLOTS)?;
        let carried = lengths.len().checked_mul(R::CARRIED)?;
        // The first step may fold more than the later ones, as AdaRem-S does.
        let results = |t| Turn::<T>::survey(|turn| rule.step(t, turn)).results(lengths.len());
        let results = results(0)?.max(results(1)?);
        state.checked_add(carried)?.checked_add(results)
    }

    /// Carries out `step` for every tensor of the batch.
    ///
    /// A fold over the group is known when all tensors have made its pass. So the step is begun anew after
    /// each such pass: passes already made are answered with what they folded, those after the next such
    /// pass wait.
    fn rounds(
        &mut self,
        batch: Batch<'_, '_, Self>,
        carried: usize,
        step: impl Fn(&mut Turn<'_, T>),
    ) -> Result<(), ErrorKind> {
        let survey = Turn::survey(&step);
        if survey.slots > batch.slots.len() {
            return Err(Misfit::TooMany("slots", batch.slots.len()).into());
        }
        if survey.carried > carried {
            return Err(Misfit::TooMany("carried scalars", carried).into());
        }
        let needed = survey
            .results(batch.theta.len())
            .ok_or(ErrorKind::OutOfMemory)?;
        let results = self.free.get_mut(..needed).ok_or(ErrorKind::OutOfMemory)?;
        let stride = if needed == 0 { 0 } else { survey.folds };
        let alone = batch.theta.len() == 1;
        let mut made = 0;
        loop {
            let mut group = None;
            let mut start = 0usize;
            let mut results_left = &mut *results;
            let mut carried_left = &mut **batch.carried;
            for (theta, grad) in batch.theta.iter_mut().zip(batch.grad) {
                let end = start.saturating_add(theta.len());
                let mut slots = batch.slots.iter_mut();
                let mut turn = Turn {
                    slots: array::from_fn(|_| {
                        let slot = slots.next().and_then(|slot| slot.get_mut(start..end));
                        slot.unwrap_or_default()
                    }),
                    theta,
                    grad,
                    found: [T::zero(); MAX_CARRIED],
                    carried: take(&mut carried_left, carried),
                    results: take(&mut results_left, stride),
                    alone,
                    made,
                    passes: 0,
                    folds: 0,
                    slots_used: 0,
                    carried_used: 0,
                    group: None,
                    waits: false,
                };
                for (found, carried) in turn.found.iter_mut().zip(turn.carried.iter()) {
                    *found = *carried;
                }
                step(&mut turn);
                group = turn.group;
                start = end.checked_next_multiple_of(ALIGN).unwrap_or(end);
            }
            let Some(reached) = group else { return Ok(()) };
            reached.combine(results, stride);
            made = reached.pass.saturating_add(1);
        }
    }
}

impl<'m, T: Element> Backend for Lent<'m, T> {
    type Elem = T;
    type Tensor = [T];
    type Memory = &'m mut [T];
    type Error = ErrorKind;

    fn zeros(&mut self, len: usize) -> Result<&'m mut [T], ErrorKind> {
        if len > self.free.len() {
            return Err(ErrorKind::OutOfMemory);
        }
        let memory = take(&mut self.free, len);
        memory.fill(T::zero());
        Ok(memory)
    }

    fn write(&mut self, to: &mut [T], at: usize, from: &[T]) -> Result<(), ErrorKind> {
        copy_in(to, at, from)
    }

    fn read(&mut self, from: &[T], at: usize, to: &mut [T]) -> Result<(), ErrorKind> {
        copy_out(from, at, to)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }

    fn run(
        &mut self,
        plan: &Plan,
        uniforms: &[f64],
        batch: Batch<'_, '_, Self>,
    ) -> Result<(), ErrorKind> {
        self.rounds(batch, plan.carried(), |turn| turn.walk(plan, uniforms))
    }

    fn step<R: Rule>(
        &mut self,
        rule: &R,
        t: u64,
        batch: Batch<'_, '_, Self>,
    ) -> Result<(), ErrorKind> {
        self.rounds(batch, R::CARRIED, |turn| rule.step(t, turn))
    }
}

/// Takes the first `count` elements off a slice, all where there are fewer.
fn take<'a, T>(slice: &mut &'a mut [T], count: usize) -> &'a mut [T] {
    let count = count.min(slice.len());
    let (head, rest) = mem::take(slice)
        .split_at_mut_checked(count)
        .unwrap_or_default();
    *slice = rest;
    head
}

/// One tensor's turn in a round.
struct Turn<'a, T> {
    theta: &'a mut [T],
    grad: &'a [T],
    slots: [&'a mut [T]; MAX_SLOTS],
    /// The carried scalars as the step found them.
    found: [T; MAX_CARRIED],
    carried: &'a mut [T],
    /// What this tensor's passes have folded, one after the other; empty where no fold is the group's.
    results: &'a mut [T],
    /// Whether this tensor is the whole group.
    alone: bool,
    /// Passes made in the rounds before.
    made: usize,
    /// Passes and folds that this round has come to.
    passes: usize,
    folds: usize,
    /// How many slots and carried scalars it has used.
    slots_used: usize,
    carried_used: usize,
    /// The pass of this round whose folds are the group's.
    group: Option<GroupFolds>,
    /// Whether passes must wait for the next round.
    waits: bool,
}

/// A pass that ends a round, and which of its folds are the group's.
#[derive(Clone, Copy)]
struct GroupFolds {
    pass: usize,
    /// The place of its first fold among all folds of the step.
    first: usize,
    ops: [Option<FoldOp>; MAX_FOLDS],
}

impl GroupFolds {
    /// Folds the tensors' results, in order, and gives each tensor what comes of it.
    fn combine<T: Element>(&self, results: &mut [T], stride: usize) {
        for (place, op) in (self.first..).zip(self.ops) {
            let Some(op) = op else { continue };
            let mut group = Accumulators::new(op);
            for &result in results.iter().skip(place).step_by(stride.max(1)) {
                group.push(result);
            }
            let folded = group.finish();
            for result in results.iter_mut().skip(place).step_by(stride.max(1)) {
                *result = folded;
            }
        }
    }
}

impl<'a, T: Element> Turn<'a, T> {
    /// A turn without a tensor, to see what `step` folds.
    fn survey(step: impl FnOnce(&mut Turn<'_, T>)) -> Survey {
        let mut turn = Turn {
            theta: &mut [],
            grad: &[],
            slots: array::from_fn(|_| Default::default()),
            found: [T::zero(); MAX_CARRIED],
            carried: &mut [],
            results: &mut [],
            alone: false,
            made: 0,
            passes: 0,
            folds: 0,
            slots_used: 0,
            carried_used: 0,
            group: None,
            waits: false,
        };
        step(&mut turn);
        Survey {
            folds: turn.folds,
            grouped: turn.group.is_some(),
            slots: turn.slots_used,
            carried: turn.carried_used,
        }
    }

    /// Makes a pass with `run`, or answers with what it folded, or lets it wait.
    fn make<const K: usize>(
        &mut self,
        folds: &[Fold],
        run: impl FnOnce(&mut Self) -> [T; K],
    ) -> [T; K] {
        let (pass, first) = (self.passes, self.folds);
        self.passes = pass.saturating_add(1);
        self.folds = first.saturating_add(folds.len());
        if self.waits {
            return [T::zero(); K];
        }
        if pass < self.made {
            let mut folded = [T::zero(); K];
            for (folded, result) in folded.iter_mut().zip(self.results.iter().skip(first)) {
                *folded = *result;
            }
            return folded;
        }
        let folded = run(self);
        for (result, x) in self.results.iter_mut().skip(first).zip(folded) {
            *result = x;
        }
        if !self.alone && folds.iter().any(|fold| fold.scope == Scope::Group) {
            let mut ops = [None; MAX_FOLDS];
            for (op, fold) in ops.iter_mut().zip(folds) {
                *op = (fold.scope == Scope::Group).then_some(fold.op);
            }
            self.group = Some(GroupFolds { pass, first, ops });
            self.waits = true;
        }
        folded
    }

    fn set_carried(&mut self, k: usize, x: T) {
        if self.waits {
            return;
        }
        if let Some(carried) = self.carried.get_mut(k) {
            *carried = x;
        }
    }

    /// Runs a plan, op by op.
    fn walk(&mut self, plan: &Plan, uniforms: &[f64]) {
        let mut values = [T::zero(); MAX_OPS];
        let mut folded = [[T::zero(); MAX_FOLDS]; MAX_PASSES];
        for (p, pass) in plan.passes().iter().enumerate() {
            let mut folds = [Fold::SUM; MAX_FOLDS];
            for (to, (fold, _)) in folds.iter_mut().zip(pass.folds()) {
                *to = *fold;
            }
            let folds = folds.get(..pass.folds().len()).unwrap_or_default();
            let uniform = |k: u8| {
                let x = uniforms.get(usize::from(k)).copied();
                T::lit(x.unwrap_or(f64::NAN))
            };
            let results = self.make(folds, |turn| turn.walk_lanes(plan, p, &mut values, uniform));
            if let Some(folded) = folded.get_mut(p) {
                *folded = results;
            }
            let found = self.found;
            plan.eval(&plan.scalar_ops(p), &mut values, |op| match op {
                Op::Uniform(k) => uniform(k),
                Op::Carried(k) => found.get(usize::from(k)).copied().unwrap_or(T::zero()),
                Op::Folded(p, k) => {
                    let folded = folded
                        .get(usize::from(p))
                        .and_then(|f| f.get(usize::from(k)));
                    folded.copied().unwrap_or(T::zero())
                }
                _ => T::zero(),
            });
            for (k, id) in plan.carries(p) {
                let x = values.get(usize::from(id)).copied();
                self.set_carried(k, x.unwrap_or(T::zero()));
            }
        }
    }

    /// Pass `p` of a plan over all lanes; what it folds.
    fn walk_lanes(
        &mut self,
        plan: &Plan,
        p: usize,
        values: &mut [T; MAX_OPS],
        uniform: impl Fn(u8) -> T,
    ) -> [T; MAX_FOLDS] {
        let Some(pass) = plan.passes().get(p) else {
            return [T::zero(); MAX_FOLDS];
        };
        let op = |k: usize| pass.folds().get(k).map_or(FoldOp::Sum, |(fold, _)| fold.op);
        let ops = plan.lane_ops(p);
        let mut partials: [_; MAX_FOLDS] = array::from_fn(|k| Accumulators::new(op(k)));
        let len = self.theta.len();
        for start in (0..len).step_by(CHUNK) {
            let mut acc: [_; MAX_FOLDS] = array::from_fn(|k| Accumulators::new(op(k)));
            for i in start..len.min(start.saturating_add(CHUNK)) {
                let at = |from: &[T]| from.get(i).copied().unwrap_or(T::zero());
                plan.eval(&ops, values, |op| match op {
                    Op::Theta(_) => at(self.theta),
                    Op::Grad(_) => at(self.grad),
                    Op::Slot(_, k) => self.slots.get(usize::from(k)).map_or(T::zero(), |s| at(s)),
                    Op::Uniform(k) => uniform(k),
                    Op::Carried(k) => {
                        let found = self.found.get(usize::from(k));
                        found.copied().unwrap_or(T::zero())
                    }
                    _ => T::zero(),
                });
                let value = |id| values.get(usize::from(id)).copied().unwrap_or(T::zero());
                if let (Some(id), Some(theta)) = (pass.theta(), self.theta.get_mut(i)) {
                    *theta = value(id);
                }
                for (k, slot) in self.slots.iter_mut().enumerate() {
                    if let (Some(id), Some(x)) = (pass.slot(k), slot.get_mut(i)) {
                        *x = value(id);
                    }
                }
                for (acc, (_, id)) in acc.iter_mut().zip(pass.folds()) {
                    acc.push(value(*id));
                }
            }
            for (partial, acc) in partials.iter_mut().zip(acc) {
                partial.push(acc.finish());
            }
        }
        partials.map(Accumulators::finish)
    }
}

impl<T: Element> Engine for Turn<'_, T> {
    type Real = T;
    const SLOTS: usize = MAX_SLOTS;
    const CARRIED: usize = MAX_CARRIED;

    #[inline(always)]
    fn uniform(&mut self, x: f64) -> T {
        T::lit(x)
    }

    #[inline(always)]
    fn carried_at(&mut self, k: usize) -> T {
        self.carried_used = self.carried_used.max(k.saturating_add(1));
        self.found.get(k).copied().unwrap_or(T::zero())
    }

    #[inline(always)]
    fn carry_at(&mut self, k: usize, x: T) {
        self.carried_used = self.carried_used.max(k.saturating_add(1));
        self.set_carried(k, x);
    }

    #[inline(always)]
    fn pass_at<const S: usize, const K: usize, W: Rewrite<T, S>>(
        &mut self,
        view: impl Into<View>,
        folds: [Fold; K],
        f: impl Fn(Lane<T, S>) -> (W, [T; K]),
    ) -> [T; K] {
        let view = view.into();
        self.slots_used = self.slots_used.max(view.end::<S>());
        self.make(&folds, |turn| {
            match Lanes::new(turn.theta, turn.grad, seen(&mut turn.slots, view)) {
                Ok(lanes) => lanes.pass(folds, &f),
                // The optimizer has compared the lengths, and the state is cut to them.
                Err(_) => [T::zero(); K],
            }
        })
    }
}

/// What a step folds.
struct Survey {
    folds: usize,
    grouped: bool,
    slots: usize,
    carried: usize,
}

impl Survey {
    /// How many results must be kept between the rounds of a step.
    fn results(&self, tensors: usize) -> Option<usize> {
        if self.grouped && tensors > 1 {
            self.folds.checked_mul(tensors)
        } else {
            Some(0)
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::Lent;
    use crate::rules::{EachRule, for_each};
    use crate::{
        Backend, Batch, Engine, ErrorKind, Fold, Host, Lane, Optimizer, Rule, Scope, Setting,
    };
    use crate::{Invalid, MAX_CARRIED, Mismatch, Tunable, plan::Misfit};

    const LENGTHS: [usize; 4] = [3, 0, 4100, 65];

    fn tensors() -> [std::vec::Vec<f32>; 4] {
        LENGTHS.map(|len| {
            (0..len)
                .map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.03)
                .collect()
        })
    }

    /// Steps by the rule itself and by its plan; theta after each must be the same.
    fn natively_and_planned<R: Rule + Clone>(rule: &R) -> [std::vec::Vec<f32>; 4] {
        let elements = Lent::<f32>::elements(rule, &LENGTHS).unwrap();
        let (mut native, mut planned) = (std::vec![0.0; elements], std::vec![0.0; elements]);
        let mut native = Lent::new(&mut native);
        let mut optimizer = Optimizer::new(rule.clone(), &mut native, &LENGTHS).unwrap();
        let mut planned = Planned::new(&mut planned);
        let mut other = Optimizer::new(rule.clone(), &mut planned, &LENGTHS).unwrap();
        let (mut theta, mut same) = (tensors(), tensors());
        for t in 0..2 {
            let grad = tensors().map(|g| {
                g.iter()
                    .map(|x| x * (t as f32 - 0.5))
                    .collect::<std::vec::Vec<_>>()
            });
            let grad = grad.each_ref().map(|g| &g[..]);
            optimizer
                .step(
                    &mut native,
                    &mut theta.each_mut().map(|x| &mut x[..]),
                    &grad,
                )
                .unwrap();
            other
                .step(
                    &mut planned,
                    &mut same.each_mut().map(|x| &mut x[..]),
                    &grad,
                )
                .unwrap();
        }
        for (a, b) in theta.iter().flatten().zip(same.iter().flatten()) {
            assert_eq!(a.to_bits(), b.to_bits(), "{}", R::NAME);
        }
        theta
    }

    /// A backend that runs plans only, and fails where it is told to.
    pub(crate) struct Planned<'m> {
        lent: Lent<'m, f32>,
        /// What every call that may fail comes to, while it is set.
        pub(crate) fault: Option<ErrorKind>,
    }

    impl<'m> Planned<'m> {
        pub(crate) fn new(memory: &'m mut [f32]) -> Self {
            Planned {
                lent: Lent::new(memory),
                fault: None,
            }
        }

        fn fault(&self) -> Result<(), ErrorKind> {
            self.fault.map_or(Ok(()), Err)
        }
    }

    impl<'m> Backend for Planned<'m> {
        type Elem = f32;
        type Tensor = [f32];
        type Memory = &'m mut [f32];
        type Error = ErrorKind;

        fn zeros(&mut self, len: usize) -> Result<&'m mut [f32], ErrorKind> {
            self.fault()?;
            self.lent.zeros(len)
        }

        fn write(&mut self, to: &mut [f32], at: usize, from: &[f32]) -> Result<(), ErrorKind> {
            self.fault()?;
            self.lent.write(to, at, from)
        }

        fn read(&mut self, from: &[f32], at: usize, to: &mut [f32]) -> Result<(), ErrorKind> {
            self.fault()?;
            self.lent.read(from, at, to)
        }

        fn flush(&mut self) -> Result<(), ErrorKind> {
            self.lent.flush()
        }

        fn run(
            &mut self,
            plan: &crate::Plan,
            uniforms: &[f64],
            batch: Batch<'_, '_, Self>,
        ) -> Result<(), ErrorKind> {
            self.fault()?;
            let Batch {
                theta,
                grad,
                slots,
                carried,
            } = batch;
            self.lent.run(
                plan,
                uniforms,
                Batch {
                    theta,
                    grad,
                    slots,
                    carried,
                },
            )
        }
    }

    #[test]
    fn every_rule_and_its_plan_agree_over_tensors() {
        struct Each;
        impl EachRule for Each {
            fn rule<R: Tunable + Default + Clone>(&mut self) {
                natively_and_planned(&R::default());
            }
        }
        for_each(&mut Each);
    }

    #[test]
    fn every_rule_and_its_plan_agree_over_groups() {
        struct Each;
        impl EachRule for Each {
            fn rule<R: Tunable + Default + Clone>(&mut self) {
                let mut rule = R::default();
                rule.settings(&mut |_, setting| match setting {
                    Setting::Scope(scope) => *scope = Scope::Group,
                    Setting::Number(x) if *x == 0.0 => *x = 0.01,
                    _ => {}
                });
                if rule.check().is_ok() {
                    natively_and_planned(&rule);
                }
            }
        }
        for_each(&mut Each);
    }

    #[test]
    fn one_tensor_has_the_bits_of_host() {
        struct Each;
        impl EachRule for Each {
            fn rule<R: Tunable + Default + Clone>(&mut self) {
                let (rule, theta) = (R::default(), tensors());
                let grad = &theta[2];
                let mut memory = std::vec![0.0; Lent::<f32>::elements(&rule, &[4100]).unwrap()];
                let mut lent = Lent::new(&mut memory);
                let mut optimizer = Optimizer::new(rule.clone(), &mut lent, &[4100]).unwrap();
                let (mut a, mut b) = (grad.clone(), grad.clone());
                let mut slots: [_; crate::MAX_SLOTS] = core::array::from_fn(|k| {
                    let start = if k < R::SLOTS {
                        rule.slot(k).start
                    } else {
                        0.0
                    };
                    std::vec![start as f32; 4100]
                });
                let mut carried = [0.0; MAX_CARRIED];
                for (k, x) in carried.iter_mut().enumerate().take(R::CARRIED) {
                    *x = rule.carried(k).start as f32;
                }
                for t in 0..2 {
                    optimizer.step(&mut lent, &mut [&mut a], &[grad]).unwrap();
                    let slots = slots.each_mut().map(|s| &mut s[..]);
                    rule.step(
                        t,
                        &mut Host::new(&mut b, grad, slots, &mut carried).unwrap(),
                    );
                }
                assert!(
                    a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits()),
                    "{}",
                    R::NAME
                );
            }
        }
        for_each(&mut Each);
    }

    /// Divides by the largest gradient of the group, then by the sum of squares over the group.
    #[derive(Clone)]
    struct TwoGroups;

    impl Rule for TwoGroups {
        const NAME: &'static str = "two_groups";
        const SLOTS: usize = 0;
        const CARRIED: usize = 1;

        fn check(&self) -> Result<(), Invalid> {
            Ok(())
        }

        fn step<E: Engine>(&self, _: u64, e: &mut E) {
            let before = e.carried::<0>();
            let [own] = e.pass([Fold::SUM], |x: Lane<_, 0>| ([], [x.grad]));
            let [largest] = e.pass([Fold::MAX_ABS.over_group()], |x: Lane<_, 0>| ([], [x.grad]));
            let [sum] = e.pass([Fold::SUM.over_group()], |x: Lane<_, 0>| {
                let theta = x.theta - x.grad / largest;
                (Lane { theta, ..x }, [theta * theta])
            });
            e.map(|x: Lane<_, 0>| x.moved(x.theta / sum + own));
            e.carry::<0>(before + sum);
        }
    }

    #[test]
    fn a_step_may_fold_over_the_group_twice() {
        natively_and_planned(&TwoGroups);
        let mut memory = [0.0f32; 8];
        assert_eq!(Lent::<f32>::elements(&TwoGroups, &[1, 2]), Some(2 + 6));
        let mut lent = Lent::new(&mut memory);
        let mut optimizer = Optimizer::new(TwoGroups, &mut lent, &[1, 2]).unwrap();
        let (mut a, mut b) = ([1.0f32], [1.0f32, 3.0]);
        optimizer
            .step(&mut lent, &mut [&mut a, &mut b], &[&[2.0], &[1.0, 1.0]])
            .unwrap();
        // largest = 2; theta = 0, 0.5, 2.5; sum = 6.5; own = 2, 2.
        assert_eq!(a, [2.0]);
        assert_eq!(b, [0.5 / 6.5 + 2.0, 2.5 / 6.5 + 2.0]);
        assert_eq!(optimizer.carried(), [6.5, 6.5]);
    }

    #[test]
    fn memory_that_is_just_enough_is_enough() {
        // Folds of a tensor are known at once; and of one tensor those of its group are its own.
        let adarem = crate::AdaRem::default();
        assert_eq!(Lent::<f64>::elements(&adarem, &[6, 2]), Some(2 * 64 + 2));
        assert_eq!(Lent::<f64>::elements(&TwoGroups, &[2]), Some(1));
        let mut memory = [9.0; 1];
        let mut lent = Lent::new(&mut memory);
        let mut optimizer = Optimizer::new(TwoGroups, &mut lent, &[2]).unwrap();
        let mut theta = [1.0, 3.0];
        optimizer
            .step(&mut lent, &mut [&mut theta], &[&[2.0, 1.0]])
            .unwrap();
        // largest = 2; theta = 0, 2.5; sum = 6.25; own = 3.
        assert_eq!((theta, optimizer.carried()), ([3.0, 3.4], &[6.25][..]));
        assert_eq!(lent.zeros(1).unwrap_err(), ErrorKind::OutOfMemory);
        assert!(lent.zeros(0).unwrap().is_empty());

        let mut memory = std::vec![9.0f32; Lent::<f32>::elements(&TwoGroups, &[1, 2]).unwrap() - 1];
        let mut lent = Lent::new(&mut memory);
        let mut optimizer = Optimizer::new(TwoGroups, &mut lent, &[1, 2]).unwrap();
        let (mut a, mut b) = ([1.0], [1.0, 3.0]);
        let refused = optimizer.step(&mut lent, &mut [&mut a, &mut b], &[&[2.0], &[1.0; 2]]);
        assert_eq!(refused, Err(ErrorKind::OutOfMemory));
        assert_eq!((a, b), ([1.0], [1.0, 3.0]));
    }

    #[test]
    fn what_is_copied_must_lie_inside() {
        let mut memory = [0.0f32; 4];
        let mut lent = Lent::new(&mut memory);
        let tensor = lent.zeros(4).unwrap();
        let mut numbers = [7.0; 2];
        assert_eq!(lent.write(tensor, 2, &[1.0, 2.0]), Ok(()));
        assert_eq!(lent.read(tensor, 1, &mut numbers), Ok(()));
        assert_eq!((&*tensor, numbers), (&[0.0, 0.0, 1.0, 2.0][..], [0.0, 1.0]));
        let refused = |what, got| {
            Err(ErrorKind::Length(Mismatch {
                what,
                tensor: 0,
                expected: 2,
                got,
            }))
        };
        assert_eq!(
            lent.write(tensor, 3, &[1.0; 2]),
            refused("the part to write", 1)
        );
        assert_eq!(
            lent.read(tensor, 9, &mut numbers),
            refused("the part to read", 0)
        );
        assert_eq!((&*tensor, numbers), (&[0.0, 0.0, 1.0, 2.0][..], [0.0, 1.0]));
    }

    /// Reaches for one slot and one carried scalar.
    struct Reaching<const SLOTS: usize, const CARRIED: usize>;

    impl<const SLOTS: usize, const CARRIED: usize> Rule for Reaching<SLOTS, CARRIED> {
        const NAME: &'static str = "reaching";
        const SLOTS: usize = SLOTS;
        const CARRIED: usize = CARRIED;

        fn check(&self) -> Result<(), Invalid> {
            Ok(())
        }

        fn step<E: Engine>(&self, _: u64, e: &mut E) {
            let before = e.carried_at(0);
            e.pass_at(0, [], |x: Lane<E::Real, 1>| {
                let slot = [x.slot[0] + x.grad];
                (Lane { slot, ..x }, [])
            });
            e.carry_at(0, before);
        }
    }

    #[test]
    fn a_rule_that_reaches_for_more_than_it_announced_is_refused() {
        fn step<const SLOTS: usize, const CARRIED: usize>() -> Result<(), ErrorKind> {
            let mut memory = [0.0f32; 200];
            let mut lent = Lent::new(&mut memory);
            let mut optimizer =
                Optimizer::new(Reaching::<SLOTS, CARRIED>, &mut lent, &[1]).unwrap();
            optimizer.step(&mut lent, &mut [&mut [1.0]], &[&[1.0]])
        }
        let refused = |what| Err(ErrorKind::Plan(Misfit::TooMany(what, 0)));
        assert_eq!(step::<1, 1>(), Ok(()));
        assert_eq!(step::<2, 2>(), Ok(()));
        assert_eq!(step::<0, 1>(), refused("slots"));
        assert_eq!(step::<1, 0>(), refused("carried scalars"));
    }

    #[test]
    fn memory_that_is_too_small_is_refused() {
        let rule = crate::AdaRem::default();
        let elements = Lent::<f32>::elements(&rule, &[10]).unwrap();
        let mut memory = std::vec![0.0f32; elements - 1];
        let refused = Optimizer::new(rule, &mut Lent::new(&mut memory), &[10]);
        assert_eq!(refused.unwrap_err(), ErrorKind::OutOfMemory);
        assert_eq!(Lent::<f32>::elements(&rule, &[usize::MAX, 2]), None);
    }
}
