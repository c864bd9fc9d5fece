//! [`Host`]: runs a rule on slices, on any target, without heap, threads or `std`.

use crate::error::{ErrorKind, Mismatch};
use crate::fold::{Accumulators, CHUNK, Fold, FoldOp, WIDTH, halve};
use crate::half::Stored;
use crate::real::{Element, Real, VECTORS};
use crate::rule::{Engine, Lane, MAX_CARRIED, Rewrite, View, each};

/// One tensor's memory for one step: what an engine without heap hands to a rule.
///
/// `S` is the number of state vectors, `C` of carried scalars; a rule that needs more of either does not
/// compile. Before the first step they hold what [`Rule::slot`](crate::Rule::slot) and
/// [`Rule::carried`](crate::Rule::carried) say, which is zero for most rules.
///
/// ```
/// use adarem::{AdaRem, Host, Rule};
///
/// let rule = AdaRem { lr: 0.1, ..AdaRem::default() };
/// let (mut theta, mut m, mut carried) = ([3.0f32, -4.0], [0.0; 2], [0.0; AdaRem::CARRIED]);
/// for t in 0..100 {
///     let grad = theta.map(|x| 2.0 * x);
///     rule.step(t, &mut Host::new(&mut theta, &grad, [&mut m], &mut carried)?);
/// }
/// assert!(theta.iter().all(|x| x.abs() < 1e-3));
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
///
/// State may be kept in a half type `M`, and gradients and a copy of the parameters in a half type `P`: see
/// [`mixed`](Self::mixed).
#[derive(Debug)]
pub struct Host<'a, T, const S: usize, const C: usize, M = T, P = T> {
    lanes: Lanes<'a, T, S, M, P>,
    carried: &'a mut [T; C],
    /// The carried scalars as the step found them.
    found: [T; C],
}

