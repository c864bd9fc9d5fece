//! [`Vulkan`]: the backend.

use crate::{
    context::{Choice, Context, Shared},
    error::{Call, Error},
    memory::{Allocation, Purpose, Tensor},
    pipeline::{FreeSets, Pipelines, Sets},
    spirv::{Division, Kernel, Target},
    step::{Encoder, Scratch, Tensors},
};
use adarem::{Backend, Batch, Element, Mismatch, Plan, Stored, Tensor as _, backend::packing};
use ash::vk;
use core::{fmt, marker::PhantomData};
use std::sync::Arc;

/// Steps and copies that may be under way before the host waits for the oldest.
const FRAMES: usize = 4;
/// Bytes of the buffer through which host and device exchange numbers.
const STAGING: u64 = 4 << 20;

/// Steps tensors of `E` on a Vulkan device, with the host's bits.
///
/// A step is one submission for any number of tensors, and the host waits for nothing; only when it is four steps
/// ahead of the device does it wait for the oldest. [`write`](Backend::write) and [`read`](Backend::read) go
/// through a staging buffer. [`record`](Self::record) puts steps into an engine's own command buffer instead. State
/// that a rule keeps in 16 bits is [packed](adarem::backend::packing), on every device.
///
/// ```
/// use adarem::{AdaRem, Backend, Optimizer};
/// use adarem_vulkan::Vulkan;
///
/// # fn main() -> Result<(), adarem_vulkan::Error> {
/// # if Vulkan::<f32>::open().is_err() { return Ok(()); }
/// let mut vulkan = Vulkan::<f32>::open()?;
/// let (mut theta, mut grad) = (vulkan.zeros(2)?, vulkan.zeros(2)?);
/// vulkan.write(&mut theta, 0, &[3.0, -4.0])?;
/// let mut optimizer = Optimizer::new(AdaRem { lr: 0.5, ..AdaRem::default() }, &mut vulkan, &[2])?;
/// vulkan.write(&mut grad, 0, &[2.0, -2.0])?;
/// optimizer.step(&mut vulkan, &mut [&mut theta], &[&grad])?;
/// let mut numbers = [0.0; 2];
/// vulkan.read(&theta, 0, &mut numbers)?;
/// assert_eq!(numbers, [2.0, -3.0]);
/// # Ok(()) }
/// ```
pub struct Vulkan<E> {
    // Dropped in this order, after `Drop` has waited for the device.
    frames: Vec<Frame>,
    free_sets: FreeSets,
    pipelines: Pipelines,
    scratch: Scratch,
    encoder: Encoder,
    staging: Option<Staging>,
    commands: vk::CommandPool,
    /// Where steps go while [`record`](Vulkan::record) runs.
    recording: Option<Recording>,
    division: Division,
    context: Context,
    element: PhantomData<E>,
}

/// A command buffer of the backend's own.
struct Frame {
    commands: vk::CommandBuffer,
    /// The submission after which it is free.
    until: u64,
    sets: Vec<Sets>,
}

/// An engine's command buffer, and the sets that its steps use.
struct Recording {
    commands: vk::CommandBuffer,
    sets: Vec<Sets>,
}

/// Ends a recording, also where its body panics: later steps must not go into that command buffer.
struct EndsRecording<'v, E> {
    vulkan: &'v mut Vulkan<E>,
    outer: Option<Recording>,
}

impl<E> Drop for EndsRecording<'_, E> {
    fn drop(&mut self) {
        self.vulkan.recording = self.outer.take();
    }
}

/// Memory that host and device both see.
struct Staging {
    allocation: Allocation,
    start: *mut u8,
    /// Bytes in use by copies under way.
    used: u64,
}

// SAFETY: `start` points into the memory of `allocation`, which goes along; nothing else refers to it.
unsafe impl Send for Staging {}

/// What an engine's command buffer needs of the backend until it has finished.
///
/// Keep it beside the command buffer and drop it when that has finished and will not be submitted again: what it
/// holds is then used for later steps.
#[must_use = "the command buffer needs it until it has finished"]
pub struct Recorded {
    sets: Vec<Sets>,
    free: FreeSets,
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.free.give(&mut self.sets);
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded")
            .field("steps", &self.sets.len())
            .finish()
    }
}

