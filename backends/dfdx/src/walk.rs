//! [`Walk`]: a backend for any dfdx device, made of dfdx's tensor operations.
//!
//! Every operation of a plan is one tensor operation, and each of those rounds once: so the bits are those
//! of the host wherever the device divides and takes square roots correctly. Sums follow the written order
//! too: they are made of additions of whole rows.

use alloc::vec::Vec;

use adarem::backend::{copy_in, copy_out};
use adarem::plan::{Id, Op};
use adarem::{Backend, Batch, CHUNK, Element, ErrorKind, FoldOp, Plan, Real, Scope, WIDTH};
use dfdx::dtypes::Dtype;
use dfdx::shapes::{Axis, HasShape, Shape};
use dfdx::tensor::{Tensor, TensorFrom, ZerosTensor};
use dfdx::tensor_ops::{
    BroadcastTo, ChooseFrom, Device, MaxTo, ReshapeTo, TryAdd, TryConcatAlong, TryDiv, TryLt,
    TryMul, TryNe, TryStack, TrySub,
};

use crate::error::Error;
use crate::flat::{Flat, List, Scalar};

/// Any dfdx device as a [`Backend`]: it walks the plan, one tensor operation for each of the plan's.
///
/// An operation of dfdx allocates its result and passes over memory, so this is some ten times slower than a
/// fused step. It never waits for the device. State of 16 bits is kept in full: dfdx has no operations on bits to
/// unpack it with, and beside a pass over memory for each operation the bytes saved would be few. (Models on dfdx's `Cpu`
/// are stepped by `adarem-cpu`, which packs.)
///
/// The sign of a NaN is taken for plus where a rule asks for it, as dfdx has no operation that shows it.
///
/// ```
/// use adarem::{AdaRem, Optimizer};
/// use adarem_dfdx::{Flat, Walk};
/// use dfdx::prelude::*;
///
/// let dev = Cpu::default();
/// let mut walk = Walk::new(dev.clone());
/// let mut theta = Flat::from_tensor(dev.tensor([3.0f32, -4.0]))?;
/// let grad = Flat::from_tensor(dev.tensor([2.0f32, -2.0]))?;
/// let rule = AdaRem { lr: 0.5, ..AdaRem::default() };
/// let mut optimizer = adarem::Optimizer::new(rule, &mut walk, &[2])?;
/// optimizer.step(&mut walk, &mut [&mut theta], &[&grad])?;
/// let mut numbers = [0.0; 2];
/// adarem::Backend::read(&mut walk, &theta, 0, &mut numbers)?;
/// assert_eq!(numbers, [2.0, -3.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Walk<E, D> {
    device: D,
    element: core::marker::PhantomData<E>,
}

impl<E, D> Walk<E, D> {
    /// A backend that works on this device.
    pub fn new(device: D) -> Self {
        Walk {
            device,
            element: core::marker::PhantomData,
        }
    }
}

impl<E: Element + Dtype, D: Device<E>> Backend for Walk<E, D> {
    type Elem = E;
    type Tensor = Flat<E, D>;
    type Memory = Flat<E, D>;
    type Error = Error<D::Err>;

    fn zeros(&mut self, len: usize) -> Result<Flat<E, D>, Self::Error> {
        let mut zeros = Vec::new();
        let reserved = zeros.try_reserve_exact(len);
        reserved.map_err(|_| ErrorKind::OutOfMemory)?;
        zeros.resize(len, E::zero());
        Ok(Flat::from_host(zeros))
    }

    fn write(&mut self, to: &mut Flat<E, D>, at: usize, from: &[E]) -> Result<(), Self::Error> {
        Ok(copy_in(to.host_mut(), at, from)?)
    }

    fn read(&mut self, from: &Flat<E, D>, at: usize, to: &mut [E]) -> Result<(), Self::Error> {
        Ok(copy_out(from.host(), at, to)?)
    }

