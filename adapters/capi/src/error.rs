//! What goes wrong: a code for programs, a text for people.

use core::ffi::c_char;
use core::fmt::{self, Write};

use adarem::{ErrorKind, Invalid};

use crate::pointers::Word;

/// Bytes of an error's text, with the NUL at its end.
pub const ERROR_TEXT: usize = 160;

/// What came of a call.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// A pointer is null that must not be.
    Null = 1,
    /// A pointer is not aligned for what it points to.
    Misaligned = 2,
    /// Two pieces of memory overlap that must not.
    Overlap = 3,
    /// A length or a count is too large for any memory.
    TooLong = 4,
    /// The memory given is too small.
    TooSmall = 5,
    /// The pointer is not an optimizer of `adarem_create`, or was moved or copied from where it was created.
    NotAnOptimizer = 6,
    /// There is no rule of this name.
    UnknownRule = 7,
    /// The rule has no setting of this name.
    UnknownSetting = 8,
    /// A setting, or a schedule, is out of its range.
    Invalid = 9,
    /// The optimizer steps tensors of another number type.
    WrongDtype = 10,
    /// Bytes are not a checkpoint of this optimizer.
    Checkpoint = 11,
    /// An earlier step failed half-way: restore a checkpoint.
    Torn = 12,
    /// Something that cannot happen.
    Internal = 13,
}

/// A status, and its text for people.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Error {
    /// What came of the call.
    pub status: Status,
    /// Words, with names and values; ends with a NUL. Empty after a call that was done.
    pub text: [c_char; ERROR_TEXT],
}

impl Default for Error {
    fn default() -> Self {
        Error {
            status: Status::Ok,
            text: [0; ERROR_TEXT],
        }
    }
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Failure {
    Null(&'static str),
    Misaligned(&'static str),
    /// The list, and the place in it.
    NullTensor(&'static str, usize),
    MisalignedTensor(&'static str, usize),
    Overlap(&'static str, usize),
    /// The list, and its length.
    TooMany(&'static str, usize),
    /// The numbers of all tensors.
    TooLong(usize),
    TooSmall {
        what: &'static str,
        needed: usize,
        given: usize,
    },
    NotAnOptimizer,
    UnknownRule(Word),
    /// The rule, and the name.
    UnknownSetting(&'static str, Word),
    Dtype(u32),
    WrongDtype(&'static str),
    ScheduleKind(u32),
    TooManySchedules(usize),
    Core(ErrorKind),
}

impl Failure {
    pub(crate) fn status(self) -> Status {
        match self {
            Failure::Null(_) | Failure::NullTensor(..) => Status::Null,
            Failure::Misaligned(_) | Failure::MisalignedTensor(..) => Status::Misaligned,
            Failure::Overlap(..) => Status::Overlap,
            Failure::TooMany(..) | Failure::TooLong(_) => Status::TooLong,
            Failure::TooSmall { .. } | Failure::Core(ErrorKind::OutOfMemory) => Status::TooSmall,
            Failure::NotAnOptimizer => Status::NotAnOptimizer,
            Failure::UnknownRule(_) => Status::UnknownRule,
            Failure::UnknownSetting(..) => Status::UnknownSetting,
            Failure::Dtype(_)
            | Failure::ScheduleKind(_)
            | Failure::TooManySchedules(_)
            | Failure::Core(ErrorKind::Config(_)) => Status::Invalid,
            Failure::WrongDtype(_) => Status::WrongDtype,
            Failure::Core(ErrorKind::Checkpoint(_)) => Status::Checkpoint,
            Failure::Core(ErrorKind::Torn) => Status::Torn,
            Failure::Core(_) => Status::Internal,
        }
    }
}

impl From<ErrorKind> for Failure {
    fn from(kind: ErrorKind) -> Self {
        Failure::Core(kind)
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Failure::Core(invalid.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Failure::Null(what) => write!(f, "{what} is null"),
            Failure::Misaligned(what) => write!(f, "{what} is not aligned"),
            Failure::NullTensor(what, i) => write!(f, "{what}[{i}] is null"),
            Failure::MisalignedTensor(what, i) => write!(f, "{what}[{i}] is not aligned"),
            Failure::Overlap(what, i) => {
                write!(f, "{what}[{i}] overlaps other memory of this call")
            }
            Failure::TooMany(what, count) => {
                write!(f, "{what} must fit a memory, got {count} entries")
            }
            Failure::TooLong(sum) => write!(f, "lengths must fit a memory, got {sum} numbers"),
            Failure::TooSmall {
                what,
                needed,
                given,
            } => write!(f, "{what} must have {needed} bytes, got {given}"),
            Failure::NotAnOptimizer => f.write_str(
                "this is no optimizer of adarem_create, or its memory was moved or overwritten",
            ),
            Failure::UnknownRule(name) => {
                write!(
                    f,
                    "there is no rule \"{name}\": adarem_rule_name lists them"
                )
            }
            Failure::UnknownSetting(rule, name) => write!(
                f,
                "{rule} has no setting \"{name}\": adarem_setting_name lists them"
            ),
            Failure::Dtype(dtype) => write!(
                f,
                "dtype must be ADAREM_DTYPE_F32 or ADAREM_DTYPE_F64, got {dtype}"
            ),
            Failure::WrongDtype(has) => write!(f, "the optimizer steps tensors of {has}"),
            Failure::ScheduleKind(kind) => {
                write!(f, "kind must be one of ADAREM_SCHEDULE_.., got {kind}")
            }
            Failure::TooManySchedules(most) => {
                write!(f, "an optimizer has at most {most} schedules")
            }
            Failure::Core(kind) => kind.fmt(f),
        }
    }
}

/// What a call gives to C: the status, and the error where `error` is given.
///
/// # Safety
/// `error` is null, or may be written.
pub(crate) unsafe fn report(result: Result<(), Failure>, error: *mut Error) -> Status {
    let status = result.map_or_else(Failure::status, |()| Status::Ok);
    if !error.is_null() && error.is_aligned() {
        let mut filled = Error {
            status,
            ..Error::default()
        };
        if let Err(failure) = result {
            // A text that is too long is cut.
            let _ = write!(Text(&mut filled.text, 0), "{failure}");
        }
        // SAFETY: it may be written, by the caller's word, and is aligned.
        unsafe { error.write(filled) };
    }
    status
}

/// Writes text and leaves room for a NUL.
struct Text<'a>(&'a mut [c_char; ERROR_TEXT], usize);

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            let place = self.0.get_mut(self.1).filter(|_| self.1 < ERROR_TEXT - 1);
            *place.ok_or(fmt::Error)? = byte as c_char;
            self.1 += 1;
        }
        Ok(())
    }
}
