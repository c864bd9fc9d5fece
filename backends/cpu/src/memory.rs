//! State on the host.

use std::borrow::{Borrow, BorrowMut};
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

use adarem::ErrorKind;

/// Bytes of a cache line, and of the widest vector: loads from multiples of so many touch one line each.
const LINE: usize = 64;

/// Bytes that lie at the same place of a page compete for the same few places of the first-level cache, and a load
/// near behind such a store waits for it. So the state vectors of a rule begin in different quarters of a page, by turns.
const QUARTER: usize = 1024;

/// Numbers that [`Cpu`](crate::Cpu) allocated: a slice that begins at a cache line. Where it is large, Linux is asked for
/// huge pages, which spare a step most of its misses in the table of pages.
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
        ask_for_huge_pages(numbers.spare_capacity_mut());
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

/// Bytes from which memory is worth huge pages, which have 2 MiB on most machines.
#[cfg(target_os = "linux")]
const WORTH_HUGE_PAGES: usize = 4 << 20;

/// Asks for huge pages where memory that nobody has touched yet is large. An answer is not needed.
#[cfg(target_os = "linux")]
fn ask_for_huge_pages<T>(memory: &mut [MaybeUninit<T>]) {
    // SAFETY: this only asks for a number.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(0);
    let range = memory.as_mut_ptr_range();
    let end = range.end.addr();
    let Some(first) = range.start.addr().checked_next_multiple_of(page) else {
        return;
    };
    let whole = end.saturating_sub(first) / page * page;
    if whole >= WORTH_HUGE_PAGES {
        // SAFETY: these are whole pages of this memory, and advice changes no byte of it.
        unsafe {
            libc::madvise(
                range.start.with_addr(first).cast(),
                whole,
                libc::MADV_HUGEPAGE,
            )
        };
    }
}

#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages<T>(_: &mut [MaybeUninit<T>]) {}

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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{Memory, WORTH_HUGE_PAGES};

    /// What Linux keeps in mind of the pages at `address`: two letters each.
    fn flags(address: usize) -> String {
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("Linux has it");
        let holds = |line: &str| {
            let (from, to) = line.split_once(' ')?.0.split_once('-')?;
            let [from, to] = [from, to].map(|x| usize::from_str_radix(x, 16));
            Some((from.ok()?..to.ok()?).contains(&address))
        };
        let mut lines = maps.lines().skip_while(|line| holds(line) != Some(true));
        let flags = lines.find_map(|line| line.strip_prefix("VmFlags:"));
        flags.expect("the address is mapped").to_owned()
    }

    #[test]
    fn large_memory_asks_for_huge_pages_and_small_memory_does_not() {
        if !std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
            return;
        }
        let large = Memory::filled(1.0f32, 2 * WORTH_HUGE_PAGES, 3).expect("there is room");
        let small = Memory::filled(1.0f32, 1 << 16, 0).expect("there is room");
        let middle = large.as_ptr().addr() + 4 * large.len() / 2;
        assert!(flags(middle).contains(" hg"), "{}", flags(middle));
        assert!(!flags(small.as_ptr().addr()).contains(" hg"));
        assert!(large.iter().chain(&*small).all(|&x| x == 1.0));
    }
}
