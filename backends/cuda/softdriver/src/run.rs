//! Runs a kernel, block after block.
//!
//! The threads of a block advance together where they can: those furthest behind run until they meet others or part.
//! That is one legal schedule. What another schedule could have broken is found by looking, not by luck: a word of shared
//! or global memory that is accessed by two threads, once to write, with nothing between that orders them is a fault.

use crate::Fault;
use crate::isa::*;
use crate::memory::{Accessor, Memory};

const WARP: usize = 32;
/// Instructions of one block, after which it is taken to hang.
const PATIENCE: u64 = 50_000_000;

/// In which order the blocks of a launch run. A GPU promises none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the first to the last.
    Forward,
    /// From the last to the first.
    Backward,
    /// In an order drawn from this seed.
    Shuffled(u64),
}

impl Order {
    fn of(self, blocks: u32) -> Vec<u32> {
        let mut all: Vec<u32> = (0..blocks).collect();
        match self {
            Self::Forward => {}
            Self::Backward => all.reverse(),
            Self::Shuffled(seed) => {
                let mut state = seed;
                for last in (1..all.len()).rev() {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    all.swap(last, (state >> 33) as usize % (last + 1));
                }
            }
        }
        all
    }
}

/// One launch.
pub(crate) struct Launch<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) blocks: u32,
    pub(crate) threads: u32,
    pub(crate) parameters: &'a [u8],
    pub(crate) order: Order,
    /// Number of its first block, counted over all launches.
    pub(crate) first_block: u32,
}

impl Launch<'_> {
    pub(crate) fn run(&self, memory: &mut Memory) -> Result<(), Fault> {
        let mut published = vec![0; self.blocks as usize];
        let mut block = Block::new(self);
        for index in self.order.of(self.blocks) {
            block.reset(index);
            let outcome = block.run(memory, &mut published);
            outcome.map_err(|fault| fault.within(&self.kernel.name, index))?;
        }
        Ok(())
    }
}

/// Who touched a word of shared memory since the last barrier.
#[derive(Clone, Copy)]
struct SharedMark {
    is_set: bool,
    /// The barriers passed when it was written and read, and by whom; [`MANY`] for several readers.
    written: (u32, u32),
    read: (u32, u32),
}

const NEVER: u32 = u32::MAX;
const MANY: u32 = u32::MAX;

impl SharedMark {
    const NEW: Self = Self {
        is_set: false,
        written: (NEVER, 0),
        read: (NEVER, 0),
    };
}

struct Block<'a> {
    launch: &'a Launch<'a>,
    index: u32,
    /// Register r of thread t is at r * threads + t.
    registers: Vec<u64>,
    is_set: Vec<bool>,
    at: Vec<usize>,
    shared: Vec<u8>,
    shared_marks: Vec<SharedMark>,
    barriers: u32,
    fences: u32,
    atomics: u32,
    has_acquired: bool,
}

/// A thread's place in the code when it has none.
const GONE: usize = usize::MAX;

/// What a group of threads did.
enum Next {
    /// All go on with the following instruction.
    Following,
    /// All go on there.
    There(usize),
    /// They have parted, left or stopped at a barrier.
    Look,
}

impl<'a> Block<'a> {
    fn new(launch: &'a Launch<'a>) -> Self {
        let threads = launch.threads as usize;
        let kernel = launch.kernel;
        Self {
            launch,
            index: 0,
            registers: vec![0; kernel.registers.len() * threads],
            is_set: vec![false; kernel.registers.len() * threads],
            at: vec![0; threads],
            shared: vec![0; kernel.shared_bytes],
            shared_marks: vec![SharedMark::NEW; kernel.shared_bytes.div_ceil(4)],
            barriers: 0,
            fences: 0,
            atomics: 0,
            has_acquired: false,
        }
    }

    fn reset(&mut self, index: u32) {
        self.index = index;
        self.is_set.fill(false);
        self.at.fill(0);
        self.shared_marks.fill(SharedMark::NEW);
        (self.barriers, self.fences, self.atomics, self.has_acquired) = (0, 0, 0, false);
    }

