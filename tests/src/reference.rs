//! [`Interpreter`]: the plainest backend there is, and a model for the first draft of yours.

use adarem::backend::{copy_in, copy_out};
use adarem::plan::{MAX_OPS, Op};
use adarem::{Accumulators, Backend, Batch, CHUNK, Element, ErrorKind, FoldOp, Plan, Scope};

/// A backend that walks the ops of a plan, one lane at a time, over vectors.
///
/// It overrides nothing, so everything it does comes out of a plan: the kit proves it first, and it is the
/// other side of checkpoint round trips.
///
/// ```
/// use adarem::{AdaRem, Optimizer};
/// use adarem_conformance::Interpreter;
///
/// let mut backend = Interpreter::<f32>::default();
/// let mut optimizer = Optimizer::new(AdaRem::default(), &mut backend, &[2])?;
/// let mut theta = [1.0, -1.0];
/// optimizer.step(&mut backend, &mut [&mut theta], &[&[0.5, -0.5]])?;
/// assert_eq!(theta, [0.95, -0.95]);
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Interpreter<T> {
    elem: core::marker::PhantomData<T>,
}

impl<T: Element> Backend for Interpreter<T> {
    type Elem = T;
    type Tensor = [T];
    type Memory = Vec<T>;
    type Error = ErrorKind;

    fn zeros(&mut self, len: usize) -> Result<Vec<T>, ErrorKind> {
        let mut memory = Vec::new();
        memory
            .try_reserve_exact(len)
            .map_err(|_| ErrorKind::OutOfMemory)?;
        memory.resize(len, T::zero());
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
        let ranges: Vec<_> = batch.ranges().collect();
        let Batch {
            theta,
            grad,
            slots,
            carried,
        } = batch;
        // The value of every op, for each tensor: scalars stay there from pass to pass.
        let mut values = vec![[T::zero(); MAX_OPS]; theta.len()];
        let carried_at = |i: usize, k: u8| i * plan.carried() + usize::from(k);

        for (p, pass) in plan.passes().iter().enumerate() {
            let lane_ops = plan.lane_ops(p);
            let mut folded = Vec::with_capacity(theta.len());
            for (i, theta) in theta.iter_mut().enumerate() {
                let (values, start) = (&mut values[i], ranges[i].start);
                let mut trees: Vec<_> = pass
                    .folds()
                    .iter()
                    .map(|&(fold, _)| Tree::new(fold.op))
                    .collect();
                for lane in 0..theta.len() {
                    plan.eval(&lane_ops, values, |op| match op {
                        Op::Theta(_) => theta[lane],
                        Op::Grad(_) => grad[i][lane],
                        Op::Slot(_, k) => slots[usize::from(k)][start + lane],
                        Op::Uniform(k) => adarem::Real::lit(uniforms[usize::from(k)]),
                        Op::Carried(k) => carried[carried_at(i, k)],
                        op => unreachable!("{op} is handed to a lane, never loaded"),
                    });
                    if let Some(id) = pass.theta() {
                        theta[lane] = values[usize::from(id)];
                    }
                    for (k, slot) in slots.iter_mut().enumerate() {
                        if let Some(id) = pass.slot(k) {
                            slot[start + lane] = values[usize::from(id)];
                        }
                    }
                    for (tree, &(_, id)) in trees.iter_mut().zip(pass.folds()) {
                        tree.push(values[usize::from(id)]);
                    }
                }
                folded.push(trees.into_iter().map(Tree::finish).collect::<Vec<T>>());
            }

            for (k, (fold, _)) in pass.folds().iter().enumerate() {
                if fold.scope == Scope::Group {
                    let mut group = Accumulators::new(fold.op);
                    folded.iter().for_each(|results| group.push(results[k]));
                    let group = group.finish();
                    folded.iter_mut().for_each(|results| results[k] = group);
                }
            }

            let scalar_ops = plan.scalar_ops(p);
            for (i, values) in values.iter_mut().enumerate() {
                plan.eval(&scalar_ops, values, |op| match op {
                    Op::Uniform(k) => adarem::Real::lit(uniforms[usize::from(k)]),
                    Op::Carried(k) => carried[carried_at(i, k)],
                    Op::Folded(_, k) => folded[i][usize::from(k)],
                    op => unreachable!("{op} is a lane's, never a scalar"),
                });
                for (k, id) in plan.carries(p) {
                    carried[carried_at(i, k as u8)] = values[usize::from(id)];
                }
            }
        }
        Ok(())
    }
}

/// A fold over one tensor: accumulators of the current chunk, and of the partials.
struct Tree<T> {
    op: FoldOp,
    lanes: usize,
    chunk: Accumulators<T>,
    partials: Accumulators<T>,
}

impl<T: Element> Tree<T> {
    fn new(op: FoldOp) -> Self {
        Tree {
            op,
            lanes: 0,
            chunk: Accumulators::new(op),
            partials: Accumulators::new(op),
        }
    }

    fn push(&mut self, x: T) {
        self.chunk.push(x);
        self.lanes += 1;
        if self.lanes == CHUNK {
            self.end_chunk();
        }
    }

    fn end_chunk(&mut self) {
        let chunk = core::mem::replace(&mut self.chunk, Accumulators::new(self.op));
        self.partials.push(chunk.finish());
        self.lanes = 0;
    }

    fn finish(mut self) -> T {
        if self.lanes > 0 {
            self.end_chunk();
        }
        self.partials.finish()
    }
}
