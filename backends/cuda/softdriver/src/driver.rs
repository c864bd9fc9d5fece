//! The driver's entry points, as the shim's table wants them.
//!
//! SAFETY of all of them: a caller of a `cu*` function promises what NVIDIA's manual asks for: pointers to results can be
//! written, pointers to host memory are as long as the call says, texts end in zero. Nothing more is relied on.

use crate::device::{self, Command, DEFAULT_STREAM, Device, Event, HANDLES, HostBytes, Stream};
use adarem_cuda_shim::{Code, Entries};
use core::cell::{Cell, RefCell};
use core::ffi::{CStr, c_char, c_int, c_uchar, c_uint, c_void};
use cust_raw::*;
use std::alloc::Layout;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const OK: Code = CUresult::CUDA_SUCCESS as Code;
const INVALID_VALUE: Code = CUresult::CUDA_ERROR_INVALID_VALUE as Code;
const INVALID_HANDLE: Code = CUresult::CUDA_ERROR_INVALID_HANDLE as Code;

type Answer = Result<(), Code>;

static IS_INITIALIZED: AtomicBool = AtomicBool::new(false);
static CONTEXTS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(0) };
    /// The contexts below the current one.
    static BELOW: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

fn code(answer: Answer) -> Code {
    answer.err().unwrap_or(OK)
}

/// The device of a context. Its primary context is the first of its handles.
fn ordinal_of(context: usize) -> u32 {
    (context / HANDLES - 1) as u32
}

/// Runs a call on the device of this thread's context.
fn on_device(name: &'static str, call: impl FnOnce(&mut Device) -> Answer) -> Code {
    let context = CURRENT.get();
    if context == 0 {
        return CUresult::CUDA_ERROR_INVALID_CONTEXT as Code;
    }
    device::with(ordinal_of(context), |device| {
        device.calls.push(name);
        match device.sticky {
            Some(sticky) => sticky,
            None => code(call(device)),
        }
    })
}

/// Runs a call that a stream which is being captured does not survive.
fn outside_capture(name: &'static str, call: impl FnOnce(&mut Device) -> Answer) -> Code {
    on_device(name, |device| {
        if device.is_capturing() {
            let code = CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
            return Err(device.refuse(code, &format!("{name} while a stream is captured")));
        }
        call(device)
    })
}

/// Writes a result.
///
/// # Safety
/// `to` is null or can be written.
unsafe fn put<T>(to: *mut T, value: T) -> Answer {
    if to.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: by the caller's promise.
    unsafe { to.write(value) };
    Ok(())
}

unsafe extern "C" fn init(_flags: c_uint) -> Code {
    IS_INITIALIZED.store(true, Ordering::Relaxed);
    if device::count() == 0 {
        CUresult::CUDA_ERROR_NO_DEVICE as Code
    } else {
        OK
    }
}

unsafe extern "C" fn driver_version(version: *mut c_int) -> Code {
    // SAFETY: see the head of this file.
    code(unsafe { put(version, 12_040) })
}

unsafe extern "C" fn device_count(count: *mut c_int) -> Code {
    if !IS_INITIALIZED.load(Ordering::Relaxed) {
        return CUresult::CUDA_ERROR_NOT_INITIALIZED as Code;
    }
    // SAFETY: see the head of this file.
    code(unsafe { put(count, device::count() as c_int) })
}

unsafe extern "C" fn device_get(device: *mut CUdevice, ordinal: c_int) -> Code {
    if !(0..device::count() as c_int).contains(&ordinal) {
        return CUresult::CUDA_ERROR_INVALID_DEVICE as Code;
    }
    // SAFETY: see the head of this file.
    code(unsafe { put(device, ordinal) })
}

unsafe extern "C" fn device_name(text: *mut c_char, length: c_int, _device: CUdevice) -> Code {
    let name = c"software sm_70, no GPU".to_bytes_with_nul();
    if (length as usize) < name.len() {
        return INVALID_VALUE;
    }
    // SAFETY: see the head of this file; the length was checked.
    unsafe { core::ptr::copy_nonoverlapping(name.as_ptr().cast(), text, name.len()) };
    OK
}