    fn run(&mut self, memory: &mut Memory, published: &mut [u32]) -> Result<(), Fault> {
        let threads = self.at.len();
        let mut waiting = vec![false; threads];
        let mut group = Vec::with_capacity(threads);
        let mut steps = 0_u64;
        loop {
            // The threads furthest behind, and where they meet the next ones.
            let place = |thread: usize| {
                if waiting[thread] {
                    GONE
                } else {
                    self.at[thread]
                }
            };
            let Some(mut at) = (0..threads).map(place).filter(|at| *at != GONE).min() else {
                if !self.release(&mut waiting)? {
                    return Ok(());
                }
                continue;
            };
            group.clear();
            group.extend((0..threads).filter(|thread| place(*thread) == at));
            let meeting = (0..threads)
                .map(place)
                .filter(|place| *place > at)
                .min()
                .unwrap_or(GONE);
            while at < meeting {
                steps += 1;
                if steps > PATIENCE {
                    return Err(Fault::other(format!(
                        "no end after {PATIENCE} instructions"
                    )));
                }
                let instruction = &self.launch.kernel.code[at];
                let next = self
                    .step(instruction, at, &group, &mut waiting, memory, published)
                    .map_err(|fault| fault.at_line(instruction.line))?;
                match next {
                    Next::Following => at += 1,
                    Next::There(target) => at = target,
                    Next::Look => break,
                }
                for thread in &group {
                    self.at[*thread] = at;
                }
            }
        }
    }

    /// Lets everyone pass a barrier that all have reached; `false` when nobody is left.
    fn release(&mut self, waiting: &mut [bool]) -> Result<bool, Fault> {
        if !waiting.contains(&true) {
            return Ok(false);
        }
        if waiting.contains(&false) {
            return Err(Fault::other(
                "some threads wait at a barrier, others have left".into(),
            ));
        }
        if self.at.iter().any(|at| *at != self.at[0]) {
            return Err(Fault::other("threads wait at different barriers".into()));
        }
        waiting.fill(false);
        self.at.iter_mut().for_each(|at| *at += 1);
        self.barriers += 1;
        Ok(true)
    }

    fn step(
        &mut self,
        instruction: &Instruction,
        at: usize,
        group: &[usize],
        waiting: &mut [bool],
        memory: &mut Memory,
        published: &mut [u32],
    ) -> Result<Next, Fault> {
        let mut guarded = Vec::new();
        let active = match instruction.guard {
            None => group,
            Some((predicate, wanted)) => {
                for thread in group {
                    if (self.register(predicate, *thread)? != 0) == wanted {
                        guarded.push(*thread);
                    }
                }
                guarded.as_slice()
            }
        };
        match &instruction.action {
            Action::Branch { to } => {
                if active.len() == group.len() {
                    return Ok(Next::There(*to));
                }
                if active.is_empty() {
                    return Ok(Next::Following);
                }
                for thread in group {
                    self.at[*thread] = if active.contains(thread) { *to } else { at + 1 };
                }
                return Ok(Next::Look);
            }
            Action::Return => {
                for thread in group {
                    self.at[*thread] = if active.contains(thread) {
                        GONE
                    } else {
                        at + 1
                    };
                }
                return Ok(Next::Look);
            }
            Action::Barrier => {
                for thread in group {
                    self.at[*thread] = if active.contains(thread) { at } else { at + 1 };
                }
                active.iter().for_each(|thread| waiting[*thread] = true);
                return Ok(Next::Look);
            }
            Action::Fence => {
                if !active.is_empty() {
                    self.fences += 1;
                    self.has_acquired = self.atomics > 0;
                }
            }
            Action::AtomicIncrement { to, at, limit } => {
                for thread in active {
                    let limit = self.value(*limit, *thread)? as u32;
                    let address = self.address(at, *thread)?;
                    let old = memory
                        .update(address, |old| if old >= limit { 0 } else { old + 1 })
                        .map_err(|fault| fault.of_thread(*thread))?;
                    self.write(*to, *thread, u64::from(old));
                    self.atomics += 1;
                    published[self.index as usize] = self.fences;
                }
            }
            Action::Unary {
                what,
                kind,
                to,
                from,
            } => self.unary(*what, *kind, *to, *from, active)?,
            Action::Binary {
                what,
                kind,
                to,
                from,
            } => {
                self.binary(*what, *kind, *to, *from, active)?;
            }
            Action::Compare {
                what,
                kind,
                to,
                from,
            } => {
                self.compare(*what, *kind, *to, *from, active)?;
            }
            Action::Select { to, from, by } => {
                for thread in active {
                    let chosen = from[usize::from(self.register(*by, *thread)? == 0)];
                    // Both are read: the one not chosen may be unset no more than the other.
                    self.value(from[0], *thread)?;
                    self.value(from[1], *thread)?;
                    let value = self.value(chosen, *thread)?;
                    self.write(*to, *thread, value);
                }
            }
            Action::Convert { to, from, narrow } => {
                let mask = if *narrow { 0xffff_ffff } else { u64::MAX };
                self.map([*from], *to, active, |[value]| value & mask)?;
            }
            Action::Split { to, from, bits } => {
                let low = (1 << bits) - 1;
                self.map([*from], to[0], active, |[value]| value & low)?;
                self.map([*from], to[1], active, |[value]| value >> bits)?;
            }
            Action::Join { to, from, bits } => {
                self.map(*from, *to, active, |[low, high]| low | (high << bits))?;
            }
            Action::Load {
                space,
                kind,
                to,
                at,
            } => {
                for thread in active {
                    self.load(*space, *kind, to, at, *thread, memory, published)
                        .map_err(|fault| fault.of_thread(*thread))?;
                }
            }
            Action::Store {
                space,
                kind,
                from,
                at,
            } => {
                for thread in active {
                    self.store(*space, *kind, from, at, *thread, memory, published)
                        .map_err(|fault| fault.of_thread(*thread))?;
                }
            }
            Action::Shuffle {
                mode,
                to,
                from,
                by,
                clamp,
                mask,
            } => {
                self.shuffle(*mode, *to, [*from, *by], *clamp, *mask, active)?;
            }
        }
        Ok(Next::Following)
    }

