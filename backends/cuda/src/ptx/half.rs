//! Numbers of 16 bits: what memory holds of a packed state vector. They are widened when they are loaded and narrowed when
//! they are stored; both are exact, because a rule that has [`HALF`](adarem::Rule::HALF) leaves rounded numbers only.

use super::writer::{Register, Writer};
use adarem::Half;

/// Bytes of a number.
pub(super) const BYTES: usize = 2;

/// The number with these 16 bits.
pub(super) fn widen(writer: &mut Writer, half: Half, bits: Register) -> Register {
    let to = writer.real();
    match half {
        Half::Bf16 => {
            let low = writer.half();
            writer.line(format_args!("mov.b16 {low}, 0;"));
            writer.line(format_args!("mov.b32 {to}, {{{low}, {bits}}};"));
        }
        Half::F16 => writer.line(format_args!("cvt.f32.f16 {to}, {bits};")),
    }
    to
}

/// The 16 bits of a number, which has no more of them. A NaN stays one, whatever its bits are.
pub(super) fn narrow(writer: &mut Writer, half: Half, x: Register) -> Register {
    let to = writer.half();
    match half {
        Half::Bf16 => {
            // What tells a NaN from infinity may lie in the bits that go.
            let is_nan = writer.test("neu.f32", x, x);
            let nan = writer.constant(f64::NAN);
            let x = writer.real_of("selp", &[nan, x, is_nan]);
            let low = writer.half();
            writer.line(format_args!("mov.b32 {{{low}, {to}}}, {x};"));
        }
        Half::F16 => writer.line(format_args!("cvt.rn.f16.f32 {to}, {x};")),
    }
    to
}
