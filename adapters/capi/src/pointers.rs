//! What can be seen of a pointer before it is used: whether it is null, misaligned, or overlaps another.

use core::ffi::c_char;
use core::fmt;
use core::mem;
use core::ops::Range;

use crate::error::Failure;

/// Refuses a pointer that is null or not aligned.
pub(crate) fn check<T>(pointer: *const T, what: &'static str) -> Result<(), Failure> {
    if pointer.is_null() {
        return Err(Failure::Null(what));
    }
    if !pointer.is_aligned() {
        return Err(Failure::Misaligned(what));
    }
    Ok(())
}

/// A list of C: empty where `count` is 0, whatever the pointer.
///
/// # Safety
/// `pointer` is null or not aligned, or points to `count` values that nothing writes for `'a`.
pub(crate) unsafe fn list<'a, T>(
    pointer: *const T,
    count: usize,
    what: &'static str,
) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    check(pointer, what)?;
    if count > most::<T>() {
        return Err(Failure::TooMany(what, count));
    }
    // SAFETY: it is neither null nor misaligned, so it points to `count` values; they fit any memory.
    Ok(unsafe { core::slice::from_raw_parts(pointer, count) })
}

/// How many values of `T` a slice may have at most.
pub(crate) const fn most<T>() -> usize {
    isize::MAX as usize / mem::size_of::<T>()
}

/// Whether the C string is `text`. No byte beyond its NUL is read, nor one beyond the first that differs.
///
/// # Safety
/// `string` points to bytes of which one is NUL.
pub(crate) unsafe fn is(string: *const c_char, text: &str) -> bool {
    let bytes = text.bytes().chain([0]);
    bytes
        .enumerate()
        // SAFETY: as all bytes before were equal and not NUL, the string goes on.
        .all(|(i, byte)| unsafe { *string.add(i) } as u8 == byte)
}

/// The beginning of a C string, for an error's text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Word {
    bytes: [u8; 32],
}

impl Word {
    /// # Safety
    /// `string` points to bytes of which one is NUL.
    pub(crate) unsafe fn of(string: *const c_char) -> Word {
        let mut word = Word::default();
        for (i, byte) in word.bytes.iter_mut().enumerate() {
            // SAFETY: no byte before was NUL, so the string goes on.
            *byte = unsafe { *string.add(i) } as u8;
            if *byte == 0 {
                break;
            }
        }
        word
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.bytes.iter().take_while(|byte| **byte != 0);
        bytes.try_for_each(|byte| byte.escape_ascii().fmt(f))
    }
}

/// The addresses of `count` values.
pub(crate) fn span<T>(pointer: *const T, count: usize) -> Range<usize> {
    let start = pointer.addr();
    start..start.saturating_add(count.saturating_mul(mem::size_of::<T>()))
}

/// Whether the two have an address in common.
pub(crate) fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start.max(b.start) < a.end.min(b.end)
}