    /// Nothing: dfdx waits for a device when it is read, and reports what failed where it was asked for.
    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn run(
        &mut self,
        plan: &Plan,
        uniforms: &[f64],
        batch: Batch<'_, '_, Self>,
    ) -> Result<(), Self::Error> {
        run(&self.device, plan, uniforms, batch).map_err(Error::Device)
    }
}

/// A value of one op: numbers, or the outcome of a comparison.
#[derive(Clone)]
enum Value<S: Shape, E: Dtype, D: Device<E>> {
    Number(Tensor<S, E, D>),
    Mask(Tensor<S, bool, D>),
}

/// A value that may not be there: that of an op which the plan does not ask for.
type Found<S, E, D> = Option<Value<S, E, D>>;
type Scalars<E, D> = Vec<Found<(), E, D>>;

fn run<E: Element + Dtype, D: Device<E>>(
    device: &D,
    plan: &Plan,
    uniforms: &[f64],
    batch: Batch<'_, '_, Walk<E, D>>,
) -> Result<(), D::Err> {
    let ranges: Vec<_> = batch.ranges().collect();
    let Batch {
        theta,
        grad,
        slots,
        carried,
    } = batch;
    for (theta, range) in theta.iter_mut().zip(&ranges) {
        theta.cut(device, core::iter::once(0..range.len()))?;
    }
    for slot in slots.iter_mut() {
        slot.cut(device, ranges.iter().cloned())?;
    }
    let count = ranges.len() * plan.carried();
    carried.cut(device, (0..count).map(|k| k..k + 1))?;
    // The caller keeps the gradients, so they are cut in clones, which share their memory.
    let mut grads: Vec<Flat<E, D>> = grad.iter().map(|&grad| grad.clone()).collect();
    for (grad, range) in grads.iter_mut().zip(&ranges) {
        grad.cut(device, core::iter::once(0..range.len()))?;
    }

    let mut scalars: Vec<Scalars<E, D>> = ranges
        .iter()
        .map(|_| plan.ops().iter().map(|_| None).collect())
        .collect();
    for p in 0..plan.passes().len() {
        let mut folded: Vec<Vec<Scalar<E, D>>> = Vec::new();
        for (i, (range, scalars)) in ranges.iter().zip(&mut scalars).enumerate() {
            let (Some(theta), Some(grad)) = (theta.get_mut(i), grads.get(i)) else {
                continue;
            };
            let mut tensor = OnePass {
                device,
                plan,
                uniforms,
                len: range.len(),
                index: i,
                theta,
                grad,
                slots,
                carried,
            };
            folded.push(tensor.run(p, scalars)?);
        }
        over_the_group(plan, p, &mut folded)?;
        for (i, (scalars, folded)) in scalars.iter_mut().zip(folded).enumerate() {
            let leaf = |op| match op {
                Op::Folded(_, k) => Ok(folded.get(usize::from(k)).cloned()),
                op => leaf_scalar(device, op, uniforms, carried, i * plan.carried()),
            };
            for id in plan.scalar_ops(p).iter() {
                let value = match leaf(plan.op(id))? {
                    Some(scalar) => Some(Value::Number(scalar)),
                    None => apply(device, plan.op(id), |id| at(scalars, id))?,
                };
                put(scalars, id, value);
            }
            for (k, id) in plan.carries(p) {
                if let Some(Value::Number(scalar)) = at(scalars, id) {
                    carried.replace(i * plan.carried() + k, scalar.try_reshape_like(&(1,))?);
                }
            }
        }
    }
    Ok(())
}

fn at<S: Shape, E: Dtype, D: Device<E>>(values: &[Found<S, E, D>], id: Id) -> Found<S, E, D> {
    values.get(usize::from(id)).cloned().flatten()
}

fn put<S: Shape, E: Dtype, D: Device<E>>(
    values: &mut [Found<S, E, D>],
    id: Id,
    value: Found<S, E, D>,
) {
    if let Some(place) = values.get_mut(usize::from(id)) {
        *place = value;
    }
}

