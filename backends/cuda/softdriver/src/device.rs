//! A device: its memory, what was loaded onto it, and the queues of work that nothing has waited for yet.

use crate::isa::Kernel;
use crate::memory::Memory;
use crate::run::{Launch, Order};
use crate::{Fault, parse};
use adarem_cuda_shim::Code;
use cust_raw::CUresult;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// Bytes of a device's memory. Host memory is taken only for what is allocated.
const TOTAL: usize = 1 << 30;
/// Devices own the handles between multiples of this.
pub(crate) const HANDLES: usize = 1 << 20;

static DEVICES: OnceLock<Vec<Mutex<Device>>> = OnceLock::new();

pub(crate) fn create(count: u32) {
    let devices = (0..count as usize)
        .map(|ordinal| Mutex::new(Device::new(ordinal)))
        .collect();
    DEVICES.get_or_init(|| devices);
}

pub(crate) fn count() -> usize {
    DEVICES.get().map_or(0, Vec::len)
}

/// Runs `f` on a device.
///
/// # Panics
/// When there is no such device.
pub(crate) fn with<T>(ordinal: u32, f: impl FnOnce(&mut Device) -> T) -> T {
    let devices = DEVICES.get().expect("the driver is installed");
    // A test that failed while it held the lock has said so itself.
    f(&mut devices[ordinal as usize]
        .lock()
        .unwrap_or_else(PoisonError::into_inner))
}

/// Bytes that a copy from the host will read.
#[derive(Clone, Debug)]
pub(crate) enum HostBytes {
    /// Of ordinary memory: taken at the call.
    Staged(Vec<u8>),
    /// Of page-locked memory: read when the copy is done. An address, and a length.
    Pinned(usize, usize),
}

/// A mistake planted into every text that is loaded: the first `from` becomes `to`.
pub(crate) struct Mutation {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) applied: bool,
}

/// Work of a stream.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Launch {
        kernel: Arc<Kernel>,
        blocks: u32,
        threads: u32,
        parameters: Vec<u8>,
        fails: bool,
    },
    CopyIn {
        to: u64,
        from: HostBytes,
    },
    /// To page-locked memory.
    CopyOut {
        to: usize,
        from: u64,
        bytes: usize,
    },
    Copy {
        to: u64,
        from: u64,
        bytes: usize,
    },
    Fill {
        to: u64,
        value: u8,
        bytes: usize,
    },
    Record {
        event: usize,
    },
    Wait {
        event: usize,
    },
}

#[derive(Default)]
pub(crate) struct Stream {
    pub(crate) queue: VecDeque<Command>,
    /// Ordered with the default stream.
    pub(crate) is_blocking: bool,
    pub(crate) captured: Option<Vec<Command>>,
}

#[derive(Clone, Copy)]
pub(crate) enum Event {
    /// Recorded never, or recorded and passed at a time.
    Passed(Option<Instant>),
    /// Recorded in the queue of this stream.
    Pending(usize),
}

pub(crate) struct Device {
    pub(crate) memory: Memory,
    pub(crate) modules: HashMap<usize, Vec<Arc<Kernel>>>,
    pub(crate) functions: HashMap<usize, Arc<Kernel>>,
    pub(crate) streams: HashMap<usize, Stream>,
    pub(crate) events: HashMap<usize, Event>,
    pub(crate) graphs: HashMap<usize, Vec<Command>>,
    pub(crate) executables: HashMap<usize, Vec<Command>>,
    /// Page-locked host memory: address and length.
    pub(crate) pinned: HashMap<usize, usize>,
    pub(crate) faults: Vec<String>,
    pub(crate) calls: Vec<&'static str>,
    pub(crate) launches: u64,
    pub(crate) order: Order,
    pub(crate) fail_next_launch: bool,
    pub(crate) mutation: Option<Mutation>,
    /// After a kernel failed every call is answered with its code.
    pub(crate) sticky: Option<Code>,
    next_handle: usize,
    next_block: u32,
}

/// The handle of the stream that every context has.
pub(crate) const DEFAULT_STREAM: usize = 0;

impl Device {
    fn new(ordinal: usize) -> Self {
        let default = Stream {
            is_blocking: true,
            ..Stream::default()
        };
        Self {
            memory: Memory::new(TOTAL),
            modules: HashMap::new(),
            functions: HashMap::new(),
            streams: HashMap::from([(DEFAULT_STREAM, default)]),
            events: HashMap::new(),
            graphs: HashMap::new(),
            executables: HashMap::new(),
            pinned: HashMap::new(),
            faults: Vec::new(),
            calls: Vec::new(),
            launches: 0,
            order: Order::Forward,
            fail_next_launch: false,
            mutation: None,
            sticky: None,
            next_handle: (ordinal + 1) * HANDLES,
            next_block: 1,
        }
    }

    /// A handle that was never given out.
    pub(crate) fn handle(&mut self) -> usize {
        self.next_handle += 16;
        self.next_handle
    }

    /// Keeps the words of a fault and gives its code.
    pub(crate) fn note(&mut self, fault: Fault) -> Code {
        self.faults.push(fault.text);
        fault.code
    }

    /// Refuses a call for a reason.
    pub(crate) fn refuse(&mut self, code: CUresult, why: &str) -> Code {
        self.note(Fault::new(code, why.to_owned()))
    }

