//! [`Host`]: runs a rule on slices, on any target, without heap, threads or `std`.

use crate::error::{ErrorKind, Mismatch};
use crate::fold::{Accumulators, CHUNK, Fold, FoldOp, WIDTH, halve};
use crate::real::{Element, Real};
use crate::rule::{Engine, Lane, MAX_CARRIED};

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
#[derive(Debug)]
pub struct Host<'a, T, const S: usize, const C: usize> {
    lanes: Lanes<'a, T, S>,
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
        const {
            assert!(
                C <= MAX_CARRIED,
                "a rule carries at most MAX_CARRIED scalars"
            )
        };
        let found = *carried;
        Ok(Host {
            lanes: Lanes::new(theta, grad, slots)?,
            carried,
            found,
        })
    }
}

impl<T: Element, const N: usize, const C: usize> Engine for Host<'_, T, N, C> {
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
    fn pass_at<const S: usize, const K: usize>(
        &mut self,
        first: usize,
        folds: [Fold; K],
        f: impl Fn(Lane<T, S>) -> (Lane<T, S>, [T; K]),
    ) -> [T; K] {
        self.lanes.from::<S>(first).pass(folds, &f)
    }
}

/// Slices of equal length: the lanes of a tensor, or of a part of it.
///
/// This is the host's loop over memory, for authors of engines that share the work in their own way; to
/// step a tensor, use [`Host`].
#[derive(Debug)]
pub struct Lanes<'a, T, const S: usize> {
    theta: &'a mut [T],
    grad: &'a [T],
    slots: [&'a mut [T]; S],
}

impl<'a, T: Element, const S: usize> Lanes<'a, T, S> {
    /// Lane `i` is `theta[i]`, `grad[i]` and `slots[..][i]`.
    ///
    /// # Errors
    /// [`Mismatch`] unless all are as long as `theta`.
    #[inline(always)]
    pub fn new(
        theta: &'a mut [T],
        grad: &'a [T],
        slots: [&'a mut [T]; S],
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
        let mut slot = expected;
        each::<S>(|k| match slots.get(k) {
            Some(other) if other.len() != expected => slot = other.len(),
            _ => {}
        });
        if slot != expected {
            return Err(wrong("slot", slot));
        }
        Ok(Lanes { theta, grad, slots })
    }

    /// How many lanes there are.
    pub fn len(&self) -> usize {
        self.theta.len()
    }

    /// Whether there is no lane.
    pub fn is_empty(&self) -> bool {
        self.theta.is_empty()
    }

    /// The same lanes with only `F` slots, from slot `first` on. A slot that is not there is empty.
    #[inline(always)]
    fn from<const F: usize>(&mut self, first: usize) -> Lanes<'_, T, F> {
        let mut taken = [const { nothing() }; F];
        let mut slots = self.slots.iter_mut().skip(first);
        each::<F>(|k| {
            if let (Some(taken), Some(slot)) = (taken.get_mut(k), slots.next()) {
                *taken = slot;
            }
        });
        Lanes {
            theta: self.theta,
            grad: self.grad,
            slots: taken,
        }
    }

