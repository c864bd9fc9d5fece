//! Errors: what generic code can act upon, and the checks of hyper-parameters.

use core::fmt;

/// What went wrong, in terms that every backend shares.
///
/// It is itself an [`Error`], for a backend that has nothing to add.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Two lengths that must be equal are not. Nothing was changed.
    Length(Mismatch),
    /// The backend could not find the memory. Nothing was changed.
    OutOfMemory,
    /// The device is gone; nothing on it can be read back.
    DeviceLost,
    /// A rule does not fit a [`Plan`](crate::Plan). Nothing was changed.
    Plan(crate::plan::Misfit),
    /// An earlier step failed half-way: parameters and state no longer belong together.
    Torn,
    /// A hyper-parameter is out of its range. Nothing was changed.
    Config(Invalid),
    /// The bytes are not a checkpoint of this optimizer. Nothing was changed.
    Checkpoint(crate::checkpoint::Unreadable),
    /// Something else; the backend's own error says what.
    Other,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::Length(mismatch) => mismatch.fmt(f),
            ErrorKind::OutOfMemory => f.write_str("out of memory"),
            ErrorKind::DeviceLost => f.write_str("the device is lost"),
            ErrorKind::Plan(misfit) => misfit.fmt(f),
            ErrorKind::Torn => f.write_str(
                "an earlier step failed half-way: restore a checkpoint before the next step",
            ),
            ErrorKind::Config(invalid) => invalid.fmt(f),
            ErrorKind::Checkpoint(unreadable) => unreadable.fmt(f),
            ErrorKind::Other => f.write_str("the backend failed"),
        }
    }
}

impl core::error::Error for ErrorKind {}

/// An error of a backend.
///
/// # To use it
/// Match on [`kind`](Self::kind); print the error itself for the backend's own words.
///
/// # To implement it
/// Choose the kind that fits; [`ErrorKind::Other`] is for what no other kind describes.
pub trait Error: core::error::Error {
    /// What went wrong.
    fn kind(&self) -> ErrorKind;
}

impl Error for ErrorKind {
    fn kind(&self) -> ErrorKind {
        *self
    }
}

/// Two lengths that must be equal and are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What has the wrong length, such as `grad`.
    pub what: &'static str,
    /// Which tensor of the step, counted from 0.
    pub tensor: usize,
    /// The length it must have.
    pub expected: usize,
    /// The length it has.
    pub got: usize,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch {
            what,
            tensor,
            expected,
            got,
        } = self;
        write!(
            f,
            "{what} of tensor {tensor} must have length {expected}, got {got}"
        )
    }
}

/// A hyper-parameter that is out of its range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Invalid {
    /// The field, such as `beta`.
    pub name: &'static str,
    /// What it must be, such as `lie in [0, 1)`.
    pub must: &'static str,
    /// What it is.
    pub value: f64,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Invalid { name, must, value } = *self;
        write!(f, "{name} must {must}, got {}", Number(value))
    }
}

impl core::error::Error for Invalid {}

impl core::error::Error for Mismatch {}

impl From<Invalid> for ErrorKind {
    fn from(invalid: Invalid) -> Self {
        ErrorKind::Config(invalid)
    }
}

impl From<Mismatch> for ErrorKind {
    fn from(mismatch: Mismatch) -> Self {
        ErrorKind::Length(mismatch)
    }
}

/// A number as part of a text, printed as an `f64`.
///
/// The standard library prints floats by code that holds assertions, which no compiler proves idle. It is
/// the one thing that the proof that this library never panics (embedded/proof) leaves out, here.
pub(crate) struct Number(pub(crate) f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if cfg!(panic_proof) {
            return f.write_str("?");
        }
        self.0.fmt(f)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if cfg!(panic_proof) {
            return f.write_str("?");
        }
        self.0.fmt(f)
    }
}