    pub(crate) fn load(&mut self, mut text: String) -> Result<usize, parse::Refusal> {
        if let Some(Mutation { from, to, applied }) = &mut self.mutation {
            *applied |= text.contains(from.as_str());
            text = text.replacen(from.as_str(), to, 1);
        }
        let kernels = parse::module(&text)?.into_iter().map(Arc::new).collect();
        let handle = self.handle();
        self.modules.insert(handle, kernels);
        Ok(handle)
    }

    pub(crate) fn is_capturing(&self) -> bool {
        self.streams
            .values()
            .any(|stream| stream.captured.is_some())
    }

    /// Puts work into a stream, or into the graph that is captured from it.
    pub(crate) fn push(&mut self, stream: usize, command: Command) -> Result<(), Code> {
        let Some(found) = self.streams.get_mut(&stream) else {
            return Err(CUresult::CUDA_ERROR_INVALID_HANDLE as Code);
        };
        if let Some(captured) = &mut found.captured {
            if matches!(command, Command::Record { .. } | Command::Wait { .. }) {
                return Err(self.refuse(
                    CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
                    "this driver captures no events",
                ));
            }
            captured.push(command);
            return Ok(());
        }
        if let Command::Record { event } = command {
            self.events.insert(event, Event::Pending(stream));
        }
        found.queue.push_back(command);
        Ok(())
    }

    /// Does the next piece of a stream's work; `false` when there is none.
    pub(crate) fn advance(&mut self, stream: usize) -> Result<bool, Code> {
        let Some(found) = self.streams.get_mut(&stream) else {
            return Err(CUresult::CUDA_ERROR_INVALID_HANDLE as Code);
        };
        let Some(command) = found.queue.pop_front() else {
            return Ok(false);
        };
        match self.perform(command) {
            Ok(()) => Ok(true),
            Err(fault) => {
                let code = self.note(fault);
                self.sticky = Some(code);
                self.streams
                    .values_mut()
                    .for_each(|stream| stream.queue.clear());
                Err(code)
            }
        }
    }

    /// Waits for a stream.
    pub(crate) fn drain(&mut self, stream: usize) -> Result<(), Code> {
        while self.advance(stream)? {}
        Ok(())
    }

    /// Waits for every stream, or for those that the default stream is ordered with.
    pub(crate) fn drain_streams(&mut self, only_blocking: bool) -> Result<(), Code> {
        let chosen = self
            .streams
            .iter()
            .filter(|(_, it)| it.is_blocking || !only_blocking);
        let handles: Vec<usize> = chosen.map(|(handle, _)| *handle).collect();
        handles
            .into_iter()
            .try_for_each(|stream| self.drain(stream))
    }

    /// Waits until an event has passed.
    pub(crate) fn drain_event(&mut self, event: usize) -> Result<(), Code> {
        while let Some(Event::Pending(stream)) = self.events.get(&event).copied() {
            if !self.advance(stream)? {
                break;
            }
        }
        Ok(())
    }

    fn perform(&mut self, command: Command) -> Result<(), Fault> {
        match command {
            Command::Launch {
                kernel,
                blocks,
                threads,
                parameters,
                fails,
            } => {
                if fails {
                    return Err(Fault::other("this launch was asked to fail".into()));
                }
                let first_block = self.next_block;
                self.next_block += blocks;
                let (parameters, order) = (parameters.as_slice(), self.order);
                let kernel = &*kernel;
                Launch {
                    kernel,
                    blocks,
                    threads,
                    parameters,
                    order,
                    first_block,
                }
                .run(&mut self.memory)
            }
            Command::CopyIn {
                to,
                from: HostBytes::Staged(bytes),
            } => self.memory.copy_in(to, &bytes),
            Command::CopyIn {
                to,
                from: HostBytes::Pinned(from, bytes),
            } => {
                // SAFETY: page-locked memory stays until the driver is told to free it, which waits for all work; the
                // program promised not to write to it meanwhile.
                let bytes = unsafe { core::slice::from_raw_parts(from as *const u8, bytes) };
                self.memory.copy_in(to, bytes)
            }
            Command::CopyOut { to, from, bytes } => {
                // SAFETY: as above; the program promised not to use it meanwhile.
                let out = unsafe { core::slice::from_raw_parts_mut(to as *mut u8, bytes) };
                self.memory.copy_out(from, out)
            }
            Command::Copy { to, from, bytes } => {
                let mut buffer = vec![0; bytes];
                self.memory.copy_out(from, &mut buffer)?;
                self.memory.copy_in(to, &buffer)
            }
            Command::Fill { to, value, bytes } => self.memory.copy_in(to, &vec![value; bytes]),
            Command::Record { event } => {
                self.events
                    .insert(event, Event::Passed(Some(Instant::now())));
                Ok(())
            }
            Command::Wait { event } => self.drain_event(event).map_err(|code| Fault {
                code,
                text: "work that was waited for failed".into(),
            }),
        }
    }

    /// Whether bytes of the host lie in page-locked memory.
    pub(crate) fn is_pinned(&self, at: usize, bytes: usize) -> bool {
        self.pinned
            .iter()
            .any(|(start, length)| *start <= at && at + bytes <= start + length)
    }
}
