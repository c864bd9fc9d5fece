//! How a step reaches a parameter on the host.

#[cfg(not(feature = "zero-copy"))]
pub(crate) use copied::Theta;
#[cfg(feature = "zero-copy")]
pub(crate) use pointed::Theta;

/// A copy: dfdx lends nobody a parameter's memory, but copies it out and in.
#[cfg(not(feature = "zero-copy"))]
mod copied {
    use alloc::vec::Vec;

    use dfdx::dtypes::Unit;
    use dfdx::shapes::Shape;
    use dfdx::tensor::{Cpu, CpuError, Tensor};

    #[derive(Debug, Default)]
    pub(crate) struct Theta<E>(Vec<E>);

    impl<E: Unit> Theta<E> {
        pub(crate) fn lend<S: Shape>(
            &mut self,
            p: &mut Tensor<S, E, Cpu>,
            len: usize,
        ) -> Result<(), CpuError> {
            self.0.resize(len, E::default());
            p.copy_into(&mut self.0);
            Ok(())
        }

        pub(crate) fn slice(&mut self) -> &mut [E] {
            &mut self.0
        }

        pub(crate) fn take_back<S: Shape>(&mut self, p: &mut Tensor<S, E, Cpu>, stepped: bool) {
            if stepped {
                p.copy_from(&self.0);
            }
        }
    }
}

/// The parameter itself, through the one pointer into it that dfdx hands out: that to an element.
#[cfg(feature = "zero-copy")]
mod pointed {
    use core::ptr::NonNull;

    use dfdx::dtypes::Unit;
    use dfdx::shapes::{HasShape, Shape};
    use dfdx::tensor::{Cpu, CpuError, Tensor};

    #[derive(Debug)]
    pub(crate) struct Theta<E> {
        first: NonNull<E>,
        len: usize,
    }

    // SAFETY: outside `lend` .. `take_back`, which one call of an update spans, `len` is 0; within it the pointer
    // stands for the `&mut [E]` that the update borrows with the model.
    unsafe impl<E: Send> Send for Theta<E> {}
    // SAFETY: as above; shared, it gives access to nothing.
    unsafe impl<E: Sync> Sync for Theta<E> {}

    impl<E> Default for Theta<E> {
        fn default() -> Self {
            Theta {
                first: NonNull::dangling(),
                len: 0,
            }
        }
    }

    impl<E: Unit> Theta<E> {
        /// From here to [`take_back`](Self::take_back) nobody else may touch `p`.
        pub(crate) fn lend<S: Shape>(
            &mut self,
            p: &mut Tensor<S, E, Cpu>,
            len: usize,
        ) -> Result<(), CpuError> {
            *self = Theta::default();
            if len == 0 {
                return Ok(());
            }
            let sizes = p.shape().concrete();
            let (origin, mut end) = (S::Concrete::default(), S::Concrete::default());
            for axis in 0..S::NUM_DIMS {
                // An axis of length 0 has no element to point to, and `len` is not 0.
                end[axis] = sizes[axis]
                    .checked_sub(1)
                    .ok_or(CpuError::WrongNumElements)?;
            }
            // Indexing parts memory that is shared with a clone, so it comes first; from then on it stays.
            let first = (&raw mut p[origin]).addr();
            let last = (&raw const p[end]).addr();
            if last.wrapping_sub(first) != (len - 1) * size_of::<E>() {
                return Err(CpuError::WrongNumElements);
            }
            self.first = NonNull::from(&mut p[origin]);
            self.len = len;
            Ok(())
        }

        pub(crate) fn slice(&mut self) -> &mut [E] {
            // SAFETY: dfdx keeps a tensor's numbers in one `Vec`, and its own checked indexing found `first` and
            // an element `len - 1` places behind it there, so all `len` exist and are initialized. The `Vec`
            // cannot be reallocated or freed before `take_back`: that takes the tensor, which the update holds
            // by `&mut`. `p[origin]` made its `Arc` unshared, so no other tensor sees the memory. The pointer
            // comes from a `&mut E` to one element; that it may reach the others is what Tree Borrows permits and
            // Stacked Borrows does not, and no rule of the language yet decides.
            unsafe { core::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
        }

        pub(crate) fn take_back<S: Shape>(&mut self, _: &mut Tensor<S, E, Cpu>, _: bool) {
            *self = Theta::default();
        }
    }
}
