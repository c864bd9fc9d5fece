//! Numbers on the device: allocated here, or lent by an engine.

use crate::{
    context::Shared,
    error::{Call, Error},
};
use adarem::Mismatch;
use ash::vk;
use core::{marker::PhantomData, ops::Range};
use std::{fmt, sync::Arc};

/// Numbers of type `E` in a part of a `VkBuffer`.
///
/// A tensor is either owned (what [`zeros`](adarem::Backend::zeros) and, of other types,
/// [`zeros_of`](crate::Vulkan::zeros_of) give; its memory is freed when the last tensor in it is dropped, which waits for
/// the device) or lent by an engine ([`from_raw`](Self::from_raw); nothing is ever freed).
pub struct Tensor<E> {
    buffer: vk::Buffer,
    /// First byte within the buffer, a multiple of the element's size.
    offset: u64,
    len: usize,
    allocation: Option<Arc<Allocation>>,
    element: PhantomData<E>,
}

/// A buffer with memory of its own.
pub(crate) struct Allocation {
    shared: Arc<Shared>,
    pub buffer: vk::Buffer,
    pub memory: vk::DeviceMemory,
}

/// What an allocation is for, which decides the kind of memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Kernels work on it. On a discrete GPU its own memory; where host and GPU share one memory, that.
    Kernels,
    /// The host writes and reads it, in memory that its caches cover if there is such.
    Staging,
}

impl Allocation {
    pub fn new(shared: &Arc<Shared>, bytes: u64, purpose: Purpose) -> Result<Self, Error> {
        use vk::MemoryPropertyFlags as Memory;
        shared.check_lost()?;
        // A buffer of no bytes is not allowed; one that holds no number is.
        let bytes = bytes.max(8);
        let refused = |call| {
            move |result| match Error::of(call, result) {
                Error::OutOfMemory { .. } => Error::OutOfMemory { bytes },
                error => error,
            }
        };
        if bytes > shared.max_allocation {
            return Err(Error::OutOfMemory { bytes });
        }
        let transfers = vk::BufferUsageFlags::TRANSFER_SRC | vk::BufferUsageFlags::TRANSFER_DST;
        let host = Memory::HOST_VISIBLE | Memory::HOST_COHERENT;
        // The specification promises one type that is HOST_VISIBLE and HOST_COHERENT, and one that is DEVICE_LOCAL.
        let cached = [host | Memory::HOST_CACHED, host];
        let (usage, wishes): (_, &[Memory]) = match purpose {
            Purpose::Kernels => (
                transfers | vk::BufferUsageFlags::STORAGE_BUFFER,
                &[Memory::DEVICE_LOCAL, Memory::empty()],
            ),
            Purpose::Staging => (transfers, &cached),
        };
        let info = vk::BufferCreateInfo::default().size(bytes).usage(usage);
        let device = &shared.device;
        // SAFETY: the device lives as long as `shared`; what an earlier call made is destroyed when a later one fails.
        unsafe {
            let buffer = device
                .create_buffer(&info, None)
                .map_err(refused("vkCreateBuffer"))?;
            let needs = device.get_buffer_memory_requirements(buffer);
            let memory = match shared.memory_type(needs.memory_type_bits, wishes) {
                None => Err(Error::Missing {
                    device: shared.name(),
                    what: "a fitting memory type",
                    remedy: "update the driver",
                }),
                Some(ty) => {
                    let info = vk::MemoryAllocateInfo::default()
                        .allocation_size(needs.size)
                        .memory_type_index(ty);
                    device
                        .allocate_memory(&info, None)
                        .map_err(refused("vkAllocateMemory"))
                }
            };
            let memory = memory.inspect_err(|_| device.destroy_buffer(buffer, None))?;
            let allocation = Self {
                shared: shared.clone(),
                buffer,
                memory,
            };
            device
                .bind_buffer_memory(buffer, memory, 0)
                .call("vkBindBufferMemory")?;
            Ok(allocation)
        }
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // The GPU may still work on it. A lost device works on nothing: then the error is the answer.
        let _ = self.shared.wait(self.shared.submitted());
        // SAFETY: this is the buffer's and the memory's only owner, and everything submitted has finished. What an
        // engine recorded and has not finished, it keeps alive by the contract of `Vulkan::record`.
        unsafe {
            self.shared.device.destroy_buffer(self.buffer, None);
            self.shared.device.free_memory(self.memory, None);
        }
    }
}