    fn register(&self, register: Register, thread: usize) -> Result<u64, Fault> {
        let place = register * self.at.len() + thread;
        if !self.is_set[place] {
            return Err(
                Fault::other("a register is read that was never set".into()).of_thread(thread)
            );
        }
        Ok(self.registers[place])
    }

    fn write(&mut self, register: Register, thread: usize, value: u64) {
        let place = register * self.at.len() + thread;
        self.is_set[place] = true;
        self.registers[place] = value;
    }

    fn value(&self, source: Source, thread: usize) -> Result<u64, Fault> {
        Ok(match source {
            Source::Register(register) => self.register(register, thread)?,
            Source::Constant(bits) => bits,
            Source::Thread => thread as u64,
            Source::Threads => self.at.len() as u64,
            Source::Block => u64::from(self.index),
            Source::Blocks => u64::from(self.launch.blocks),
        })
    }

    fn address(&self, at: &Address, thread: usize) -> Result<u64, Fault> {
        Ok(self.value(at.base, thread)?.wrapping_add_signed(at.offset))
    }

    fn map<const N: usize>(
        &mut self,
        from: [Source; N],
        to: Register,
        active: &[usize],
        with: impl Fn([u64; N]) -> u64,
    ) -> Result<(), Fault> {
        for thread in active {
            let mut values = [0; N];
            for (value, source) in values.iter_mut().zip(from) {
                *value = self.value(source, *thread)?;
            }
            self.write(to, *thread, with(values));
        }
        Ok(())
    }

    fn unary(
        &mut self,
        what: Unary,
        kind: Type,
        to: Register,
        from: Source,
        active: &[usize],
    ) -> Result<(), Fault> {
        let from = [from];
        match (what, kind) {
            (Unary::Move, _) => self.map(from, to, active, |[x]| x),
            (Unary::Not, _) => self.map(from, to, active, |[x]| u64::from(x == 0)),
            (Unary::Negate, Type::F32) => self.map(from, to, active, |[x]| x ^ 0x8000_0000),
            (Unary::Negate, _) => self.map(from, to, active, |[x]| x ^ (1 << 63)),
            (Unary::Absolute, Type::F32) => self.map(from, to, active, |[x]| x & 0x7fff_ffff),
            (Unary::Absolute, _) => self.map(from, to, active, |[x]| x & !(1 << 63)),
            (Unary::SquareRoot, Type::F32) => {
                self.map(from, to, active, |[x]| bits_of(float(x).sqrt()))
            }
            (Unary::SquareRoot, _) => {
                self.map(from, to, active, |[x]| f64::from_bits(x).sqrt().to_bits())
            }
            (Unary::Widen, _) => self.map(from, to, active, |[x]| bits_of(widened(x))),
            (Unary::Narrow, _) => self.map(from, to, active, |[x]| narrowed(float(x))),
        }
    }