unsafe extern "C" fn device_attribute(
    value: *mut c_int,
    attribute: CUdevice_attribute,
    _device: CUdevice,
) -> Code {
    use CUdevice_attribute_enum::*;
    let known = match attribute {
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR => 7,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR => 0,
        CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT => 1,
        CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X => c_int::MAX,
        CU_DEVICE_ATTRIBUTE_WARP_SIZE => 32,
        _ => return CUresult::CUDA_ERROR_NOT_SUPPORTED as Code,
    };
    // SAFETY: see the head of this file.
    code(unsafe { put(value, known) })
}

unsafe extern "C" fn device_total_memory(bytes: *mut usize, ordinal: CUdevice) -> Code {
    let total = device::with(ordinal as u32, |device| device.memory.total_bytes());
    // SAFETY: see the head of this file.
    code(unsafe { put(bytes, total) })
}

unsafe extern "C" fn primary_retain(context: *mut CUcontext, ordinal: CUdevice) -> Code {
    // SAFETY: see the head of this file.
    code(unsafe { put(context, ((ordinal as usize + 1) * HANDLES) as CUcontext) })
}

unsafe extern "C" fn primary_release(_ordinal: CUdevice) -> Code {
    OK
}

unsafe extern "C" fn context_create(
    context: *mut CUcontext,
    _flags: c_uint,
    ordinal: CUdevice,
) -> Code {
    let number = 1 + CONTEXTS.fetch_add(1, Ordering::Relaxed);
    let handle = (ordinal as usize + 1) * HANDLES + number;
    CURRENT.set(handle);
    // SAFETY: see the head of this file.
    code(unsafe { put(context, handle as CUcontext) })
}

unsafe extern "C" fn context_destroy(context: CUcontext) -> Code {
    if CURRENT.get() == context as usize {
        CURRENT.set(0);
    }
    OK
}

unsafe extern "C" fn context_set(context: CUcontext) -> Code {
    CURRENT.set(context as usize);
    OK
}

unsafe extern "C" fn context_push(context: CUcontext) -> Code {
    BELOW.with_borrow_mut(|below| below.push(CURRENT.replace(context as usize)));
    OK
}

unsafe extern "C" fn context_pop(context: *mut CUcontext) -> Code {
    let Some(below) = BELOW.with_borrow_mut(Vec::pop) else {
        return CUresult::CUDA_ERROR_INVALID_CONTEXT as Code;
    };
    // SAFETY: see the head of this file.
    code(unsafe { put(context, CURRENT.replace(below) as CUcontext) })
}

unsafe extern "C" fn context_get(context: *mut CUcontext) -> Code {
    // SAFETY: see the head of this file.
    code(unsafe { put(context, CURRENT.get() as CUcontext) })
}

unsafe extern "C" fn context_device(device: *mut CUdevice) -> Code {
    // SAFETY: see the head of this file.
    on_device("cuCtxGetDevice", |_| unsafe {
        put(device, ordinal_of(CURRENT.get()) as CUdevice)
    })
}

unsafe extern "C" fn context_synchronize() -> Code {
    outside_capture("cuCtxSynchronize", |device| device.drain_streams(false))
}

unsafe extern "C" fn module_load(
    module: *mut CUmodule,
    image: *const c_void,
    count: c_uint,
    options: *mut CUjit_option,
    values: *mut *mut c_void,
) -> Code {
    outside_capture("cuModuleLoadDataEx", |device| {
        // SAFETY: see the head of this file.
        let text = unsafe { CStr::from_ptr(image.cast()) }.to_string_lossy();
        match device.load(text.into_owned()) {
            // SAFETY: see the head of this file.
            Ok(handle) => unsafe { put(module, handle as CUmodule) },
            Err(refusal) => {
                let log = format!("software, line {}; error: {}", refusal.line, refusal.why);
                // SAFETY: see the head of this file.
                unsafe { write_log(&log, count, options, values) };
                Err(device.refuse(CUresult::CUDA_ERROR_INVALID_PTX, &log))
            }
        }
    })
}

