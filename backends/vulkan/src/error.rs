//! What can go wrong on a Vulkan device, and what to do about it.

use adarem::{ErrorKind, Mismatch};
use ash::vk;
use core::fmt;

/// Why a device could not be opened or a call did not succeed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// There is no Vulkan loader (`libvulkan.so.1`, `vulkan-1.dll`, `libvulkan.dylib`) to be found.
    NoLoader {
        /// What the operating system said.
        reason: String,
    },
    /// There is a loader, but no driver that it can use.
    NoDriver,
    /// No device is the one asked for, or none can compute.
    NoDevice {
        /// What was asked for.
        wanted: String,
        /// The devices that there are, each with why it was not taken.
        found: Vec<String>,
    },
    /// The device, or the engine's logical device, lacks something that the backend needs.
    Missing {
        /// The device's name.
        device: String,
        /// What it lacks.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// 64-bit floats were asked for on a device that has none.
    NoFloat64 {
        /// The device's name.
        device: String,
        /// The feature that is missing or was not enabled.
        feature: &'static str,
    },
    /// Memory of the device or of the host is used up, or one buffer would be larger than the device allows.
    OutOfMemory {
        /// Bytes of the allocation that failed.
        bytes: u64,
    },
    /// The driver allows no more allocations, however small.
    TooManyAllocations,
    /// The state of a step starts where the device cannot bind it.
    Misaligned {
        /// What must divide the first byte's place.
        alignment: u64,
        /// The first byte's place.
        offset: u64,
    },
    /// A tensor of 16-bit numbers starts in the middle of a word.
    HalfWord {
        /// What the tensor is to the step: the parameters or the gradient.
        what: &'static str,
        /// Which tensor of the list.
        tensor: usize,
        /// The first byte's place.
        offset: u64,
    },
    /// The device is lost: a fault, a timeout of the driver's watchdog, or removal.
    DeviceLost,
    /// A tensor was given to a backend whose device does not hold it.
    Foreign,
    /// The core refused.
    Core(ErrorKind),
    /// Any other result of a Vulkan call.
    Vulkan {
        /// The call.
        call: &'static str,
        /// Its result.
        result: vk::Result,
    },
}

impl Error {
    /// The error of a call that returned `result`.
    pub(crate) fn of(call: &'static str, result: vk::Result) -> Self {
        match result {
            vk::Result::ERROR_DEVICE_LOST => Self::DeviceLost,
            vk::Result::ERROR_TOO_MANY_OBJECTS => Self::TooManyAllocations,
            vk::Result::ERROR_OUT_OF_DEVICE_MEMORY
            | vk::Result::ERROR_OUT_OF_HOST_MEMORY
            | vk::Result::ERROR_OUT_OF_POOL_MEMORY => Self::OutOfMemory { bytes: 0 },
            result => Self::Vulkan { call, result },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLoader { reason } => write!(
                f,
                "no Vulkan loader: {reason}; install libvulkan1 (Debian, Ubuntu), vulkan-loader (Fedora, Arch), the \
                 Vulkan SDK (macOS) or the graphics driver (Windows)"
            ),
            Self::NoDriver => write!(
                f,
                "a Vulkan loader but no driver: install the GPU's driver, or mesa-vulkan-drivers for a software \
                 device; in a container, name the driver's ICD file in VK_DRIVER_FILES"
            ),
            Self::NoDevice { wanted, found } => {
                write!(f, "no Vulkan device is {wanted}; there ")?;
                match found.as_slice() {
                    [] => write!(f, "is none at all"),
                    found => write!(f, "are: {}", found.join("; ")),
                }
            }
            Self::Missing {
                device,
                what,
                remedy,
            } => write!(f, "{device} lacks {what}: {remedy}"),
            Self::NoFloat64 { device, feature } => write!(
                f,
                "{device} cannot compute in f64 without {feature}: enable it on the engine's device, choose another \
                 device, or use f32"
            ),
            Self::OutOfMemory { bytes: 0 } => {
                write!(
                    f,
                    "out of memory for the driver's own objects: free buffers or use a larger device"
                )
            }
            Self::OutOfMemory { bytes } => write!(
                f,
                "out of memory: {bytes} bytes were refused; free buffers, split the parameter group, or use a larger \
                 device"
            ),
            Self::TooManyAllocations => write!(
                f,
                "the driver allows no more allocations: allocate one tensor and `split` it"
            ),
            Self::Misaligned { alignment, offset } => write!(
                f,
                "state starts at byte {offset}, and the device needs a multiple of {alignment}: allocate it with \
                 `zeros`"
            ),
            Self::HalfWord {
                what,
                tensor,
                offset,
            } => write!(
                f,
                "{what} of tensor {tensor} starts at byte {offset}, and numbers of 16 bits need a multiple of 4: leave \
                 one number unused before it"
            ),
            Self::DeviceLost => write!(
                f,
                "the Vulkan device is lost: what it held is gone; drop everything of it, open it again and restore a \
                 checkpoint"
            ),
            Self::Foreign => write!(
                f,
                "a tensor of another device: allocate it with `zeros` of a backend on the same `Context`"
            ),
            Self::Core(kind) => kind.fmt(f),
            Self::Vulkan { call, result } => {
                write!(
                    f,
                    "{call} failed with {result:?}: run with VK_LAYER_KHRONOS_validation to learn why"
                )
            }
        }
    }
}

impl core::error::Error for Error {}

impl adarem::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::OutOfMemory { .. } | Self::TooManyAllocations => ErrorKind::OutOfMemory,
            Self::DeviceLost => ErrorKind::DeviceLost,
            Self::Core(kind) => *kind,
            _ => ErrorKind::Other,
        }
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::Core(kind)
    }
}

impl From<Mismatch> for Error {
    fn from(mismatch: Mismatch) -> Self {
        Self::Core(mismatch.into())
    }
}

/// Names the call in the error of its result.
pub(crate) trait Call<T> {
    /// The value, or an [`Error`] that names `call`.
    fn call(self, call: &'static str) -> Result<T, Error>;
}

impl<T> Call<T> for Result<T, vk::Result> {
    fn call(self, call: &'static str) -> Result<T, Error> {
        self.map_err(|result| Error::of(call, result))
    }
}
