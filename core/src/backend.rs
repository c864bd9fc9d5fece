//! [`Backend`]: what a piece of hardware implements.

use core::borrow::BorrowMut;
use core::ops::Range;

use crate::error::{Error, ErrorKind, Mismatch};
use crate::half::Half;
use crate::plan::Plan;
use crate::real::{Dtype, Element};
use crate::rule::Rule;
use crate::trace::trace;

/// State begins at multiples of so many elements, so that a device may load it in wide pieces.
pub const ALIGN: usize = 64;

/// Numbers kept where a backend keeps them.
///
/// ```
/// assert_eq!(adarem::Tensor::len(&[0.0f32; 3][..]), 3);
/// ```
pub trait Tensor {
    /// How many numbers.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Element> Tensor for [T] {
    fn len(&self) -> usize {
        <[T]>::len(self)
    }
}

/// Something that steps tensors.
///
/// # To use it
/// Give it to an [`Optimizer`](crate::Optimizer). Work may be asynchronous: what [`step`](Self::step) and
/// [`run`](Self::run) were asked for has happened, in order, when [`flush`](Self::flush) or
/// [`read`](Self::read) returns.
///
/// # To implement it
/// [`run`](Self::run) is the only method that computes. It must
/// - run the plan's passes in order over every tensor, as [`plan`](crate::plan) says, rounding host scalars
///   and literals once to `Elem`;
/// - agree in every bit with [`Plan::eval`] and with the order of [`fold`](crate::fold): nothing fused,
///   contracted or flushed to zero;
/// - never read what it does not need, nor write where [`Pass`](crate::plan::Pass) names nothing;
/// - accept tensors of length 0, and a batch of none.
///
/// It may return before the work is done, cache what it compiled under the plan, and allocate when it first
/// sees a plan or a list of tensors. It must not wait for the device, nor allocate in the steps after.
/// Lengths have been checked by the caller. The conformance kit checks all of this.
pub trait Backend {
    /// What its tensors hold.
    type Elem: Element;

    /// A parameter or a gradient, as a step takes it: a slice, a device pointer, a range of a buffer.
    type Tensor: Tensor + ?Sized;

    /// Memory that the backend allocates itself, to be used as a tensor.
    type Memory: BorrowMut<Self::Tensor>;

    /// What may go wrong.
    type Error: Error + From<ErrorKind>;

    /// Whether state vectors that [hold half floats](Rule::HALF) are given to it packed, two numbers in an element of
    /// four bytes, as [`packing`] says. No bit depends on it, so a backend may leave it at no.
    const PACKS: bool = false;

    /// Allocates `len` zeros.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`], [`ErrorKind::DeviceLost`].
    fn zeros(&mut self, len: usize) -> Result<Self::Memory, Self::Error>;

    /// Copies `from` into `to[at..]`.
    ///
    /// # Errors
    /// [`ErrorKind::Length`] where it does not fit, [`ErrorKind::DeviceLost`].
    fn write(
        &mut self,
        to: &mut Self::Tensor,
        at: usize,
        from: &[Self::Elem],
    ) -> Result<(), Self::Error>;

    /// Copies `from[at..]` into `to`, after everything asked for before.
    ///
    /// # Errors
    /// [`ErrorKind::Length`] where `from` is too short, [`ErrorKind::DeviceLost`].
    fn read(
        &mut self,
        from: &Self::Tensor,
        at: usize,
        to: &mut [Self::Elem],
    ) -> Result<(), Self::Error>;

    /// Waits until everything asked for has happened.
    ///
    /// # Errors
    /// What went wrong since the last wait, such as [`ErrorKind::DeviceLost`].
    fn flush(&mut self) -> Result<(), Self::Error>;

    /// Runs `plan` with these host scalars over the batch.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`], [`ErrorKind::DeviceLost`], [`ErrorKind::Other`]. Parameters and state may
    /// then be half written. [`ErrorKind::Length`] for a batch that does not fit, before anything is written.
    fn run(
        &mut self,
        plan: &Plan,
        uniforms: &[f64],
        batch: Batch<'_, '_, Self>,
    ) -> Result<(), Self::Error>;

    /// Step `t` of `rule` over the batch. Given: traces the rule and runs the plan.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`ErrorKind::Plan`] for a rule that does not fit one.
    fn step<R: Rule>(
        &mut self,
        rule: &R,
        t: u64,
        batch: Batch<'_, '_, Self>,
    ) -> Result<(), Self::Error> {
        let traced = trace(rule, t).map_err(ErrorKind::from)?;
        self.run(&traced.plan, traced.uniforms(), batch)
    }
}

/// The tensors of one step, and their state.
///
/// The state of all tensors lies in one piece of memory per slot: tensor `i` from where
/// [`Batch::ranges`] says. `theta`, `grad` and those ranges are of equal lengths.
pub struct Batch<'a, 't, B: Backend + ?Sized> {
    /// The parameters, to be rewritten.
    pub theta: &'a mut [&'t mut B::Tensor],
    /// Their gradients.
    pub grad: &'a [&'a B::Tensor],
    /// One for each slot of the rule; packed where [`packing`] says so.
    pub slots: &'a mut [B::Memory],
    /// The carried scalars: those of tensor `i` from `i * plan.carried()`.
    pub carried: &'a mut B::Memory,
}