/// Puts the compiler's words where the caller's options want them.
///
/// # Safety
/// `options` and `values` are `count` long; a buffer among them is as long as the size among them says.
unsafe fn write_log(
    log: &str,
    count: c_uint,
    options: *mut CUjit_option,
    values: *mut *mut c_void,
) {
    let (mut buffer, mut size) = (core::ptr::null_mut::<u8>(), 0);
    for index in 0..count as usize {
        // SAFETY: by the caller's promise.
        let (option, value) = unsafe { (*options.add(index), *values.add(index)) };
        match option {
            CUjit_option::CU_JIT_ERROR_LOG_BUFFER => buffer = value.cast(),
            CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES => size = value as usize,
            _ => {}
        }
    }
    if !buffer.is_null() && size > 0 {
        let length = log.len().min(size - 1);
        // SAFETY: by the caller's promise.
        unsafe {
            core::ptr::copy_nonoverlapping(log.as_ptr(), buffer, length);
            buffer.add(length).write(0);
        }
    }
}

unsafe extern "C" fn module_unload(module: CUmodule) -> Code {
    outside_capture("cuModuleUnload", |device| {
        device.drain_streams(false)?;
        device
            .modules
            .remove(&(module as usize))
            .map(drop)
            .ok_or(INVALID_HANDLE)
    })
}

unsafe extern "C" fn module_function(
    function: *mut CUfunction,
    module: CUmodule,
    name: *const c_char,
) -> Code {
    on_device("cuModuleGetFunction", |device| {
        // SAFETY: see the head of this file.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
        let kernels = device
            .modules
            .get(&(module as usize))
            .ok_or(INVALID_HANDLE)?;
        let kernel = kernels.iter().find(|kernel| kernel.name == name).cloned();
        let kernel = kernel.ok_or(CUresult::CUDA_ERROR_NOT_FOUND as Code)?;
        let handle = device.handle();
        device.functions.insert(handle, kernel);
        // SAFETY: see the head of this file.
        unsafe { put(function, handle as CUfunction) }
    })
}

unsafe extern "C" fn memory_info(free: *mut usize, total: *mut usize) -> Code {
    on_device("cuMemGetInfo", |device| {
        // SAFETY: see the head of this file.
        unsafe {
            put(free, device.memory.free_bytes())?;
            put(total, device.memory.total_bytes())
        }
    })
}

unsafe extern "C" fn allocate(address: *mut CUdeviceptr, bytes: usize) -> Code {
    outside_capture("cuMemAlloc", |device| {
        if bytes == 0 {
            return Err(INVALID_VALUE);
        }
        let base = device.memory.allocate(bytes);
        let base = base.ok_or(CUresult::CUDA_ERROR_OUT_OF_MEMORY as Code)?;
        // SAFETY: see the head of this file.
        unsafe { put(address, base) }
    })
}

unsafe extern "C" fn free(address: CUdeviceptr) -> Code {
    outside_capture("cuMemFree", |device| {
        device.drain_streams(false)?;
        if device.memory.free(address) {
            return Ok(());
        }
        let why = format!("free of {address:#x}, where nothing was allocated");
        Err(device.refuse(CUresult::CUDA_ERROR_INVALID_VALUE, &why))
    })
}

/// Where the length of page-locked memory is kept: before it.
const PINNED_HEAD: usize = 64;

fn pinned_layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes.checked_add(PINNED_HEAD)?, PINNED_HEAD).ok()
}

unsafe extern "C" fn allocate_pinned(address: *mut *mut c_void, bytes: usize) -> Code {
    outside_capture("cuMemAllocHost", |device| {
        let layout = pinned_layout(bytes).ok_or(INVALID_VALUE)?;
        // SAFETY: the layout is not empty.
        let start = unsafe { std::alloc::alloc_zeroed(layout) };
        if start.is_null() {
            return Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY as Code);
        }
        // SAFETY: the head is part of what was allocated.
        let data = unsafe { start.add(PINNED_HEAD) };
        device.pinned.insert(data as usize, bytes);
        // SAFETY: see the head of this file.
        unsafe { put(address, data.cast()) }
    })
}

unsafe extern "C" fn free_pinned(address: *mut c_void) -> Code {
    outside_capture("cuMemFreeHost", |device| {
        device.drain_streams(false)?;
        let bytes = device
            .pinned
            .remove(&(address as usize))
            .ok_or(INVALID_VALUE)?;
        let layout = pinned_layout(bytes).ok_or(INVALID_VALUE)?;
        // SAFETY: it was allocated with this head and this layout.
        unsafe { std::alloc::dealloc(address.cast::<u8>().sub(PINNED_HEAD), layout) };
        Ok(())
    })
}

