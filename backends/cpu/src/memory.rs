//! State on the host.

use std::borrow::{Borrow, BorrowMut};
use std::ops::{Deref, DerefMut};

use adarem::ErrorKind;

/// Bytes of a cache line, and of the widest vector: loads from multiples of so many touch one line each.
const LINE: usize = 64;

/// Bytes that lie at the same place of a page compete for the same few places of the first-level cache, and a load
/// near behind such a store waits for it. So the state vectors of a rule begin in different quarters of a page, by turns.
const QUARTER: usize = 1024;

/// Numbers that [`Cpu`](crate::Cpu) allocated: a slice that begins at a cache line.
///
/// ```
/// use adarem::Backend;
/// use adarem_cpu::Cpu;
///
/// let mut memory = Cpu::<f32>::new().zeros(1000)?;
/// assert_eq!(memory.as_ptr().addr() % 64, 0);
/// memory[999] = 1.0;
/// assert_eq!(memory.iter().sum::<f32>(), 1.0);
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
#[derive(Debug)]
pub struct Memory<T> {
    /// The numbers from `start` on, and less than a page around them.
    numbers: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy> Memory<T> {
    /// `len` times `x`, as allocation number `turn`.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`].
    pub(crate) fn filled(x: T, len: usize, turn: usize) -> Result<Self, ErrorKind> {
        let later = turn % 4 * QUARTER / size_of::<T>();
        let room = LINE / size_of::<T>() + later;
        let reserved = len.checked_add(room).ok_or(ErrorKind::OutOfMemory)?;
        let mut numbers = Vec::new();
        numbers
            .try_reserve_exact(reserved)
            .map_err(|_| ErrorKind::OutOfMemory)?;
        numbers.resize(reserved, x);
        let start = numbers
            .as_ptr()
            .align_offset(LINE)
            .saturating_add(later)
            .min(room);
        Ok(Memory {
            numbers,
            start,
            len,
        })
    }
}

impl<T> Deref for Memory<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.numbers[self.start..][..self.len]
    }
}

impl<T> DerefMut for Memory<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.numbers[self.start..][..self.len]
    }
}

impl<T> Borrow<[T]> for Memory<T> {
    fn borrow(&self) -> &[T] {
        self
    }
}

impl<T> BorrowMut<[T]> for Memory<T> {
    fn borrow_mut(&mut self) -> &mut [T] {
        self
    }
}
