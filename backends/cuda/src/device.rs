//! The driver's calls: the only module that knows cust.
//!
//! cust is used for what it does well, devices, the primary context and streams; the rest goes to the functions it was
//! generated for, because cust gives no compiler's log, cannot adopt an engine's stream, and has no name for half of the
//! driver's codes. Every call is made with the context pushed and popped again, so an engine's own choice of context
//! stays as it was on every thread.

use crate::Error;
use crate::ptx::{Grid, Program, THREADS};
use core::ffi::{CStr, c_char, c_int, c_uint, c_void};
use core::ptr;
use cust::context::ContextHandle;
use cust::sys::{self, CUresult};
use std::ffi::CString;
use std::sync::Arc;

#[cfg(feature = "shim")]
use adarem_cuda_shim as _;

/// Bytes of the compiler's log that are kept.
const LOG_BYTES: usize = 8192;

/// A context and a stream: owned, or an engine's.
#[derive(Debug)]
pub(crate) struct Device {
    context: sys::CUcontext,
    stream: sys::CUstream,
    /// What is destroyed with this.
    owned: Option<(cust::stream::Stream, cust::context::Context)>,
}

// SAFETY: contexts and streams may be used from any thread; each call pushes the context on the thread it is made on.
unsafe impl Send for Device {}
// SAFETY: the driver's functions may be called from several threads at once.
unsafe impl Sync for Device {}

