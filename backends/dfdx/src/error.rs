//! [`Error`]: why an update did not happen.

use core::fmt;

use adarem::ErrorKind;
use dfdx::optim::{OptimizerUpdateError, UnusedTensors};

/// Why an update did not happen; `D` is the error of the dfdx device.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error<D> {
    /// These parameters have no gradient: they were not used in the computation. Nothing was changed.
    Unused(UnusedTensors),
    /// The device failed.
    Device(D),
    /// What the rule, the optimizer's state or a file has against it.
    Refused(ErrorKind),
    /// The state dictionary does not belong to this optimizer; what differs, by name. Nothing was changed.
    #[cfg(feature = "safetensors")]
    Foreign(alloc::string::String),
}

impl<D: fmt::Display> fmt::Display for Error<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unused(unused) => {
                write!(f, "parameters without a gradient: {:?}", unused.ids)
            }
            Error::Device(device) => device.fmt(f),
            Error::Refused(kind) => kind.fmt(f),
            #[cfg(feature = "safetensors")]
            Error::Foreign(what) => write!(f, "not a state of this optimizer: {what}"),
        }
    }
}

impl<D: fmt::Debug + fmt::Display> core::error::Error for Error<D> {}

impl<D: fmt::Debug + fmt::Display> adarem::Error for Error<D> {
    fn kind(&self) -> ErrorKind {
        match self {
            Error::Refused(kind) => *kind,
            _ => ErrorKind::Other,
        }
    }
}

impl<D> From<ErrorKind> for Error<D> {
    fn from(kind: ErrorKind) -> Self {
        Error::Refused(kind)
    }
}

impl<D: fmt::Display> Error<D> {
    /// The error as dfdx's own optimizers report it.
    ///
    /// # Panics
    /// For what dfdx has no word for: a hyper-parameter out of its range, a model whose tensors are not those
    /// that the optimizer was made for.
    pub(crate) fn into_dfdx(self) -> OptimizerUpdateError<D> {
        match self {
            Error::Unused(unused) => OptimizerUpdateError::UnusedParams(unused),
            Error::Device(device) => OptimizerUpdateError::DeviceError(device),
            other => panic!("{other}"),
        }
    }
}