    fn binary(
        &mut self,
        what: Binary,
        kind: Type,
        to: Register,
        from: [Source; 2],
        active: &[usize],
    ) -> Result<(), Fault> {
        let all = u64::MAX >> (64 - 8 * kind.size());
        let cut = move |x: u64| x & all;
        match (what, kind) {
            (Binary::Add, Type::F32) => self.floats(from, to, active, |a, b| a + b),
            (Binary::Subtract, Type::F32) => self.floats(from, to, active, |a, b| a - b),
            (Binary::Multiply, Type::F32) => self.floats(from, to, active, |a, b| a * b),
            (Binary::Divide, Type::F32) => self.floats(from, to, active, |a, b| a / b),
            (Binary::Maximum, Type::F32) => self.floats(from, to, active, |a, b| {
                maximum(f64::from(a), f64::from(b)) as f32
            }),
            (Binary::Add, Type::F64) => self.doubles(from, to, active, |a, b| a + b),
            (Binary::Subtract, Type::F64) => self.doubles(from, to, active, |a, b| a - b),
            (Binary::Multiply, Type::F64) => self.doubles(from, to, active, |a, b| a * b),
            (Binary::Divide, Type::F64) => self.doubles(from, to, active, |a, b| a / b),
            (Binary::Maximum, Type::F64) => self.doubles(from, to, active, maximum),
            (Binary::Add, _) => self.map(from, to, active, |[a, b]| cut(a.wrapping_add(b))),
            (Binary::Subtract, _) => self.map(from, to, active, |[a, b]| cut(a.wrapping_sub(b))),
            (Binary::Multiply, _) => self.map(from, to, active, |[a, b]| cut(a.wrapping_mul(b))),
            (Binary::MultiplyWide, _) => self.map(from, to, active, |[a, b]| a * b),
            (Binary::Minimum, Type::S32) => self.map(from, to, active, |[a, b]| {
                u64::from((a as i32).min(b as i32) as u32)
            }),
            (Binary::Minimum, Type::S64) => {
                self.map(from, to, active, |[a, b]| (a as i64).min(b as i64) as u64)
            }
            (Binary::Minimum, _) => self.map(from, to, active, |[a, b]| a.min(b)),
            (Binary::And, _) => self.map(from, to, active, |[a, b]| a & b),
            (Binary::Or, _) => self.map(from, to, active, |[a, b]| a | b),
            (Binary::Xor, _) => self.map(from, to, active, |[a, b]| a ^ b),
            (Binary::ShiftLeft, _) => self.map(from, to, active, move |[a, b]| {
                cut(u32::try_from(b)
                    .ok()
                    .and_then(|by| a.checked_shl(by))
                    .unwrap_or(0))
            }),
            (Binary::ShiftRight, _) => self.map(from, to, active, |[a, b]| {
                u32::try_from(b)
                    .ok()
                    .and_then(|by| a.checked_shr(by))
                    .unwrap_or(0)
            }),
            (Binary::Divide | Binary::Maximum, _) => {
                unreachable!(
                    "integers are neither divided nor compared for the larger: not read from text"
                )
            }
        }
    }

    fn floats(
        &mut self,
        from: [Source; 2],
        to: Register,
        active: &[usize],
        with: impl Fn(f32, f32) -> f32,
    ) -> Result<(), Fault> {
        self.map(from, to, active, |[a, b]| bits_of(with(float(a), float(b))))
    }

    fn doubles(
        &mut self,
        from: [Source; 2],
        to: Register,
        active: &[usize],
        with: impl Fn(f64, f64) -> f64,
    ) -> Result<(), Fault> {
        self.map(from, to, active, |[a, b]| {
            with(f64::from_bits(a), f64::from_bits(b)).to_bits()
        })
    }

