//! A step computed directly: the rule's own code, lane after lane, without any plan. This is what every
//! backend is compared with.

use core::ops::Range;

use adarem::{Accumulators, CHUNK, Element, Engine, Fold, Lane, Real, Rewrite, Rule, Scope, View};

use crate::state::State;

/// Step `t` of `rule` over `state`.
///
/// A fold over the group is not known when the first tensor needs it. The step is therefore replayed from
/// its beginning: each round knows the group's results of one more pass, until no pass asks for one that
/// is unknown.
pub(crate) fn step<T: Element, R: Rule>(rule: &R, t: u64, state: &mut State<T>) {
    let mut known = Vec::new();
    loop {
        let mut after = state.clone();
        let mut asked: Option<Vec<Accumulators<T>>> = None;
        for i in 0..state.tensors() {
            if let Some((folds, results)) = tensor(rule, t, &mut after, i, &known) {
                let group = asked
                    .get_or_insert_with(|| folds.iter().map(|f| Accumulators::new(f.op)).collect());
                group
                    .iter_mut()
                    .zip(results)
                    .for_each(|(acc, x)| acc.push(x));
            }
        }
        match asked {
            Some(group) => known.push(group.into_iter().map(Accumulators::finish).collect()),
            None => {
                *state = after;
                return;
            }
        }
    }
}

/// One tensor's part of the step; returns the folds, and their results here, of the first pass whose
/// group results are not `known`.
fn tensor<T: Element, R: Rule>(
    rule: &R,
    t: u64,
    state: &mut State<T>,
    i: usize,
    known: &[Vec<T>],
) -> Option<(Vec<Fold>, Vec<T>)> {
    let at = i * R::CARRIED..(i + 1) * R::CARRIED;
    let mut direct = Direct {
        range: state.ranges()[i].clone(),
        theta: &mut state.theta[i],
        grad: &state.grad[i],
        slots: &mut state.slots,
        found: state.carried[at.clone()].to_vec(),
        carried: &mut state.carried[at],
        known: known.iter(),
        asked: None,
    };
    rule.step(t, &mut direct);
    direct.asked
}

/// The engine of one tensor: the plainest loop there is.
struct Direct<'a, T> {
    theta: &'a mut [T],
    grad: &'a [T],
    slots: &'a mut [Vec<T>],
    /// Where this tensor's state lies in the slots.
    range: Range<usize>,
    carried: &'a mut [T],
    /// The carried scalars as the step found them.
    found: Vec<T>,
    /// The group's results of the passes before.
    known: core::slice::Iter<'a, Vec<T>>,
    asked: Option<(Vec<Fold>, Vec<T>)>,
}

impl<T: Element> Engine for Direct<'_, T> {
    type Real = T;
    // Any number compiles; what the rule did not announce is out of bounds.
    const SLOTS: usize = usize::MAX;
    const CARRIED: usize = usize::MAX;

    fn uniform(&mut self, x: f64) -> T {
        rounded(x)
    }

    fn carried_at(&mut self, k: usize) -> T {
        self.found[k]
    }

    fn carry_at(&mut self, k: usize, x: T) {
        self.carried[k] = x;
    }

    fn pass_at<const S: usize, const K: usize, W: Rewrite<T, S>>(
        &mut self,
        view: impl Into<View>,
        folds: [Fold; K],
        f: impl Fn(Lane<T, S>) -> (W, [T; K]),
    ) -> [T; K] {
        let view = view.into();
        let mut contributions = [const { Vec::new() }; K];
        for i in 0..self.theta.len() {
            let at = self.range.start + i;
            let lane = Lane {
                theta: self.theta[i],
                grad: self.grad[i],
                slot: core::array::from_fn(|k| self.slots[view.vector::<S>(k)][at]),
            };
            let (left, folded) = f(lane);
            let lane = left.onto(lane);
            self.theta[i] = lane.theta;
            for (k, x) in lane.slot.into_iter().enumerate() {
                self.slots[view.vector::<S>(k)][at] = x;
            }
            for (list, x) in contributions.iter_mut().zip(folded) {
                list.push(x);
            }
        }
        self.fold(&folds, &contributions)
            .try_into()
            .unwrap_or([T::nan(); K])
    }
}

impl<T: Element> Direct<'_, T> {
    /// The results of a pass that folds these numbers of this tensor.
    fn fold(&mut self, folds: &[Fold], contributions: &[Vec<T>]) -> Vec<T> {
        let pairs = folds.iter().zip(contributions);
        let mut results: Vec<T> = pairs.map(|(fold, xs)| tree(*fold, xs)).collect();
        if folds.iter().all(|fold| fold.scope == Scope::Tensor) {
            return results;
        }
        match self.known.next() {
            Some(group) => {
                for ((fold, result), &group) in folds.iter().zip(&mut results).zip(group) {
                    if fold.scope == Scope::Group {
                        *result = group;
                    }
                }
            }
            // Whatever comes after is thrown away.
            None => {
                self.asked.get_or_insert((folds.to_vec(), results.clone()));
            }
        }
        results
    }
}

/// One tensor's fold, as the core's order has it.
fn tree<T: Element>(fold: Fold, xs: &[T]) -> T {
    let one = |xs: &[T]| {
        let mut acc = Accumulators::new(fold.op);
        xs.iter().for_each(|&x| acc.push(x));
        acc.finish()
    };
    let partials: Vec<T> = xs.chunks(CHUNK).map(one).collect();
    one(&partials)
}

/// The number that `x` is in a tensor of this type.
pub(crate) fn rounded<T: Element>(x: f64) -> T {
    Real::lit(x)
}
