//! One step as commands: how tensors are cut, where numbers of the step are kept, and what waits for what.

use crate::{
    context::Shared,
    error::Error,
    memory::{Allocation, Purpose, Tensor},
    pipeline::{Compiled, PIECE_BINDINGS, Sets},
    spirv::{INVOCATIONS, PUSHED, Places, Stage, piece_params, piece_partials},
};
use adarem::{CHUNK, Element, Real, Tensor as _, plan::MAX_UNIFORMS};
use ash::vk;
use core::ops::Range;
use std::sync::Arc;

/// The tensors of one step, as a [`Batch`](adarem::Batch) has them, with gradients of type `P`; and, where that is a half
/// type, the parameters that theta is copied to.
pub(crate) struct Tensors<'a, E, P> {
    pub theta: &'a [&'a mut Tensor<E>],
    /// None where `P` is not a half type.
    pub params: &'a [&'a mut Tensor<P>],
    pub grad: &'a [&'a Tensor<P>],
    pub slots: &'a [Tensor<E>],
    pub carried: &'a Tensor<E>,
}

impl<E, P> Tensors<'_, E, P> {
    /// Where the state of each tensor lies, as [`Batch::ranges`](adarem::Batch::ranges) says.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        adarem::backend::ranges(self.theta.iter().map(|theta| theta.len()))
    }
}

/// `vkCmdUpdateBuffer` takes so many bytes at a time.
const UPDATE: usize = 65536;

/// Numbers that live from one kernel of a step to the next. They serve every step: a step's first barrier waits
/// for the step before.
#[derive(Default)]
pub(crate) struct Scratch {
    scalars: Option<Grown>,
    table: Option<Grown>,
    partials: Option<Grown>,
    /// Buffers that became too small. Command buffers of an engine may still name them, so they stay: each is at
    /// most half the size of the next.
    outgrown: Vec<Grown>,
}

struct Grown {
    allocation: Allocation,
    bytes: u64,
}

impl Scratch {
    /// Makes room for a step.
    pub fn fit<E: Element>(
        &mut self,
        shared: &Arc<Shared>,
        places: &Places,
        encoder: &Encoder,
    ) -> Result<(), Error> {
        let size = E::DTYPE.bytes() as u64;
        let scalars = places.scalars(encoder.tensors()) as u64 * size;
        let table = encoder.table.len() as u64 * 4;
        let partials = (encoder.rows * places.partials()) as u64 * size;
        let wishes = [
            (&mut self.scalars, scalars),
            (&mut self.table, table),
            (&mut self.partials, partials),
        ];
        for (buffer, bytes) in wishes {
            let has = buffer.as_ref().map_or(0, |grown| grown.bytes);
            if has >= bytes && buffer.is_some() {
                continue;
            }
            if bytes > shared.limits.binding_bytes {
                return Err(Error::OutOfMemory { bytes });
            }
            let bytes = bytes
                .max(2 * has)
                .clamp(256, shared.limits.binding_bytes.max(256));
            let allocation = Allocation::new(shared, bytes, Purpose::Kernels)?;
            self.outgrown
                .extend(buffer.replace(Grown { allocation, bytes }));
        }
        Ok(())
    }

    fn buffer(grown: &Option<Grown>) -> vk::Buffer {
        grown
            .as_ref()
            .map_or(vk::Buffer::null(), |grown| grown.allocation.buffer)
    }
}

/// Cuts the tensors of a step into pieces that one binding can reach and one dispatch can cover, and records it.
#[derive(Default)]
pub(crate) struct Encoder {
    /// Of each piece: lanes, first element of theta and of the gradient in their bindings, tensor, first word of packed
    /// state and of the parameters in theirs. Just what is pushed.
    pieces: Vec<[u32; PUSHED]>,
    /// Of each tensor: its first row of partials and its number of chunks. Just what the kernels read.
    table: Vec<u32>,
    /// Rows of partials, one for each chunk, and some between tensors so that each piece's can be bound.
    rows: usize,
    /// Lanes of all pieces but the last of a tensor.
    lanes: usize,
    /// Bytes of a lane's number in a state vector.
    state_bytes: usize,
}

/// So many bytes of a buffer from `offset` on, as a binding reaches them: it starts at a multiple of the alignment.
fn bound(buffer: vk::Buffer, offset: u64, bytes: u64, alignment: u64) -> vk::DescriptorBufferInfo {
    let before = offset % alignment;
    vk::DescriptorBufferInfo {
        buffer,
        offset: offset - before,
        range: before + bytes,
    }
}

