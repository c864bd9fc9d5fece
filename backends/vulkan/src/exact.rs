//! Division and square root, correctly rounded, by integers alone.
//!
//! Vulkan promises a quotient within 2.5 ULP and a square root within about 4.5 ULP, and for 64-bit floats only
//! the accuracy of 32-bit ones. Host and CUDA round both correctly, so a device that is to give the same bits
//! computes them here: long division, digits of 8 or 11 bits, and the square root bit by bit as on paper. No float
//! instruction decides anything, so neither the vendor's estimates nor its treatment of subnormal numbers matter.
//!
//! Notation: a float has `M` fraction bits; `P = M + 1`; a positive number is `X 2^(e - BIAS - M)` with its
//! significand `X` in `[2^M, 2^P)`, also when it is subnormal: then its biased exponent `e` is below 1.

use crate::asm::{Module, op};

/// A binary float format of IEEE 754 and the word of the same width.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// Bits of the whole number.
    pub width: u32,
    /// Bits of the fraction.
    fraction: u32,
    /// What is added to the exponent.
    bias: u64,
    /// Bits found by each step of the long division: `P` in all, and `P - 1 + step` bits fit a word.
    digits: &'static [u32],
}

/// The format of `f32`.
pub const BINARY32: Format = Format {
    width: 32,
    fraction: 23,
    bias: 127,
    digits: &[8, 8, 8],
};
/// The format of `f64`.
pub const BINARY64: Format = Format {
    width: 64,
    fraction: 52,
    bias: 1023,
    digits: &[11, 11, 11, 11, 9],
};

impl Format {
    /// The words of a constant of this width.
    pub fn words(self, bits: u64) -> Vec<u32> {
        match self.width {
            32 => vec![bits as u32],
            _ => vec![bits as u32, (bits >> 32) as u32],
        }
    }

    /// The sign bit.
    pub fn sign(self) -> u64 {
        1 << (self.width - 1)
    }

    /// Bits of positive infinity: a magnitude above it is a NaN.
    pub fn infinity(self) -> u64 {
        (2 * self.bias + 1) << self.fraction
    }

    /// Bits of the NaN that arithmetic yields.
    fn nan(self) -> u64 {
        self.infinity() | 1 << (self.fraction - 1)
    }

    /// `P`: bits of a significand.
    fn precision(self) -> u32 {
        self.fraction + 1
    }
}

/// The types that both functions are written over, and integer arithmetic on words of the float's width.
struct Integers<'m> {
    m: &'m mut Module,
    format: Format,
    float: u32,
    word: u32,
}

impl Integers<'_> {
    fn lit(&mut self, value: u64) -> u32 {
        self.m.constant(self.word, &self.format.words(value))
    }
    fn op(&mut self, op: u32, a: u32, b: u32) -> u32 {
        self.m.op(op, self.word, &[a, b])
    }
    fn op_lit(&mut self, op: u32, a: u32, b: u64) -> u32 {
        let b = self.lit(b);
        self.op(op, a, b)
    }
    fn test(&mut self, op: u32, a: u32, b: u32) -> u32 {
        self.m.test(op, a, b)
    }
    fn test_lit(&mut self, op: u32, a: u32, b: u64) -> u32 {
        let b = self.lit(b);
        self.m.test(op, a, b)
    }
    fn both(&mut self, op: u32, a: u32, b: u32) -> u32 {
        let bool = self.m.bool();
        self.m.op(op, bool, &[a, b])
    }
    fn select(&mut self, condition: u32, yes: u32, no: u32) -> u32 {
        self.m.op(op::SELECT, self.word, &[condition, yes, no])
    }
    fn bits(&mut self, float: u32) -> u32 {
        self.m.op(op::BITCAST, self.word, &[float])
    }
    /// 1 where the condition holds, else 0.
    fn bit(&mut self, condition: u32) -> u32 {
        let (one, zero) = (self.lit(1), self.lit(0));
        self.select(condition, one, zero)
    }

    /// `(X, e)` of a magnitude; of zero, infinity and NaN some pair with `X > 0`, for the caller to replace.
    fn significand(&mut self, magnitude: u32) -> (u32, u32) {
        let Format { fraction, bias, .. } = self.format;
        let (hidden, mask) = (1u64 << fraction, (1u64 << fraction) - 1);
        let e = self.op_lit(op::SHIFT_RIGHT_LOGICAL, magnitude, fraction.into());
        let low = self.op_lit(op::BITWISE_AND, magnitude, mask);
        let normal = self.op_lit(op::BITWISE_OR, low, hidden);
        // A subnormal number's fraction is an integer below 2^M: converting it to a float is exact and normalises it.
        let float = self.m.op(op::CONVERT_U_TO_F, self.float, &[low]);
        let float = self.bits(float);
        let shifted = self.op_lit(op::BITWISE_AND, float, mask);
        let shifted = self.op_lit(op::BITWISE_OR, shifted, hidden);
        let exponent = self.op_lit(op::SHIFT_RIGHT_LOGICAL, float, fraction.into());
        let below = self.op_lit(op::I_SUB, exponent, bias + u64::from(fraction) - 1);
        let subnormal = self.test_lit(op::I_EQUAL, e, 0);
        (
            self.select(subnormal, shifted, normal),
            self.select(subnormal, below, e),
        )
    }

    fn is_nan(&mut self, magnitude: u32) -> u32 {
        self.test_lit(op::U_GREATER_THAN, magnitude, self.format.infinity())
    }
}

