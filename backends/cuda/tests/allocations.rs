//! A step after the first allocates nothing on the host. Measured under a driver that does nothing at all, so that no
//! allocation is the driver's.

use adarem::{AdaRem, AdaRemS, Adam, Backend, Bf16, Optimizer, Param, Rule};
use adarem_cuda::{Cuda, Error, Tensor};
use adarem_cuda_shim::{Code, Entries};
use core::ffi::{c_char, c_int, c_uint, c_void};
use cust::sys::{
    CUcontext, CUdevice, CUdeviceptr, CUevent, CUfunction, CUjit_option, CUmodule, CUstream,
    CUstreamCaptureStatus,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local!(static COUNT: Cell<u64> = const { Cell::new(0) });

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: by the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: by the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Writes a handle, or a number, that is not null.
///
/// # Safety
/// `to` can be written.
unsafe fn answer<T>(to: *mut *mut T) -> Code {
    // SAFETY: by the caller's promise.
    unsafe { to.write(core::ptr::without_provenance_mut(0x1000)) };
    0
}

mod idle {
    //! Functions of a driver that always succeed. SAFETY of all: results can be written, by the callers' promise.
    use super::*;

    pub unsafe extern "C" fn init(_: c_uint) -> Code {
        0
    }
    pub unsafe extern "C" fn number(to: *mut c_int) -> Code {
        // SAFETY: see the head of this module.
        unsafe { to.write(1) };
        0
    }
    pub unsafe extern "C" fn device(to: *mut CUdevice, _: c_int) -> Code {
        // SAFETY: see the head of this module.
        unsafe { to.write(0) };
        0
    }
    pub unsafe extern "C" fn retain(to: *mut CUcontext, _: CUdevice) -> Code {
        // SAFETY: see the head of this module.
        unsafe { answer(to) }
    }
    pub unsafe extern "C" fn context(to: *mut CUcontext) -> Code {
        // SAFETY: see the head of this module.
        unsafe { answer(to) }
    }
    pub unsafe extern "C" fn use_context(_: CUcontext) -> Code {
        0
    }
    pub unsafe extern "C" fn stream(to: *mut CUstream, _: c_uint, _: c_int) -> Code {
        // SAFETY: see the head of this module.
        unsafe { answer(to) }
    }
    pub unsafe extern "C" fn wait(_: CUstream) -> Code {
        0
    }
    pub unsafe extern "C" fn capturing(_: CUstream, _: *mut CUstreamCaptureStatus) -> Code {
        0
    }
    pub unsafe extern "C" fn load(
        to: *mut CUmodule,
        _: *const c_void,
        _: c_uint,
        _: *mut CUjit_option,
        _: *mut *mut c_void,
    ) -> Code {
        // SAFETY: see the head of this module.
        unsafe { answer(to) }
    }
    pub unsafe extern "C" fn function(to: *mut CUfunction, _: CUmodule, _: *const c_char) -> Code {
        // SAFETY: see the head of this module.
        unsafe { answer(to) }
    }
    pub unsafe extern "C" fn allocate(to: *mut CUdeviceptr, _: usize) -> Code {
        // SAFETY: see the head of this module.
        unsafe { to.write(0x1000) };
        0
    }
    pub unsafe extern "C" fn allocate_pinned(to: *mut *mut c_void, bytes: usize) -> Code {
        let memory = Box::leak(vec![0_u64; bytes.div_ceil(8)].into_boxed_slice());
        // SAFETY: see the head of this module.
        unsafe { to.write(memory.as_mut_ptr().cast()) };
        0
    }
    pub unsafe extern "C" fn fill(_: CUdeviceptr, _: u8, _: usize, _: CUstream) -> Code {
        0
    }
    pub unsafe extern "C" fn copy(_: CUdeviceptr, _: *const c_void, _: usize, _: CUstream) -> Code {
        0
    }
    pub unsafe extern "C" fn event(to: *mut CUevent, _: c_uint) -> Code {
        // SAFETY: see the head of this module.
        unsafe { answer(to) }
    }
    pub unsafe extern "C" fn use_event(_: CUevent) -> Code {
        0
    }
    pub unsafe extern "C" fn record(_: CUevent, _: CUstream) -> Code {
        0
    }
    pub unsafe extern "C" fn launch(
        _: CUfunction,
        _: c_uint,
        _: c_uint,
        _: c_uint,
        _: c_uint,
        _: c_uint,
        _: c_uint,
        _: c_uint,
        _: CUstream,
        _: *mut *mut c_void,
        _: *mut *mut c_void,
    ) -> Code {
        0
    }
}

fn idle_driver() -> Entries {
    Entries {
        cuInit: Some(idle::init),
        cuDeviceGetCount: Some(idle::number),
        cuDeviceGet: Some(idle::device),
        cuDevicePrimaryCtxRetain: Some(idle::retain),
        cuCtxGetCurrent: Some(idle::context),
        cuCtxSetCurrent: Some(idle::use_context),
        cuCtxPushCurrent_v2: Some(idle::use_context),
        cuCtxPopCurrent_v2: Some(idle::context),
        cuStreamCreateWithPriority: Some(idle::stream),
        cuStreamSynchronize: Some(idle::wait),
        cuStreamIsCapturing: Some(idle::capturing),
        cuModuleLoadDataEx: Some(idle::load),
        cuModuleGetFunction: Some(idle::function),
        cuMemAlloc_v2: Some(idle::allocate),
        cuMemAllocHost_v2: Some(idle::allocate_pinned),
        cuMemsetD8Async: Some(idle::fill),
        cuMemcpyHtoDAsync_v2: Some(idle::copy),
        cuEventCreate: Some(idle::event),
        cuEventSynchronize: Some(idle::use_event),
        cuEventRecord: Some(idle::record),
        cuLaunchKernel: Some(idle::launch),
        ..Entries::default()
    }
}

/// A step as [`Cuda::step_mixed`] takes it.
type Step<R, P> = fn(
    &mut Cuda<f32>,
    &mut Optimizer<R, Cuda<f32>>,
    &mut [&mut Tensor<f32>],
    &mut [&mut Tensor<P>],
    &[&Tensor<P>],
) -> Result<(), Error>;

/// Allocations in a step, after two have been taken: with gradients and parameters of 16 bits that stay, and that move.
fn allocations<R: Rule, P: Param>(rule: R, take: Step<R, P>) -> [u64; 2] {
    const LENGTHS: [usize; 3] = [5000, 0, 7];
    let mut cuda = Cuda::<f32>::open(0).unwrap();
    let mut thetas = LENGTHS.map(|len| cuda.zeros(len).unwrap());
    // SAFETY: the driver does nothing with any address.
    let there = |at| LENGTHS.map(|len| unsafe { Tensor::<P>::from_raw(at, len) });
    let (grads, mut params) = ([0x2000, 0x3000].map(there), [0x4000, 0x5000].map(there));
    let mut optimizer = Optimizer::new(rule, &mut cuda, &LENGTHS).unwrap();
    let [a, b, c] = &mut thetas;
    let mut theta = [&mut **a, &mut **b, &mut **c];
    let mut step = |place: usize| {
        let grad = grads[place].each_ref();
        let mut params = params[place].each_mut();
        let before = COUNT.get();
        take(&mut cuda, &mut optimizer, &mut theta, &mut params, &grad).unwrap();
        COUNT.get() - before
    };
    assert!(step(0) > 0, "nothing is counted");
    step(0);
    [step(0), step(1)]
}

fn in_full<R: Rule>(rule: R) -> [u64; 2] {
    allocations::<R, f32>(rule, |cuda, optimizer, theta, _, grad| {
        optimizer.step(cuda, theta, grad)
    })
}

#[test]
fn a_step_after_the_first_allocates_nothing_on_the_host() {
    adarem_cuda_shim::install(idle_driver()).unwrap();
    assert_eq!(in_full(AdaRem::default()), [0, 0]);
    assert_eq!(in_full(AdaRemS::default()), [0, 0]);
    assert_eq!(in_full(Adam::default()), [0, 0]);
    assert_eq!(
        allocations(AdaRem::default(), Cuda::step_mixed::<_, Bf16>),
        [0, 0]
    );
    assert_eq!(
        allocations(AdaRemS::default(), Cuda::step_mixed::<_, Bf16>),
        [0, 0]
    );
}