impl Encoder {
    /// Pieces of the step at hand.
    pub fn pieces(&self) -> usize {
        self.pieces.len()
    }

    fn tensors(&self) -> usize {
        self.table.len() / 2
    }

    /// Cuts a step's tensors, whose state takes so many bytes a lane.
    pub fn cut<E: Element, P>(
        &mut self,
        shared: &Arc<Shared>,
        state_bytes: usize,
        batch: &Tensors<'_, E, P>,
    ) -> Result<(), Error> {
        let size = E::DTYPE.bytes() as u64;
        let limits = shared.limits;
        // A binding starts at an aligned offset, so up to that much of it may lie before the piece; and a piece's
        // rows of partials start at one too.
        let spare = limits.offset_alignment.saturating_sub(size);
        let rows = (limits.offset_alignment / size).max(1) as usize;
        let chunks = ((limits.binding_bytes.saturating_sub(spare)) / (CHUNK as u64 * size))
            .min(limits.groups.into()) as usize;
        self.lanes = (chunks / rows * rows).max(rows) * CHUNK;
        self.state_bytes = state_bytes;
        self.pieces.clear();
        self.table.clear();
        self.rows = 0;
        let tensors = batch.theta.iter().zip(batch.grad).zip(batch.ranges());
        for (tensor, ((theta, grad), state)) in (0u32..).zip(tensors) {
            let len = theta.len();
            let chunks = len.div_ceil(CHUNK);
            self.table.extend([self.rows as u32, chunks as u32]);
            self.rows += chunks.next_multiple_of(rows);
            for first in (0..len).step_by(self.lanes) {
                let lanes = self.lanes.min(len - first);
                // What lies before the piece in its binding, in elements or in words of as many bytes.
                let before = |offset: u64| (offset % limits.offset_alignment / size) as u32;
                let (theta, grad) = (before(theta.byte(first)), before(grad.byte(first)));
                let params = batch.params.get(tensor as usize);
                let params = params.map_or(0, |params| before(params.byte(first)));
                // Slots themselves are aligned.
                let state = before(((state.start + first) * state_bytes) as u64);
                self.pieces
                    .push([lanes as u32, theta, grad, tensor, state, params]);
            }
        }
        // A row's number is a word of the table.
        u32::try_from(self.rows).map_err(|_| Error::OutOfMemory {
            bytes: self.rows as u64 * size,
        })?;
        Ok(())
    }

    /// Records the step that was cut.
    ///
    /// # Safety
    ///
    /// `commands` is being recorded for the device of `shared`, outside a render pass; `sets` serve the layout and
    /// the pieces, and nothing unfinished uses them; all buffers live until the commands have finished.
    #[allow(clippy::too_many_arguments)]
    pub unsafe fn record<E: Element, P>(
        &self,
        shared: &Arc<Shared>,
        commands: vk::CommandBuffer,
        compiled: &Compiled,
        scratch: &Scratch,
        sets: &Sets,
        uniforms: &[f64],
        batch: &Tensors<'_, E, P>,
    ) {
        let recorder = Recorder {
            device: &shared.device,
            commands,
            layout: compiled.layout.pipeline,
        };
        let limits = shared.limits;
        let (scalars, partials) = (
            Scratch::buffer(&scratch.scalars),
            Scratch::buffer(&scratch.partials),
        );
        let table = Scratch::buffer(&scratch.table);
        // SAFETY: the caller vouches for all of this function's commands and buffers; each call keeps to what the
        // buffers were made for: scratch is large enough (`Scratch::fit`), pieces lie within their tensors.
        unsafe {
            self.point(shared, compiled, scalars, partials, table, sets, batch);
            recorder.begin_step();
            // The uniforms, and a zero behind them.
            let mut bytes = [0u8; (MAX_UNIFORMS + 1) * 8];
            let size = E::DTYPE.bytes();
            for (&x, place) in uniforms.iter().zip(bytes.chunks_exact_mut(size)) {
                let bits = <E as Real>::lit(x).to_le();
                // The device's numbers are in the host's order of bytes, and hosts of Vulkan are little-endian.
                place.copy_from_slice(&bits.to_le_bytes()[..size]);
            }
            recorder.update(scalars, &bytes[..size * (uniforms.len() + 1)]);
            if compiled.places.partials() > 0 {
                let words = self.table.as_ptr().cast::<u8>();
                recorder.update(
                    table,
                    core::slice::from_raw_parts(words, 4 * self.table.len()),
                );
            }
            recorder.updates_before_kernels();

            recorder.bind(1, sets.step());
            let count = self.tensors() as u32;
            let from = |tensor| [count, 0, 0, tensor, 0, 0];
            for (k, &(stage, pipeline)) in compiled.kernels.iter().enumerate() {
                if k > 0 {
                    recorder.kernels_before_kernels();
                }
                recorder.pipeline(pipeline);
                match stage {
                    Stage::Chunks { .. } => {
                        for (&set, pushed) in sets.pieces().iter().zip(&self.pieces) {
                            recorder.bind(0, set);
                            recorder.dispatch(pushed, pushed[0].div_ceil(CHUNK as u32));
                        }
                    }
                    Stage::Tensors => {
                        for first in (0..count).step_by(limits.groups as usize) {
                            recorder.dispatch(&from(first), limits.groups.min(count - first));
                        }
                    }
                    Stage::Group => recorder.dispatch(&from(0), 1),
                    Stage::Scalars => {
                        let most = limits.groups.saturating_mul(INVOCATIONS);
                        for first in (0..count).step_by(most as usize) {
                            let groups = (count - first).min(most).div_ceil(INVOCATIONS);
                            recorder.dispatch(&from(first), groups);
                        }
                    }
                }
            }
            recorder.end_step();
        }
    }