impl Device {
    /// Device `ordinal`, its primary context, and a stream of its own.
    pub(crate) fn open(ordinal: u32) -> Result<Arc<Self>, Error> {
        initialize()?;
        let found = cust::device::Device::num_devices()
            .map_err(|error| of_cust("cuDeviceGetCount", error))?;
        if ordinal >= found {
            return Err(Error::NoDevice {
                asked: ordinal,
                found,
            });
        }
        let device = cust::device::Device::get_device(ordinal)
            .map_err(|error| of_cust("cuDeviceGet", error))?;
        let mut current = ptr::null_mut();
        // SAFETY: the result can be written.
        check("cuCtxGetCurrent", unsafe {
            sys::cuCtxGetCurrent(&mut current)
        })?;
        // Makes the context current, too.
        let context = cust::context::Context::new(device)
            .map_err(|error| of_cust("cuDevicePrimaryCtxRetain", error))?;
        let stream = cust::stream::Stream::new(cust::stream::StreamFlags::NON_BLOCKING, None)
            .map_err(|error| of_cust("cuStreamCreateWithPriority", error));
        // SAFETY: what was current before is alive, or null.
        check("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(current) })?;
        let stream = stream?;
        let raw = (context.get_inner(), stream.as_inner());
        Ok(Arc::new(Self {
            context: raw.0,
            stream: raw.1,
            owned: Some((stream, context)),
        }))
    }

    /// An engine's context and stream.
    ///
    /// # Safety
    /// As [`Cuda::from_engine`](crate::Cuda::from_engine).
    pub(crate) unsafe fn adopt(
        context: *mut c_void,
        stream: *mut c_void,
    ) -> Result<Arc<Self>, Error> {
        initialize()?;
        Ok(Arc::new(Self {
            context: context.cast(),
            stream: stream.cast(),
            owned: None,
        }))
    }

    fn enter(&self) -> Result<Entered, Error> {
        Entered::push(self.context)
    }

    /// The device's name.
    pub(crate) fn name(&self) -> Result<String, Error> {
        let _entered = self.enter()?;
        let mut device = 0;
        // SAFETY: the result can be written.
        check("cuCtxGetDevice", unsafe {
            sys::cuCtxGetDevice(&mut device)
        })?;
        let mut text = [0 as c_char; 256];
        // SAFETY: the text is as long as is said.
        let answer =
            unsafe { sys::cuDeviceGetName(text.as_mut_ptr(), text.len() as c_int, device) };
        check("cuDeviceGetName", answer)?;
        // SAFETY: the driver ends the name with a zero.
        Ok(unsafe { CStr::from_ptr(text.as_ptr()) }
            .to_string_lossy()
            .into_owned())
    }

    /// Bytes that are free, and bytes in all.
    pub(crate) fn memory(&self) -> Result<(usize, usize), Error> {
        let _entered = self.enter()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: the results can be written.
        check("cuMemGetInfo", unsafe {
            sys::cuMemGetInfo_v2(&mut free, &mut total)
        })?;
        Ok((free, total))
    }

    /// Waits for the stream.
    pub(crate) fn synchronize(&self) -> Result<(), Error> {
        let _entered = self.enter()?;
        // SAFETY: the stream is alive.
        check("cuStreamSynchronize", unsafe {
            sys::cuStreamSynchronize(self.stream)
        })
    }

    /// Whether the stream's work is being captured instead of done.
    pub(crate) fn is_capturing(&self) -> Result<bool, Error> {
        let _entered = self.enter()?;
        let mut status = sys::CUstreamCaptureStatus_enum::CU_STREAM_CAPTURE_STATUS_NONE;
        // SAFETY: the stream is alive, the result can be written.
        let answer = unsafe { sys::cuStreamIsCapturing(self.stream, &mut status) };
        check("cuStreamIsCapturing", answer)?;
        Ok(status != sys::CUstreamCaptureStatus_enum::CU_STREAM_CAPTURE_STATUS_NONE)
    }

    /// Copies to the device, and waits for it.
    ///
    /// # Safety
    /// So many bytes at `to` are the device's, and the caller's to write.
    pub(crate) unsafe fn copy_in(&self, to: u64, from: &[u8]) -> Result<(), Error> {
        if from.is_empty() {
            return Ok(());
        }
        let _entered = self.enter()?;
        // SAFETY: by the caller's promise; `from` lives until the copy was waited for.
        let answer =
            unsafe { sys::cuMemcpyHtoDAsync_v2(to, from.as_ptr().cast(), from.len(), self.stream) };
        check("cuMemcpyHtoDAsync", answer)?;
        self.synchronize()
    }

    /// Copies from the device after everything asked for before, and waits for it.
    ///
    /// # Safety
    /// So many bytes at `from` are the device's, and hold values.
    pub(crate) unsafe fn copy_out(&self, from: u64, to: &mut [u8]) -> Result<(), Error> {
        if to.is_empty() {
            return Ok(());
        }
        let _entered = self.enter()?;
        // SAFETY: by the caller's promise; `to` lives until the copy was waited for.
        let answer = unsafe {
            sys::cuMemcpyDtoHAsync_v2(to.as_mut_ptr().cast(), from, to.len(), self.stream)
        };
        check("cuMemcpyDtoHAsync", answer)?;
        self.synchronize()
    }

    /// Copies on the device, without waiting.
    ///
    /// # Safety
    /// So many bytes at both places are the device's until the stream has copied them.
    pub(crate) unsafe fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), Error> {
        if bytes == 0 {
            return Ok(());
        }
        let _entered = self.enter()?;
        // SAFETY: by the caller's promise.
        let answer = unsafe { sys::cuMemcpyDtoDAsync_v2(to, from, bytes, self.stream) };
        check("cuMemcpyDtoDAsync", answer)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some((stream, _context)) = self.owned.take() {
            // Destroyed in its context, which is released after it. Nobody is left to be told of an error.
            let _entered = self.enter();
            drop(stream);
        }
    }
}

/// Finds the driver.
fn initialize() -> Result<(), Error> {
    #[cfg(feature = "shim")]
    if let Some(reason) = adarem_cuda_shim::missing() {
        return Err(Error::NoDriver(reason.to_owned()));
    }
    // SAFETY: the call has no conditions.
    match unsafe { sys::cuInit(0) } {
        CUresult::CUDA_ERROR_NO_DEVICE => Err(Error::NoDevice { asked: 0, found: 0 }),
        CUresult::CUDA_ERROR_STUB_LIBRARY => Err(Error::NoDriver(
            "the CUDA driver found is the toolkit's stand-in".to_owned(),
        )),
        answer => check("cuInit", answer),
    }
}