impl<'a, T: Element, const S: usize, const C: usize> Host<'a, T, S, C> {
    /// The memory of one tensor.
    ///
    /// # Errors
    /// [`ErrorKind::Length`] unless `grad` and every slot are as long as `theta`.
    pub fn new(
        theta: &'a mut [T],
        grad: &'a [T],
        slots: [&'a mut [T]; S],
        carried: &'a mut [T; C],
    ) -> Result<Self, ErrorKind> {
        Ok(Host::of(Lanes::new(theta, grad, slots)?, carried))
    }
}

impl<'a, T: Element, const S: usize, const C: usize, M: Stored<T>, P: Stored<T>>
    Host<'a, T, S, C, M, P>
{
    /// The memory of one tensor in mixed precision. The parameters that the network computes with are `params`, and
    /// its gradients are of the same type; `master` is the copy in full that steps are taken on, so that steps too
    /// small for the type add up. Where a step rewrites it, it rewrites `params` by it, in the same trip over memory; where `P`
    /// is not a half type, `params` is not used.
    ///
    /// State is of a type of its own, and rounded to the nearest when it is stored. Take the adapters' `HalfState` around
    /// the rule where that is a half type: it rounds as it computes, so that a maximum is folded over what memory
    /// holds, and says how long an average may be.
    ///
    /// ```
    /// use adarem::{AdaRem, Bf16, Host, Rule, Stored};
    ///
    /// let (rule, start) = (AdaRem { lr: 1e-3, ..AdaRem::default() }, [1.0f32, -2.0]);
    /// let (mut master, mut params) = (start, start.map(Bf16::store));
    /// let (mut m, mut carried) = ([0.0; 2], [0.0; AdaRem::CARRIED]);
    /// for t in 0..1000 {
    ///     let grad = params.map(|x| Bf16::store(2.0 * x.to_f32()));
    ///     rule.step(t, &mut Host::mixed(&mut master, &mut params, &grad, [&mut m], &mut carried)?);
    /// }
    /// assert!(params.iter().all(|x| x.to_f32().abs() < 0.3));
    /// # Ok::<(), adarem::ErrorKind>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Length`] unless `params`, `grad` and every slot are as long as `master`.
    pub fn mixed(
        master: &'a mut [T],
        params: &'a mut [P],
        grad: &'a [P],
        slots: [&'a mut [M]; S],
        carried: &'a mut [T; C],
    ) -> Result<Self, ErrorKind> {
        Ok(Host::of(
            Lanes::mixed(master, params, grad, slots)?,
            carried,
        ))
    }

    #[inline(always)]
    fn of(lanes: Lanes<'a, T, S, M, P>, carried: &'a mut [T; C]) -> Self {
        const {
            assert!(
                C <= MAX_CARRIED,
                "a rule carries at most MAX_CARRIED scalars"
            )
        };
        let found = *carried;
        Host {
            lanes,
            carried,
            found,
        }
    }
}

impl<T: Element, const N: usize, const C: usize, M: Stored<T>, P: Stored<T>> Engine
    for Host<'_, T, N, C, M, P>
{
    type Real = T;
    const SLOTS: usize = N;
    const CARRIED: usize = C;

    #[inline(always)]
    fn uniform(&mut self, x: f64) -> T {
        T::lit(x)
    }

    #[inline(always)]
    fn carried_at(&mut self, k: usize) -> T {
        self.found.get(k).copied().unwrap_or(T::zero())
    }

    #[inline(always)]
    fn carry_at(&mut self, k: usize, x: T) {
        if let Some(carried) = self.carried.get_mut(k) {
            *carried = x;
        }
    }

    #[inline(always)]
    fn pass_at<const S: usize, const K: usize, W: Rewrite<T, S>>(
        &mut self,
        view: impl Into<View>,
        folds: [Fold; K],
        f: impl Fn(Lane<T, S>) -> (W, [T; K]),
    ) -> [T; K] {
        self.lanes.seen::<S>(view.into()).pass(folds, &f)
    }
}

/// Slices of equal length: the lanes of a tensor, or of a part of it.
///
/// This is the host's loop over memory, for authors of engines that share the work in their own way; to
/// step a tensor, use [`Host`].
///
/// State is stored as `M`, gradients as `P`; both are `T` unless memory is to be saved.
#[derive(Debug)]
pub struct Lanes<'a, T, const S: usize, M = T, P = T> {
    theta: &'a mut [T],
    /// Theta as `P`, where that is another type; else empty.
    params: &'a mut [P],
    grad: &'a [P],
    slots: [&'a mut [M]; S],
}

impl<'a, T: Element, const S: usize, M: Stored<T>> Lanes<'a, T, S, M> {
    /// Lane `i` is `theta[i]`, `grad[i]` and `slots[..][i]`.
    ///
    /// # Errors
    /// [`Mismatch`] unless all are as long as `theta`.
    #[inline(always)]
    pub fn new(
        theta: &'a mut [T],
        grad: &'a [T],
        slots: [&'a mut [M]; S],
    ) -> Result<Self, Mismatch> {
        Lanes::mixed(theta, &mut [], grad, slots)
    }
}

impl<'a, T: Element, const S: usize, M: Stored<T>, P: Stored<T>> Lanes<'a, T, S, M, P> {
    /// Lane `i` is `theta[i]`, `grad[i]` and `slots[..][i]`, and `params[i]` becomes what theta becomes, where it is
    /// of another type; else `params` is not used.
    ///
    /// # Errors
    /// [`Mismatch`] unless all are as long as `theta`.
    #[inline(always)]
    pub fn mixed(
        theta: &'a mut [T],
        params: &'a mut [P],
        grad: &'a [P],
        slots: [&'a mut [M]; S],
    ) -> Result<Self, Mismatch> {
        let expected = theta.len();
        let wrong = |what, got| Mismatch {
            what,
            tensor: 0,
            expected,
            got,
        };
        if grad.len() != expected {
            return Err(wrong("grad", grad.len()));
        }
        if P::HALF.is_some() && params.len() != expected {
            return Err(wrong("params", params.len()));
        }
        let mut slot = expected;
        each::<S>(|k| match slots.get(k) {
            Some(other) if other.len() != expected => slot = other.len(),
            _ => {}
        });
        if slot != expected {
            return Err(wrong("slot", slot));
        }
        Ok(Lanes {
            theta,
            params,
            grad,
            slots,
        })
    }

    /// How many lanes there are.
    pub fn len(&self) -> usize {
        self.theta.len()
    }

    /// Whether there is no lane.
    pub fn is_empty(&self) -> bool {
        self.theta.is_empty()
    }

    /// The same lanes with only the `F` slots of this view. A slot that is not there is empty.
    #[inline(always)]
    fn seen<const F: usize>(&mut self, view: View) -> Lanes<'_, T, F, M, P> {
        Lanes {
            theta: self.theta,
            params: self.params,
            grad: self.grad,
            slots: seen(&mut self.slots, view),
        }
    }

    /// Takes the first `count` lanes off, all where there are fewer.
    #[inline(always)]
    pub fn take(&mut self, count: usize) -> Self {
        let count = count.min(self.len());
        let (grad, rest) = self.grad.split_at_checked(count).unwrap_or_default();
        self.grad = rest;
        Lanes {
            theta: take(&mut self.theta, count),
            params: if P::HALF.is_some() {
                take(&mut self.params, count)
            } else {
                nothing()
            },
            grad,
            slots: self.slots.each_mut().map(|s| take(s, count)),
        }
    }

    /// One trip over these lanes, as if they were a whole tensor: [`Engine::pass`].
    #[inline(always)]
    pub fn pass<const K: usize, W: Rewrite<T, S>>(
        self,
        folds: [Fold; K],
        f: &impl Fn(Lane<T, S>) -> (W, [T; K]),
    ) -> [T; K] {
        if ROW == 1 && only_maxima(&folds) {
            return self.maxima(f);
        }
        let mut tensor = folds.map(|fold| Accumulators::new(fold.op));
        self.chunks(folds, f, |partials| {
            for (tensor, partial) in tensor.iter_mut().zip(partials) {
                tensor.push(partial);
            }
        });
        let mut folded = [T::zero(); K];
        for (folded, tensor) in folded.iter_mut().zip(tensor) {
            *folded = tensor.finish();
        }
        folded
    }

    /// Whether the lengths differ. Never so, as they were compared when the lanes were made: asked before a loop, it
    /// tells the compiler that no access in it needs a check.
    #[inline(always)]
    fn unequal(&self) -> bool {
        let len = self.theta.len();
        let mut unequal = self.grad.len() != len;
        unequal |= P::HALF.is_some() && self.params.len() != len;
        each::<S>(|k| unequal |= self.slots.get(k).is_none_or(|slot| slot.len() != len));
        unequal
    }

    /// [`pass`](Self::pass) where all folds are maxima, for processors without vectors: in as few
    /// instructions, and as little memory, as a loop written for one rule.
    #[inline(always)]
    fn maxima<const K: usize, W: Rewrite<T, S>>(
        mut self,
        f: &impl Fn(Lane<T, S>) -> (W, [T; K]),
    ) -> [T; K] {
        let len = self.theta.len();
        let mut largest = [T::zero(); K];
        if self.unequal() {
            return largest;
        }
        for i in 0..len {
            let (Some(theta), Some(&grad)) = (self.theta.get_mut(i), self.grad.get(i)) else {
                break;
            };
            let mut lane = Lane {
                theta: *theta,
                grad: grad.load(),
                slot: [T::zero(); S],
            };
            each::<S>(|k| {
                let slot = self.slots.get(k).and_then(|slot| slot.get(i));
                if let (Some(x), Some(y)) = (lane.slot.get_mut(k), slot) {
                    *x = y.load();
                }
            });
            let (left, folded) = f(lane);
            let lane = left.onto(lane);
            if W::THETA {
                *theta = lane.theta;
            }
            if W::THETA
                && P::HALF.is_some()
                && let Some(param) = self.params.get_mut(i)
            {
                *param = P::store(lane.theta);
            }
            each::<S>(|k| {
                let slot = self.slots.get_mut(k).and_then(|slot| slot.get_mut(i));
                if k < W::SLOTS
                    && let (Some(x), Some(y)) = (slot, lane.slot.get(k))
                {
                    *x = M::store(*y);
                }
            });
            each::<K>(|k| {
                if let (Some(largest), Some(x)) = (largest.get_mut(k), folded.get(k)) {
                    *largest = FoldOp::MaxAbs.step(*largest, *x);
                }
            });
        }
        largest
    }

    /// One trip over these lanes, the first of which begins a chunk: rewrites them, and hands the partials
    /// of each chunk to `sink`, in order.
    #[inline(always)]
    pub fn chunks<const K: usize, W: Rewrite<T, S>>(
        mut self,
        folds: [Fold; K],
        f: &impl Fn(Lane<T, S>) -> (W, [T; K]),
        mut sink: impl FnMut([T; K]),
    ) {
        if K == 0 {
            return self.map(f);
        }
        // A maximum is the same however the lanes are cut, so they stay whole where nothing else is folded.
        let chunk = if only_maxima(&folds) {
            usize::MAX
        } else {
            CHUNK
        };
        while !self.is_empty() {
            sink(self.take(chunk).fold(folds, f));
        }
    }

    /// Rewrites every lane, and folds nothing.
    #[inline(always)]
    fn map<const K: usize, W: Rewrite<T, S>>(mut self, f: &impl Fn(Lane<T, S>) -> (W, [T; K])) {
        if self.unequal() {
            return;
        }
        let mut i = 0;
        while let (Some(theta), Some(&grad)) = (self.theta.get_mut(i), self.grad.get(i)) {
            let mut slot = [T::zero(); S];
            each::<S>(|k| {
                let found = self.slots.get(k).and_then(|slot| slot.get(i));
                if let (Some(x), Some(found)) = (slot.get_mut(k), found) {
                    *x = found.load();
                }
            });
            let lane = Lane {
                theta: *theta,
                grad: grad.load(),
                slot,
            };
            let lane = f(lane).0.onto(lane);
            if W::THETA {
                *theta = lane.theta;
            }
            if W::THETA
                && P::HALF.is_some()
                && let Some(param) = self.params.get_mut(i)
            {
                *param = P::store(lane.theta);
            }
            each::<S>(|k| {
                let place = self.slots.get_mut(k).and_then(|slot| slot.get_mut(i));
                if k < W::SLOTS
                    && let (Some(place), Some(&x)) = (place, lane.slot.get(k))
                {
                    *place = M::store(x);
                }
            });
            i += 1;
        }
    }

    /// Rewrites the lanes of one chunk, and folds them.
    #[inline(always)]
    fn fold<const K: usize, W: Rewrite<T, S>>(
        mut self,
        folds: [Fold; K],
        f: &impl Fn(Lane<T, S>) -> (W, [T; K]),
    ) -> [T; K] {
        let len = self.len();
        let (whole, rest) = (len / ROW * ROW, len % ROW);
        let mut rows = self.take(whole);
        // The last lanes, where they do not fill a row, are stepped in a row of their own; so there is one
        // place that calls `f`, and even a long one is inlined.
        let mut last = None;
        let mut maxima = [[T::zero(); ROW]; K];
        let mut sums = [[T::zero(); WIDTH]; K];
        for (part, filled) in [whole.min(ROW), rest].into_iter().enumerate() {
            if filled == 0 {
                continue;
            }
            let (lanes, first) = if part == 0 {
                (rows.take(whole), 0)
            } else {
                (last.insert(Row::of(&self)).lanes(), whole)
            };
            let before = row(&sums, first);
            let found = lanes.rows(first, folds, f, &mut sums);
            for k in 0..K {
                match folds[k].op {
                    op @ FoldOp::MaxAbs => maxima[k] = beside(op, maxima[k], found[k]),
                    // What the lanes after the last have folded is left out.
                    FoldOp::Sum => {
                        for (l, &x) in before[k].iter().enumerate().skip(filled) {
                            sums[k][(first + l) % WIDTH] = x;
                        }
                    }
                }
            }
        }
        if let Some(last) = &last {
            last.give_back::<W>(self);
        }
        let mut folded = [T::zero(); K];
        for k in 0..K {
            folded[k] = match folds[k].op {
                op @ FoldOp::MaxAbs => maxima[k].iter().fold(T::zero(), |acc, &x| op.step(acc, x)),
                op @ FoldOp::Sum => halve(op, &mut sums[k], len),
            };
        }
        folded
    }

    /// Rewrites and folds these lanes, whole rows of them, the first of which is lane `first` of its chunk. Sums go
    /// on in `sums`; maxima need no order, so one row serves, stays in a register, and is returned.
    #[inline(always)]
    fn rows<const K: usize, W: Rewrite<T, S>>(
        self,
        first: usize,
        folds: [Fold; K],
        f: &impl Fn(Lane<T, S>) -> (W, [T; K]),
        sums: &mut [[T; WIDTH]; K],
    ) -> [[T; ROW]; K] {
        // The largest and the least number of each column. They cost what a magnitude and its maximum do, but
        // need no mask of sign bits, which compilers load anew for every row.
        let (mut largest, mut least) = ([[T::zero(); ROW]; K], [[T::zero(); ROW]; K]);
        let (theta, _) = self.theta.as_chunks_mut::<ROW>();
        let (params, _) = self.params.as_chunks_mut::<ROW>();
        let (grad, _) = self.grad.as_chunks::<ROW>();
        let mut slots = self.slots.map(|slot| slot.as_chunks_mut::<ROW>().0);
        // As in `unequal`; compilers do not see that what goes for lanes goes for rows.
        let count = theta.len();
        let mut unequal = grad.len() != count || P::HALF.is_some() && params.len() != count;
        each::<S>(|k| unequal |= slots.get(k).is_none_or(|rows| rows.len() != count));
        if unequal {
            return largest;
        }
        let mut r = 0;
        while let (Some(theta), Some(&grad)) = (theta.get_mut(r), grad.get(r)) {
            // Rows are loaded whole and stored whole, so that the compiler need not fear that they overlap.
            let mut slot = [[M::default(); ROW]; S];
            each::<S>(|k| {
                let found = slots.get(k).and_then(|rows| rows.get(r));
                if let (Some(slot), Some(found)) = (slot.get_mut(k), found) {
                    *slot = *found;
                }
            });
            let (row, folded) = Row {
                theta: *theta,
                params: [P::default(); ROW],
                grad,
                slot,
            }
            .map(f);
            if W::THETA {
                *theta = row.theta;
            }
            if W::THETA
                && P::HALF.is_some()
                && let Some(params) = params.get_mut(r)
            {
                *params = row.params;
            }
            each::<S>(|k| {
                let place = slots.get_mut(k).and_then(|rows| rows.get_mut(r));
                if k < W::SLOTS
                    && let (Some(place), Some(slot)) = (place, row.slot.get(k))
                {
                    *place = *slot;
                }
            });
            for k in 0..K {
                let op = folds[k].op;
                if op == FoldOp::MaxAbs {
                    for (l, &x) in folded[k].iter().enumerate() {
                        largest[k][l] = if largest[k][l] < x { x } else { largest[k][l] };
                        least[k][l] = if x < least[k][l] { x } else { least[k][l] };
                    }
                } else if let Some(acc) = sums[k]
                    .as_chunks_mut()
                    .0
                    .get_mut((first / ROW + r) % (WIDTH / ROW))
                {
                    *acc = beside(op, *acc, folded[k]);
                }
            }
            r += 1;
        }
        for (largest, least) in largest.iter_mut().zip(least) {
            *largest = beside(FoldOp::MaxAbs, *largest, least);
        }
        largest
    }
}

/// The `F` slots of this view, of all that a rule has. A slot that is not there is empty.
#[inline(always)]
pub(crate) fn seen<'a, M, const S: usize, const F: usize>(
    all: &'a mut [&mut [M]; S],
    view: View,
) -> [&'a mut [M]; F] {
    let (mut slots, mut all) = ([const { nothing() }; S], all.iter_mut());
    each::<S>(|k| {
        if let (Some(slot), Some(own)) = (slots.get_mut(k), all.next()) {
            *slot = own;
        }
    });
    let mut seen = [const { nothing() }; F];
    each::<F>(|place| {
        let slot = slots.get_mut(view.vector::<F>(place));
        if let (Some(seen), Some(slot)) = (seen.get_mut(place), slot) {
            *seen = core::mem::take(slot);
        }
    });
    seen
}

/// The row of accumulators that lane `first` of a chunk goes into.
#[inline(always)]
fn row<T: Element, const K: usize>(sums: &[[T; WIDTH]; K], first: usize) -> [[T; ROW]; K] {
    let mut row = [[T::zero(); ROW]; K];
    for (row, sums) in row.iter_mut().zip(sums) {
        for (l, x) in row.iter_mut().enumerate() {
            *x = sums[(first + l) % WIDTH];
        }
    }
    row
}

/// Copies as much as both hold.
#[inline(always)]
fn copy<T: Copy>(to: &mut [T], from: &[T]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// Fills a row with what there is, and the last of it again and again.
#[inline(always)]
fn repeat<T: Copy>(row: &mut [T; ROW], from: &[T]) {
    if let Some(&last) = from.last() {
        *row = [last; ROW];
        copy(row, from);
    }
}

/// Folds two rows, lane by lane.
#[inline(always)]
fn beside<T: Element>(op: FoldOp, mut acc: [T; ROW], row: [T; ROW]) -> [T; ROW] {
    for l in 0..ROW {
        acc[l] = op.step(acc[l], row[l]);
    }
    acc
}

/// Lanes that are stepped and folded side by side: enough to fill the widest vector register, or one where
/// there are none.
const ROW: usize = if VECTORS { 16 } else { 1 };

/// The slice without elements.
const fn nothing<'a, T>() -> &'a mut [T] {
    &mut []
}

/// Whether these folds are all maxima. One and two are told apart without a loop, so that a compiler that
/// optimizes for size sees at once which passes remain.
#[inline(always)]
fn only_maxima(folds: &[Fold]) -> bool {
    let maximum = |fold: &Fold| fold.op == FoldOp::MaxAbs;
    match folds {
        [] => true,
        [one] => maximum(one),
        [one, two] => maximum(one) && maximum(two),
        more => more.iter().all(maximum),
    }
}

/// Takes the first `count` elements off a slice.
#[inline(always)]
fn take<'a, T>(slice: &mut &'a mut [T], count: usize) -> &'a mut [T] {
    let (head, rest) = core::mem::take(slice)
        .split_at_mut_checked(count)
        .unwrap_or_default();
    *slice = rest;
    head
}

/// Lanes side by side, as memory holds them.
struct Row<T, const S: usize, M, P> {
    theta: [T; ROW],
    params: [P; ROW],
    grad: [P; ROW],
    slot: [[M; ROW]; S],
}

impl<T: Element, const S: usize, M: Stored<T>, P: Stored<T>> Row<T, S, M, P> {
    /// A row that begins with these lanes, of which there are fewer than a row holds. The last of them is repeated, so
    /// that a maximum over the row is one over these lanes.
    #[inline(always)]
    fn of(lanes: &Lanes<'_, T, S, M, P>) -> Self {
        let mut row = Row {
            theta: [T::zero(); ROW],
            params: [P::default(); ROW],
            grad: [P::default(); ROW],
            slot: [[M::default(); ROW]; S],
        };
        repeat(&mut row.theta, lanes.theta);
        repeat(&mut row.grad, lanes.grad);
        for (row, slot) in row.slot.iter_mut().zip(&lanes.slots) {
            repeat(row, slot);
        }
        row
    }

