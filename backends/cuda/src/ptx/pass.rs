//! The kernels of one pass, from their parts: the lanes of a chunk, the end of a tensor, the end of the group.

use super::half;
use super::ops::{Values, evaluate, select};
use super::tree::{self, OWNED, Owned};
use super::writer::{Label, Register, Writer};
use super::{End, Parameter, THREADS, packed};
use adarem::plan::{Id, Op, OpSet, Pass, Plan};
use adarem::{CHUNK, Dtype, Fold, FoldOp, Half, Scope, WIDTH};

/// Partials that a thread loads at once when it folds a list, so that their latencies overlap.
const AHEAD: usize = 4;

/// A kernel, while it is written.
pub(super) struct Kernel<'a> {
    plan: &'a Plan,
    parameters: &'a [Parameter],
    handed: &'a [Id],
    index: usize,
    end: &'a End,
    /// The type of the gradients and of a copy of the parameters, where they are of 16 bits.
    mixed: Option<Half>,
    writer: Writer,
    thread: Register,
    /// The tensor of this block, once it is known.
    tensor: Option<Register>,
    /// Where a block goes that has nothing more to do.
    exit: Label,
}

/// Fields of [`TensorEntry`](super::TensorEntry), by their place in bytes.
mod entry {
    pub(super) const BYTES: usize = 32;
    pub(super) const THETA_AND_LANES: usize = 0;
    pub(super) const STATE: usize = 16;
    pub(super) const CHUNKS: usize = 24;
}

const _: () = {
    use super::TensorEntry;
    assert!(size_of::<TensorEntry>() == entry::BYTES);
    assert!(core::mem::offset_of!(TensorEntry, theta) == entry::THETA_AND_LANES);
    assert!(core::mem::offset_of!(TensorEntry, lanes) == entry::THETA_AND_LANES + 8);
    assert!(core::mem::offset_of!(TensorEntry, state) == entry::STATE);
    assert!(core::mem::offset_of!(TensorEntry, first_chunk) == entry::CHUNKS);
    assert!(core::mem::offset_of!(TensorEntry, chunks) == entry::CHUNKS + 4);
};

/// A vector of memory that a pass reads or writes, as a thread walks it.
struct Stream {
    /// Where it begins, if whoever lent it has chosen that. State is aligned.
    begin: Option<Register>,
    /// Where the thread's next lanes lie.
    at: Register,
    /// The op that reads it, where anything does.
    read: Option<Id>,
    /// What it becomes, where it changes.
    written: Option<Id>,
    /// Its numbers' type in memory, where they are of 16 bits.
    packed: Option<Half>,
    /// Whether what it becomes has to be rounded to that type.
    rounds: bool,
}

/// Bytes of a lane in memory.
fn lane_bytes(packed: Option<Half>, writer: &Writer) -> usize {
    match packed {
        Some(_) => half::BYTES,
        None => writer.size(),
    }
}

impl Stream {
    fn bytes(&self, writer: &Writer) -> usize {
        lane_bytes(self.packed, writer)
    }

    /// How PTX writes the type of a lane.
    fn kind(&self, writer: &Writer) -> &'static str {
        match self.packed {
            Some(_) => "b16",
            None => writer.real_type(),
        }
    }

    /// Loads neighbouring lanes, in one access.
    fn load(&self, writer: &mut Writer, offset: usize, lanes: usize) -> Vec<Register> {
        let (at, kind) = (self.at, self.kind(writer));
        let loaded: Vec<Register> = (0..lanes)
            .map(|_| match self.packed {
                Some(_) => writer.half(),
                None => writer.real(),
            })
            .collect();
        match loaded.as_slice() {
            [x] => writer.line(format_args!("ld.global.{kind} {x}, [{at}+{offset}];")),
            all => writer.line(format_args!(
                "ld.global.v{lanes}.{kind} {{{}}}, [{at}+{offset}];",
                tree::list(all)
            )),
        }
        match self.packed {
            Some(half) => loaded
                .into_iter()
                .map(|bits| half::widen(writer, half, bits))
                .collect(),
            None => loaded,
        }
    }

    /// Stores neighbouring lanes, in one access.
    fn store(&self, writer: &mut Writer, offset: usize, lanes: Vec<Register>) {
        let (at, kind) = (self.at, self.kind(writer));
        let stored: Vec<Register> = match self.packed {
            Some(half) => lanes
                .into_iter()
                .map(|x| {
                    if self.rounds {
                        half::round(writer, half, x)
                    } else {
                        half::narrow(writer, half, x)
                    }
                })
                .collect(),
            None => lanes,
        };
        match stored.as_slice() {
            [x] => writer.line(format_args!("st.global.{kind} [{at}+{offset}], {x};")),
            all => writer.line(format_args!(
                "st.global.v{}.{kind} [{at}+{offset}], {{{}}};",
                all.len(),
                tree::list(all)
            )),
        }
    }
}

