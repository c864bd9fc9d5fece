//! Folds: how many numbers become one, to the bit. This file is the only place that states the order.
//!
//! Floating-point addition is not associative, so "the sum of a tensor" means nothing until its order is
//! written down. Here it is, for every backend:
//!
//! 1. A tensor is cut into chunks of [`CHUNK`] lanes; the last one may be shorter.
//! 2. In a chunk, lane `i` is added to accumulator `i % WIDTH`, in ascending order of `i`; all [`WIDTH`]
//!    accumulators start at zero.
//! 3. The accumulators are halved: for `w` = `WIDTH/2`, `WIDTH/4`, .., 1 and every `k < w`, accumulator
//!    `k` becomes `acc[k] + acc[k + w]`. What is left in `acc[0]` is the chunk's partial.
//! 4. The partials of a tensor are folded by steps 2 and 3 again, all of them as if one chunk.
//! 5. A fold over a group folds its tensors' results, in their order, by steps 2 and 3.
//!
//! A CPU walks the accumulators in vector registers; a GPU gives a chunk to one block, whose threads own
//! the accumulators. Neither the number of threads, nor of blocks, nor the register width enters.
//! Accumulators that no lane reached hold zero, and adding zero changes no bit (a sum that starts at +0
//! is never -0), so an implementation may skip them.
//!
//! The largest magnitude is the same in any order, but for one rule: a NaN loses.

use crate::real::Real;

/// Lanes that one partial covers; what one GPU block works on.
pub const CHUNK: usize = 4096;

/// Accumulators of a chunk.
pub const WIDTH: usize = 512;

/// What a pass folds: an operation, and how far it reaches.
///
/// ```
/// use adarem::{Fold, Scope};
///
/// assert_eq!(Fold::SUM.scope, Scope::Tensor);
/// assert_eq!(Fold::SUM.over_group().scope, Scope::Group);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fold {
    /// The operation.
    pub op: FoldOp,
    /// One tensor, or all tensors of the step.
    pub scope: Scope,
}

impl Fold {
    /// The largest magnitude of one tensor.
    pub const MAX_ABS: Fold = Fold {
        op: FoldOp::MaxAbs,
        scope: Scope::Tensor,
    };
    /// The sum over one tensor.
    pub const SUM: Fold = Fold {
        op: FoldOp::Sum,
        scope: Scope::Tensor,
    };

    /// The same fold, over all tensors of the step.
    pub const fn over_group(self) -> Fold {
        Fold {
            scope: Scope::Group,
            ..self
        }
    }

    /// The same fold, over `scope`.
    pub const fn over(self, scope: Scope) -> Fold {
        Fold { scope, ..self }
    }
}

/// The operation of a fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FoldOp {
    /// max |x|, and 0 of nothing. A NaN loses; infinity wins.
    MaxAbs,
    /// The sum, and +0 of nothing, in the order that [this module](self) states. A NaN stays.
    Sum,
}

impl FoldOp {
    /// The accumulator after `x`.
    #[inline(always)]
    pub fn step<R: Real>(self, acc: R, x: R) -> R {
        match self {
            FoldOp::MaxAbs => R::select(acc.lt(x.abs()), x.abs(), acc),
            FoldOp::Sum => acc + x,
        }
    }
}

/// How far a fold reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One tensor: each has its own result.
    #[default]
    Tensor,
    /// All tensors of the step, one parameter group: one result for all. Needed by a clipping by global norm.
    Group,
}

/// The accumulators of one chunk, or of a list of partials: steps 2 and 3 of the [order](self).
///
/// ```
/// use adarem::{Accumulators, FoldOp};
///
/// let mut acc = Accumulators::<f32>::new(FoldOp::Sum);
/// for x in [1.0, 2.0, 3.0] {
///     acc.push(x);
/// }
/// assert_eq!(acc.finish(), 6.0);
/// ```
#[derive(Clone, Debug)]
pub struct Accumulators<R> {
    op: FoldOp,
    pushed: usize,
    /// The first accumulator; a maximum, which needs no order, has no other.
    first: R,
    /// All of them, from the second lane of a sum on.
    all: Option<[R; WIDTH]>,
}

