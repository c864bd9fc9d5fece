//! A backend from nothing, for a processor that does not exist: the program of the guide
//! `docs/new-backend.md`.
//!
//! The processor has memory of its own and works on *tiles* of up to 4096 lanes: every instruction does
//! one op for all lanes of a tile. Run this program to see it proved and used:
//!
//! ```text
//! cargo run --release --example new_backend
//! ```

use std::fmt;

use adarem::backend::{copy_in, copy_out};
use adarem::plan::{Id, Op, OpSet, Pass};
use adarem::{
    Accumulators, AdaRem, Backend, Batch, CHUNK, Error, ErrorKind, Optimizer, Plan, Scope, Tensor,
};

/// A range of the processor's memory.
#[derive(Debug)]
pub struct Buffer(Vec<f32>);

impl Tensor for Buffer {
    fn len(&self) -> usize {
        self.0.len()
    }
}

/// What may go wrong with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NpuError {
    /// Its memory is used up.
    Memory {
        /// The numbers that were asked for.
        wanted: usize,
    },
    /// What is wrong with a call, in the core's words.
    Core(ErrorKind),
}

impl fmt::Display for NpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NpuError::Memory { wanted } => {
                write!(f, "the processor has no room for {wanted} numbers")
            }
            NpuError::Core(kind) => kind.fmt(f),
        }
    }
}

impl std::error::Error for NpuError {}

impl Error for NpuError {
    fn kind(&self) -> ErrorKind {
        match self {
            NpuError::Memory { .. } => ErrorKind::OutOfMemory,
            NpuError::Core(kind) => *kind,
        }
    }
}

impl From<ErrorKind> for NpuError {
    fn from(kind: ErrorKind) -> Self {
        NpuError::Core(kind)
    }
}

/// The processor.
#[derive(Debug, Default)]
pub struct Npu {
    /// One tile per op of a plan, kept from step to step so that a step allocates nothing.
    tiles: Vec<Vec<f32>>,
}

impl Backend for Npu {
    type Elem = f32;
    type Tensor = Buffer;
    type Memory = Buffer;
    type Error = NpuError;

    fn zeros(&mut self, len: usize) -> Result<Buffer, NpuError> {
        let mut numbers = Vec::new();
        let room = numbers.try_reserve_exact(len);
        room.map_err(|_| NpuError::Memory { wanted: len })?;
        numbers.resize(len, 0.0);
        Ok(Buffer(numbers))
    }

    fn write(&mut self, to: &mut Buffer, at: usize, from: &[f32]) -> Result<(), NpuError> {
        Ok(copy_in(&mut to.0, at, from)?)
    }

    fn read(&mut self, from: &Buffer, at: usize, to: &mut [f32]) -> Result<(), NpuError> {
        Ok(copy_out(&from.0, at, to)?)
    }

    fn flush(&mut self) -> Result<(), NpuError> {
        Ok(())
    }

    fn run(
        &mut self,
        plan: &Plan,
        uniforms: &[f64],
        mut batch: Batch<'_, '_, Self>,
    ) -> Result<(), NpuError> {
        let tensors = batch.theta.len();
        self.tiles
            .resize_with(plan.ops().len().max(self.tiles.len()), Vec::new);
        // The scalars of each tensor, where its later passes find them.
        let mut scalars = vec![vec![0.0; plan.ops().len()]; tensors];

        for (p, pass) in plan.passes().iter().enumerate() {
            // 1. All lanes of all tensors.
            let mut folded: Vec<Vec<f32>> = Vec::new();
            for (i, scalars) in scalars.iter_mut().enumerate() {
                folded.push(self.lanes(plan, p, uniforms, &mut batch, i, scalars));
            }
            fold_the_group(pass, &mut folded);

            // 2. Once per tensor: the scalars that later passes read, and the carried ones.
            let ops = plan.scalar_ops(p);
            for (i, scalars) in scalars.iter_mut().enumerate() {
                let carried = &mut batch.carried.0[i * plan.carried()..][..plan.carried()];
                for id in ops.iter() {
                    scalars[usize::from(id)] = match plan.op(id) {
                        Op::Uniform(k) => uniforms[usize::from(k)] as f32,
                        Op::Carried(k) => carried[usize::from(k)],
                        Op::Folded(_, k) => folded[i][usize::from(k)],
                        op => compute(op, |id| scalars[usize::from(id)]),
                    };
                }
                for (k, id) in plan.carries(p) {
                    carried[k] = scalars[usize::from(id)];
                }
            }
        }
        Ok(())
    }
}