/// Adds a function `(a, b) -> a / b`, correctly rounded, and returns its id.
pub fn division(m: &mut Module, format: Format, float: u32, word: u32) -> u32 {
    let (function, parameters) = m.open(float, &[float, float]);
    let mut i = Integers {
        m,
        format,
        float,
        word,
    };
    let [a, b] = [parameters[0], parameters[1]].map(|x| i.bits(x));
    let sign = i.op(op::BITWISE_XOR, a, b);
    let sign = i.op_lit(op::BITWISE_AND, sign, format.sign());
    let [a, b] = [a, b].map(|x| i.op_lit(op::BITWISE_AND, x, format.sign() - 1));
    let (x, ea) = i.significand(a);
    let (y, eb) = i.significand(b);
    let e = i.op(op::I_SUB, ea, eb);
    let e = i.op_lit(op::I_ADD, e, format.bias);

    // Scale so that y <= x < 2y: the quotient's first bit is then 1, and x - y < y is the first remainder.
    let below = i.test(op::U_LESS_THAN, x, y);
    let doubled = i.op_lit(op::SHIFT_LEFT_LOGICAL, x, 1);
    let x = i.select(below, doubled, x);
    let lower = i.op_lit(op::I_SUB, e, 1);
    let e = i.select(below, lower, e);

    // P more bits of the quotient, and whether anything is left over.
    let mut quotient = i.lit(1);
    let mut rest = i.op(op::I_SUB, x, y);
    for &digit in format.digits {
        let dividend = i.op_lit(op::SHIFT_LEFT_LOGICAL, rest, digit.into());
        let d = i.op(op::U_DIV, dividend, y);
        let product = i.op(op::I_MUL, d, y);
        rest = i.op(op::I_SUB, dividend, product);
        quotient = i.op_lit(op::SHIFT_LEFT_LOGICAL, quotient, digit.into());
        quotient = i.op(op::BITWISE_OR, quotient, d);
    }
    let inexact = i.test_lit(op::I_NOT_EQUAL, rest, 0);
    let sticky = i.bit(inexact);
    quotient = i.op_lit(op::SHIFT_LEFT_LOGICAL, quotient, 1);
    quotient = i.op(op::BITWISE_OR, quotient, sticky);

    // Round to nearest, ties to even. A subnormal result (e < 1) loses 1 - e bits more; with P + 3 bits lost the
    // result is zero, and more would be too large a shift.
    let one = i.lit(1);
    let short = i.op(op::I_SUB, one, e);
    let subnormal = i.test_lit(op::S_LESS_THAN, e, 1);
    let zero = i.lit(0);
    let short = i.select(subnormal, short, zero);
    let shift = i.op_lit(op::I_ADD, short, 2);
    let widest = i.lit(u64::from(format.precision()) + 3);
    let too_wide = i.test(op::U_GREATER_THAN, shift, widest);
    let shift = i.select(too_wide, widest, shift);
    let kept = i.op(op::SHIFT_RIGHT_LOGICAL, quotient, shift);
    let unit = i.op(op::SHIFT_LEFT_LOGICAL, one, shift);
    let mask = i.op(op::I_SUB, unit, one);
    let lost = i.op(op::BITWISE_AND, quotient, mask);
    let half = i.op_lit(op::SHIFT_RIGHT_LOGICAL, unit, 1);
    let above = i.test(op::U_GREATER_THAN, lost, half);
    let tie = i.test(op::I_EQUAL, lost, half);
    let odd = i.op_lit(op::BITWISE_AND, kept, 1);
    let odd = i.test_lit(op::I_NOT_EQUAL, odd, 0);
    let up = i.both(op::LOGICAL_AND, tie, odd);
    let up = i.both(op::LOGICAL_OR, above, up);
    let up = i.bit(up);
    let kept = i.op(op::I_ADD, kept, up);

    // The hidden bit of a normal result adds the last 1 to its exponent; a carry out of rounding does the same.
    let exponent = i.op_lit(op::I_SUB, e, 1);
    let exponent = i.op_lit(op::SHIFT_LEFT_LOGICAL, exponent, format.fraction.into());
    let exponent = i.select(subnormal, zero, exponent);
    let finite = i.op(op::I_ADD, kept, exponent);
    let overflow = i.test_lit(op::S_GREATER_THAN_EQUAL, e, 2 * format.bias + 1);

    let infinity = i.lit(format.infinity());
    let [a_zero, b_zero] = [a, b].map(|x| i.test(op::I_EQUAL, x, zero));
    let [a_infinite, b_infinite] = [a, b].map(|x| i.test(op::I_EQUAL, x, infinity));
    let [a_nan, b_nan] = [a, b].map(|x| i.is_nan(x));
    let vanishes = i.both(op::LOGICAL_OR, a_zero, b_infinite);
    let grows = i.both(op::LOGICAL_OR, a_infinite, b_zero);
    let undefined = i.both(op::LOGICAL_AND, vanishes, grows);
    let not_a_number = i.both(op::LOGICAL_OR, a_nan, b_nan);
    let not_a_number = i.both(op::LOGICAL_OR, not_a_number, undefined);
    let result = i.select(overflow, infinity, finite);
    let result = i.select(vanishes, zero, result);
    let result = i.select(grows, infinity, result);
    let result = i.op(op::BITWISE_OR, result, sign);
    let nan = i.lit(format.nan());
    let result = i.select(not_a_number, nan, result);
    let result = m.op(op::BITCAST, float, &[result]);
    m.close(Some(result));
    function
}

