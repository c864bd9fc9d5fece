//! Folds in the order of [`adarem::fold`], by a block.
//!
//! The 512 accumulators of a chunk lie in registers, four in each thread. They are put into shared memory by their
//! numbers; from there thread t halves those numbered t, t + 128, t + 256 and t + 384, which is the tree's first two
//! levels; the first warp the next two, and by shuffles the last five. Every word of shared memory is read by one thread
//! before it is overwritten by the same, so one barrier before each reading is enough.

use super::THREADS;
use super::writer::{Register, Writer};
use adarem::{Dtype, FoldOp, WIDTH};

/// Accumulators of a thread.
pub(super) const OWNED: usize = WIDTH / THREADS as usize;

/// Bytes of shared memory that one fold needs.
pub(super) fn pool_bytes(writer: &Writer) -> usize {
    WIDTH * writer.size()
}

/// Which accumulators a thread owns.
#[derive(Clone, Copy)]
pub(super) enum Owned {
    /// Neighbours, as many as fill 16 bytes, then again half-way: what vectors of lanes give.
    Vectors,
    /// Every 128th, beginning with the thread's own number.
    Strided,
}

/// `into` becomes the accumulator after a lane's number.
pub(super) fn step(writer: &mut Writer, op: FoldOp, into: Register, x: Register) {
    let x = match op {
        FoldOp::MaxAbs => writer.real_of("abs", &[x]),
        FoldOp::Sum => x,
    };
    join(writer, op, into, into, x);
}

/// `to = a + b`, or the larger. An accumulator of magnitudes is neither NaN nor -0, so PTX's `max`, in which a NaN
/// loses, is the fold's.
fn join(writer: &mut Writer, op: FoldOp, to: Register, a: Register, b: Register) {
    let kind = writer.real_type();
    let name = match op {
        FoldOp::MaxAbs => "max",
        FoldOp::Sum => "add.rn",
    };
    writer.line(format_args!("{name}.{kind} {to}, {a}, {b};"));
}

fn joined(writer: &mut Writer, op: FoldOp, a: Register, b: Register) -> Register {
    let to = writer.real();
    join(writer, op, to, a, b);
    to
}

/// Puts a thread's accumulators of fold `index` into shared memory.
pub(super) fn put(
    writer: &mut Writer,
    thread: Register,
    index: usize,
    accumulators: &[Register; OWNED],
    owned: Owned,
) {
    let (kind, size) = (writer.real_type(), writer.size());
    let base = index * pool_bytes(writer);
    let pool = pool(writer);
    match owned {
        Owned::Strided => {
            let at = shared_at(writer, pool, thread, size);
            for (place, accumulator) in accumulators.iter().enumerate() {
                let offset = base + place * THREADS as usize * size;
                writer.line(format_args!(
                    "st.shared.{kind} [{at}+{offset}], {accumulator};"
                ));
            }
        }
        Owned::Vectors => {
            let at = shared_at(writer, pool, thread, 16);
            let width = writer.vector();
            for (place, vector) in accumulators.chunks_exact(width).enumerate() {
                let offset = base + place * THREADS as usize * 16;
                let list = list(vector);
                writer.line(format_args!(
                    "st.shared.v{width}.{kind} [{at}+{offset}], {{{list}}};"
                ));
            }
        }
    }
}

/// Halves what was [`put`] down to one number for each fold, which thread 0 then has. Ends with the threads together.
pub(super) fn halve(writer: &mut Writer, thread: Register, folds: &[FoldOp]) -> Vec<Register> {
    let (kind, size) = (writer.real_type(), writer.size());
    let bytes = pool_bytes(writer);
    let pool = pool(writer);
    let at = shared_at(writer, pool, thread, size);
    writer.line(format_args!("bar.sync 0;"));
    for (index, op) in folds.iter().enumerate() {
        let level = quarter(writer, at, index * bytes, THREADS as usize, *op);
        writer.line(format_args!(
            "st.shared.{kind} [{at}+{}], {level};",
            index * bytes
        ));
    }
    writer.line(format_args!("bar.sync 0;"));
    let results: Vec<Register> = folds.iter().map(|_| writer.real()).collect();
    let end = writer.label();
    let idle = writer.test("ge.u32", thread, 32);
    writer.line(format_args!("@{idle} bra {end};"));
    for (index, (op, result)) in folds.iter().zip(&results).enumerate() {
        let mut level = quarter(writer, at, index * bytes, 32, *op);
        for distance in [16, 8, 4, 2, 1] {
            let other = from_lane_above(writer, level, distance);
            level = joined(writer, *op, level, other);
        }
        writer.line(format_args!("mov.{kind} {result}, {level};"));
    }
    writer.place(end);
    results
}

/// Two levels: of four times `width` numbers, `width`.
fn quarter(writer: &mut Writer, at: Register, base: usize, width: usize, op: FoldOp) -> Register {
    let (kind, size) = (writer.real_type(), writer.size());
    let [a, b, c, d] = [0, 1, 2, 3].map(|place| {
        let to = writer.real();
        let offset = base + place * width * size;
        writer.line(format_args!("ld.shared.{kind} {to}, [{at}+{offset}];"));
        to
    });
    let low = joined(writer, op, a, c);
    let high = joined(writer, op, b, d);
    joined(writer, op, low, high)
}

/// The value of the thread so far above in the warp.
fn from_lane_above(writer: &mut Writer, x: Register, distance: u32) -> Register {
    let to = writer.real();
    match writer.dtype {
        Dtype::F64 => {
            let [low, high, low_above, high_above] = [(); 4].map(|()| writer.word());
            writer.line(format_args!("mov.b64 {{{low}, {high}}}, {x};"));
            for (from, to) in [(low, low_above), (high, high_above)] {
                writer.line(format_args!(
                    "shfl.sync.down.b32 {to}, {from}, {distance}, 31, 0xffffffff;"
                ));
            }
            writer.line(format_args!("mov.b64 {to}, {{{low_above}, {high_above}}};"));
        }
        _ => {
            writer.line(format_args!(
                "shfl.sync.down.b32 {to}, {x}, {distance}, 31, 0xffffffff;"
            ));
        }
    }
    to
}

/// Where shared memory begins.
pub(super) fn pool(writer: &mut Writer) -> Register {
    let pool = writer.word();
    writer.line(format_args!("mov.u32 {pool}, pool;"));
    pool
}

fn shared_at(writer: &mut Writer, pool: Register, thread: Register, bytes: usize) -> Register {
    let offset = writer.word_of("mul.lo.u32", thread, bytes);
    writer.word_of("add.u32", pool, offset)
}

/// Registers as a vector operand lists them.
pub(super) fn list(registers: &[Register]) -> String {
    registers
        .iter()
        .map(Register::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
