//! A step computed directly: the rule's own code over the host's slices, without any plan. This is what
//! every backend is compared with.

use adarem::{
    Accumulators, Element, Engine, Fold, Host, Lane, MAX_CARRIED, MAX_SLOTS, Real, Rule, Scope,
};

use crate::state::State;

/// Step `t` of `rule` over `state`.
///
/// The host runs one tensor at a time, so a fold over the group is not known when the first tensor needs
/// it. The step is therefore replayed from its beginning: each round knows the group's results of one more
/// pass, until no pass asks for one that is unknown.
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
    let range = state.ranges()[i].clone();
    let carried_at = i * R::CARRIED..(i + 1) * R::CARRIED;
    // A host of any rule: it has all slots and carried scalars that a rule may have.
    let mut slots: [Vec<T>; MAX_SLOTS] = core::array::from_fn(|k| match state.slots.get(k) {
        Some(slot) => slot[range.clone()].to_vec(),
        None => vec![T::zero(); range.len()],
    });
    let mut carried = [T::zero(); MAX_CARRIED];
    carried[..R::CARRIED].copy_from_slice(&state.carried[carried_at.clone()]);

    let views = slots.each_mut().map(Vec::as_mut_slice);
    let mut replay = Replay {
        host: Host::new(&mut state.theta[i], &state.grad[i], views, &mut carried)
            .unwrap_or_else(|error| panic!("a state's lengths agree: {error}")),
        known: known.iter(),
        asked: None,
    };
    rule.step(t, &mut replay);
    let asked = replay.asked;

    for (slot, new) in state.slots.iter_mut().zip(&slots) {
        slot[range.clone()].copy_from_slice(new);
    }
    state.carried[carried_at].copy_from_slice(&carried[..R::CARRIED]);
    asked
}

/// The host of one tensor, with the group's results of the earlier passes.
struct Replay<'a, T> {
    host: Host<'a, T, MAX_SLOTS, MAX_CARRIED>,
    known: core::slice::Iter<'a, Vec<T>>,
    asked: Option<(Vec<Fold>, Vec<T>)>,
}

impl<T: Element> Engine for Replay<'_, T> {
    type Real = T;
    const SLOTS: usize = MAX_SLOTS;
    const CARRIED: usize = MAX_CARRIED;

    fn uniform(&mut self, x: f64) -> T {
        self.host.uniform(x)
    }

    fn carried_at(&mut self, k: usize) -> T {
        self.host.carried_at(k)
    }

    fn carry_at(&mut self, k: usize, x: T) {
        self.host.carry_at(k, x);
    }

    fn pass_at<const S: usize, const K: usize>(
        &mut self,
        first: usize,
        folds: [Fold; K],
        f: impl Fn(Lane<T, S>) -> (Lane<T, S>, [T; K]),
    ) -> [T; K] {
        let mut results = self.host.pass_at(first, folds, f);
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
                self.asked.get_or_insert((folds.to_vec(), results.to_vec()));
            }
        }
        results
    }
}

/// The number that `x` is in a tensor of this type.
pub(crate) fn rounded<T: Element>(x: f64) -> T {
    Real::lit(x)
}