impl<R: Real> Accumulators<R> {
    /// No lane yet.
    #[inline(always)]
    pub fn new(op: FoldOp) -> Self {
        Accumulators {
            op,
            pushed: 0,
            first: R::lit(0.0),
            all: None,
        }
    }

    /// Folds the next lane in.
    #[inline(always)]
    pub fn push(&mut self, x: R) {
        if self.op == FoldOp::MaxAbs || self.pushed == 0 {
            self.first = self.op.step(self.first, x);
        } else {
            let all = self.all.get_or_insert_with(|| {
                let mut all = [R::lit(0.0); WIDTH];
                all[0] = self.first;
                all
            });
            if let Some(acc) = all.get_mut(self.pushed % WIDTH) {
                *acc = self.op.step(*acc, x);
            }
        }
        self.pushed = self.pushed.wrapping_add(1);
    }

    /// Halves the accumulators down to the result.
    #[inline(always)]
    pub fn finish(self) -> R {
        match self.all {
            Some(mut all) => halve(self.op, &mut all, self.pushed),
            None => self.first,
        }
    }
}

/// Step 3 of the [order](self), of accumulators that `pushed` lanes went into.
#[inline(always)]
pub(crate) fn halve<R: Real>(op: FoldOp, acc: &mut [R; WIDTH], pushed: usize) -> R {
    // Accumulators that nothing reached hold zero: where they fill the upper half, halving is idle.
    let mut width = WIDTH;
    while width > 1 {
        width /= 2;
        if pushed > width {
            let (low, high) = acc.split_at_mut(width);
            for (a, &b) in low.iter_mut().zip(high.iter().take(width)) {
                *a = op.step(*a, b);
            }
        }
    }
    acc.first().copied().unwrap_or(R::lit(0.0))
}

#[cfg(test)]
mod tests {
    use super::{Accumulators, Fold, FoldOp, WIDTH};
    use crate::Scope;

    #[test]
    fn a_fold_goes_over_what_it_is_told_to() {
        for scope in [Scope::Tensor, Scope::Group] {
            let fold = Fold::MAX_ABS.over(scope);
            assert_eq!((fold.op, fold.scope), (FoldOp::MaxAbs, scope));
        }
        assert_eq!(Fold::SUM.over_group(), Fold::SUM.over(Scope::Group));
    }

    /// The order as its text reads, without a shortcut.
    fn by_the_text(xs: &[f32]) -> f32 {
        let mut acc = [0.0f32; WIDTH];
        for (i, x) in xs.iter().enumerate() {
            acc[i % WIDTH] += x;
        }
        let mut w = WIDTH / 2;
        while w > 0 {
            for k in 0..w {
                acc[k] += acc[k + w];
            }
            w /= 2;
        }
        acc[0]
    }

    #[test]
    fn the_shortcut_changes_no_bit() {
        let xs: [f32; 2 * WIDTH + 3] =
            core::array::from_fn(|i| ((i * 7919) % 1000) as f32 * 0.1 - 50.0);
        for n in [
            0,
            1,
            2,
            3,
            5,
            255,
            256,
            257,
            511,
            512,
            513,
            1023,
            1024,
            1025,
            xs.len(),
        ] {
            let mut acc = Accumulators::new(FoldOp::Sum);
            xs[..n].iter().for_each(|&x| acc.push(x));
            assert_eq!(
                acc.finish().to_bits(),
                by_the_text(&xs[..n]).to_bits(),
                "{n} lanes"
            );
        }
    }

    #[test]
    fn a_nan_loses_a_maximum_and_stays_in_a_sum() {
        for (op, want) in [(FoldOp::MaxAbs, 3.0), (FoldOp::Sum, f64::NAN)] {
            let mut acc = Accumulators::new(op);
            for x in [-3.0, f64::NAN, 2.0] {
                acc.push(x);
            }
            let got = acc.finish();
            assert!(got == want || got.is_nan() && want.is_nan());
        }
    }

    #[test]
    fn nothing_folds_to_zero() {
        for op in [FoldOp::MaxAbs, FoldOp::Sum] {
            assert_eq!(Accumulators::<f32>::new(op).finish().to_bits(), 0);
        }
    }
}
