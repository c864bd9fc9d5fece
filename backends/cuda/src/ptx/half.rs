//! Numbers of 16 bits: what memory holds of a packed state vector and, in mixed precision, of gradients and parameters.
//! Loaded, they are widened, which is exact. So is the narrowing of state, because a rule that has
//! [`HALF`](adarem::Rule::HALF) leaves rounded numbers only. Parameters are rounded when they are stored.

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
    match half {
        Half::Bf16 => {
            let x = one_nan(writer, x);
            high_half(writer, x)
        }
        Half::F16 => round(writer, half, x),
    }
}

/// The 16 bits of what is nearest to a number, of two the even one; of what is too large, those of infinity. A NaN stays
/// one, whatever its bits are.
pub(super) fn round(writer: &mut Writer, half: Half, x: Register) -> Register {
    match half {
        Half::Bf16 => {
            let x = one_nan(writer, x);
            let bits = writer.word();
            writer.line(format_args!("mov.b32 {bits}, {x};"));
            // Half a place is added, less one bit where the last place is even. A carry beyond the largest number gives
            // infinity, and no carry leaves the NaN.
            let kept = writer.word_of("shr.u32", bits, 16);
            let odd = writer.word_of("and.b32", kept, 1);
            let almost = writer.word_of("add.u32", bits, "0x7fff");
            let rounded = writer.word_of("add.u32", almost, odd);
            high_half(writer, rounded)
        }
        Half::F16 => {
            let to = writer.half();
            writer.line(format_args!("cvt.rn.f16.f32 {to}, {x};"));
            to
        }
    }
}

/// The number; of all NaNs the one that its upper 16 bits tell from infinity.
fn one_nan(writer: &mut Writer, x: Register) -> Register {
    let is_nan = writer.test("neu.f32", x, x);
    let nan = writer.constant(f64::NAN);
    writer.real_of("selp", &[nan, x, is_nan])
}

/// The upper 16 of 32 bits.
fn high_half(writer: &mut Writer, bits: Register) -> Register {
    let (to, low) = (writer.half(), writer.half());
    writer.line(format_args!("mov.b32 {{{low}, {to}}}, {bits};"));
    to
}