/// A scalar that is given, not computed; `None` for any other op.
fn leaf_scalar<E: Element + Dtype, D: Device<E>>(
    device: &D,
    op: Op,
    uniforms: &[f64],
    carried: &Flat<E, D>,
    first_carried: usize,
) -> Result<Option<Scalar<E, D>>, D::Err> {
    let number = |x| TensorFrom::<E, (), E>::try_tensor(device, <E as Real>::lit(x)).map(Some);
    match op {
        Op::Uniform(k) => uniforms
            .get(usize::from(k))
            .map_or(Ok(None), |&x| number(x)),
        Op::Lit(x) => number(x.value()),
        Op::Carried(k) => match carried.piece(first_carried + usize::from(k)) {
            Some(piece) => piece.clone().try_reshape_like(&()).map(Some),
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

/// One pass over one tensor.
struct OnePass<'a, E: Element + Dtype, D: Device<E>> {
    device: &'a D,
    plan: &'a Plan,
    uniforms: &'a [f64],
    len: usize,
    index: usize,
    theta: &'a mut Flat<E, D>,
    grad: &'a Flat<E, D>,
    slots: &'a mut [Flat<E, D>],
    carried: &'a Flat<E, D>,
}

impl<E: Element + Dtype, D: Device<E>> OnePass<'_, E, D> {
    /// Rewrites the lanes and returns the folds.
    fn run(&mut self, p: usize, scalars: &mut Scalars<E, D>) -> Result<Vec<Scalar<E, D>>, D::Err> {
        let plan = self.plan;
        let Some(pass) = plan.passes().get(p) else {
            return Ok(Vec::new());
        };
        if self.len == 0 {
            let zero = |_: &_| ZerosTensor::<E>::try_zeros_like(self.device, &());
            return pass.folds().iter().map(zero).collect();
        }
        let lane_rate = plan.lanes();
        let mut lanes: Vec<Found<(usize,), E, D>> = plan.ops().iter().map(|_| None).collect();
        for id in plan.lane_ops(p).iter() {
            let op = plan.op(id);
            if lane_rate.contains(id) {
                let value = match self.load(op) {
                    Some(list) => Some(Value::Number(list)),
                    None => {
                        let mut args = Vec::new();
                        for id in op.args() {
                            args.push((id, self.spread(at(&lanes, id), at(scalars, id))?));
                        }
                        let arg = |id| args.iter().find(|(a, _)| *a == id)?.1.clone();
                        apply(self.device, op, arg)?
                    }
                };
                put(&mut lanes, id, value);
            } else {
                let first = self.index * plan.carried();
                let given = leaf_scalar(self.device, op, self.uniforms, self.carried, first)?;
                let value = match given {
                    Some(scalar) => Some(Value::Number(scalar)),
                    None => apply(self.device, op, |id| at(scalars, id))?,
                };
                put(scalars, id, value);
            }
        }

        let number = |id| match self.spread(at(&lanes, id), at(scalars, id))? {
            // A scalar spread over the lanes becomes memory of its own.
            Some(Value::Number(list)) => list.try_contiguous(),
            _ => ZerosTensor::<E>::try_zeros_like(self.device, &(self.len,)),
        };
        let mut folded = Vec::new();
        for &(fold, id) in pass.folds() {
            folded.push(match fold.op {
                FoldOp::MaxAbs => number(id)?.try_abs()?.try_nans_to(0.0)?.try_max()?,
                FoldOp::Sum => sum(number(id)?)?,
            });
        }
        let theta = pass.theta().map(number).transpose()?;
        let mut written = Vec::new();
        for k in 0..self.slots.len() {
            written.push(pass.slot(k).map(number).transpose()?);
        }
        if let Some(list) = theta {
            self.theta.replace(0, list);
        }
        for (slot, list) in self.slots.iter_mut().zip(written) {
            if let Some(list) = list {
                slot.replace(self.index, list);
            }
        }
        Ok(folded)
    }

    /// What lies in memory; `None` for an op that computes.
    fn load(&self, op: Op) -> Option<List<E, D>> {
        match op {
            Op::Theta(_) => self.theta.piece(0).cloned(),
            Op::Grad(_) => self.grad.piece(0).cloned(),
            Op::Slot(_, k) => self.slots.get(usize::from(k))?.piece(self.index).cloned(),
            _ => None,
        }
    }

    /// A value of the lanes, or else a scalar in every lane.
    fn spread(
        &self,
        lanes: Found<(usize,), E, D>,
        scalar: Found<(), E, D>,
    ) -> Result<Found<(usize,), E, D>, D::Err> {
        let shape = (self.len,);
        Ok(match (lanes, scalar) {
            (Some(value), _) => Some(value),
            (None, Some(Value::Number(scalar))) => Some(Value::Number(
                scalar.try_broadcast_like::<_, Axis<0>>(&shape)?,
            )),
            (None, Some(Value::Mask(scalar))) => Some(Value::Mask(
                scalar.try_broadcast_like::<_, Axis<0>>(&shape)?,
            )),
            (None, None) => None,
        })
    }
}

/// The value of an op that computes; `None` where an argument has none.
fn apply<S: Shape, E: Element + Dtype, D: Device<E>>(
    device: &D,
    op: Op,
    arg: impl Fn(Id) -> Found<S, E, D>,
) -> Result<Found<S, E, D>, D::Err> {
    let number = |id| match arg(id) {
        Some(Value::Number(x)) => Some(x),
        _ => None,
    };
    let both = |a, b| Some((number(a)?, number(b)?));
    Ok(match op {
        Op::Add(a, b) => both(a, b).map(|(a, b)| a.try_add(b)).transpose()?,
        Op::Sub(a, b) => both(a, b).map(|(a, b)| a.try_sub(b)).transpose()?,
        Op::Mul(a, b) => both(a, b).map(|(a, b)| a.try_mul(b)).transpose()?,
        Op::Div(a, b) => both(a, b).map(|(a, b)| a.try_div(b)).transpose()?,
        Op::Max(a, b) => both(a, b).map(|(a, b)| max(a, b)).transpose()?,
        Op::XorSign(a, b) => both(a, b)
            .map(|(a, b)| xor_sign(device, a, b))
            .transpose()?,
        Op::Neg(a) => number(a).map(Tensor::try_negate).transpose()?,
        Op::Abs(a) => number(a).map(Tensor::try_abs).transpose()?,
        Op::Sqrt(a) => number(a).map(Tensor::try_sqrt).transpose()?,
        Op::Select(m, a, b) => match (arg(m), both(a, b)) {
            (Some(Value::Mask(mask)), Some((a, b))) => Some(mask.try_choose(a, b)?),
            _ => None,
        },
        Op::Lt(a, b) => {
            let mask = both(a, b).map(|(a, b)| a.try_lt(&b)).transpose()?;
            return Ok(mask.map(Value::Mask));
        }
        Op::Theta(_) | Op::Grad(_) | Op::Slot(..) => None,
        Op::Uniform(_) | Op::Carried(_) | Op::Folded(..) | Op::Lit(_) => None,
    }
    .map(Value::Number))
}

/// The larger; a NaN loses, and of two zeros `b` does.
fn max<S: Shape, E: Dtype, D: Device<E>>(
    a: Tensor<S, E, D>,
    b: Tensor<S, E, D>,
) -> Result<Tensor<S, E, D>, D::Err> {
    let (less, nan) = (a.try_lt(&b)?, a.try_ne(&a)?);
    nan.try_choose(b.clone(), less.try_choose(b, a)?)
}

/// `x` with its sign flipped where `of` is negative, be it by a zero's sign.
fn xor_sign<S: Shape, E: Element + Dtype, D: Device<E>>(
    device: &D,
    x: Tensor<S, E, D>,
    of: Tensor<S, E, D>,
) -> Result<Tensor<S, E, D>, D::Err> {
    let zero = ZerosTensor::<E>::try_zeros_like(device, x.shape())?;
    // Comparisons see no sign in a zero, but 1 / -0 is below zero; 1 / -infinity is not, but -infinity is.
    let negative = of.try_lt(&zero)?;
    let inverse = of.try_recip()?.try_lt(&zero)?;
    let flipped = x.clone().try_negate()?;
    negative.try_choose(flipped.clone(), inverse.try_choose(flipped, x)?)
}

/// The sum of a tensor's lanes, in the order of [`adarem::fold`].
fn sum<E: Element + Dtype, D: Device<E>>(lanes: List<E, D>) -> Result<Scalar<E, D>, D::Err> {
    let lanes = padded(lanes, CHUNK)?;
    let chunks = lanes.shape().0 / CHUNK;
    sum_of_partials(halved(lanes.try_reshape_like(&(chunks, CHUNK))?)?)
}

/// The sum of a tensor's partials, or of a group's results: as if they were one chunk.
fn sum_of_partials<E: Element + Dtype, D: Device<E>>(
    partials: List<E, D>,
) -> Result<Scalar<E, D>, D::Err> {
    let partials = padded(partials, WIDTH)?;
    let len = partials.shape().0;
    halved(partials.try_reshape_like(&(1, len))?)?.try_reshape_like(&())
}

/// Zeros behind a list, up to a multiple of `to`: they change no sum's bits.
fn padded<E: Element + Dtype, D: Device<E>>(
    list: List<E, D>,
    to: usize,
) -> Result<List<E, D>, D::Err> {
    let len = list.shape().0;
    let missing = len.next_multiple_of(to) - len;
    if missing == 0 {
        return Ok(list);
    }
    let zeros = ZerosTensor::<E>::try_zeros_like(list.device(), &(missing,))?;
    (list, zeros).try_concat_along(Axis::<0>)
}

/// The sum of every row: its lanes go to `WIDTH` accumulators in turn, which are halved.
fn halved<E: Element + Dtype, D: Device<E>>(
    rows: Tensor<(usize, usize), E, D>,
) -> Result<List<E, D>, D::Err> {
    let (count, len) = *rows.shape();
    let part = |of: &Tensor<(usize, usize), E, D>, from: usize, to: usize| {
        of.clone().try_slice((0..count, from..to))
    };
    let mut acc = ZerosTensor::<E>::try_zeros_like(rows.device(), &(count, WIDTH))?;
    for from in (0..len).step_by(WIDTH) {
        acc = acc.try_add(part(&rows, from, from + WIDTH)?)?;
    }
    let mut width = WIDTH;
    while width > 1 {
        let (low, high) = (part(&acc, 0, width / 2)?, part(&acc, width / 2, width)?);
        acc = low.try_add(high)?;
        width /= 2;
    }
    acc.try_reshape_like(&(count,))
}

/// Puts the group's result in the place of every tensor's, for the folds of pass `p` that reach over it.
fn over_the_group<E: Element + Dtype, D: Device<E>>(
    plan: &Plan,
    p: usize,
    folded: &mut [Vec<Scalar<E, D>>],
) -> Result<(), D::Err> {
    let folds = plan.passes().get(p).map_or(&[][..], |pass| pass.folds());
    for (k, (fold, _)) in folds.iter().enumerate() {
        let results: Vec<_> = folded.iter().filter_map(|of| of.get(k).cloned()).collect();
        if fold.scope == Scope::Tensor || results.is_empty() {
            continue;
        }
        let results: List<E, D> = results.try_stack()?;
        let result = match fold.op {
            FoldOp::MaxAbs => results.try_max()?,
            FoldOp::Sum => sum_of_partials(results)?,
        };
        for of in folded.iter_mut() {
            if let Some(place) = of.get_mut(k) {
                *place = result.clone();
            }
        }
    }
    Ok(())
}