impl<E> fmt::Debug for Vulkan<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vulkan")
            .field("context", &self.context)
            .field("division", &self.division)
            .finish_non_exhaustive()
    }
}

impl<E: Element> Vulkan<E> {
    /// Opens the best device: discrete before integrated before software.
    ///
    /// # Errors
    ///
    /// As [`Context::open`] and [`new`](Self::new).
    pub fn open() -> Result<Self, Error> {
        Self::new(&Context::open(&Choice::Best)?)
    }

    /// Works on this device. Backends for `f32` and `f64` may share one.
    ///
    /// # Errors
    ///
    /// [`Error::NoFloat64`] if `E` is `f64` and the device, or the engine's logical device, has none;
    /// [`Error::OutOfMemory`], [`Error::DeviceLost`].
    pub fn new(context: &Context) -> Result<Self, Error> {
        let shared = context.shared();
        shared.check_lost()?;
        shared.check_width(8 * E::DTYPE.bytes() as u32)?;
        let pipelines = Pipelines::new(shared)?;
        let info = vk::CommandPoolCreateInfo::default()
            .queue_family_index(shared.family)
            .flags(vk::CommandPoolCreateFlags::RESET_COMMAND_BUFFER);
        // SAFETY: the device lives as long as the context.
        let commands = unsafe { shared.device.create_command_pool(&info, None) }
            .call("vkCreateCommandPool")?;
        Ok(Self {
            frames: Vec::new(),
            free_sets: FreeSets::default(),
            pipelines,
            scratch: Scratch::default(),
            encoder: Encoder::default(),
            staging: None,
            commands,
            recording: None,
            division: Division::Exact,
            context: context.clone(),
            element: PhantomData,
        })
    }

    /// How lanes divide and take square roots: exactly unless told otherwise. AdaRem, AdaRem-S and SGD do neither.
    #[must_use]
    pub fn with_division(mut self, division: Division) -> Self {
        self.division = division;
        self
    }