/// The bytes of an asynchronous copy from the host.
///
/// # Safety
/// `from` is `bytes` long, and where it is page-locked stays so until the copy is done.
unsafe fn host_bytes(device: &Device, from: *const c_void, bytes: usize) -> HostBytes {
    if device.is_pinned(from as usize, bytes) {
        return HostBytes::Pinned(from as usize, bytes);
    }
    // SAFETY: by the caller's promise.
    HostBytes::Staged(unsafe { core::slice::from_raw_parts(from.cast(), bytes) }.to_vec())
}

unsafe extern "C" fn copy_in(to: CUdeviceptr, from: *const c_void, bytes: usize) -> Code {
    outside_capture("cuMemcpyHtoD", |device| {
        device.drain_streams(true)?;
        // SAFETY: see the head of this file.
        let data = unsafe { core::slice::from_raw_parts(from.cast(), bytes) };
        device
            .memory
            .copy_in(to, data)
            .map_err(|fault| device.note(fault))
    })
}

unsafe extern "C" fn copy_out(to: *mut c_void, from: CUdeviceptr, bytes: usize) -> Code {
    outside_capture("cuMemcpyDtoH", |device| {
        device.drain_streams(true)?;
        // SAFETY: see the head of this file.
        let out = unsafe { core::slice::from_raw_parts_mut(to.cast(), bytes) };
        device
            .memory
            .copy_out(from, out)
            .map_err(|fault| device.note(fault))
    })
}

unsafe extern "C" fn copy_in_async(
    to: CUdeviceptr,
    from: *const c_void,
    bytes: usize,
    stream: CUstream,
) -> Code {
    on_device("cuMemcpyHtoDAsync", |device| {
        // SAFETY: see the head of this file.
        let from = unsafe { host_bytes(device, from, bytes) };
        device.push(stream as usize, Command::CopyIn { to, from })
    })
}

unsafe extern "C" fn copy_out_async(
    to: *mut c_void,
    from: CUdeviceptr,
    bytes: usize,
    stream: CUstream,
) -> Code {
    on_device("cuMemcpyDtoHAsync", |device| {
        let is_pinned = device.is_pinned(to as usize, bytes);
        device.push(
            stream as usize,
            Command::CopyOut {
                to: to as usize,
                from,
                bytes,
            },
        )?;
        // To ordinary memory the driver copies before it returns.
        if is_pinned {
            Ok(())
        } else {
            device.drain(stream as usize)
        }
    })
}

unsafe extern "C" fn copy_async(
    to: CUdeviceptr,
    from: CUdeviceptr,
    bytes: usize,
    stream: CUstream,
) -> Code {
    on_device("cuMemcpyDtoDAsync", |device| {
        device.push(stream as usize, Command::Copy { to, from, bytes })
    })
}

unsafe extern "C" fn fill_async(
    to: CUdeviceptr,
    value: c_uchar,
    bytes: usize,
    stream: CUstream,
) -> Code {
    on_device("cuMemsetD8Async", |device| {
        device.push(stream as usize, Command::Fill { to, value, bytes })
    })
}

unsafe extern "C" fn stream_priorities(least: *mut c_int, greatest: *mut c_int) -> Code {
    // SAFETY: see the head of this file.
    on_device("cuCtxGetStreamPriorityRange", |_| unsafe {
        put(least, 0)?;
        put(greatest, 0)
    })
}

unsafe extern "C" fn stream_create(stream: *mut CUstream, flags: c_uint, _priority: c_int) -> Code {
    outside_capture("cuStreamCreate", |device| {
        let handle = device.handle();
        let is_blocking = flags & CUstream_flags::CU_STREAM_NON_BLOCKING as c_uint == 0;
        device.streams.insert(
            handle,
            Stream {
                is_blocking,
                ..Stream::default()
            },
        );
        // SAFETY: see the head of this file.
        unsafe { put(stream, handle as CUstream) }
    })
}

