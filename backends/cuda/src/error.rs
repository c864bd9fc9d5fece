//! What may go wrong on a GPU, by kind.

use adarem::{ErrorKind, Mismatch};
use core::fmt;

/// What went wrong.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// No CUDA driver on this machine; in the words of the system's loader.
    NoDriver(String),
    /// There is a driver, and no device of this number.
    NoDevice {
        /// The number that was asked for.
        asked: u32,
        /// How many devices there are.
        found: u32,
    },
    /// The driver refused the kernels of a rule.
    Refused {
        /// The rule's name.
        rule: &'static str,
        /// What the driver's compiler had to say.
        log: String,
    },
    /// The device, or the host's page-locked memory, has not so much left.
    OutOfMemory {
        /// Bytes that were asked for.
        bytes: usize,
    },
    /// A kernel failed, or the device did. Every later call of this process on the device fails with the same code;
    /// what lay on the device cannot be read back.
    Lost {
        /// The call that was told, which need not be the one to blame.
        call: &'static str,
        /// The driver's code.
        code: u32,
        /// The driver's name for it.
        name: String,
    },
    /// The stream is being captured, and this step would have to compile, allocate or upload: it has not been taken
    /// before with this rule and these tensors. Nothing was changed.
    Capturing,
    /// The driver refused a call for another reason.
    Driver {
        /// The call.
        call: &'static str,
        /// The driver's code.
        code: u32,
        /// The driver's name for it.
        name: String,
    },
    /// What every backend may say.
    Core(ErrorKind),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDriver(reason) => f.write_str(reason),
            Self::NoDevice { asked, found } => {
                write!(f, "no CUDA device {asked}: this machine has {found}")
            }
            Self::Refused { rule, log } => {
                write!(f, "the CUDA driver refused the kernels of {rule}: {log}")
            }
            Self::OutOfMemory { bytes } => {
                write!(f, "out of memory: {bytes} bytes were asked for")
            }
            Self::Lost { call, code, name } => {
                write!(
                    f,
                    "the CUDA device is lost: {call} was answered {code} ({name})"
                )
            }
            Self::Capturing => f.write_str(
                "the stream is being captured: take a step with this rule and these tensors before",
            ),
            Self::Driver { call, code, name } => write!(f, "{call} was answered {code} ({name})"),
            Self::Core(kind) => kind.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

impl adarem::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::OutOfMemory { .. } => ErrorKind::OutOfMemory,
            Self::Lost { .. } => ErrorKind::DeviceLost,
            Self::Core(kind) => *kind,
            Self::NoDriver(_)
            | Self::NoDevice { .. }
            | Self::Refused { .. }
            | Self::Capturing
            | Self::Driver { .. } => ErrorKind::Other,
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