/// A context that is current on this thread, until this is dropped.
struct Entered;

impl Entered {
    fn push(context: sys::CUcontext) -> Result<Self, Error> {
        // SAFETY: the context is alive: owned, or an engine's that promised so.
        check("cuCtxPushCurrent", unsafe {
            sys::cuCtxPushCurrent_v2(context)
        })?;
        Ok(Self)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut popped = ptr::null_mut();
        // SAFETY: pops what was pushed. An error would be an earlier launch's, and is told by the next call.
        let _ = unsafe { sys::cuCtxPopCurrent_v2(&mut popped) };
    }
}

/// The error of an answer.
fn check(call: &'static str, answer: CUresult) -> Result<(), Error> {
    use CUresult::*;
    let (code, name) = match answer {
        CUDA_SUCCESS => return Ok(()),
        _ => named(answer),
    };
    Err(match answer {
        CUDA_ERROR_NO_DEVICE => Error::NoDevice { asked: 0, found: 0 },
        // Those after which the context cannot be used any more.
        CUDA_ERROR_DEINITIALIZED
        | CUDA_ERROR_ECC_UNCORRECTABLE
        | CUDA_ERROR_NVLINK_UNCORRECTABLE
        | CUDA_ERROR_ILLEGAL_ADDRESS
        | CUDA_ERROR_LAUNCH_TIMEOUT
        | CUDA_ERROR_CONTEXT_IS_DESTROYED
        | CUDA_ERROR_ASSERT
        | CUDA_ERROR_HARDWARE_STACK_ERROR
        | CUDA_ERROR_ILLEGAL_INSTRUCTION
        | CUDA_ERROR_MISALIGNED_ADDRESS
        | CUDA_ERROR_INVALID_ADDRESS_SPACE
        | CUDA_ERROR_INVALID_PC
        | CUDA_ERROR_LAUNCH_FAILED => Error::Lost { call, code, name },
        _ => Error::Driver { call, code, name },
    })
}

/// The number and the name of an answer.
fn named(answer: CUresult) -> (u32, String) {
    #[cfg(feature = "shim")]
    if let Some(code) = adarem_cuda_shim::unnamed_code() {
        return (code, "a code newer than CUDA 11.4".to_owned());
    }
    let mut text = ptr::null();
    // SAFETY: the result can be written.
    let told = unsafe { sys::cuGetErrorName(answer, &mut text) };
    if told != CUresult::CUDA_SUCCESS || text.is_null() {
        return (answer as u32, format!("{answer:?}"));
    }
    // SAFETY: the driver's names are static and end with a zero.
    (
        answer as u32,
        unsafe { CStr::from_ptr(text) }
            .to_string_lossy()
            .into_owned(),
    )
}

/// The error of a call that cust made.
fn of_cust(call: &'static str, error: cust::error::CudaError) -> Error {
    Error::Driver {
        call,
        code: error as u32,
        name: format!("{error:?}"),
    }
}

/// Memory on a device.
#[derive(Debug)]
pub(crate) struct Allocation {
    /// 0 where nothing was asked for.
    address: u64,
    device: Arc<Device>,
}

impl Allocation {
    /// Memory that holds nothing yet.
    pub(crate) fn new(device: &Arc<Device>, bytes: usize) -> Result<Self, Error> {
        let mut address = 0;
        if bytes > 0 {
            let _entered = device.enter()?;
            // SAFETY: the result can be written.
            match unsafe { sys::cuMemAlloc_v2(&mut address, bytes) } {
                CUresult::CUDA_ERROR_OUT_OF_MEMORY => return Err(Error::OutOfMemory { bytes }),
                answer => check("cuMemAlloc", answer)?,
            }
        }
        Ok(Self {
            address,
            device: Arc::clone(device),
        })
    }