impl<E> fmt::Debug for Tensor<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tensor")
            .field("buffer", &self.buffer)
            .field("offset", &self.offset)
            .field("len", &self.len)
            .field("owned", &self.allocation.is_some())
            .finish()
    }
}

impl<E> Tensor<E> {
    /// `len` numbers of an engine's buffer, the first at byte `offset`.
    ///
    /// # Safety
    ///
    /// - `buffer` belongs to the device of the backend that the tensor is given to, has the usage
    ///   `STORAGE_BUFFER` (and `TRANSFER_SRC`, `TRANSFER_DST` if the tensor is read or written through the
    ///   backend), memory is bound to it, and it holds the numbers' bytes.
    /// - It outlives the tensor and all work recorded or submitted with it.
    /// - No other tensor given to the same step overlaps it, unless both are gradients.
    /// - If the numbers have 16 bits, the buffer holds their last word of 32 bits whole, also where they end with half
    ///   of it. A step may write that half back as it was, so nothing else writes it meanwhile.
    ///
    /// # Panics
    ///
    /// If `offset` is not a multiple of the element's size.
    #[must_use]
    pub unsafe fn from_raw(buffer: vk::Buffer, offset: u64, len: usize) -> Self {
        assert!(
            offset.is_multiple_of(size_of::<E>() as u64),
            "a tensor starts at a multiple of its element's size, got byte {offset}"
        );
        Self {
            buffer,
            offset,
            len,
            allocation: None,
            element: PhantomData,
        }
    }

    /// Allocates whole words.
    pub(crate) fn allocate(shared: &Arc<Shared>, len: usize) -> Result<Self, Error> {
        let bytes = (len as u64 * size_of::<E>() as u64).next_multiple_of(4);
        let allocation = Allocation::new(shared, bytes, Purpose::Kernels)?;
        let buffer = allocation.buffer;
        Ok(Self {
            buffer,
            offset: 0,
            len,
            allocation: Some(Arc::new(allocation)),
            element: PhantomData,
        })
    }

    /// Cuts the tensor into consecutive ones of these lengths, which share its memory. Drivers allow some
    /// thousands of allocations; a model of many tensors takes one and cuts it. Numbers of 16 bits are best cut where a
    /// word ends, at even places: [`step_mixed`](crate::Vulkan::step_mixed) takes only what begins there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Length`](adarem::ErrorKind::Length) unless the lengths add up to this tensor's.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), adarem_vulkan::Error> {
    /// # use adarem::Backend;
    /// # let mut vulkan = adarem_vulkan::Vulkan::<f32>::open()?;
    /// let parameters = vulkan.zeros(784 * 10 + 10)?;
    /// let [weights, biases] = parameters.split(&[784 * 10, 10])?.try_into().unwrap();
    /// # Ok(()) }
    /// ```
    pub fn split(self, lengths: &[usize]) -> Result<Vec<Self>, Error> {
        let sum = lengths.iter().sum();
        if sum != self.len {
            let what = "the sum of the parts";
            return Err(Mismatch {
                what,
                tensor: 0,
                expected: self.len,
                got: sum,
            }
            .into());
        }
        let mut first = 0;
        Ok(lengths
            .iter()
            .map(|&len| {
                let offset = self.byte(first);
                first += len;
                let (buffer, allocation) = (self.buffer, self.allocation.clone());
                Self {
                    buffer,
                    offset,
                    len,
                    allocation,
                    element: PhantomData,
                }
            })
            .collect())
    }

    /// The buffer that holds the numbers.
    #[must_use]
    pub fn buffer(&self) -> vk::Buffer {
        self.buffer
    }

    /// The bytes of the numbers within the [`buffer`](Self::buffer).
    #[must_use]
    pub fn bytes(&self) -> Range<u64> {
        self.offset..self.byte(self.len)
    }

    /// The first byte of a number within the buffer.
    pub(crate) fn byte(&self, number: usize) -> u64 {
        self.offset + number as u64 * size_of::<E>() as u64
    }

    /// Whether it may be used on this device: it was lent for it, or allocated on it.
    pub(crate) fn belongs_to(&self, shared: &Arc<Shared>) -> bool {
        self.allocation
            .as_ref()
            .is_none_or(|allocation| Arc::ptr_eq(&allocation.shared, shared))
    }
}

impl<E> adarem::Tensor for Tensor<E> {
    fn len(&self) -> usize {
        self.len
    }
}