unsafe extern "C" fn stream_destroy(stream: CUstream) -> Code {
    on_device("cuStreamDestroy", |device| {
        // Its work is done still, in its own time.
        device.drain(stream as usize)?;
        if stream as usize != DEFAULT_STREAM {
            device.streams.remove(&(stream as usize));
        }
        Ok(())
    })
}

unsafe extern "C" fn stream_synchronize(stream: CUstream) -> Code {
    outside_capture("cuStreamSynchronize", |device| {
        device.drain(stream as usize)
    })
}

unsafe extern "C" fn stream_wait(stream: CUstream, event: CUevent, _flags: c_uint) -> Code {
    on_device("cuStreamWaitEvent", |device| {
        device.push(
            stream as usize,
            Command::Wait {
                event: event as usize,
            },
        )
    })
}

unsafe extern "C" fn capture_begin(stream: CUstream, _mode: CUstreamCaptureMode) -> Code {
    outside_capture("cuStreamBeginCapture", |device| {
        let stream = device
            .streams
            .get_mut(&(stream as usize))
            .ok_or(INVALID_HANDLE)?;
        stream.captured = Some(Vec::new());
        Ok(())
    })
}

unsafe extern "C" fn capture_end(stream: CUstream, graph: *mut CUgraph) -> Code {
    on_device("cuStreamEndCapture", |device| {
        let stream = device
            .streams
            .get_mut(&(stream as usize))
            .ok_or(INVALID_HANDLE)?;
        let captured = stream
            .captured
            .take()
            .ok_or(CUresult::CUDA_ERROR_ILLEGAL_STATE as Code)?;
        let handle = device.handle();
        device.graphs.insert(handle, captured);
        // SAFETY: see the head of this file.
        unsafe { put(graph, handle as CUgraph) }
    })
}

unsafe extern "C" fn capture_status(stream: CUstream, status: *mut CUstreamCaptureStatus) -> Code {
    on_device("cuStreamIsCapturing", |device| {
        let stream = device
            .streams
            .get(&(stream as usize))
            .ok_or(INVALID_HANDLE)?;
        // SAFETY: see the head of this file.
        unsafe {
            put(
                status,
                match stream.captured {
                    Some(_) => CUstreamCaptureStatus_enum::CU_STREAM_CAPTURE_STATUS_ACTIVE,
                    None => CUstreamCaptureStatus_enum::CU_STREAM_CAPTURE_STATUS_NONE,
                },
            )
        }
    })
}

unsafe extern "C" fn graph_instantiate(
    executable: *mut CUgraphExec,
    graph: CUgraph,
    _node: *mut CUgraphNode,
    _log: *mut c_char,
    _bytes: usize,
) -> Code {
    outside_capture("cuGraphInstantiate", |device| {
        let commands = device
            .graphs
            .get(&(graph as usize))
            .cloned()
            .ok_or(INVALID_HANDLE)?;
        let handle = device.handle();
        device.executables.insert(handle, commands);
        // SAFETY: see the head of this file.
        unsafe { put(executable, handle as CUgraphExec) }
    })
}

unsafe extern "C" fn graph_launch(executable: CUgraphExec, stream: CUstream) -> Code {
    on_device("cuGraphLaunch", |device| {
        let commands = device.executables.get(&(executable as usize)).cloned();
        for command in commands.ok_or(INVALID_HANDLE)? {
            device.launches += u64::from(matches!(command, Command::Launch { .. }));
            device.push(stream as usize, command)?;
        }
        Ok(())
    })
}

unsafe extern "C" fn graph_executable_destroy(executable: CUgraphExec) -> Code {
    on_device("cuGraphExecDestroy", |device| {
        device
            .executables
            .remove(&(executable as usize))
            .map(drop)
            .ok_or(INVALID_HANDLE)
    })
}

unsafe extern "C" fn graph_destroy(graph: CUgraph) -> Code {
    on_device("cuGraphDestroy", |device| {
        device
            .graphs
            .remove(&(graph as usize))
            .map(drop)
            .ok_or(INVALID_HANDLE)
    })
}

unsafe extern "C" fn event_create(event: *mut CUevent, _flags: c_uint) -> Code {
    outside_capture("cuEventCreate", |device| {
        let handle = device.handle();
        device.events.insert(handle, Event::Passed(None));
        // SAFETY: see the head of this file.
        unsafe { put(event, handle as CUevent) }
    })
}