    /// Takes the first `count` lanes off, all where there are fewer.
    #[inline(always)]
    pub fn take(&mut self, count: usize) -> Lanes<'a, T, S> {
        let count = count.min(self.len());
        let (grad, rest) = self.grad.split_at_checked(count).unwrap_or_default();
        self.grad = rest;
        Lanes {
            theta: take(&mut self.theta, count),
            grad,
            slots: self.slots.each_mut().map(|s| take(s, count)),
        }
    }

    /// One trip over these lanes, as if they were a whole tensor: [`Engine::pass`].
    #[inline(always)]
    pub fn pass<const K: usize>(
        self,
        folds: [Fold; K],
        f: &impl Fn(Lane<T, S>) -> (Lane<T, S>, [T; K]),
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

    /// [`pass`](Self::pass) where all folds are maxima, for processors without vectors: in as few
    /// instructions, and as little memory, as a loop written for one rule.
    #[inline(always)]
    fn maxima<const K: usize>(mut self, f: &impl Fn(Lane<T, S>) -> (Lane<T, S>, [T; K])) -> [T; K] {
        let len = self.theta.len();
        let mut largest = [T::zero(); K];
        // Never so: it tells the compiler what `new` checked, and spares a check in every lane.
        let mut unequal = self.grad.len() != len;
        each::<S>(|k| unequal |= self.slots.get(k).is_none_or(|slot| slot.len() != len));
        if unequal {
            return largest;
        }
        for i in 0..len {
            let (Some(theta), Some(&grad)) = (self.theta.get_mut(i), self.grad.get(i)) else {
                break;
            };
            let mut lane = Lane {
                theta: *theta,
                grad,
                slot: [T::zero(); S],
            };
            each::<S>(|k| {
                let slot = self.slots.get(k).and_then(|slot| slot.get(i));
                if let (Some(x), Some(y)) = (lane.slot.get_mut(k), slot) {
                    *x = *y;
                }
            });
            let (lane, folded) = f(lane);
            *theta = lane.theta;
            each::<S>(|k| {
                let slot = self.slots.get_mut(k).and_then(|slot| slot.get_mut(i));
                if let (Some(x), Some(y)) = (slot, lane.slot.get(k)) {
                    *x = *y;
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
    pub fn chunks<const K: usize>(
        mut self,
        folds: [Fold; K],
        f: &impl Fn(Lane<T, S>) -> (Lane<T, S>, [T; K]),
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
    fn map<const K: usize>(mut self, f: &impl Fn(Lane<T, S>) -> (Lane<T, S>, [T; K])) {
        let len = self.theta.len();
        // Known equal, so that no access below is checked; one that fails ends the loop, and so needs no branch of its
        // own in it.
        if self.grad.len() != len || self.slots.iter().any(|slot| slot.len() != len) {
            return;
        }
        for i in 0..len {
            let (Some(theta), Some(&grad)) = (self.theta.get_mut(i), self.grad.get(i)) else {
                return;
            };
            let mut slot = [T::zero(); S];
            for (x, slot) in slot.iter_mut().zip(&self.slots) {
                let Some(&found) = slot.get(i) else {
                    return;
                };
                *x = found;
            }
            let (lane, _) = f(Lane {
                theta: *theta,
                grad,
                slot,
            });
            *theta = lane.theta;
            for (slot, x) in self.slots.iter_mut().zip(lane.slot) {
                let Some(place) = slot.get_mut(i) else {
                    return;
                };
                *place = x;
            }
        }
    }

    /// Rewrites the lanes of one chunk, and folds them.
    #[inline(always)]
    fn fold<const K: usize>(
        mut self,
        folds: [Fold; K],
        f: &impl Fn(Lane<T, S>) -> (Lane<T, S>, [T; K]),
    ) -> [T; K] {
        let len = self.len();
        let (whole, rest) = (len / ROW * ROW, len % ROW);
        let rows = self.take(whole);
        // The last lanes, where they do not fill a row, are stepped in a row of their own; so there is one
        // place that calls `f`, and even a long one is inlined.
        let mut last = Row::of(&self);
        let mut maxima = [[T::zero(); ROW]; K];
        let mut sums = [[T::zero(); WIDTH]; K];
        let parts = [(rows, 0, ROW), (last.lanes(rest), whole, rest)];
        for (lanes, first, filled) in parts {
            let before = row(&sums, first);
            let found = lanes.rows(first, folds, f, &mut sums);
            for k in 0..K {
                // What the lanes after the last have folded is left out.
                match folds[k].op {
                    op @ FoldOp::MaxAbs => {
                        for (l, (acc, &x)) in maxima[k].iter_mut().zip(&found[k]).enumerate() {
                            *acc = if l < filled { op.step(*acc, x) } else { *acc };
                        }
                    }
                    FoldOp::Sum => {
                        for (l, &x) in before[k].iter().enumerate().skip(filled) {
                            sums[k][(first + l) % WIDTH] = x;
                        }
                    }
                }
            }
        }
        last.give_back(self);
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
    fn rows<const K: usize>(
        self,
        first: usize,
        folds: [Fold; K],
        f: &impl Fn(Lane<T, S>) -> (Lane<T, S>, [T; K]),
        sums: &mut [[T; WIDTH]; K],
    ) -> [[T; ROW]; K] {
        let mut maxima = [[T::zero(); ROW]; K];
        let (theta, _) = self.theta.as_chunks_mut::<ROW>();
        let (grad, _) = self.grad.as_chunks::<ROW>();
        let mut slots = self.slots.map(|slot| slot.as_chunks_mut::<ROW>().0);
        let count = theta.len();
        // As in `map`.
        if grad.len() != count || slots.iter().any(|rows| rows.len() != count) {
            return maxima;
        }
        for r in 0..count {
            let (Some(theta), Some(&grad)) = (theta.get_mut(r), grad.get(r)) else {
                return maxima;
            };
            // Rows are loaded whole and stored whole, so that the compiler need not fear that they overlap.
            let mut slot = [[T::zero(); ROW]; S];
            for (slot, rows) in slot.iter_mut().zip(&slots) {
                let Some(&row) = rows.get(r) else {
                    return maxima;
                };
                *slot = row;
            }
            let (row, folded) = Row {
                theta: *theta,
                grad,
                slot,
            }
            .map(f);
            *theta = row.theta;
            for (rows, slot) in slots.iter_mut().zip(row.slot) {
                let Some(place) = rows.get_mut(r) else {
                    return maxima;
                };
                *place = slot;
            }
            for k in 0..K {
                let op = folds[k].op;
                if op == FoldOp::MaxAbs {
                    maxima[k] = beside(op, maxima[k], folded[k]);
                } else if let Some(acc) = sums[k]
                    .as_chunks_mut()
                    .0
                    .get_mut((first / ROW + r) % (WIDTH / ROW))
                {
                    *acc = beside(op, *acc, folded[k]);
                }
            }
        }
        maxima
    }
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
const ROW: usize = if cfg!(any(
    target_feature = "sse2",
    target_feature = "neon",
    target_feature = "simd128"
)) {
    16
} else {
    1
};

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

/// Calls `f` with 0, 1, .., `N` - 1.
///
/// The test stands at the end, because a compiler that optimizes for size sees only then that a loop runs
/// once, and most rules have one slot and one fold. `f` must not index: it may be compiled as a function of
/// its own, where nothing is known of `k`.
#[inline(always)]
fn each<const N: usize>(mut f: impl FnMut(usize)) {
    if N == 0 {
        return;
    }
    let mut k = 0;
    loop {
        f(k);
        k += 1;
        if k == N {
            break;
        }
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

/// Lanes side by side.
struct Row<T, const S: usize> {
    theta: [T; ROW],
    grad: [T; ROW],
    slot: [[T; ROW]; S],
}

impl<T: Element, const S: usize> Row<T, S> {
    /// A row that begins with these lanes, of which there are fewer than a row holds; zeros follow.
    #[inline(always)]
    fn of(lanes: &Lanes<'_, T, S>) -> Self {
        let mut row = Row {
            theta: [T::zero(); ROW],
            grad: [T::zero(); ROW],
            slot: [[T::zero(); ROW]; S],
        };
        copy(&mut row.theta, lanes.theta);
        copy(&mut row.grad, lanes.grad);
        for (row, slot) in row.slot.iter_mut().zip(&lanes.slots) {
            copy(row, slot);
        }
        row
    }

    /// The row as lanes, or no lanes where none of it is filled.
    #[inline(always)]
    fn lanes(&mut self, filled: usize) -> Lanes<'_, T, S> {
        let len = if filled == 0 { 0 } else { ROW };
        let [theta, grad] = [&mut self.theta, &mut self.grad].map(|row| &mut row[..]);
        Lanes {
            theta: theta.get_mut(..len).unwrap_or_default(),
            grad: grad.get(..len).unwrap_or_default(),
            slots: self
                .slot
                .each_mut()
                .map(|s| s.get_mut(..len).unwrap_or_default()),
        }
    }

    /// Rewrites the lanes that the row began with.
    #[inline(always)]
    fn give_back(&self, lanes: Lanes<'_, T, S>) {
        copy(lanes.theta, &self.theta);
        for (slot, row) in lanes.slots.into_iter().zip(&self.slot) {
            copy(slot, row);
        }
    }

    /// The row rewritten lane by lane, and what its lanes fold.
    #[expect(
        clippy::needless_range_loop,
        reason = "several arrays are walked side by side"
    )]
    #[inline(always)]
    fn map<const K: usize>(
        mut self,
        f: &impl Fn(Lane<T, S>) -> (Lane<T, S>, [T; K]),
    ) -> (Self, [[T; ROW]; K]) {
        let mut out = [[T::zero(); ROW]; K];
        for l in 0..ROW {
            let mut lane = Lane {
                theta: self.theta[l],
                grad: self.grad[l],
                slot: [T::zero(); S],
            };
            for k in 0..S {
                lane.slot[k] = self.slot[k][l];
            }
            let (lane, folded) = f(lane);
            self.theta[l] = lane.theta;
            for k in 0..S {
                self.slot[k][l] = lane.slot[k];
            }
            for k in 0..K {
                out[k][l] = folded[k];
            }
        }
        (self, out)
    }
}
