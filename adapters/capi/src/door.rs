//! [`Optimizer`]: what C holds a pointer to, whatever its rule and number type.

use core::ffi::{c_char, c_void};
use core::ops::Range;
use core::ptr;

use crate::error::Failure;
use crate::pointers;
use crate::schedule::Schedule;

/// An optimizer, in memory that the caller gave to `adarem_create`.
#[derive(Debug)]
pub struct Optimizer {
    /// Tells an optimizer from other memory, and from one that was moved.
    mark: usize,
    door: *mut dyn Door,
}

/// What can be asked of an optimizer of any rule and number type.
pub(crate) trait Door {
    fn dtype(&self) -> u32;

    /// The addresses that it takes.
    fn memory(&self) -> Range<usize>;

    /// # Safety
    /// As `adarem_step_f32`.
    unsafe fn step(
        &mut self,
        theta: *const *mut c_void,
        grad: *const *const c_void,
    ) -> Result<(), Failure>;

    fn steps(&self) -> u64;

    /// # Safety
    /// `name` is null or a C string.
    unsafe fn set(&mut self, name: *const c_char, value: f64) -> Result<(), Failure>;

    /// # Safety
    /// `name` is null or a C string.
    unsafe fn get(&self, name: *const c_char) -> Result<f64, Failure>;

    /// # Safety
    /// `name` is null or a C string.
    unsafe fn schedule(
        &mut self,
        name: *const c_char,
        schedule: Option<Schedule>,
    ) -> Result<(), Failure>;

    fn save(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<(), Failure>;

    fn restore(&mut self, bytes: &[u8]) -> Result<(), Failure>;
}

const MARK: usize = 0xADA2_E300;

impl Optimizer {
    /// The head of the optimizer behind `door`, to be written at `at`.
    pub(crate) fn new(at: *const Optimizer, door: *mut dyn Door) -> Optimizer {
        Optimizer {
            mark: MARK ^ at.addr(),
            door,
        }
    }

    /// What is behind the pointer.
    ///
    /// # Safety
    /// `optimizer` is null, or readable as one; if it is one, nothing else uses it for `'a`.
    pub(crate) unsafe fn open<'a>(optimizer: *mut Optimizer) -> Result<&'a mut dyn Door, Failure> {
        pointers::check(optimizer, "optimizer")?;
        // SAFETY: readable and aligned.
        let mark = unsafe { ptr::addr_of!((*optimizer).mark).read() };
        if mark != MARK ^ optimizer.addr() {
            return Err(Failure::NotAnOptimizer);
        }
        // SAFETY: the mark says that `adarem_create` wrote it here, and nothing else uses it.
        Ok(unsafe { &mut *ptr::addr_of!((*optimizer).door).read() })
    }
}
