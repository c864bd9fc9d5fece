//! A CUDA driver in software, strict and slow, for tests on machines without a GPU.
//!
//! It is put behind `adarem-cuda-shim`, so that a test runs the whole path a GPU would see: cust, the driver's entry
//! points, PTX text, blocks and threads. It knows the subset of PTX that `adarem-cuda` writes, and it refuses or faults where
//! hardware would be quietly wrong:
//!
//! - float arithmetic without `.rn`, or with `.ftz`;
//! - accesses out of bounds or misaligned, reads of what was never written, in registers, shared and global memory;
//! - barriers that not all threads reach, shuffles that a named thread misses;
//! - races: two threads and one word, at least one of them writing, and nothing between that orders them, be it a
//!   barrier within a block or a fence and an atomic between blocks;
//! - work of a stream that is taken for done: it is done when something waits for it, not before;
//! - calls that may not be made while a stream is captured.
//!
//! It says nothing about a real compiler's code, about the weaknesses of a real memory, or about speed.
//!
//! ```
//! let machine = adarem_cuda_softdriver::Machine::claim();
//! cust::init(cust::CudaFlags::empty())?;
//! let device = cust::device::Device::get_device(machine.ordinal())?;
//! assert!(device.name()?.starts_with("software"));
//! # Ok::<(), cust::error::CudaError>(())
//! ```

mod device;
mod driver;
mod isa;
mod memory;
mod parse;
mod run;

pub use run::Order;

use adarem_cuda_shim::Code;
use cust_raw::CUresult;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// What went wrong, and the code by which the driver says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) text: String,
}

impl Fault {
    pub(crate) fn new(code: CUresult, text: String) -> Self {
        Self {
            code: code as Code,
            text,
        }
    }

    pub(crate) fn illegal_address(text: String) -> Self {
        Self::new(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, text)
    }

    pub(crate) fn misaligned(text: String) -> Self {
        Self::new(CUresult::CUDA_ERROR_MISALIGNED_ADDRESS, text)
    }

    pub(crate) fn other(text: String) -> Self {
        Self::new(CUresult::CUDA_ERROR_LAUNCH_FAILED, text)
    }

    pub(crate) fn of_thread(self, thread: usize) -> Self {
        Self {
            text: format!("thread {thread}: {}", self.text),
            ..self
        }
    }

    pub(crate) fn at_line(self, line: usize) -> Self {
        Self {
            text: format!("line {line}: {}", self.text),
            ..self
        }
    }

    pub(crate) fn within(self, kernel: &str, block: u32) -> Self {
        Self {
            text: format!("kernel {kernel}, block {block}, {}", self.text),
            ..self
        }
    }
}

/// Devices of the driver: each test claims its own, so that no test sees another's memory or errors.
const DEVICES: u32 = 4096;

/// A device of the software driver, and the knobs and gauges that a GPU does not have.
#[derive(Debug)]
pub struct Machine {
    ordinal: u32,
}

impl Machine {
    /// Installs the driver, once per process, and hands out a device that nobody else has.
    ///
    /// # Panics
    /// When this process has another driver already, or after 4096 claims.
    pub fn claim() -> Self {
        install(DEVICES);
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let ordinal = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(ordinal < DEVICES, "all {DEVICES} devices are claimed");
        Self { ordinal }
    }

    /// The number by which the device is asked for.
    pub fn ordinal(&self) -> u32 {
        self.ordinal
    }

    /// What went wrong since the last call, in words.
    pub fn take_faults(&self) -> Vec<String> {
        device::with(self.ordinal, |device| core::mem::take(&mut device.faults))
    }

    /// The driver functions called on this device since the last call, in order.
    pub fn take_calls(&self) -> Vec<&'static str> {
        device::with(self.ordinal, |device| core::mem::take(&mut device.calls))
    }

    /// Kernels launched so far.
    pub fn launches(&self) -> u64 {
        device::with(self.ordinal, |device| device.launches)
    }

    /// The order in which the blocks of every later launch run.
    pub fn set_order(&self, order: Order) {
        device::with(self.ordinal, |device| device.order = order);
    }

    /// Allocations that were not freed.
    pub fn live_allocations(&self) -> usize {
        device::with(self.ordinal, |device| device.memory.allocations())
    }

    /// Plants a mistake: in every text loaded from now on, the first `from` becomes `to`. What a test does not notice then,
    /// it does not test.
    pub fn plant(&self, from: &str, to: &str) {
        let (from, to) = (from.to_owned(), to.to_owned());
        let mutation = device::Mutation {
            from,
            to,
            applied: false,
        };
        device::with(self.ordinal, |device| device.mutation = Some(mutation));
    }

    /// Whether a text was loaded that had what [`plant`](Self::plant) replaces.
    pub fn was_planted(&self) -> bool {
        device::with(self.ordinal, |device| {
            device
                .mutation
                .as_ref()
                .is_some_and(|mutation| mutation.applied)
        })
    }

    /// Makes the next launch fail as an unlucky one on hardware would: found at the next call that waits, and then for
    /// every call of the device.
    pub fn fail_next_launch(&self) {
        device::with(self.ordinal, |device| device.fail_next_launch = true);
    }
}

/// Makes this the driver of the process, with so many devices.
///
/// # Panics
/// When this process has another driver already.
pub fn install(devices: u32) {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        device::create(devices);
        let installed = adarem_cuda_shim::install(driver::entries());
        assert!(
            installed.is_ok(),
            "this process has another CUDA driver already"
        );
    });
}
