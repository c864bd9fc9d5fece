//! [`Host`]: runs a rule on slices, on any target, without heap, threads or `std`.

use core::array;

use crate::error::{ErrorKind, Mismatch};
use crate::fold::{Accumulators, CHUNK, Fold, FoldOp, ROW};
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

    #[inline(always)]
    fn uniform(&mut self, x: f64) -> T {
        T::lit(x)
    }

    #[inline(always)]
    fn carried<const K: usize>(&mut self) -> T {
        const { assert!(K < C, "the rule carries more scalars than this host holds") };
        self.found.get(K).copied().unwrap_or(T::zero())
    }

    #[inline(always)]
    fn carry<const K: usize>(&mut self, x: T) {
        const { assert!(K < C, "the rule carries more scalars than this host holds") };
        if let Some(carried) = self.carried.get_mut(K) {
            *carried = x;
        }
    }

    #[inline(always)]
    fn pass<const S: usize, const K: usize>(
        &mut self,
        folds: [Fold; K],
        f: impl Fn(Lane<T, S>) -> (Lane<T, S>, [T; K]),
    ) -> [T; K] {
        const { assert!(S <= N, "the rule has more slots than this host holds") };
        self.lanes.first::<S>().pass(folds, &f)
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
        each::<S>(|k| {
            if slots[k].len() != expected {
                slot = slots[k].len();
            }
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

    /// The same lanes with the first `F` slots only, all where there are fewer.
    #[inline(always)]
    fn first<const F: usize>(&mut self) -> Lanes<'_, T, F> {
        let mut first = [const { nothing() }; F];
        let mut slots = self.slots.iter_mut();
        each::<F>(|k| {
            if let (Some(first), Some(slot)) = (first.get_mut(k), slots.next()) {
                *first = slot;
            }
        });
        Lanes {
            theta: self.theta,
            grad: self.grad,
            slots: first,
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
        mut self,
        folds: [Fold; K],
        f: &impl Fn(Lane<T, S>) -> (Lane<T, S>, [T; K]),
    ) -> [T; K] {
        // Maxima need no order, so nothing needs to be cut into chunks.
        if only_maxima(&folds) {
            return if ROW == 1 {
                self.maxima(f)
            } else {
                self.fold(folds, f)
            };
        }
        let mut partials = folds.map(|fold| Accumulators::new(fold.op));
        while !self.is_empty() {
            let partial = self.take(CHUNK).fold(folds, f);
            for (partials, x) in partials.iter_mut().zip(partial) {
                partials.push(x);
            }
        }
        partials.map(Accumulators::finish)
    }

    /// [`pass`](Self::pass) where all folds are maxima, for processors without vectors: in as few
    /// instructions, and as little memory, as a loop written for one rule.
    #[inline(always)]
    fn maxima<const K: usize>(mut self, f: &impl Fn(Lane<T, S>) -> (Lane<T, S>, [T; K])) -> [T; K] {
        let len = self.theta.len();
        let mut largest = [T::zero(); K];
        // Never so: it tells the compiler what `new` checked, and spares a check in every lane.
        let mut unequal = self.grad.len() != len;
        each::<S>(|k| unequal |= self.slots[k].len() != len);
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
            each::<S>(|k| lane.slot[k] = self.slots[k].get(i).copied().unwrap_or(T::zero()));
            let (lane, folded) = f(lane);
            *theta = lane.theta;
            each::<S>(|k| {
                if let Some(x) = self.slots[k].get_mut(i) {
                    *x = lane.slot[k];
                }
            });
            each::<K>(|k| largest[k] = FoldOp::MaxAbs.step(largest[k], folded[k]));
        }
        largest
    }

    /// One trip over the lanes of one chunk: rewrites them, and returns the chunk's partials. The lanes may
    /// be more than a chunk where all folds are maxima.
    #[inline(always)]
    pub fn fold<const K: usize>(
        self,
        folds: [Fold; K],
        f: &impl Fn(Lane<T, S>) -> (Lane<T, S>, [T; K]),
    ) -> [T; K] {
        let mut acc = folds.map(|fold| Accumulators::new(fold.op));
        let (theta_rows, theta) = self.theta.as_chunks_mut::<ROW>();
        let (grad_rows, grad) = self.grad.as_chunks::<ROW>();
        let mut slots = self.slots.map(|slot| slot.as_chunks_mut::<ROW>());

        for (r, (theta, grad)) in theta_rows.iter_mut().zip(grad_rows).enumerate() {
            // Rows are loaded whole and stored whole, so that the compiler need not fear that they overlap.
            let slot = array::from_fn(|k| {
                slots
                    .get(k)
                    .and_then(|(rows, _)| rows.get(r))
                    .copied()
                    .unwrap_or([T::zero(); ROW])
            });
            let row = Row {
                theta: *theta,
                grad: *grad,
                slot,
                folded: [[T::zero(); ROW]; K],
            }
            .map(f);
            *theta = row.theta;
            for ((rows, _), slot) in slots.iter_mut().zip(row.slot) {
                if let Some(row) = rows.get_mut(r) {
                    *row = slot;
                }
            }
            for (acc, row) in acc.iter_mut().zip(row.folded) {
                acc.push_row(row);
            }
        }

        for (i, (theta, &grad)) in theta.iter_mut().zip(grad).enumerate() {
            let slot = array::from_fn(|k| {
                slots
                    .get(k)
                    .and_then(|(_, rest)| rest.get(i))
                    .copied()
                    .unwrap_or(T::zero())
            });
            let (lane, folded) = f(Lane {
                theta: *theta,
                grad,
                slot,
            });
            *theta = lane.theta;
            for ((_, rest), x) in slots.iter_mut().zip(lane.slot) {
                if let Some(place) = rest.get_mut(i) {
                    *place = x;
                }
            }
            for (acc, x) in acc.iter_mut().zip(folded) {
                acc.push(x);
            }
        }
        acc.map(Accumulators::finish)
    }
}

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
/// once, and most rules have one slot and one fold.
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

/// Lanes side by side, as many as fill vector registers well.
struct Row<T, const S: usize, const K: usize> {
    theta: [T; ROW],
    grad: [T; ROW],
    slot: [[T; ROW]; S],
    folded: [[T; ROW]; K],
}

impl<T: Element, const S: usize, const K: usize> Row<T, S, K> {
    #[inline(always)]
    fn map(mut self, f: &impl Fn(Lane<T, S>) -> (Lane<T, S>, [T; K])) -> Self {
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
                self.folded[k][l] = folded[k];
            }
        }
        self
    }
}