    /// Points the sets at the step's buffers.
    ///
    /// # Safety
    ///
    /// As [`record`](Self::record).
    #[allow(clippy::too_many_arguments)]
    unsafe fn point<E: Element, P>(
        &self,
        shared: &Arc<Shared>,
        compiled: &Compiled,
        scalars: vk::Buffer,
        partials: vk::Buffer,
        table: vk::Buffer,
        sets: &Sets,
        batch: &Tensors<'_, E, P>,
    ) {
        let whole = |buffer| vk::DescriptorBufferInfo {
            buffer,
            offset: 0,
            range: vk::WHOLE_SIZE,
        };
        let (size, alignment) = (E::DTYPE.bytes() as u64, shared.limits.offset_alignment);
        let slots = compiled.layout.slots;
        let stride = compiled.places.partials();
        let carried = batch.carried.bytes();
        let carried = vk::DescriptorBufferInfo {
            buffer: batch.carried.buffer(),
            offset: carried.start,
            range: vk::WHOLE_SIZE,
        };
        // SAFETY: the caller vouches for the sets; every range lies within its buffer.
        unsafe {
            let step = [whole(scalars), carried, whole(table), whole(partials)];
            compiled.layout.point_step(sets.step(), &step);
            let mut pieces = sets.pieces().iter();
            let tensors = batch.theta.iter().zip(batch.grad).zip(batch.ranges());
            let tensors = tensors.zip(self.table.chunks_exact(2)).enumerate();
            for (tensor, (((theta, grad), state), entry)) in tensors {
                for first in (0..theta.len()).step_by(self.lanes) {
                    let Some(&set) = pieces.next() else { return };
                    let lanes = self.lanes.min(theta.len() - first);
                    // A number of 16 bits comes with its neighbour.
                    let range = |buffer, from: u64, numbers: usize, bytes: usize| {
                        let bytes = (numbers * bytes) as u64;
                        bound(buffer, from, bytes.next_multiple_of(size), alignment)
                    };
                    let mut buffers = [whole(scalars); PIECE_BINDINGS];
                    buffers[0] = range(theta.buffer(), theta.byte(first), lanes, size_of::<E>());
                    buffers[1] = range(grad.buffer(), grad.byte(first), lanes, size_of::<P>());
                    for (binding, slot) in buffers[2..].iter_mut().zip(batch.slots) {
                        let at = (state.start + first) * self.state_bytes;
                        let from = slot.bytes().start + at as u64;
                        *binding = range(slot.buffer(), from, lanes, self.state_bytes);
                    }
                    if stride > 0 {
                        let row = entry[0] as usize + first / CHUNK;
                        let (from, rows) = ((row * stride) as u64 * size, lanes.div_ceil(CHUNK));
                        buffers[piece_partials(slots) as usize] =
                            range(partials, from, rows * stride, size_of::<E>());
                    }
                    if let Some(params) = batch.params.get(tensor) {
                        buffers[piece_params(slots) as usize] =
                            range(params.buffer(), params.byte(first), lanes, size_of::<P>());
                    }
                    compiled.layout.point_piece(set, &buffers);
                }
            }
        }
    }
}

