//! Walks a plan op by op, lane by lane: for plans that come without their rule.

use adarem::backend::packing;
use adarem::plan::{MAX_OPS, Op};
use adarem::{Accumulators, Batch, CHUNK, Element, Half, Plan, Real, Scope};

use crate::Cpu;

/// What a tensor remembers from pass to pass.
struct Memory<T> {
    values: [T; MAX_OPS],
    folds: Vec<T>,
}

/// A state vector.
struct Slot<'a, T> {
    elements: &'a mut [T],
    packed: Option<Half>,
}

impl<T: Element> Slot<'_, T> {
    fn load(&self, i: usize) -> T {
        match self.packed {
            Some(half) => half.unpack(self.elements[i / 2])[i % 2],
            None => self.elements[i],
        }
    }

    fn store(&mut self, i: usize, x: T) {
        match self.packed {
            Some(half) => {
                let mut pair = half.unpack(self.elements[i / 2]);
                pair[i % 2] = x;
                self.elements[i / 2] = half.pack(pair);
            }
            None => self.elements[i] = x,
        }
    }
}

pub(crate) fn run<T: Element>(plan: &Plan, uniforms: &[f64], batch: Batch<'_, '_, Cpu<T>>) {
    let ranges: Vec<_> = batch.ranges().collect();
    let Batch {
        theta,
        grad,
        slots,
        carried,
    } = batch;
    let packed = packing::<Cpu<T>>(plan.half());
    let mut slots: Vec<_> = slots
        .iter_mut()
        .map(|elements| Slot { elements, packed })
        .collect();
    let mut tensors: Vec<Memory<T>> = ranges
        .iter()
        .map(|_| Memory {
            values: [T::zero(); MAX_OPS],
            folds: Vec::new(),
        })
        .collect();

    for (p, pass) in plan.passes().iter().enumerate() {
        let (lane_ops, scalar_ops) = (plan.lane_ops(p), plan.scalar_ops(p));
        for (i, memory) in tensors.iter_mut().enumerate() {
            let found = &carried[i * plan.carried()..][..plan.carried()];
            let mut partials: Vec<_> = pass
                .folds()
                .iter()
                .map(|(fold, _)| Accumulators::new(fold.op))
                .collect();
            for chunk in (0..theta[i].len()).step_by(CHUNK) {
                let mut acc: Vec<_> = pass
                    .folds()
                    .iter()
                    .map(|(fold, _)| Accumulators::new(fold.op))
                    .collect();
                for l in chunk..theta[i].len().min(chunk + CHUNK) {
                    plan.eval(&lane_ops, &mut memory.values, |op| match op {
                        Op::Theta(_) => theta[i][l],
                        Op::Grad(_) => grad[i][l],
                        Op::Slot(_, k) => slots[usize::from(k)].load(ranges[i].start + l),
                        op => scalar(op, uniforms, found, &[]),
                    });
                    let value = |id| memory.values[usize::from(id)];
                    if let Some(id) = pass.theta() {
                        theta[i][l] = value(id);
                    }
                    for (k, slot) in slots.iter_mut().enumerate() {
                        if let Some(id) = pass.slot(k) {
                            slot.store(ranges[i].start + l, value(id));
                        }
                    }
                    for (acc, &(_, id)) in acc.iter_mut().zip(pass.folds()) {
                        acc.push(value(id));
                    }
                }
                for (partials, acc) in partials.iter_mut().zip(acc) {
                    partials.push(acc.finish());
                }
            }
            memory.folds = partials.into_iter().map(Accumulators::finish).collect();
        }
        for (k, (fold, _)) in pass
            .folds()
            .iter()
            .enumerate()
            .filter(|(_, (f, _))| f.scope == Scope::Group)
        {
            let mut acc = Accumulators::new(fold.op);
            tensors.iter().for_each(|memory| acc.push(memory.folds[k]));
            let result = acc.finish();
            tensors
                .iter_mut()
                .for_each(|memory| memory.folds[k] = result);
        }
        for (i, Memory { values, folds }) in tensors.iter_mut().enumerate() {
            let carried = &mut carried[i * plan.carried()..][..plan.carried()];
            plan.eval(&scalar_ops, values, |op| {
                scalar(op, uniforms, carried, folds)
            });
            for (k, id) in plan.carries(p) {
                carried[k] = values[usize::from(id)];
            }
        }
    }
}

/// The value of an op that is the same in all lanes and has no arguments.
fn scalar<T: Element>(op: Op, uniforms: &[f64], carried: &[T], folds: &[T]) -> T {
    match op {
        Op::Uniform(k) => T::lit(uniforms[usize::from(k)]),
        Op::Carried(k) => carried[usize::from(k)],
        Op::Folded(_, k) => folds[usize::from(k)],
        _ => T::zero(),
    }
}