/// Refuses a `value` that is not what it `must` be.
///
/// ```
/// let decay = -0.5;
/// let refused = adarem::error::ensure(decay >= 0.0, "decay", "be at least 0", decay);
/// assert_eq!(refused.unwrap_err().to_string(), "decay must be at least 0, got -0.5");
/// ```
///
/// # Errors
/// [`Invalid`] where `holds` is false.
pub fn ensure(
    holds: bool,
    name: &'static str,
    must: &'static str,
    value: f64,
) -> Result<(), Invalid> {
    if holds {
        Ok(())
    } else {
        Err(Invalid { name, must, value })
    }
}

/// Refuses what is not positive and finite.
///
/// # Errors
/// [`Invalid`], with the name and the value.
pub fn positive(name: &'static str, value: f64) -> Result<(), Invalid> {
    ensure(
        value > 0.0 && value.is_finite(),
        name,
        "be positive and finite",
        value,
    )
}

/// Refuses what is not zero or positive, and finite.
///
/// # Errors
/// [`Invalid`], with the name and the value.
pub fn non_negative(name: &'static str, value: f64) -> Result<(), Invalid> {
    ensure(
        value >= 0.0 && value.is_finite(),
        name,
        "be at least 0 and finite",
        value,
    )
}

/// Refuses what does not lie in [0, 1): the range of a decay such as `beta`.
///
/// ```
/// let refused = adarem::error::fraction("beta", 1.0).unwrap_err();
/// assert_eq!(refused.to_string(), "beta must lie in [0, 1), got 1");
/// ```
///
/// # Errors
/// [`Invalid`], with the name and the value.
pub fn fraction(name: &'static str, value: f64) -> Result<(), Invalid> {
    ensure((0.0..1.0).contains(&value), name, "lie in [0, 1)", value)
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::ToString;

    use super::{Error, ErrorKind, Invalid, Mismatch, Number, fraction, non_negative, positive};

    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;
    const LEAST: f64 = f64::from_bits(1);

    #[test]
    fn ranges_end_where_they_say() {
        fn check(
            range: fn(&'static str, f64) -> Result<(), Invalid>,
            accepted: &[f64],
            refused: &[f64],
        ) {
            for &x in accepted {
                assert_eq!(range("x", x), Ok(()));
            }
            for &x in refused {
                let invalid = range("x", x).unwrap_err();
                assert_eq!(invalid.name, "x");
                assert_eq!(invalid.value.to_bits(), x.to_bits());
            }
        }
        check(
            positive,
            &[LEAST, f64::MAX],
            &[0.0, -0.0, -1.0, INF, -INF, NAN],
        );
        check(
            non_negative,
            &[0.0, -0.0, f64::MAX],
            &[-LEAST, INF, -INF, NAN],
        );
        check(
            fraction,
            &[0.0, 1.0 - f64::EPSILON],
            &[-LEAST, 1.0, INF, NAN],
        );
    }

    #[test]
    fn an_error_says_what_is_wrong_by_name_and_value() {
        let mismatch = Mismatch {
            what: "grad",
            tensor: 2,
            expected: 65,
            got: 64,
        };
        let invalid = positive("lr", -0.5).unwrap_err();
        for (kind, text) in [
            (
                mismatch.into(),
                "grad of tensor 2 must have length 65, got 64",
            ),
            (invalid.into(), "lr must be positive and finite, got -0.5"),
            (ErrorKind::OutOfMemory, "out of memory"),
            (ErrorKind::DeviceLost, "the device is lost"),
            (ErrorKind::Other, "the backend failed"),
        ] {
            assert_eq!(kind.to_string(), text);
            assert_eq!(kind.kind(), kind);
        }
        assert_eq!(
            mismatch.to_string(),
            ErrorKind::Length(mismatch).to_string()
        );
        assert_eq!(invalid.to_string(), ErrorKind::Config(invalid).to_string());
        assert!(ErrorKind::Torn.to_string().contains("restore a checkpoint"));
        assert_eq!(format!("{} {:?}", Number(0.1), Number(1e300)), "0.1 1e300");
    }
}