/// Adds a function `a -> sqrt(a)`, correctly rounded, and returns its id.
pub fn square_root(m: &mut Module, format: Format, float: u32, word: u32) -> u32 {
    let (function, parameters) = m.open(float, &[float]);
    let mut i = Integers {
        m,
        format,
        float,
        word,
    };
    let precision = format.precision();
    let bits = i.bits(parameters[0]);
    let magnitude = i.op_lit(op::BITWISE_AND, bits, format.sign() - 1);
    let (x, e) = i.significand(magnitude);
    let e = i.op_lit(op::I_SUB, e, format.bias);

    // An even exponent can be halved: x in [2^M, 2^(M+2)) from here on, P + 1 bits.
    let odd = i.op_lit(op::BITWISE_AND, e, 1);
    let x = i.op(op::SHIFT_LEFT_LOGICAL, x, odd);
    let e = i.op(op::I_SUB, e, odd);

    // P + 1 bits of the root, each from two more bits of x 2^(P+1), which has 2P + 2: the invariant is
    // rest = (bits taken so far) - root^2, 0 <= rest <= 2 root.
    let top = u64::from(format.width - precision - 1);
    let radicand = i.op_lit(op::SHIFT_LEFT_LOGICAL, x, top);
    let zero = i.lit(0);
    let [root, rest, feed] = [zero, zero, radicand].map(|start| {
        let variable = i.m.local(word);
        i.m.plain(op::STORE, &[variable, start]);
        variable
    });
    let (from, to, step) = (i.m.word(0), i.m.word(precision + 1), i.m.word(1));
    let digits = i.m.begin_loop(from, to, step);
    let [root_was, rest_was, feed_was] = [root, rest, feed].map(|v| i.m.op(op::LOAD, word, &[v]));
    let two_bits = i.op_lit(
        op::SHIFT_RIGHT_LOGICAL,
        feed_was,
        u64::from(format.width) - 2,
    );
    let feed_is = i.op_lit(op::SHIFT_LEFT_LOGICAL, feed_was, 2);
    let wider = i.op_lit(op::SHIFT_LEFT_LOGICAL, rest_was, 2);
    let wider = i.op(op::BITWISE_OR, wider, two_bits);
    let trial = i.op_lit(op::SHIFT_LEFT_LOGICAL, root_was, 2);
    let trial = i.op_lit(op::BITWISE_OR, trial, 1);
    let fits = i.test(op::U_GREATER_THAN_EQUAL, wider, trial);
    let reduced = i.op(op::I_SUB, wider, trial);
    let rest_is = i.select(fits, reduced, wider);
    let digit = i.bit(fits);
    let root_is = i.op_lit(op::SHIFT_LEFT_LOGICAL, root_was, 1);
    let root_is = i.op(op::BITWISE_OR, root_is, digit);
    for (variable, value) in [(root, root_is), (rest, rest_is), (feed, feed_is)] {
        i.m.plain(op::STORE, &[variable, value]);
    }
    i.m.end_loop(digits);

    // The last bit rounds. It is never a tie: the square of an odd number of P + 1 bits has more bits than x. So
    // the bits that were not computed cannot matter, and the rest is not looked at.
    let root = i.m.op(op::LOAD, word, &[root]);
    let kept = i.op_lit(op::SHIFT_RIGHT_LOGICAL, root, 1);
    let up = i.op_lit(op::BITWISE_AND, root, 1);
    let kept = i.op(op::I_ADD, kept, up);
    let exponent = i.op_lit(op::SHIFT_RIGHT_ARITHMETIC, e, 1);
    let exponent = i.op_lit(op::I_ADD, exponent, format.bias - 1);
    let exponent = i.op_lit(op::SHIFT_LEFT_LOGICAL, exponent, format.fraction.into());
    let finite = i.op(op::I_ADD, kept, exponent);

    let is_zero = i.test(op::I_EQUAL, magnitude, zero);
    let is_infinite = i.test_lit(op::I_EQUAL, bits, format.infinity());
    let itself = i.both(op::LOGICAL_OR, is_zero, is_infinite);
    // Above positive infinity lie the NaNs and every number with a sign.
    let beyond = i.is_nan(bits);
    let nan = i.lit(format.nan());
    let result = i.select(beyond, nan, finite);
    let result = i.select(itself, bits, result);
    let result = m.op(op::BITCAST, float, &[result]);
    m.close(Some(result));
    function
}