unsafe extern "C" fn event_destroy(event: CUevent) -> Code {
    on_device("cuEventDestroy", |device| {
        device.drain_event(event as usize)?;
        device
            .events
            .remove(&(event as usize))
            .map(drop)
            .ok_or(INVALID_HANDLE)
    })
}

unsafe extern "C" fn event_record(event: CUevent, stream: CUstream) -> Code {
    on_device("cuEventRecord", |device| {
        device.push(
            stream as usize,
            Command::Record {
                event: event as usize,
            },
        )
    })
}

unsafe extern "C" fn event_synchronize(event: CUevent) -> Code {
    outside_capture("cuEventSynchronize", |device| {
        device.drain_event(event as usize)
    })
}

/// Time passes while one asks: each question does a piece of the work that is waited for.
unsafe extern "C" fn event_query(event: CUevent) -> Code {
    on_device("cuEventQuery", |device| {
        match device.events.get(&(event as usize)).copied() {
            Some(Event::Passed(_)) => Ok(()),
            Some(Event::Pending(stream)) => {
                device.advance(stream)?;
                Err(CUresult::CUDA_ERROR_NOT_READY as Code)
            }
            None => Err(INVALID_HANDLE),
        }
    })
}

unsafe extern "C" fn event_elapsed(milliseconds: *mut f32, start: CUevent, end: CUevent) -> Code {
    on_device("cuEventElapsedTime", |device| {
        let passed = |event: CUevent| match device.events.get(&(event as usize)) {
            Some(Event::Passed(Some(at))) => Ok(*at),
            Some(_) => Err(CUresult::CUDA_ERROR_NOT_READY as Code),
            None => Err(INVALID_HANDLE),
        };
        let time = passed(end)?.saturating_duration_since(passed(start)?);
        // SAFETY: see the head of this file.
        unsafe { put(milliseconds, time.as_secs_f32() * 1e3) }
    })
}

unsafe extern "C" fn launch(
    function: CUfunction,
    blocks: c_uint,
    blocks_y: c_uint,
    blocks_z: c_uint,
    threads: c_uint,
    threads_y: c_uint,
    threads_z: c_uint,
    shared: c_uint,
    stream: CUstream,
    arguments: *mut *mut c_void,
    _extra: *mut *mut c_void,
) -> Code {
    on_device("cuLaunchKernel", |device| {
        let kernel = device
            .functions
            .get(&(function as usize))
            .cloned()
            .ok_or(INVALID_HANDLE)?;
        let is_flat = [blocks_y, blocks_z, threads_y, threads_z] == [1; 4] && shared == 0;
        let fits = threads <= kernel.max_threads.unwrap_or(1024) && threads.is_multiple_of(32);
        if !is_flat || !fits || blocks == 0 || threads == 0 {
            let why = format!("a launch of {blocks} blocks of {threads} threads was refused");
            return Err(device.refuse(CUresult::CUDA_ERROR_INVALID_VALUE, &why));
        }
        let mut parameters = vec![0; kernel.parameter_bytes];
        for (index, parameter) in kernel.parameters.iter().enumerate() {
            let bytes = parameter.kind.size();
            let to = &mut parameters[parameter.offset..parameter.offset + bytes];
            // SAFETY: see the head of this file: there is an argument for each parameter, as large as its type.
            let from = unsafe { (*arguments.add(index)).cast::<u8>() };
            // SAFETY: as above.
            unsafe { core::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), bytes) };
        }
        let fails = core::mem::take(&mut device.fail_next_launch);
        let kernel = Arc::clone(&kernel);
        device.launches += 1;
        let command = Command::Launch {
            kernel,
            blocks,
            threads,
            parameters,
            fails,
        };
        device.push(stream as usize, command)
    })
}