impl Npu {
    /// Pass `p` over the lanes of tensor `i`, tile by tile; returns what it folds.
    fn lanes(
        &mut self,
        plan: &Plan,
        p: usize,
        uniforms: &[f64],
        batch: &mut Batch<'_, '_, Self>,
        i: usize,
        scalars: &[f32],
    ) -> Vec<f32> {
        let (pass, ops, given) = (&plan.passes()[p], plan.lane_ops(p), plan.lane_inputs(p));
        let state = batch.ranges().nth(i).unwrap_or_default();
        let carried = &batch.carried.0[i * plan.carried()..][..plan.carried()];
        let theta = &mut batch.theta[i].0;
        let folds = || {
            pass.folds()
                .iter()
                .map(|(fold, _)| Accumulators::new(fold.op))
        };
        let mut tensor: Vec<_> = folds().collect();

        for first in (0..theta.len()).step_by(CHUNK) {
            let lanes = first..theta.len().min(first + CHUNK);
            let slots = state.start + lanes.start..state.start + lanes.end;
            self.load_scalars(&given, scalars, lanes.len());

            // One instruction per op, for the whole tile.
            for id in ops.iter() {
                let mut tile = std::mem::take(&mut self.tiles[usize::from(id)]);
                tile.clear();
                match plan.op(id) {
                    Op::Theta(_) => tile.extend(&theta[lanes.clone()]),
                    Op::Grad(_) => tile.extend(&batch.grad[i].0[lanes.clone()]),
                    Op::Slot(_, k) => tile.extend(&batch.slots[usize::from(k)].0[slots.clone()]),
                    Op::Uniform(k) => tile.resize(lanes.len(), uniforms[usize::from(k)] as f32),
                    Op::Carried(k) => tile.resize(lanes.len(), carried[usize::from(k)]),
                    op => tile.extend(
                        (0..lanes.len()).map(|l| compute(op, |id| self.tiles[usize::from(id)][l])),
                    ),
                }
                self.tiles[usize::from(id)] = tile;
            }

            // What the pass names is written, and nothing else.
            if let Some(id) = pass.theta() {
                theta[lanes.clone()].copy_from_slice(&self.tiles[usize::from(id)]);
            }
            for (k, slot) in batch.slots.iter_mut().enumerate() {
                if let Some(id) = pass.slot(k) {
                    slot.0[slots.clone()].copy_from_slice(&self.tiles[usize::from(id)]);
                }
            }
            for ((tensor, mut chunk), (_, id)) in tensor.iter_mut().zip(folds()).zip(pass.folds()) {
                self.tiles[usize::from(*id)]
                    .iter()
                    .for_each(|&x| chunk.push(x));
                tensor.push(chunk.finish());
            }
        }
        tensor.into_iter().map(Accumulators::finish).collect()
    }

    /// Spreads the scalars that were handed to a pass over their tiles.
    fn load_scalars(&mut self, given: &OpSet, scalars: &[f32], lanes: usize) {
        for id in given.iter() {
            let tile = &mut self.tiles[usize::from(id)];
            tile.clear();
            tile.resize(lanes, scalars[usize::from(id)]);
        }
    }
}

/// The ops, on numbers: what your device has instructions for.
fn compute(op: Op, x: impl Fn(Id) -> f32) -> f32 {
    match op {
        Op::Lit(c) => c.value() as f32,
        Op::Add(a, b) => x(a) + x(b),
        Op::Sub(a, b) => x(a) - x(b),
        Op::Mul(a, b) => x(a) * x(b),
        Op::Div(a, b) => x(a) / x(b),
        // A NaN loses; of two equal numbers, the first wins.
        Op::Max(a, b) => {
            if x(a) < x(b) || x(a).is_nan() {
                x(b)
            } else {
                x(a)
            }
        }
        Op::XorSign(a, b) => f32::from_bits(x(a).to_bits() ^ x(b).to_bits() & 1 << 31),
        Op::Lt(a, b) => f32::from(u8::from(x(a) < x(b))),
        Op::Neg(a) => -x(a),
        Op::Abs(a) => x(a).abs(),
        Op::Sqrt(a) => x(a).sqrt(),
        Op::Select(mask, yes, no) => {
            if x(mask) != 0.0 {
                x(yes)
            } else {
                x(no)
            }
        }
        Op::Theta(_) | Op::Grad(_) | Op::Slot(..) => unreachable!("a lane's number was loaded"),
        Op::Uniform(_) | Op::Carried(_) | Op::Folded(..) => unreachable!("a scalar was loaded"),
    }
}

/// Folds over the group take the tensors' results, in order, by the same tree.
fn fold_the_group(pass: &Pass, folded: &mut [Vec<f32>]) {
    for (k, (fold, _)) in pass.folds().iter().enumerate() {
        if fold.scope == Scope::Group {
            let mut group = Accumulators::new(fold.op);
            folded.iter().for_each(|results| group.push(results[k]));
            let group = group.finish();
            folded.iter_mut().for_each(|results| results[k] = group);
        }
    }
}

fn main() -> Result<(), NpuError> {
    // Is it right? One line, here as in a test.
    adarem_conformance::conformance("npu", Npu::default);

    // Then it trains: here f(x) = |x|^2, from (3, -4).
    let mut npu = Npu::default();
    let mut optimizer = Optimizer::new(AdaRem::default(), &mut npu, &[2])?;
    let (mut theta, mut grad) = (npu.zeros(2)?, npu.zeros(2)?);
    let mut x = [3.0, -4.0];
    npu.write(&mut theta, 0, &x)?;
    for _ in 0..100 {
        npu.read(&theta, 0, &mut x)?;
        npu.write(&mut grad, 0, &x.map(|x| 2.0 * x))?;
        optimizer.step(&mut npu, &mut [&mut theta], &[&grad])?;
    }
    npu.read(&theta, 0, &mut x)?;
    println!("after 100 steps: {x:?}");
    assert!(x.iter().all(|x| x.abs() < 1e-3));
    Ok(())
}
