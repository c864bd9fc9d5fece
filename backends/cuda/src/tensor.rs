//! Numbers in a device's memory.

use crate::device::Allocation;
use core::borrow::{Borrow, BorrowMut};
use core::marker::PhantomData;

/// A parameter or gradient, in full or of 16 bits: where it lies on the device, and how long it is. It owns nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct Tensor<T> {
    address: u64,
    len: usize,
    of: PhantomData<T>,
}

impl<T> Tensor<T> {
    /// The `len` numbers at a device address, such as an engine's own parameter.
    ///
    /// Any alignment of a `T` will do; where parameter and gradient begin at multiples of 16 bytes, those of 16 bits at
    /// multiples of 8, as everything does that a CUDA allocator gave out, a step is faster.
    ///
    /// # Safety
    /// Nothing of this can be checked: a kernel goes where it is told, and a wrong address loses the device or another's
    /// data. As long as the tensor is used and until the stream has done what it was used for:
    /// - `len` numbers of type `T` lie at `address`, aligned to their size, in memory that the backend's context can
    ///   reach;
    /// - they hold values, not fresh memory;
    /// - nothing else writes to them, nor reads what is stepped, but in order with the backend's stream;
    /// - tensors of one step do not overlap, unless both are gradients.
    pub const unsafe fn from_raw(address: u64, len: usize) -> Self {
        Self {
            address,
            len,
            of: PhantomData,
        }
    }

    /// Where it begins on the device; of an empty one possibly 0.
    pub const fn address(&self) -> u64 {
        self.address
    }
}

impl<T> adarem::Tensor for Tensor<T> {
    fn len(&self) -> usize {
        self.len
    }
}

/// Memory on the device that this crate allocated: a [`Tensor`] that frees itself when the stream is done with it.
#[derive(Debug)]
pub struct Memory<T> {
    tensor: Tensor<T>,
    _allocation: Allocation,
}

impl<T> Memory<T> {
    /// The first `len` numbers of an allocation that has so many.
    pub(crate) fn new(allocation: Allocation, len: usize) -> Self {
        let tensor = Tensor {
            address: allocation.address(),
            len,
            of: PhantomData,
        };
        Self {
            tensor,
            _allocation: allocation,
        }
    }
}

impl<T> core::ops::Deref for Memory<T> {
    type Target = Tensor<T>;

    fn deref(&self) -> &Tensor<T> {
        &self.tensor
    }
}

impl<T> core::ops::DerefMut for Memory<T> {
    fn deref_mut(&mut self) -> &mut Tensor<T> {
        &mut self.tensor
    }
}

impl<T> Borrow<Tensor<T>> for Memory<T> {
    fn borrow(&self) -> &Tensor<T> {
        &self.tensor
    }
}

impl<T> BorrowMut<Tensor<T>> for Memory<T> {
    fn borrow_mut(&mut self) -> &mut Tensor<T> {
        &mut self.tensor
    }
}