    fn compare(
        &mut self,
        what: Comparison,
        kind: Type,
        to: Register,
        from: [Source; 2],
        active: &[usize],
    ) -> Result<(), Fault> {
        self.map(from, to, active, |[a, b]| {
            u64::from(match kind {
                // Widening is exact and keeps the order and NaN.
                Type::F32 => holds(what, &f64::from(float(a)), &f64::from(float(b))),
                Type::F64 => holds(what, &f64::from_bits(a), &f64::from_bits(b)),
                Type::S32 => holds(what, &(a as i32), &(b as i32)),
                Type::S64 => holds(what, &(a as i64), &(b as i64)),
                _ => holds(what, &a, &b),
            })
        })
    }

    fn accessor<'p>(&self, thread: usize, published: &'p [u32]) -> Accessor<'p> {
        Accessor {
            block: self.launch.first_block + self.index,
            thread: thread as u16,
            barriers: self.barriers,
            fences: self.fences,
            has_acquired: self.has_acquired,
            first_block: self.launch.first_block,
            published,
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "an instruction's operands, and who runs it on what"
    )]
    fn load(
        &mut self,
        space: Space,
        kind: Type,
        to: &[Register],
        at: &Address,
        thread: usize,
        memory: &mut Memory,
        published: &[u32],
    ) -> Result<(), Fault> {
        let address = self.address(at, thread)?;
        let mut buffer = [0; 16];
        let bytes = &mut buffer[..kind.size() * to.len()];
        match space {
            Space::Param => {
                let from = address as usize;
                let parameters = self.launch.parameters.get(from..from + bytes.len());
                let parameters = parameters.ok_or_else(|| {
                    Fault::illegal_address(format!("no parameter holds byte {from}"))
                })?;
                bytes.copy_from_slice(parameters);
            }
            Space::Global => memory.read(&self.accessor(thread, published), address, bytes)?,
            Space::Shared => {
                let range = self.shared_range(address, bytes.len())?;
                for mark in &mut self.shared_marks[range.start / 4..range.end / 4] {
                    if !mark.is_set {
                        return Err(Fault::other(
                            "shared memory is read that was never set".into(),
                        ));
                    }
                    let (barriers, writer) = mark.written;
                    if barriers == self.barriers && writer != thread as u32 {
                        return Err(Fault::other(format!(
                            "race: thread {writer} wrote to this shared word since the last barrier"
                        )));
                    }
                    let is_first = mark.read.0 != self.barriers || mark.read.1 == thread as u32;
                    mark.read = (self.barriers, if is_first { thread as u32 } else { MANY });
                }
                bytes.copy_from_slice(&self.shared[range]);
            }
        }
        for (register, part) in to.iter().zip(buffer.chunks_exact(kind.size())) {
            let mut value = [0; 8];
            value[..part.len()].copy_from_slice(part);
            self.write(*register, thread, u64::from_le_bytes(value));
        }
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "an instruction's operands, and who runs it on what"
    )]
    fn store(
        &mut self,
        space: Space,
        kind: Type,
        from: &[Source],
        at: &Address,
        thread: usize,
        memory: &mut Memory,
        published: &[u32],
    ) -> Result<(), Fault> {
        let address = self.address(at, thread)?;
        let mut buffer = [0; 16];
        for (source, part) in from.iter().zip(buffer.chunks_exact_mut(kind.size())) {
            part.copy_from_slice(&self.value(*source, thread)?.to_le_bytes()[..kind.size()]);
        }
        let bytes = &buffer[..kind.size() * from.len()];
        match space {
            Space::Param => unreachable!("a store to a parameter is not read from text"),
            Space::Global => memory.write(&self.accessor(thread, published), address, bytes),
            Space::Shared => {
                let range = self.shared_range(address, bytes.len())?;
                let me = thread as u32;
                for mark in &mut self.shared_marks[range.start / 4..range.end / 4] {
                    for (what, (barriers, other)) in [("wrote", mark.written), ("read", mark.read)]
                    {
                        if barriers == self.barriers && other != me {
                            return Err(Fault::other(format!(
                                "race: another thread {what} this shared word since the last barrier"
                            )));
                        }
                    }
                    *mark = SharedMark {
                        is_set: true,
                        written: (self.barriers, me),
                        ..*mark
                    };
                }
                self.shared[range].copy_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn shared_range(&self, address: u64, bytes: usize) -> Result<core::ops::Range<usize>, Fault> {
        if !address.is_multiple_of(bytes as u64) {
            return Err(Fault::misaligned(format!(
                "{bytes} shared bytes at {address} are not aligned"
            )));
        }
        let start = address as usize;
        if address > self.shared.len() as u64 || start + bytes > self.shared.len() {
            let length = self.shared.len();
            return Err(Fault::illegal_address(format!(
                "{bytes} bytes at {address} of {length} bytes of shared memory"
            )));
        }
        Ok(start..start + bytes)
    }

    fn shuffle(
        &mut self,
        mode: Shuffle,
        to: Register,
        from: [Source; 2],
        clamp: u32,
        mask: u32,
        active: &[usize],
    ) -> Result<(), Fault> {
        if clamp != 31 {
            return Err(Fault::other(
                "only shuffles over a whole warp are known".into(),
            ));
        }
        for warp in active.chunk_by(|a, b| a / WARP == b / WARP) {
            let present = warp
                .iter()
                .fold(0_u32, |set, thread| set | 1 << (thread % WARP));
            if present != mask {
                return Err(Fault::other(format!(
                    "the shuffle names threads {mask:#x} of its warp, {present:#x} are there"
                )));
            }
            let first = warp[0] / WARP * WARP;
            let mut results = Vec::with_capacity(WARP);
            for thread in warp {
                let lane = thread % WARP;
                let by = self.value(from[1], *thread)? as usize;
                let other = match mode {
                    Shuffle::Down => lane + by,
                    Shuffle::Butterfly => lane ^ by,
                    Shuffle::Index => by % WARP,
                };
                // Beyond the warp a thread gets its own value back.
                let other = if other < WARP { other } else { lane };
                if mask & (1 << other) == 0 {
                    return Err(Fault::other(format!(
                        "the shuffle reads thread {other}, not in its mask"
                    )));
                }
                results.push(self.value(from[0], first + other)?);
            }
            for (thread, value) in warp.iter().zip(results) {
                self.write(to, *thread, value);
            }
        }
        Ok(())
    }
}

fn float(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

fn bits_of(x: f32) -> u64 {
    u64::from(x.to_bits())
}

/// The number with these bits of binary16: sign 1, exponent 5, fraction 10.
fn widened(bits: u64) -> f32 {
    let (exponent, fraction) = (bits >> 10 & 0x1f, (bits & 0x3ff) as f32);
    let magnitude = match exponent {
        0 => fraction * 2.0_f32.powi(-24),
        0x1f if fraction == 0.0 => f32::INFINITY,
        0x1f => f32::NAN,
        _ => (1024.0 + fraction) * 2.0_f32.powi(exponent as i32 - 25),
    };
    if bits & 0x8000 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// The bits of the number of binary16 that is nearest, of two the even one. A NaN is the one that hardware gives.
fn narrowed(x: f32) -> u64 {
    if x.is_nan() {
        return 0x7fff;
    }
    let sign = u64::from(x.to_bits() >> 16 & 0x8000);
    // Of the least normal number, for all that are smaller.
    let exponent = ((x.to_bits() >> 23 & 0xff) as i32 - 127).max(-14);
    let places = (f64::from(x.abs()) * 2.0_f64.powi(10 - exponent)).round_ties_even();
    // Exponent and fraction in one number, in which the carry from the one to the other is right.
    let bits = ((exponent + 14) as u64 * 1024).saturating_add(places as u64);
    // What is too large is infinite.
    sign | bits.min(0x7c00)
}

/// PTX's `max`: a NaN loses, and +0 is larger than -0.
fn maximum(a: f64, b: f64) -> f64 {
    if a.is_nan() {
        b
    } else if b.is_nan() || a > b || (a == b && b.is_sign_negative()) {
        a
    } else {
        b
    }
}

fn holds<T: PartialOrd>(what: Comparison, a: &T, b: &T) -> bool {
    match what {
        Comparison::Equal => a == b,
        Comparison::NotEqual => a != b,
        Comparison::Less => a < b,
        Comparison::LessOrEqual => a <= b,
        Comparison::Greater => a > b,
        Comparison::GreaterOrEqual => a >= b,
    }
}