    /// Memory that is zero when the stream gets to it.
    pub(crate) fn zeros(device: &Arc<Device>, bytes: usize) -> Result<Self, Error> {
        let allocation = Self::new(device, bytes)?;
        if bytes > 0 {
            let _entered = device.enter()?;
            // SAFETY: the bytes were just allocated.
            let answer =
                unsafe { sys::cuMemsetD8Async(allocation.address, 0, bytes, device.stream) };
            check("cuMemsetD8Async", answer)?;
        }
        Ok(allocation)
    }

    pub(crate) fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        if self.address == 0 {
            return;
        }
        // Errors have been told before, or will be by the next call: here is nobody to tell.
        let _ = self.device.synchronize();
        if let Ok(_entered) = self.device.enter() {
            // SAFETY: allocated by this, freed once, and no work of the stream is left.
            let _ = unsafe { sys::cuMemFree_v2(self.address) };
        }
    }
}

/// Host memory that the device copies from in its own time, in several places to be written in turn.
#[derive(Debug)]
pub(crate) struct Staging {
    start: *mut u64,
    numbers: usize,
    /// For each place, when the copy from it is done.
    events: Vec<sys::CUevent>,
    next: usize,
    device: Arc<Device>,
}

// SAFETY: page-locked memory and events belong to the process, not to a thread.
unsafe impl Send for Staging {}

impl Staging {
    /// Room for so many numbers, `places` times.
    pub(crate) fn new(device: &Arc<Device>, numbers: usize, places: usize) -> Result<Self, Error> {
        let bytes = numbers * places * size_of::<u64>();
        let mut start = ptr::null_mut();
        let _entered = device.enter()?;
        // SAFETY: the result can be written.
        match unsafe { sys::cuMemAllocHost_v2(&mut start, bytes) } {
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => return Err(Error::OutOfMemory { bytes }),
            answer => check("cuMemAllocHost", answer)?,
        }
        let device = Arc::clone(device);
        let mut staging = Self {
            start: start.cast(),
            numbers,
            events: Vec::new(),
            next: 0,
            device,
        };
        for _ in 0..places {
            let mut event = ptr::null_mut();
            let flags = sys::CUevent_flags_enum::CU_EVENT_DISABLE_TIMING as c_uint;
            // SAFETY: the result can be written.
            check("cuEventCreate", unsafe {
                sys::cuEventCreate(&mut event, flags)
            })?;
            staging.events.push(event);
        }
        Ok(staging)
    }

    /// Copies numbers to the device without waiting for it, unless every place is still being copied from.
    ///
    /// # Safety
    /// So many numbers at `to` are the device's, and the caller's to write.
    pub(crate) unsafe fn copy_in(
        &mut self,
        to: u64,
        numbers: impl Iterator<Item = u64>,
    ) -> Result<(), Error> {
        let place = self.next;
        self.next = (place + 1) % self.events.len();
        let _entered = self.device.enter()?;
        // SAFETY: the event is alive; one that was never recorded has passed.
        check("cuEventSynchronize", unsafe {
            sys::cuEventSynchronize(self.events[place])
        })?;
        // SAFETY: the place lies in what was allocated; the device has read it for the last time.
        let start = unsafe { self.start.add(place * self.numbers) };
        for (index, number) in numbers.take(self.numbers).enumerate() {
            // SAFETY: as above.
            unsafe { start.add(index).write(number) };
        }
        let (stream, bytes) = (self.device.stream, self.numbers * size_of::<u64>());
        // SAFETY: by the caller's promise; the place is not written again before the event.
        let answer = unsafe { sys::cuMemcpyHtoDAsync_v2(to, start.cast(), bytes, stream) };
        check("cuMemcpyHtoDAsync", answer)?;
        // SAFETY: event and stream are alive.
        check("cuEventRecord", unsafe {
            sys::cuEventRecord(self.events[place], stream)
        })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = self.device.synchronize();
        if let Ok(_entered) = self.device.enter() {
            for event in &self.events {
                // SAFETY: created by this, destroyed once.
                let _ = unsafe { sys::cuEventDestroy_v2(*event) };
            }
            // SAFETY: allocated by this, freed once, and no copy from it is left.
            let _ = unsafe { sys::cuMemFreeHost(self.start.cast()) };
        }
    }
}