impl<B: Backend + ?Sized> Batch<'_, '_, B> {
    /// Where the state of each tensor lies in the memory of a slot, in elements.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        ranges(self.theta.iter().map(|theta| theta.len()))
    }
}

/// How `B` is given state vectors that hold only numbers of this [half type](Rule::HALF): packed, or one in an element.
/// Packed, lane `i` lies in element `i / 2`, in the low half where `i` is even.
///
/// ```
/// use adarem::{AdaRem, Half, Lent, Rule, backend::packing};
///
/// assert_eq!(packing::<Lent<f32>>(AdaRem::HALF), None);
/// assert_eq!(packing::<Lent<f32>>(Some(Half::Bf16)), None, "it does not pack");
/// ```
pub const fn packing<B: Backend + ?Sized>(half: Option<Half>) -> Option<Half> {
    match B::Elem::DTYPE {
        Dtype::F32 if B::PACKS => half,
        _ => None,
    }
}

/// Where the state of tensors of these lengths lies in the memory of a slot: one after the other, each
/// from a multiple of [`ALIGN`].
///
/// ```
/// let ranges: Vec<_> = adarem::backend::ranges([3, 0, 65].into_iter()).collect();
/// assert_eq!(ranges, [0..3, 64..64, 64..129]);
/// ```
pub fn ranges(lengths: impl Iterator<Item = usize>) -> impl Iterator<Item = Range<usize>> {
    lengths.scan(0usize, |next, len| {
        let start = *next;
        let end = start.checked_add(len)?;
        *next = end.checked_next_multiple_of(ALIGN)?;
        Some(start..end)
    })
}

/// Copies `from` into `to[at..]`: [`Backend::write`], for backends whose numbers the host can reach.
///
/// ```
/// let mut numbers = [0.0f32; 3];
/// adarem::backend::copy_in(&mut numbers, 1, &[1.0, 2.0])?;
/// assert_eq!(numbers, [0.0, 1.0, 2.0]);
/// assert!(adarem::backend::copy_in(&mut numbers, 2, &[1.0, 2.0]).is_err());
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Length`] where it does not fit; nothing is copied.
#[inline]
pub fn copy_in<T: Copy>(to: &mut [T], at: usize, from: &[T]) -> Result<(), ErrorKind> {
    let got = to.len().saturating_sub(at);
    let part = to.get_mut(at..).and_then(|to| to.get_mut(..from.len()));
    let part = part.ok_or(short("the part to write", from.len(), got))?;
    for (to, from) in part.iter_mut().zip(from) {
        *to = *from;
    }
    Ok(())
}

/// Copies `from[at..]` into `to`: [`Backend::read`], for backends whose numbers the host can reach.
///
/// ```
/// let mut numbers = [0.0f32; 2];
/// adarem::backend::copy_out(&[1.0, 2.0, 3.0], 1, &mut numbers)?;
/// assert_eq!(numbers, [2.0, 3.0]);
/// assert!(adarem::backend::copy_out(&[1.0, 2.0, 3.0], 2, &mut numbers).is_err());
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Length`] where `from` is too short; nothing is copied.
#[inline]
pub fn copy_out<T: Copy>(from: &[T], at: usize, to: &mut [T]) -> Result<(), ErrorKind> {
    let got = from.len().saturating_sub(at);
    let part = from.get(at..).and_then(|from| from.get(..to.len()));
    let part = part.ok_or(short("the part to read", to.len(), got))?;
    for (to, from) in to.iter_mut().zip(part) {
        *to = *from;
    }
    Ok(())
}

fn short(what: &'static str, expected: usize, got: usize) -> Mismatch {
    Mismatch {
        what,
        tensor: 0,
        expected,
        got,
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::{Batch, Tensor, ranges};
    use crate::lent::tests::Planned;

    #[test]
    fn state_begins_at_multiples_of_64() {
        let of = |lengths: &[usize]| ranges(lengths.iter().copied()).collect::<Vec<_>>();
        assert_eq!(
            of(&[3, 0, 64, 65, 1]),
            [0..3, 64..64, 64..128, 128..193, 256..257]
        );
        assert_eq!(of(&[]), []);
        // What cannot be counted has no place.
        assert_eq!(of(&[1, 2, usize::MAX]), [0..1, 64..66]);
    }

    #[test]
    fn a_batch_knows_where_its_state_lies() {
        let (mut a, mut b, mut memory) = (vec![1.0; 70], vec![1.0; 2], [0.0; 1]);
        let mut carried = &mut memory[..];
        let batch: Batch<'_, '_, Planned<'_>> = Batch {
            theta: &mut [&mut a, &mut b],
            grad: &[],
            slots: &mut [],
            carried: &mut carried,
        };
        assert_eq!(batch.ranges().collect::<Vec<_>>(), [0..70, 128..130]);
    }

    #[test]
    fn a_slice_is_a_tensor() {
        for len in [0, 1, 5] {
            let numbers = vec![0.0f32; len];
            assert_eq!(Tensor::len(&numbers[..]), len);
            assert_eq!(Tensor::is_empty(&numbers[..]), len == 0);
        }
    }
}