    /// Starts from compiled code that [`pipeline_cache`](Self::pipeline_cache) gave in an earlier run. Code of
    /// another device or driver is ignored.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn with_pipeline_cache(mut self, saved: &[u8]) -> Result<Self, Error> {
        self.pipelines.load(saved)?;
        Ok(self)
    }

    /// The compiled code of all plans met so far, to be kept in a file of the caller's.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn pipeline_cache(&self) -> Result<Vec<u8>, Error> {
        self.pipelines.saved()
    }

    /// Shows every kernel that is not compiled yet to `through` before it is: to keep it for a vendor's tools, or to
    /// plant a fault and see that tests find it. What comes out must be a valid module of the same interface.
    #[must_use]
    pub fn with_kernels(mut self, through: impl FnMut(&mut Kernel) + Send + 'static) -> Self {
        self.pipelines.through = Some(Box::new(through));
        self
    }

    /// The device.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Records the steps that `body` takes into `commands` instead of submitting them; nothing is submitted and
    /// nothing waits.
    ///
    /// Before each step stands a barrier that waits for all earlier commands and makes what they wrote visible,
    /// and after it one that makes its results visible to all later commands and to the host: the engine needs
    /// none of its own. The step counts as taken when it is recorded; one that fails has recorded nothing. A command buffer recorded once may be
    /// submitted again and again; it then repeats the same host scalars.
    ///
    /// [`write`](Backend::write), [`read`](Backend::read) and [`zeros`](Backend::zeros) are not recorded: they are
    /// submitted to the context's queue at once, also within `body`.
    ///
    /// # Safety
    ///
    /// - `commands` is being recorded, outside a render pass, for the context's device and queue family.
    /// - Until it has finished, the [`Recorded`], the tensors, the optimizer and this backend stay.
    /// - Command buffers recorded so, and the backend's own submissions, run one after the other: submit them to
    ///   the context's queue, or order them with semaphores and [`flush`](Backend::flush).
    ///
    /// # Errors
    ///
    /// None of its own: those of `body` come back in its value.
    ///
    /// ```no_run
    /// use adarem::{AdaRem, Optimizer};
    /// use adarem_vulkan::{Error, Recorded, Tensor, Vulkan};
    /// use ash::vk;
    ///
    /// /// After the backward pass of the engine's network, in the same command buffer.
    /// fn update(
    ///     commands: vk::CommandBuffer,
    ///     vulkan: &mut Vulkan<f32>,
    ///     optimizer: &mut Optimizer<AdaRem, Vulkan<f32>>,
    ///     theta: &mut Tensor<f32>,
    ///     grad: &Tensor<f32>,
    /// ) -> Result<Recorded, Error> {
    ///     // SAFETY: the engine is recording `commands` and keeps what comes back until the frame's fence.
    ///     let (stepped, recorded) =
    ///         unsafe { vulkan.record(commands, |vulkan| optimizer.step(vulkan, &mut [theta], &[grad])) };
    ///     stepped.map(|()| recorded)
    /// }
    /// ```
    pub unsafe fn record<T>(
        &mut self,
        commands: vk::CommandBuffer,
        body: impl FnOnce(&mut Self) -> T,
    ) -> (T, Recorded) {
        let outer = self.recording.replace(Recording {
            commands,
            sets: Vec::new(),
        });
        let ends = EndsRecording {
            vulkan: self,
            outer,
        };
        let value = body(ends.vulkan);
        let sets = ends.vulkan.recording.take().map(|recording| recording.sets);
        let recorded = Recorded {
            sets: sets.unwrap_or_default(),
            free: ends.vulkan.free_sets.clone(),
        };
        (value, recorded)
    }

    fn shared(&self) -> &Arc<Shared> {
        self.context.shared()
    }

    /// A command buffer of the backend's own, begun; its place among the frames.
    fn begin(&mut self) -> Result<usize, Error> {
        let finished = self.shared().finished()?;
        let at = match self.frames.iter().position(|frame| frame.until <= finished) {
            Some(at) => at,
            None if self.frames.len() < FRAMES => self.new_frame()?,
            None => {
                let (at, oldest) = self
                    .frames
                    .iter()
                    .enumerate()
                    .min_by_key(|(_, frame)| frame.until)
                    .map(|(at, frame)| (at, frame.until))
                    .unwrap_or_default();
                self.shared().wait(oldest)?;
                at
            }
        };
        self.free_sets.give(&mut self.frames[at].sets);
        let info = vk::CommandBufferBeginInfo::default()
            .flags(vk::CommandBufferUsageFlags::ONE_TIME_SUBMIT);
        // SAFETY: the command buffer has finished, and its pool allows it to be begun again.
        unsafe {
            self.shared()
                .device
                .begin_command_buffer(self.frames[at].commands, &info)
        }
        .call("vkBeginCommandBuffer")?;
        Ok(at)
    }

    fn new_frame(&mut self) -> Result<usize, Error> {
        let info = vk::CommandBufferAllocateInfo::default()
            .command_pool(self.commands)
            .command_buffer_count(1);
        // SAFETY: the pool lives, and `&mut self` makes this thread its only user.
        let made = unsafe { self.shared().device.allocate_command_buffers(&info) }
            .call("vkAllocateCommandBuffers")?;
        self.frames.push(Frame {
            commands: made[0],
            until: 0,
            sets: Vec::new(),
        });
        Ok(self.frames.len() - 1)
    }

    /// Ends a frame's command buffer and submits it.
    fn submit(&mut self, at: usize) -> Result<u64, Error> {
        let commands = self.frames[at].commands;
        // SAFETY: it was begun by `begin`.
        unsafe { self.shared().device.end_command_buffer(commands) }.call("vkEndCommandBuffer")?;
        // SAFETY: it was recorded for this device; what it uses stays: tensors wait when they are dropped, the
        // backend when it is dropped, sets are given back only after `until`.
        let submission = unsafe { self.shared().submit(commands) }?;
        self.frames[at].until = submission;
        Ok(submission)
    }

    /// Submits copies, each after everything before it and before everything after it.
    fn transfer(
        &mut self,
        body: impl FnOnce(&ash::Device, vk::CommandBuffer),
    ) -> Result<u64, Error> {
        use {vk::AccessFlags as Access, vk::PipelineStageFlags as Stage};
        let at = self.begin()?;
        let (device, commands) = (&self.context.shared().device, self.frames[at].commands);
        let barrier = |from: (Stage, Access), to: (Stage, Access)| {
            let memory = [vk::MemoryBarrier::default()
                .src_access_mask(from.1)
                .dst_access_mask(to.1)];
            let none = vk::DependencyFlags::empty();
            // SAFETY: `commands` is being recorded.
            unsafe { device.cmd_pipeline_barrier(commands, from.0, to.0, none, &memory, &[], &[]) };
        };
        let copy = (
            Stage::TRANSFER,
            Access::TRANSFER_READ | Access::TRANSFER_WRITE,
        );
        barrier((Stage::ALL_COMMANDS, Access::MEMORY_WRITE), copy);
        body(device, commands);
        barrier(
            (Stage::TRANSFER, Access::TRANSFER_WRITE),
            (
                Stage::ALL_COMMANDS | Stage::HOST,
                Access::MEMORY_READ | Access::MEMORY_WRITE | Access::HOST_READ,
            ),
        );
        self.submit(at)
    }

    fn staging(&mut self) -> Result<&mut Staging, Error> {
        if self.staging.is_none() {
            let shared = self.context.shared();
            let allocation = Allocation::new(shared, STAGING, Purpose::Staging)?;
            // SAFETY: the memory is host-visible, not mapped elsewhere, and unmapped by being freed.
            let start = unsafe {
                let flags = vk::MemoryMapFlags::empty();
                shared
                    .device
                    .map_memory(allocation.memory, 0, vk::WHOLE_SIZE, flags)
            }
            .call("vkMapMemory")?;
            self.staging = Some(Staging {
                allocation,
                start: start.cast(),
                used: 0,
            });
        }
        Ok(self.staging.as_mut().expect("made above"))
    }

    /// Room in the staging buffer for up to `bytes`: its buffer, offset, size and address. Waits where it is full. Whole
    /// words are taken, so that numbers of any type fit behind.
    fn room(&mut self, bytes: u64) -> Result<(vk::Buffer, u64, u64, *mut u8), Error> {
        if self.staging()?.used == STAGING {
            self.flush()?;
        }
        let staging = self.staging()?;
        let (offset, size) = (staging.used, bytes.min(STAGING - staging.used));
        staging.used += size.next_multiple_of(4);
        // SAFETY: `offset < STAGING`, the size of the mapped memory.
        let address = unsafe { staging.start.add(offset as usize) };
        Ok((staging.allocation.buffer, offset, size, address))
    }

    fn check<T>(
        &self,
        what: &'static str,
        tensor: &Tensor<T>,
        at: usize,
        len: usize,
    ) -> Result<(), Error> {
        if !tensor.belongs_to(self.shared()) {
            return Err(Error::Foreign);
        }
        match at.checked_add(len) {
            Some(end) if end <= tensor.len() => Ok(()),
            end => {
                let got = end.unwrap_or(usize::MAX);
                Err(Mismatch {
                    what,
                    tensor: 0,
                    expected: tensor.len(),
                    got,
                }
                .into())
            }
        }
    }

    /// [`zeros`](Backend::zeros) of a type whose zero has no bit set.
    pub(crate) fn allocate<T>(&mut self, len: usize) -> Result<Tensor<T>, Error> {
        let tensor = Tensor::allocate(self.shared(), len)?;
        let buffer = tensor.buffer();
        self.transfer(|device, commands| {
            // SAFETY: the buffer lives: it waits for this submission before it is freed.
            unsafe { device.cmd_fill_buffer(commands, buffer, 0, vk::WHOLE_SIZE, 0) };
        })?;
        Ok(tensor)
    }

    /// [`write`](Backend::write), of any type.
    pub(crate) fn upload<T>(
        &mut self,
        to: &mut Tensor<T>,
        at: usize,
        from: &[T],
    ) -> Result<(), Error> {
        self.check("the end of what is written", to, at, from.len())?;
        let mut offset = to.byte(at);
        let mut rest = from;
        while !rest.is_empty() {
            let (staging, place, bytes, address) = self.room(size_of_val(rest) as u64)?;
            let (now, later) = rest.split_at(bytes as usize / size_of::<T>());
            // SAFETY: `address` is the start of `bytes` bytes of mapped memory that no copy under way uses.
            unsafe { core::ptr::copy_nonoverlapping(now.as_ptr().cast(), address, bytes as usize) };
            let region = [vk::BufferCopy {
                src_offset: place,
                dst_offset: offset,
                size: bytes,
            }];
            let buffer = to.buffer();
            self.transfer(|device, commands| {
                // SAFETY: both ranges lie within their buffers, which live until the copy has finished.
                unsafe { device.cmd_copy_buffer(commands, staging, buffer, &region) };
            })?;
            offset += bytes;
            rest = later;
        }
        Ok(())
    }

    /// [`read`](Backend::read), of any type.
    ///
    /// # Safety
    ///
    /// Any bits are a `T`.
    pub(crate) unsafe fn download<T>(
        &mut self,
        from: &Tensor<T>,
        at: usize,
        to: &mut [T],
    ) -> Result<(), Error> {
        self.check("the end of what is read", from, at, to.len())?;
        let mut offset = from.byte(at);
        let mut rest = to;
        while !rest.is_empty() {
            let (staging, place, bytes, address) = self.room(size_of_val(rest) as u64)?;
            let (now, later) = rest.split_at_mut(bytes as usize / size_of::<T>());
            let region = [vk::BufferCopy {
                src_offset: offset,
                dst_offset: place,
                size: bytes,
            }];
            let buffer = from.buffer();
            let copied = self.transfer(|device, commands| {
                // SAFETY: both ranges lie within their buffers, which live until the copy has finished.
                unsafe { device.cmd_copy_buffer(commands, buffer, staging, &region) };
            })?;
            self.shared().wait(copied)?;
            // SAFETY: the copy of `bytes` bytes to `address` has finished, and the caller vouches for any bits.
            unsafe {
                core::ptr::copy_nonoverlapping(address, now.as_mut_ptr().cast(), bytes as usize)
            };
            offset += bytes;
            rest = later;
        }
        Ok(())
    }

    /// Runs a plan over tensors, whose gradients and parameters may be of 16 bits.
    pub(crate) fn run_over<P: Stored<E>>(
        &mut self,
        plan: &Plan,
        uniforms: &[f64],
        tensors: Tensors<'_, E, P>,
    ) -> Result<(), Error> {
        let shared = self.context.shared().clone();
        shared.check_lost()?;
        check_tensors(&shared, plan, uniforms, &tensors)?;
        if tensors.theta.is_empty() {
            return Ok(());
        }
        let floats = self.context.floats(8 * E::DTYPE.bytes() as u32);
        let target = Target {
            dtype: E::DTYPE,
            floats,
            division: self.division,
            mixed: P::HALF,
        };
        let kernels = self.pipelines.find(plan, target)?;
        let compiled = self.pipelines.get(kernels);
        self.encoder
            .cut(&shared, state_bytes::<E>(plan), &tensors)?;
        self.scratch
            .fit::<E>(&shared, &compiled.places, &self.encoder)?;
        let sets = self
            .free_sets
            .take(&compiled.layout, self.encoder.pieces())?;
        let (commands, frame) = match &self.recording {
            Some(recording) => (recording.commands, None),
            None => {
                let at = self.begin()?;
                (self.frames[at].commands, Some(at))
            }
        };
        let compiled = self.pipelines.get(kernels);
        // SAFETY: `commands` is being recorded (begun above, or by the contract of `record`); nothing uses the
        // sets; the batch's buffers are this device's and live until the commands have finished.
        unsafe {
            self.encoder.record(
                &shared,
                commands,
                compiled,
                &self.scratch,
                &sets,
                uniforms,
                &tensors,
            );
        }
        if let Some(at) = frame {
            self.frames[at].sets.push(sets);
            self.submit(at)?;
        } else if let Some(recording) = &mut self.recording {
            recording.sets.push(sets);
        }
        Ok(())
    }
}