impl<'a> Kernel<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        dtype: Dtype,
        parameters: &'a [Parameter],
        handed: &'a [Id],
        index: usize,
        end: &'a End,
        mixed: Option<Half>,
    ) -> Self {
        let mut writer = Writer::new(dtype);
        let thread = writer.word();
        writer.line(format_args!("mov.u32 {thread}, %tid.x;"));
        let exit = writer.label();
        Self {
            plan,
            parameters,
            handed,
            index,
            end,
            mixed,
            writer,
            thread,
            tensor: None,
            exit,
        }
    }

    pub(super) fn finish(mut self, name: &str) -> String {
        self.writer.place(self.exit);
        let real = self.writer.real_type();
        let parameters: Vec<(String, &str)> = self
            .parameters
            .iter()
            .map(|parameter| {
                let kind = match parameter {
                    Parameter::ChunkCount | Parameter::TensorCount => "u32",
                    Parameter::Uniform(_) => real,
                    _ => "u64",
                };
                (parameter_name(*parameter), kind)
            })
            .collect();
        let folds = self.end.folds.len().max(usize::from(self.end.is_needed));
        let shared = folds * tree::pool_bytes(&self.writer);
        self.writer.finish(name, &parameters, shared)
    }

    fn pass(&self) -> &'a Pass {
        &self.plan.passes()[self.index]
    }

    /// The fold at a place among those whose results are used.
    fn fold(&self, place: usize) -> (Fold, Id) {
        self.pass().folds()[self.end.folds[place]]
    }

    fn fold_ops(&self) -> Vec<FoldOp> {
        (0..self.end.folds.len())
            .map(|place| self.fold(place).0.op)
            .collect()
    }

    fn address(&mut self, parameter: Parameter) -> Register {
        self.writer.parameter_address(&parameter_name(parameter))
    }

    /// The tensor of this block.
    ///
    /// # Panics
    /// Before [`Self::lanes`] or [`Self::tensor_of_block`] has found it.
    fn block_tensor(&self) -> Register {
        self.tensor
            .expect("the tensor of a block is found before it is used")
    }

    /// One chunk: rewrites its lanes, and leaves its partials.
    pub(super) fn lanes(&mut self) {
        self.writer.note("which chunk of which tensor");
        let block = self.writer.word();
        self.writer.line(format_args!("mov.u32 {block}, %ctaid.x;"));
        let chunks = self.address(Parameter::Chunks);
        let at = self.writer.at(chunks, block, 8);
        let (tensor, chunk) = (self.writer.word(), self.writer.word());
        self.writer.line(format_args!(
            "ld.global.v2.u32 {{{tensor}, {chunk}}}, [{at}];"
        ));
        self.tensor = Some(tensor);
        let tensors = self.address(Parameter::Tensors);
        let entry = self.writer.at(tensors, tensor, entry::BYTES);
        let [theta, lanes, state, first, left] = [(); 5].map(|()| self.writer.long());
        let place = entry::THETA_AND_LANES;
        self.writer.line(format_args!(
            "ld.global.v2.u64 {{{theta}, {lanes}}}, [{entry}+{place}];"
        ));
        self.writer.line(format_args!(
            "ld.global.u64 {state}, [{entry}+{}];",
            entry::STATE
        ));
        self.writer
            .line(format_args!("mul.wide.u32 {first}, {chunk}, {CHUNK};"));
        self.writer
            .line(format_args!("sub.u64 {left}, {lanes}, {first};"));
        self.writer
            .line(format_args!("min.u64 {left}, {left}, {CHUNK};"));
        let count = self.writer.word();
        self.writer
            .line(format_args!("cvt.u32.u64 {count}, {left};"));

        self.writer.note("scalars");
        let lanes = self.plan.lanes();
        let ops = self.plan.lane_ops(self.index);
        let inputs: Vec<Id> = self.plan.lane_inputs(self.index).iter().collect();
        let mut values = self.scalar_leaves(&ops, &inputs, tensor);
        evaluate(&mut self.writer, self.plan, &ops, &mut values, |id| {
            !lanes.contains(id)
        });
        let accumulators: Vec<[Register; OWNED]> = (0..self.end.folds.len())
            .map(|_| [(); OWNED].map(|()| self.writer.constant(0.0)))
            .collect();

        let streams = self.streams(theta, state, first);
        let (scalar_way, join) = (self.writer.label(), self.writer.label());
        let ragged = self.writer.test("ne.u32", count, CHUNK);
        self.writer
            .line(format_args!("@{ragged} bra {scalar_way};"));
        for stream in &streams {
            let Some(begin) = stream.begin else { continue };
            let low = self.writer.long();
            let mask = self.writer.vector() * stream.bytes(&self.writer) - 1;
            self.writer
                .line(format_args!("and.b64 {low}, {begin}, {mask};"));
            let misaligned = self.writer.test("ne.u64", low, 0);
            self.writer
                .line(format_args!("@{misaligned} bra {scalar_way};"));
        }
        self.writer.note("a whole chunk, 16 bytes at a time");
        self.walk(
            &streams,
            &values,
            &ops,
            &accumulators,
            Owned::Vectors,
            count,
        );
        self.writer.line(format_args!("bra.uni {join};"));
        self.writer.place(scalar_way);
        self.writer.note("lane by lane");
        self.walk(
            &streams,
            &values,
            &ops,
            &accumulators,
            Owned::Strided,
            count,
        );
        self.writer.place(join);
        if self.end.folds.is_empty() {
            return;
        }
        self.writer.note("the chunk's partials");
        let folds = self.fold_ops();
        let results = tree::halve(&mut self.writer, self.thread, &folds);
        let done = self.writer.label();
        let idle = self.writer.test("ne.u32", self.thread, 0);
        self.writer.line(format_args!("@{idle} bra {done};"));
        let partials = self.address(Parameter::Partials);
        let count = self.writer.parameter_word("chunk_count");
        self.scatter(partials, count, block, &results);
        self.writer.place(done);
    }

    /// Writes the numbers of one block or tensor into rows of `count`.
    fn scatter(&mut self, rows: Register, count: Register, at: Register, numbers: &[Register]) {
        let size = self.writer.size();
        let mut address = self.writer.at(rows, at, size);
        for (row, number) in numbers.iter().enumerate() {
            if row > 0 {
                address = self.writer.at(address, count, size);
            }
            self.writer.store(address, 0, *number);
        }
    }

    /// Every vector that the pass touches, as a thread finds its first lane.
    fn streams(&mut self, theta: Register, state: Register, first: Register) -> Vec<Stream> {
        let ops = self.plan.lane_ops(self.index);
        let reads = |wanted: Op| ops.iter().find(|id| self.plan.op(*id) == wanted);
        let index = self.index as u8;
        let (theta_read, grad_read) = (reads(Op::Theta(index)), reads(Op::Grad(index)));
        let slots: Vec<_> = (0..self.plan.slots())
            .map(|k| (k, reads(Op::Slot(index, k as u8)), self.pass().slot(k)))
            .filter(|(_, read, written)| read.is_some() || written.is_some())
            .collect();
        let mut streams = Vec::new();
        let size = self.writer.size();
        if theta_read.is_some() || self.pass().theta().is_some() {
            let global = self.writer.long();
            self.writer
                .line(format_args!("cvta.to.global.u64 {global}, {theta};"));
            let at = self.writer.at_long(global, first, size);
            streams.push(Stream {
                begin: Some(global),
                at,
                read: theta_read,
                written: self.pass().theta(),
                packed: None,
                rounds: false,
            });
        }
        if grad_read.is_some() {
            let (begin, at) = self.listed(Parameter::Gradients, first);
            streams.push(Stream {
                begin: Some(begin),
                at,
                read: grad_read,
                written: None,
                packed: self.mixed,
                rounds: false,
            });
        }
        if self.mixed.is_some() && self.pass().theta().is_some() {
            let (begin, at) = self.listed(Parameter::Params, first);
            streams.push(Stream {
                begin: Some(begin),
                at,
                read: None,
                written: self.pass().theta(),
                packed: self.mixed,
                rounds: true,
            });
        }
        if !slots.is_empty() {
            let lane = self.writer.long();
            self.writer
                .line(format_args!("add.u64 {lane}, {state}, {first};"));
            let packed = packed(self.plan, self.writer.dtype);
            let bytes = lane_bytes(packed, &self.writer);
            for (k, read, written) in slots {
                let base = self.address(Parameter::Slot(k));
                let at = self.writer.at_long(base, lane, bytes);
                streams.push(Stream {
                    begin: None,
                    at,
                    read,
                    written,
                    packed,
                    rounds: false,
                });
            }
        }
        streams
    }

    /// Where the gradient of the block's tensor begins, or its parameters of 16 bits, and where lane `first` of it lies.
    fn listed(&mut self, table: Parameter, first: Register) -> (Register, Register) {
        let table = self.address(table);
        let entry = self.writer.at(table, self.block_tensor(), 8);
        let (generic, global) = (self.writer.long(), self.writer.long());
        self.writer
            .line(format_args!("ld.global.u64 {generic}, [{entry}];"));
        self.writer
            .line(format_args!("cvta.to.global.u64 {global}, {generic};"));
        let bytes = lane_bytes(self.mixed, &self.writer);
        (global, self.writer.at_long(global, first, bytes))
    }

    /// All lanes of a chunk that a thread owns, in ascending order for each accumulator; then its accumulators are put
    /// into shared memory.
    fn walk(
        &mut self,
        streams: &[Stream],
        scalars: &Values,
        ops: &OpSet,
        accumulators: &[[Register; OWNED]],
        owned: Owned,
        count: Register,
    ) {
        let lanes = match owned {
            Owned::Vectors => self.writer.vector(),
            Owned::Strided => 1,
        };
        let walked: Vec<Stream> = streams
            .iter()
            .map(|stream| {
                let bytes = lanes * stream.bytes(&self.writer);
                Stream {
                    at: self.writer.at(stream.at, self.thread, bytes),
                    ..*stream
                }
            })
            .collect();
        // The lane of the first accumulator, in the chunk.
        let lane = self.writer.word();
        match owned {
            Owned::Vectors => self.writer.line(format_args!("mov.u32 {lane}, 0;")),
            Owned::Strided => self
                .writer
                .line(format_args!("mov.u32 {lane}, {};", self.thread)),
        }
        let top = self.writer.label();
        self.writer.place(top);
        match owned {
            Owned::Vectors => self.vectors(&walked, scalars, ops, accumulators),
            Owned::Strided => self.strided(&walked, scalars, ops, accumulators, lane, count),
        }
        for stream in &walked {
            let (at, bytes) = (stream.at, WIDTH * stream.bytes(&self.writer));
            self.writer
                .line(format_args!("add.u64 {at}, {at}, {bytes};"));
        }
        self.writer
            .line(format_args!("add.u32 {lane}, {lane}, {WIDTH};"));
        let more = match owned {
            Owned::Vectors => self.writer.test("lt.u32", lane, CHUNK),
            Owned::Strided => self.writer.test("lt.u32", lane, count),
        };
        self.writer.line(format_args!("@{more} bra {top};"));
        for (index, accumulators) in accumulators.iter().enumerate() {
            tree::put(&mut self.writer, self.thread, index, accumulators, owned);
        }
    }

    /// One lane of each accumulator, in vectors of 16 bytes, or 8 where numbers have 16 bits. All loads come first, so that
    /// they are under way together.
    fn vectors(
        &mut self,
        streams: &[Stream],
        scalars: &Values,
        ops: &OpSet,
        accumulators: &[[Register; OWNED]],
    ) {
        let width = self.writer.vector();
        let offset = |stream: &Stream, writer: &Writer, place| {
            place * THREADS as usize * width * stream.bytes(writer)
        };
        let mut lanes: [Values; OWNED] = core::array::from_fn(|_| scalars.clone());
        for stream in streams {
            let Some(id) = stream.read else { continue };
            for (place, lanes) in lanes.chunks_exact_mut(width).enumerate() {
                let offset = offset(stream, &self.writer, place);
                let vector = stream.load(&mut self.writer, offset, width);
                lanes
                    .iter_mut()
                    .zip(&vector)
                    .for_each(|(values, register)| values.insert(id, *register));
            }
        }
        for (place, values) in lanes.iter_mut().enumerate() {
            self.lane(values, ops, accumulators, place);
        }
        for stream in streams {
            let Some(id) = stream.written else { continue };
            for (place, lanes) in lanes.chunks_exact(width).enumerate() {
                let vector: Vec<Register> = lanes.iter().map(|values| values.get(id)).collect();
                let offset = offset(stream, &self.writer, place);
                stream.store(&mut self.writer, offset, vector);
            }
        }
    }

    /// One lane of each accumulator that the chunk still has.
    fn strided(
        &mut self,
        streams: &[Stream],
        scalars: &Values,
        ops: &OpSet,
        accumulators: &[[Register; OWNED]],
        lane: Register,
        count: Register,
    ) {
        let offset = |stream: &Stream, writer: &Writer, place| {
            place * THREADS as usize * stream.bytes(writer)
        };
        let end = self.writer.label();
        for place in 0..OWNED {
            let here = self
                .writer
                .word_of("add.u32", lane, place * THREADS as usize);
            let beyond = self.writer.test("ge.u32", here, count);
            self.writer.line(format_args!("@{beyond} bra {end};"));
            let mut values = scalars.clone();
            for stream in streams {
                if let Some(id) = stream.read {
                    let offset = offset(stream, &self.writer, place);
                    values.insert(id, stream.load(&mut self.writer, offset, 1)[0]);
                }
            }
            self.lane(&mut values, ops, accumulators, place);
            for stream in streams {
                if let Some(id) = stream.written {
                    let offset = offset(stream, &self.writer, place);
                    stream.store(&mut self.writer, offset, vec![values.get(id)]);
                }
            }
        }
        self.writer.place(end);
    }

    /// The arithmetic of one lane, and what it adds to the accumulators at `place`.
    fn lane(
        &mut self,
        values: &mut Values,
        ops: &OpSet,
        accumulators: &[[Register; OWNED]],
        place: usize,
    ) {
        let lanes = self.plan.lanes();
        evaluate(&mut self.writer, self.plan, ops, values, |id| {
            lanes.contains(id)
        });
        for (index, accumulators) in accumulators.iter().enumerate() {
            let (fold, id) = self.fold(index);
            tree::step(
                &mut self.writer,
                fold.op,
                accumulators[place],
                values.get(id),
            );
        }
    }

    /// Values of the scalar ops of `ops` that are read from memory: host scalars, carried and handed ones.
    fn scalar_leaves(&mut self, ops: &OpSet, inputs: &[Id], tensor: Register) -> Values {
        let mut values = Values::default();
        let size = self.writer.size();
        let kind = self.writer.real_type();
        for id in ops.iter() {
            match self.plan.op(id) {
                Op::Uniform(k) => {
                    let name = parameter_name(Parameter::Uniform(k.into()));
                    let to = self.writer.real();
                    self.writer
                        .line(format_args!("ld.param.{kind} {to}, [{name}];"));
                    values.insert(id, to);
                }
                Op::Carried(k) => {
                    let base = self.address(Parameter::Carried);
                    let at = self.writer.at(base, tensor, self.plan.carried() * size);
                    values.insert(id, self.writer.load(at, usize::from(k) * size));
                }
                _ => {}
            }
        }
        if inputs.is_empty() {
            return values;
        }
        let base = self.address(Parameter::Handed);
        let at = self.writer.at(base, tensor, self.handed.len() * size);
        for (place, id) in self.handed.iter().enumerate() {
            if !inputs.contains(id) {
                continue;
            }
            let mut register = self.writer.load(at, place * size);
            if is_mask(self.plan, *id) {
                let zero = self.writer.constant(0.0);
                register = self.writer.test(&format!("neu.{kind}"), register, zero);
            }
            values.insert(*id, register);
        }
        values
    }

    /// Lets only the block go on that is the last of its tensor.
    pub(super) fn last_of_tensor(&mut self) {
        self.writer.note("the last block of the tensor goes on");
        let tickets = self.address(Parameter::Tickets);
        let ticket = self.writer.at(tickets, self.block_tensor(), 4);
        let tensors = self.address(Parameter::Tensors);
        let entry = self.writer.at(tensors, self.block_tensor(), entry::BYTES);
        let chunks = self.writer.word();
        self.writer.line(format_args!(
            "ld.global.u32 {chunks}, [{entry}+{}];",
            entry::CHUNKS + 4
        ));
        self.last(ticket, chunks);
    }

    /// Lets only the block go on that is the last of all tensors.
    pub(super) fn last_of_group(&mut self) {
        self.writer.note("the last tensor's block goes on");
        let tickets = self.address(Parameter::Tickets);
        let tensors = self.writer.parameter_word("tensor_count");
        let ticket = self.writer.at(tickets, tensors, 4);
        self.last(ticket, tensors);
    }

    /// Takes a ticket that `count` blocks take; who does not get the last leaves. The ticket is back at zero then. What
    /// thread 0 has seen or written before is visible to the one who goes on.
    fn last(&mut self, ticket: Register, count: Register) {
        let told = self.writer.label();
        let idle = self.writer.test("ne.u32", self.thread, 0);
        // Nobody may still read what lies in the pool.
        self.writer.line(format_args!("bar.sync 0;"));
        self.writer.line(format_args!("@{idle} bra {told};"));
        let limit = self.writer.word_of("sub.u32", count, 1);
        let taken = self.writer.word();
        self.writer.line(format_args!("fence.acq_rel.gpu;"));
        self.writer.line(format_args!(
            "atom.global.inc.u32 {taken}, [{ticket}], {limit};"
        ));
        self.writer.line(format_args!("fence.acq_rel.gpu;"));
        let others = self.writer.word_of("sub.u32", limit, taken);
        self.writer
            .line(format_args!("st.shared.u32 [pool], {others};"));
        self.writer.place(told);
        self.writer.line(format_args!("bar.sync 0;"));
        let missing = self.writer.word();
        self.writer
            .line(format_args!("ld.shared.u32 {missing}, [pool];"));
        self.writer.line(format_args!("bar.sync 0;"));
        let leaves = self.writer.test("ne.u32", missing, 0);
        let exit = self.exit;
        self.writer.line(format_args!("@{leaves} bra {exit};"));
    }

    /// Takes the block's number for the tensor's.
    pub(super) fn tensor_of_block(&mut self) {
        let tensor = self.writer.word();
        self.writer
            .line(format_args!("mov.u32 {tensor}, %ctaid.x;"));
        self.tensor = Some(tensor);
    }

    /// The end of a tensor: folds its partials; then, where nothing reaches over the group, its scalars.
    pub(super) fn tensor(&mut self) {
        self.writer.note("the end of a tensor");
        let tensor = self.block_tensor();
        let folds: Vec<usize> = (0..self.end.folds.len()).collect();
        let mut results = Vec::new();
        if !folds.is_empty() {
            let tensors = self.address(Parameter::Tensors);
            let entry = self.writer.at(tensors, tensor, entry::BYTES);
            let (first, chunks) = (self.writer.word(), self.writer.word());
            self.writer.line(format_args!(
                "ld.global.v2.u32 {{{first}, {chunks}}}, [{entry}+{}];",
                entry::CHUNKS
            ));
            let partials = self.address(Parameter::Partials);
            let row = self.writer.parameter_word("chunk_count");
            results = self.fold_rows(partials, row, first, chunks, &folds);
        }
        let idle = self.writer.test("ne.u32", self.thread, 0);
        if self.end.reaches_group {
            let told = self.writer.label();
            self.writer.line(format_args!("@{idle} bra {told};"));
            let rows = self.address(Parameter::Results);
            let count = self.writer.parameter_word("tensor_count");
            self.scatter(rows, count, tensor, &results);
            self.writer.place(told);
        } else {
            let exit = self.exit;
            self.writer.line(format_args!("@{idle} bra {exit};"));
            self.scalars(tensor, &results);
        }
    }

    /// The end of the group: folds what reaches over it, then the scalars of every tensor.
    pub(super) fn group(&mut self) {
        self.writer.note("the end of the group");
        let (kind, size) = (self.writer.real_type(), self.writer.size());
        let (group, own): (Vec<usize>, Vec<usize>) =
            (0..self.end.folds.len()).partition(|place| self.fold(*place).0.scope == Scope::Group);
        let rows = self.address(Parameter::Results);
        let count = self.writer.parameter_word("tensor_count");
        let zero = self.writer.word();
        self.writer.line(format_args!("mov.u32 {zero}, 0;"));
        let results = self.fold_rows(rows, count, zero, count, &group);

        self.writer.note("told to all threads");
        let told = self.writer.label();
        self.writer.line(format_args!("bar.sync 0;"));
        let idle = self.writer.test("ne.u32", self.thread, 0);
        self.writer.line(format_args!("@{idle} bra {told};"));
        for (place, result) in results.iter().enumerate() {
            self.writer.line(format_args!(
                "st.shared.{kind} [pool+{}], {result};",
                place * size
            ));
        }
        self.writer.place(told);
        self.writer.line(format_args!("bar.sync 0;"));
        let mut folded: Vec<Register> = self.end.folds.iter().map(|_| self.writer.real()).collect();
        for (place, index) in group.iter().enumerate() {
            let to = folded[*index];
            self.writer.line(format_args!(
                "ld.shared.{kind} {to}, [pool+{}];",
                place * size
            ));
        }

        self.writer.note("the scalars of every tensor");
        let (top, exit) = (self.writer.label(), self.exit);
        let tensor = self.writer.word();
        self.writer
            .line(format_args!("mov.u32 {tensor}, {};", self.thread));
        self.writer.place(top);
        let beyond = self.writer.test("ge.u32", tensor, count);
        self.writer.line(format_args!("@{beyond} bra {exit};"));
        for index in own {
            let row = self.row(rows, count, index);
            let at = self.writer.at(row, tensor, size);
            folded[index] = self.writer.load_shared_by_blocks(at, 0);
        }
        self.scalars(tensor, &folded);
        self.writer
            .line(format_args!("add.u32 {tensor}, {tensor}, {THREADS};"));
        self.writer.line(format_args!("bra {top};"));
    }

    /// Row `index` of rows of `count` numbers.
    fn row(&mut self, rows: Register, count: Register, index: usize) -> Register {
        let size = self.writer.size();
        (0..index).fold(rows, |row, _| self.writer.at(row, count, size))
    }

    /// Folds `count` numbers from `first` of each of the rows, in the order of a chunk. Thread 0 has the results.
    fn fold_rows(
        &mut self,
        rows: Register,
        row_length: Register,
        first: Register,
        count: Register,
        folds: &[usize],
    ) -> Vec<Register> {
        let size = self.writer.size();
        let mut ops = Vec::new();
        for (place, index) in folds.iter().enumerate() {
            let op = self.fold(*index).0.op;
            let row = self.row(rows, row_length, *index);
            let start = self.writer.at(row, first, size);
            let at = self.writer.at(start, self.thread, size);
            let accumulators = [(); OWNED].map(|()| self.writer.constant(0.0));
            self.fold_row(at, count, op, &accumulators);
            tree::put(
                &mut self.writer,
                self.thread,
                place,
                &accumulators,
                Owned::Strided,
            );
            ops.push(op);
        }
        tree::halve(&mut self.writer, self.thread, &ops)
    }

    /// A thread's part of a list of numbers, from `at`: one in 128, four accumulators in turn.
    fn fold_row(
        &mut self,
        at: Register,
        count: Register,
        op: FoldOp,
        accumulators: &[Register; OWNED],
    ) {
        let size = self.writer.size();
        let stride = THREADS as usize * size;
        let number = self.writer.word();
        self.writer
            .line(format_args!("mov.u32 {number}, {};", self.thread));
        let (many, few, end) = (
            self.writer.label(),
            self.writer.label(),
            self.writer.label(),
        );
        self.writer.place(many);
        // Whole rounds, several at a time.
        let last = self
            .writer
            .word_of("add.u32", number, (AHEAD * OWNED - 1) * THREADS as usize);
        let beyond = self.writer.test("ge.u32", last, count);
        self.writer.line(format_args!("@{beyond} bra {few};"));
        let loaded: Vec<Register> = (0..AHEAD * OWNED)
            .map(|place| self.writer.load_shared_by_blocks(at, place * stride))
            .collect();
        for (place, x) in loaded.into_iter().enumerate() {
            tree::step(&mut self.writer, op, accumulators[place % OWNED], x);
        }
        let step = AHEAD * OWNED * THREADS as usize;
        self.writer
            .line(format_args!("add.u64 {at}, {at}, {};", step * size));
        self.writer
            .line(format_args!("add.u32 {number}, {number}, {step};"));
        self.writer.line(format_args!("bra {many};"));
        // What is left, number by number.
        self.writer.place(few);
        for (place, accumulator) in accumulators.iter().enumerate() {
            let here = self
                .writer
                .word_of("add.u32", number, place * THREADS as usize);
            let beyond = self.writer.test("ge.u32", here, count);
            self.writer.line(format_args!("@{beyond} bra {end};"));
            let x = self.writer.load_shared_by_blocks(at, place * stride);
            tree::step(&mut self.writer, op, *accumulator, x);
        }
        self.writer
            .line(format_args!("add.u64 {at}, {at}, {};", WIDTH * size));
        self.writer
            .line(format_args!("add.u32 {number}, {number}, {WIDTH};"));
        self.writer.line(format_args!("bra {few};"));
        self.writer.place(end);
    }

    /// The scalars of a tensor that are known when the pass has ended: handed to later passes, and carried.
    fn scalars(&mut self, tensor: Register, results: &[Register]) {
        let size = self.writer.size();
        let kind = self.writer.real_type();
        let ops = self.plan.scalar_ops(self.index);
        let inputs = self.scalar_inputs(&ops);
        let mut values = self.scalar_leaves(&ops, &inputs, tensor);
        for id in ops.iter() {
            if let Op::Folded(_, fold) = self.plan.op(id) {
                let place = self
                    .end
                    .folds
                    .iter()
                    .position(|index| *index == usize::from(fold));
                let place = place.expect("a fold that scalars read is one whose result is used");
                values.insert(id, results[place]);
            }
        }
        evaluate(&mut self.writer, self.plan, &ops, &mut values, |_| true);
        let newly = self.plan.newly_handed(self.index);
        if !newly.is_empty() {
            let base = self.address(Parameter::Handed);
            let at = self.writer.at(base, tensor, self.handed.len() * size);
            for (place, id) in self.handed.iter().enumerate() {
                if !newly.contains(*id) {
                    continue;
                }
                let mut register = values.get(*id);
                if is_mask(self.plan, *id) {
                    let (one, zero) = (self.writer.constant(1.0), self.writer.constant(0.0));
                    register = select(&mut self.writer, register, one, zero);
                }
                self.writer.store(at, place * size, register);
            }
        }
        let carries: Vec<(usize, Id)> = self.plan.carries(self.index).collect();
        if !carries.is_empty() {
            let base = self.address(Parameter::Carried);
            let at = self.writer.at(base, tensor, self.plan.carried() * size);
            for (k, id) in carries {
                let from = values.get(id);
                self.writer.line(format_args!(
                    "st.global.{kind} [{at}+{}], {from};",
                    k * size
                ));
            }
        }
    }

    /// What was handed over before this pass and is read when it has ended.
    fn scalar_inputs(&self, ops: &OpSet) -> Vec<Id> {
        let Some(before) = self.index.checked_sub(1) else {
            return Vec::new();
        };
        let handed = self.plan.handed(before);
        let carried = self.plan.carries(self.index).map(|(_, id)| id);
        let read = ops
            .iter()
            .flat_map(|id| self.plan.op(id).args())
            .chain(carried);
        read.filter(|id| handed.contains(*id)).collect()
    }
}

fn is_mask(plan: &Plan, id: Id) -> bool {
    matches!(plan.op(id), Op::Lt(..))
}

fn parameter_name(parameter: Parameter) -> String {
    match parameter {
        Parameter::Chunks => "chunks".into(),
        Parameter::Tensors => "tensors".into(),
        Parameter::Gradients => "gradients".into(),
        Parameter::Params => "params".into(),
        Parameter::Slot(k) => format!("slot{k}"),
        Parameter::Carried => "carried".into(),
        Parameter::Handed => "handed".into(),
        Parameter::Partials => "partials".into(),
        Parameter::Results => "results".into(),
        Parameter::Tickets => "tickets".into(),
        Parameter::ChunkCount => "chunk_count".into(),
        Parameter::TensorCount => "tensor_count".into(),
        Parameter::Uniform(k) => format!("uniform{k}"),
    }
}