    /// The row as lanes.
    #[inline(always)]
    fn lanes(&mut self) -> Lanes<'_, T, S, M, P> {
        Lanes {
            theta: &mut self.theta,
            params: if P::HALF.is_some() {
                &mut self.params
            } else {
                nothing()
            },
            grad: &self.grad,
            slots: self.slot.each_mut().map(|s| s.as_mut_slice()),
        }
    }

    /// Rewrites the lanes that the row began with.
    #[inline(always)]
    fn give_back<W: Rewrite<T, S>>(&self, lanes: Lanes<'_, T, S, M, P>) {
        if W::THETA {
            copy(lanes.theta, &self.theta);
            copy(lanes.params, &self.params);
        }
        for (slot, row) in lanes.slots.into_iter().zip(&self.slot).take(W::SLOTS) {
            copy(slot, row);
        }
    }

    /// The row rewritten lane by lane, and what its lanes fold.
    #[expect(
        clippy::needless_range_loop,
        reason = "several arrays are walked side by side"
    )]
    #[inline(always)]
    fn map<const K: usize, W: Rewrite<T, S>>(
        mut self,
        f: &impl Fn(Lane<T, S>) -> (W, [T; K]),
    ) -> (Self, [[T; ROW]; K]) {
        let mut out = [[T::zero(); ROW]; K];
        for l in 0..ROW {
            let mut lane = Lane {
                theta: self.theta[l],
                grad: self.grad[l].load(),
                slot: [T::zero(); S],
            };
            for k in 0..S {
                lane.slot[k] = self.slot[k][l].load();
            }
            let (left, folded) = f(lane);
            let lane = left.onto(lane);
            if W::THETA {
                self.theta[l] = lane.theta;
            }
            if W::THETA && P::HALF.is_some() {
                self.params[l] = P::store(lane.theta);
            }
            for k in 0..W::SLOTS {
                self.slot[k][l] = M::store(lane.slot[k]);
            }
            for k in 0..K {
                out[k][l] = folded[k];
            }
        }
        (self, out)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::{Host, Lanes};
    use crate::{Accumulators, CHUNK, Engine, ErrorKind, Fold, FoldOp, Lane, Mismatch};
    use crate::{Bf16, F16, Rewrite, Stored, View};

    /// Around a row, the accumulators of a chunk, and a chunk.
    const LENGTHS: [usize; 16] = [
        0, 1, 2, 15, 16, 17, 33, 511, 512, 513, 530, 4095, 4096, 4097, 8192, 9001,
    ];

    /// Theta, gradient, and two slots: numbers of [1, 3).
    fn numbers(len: usize) -> [Vec<f32>; 4] {
        [1, 2, 3, 4].map(|k| {
            (0..len)
                .map(|i| 1.0 + (i * 37 * k % 101) as f32 * 0.0198)
                .collect()
        })
    }

    fn turned(x: Lane<f32, 2>) -> Lane<f32, 2> {
        Lane {
            theta: x.theta - 0.3 * x.grad,
            slot: [x.slot[1], x.slot[0] * x.theta],
            ..x
        }
    }

    /// Four numbers that a lane of zeros would have, too, and larger ones than these lanes.
    fn folded(x: Lane<f32, 2>) -> [f32; 4] {
        let next = turned(x);
        [
            next.theta + 1.0,
            x.grad - 3.0,
            next.slot[1],
            x.slot[0] - 3.5,
        ]
    }

    /// The fold of a tensor, as its order is stated.
    fn tree(op: FoldOp, xs: &[f32]) -> u32 {
        let fold = |xs: &mut dyn Iterator<Item = f32>| {
            let mut acc = Accumulators::new(op);
            xs.for_each(|x| acc.push(x));
            acc.finish()
        };
        let mut partials = xs.chunks(CHUNK).map(|xs| fold(&mut xs.iter().copied()));
        fold(&mut partials).to_bits()
    }

    /// Steps lanes with `pass`, which folds with these `ops`, and compares everything with a plain loop. State is kept
    /// as `M`, gradients and a copy of theta as `P`.
    #[track_caller]
    fn as_a_plain_loop<M: Stored<f32> + PartialEq, P: Stored<f32> + PartialEq, const K: usize>(
        len: usize,
        ops: [FoldOp; K],
        fold: impl Fn([f32; 4]) -> [f32; K],
        pass: impl Fn(
            Lanes<'_, f32, 2, M, P>,
            &dyn Fn(Lane<f32, 2>) -> (Lane<f32, 2>, [f32; K]),
        ) -> [f32; K],
    ) {
        let [mut theta, grad, a, b] = numbers(len);
        let stored = |numbers: Vec<f32>| Vec::from_iter(numbers.into_iter().map(M::store));
        let (mut a, mut b) = (stored(a), stored(b));
        let grad: Vec<P> = grad.into_iter().map(P::store).collect();
        let copied = if P::HALF.is_some() { len } else { 0 };
        let mut params = std::vec![P::default(); copied];

        let mut want = (theta.clone(), params.clone(), a.clone(), b.clone());
        let mut contributions = [const { Vec::new() }; K];
        for (i, grad) in grad.iter().enumerate() {
            let lane = Lane {
                theta: want.0[i],
                grad: grad.load(),
                slot: [want.2[i].load(), want.3[i].load()],
            };
            for (list, x) in contributions.iter_mut().zip(fold(folded(lane))) {
                list.push(x);
            }
            let Lane { theta, slot, .. } = turned(lane);
            want.0[i] = theta;
            (want.2[i], want.3[i]) = (M::store(slot[0]), M::store(slot[1]));
            if let Some(param) = want.1.get_mut(i) {
                *param = P::store(theta);
            }
        }

        let slots = [&mut a[..], &mut b];
        let lanes = Lanes::mixed(&mut theta, &mut params, &grad, slots).unwrap();
        let got = pass(lanes, &|x| (turned(x), fold(folded(x))));
        assert!((theta, params, a, b) == want, "{len} lanes");
        for ((op, got), list) in ops.iter().zip(got).zip(contributions) {
            assert_eq!(got.to_bits(), tree(*op, &list), "{op:?} of {len} lanes");
        }
    }

    const MAX: FoldOp = FoldOp::MaxAbs;
    const SUM: FoldOp = FoldOp::Sum;

    fn fold(op: FoldOp) -> Fold {
        match op {
            FoldOp::MaxAbs => Fold::MAX_ABS,
            FoldOp::Sum => Fold::SUM,
        }
    }

    fn passes_are_plain_loops<M: Stored<f32> + PartialEq, P: Stored<f32> + PartialEq>() {
        for len in LENGTHS {
            as_a_plain_loop::<M, P, 0>(len, [], |_| [], |lanes, f| lanes.pass([], &f));
            let (max, sum) = (|x: [f32; 4]| [x[1]], |x: [f32; 4]| [x[0]]);
            as_a_plain_loop::<M, P, 1>(len, [MAX], max, |lanes, f| lanes.pass([Fold::MAX_ABS], &f));
            as_a_plain_loop::<M, P, 1>(len, [SUM], sum, |lanes, f| lanes.pass([Fold::SUM], &f));
            for ops in [[MAX, MAX], [MAX, SUM], [SUM, MAX], [SUM, SUM]] {
                let two = |x: [f32; 4]| [x[1], x[3]];
                as_a_plain_loop::<M, P, 2>(len, ops, two, |lanes, f| lanes.pass(ops.map(fold), &f));
            }
            for ops in [[SUM, MAX, SUM, MAX], [MAX; 4], [MAX, MAX, MAX, SUM]] {
                as_a_plain_loop::<M, P, 4>(
                    len,
                    ops,
                    |x| x,
                    |lanes, f| lanes.pass(ops.map(fold), &f),
                );
            }
            // What machines without vector registers take, here too.
            as_a_plain_loop::<M, P, 1>(len, [MAX], max, |lanes, f| lanes.maxima(&f));
            as_a_plain_loop::<M, P, 4>(len, [MAX; 4], |x| x, |lanes, f| lanes.maxima(&f));
        }
    }

    #[test]
    fn a_pass_is_a_plain_loop_whatever_it_folds() {
        passes_are_plain_loops::<f32, f32>();
    }

    #[test]
    fn a_pass_in_mixed_precision_is_a_plain_loop_that_rounds_what_it_stores() {
        passes_are_plain_loops::<Bf16, F16>();
    }

    /// A pass whose closure returns a `W`, over all kinds of loops, and what the lanes hold afterwards.
    fn rewritten<W: Rewrite<f32, 2>, const K: usize>(
        len: usize,
        folds: [Fold; K],
        give: impl Fn(Lane<f32, 2>) -> W,
        pass: impl Fn(Lanes<'_, f32, 2, Bf16, F16>, &dyn Fn(Lane<f32, 2>) -> (W, [f32; K])) -> [f32; K],
    ) {
        let [mut theta, grad, a, b] = numbers(len);
        let stored = |numbers: Vec<f32>| Vec::from_iter(numbers.into_iter().map(Bf16::store));
        let (mut a, mut b) = (stored(a), stored(b));
        let grad: Vec<F16> = grad.into_iter().map(F16::store).collect();
        let mut params = std::vec![F16::store(99.0); len];

        let mut want = (theta.clone(), params.clone(), a.clone(), b.clone());
        for (i, grad) in grad.iter().enumerate() {
            let found = Lane {
                theta: theta[i],
                grad: grad.load(),
                slot: [a[i].load(), b[i].load()],
            };
            let lane = give(found).onto(found);
            if W::THETA {
                (want.0[i], want.1[i]) = (lane.theta, F16::store(lane.theta));
            }
            (want.2[i], want.3[i]) = (Bf16::store(lane.slot[0]), Bf16::store(lane.slot[1]));
        }
        let lanes = Lanes::mixed(&mut theta, &mut params, &grad, [&mut a[..], &mut b]).unwrap();
        pass(lanes, &|x| (give(x), folds.map(|_| x.grad)));
        assert!((theta, params, a, b) == want, "{len} lanes, {folds:?}");
    }

    #[test]
    fn a_pass_rewrites_what_its_closure_returns_and_nothing_else() {
        fn however<W: Rewrite<f32, 2>>(len: usize, give: impl Fn(Lane<f32, 2>) -> W) {
            let (sum, max) = ([Fold::SUM], [Fold::MAX_ABS]);
            rewritten(len, [], &give, |lanes, f| lanes.pass([], &f));
            rewritten(len, sum, &give, |lanes, f| lanes.pass(sum, &f));
            rewritten(len, max, &give, |lanes, f| lanes.pass(max, &f));
            rewritten(len, max, &give, |lanes, f| lanes.maxima(&f));
        }
        for len in LENGTHS {
            however(len, |_| []);
            however(len, |x| [x.slot[1] + x.grad]);
            however(len, |x| [x.slot[1], x.theta]);
            however(len, |x| x.moved(x.theta - x.slot[0]));
            however(len, |x| Lane {
                theta: x.slot[1],
                grad: 0.0,
                slot: [x.theta],
            });
        }
    }

    /// A byte of -128 is read as a number, but none is stored as it: -127 would tell that it was written back.
    #[test]
    fn a_pass_does_not_write_state_that_it_only_reads() {
        fn with<const K: usize>(
            folds: [Fold; K],
            pass: impl Fn(
                Lanes<'_, f32, 2, i8>,
                &dyn Fn(Lane<f32, 2>) -> ([f32; 1], [f32; K]),
            ) -> [f32; K],
        ) {
            for len in LENGTHS {
                let [mut theta, grad, ..] = numbers(len);
                let (mut a, mut b) = (std::vec![1i8; len], std::vec![i8::MIN; len]);
                let lanes = Lanes::new(&mut theta, &grad, [&mut a, &mut b]).unwrap();
                pass(lanes, &|x| ([x.slot[0] + 1.0], folds.map(|_| x.slot[1])));
                assert!(a.iter().all(|&x| x == 2), "{folds:?} of {len} lanes");
                assert!(b.iter().all(|&x| x == -128), "{folds:?} of {len} lanes");
            }
        }
        let (sum, max) = ([Fold::SUM], [Fold::MAX_ABS]);
        with([], |lanes, f| lanes.pass([], &f));
        with(sum, |lanes, f| lanes.pass(sum, &f));
        with(max, |lanes, f| lanes.pass(max, &f));
        with(max, |lanes, f| lanes.maxima(&f));
    }

    #[test]
    fn a_ring_shows_the_oldest_first() {
        let (mut theta, mut carried) = ([0.0f64], []);
        let mut slots = [[10.0], [20.0], [30.0], [40.0]];
        for t in 0..4 {
            let [a, b, c, d] = &mut slots;
            let grad = [t as f64];
            let mut host = Host::new(&mut theta, &grad, [a, b, c, d], &mut carried).unwrap();
            host.pass_at(View::ring(0, 1, t), [], |x: Lane<f64, 4>| {
                let lane = Lane {
                    theta: x.slot[1] + 100.0 * x.slot[3],
                    grad: 0.0,
                    slot: [x.slot[0] + 1.0, x.grad],
                };
                (lane, [])
            });
        }
        // In the last step the first place of the ring came round, with what step 0 had put there.
        assert_eq!(theta, [0.0 + 100.0 * 2.0]);
        assert_eq!(slots, [[14.0], [3.0], [1.0], [2.0]]);
    }

    #[test]
    fn partials_come_one_by_one_where_their_order_counts() {
        for (folds, counts) in [
            ([Fold::SUM], [0, 1, 1, 2, 3]),
            ([Fold::MAX_ABS], [0, 1, 1, 1, 1]),
        ] {
            for (len, count) in [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK].into_iter().zip(counts) {
                let [mut theta, grad, mut a, mut b] = numbers(len);
                let lanes = Lanes::new(&mut theta, &grad, [&mut a, &mut b]).unwrap();
                assert_eq!((lanes.len(), lanes.is_empty()), (len, len == 0));
                let mut partials = 0;
                lanes.chunks(folds, &|x| (x, [x.grad]), |_| partials += 1);
                assert_eq!(partials, count, "{folds:?} of {len} lanes");
            }
        }
    }

    #[test]
    fn lanes_are_taken_off_the_front() {
        let [mut theta, grad, mut a, mut b] = numbers(10);
        let before = theta.clone();
        let mut rest = Lanes::new(&mut theta, &grad, [&mut a, &mut b]).unwrap();
        let first = rest.take(3);
        assert_eq!(
            (first.theta, first.grad),
            (&mut before.clone()[..3], &grad[..3])
        );
        assert_eq!((first.slots[1].len(), rest.slots[1].len()), (3, 7));
        let second = rest.take(100);
        assert_eq!(
            (second.theta, second.grad),
            (&mut before.clone()[3..], &grad[3..])
        );
        assert_eq!((second.slots[0].len(), rest.len()), (7, 0));
    }

    #[test]
    fn unequal_lengths_are_refused() {
        let refused = |grad: usize, slots: [usize; 2]| {
            let (mut theta, grad) = ([0.0f32; 3], std::vec![0.0; grad]);
            let mut slots = slots.map(|len| std::vec![0.0; len]);
            let slots = slots.each_mut().map(|slot| &mut slot[..]);
            let refused = Host::new(&mut theta, &grad, slots, &mut []).map(|_| ());
            match refused {
                Err(ErrorKind::Length(Mismatch {
                    what,
                    tensor: 0,
                    expected: 3,
                    got,
                })) => Some((what, got)),
                Ok(()) => None,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(refused(3, [3, 3]), None);
        assert_eq!(refused(2, [3, 3]), Some(("grad", 2)));
        assert_eq!(refused(3, [4, 3]), Some(("slot", 4)));
        assert_eq!(refused(3, [3, 0]), Some(("slot", 0)));
        let (mut master, mut params) = ([0.0f32; 3], [Bf16::default(); 2]);
        let grad = [Bf16::default(); 3];
        let mut carried = [0.0f32; 0];
        let slots: [&mut [f32]; 0] = [];
        let refused = Host::mixed(&mut master, &mut params, &grad, slots, &mut carried);
        let mismatch = Mismatch {
            what: "params",
            tensor: 0,
            expected: 3,
            got: 2,
        };
        assert_eq!(refused.unwrap_err(), ErrorKind::Length(mismatch));
    }

    #[test]
    fn a_carried_scalar_changes_at_the_end_of_the_step() {
        let (mut theta, mut carried) = ([1.0f64], [5.0, 6.0]);
        let mut slots = [[1.0], [2.0], [3.0]];
        let [a, b, c] = &mut slots;
        let mut host = Host::new(&mut theta, &[7.0], [a, b, c], &mut carried).unwrap();
        assert_eq!((host.carried::<0>(), host.carried::<1>()), (5.0, 6.0));
        host.carry::<1>(8.0);
        assert_eq!(host.carried::<1>(), 6.0);
        assert_eq!(host.uniform(0.1), 0.1);
        // A pass over the last two slots, one that writes a gradient that nobody keeps.
        let [sum] = host.pass_at(1, [Fold::SUM], |x: Lane<f64, 2>| {
            let slot = [x.slot[1], x.slot[0] + x.grad];
            let lane = Lane {
                theta: 4.0,
                grad: 0.0,
                slot,
            };
            (lane, [x.grad])
        });
        assert_eq!(sum, 7.0);
        host.map(|x: Lane<f64, 1>| Lane {
            theta: x.theta + x.grad,
            slot: [x.slot[0] + 10.0],
            ..x
        });
        assert_eq!(
            (theta, slots, carried),
            ([11.0], [[11.0], [3.0], [9.0]], [5.0, 8.0])
        );
    }
}