impl<E: Element> Backend for Vulkan<E> {
    type Elem = E;
    type Tensor = Tensor<E>;
    type Memory = Tensor<E>;
    type Error = Error;

    const PACKS: bool = true;

    fn zeros(&mut self, len: usize) -> Result<Tensor<E>, Error> {
        self.allocate(len)
    }

    fn write(&mut self, to: &mut Tensor<E>, at: usize, from: &[E]) -> Result<(), Error> {
        self.upload(to, at, from)
    }

    fn read(&mut self, from: &Tensor<E>, at: usize, to: &mut [E]) -> Result<(), Error> {
        // SAFETY: any bits are a float.
        unsafe { self.download(from, at, to) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.shared().wait(self.shared().submitted())?;
        if let Some(staging) = &mut self.staging {
            staging.used = 0;
        }
        Ok(())
    }

    fn run(
        &mut self,
        plan: &Plan,
        uniforms: &[f64],
        batch: Batch<'_, '_, Self>,
    ) -> Result<(), Error> {
        let tensors = Tensors {
            theta: batch.theta,
            params: &[],
            grad: batch.grad,
            slots: batch.slots,
            carried: batch.carried,
        };
        self.run_over(plan, uniforms, tensors)
    }
}

/// Bytes of a lane's number in a state vector.
fn state_bytes<E: Element>(plan: &Plan) -> usize {
    match packing::<Vulkan<E>>(plan.half()) {
        Some(_) => 2,
        None => E::DTYPE.bytes(),
    }
}

/// Refuses a step whose buffers do not fit: kernels trust lengths and places.
fn check_tensors<E: Element, P: Stored<E>>(
    shared: &Arc<Shared>,
    plan: &Plan,
    uniforms: &[f64],
    tensors: &Tensors<'_, E, P>,
) -> Result<(), Error> {
    let equal = |what, tensor, expected, got| match expected == got {
        true => Ok(()),
        false => Err(Error::from(Mismatch {
            what,
            tensor,
            expected,
            got,
        })),
    };
    let at_least = |what, expected, got: usize| equal(what, 0, expected, got.min(expected));
    equal("the list of uniforms", 0, plan.uniforms(), uniforms.len())?;
    equal(
        "the list of grads",
        0,
        tensors.theta.len(),
        tensors.grad.len(),
    )?;
    if P::HALF.is_some() {
        let (expected, got) = (tensors.theta.len(), tensors.params.len());
        equal("the list of params", 0, expected, got)?;
    }
    at_least("the list of slots", plan.slots(), tensors.slots.len())?;
    at_least(
        "carried",
        plan.carried() * tensors.theta.len(),
        tensors.carried.len(),
    )?;
    let lanes = tensors.ranges().last().map_or(0, |range| range.end);
    let elements = lanes * state_bytes::<E>(plan) / E::DTYPE.bytes();
    for slot in tensors.slots.iter() {
        at_least("a slot", elements, slot.len())?;
    }
    for (i, (theta, grad)) in tensors.theta.iter().zip(tensors.grad).enumerate() {
        equal("grad", i, theta.len(), grad.len())?;
        if !theta.belongs_to(shared) || !grad.belongs_to(shared) {
            return Err(Error::Foreign);
        }
    }
    for (i, (theta, params)) in tensors.theta.iter().zip(tensors.params).enumerate() {
        equal("params", i, theta.len(), params.len())?;
        if !params.belongs_to(shared) {
            return Err(Error::Foreign);
        }
    }
    for state in tensors.slots.iter().chain([tensors.carried]) {
        if !state.belongs_to(shared) {
            return Err(Error::Foreign);
        }
        let (alignment, offset) = (shared.limits.offset_alignment, state.bytes().start);
        if !offset.is_multiple_of(alignment) {
            return Err(Error::Misaligned { alignment, offset });
        }
    }
    Ok(())
}

impl<E> Drop for Vulkan<E> {
    fn drop(&mut self) {
        let shared = self.context.shared();
        // A lost device finishes nothing more: its objects may be destroyed.
        let _ = shared.wait(shared.submitted());
        // SAFETY: the device has finished with the command buffers, which go with their pool. An engine keeps the
        // backend until its command buffers have finished.
        unsafe { shared.device.destroy_command_pool(self.commands, None) };
    }
}
