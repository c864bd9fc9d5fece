//! [`Flat`]: numbers on any dfdx device, as the core takes them.

use alloc::vec::Vec;
use core::cell::OnceCell;
use core::ops::Range;

use adarem::Element;
use dfdx::dtypes::Dtype;
use dfdx::shapes::Shape;
use dfdx::tensor::Tensor;
use dfdx::tensor_ops::{Device, ReshapeTo};

/// One number on a device.
pub(crate) type Scalar<E, D> = Tensor<(), E, D>;
/// A list of numbers on a device.
pub(crate) type List<E, D> = Tensor<(usize,), E, D>;

/// Numbers on any dfdx device: a parameter, a gradient, or the state of many parameters.
///
/// dfdx rewrites whole tensors only, so state is cut into one tensor for each parameter when the first
/// step tells where they lie.
#[derive(Clone, Debug)]
pub struct Flat<E: Element + Dtype, D: Device<E>> {
    len: usize,
    pieces: Vec<Piece<E, D>>,
    /// All numbers, where the host has read them or was the last to write.
    host: OnceCell<Vec<E>>,
}

#[derive(Clone, Debug)]
struct Piece<E: Element + Dtype, D: Device<E>> {
    start: usize,
    list: List<E, D>,
    /// What lies between it and the next: nobody's state.
    padding: Vec<E>,
}

impl<E: Element + Dtype, D: Device<E>> Default for Flat<E, D> {
    fn default() -> Self {
        Flat::from_host(Vec::new())
    }
}

impl<E: Element + Dtype, D: Device<E>> adarem::Tensor for Flat<E, D> {
    fn len(&self) -> usize {
        self.len
    }
}

impl<E: Element + Dtype, D: Device<E>> Flat<E, D> {
    /// `host`, to be sent to a device by the first step.
    pub fn from_host(host: Vec<E>) -> Self {
        Flat {
            len: host.len(),
            pieces: Vec::new(),
            host: OnceCell::from(host),
        }
    }

    /// A tensor's numbers, without a copy where it is contiguous.
    ///
    /// # Errors
    /// What the device gives.
    pub fn from_tensor<S: Shape>(tensor: Tensor<S, E, D>) -> Result<Self, D::Err> {
        let len = dfdx::shapes::HasShape::shape(&tensor).num_elements();
        let list = tensor.try_reshape_like(&(len,))?;
        Ok(Flat {
            len,
            pieces: Vec::from([Piece {
                start: 0,
                list,
                padding: Vec::new(),
            }]),
            host: OnceCell::new(),
        })
    }

    /// The first tensor of numbers, all of them for a parameter.
    pub(crate) fn into_list(self) -> Option<List<E, D>> {
        self.pieces.into_iter().next().map(|piece| piece.list)
    }

    /// All numbers, as the host sees them.
    pub(crate) fn host(&self) -> &[E] {
        self.host.get_or_init(|| {
            let mut all = Vec::with_capacity(self.len);
            for piece in &self.pieces {
                // dfdx looks for a first number even where there is none.
                if list_len(&piece.list) > 0 {
                    all.extend(piece.list.as_vec());
                }
                all.extend_from_slice(&piece.padding);
            }
            all
        })
    }

    /// All numbers, for the host to change.
    pub(crate) fn host_mut(&mut self) -> &mut [E] {
        self.host();
        self.pieces.clear();
        self.host.get_mut().map_or(&mut [], Vec::as_mut_slice)
    }

    /// Cuts the numbers at these ranges, which ascend, and leaves them to the device.
    pub(crate) fn cut(
        &mut self,
        device: &D,
        ranges: impl Iterator<Item = Range<usize>> + Clone,
    ) -> Result<(), D::Err> {
        let mut wanted = ranges.clone();
        let cut = self.pieces.iter().all(|piece| {
            let (start, len) = (piece.start, list_len(&piece.list));
            wanted.next() == Some(start..start + len)
        });
        if !(cut && wanted.next().is_none()) {
            let host = self.host();
            let mut pieces = Vec::new();
            let mut ranges = ranges.peekable();
            while let Some(range) = ranges.next() {
                let next = ranges.peek().map_or(self.len, |next| next.start);
                let part = |range: Range<usize>| host.get(range).unwrap_or_default().to_vec();
                let len = range.len();
                pieces.push(Piece {
                    start: range.start,
                    list: device.try_tensor_from_vec(part(range.clone()), (len,))?,
                    padding: part(range.end..next),
                });
            }
            self.pieces = pieces;
        }
        self.host.take();
        Ok(())
    }

    /// Piece `i` of the cut.
    pub(crate) fn piece(&self, i: usize) -> Option<&List<E, D>> {
        self.pieces.get(i).map(|piece| &piece.list)
    }

    /// Replaces piece `i` of the cut.
    pub(crate) fn replace(&mut self, i: usize, list: List<E, D>) {
        self.host.take();
        if let Some(piece) = self.pieces.get_mut(i) {
            piece.list = list;
        }
    }
}

fn list_len<E: Dtype, D: Device<E>>(list: &List<E, D>) -> usize {
    dfdx::shapes::HasShape::shape(list).0
}