/// The codes that this driver answers with, by name and in words.
fn described(error: Code) -> (&'static CStr, &'static CStr) {
    match error {
        1 => (c"CUDA_ERROR_INVALID_VALUE", c"invalid argument"),
        2 => (c"CUDA_ERROR_OUT_OF_MEMORY", c"out of memory"),
        100 => (
            c"CUDA_ERROR_NO_DEVICE",
            c"no CUDA-capable device is detected",
        ),
        218 => (c"CUDA_ERROR_INVALID_PTX", c"a PTX JIT compilation failed"),
        700 => (
            c"CUDA_ERROR_ILLEGAL_ADDRESS",
            c"an illegal memory access was encountered",
        ),
        716 => (c"CUDA_ERROR_MISALIGNED_ADDRESS", c"misaligned address"),
        719 => (c"CUDA_ERROR_LAUNCH_FAILED", c"unspecified launch failure"),
        900 => (
            c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
            c"operation not permitted when stream is capturing",
        ),
        _ => (c"CUDA_ERROR", c"another error of the software driver"),
    }
}

unsafe extern "C" fn error_name(error: Code, text: *mut *const c_char) -> Code {
    // SAFETY: see the head of this file.
    code(unsafe { put(text, described(error).0.as_ptr()) })
}

unsafe extern "C" fn error_string(error: Code, text: *mut *const c_char) -> Code {
    // SAFETY: see the head of this file.
    code(unsafe { put(text, described(error).1.as_ptr()) })
}

/// What the driver has. Everything else is answered as a symbol that does not exist.
pub(crate) fn entries() -> Entries {
    Entries {
        cuInit: Some(init),
        cuDriverGetVersion: Some(driver_version),
        cuDeviceGet: Some(device_get),
        cuDeviceGetCount: Some(device_count),
        cuDeviceGetName: Some(device_name),
        cuDeviceGetAttribute: Some(device_attribute),
        cuDeviceTotalMem_v2: Some(device_total_memory),
        cuDevicePrimaryCtxRetain: Some(primary_retain),
        cuDevicePrimaryCtxRelease_v2: Some(primary_release),
        cuCtxCreate_v2: Some(context_create),
        cuCtxDestroy_v2: Some(context_destroy),
        cuCtxPushCurrent_v2: Some(context_push),
        cuCtxPopCurrent_v2: Some(context_pop),
        cuCtxSetCurrent: Some(context_set),
        cuCtxGetCurrent: Some(context_get),
        cuCtxGetDevice: Some(context_device),
        cuCtxSynchronize: Some(context_synchronize),
        cuCtxGetStreamPriorityRange: Some(stream_priorities),
        cuModuleLoadDataEx: Some(module_load),
        cuModuleUnload: Some(module_unload),
        cuModuleGetFunction: Some(module_function),
        cuMemGetInfo_v2: Some(memory_info),
        cuMemAlloc_v2: Some(allocate),
        cuMemFree_v2: Some(free),
        cuMemAllocHost_v2: Some(allocate_pinned),
        cuMemFreeHost: Some(free_pinned),
        cuMemcpyHtoD_v2: Some(copy_in),
        cuMemcpyDtoH_v2: Some(copy_out),
        cuMemcpyHtoDAsync_v2: Some(copy_in_async),
        cuMemcpyDtoHAsync_v2: Some(copy_out_async),
        cuMemcpyDtoDAsync_v2: Some(copy_async),
        cuMemsetD8Async: Some(fill_async),
        cuStreamCreateWithPriority: Some(stream_create),
        cuStreamDestroy_v2: Some(stream_destroy),
        cuStreamSynchronize: Some(stream_synchronize),
        cuStreamWaitEvent: Some(stream_wait),
        cuStreamBeginCapture_v2: Some(capture_begin),
        cuStreamEndCapture: Some(capture_end),
        cuStreamIsCapturing: Some(capture_status),
        cuGraphInstantiate_v2: Some(graph_instantiate),
        cuGraphLaunch: Some(graph_launch),
        cuGraphExecDestroy: Some(graph_executable_destroy),
        cuGraphDestroy: Some(graph_destroy),
        cuEventCreate: Some(event_create),
        cuEventDestroy_v2: Some(event_destroy),
        cuEventRecord: Some(event_record),
        cuEventSynchronize: Some(event_synchronize),
        cuEventQuery: Some(event_query),
        cuEventElapsedTime: Some(event_elapsed),
        cuLaunchKernel: Some(launch),
        cuGetErrorName: Some(error_name),
        cuGetErrorString: Some(error_string),
        ..Entries::default()
    }
}