/// The compiled kernels of a program.
#[derive(Debug)]
pub(crate) struct Kernels {
    module: sys::CUmodule,
    launches: Vec<(sys::CUfunction, Grid)>,
    device: Arc<Device>,
}

// SAFETY: modules belong to a context, which may be used from any thread.
unsafe impl Send for Kernels {}

impl Kernels {
    /// Has the driver compile a program, which may take tens of milliseconds.
    pub(crate) fn new(
        device: &Arc<Device>,
        rule: &'static str,
        program: &Program,
    ) -> Result<Self, Error> {
        use sys::CUjit_option::{CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
        let refused = |log: String| Error::Refused { rule, log };
        let text = CString::new(program.text()).map_err(|error| refused(error.to_string()))?;
        let mut log = vec![0_u8; LOG_BYTES];
        let mut options = [CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
        // The driver takes the size in place of a pointer.
        let mut values = [
            log.as_mut_ptr().cast::<c_void>(),
            ptr::without_provenance_mut(LOG_BYTES),
        ];
        let mut module = ptr::null_mut();
        let _entered = device.enter()?;
        // SAFETY: the text ends with a zero, the options and values are two each, the log is as long as they say.
        let answer = unsafe {
            sys::cuModuleLoadDataEx(
                &mut module,
                text.as_ptr().cast(),
                options.len() as c_uint,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        if let Err(error) = check("cuModuleLoadDataEx", answer) {
            return Err(match error {
                Error::Driver { code, name, .. } => {
                    let end = log.iter().position(|byte| *byte == 0).unwrap_or(LOG_BYTES);
                    let words = String::from_utf8_lossy(&log[..end]);
                    refused(format!("{code} ({name}): {}", words.trim_end()))
                }
                error => error,
            });
        }
        let mut kernels = Self {
            module,
            launches: Vec::new(),
            device: Arc::clone(device),
        };
        for launch in program.launches() {
            let name =
                CString::new(launch.kernel.as_str()).map_err(|error| refused(error.to_string()))?;
            let mut function = ptr::null_mut();
            // SAFETY: the result can be written, the module is alive, the name ends with a zero.
            let answer = unsafe { sys::cuModuleGetFunction(&mut function, module, name.as_ptr()) };
            check("cuModuleGetFunction", answer)?;
            kernels.launches.push((function, launch.grid));
        }
        Ok(kernels)
    }

    /// Puts a step's launches into the stream.
    ///
    /// # Safety
    /// `arguments` point to one value for each parameter of the program, of its type. The addresses among them are those
    /// of what [`Parameter`](crate::ptx::Parameter) says, as large as the tables say, until the stream is done.
    pub(crate) unsafe fn launch(
        &self,
        arguments: &mut [*mut c_void],
        blocks: impl Fn(Grid) -> u32,
    ) -> Result<(), Error> {
        let _entered = self.device.enter()?;
        for (function, grid) in &self.launches {
            // SAFETY: by the caller's promise; the function is alive with its module.
            let answer = unsafe {
                sys::cuLaunchKernel(
                    *function,
                    blocks(*grid),
                    1,
                    1,
                    THREADS,
                    1,
                    1,
                    0,
                    self.device.stream,
                    arguments.as_mut_ptr(),
                    ptr::null_mut(),
                )
            };
            check("cuLaunchKernel", answer)?;
        }
        Ok(())
    }
}

impl Drop for Kernels {
    fn drop(&mut self) {
        let _ = self.device.synchronize();
        if let Ok(_entered) = self.device.enter() {
            // SAFETY: loaded by this, unloaded once, and no work of the stream is left.
            let _ = unsafe { sys::cuModuleUnload(self.module) };
        }
    }
}