/// The commands of a step. Every method is unsafe for the reason that [`Encoder::record`] is.
struct Recorder<'d> {
    device: &'d ash::Device,
    commands: vk::CommandBuffer,
    layout: vk::PipelineLayout,
}

use {vk::AccessFlags as Access, vk::PipelineStageFlags as Pipeline};

impl Recorder<'_> {
    unsafe fn barrier(&self, from: Pipeline, wrote: Access, to: Pipeline, uses: Access) {
        let memory = [vk::MemoryBarrier::default()
            .src_access_mask(wrote)
            .dst_access_mask(uses)];
        let none = vk::DependencyFlags::empty();
        // SAFETY: see the type.
        unsafe {
            self.device
                .cmd_pipeline_barrier(self.commands, from, to, none, &memory, &[], &[])
        };
    }

    /// Whatever came before (gradients by the engine, the step before, which uses the same scratch) is finished
    /// and visible.
    unsafe fn begin_step(&self) {
        let uses = Access::SHADER_READ | Access::SHADER_WRITE | Access::TRANSFER_WRITE;
        let to = Pipeline::COMPUTE_SHADER | Pipeline::TRANSFER;
        // SAFETY: see the type.
        unsafe { self.barrier(Pipeline::ALL_COMMANDS, Access::MEMORY_WRITE, to, uses) };
    }

    /// The uniforms and the table are there when the first kernel reads them.
    unsafe fn updates_before_kernels(&self) {
        let (from, to) = (Pipeline::TRANSFER, Pipeline::COMPUTE_SHADER);
        // SAFETY: see the type.
        unsafe { self.barrier(from, Access::TRANSFER_WRITE, to, Access::SHADER_READ) };
    }

    /// What a kernel wrote is there when the next reads or overwrites it.
    unsafe fn kernels_before_kernels(&self) {
        let (from, to) = (Pipeline::COMPUTE_SHADER, Pipeline::COMPUTE_SHADER);
        let uses = Access::SHADER_READ | Access::SHADER_WRITE;
        // SAFETY: see the type.
        unsafe { self.barrier(from, Access::SHADER_WRITE, to, uses) };
    }

    /// The step's results are visible to whatever comes after, the host included once it has waited.
    unsafe fn end_step(&self) {
        let to = Pipeline::ALL_COMMANDS | Pipeline::HOST;
        let uses = Access::MEMORY_READ | Access::MEMORY_WRITE | Access::HOST_READ;
        // SAFETY: see the type.
        unsafe { self.barrier(Pipeline::COMPUTE_SHADER, Access::SHADER_WRITE, to, uses) };
    }

    /// Writes bytes, a multiple of four, to the start of a buffer.
    unsafe fn update(&self, buffer: vk::Buffer, bytes: &[u8]) {
        for (k, part) in bytes.chunks(UPDATE).enumerate() {
            // SAFETY: see the type.
            unsafe {
                self.device
                    .cmd_update_buffer(self.commands, buffer, (k * UPDATE) as u64, part)
            };
        }
    }

    unsafe fn pipeline(&self, pipeline: vk::Pipeline) {
        // SAFETY: see the type.
        unsafe {
            self.device
                .cmd_bind_pipeline(self.commands, vk::PipelineBindPoint::COMPUTE, pipeline);
        }
    }

    unsafe fn bind(&self, index: u32, set: vk::DescriptorSet) {
        let point = vk::PipelineBindPoint::COMPUTE;
        // SAFETY: see the type.
        unsafe {
            self.device.cmd_bind_descriptor_sets(
                self.commands,
                point,
                self.layout,
                index,
                &[set],
                &[],
            );
        }
    }

    unsafe fn dispatch(&self, pushed: &[u32; PUSHED], groups: u32) {
        let mut bytes = [0; 4 * PUSHED];
        for (place, word) in bytes.chunks_exact_mut(4).zip(pushed) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        let stages = vk::ShaderStageFlags::COMPUTE;
        // SAFETY: see the type.
        unsafe {
            self.device
                .cmd_push_constants(self.commands, self.layout, stages, 0, &bytes);
            self.device.cmd_dispatch(self.commands, groups, 1, 1);
        }
    }
}
