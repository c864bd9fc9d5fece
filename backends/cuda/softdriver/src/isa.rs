//! The subset of PTX that is understood: what an instruction is once its text has been read.

/// The type in an instruction or of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Pred,
    B16,
    B32,
    B64,
    U32,
    U64,
    S32,
    S64,
    F32,
    F64,
}

impl Type {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "pred" => Self::Pred,
            "b16" => Self::B16,
            "b32" => Self::B32,
            "b64" => Self::B64,
            "u32" => Self::U32,
            "u64" => Self::U64,
            "s32" => Self::S32,
            "s64" => Self::S64,
            "f32" => Self::F32,
            "f64" => Self::F64,
            _ => return None,
        })
    }

    /// In bytes.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Pred => 1,
            Self::B16 => 2,
            Self::B32 | Self::U32 | Self::S32 | Self::F32 => 4,
            Self::B64 | Self::U64 | Self::S64 | Self::F64 => 8,
        }
    }

    pub(crate) fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    pub(crate) fn is_integer(self) -> bool {
        matches!(self, Self::U32 | Self::U64 | Self::S32 | Self::S64)
    }

    pub(crate) fn is_bits(self) -> bool {
        matches!(self, Self::B16 | Self::B32 | Self::B64)
    }

    /// Whether an instruction of this type may name a register of `other`: one size, and bits go with everything,
    /// integers with integers, floats with floats.
    pub(crate) fn accepts(self, other: Self) -> bool {
        self.size() == other.size()
            && (self == Self::Pred) == (other == Self::Pred)
            && (self.is_bits() || other.is_bits() || self.is_float() == other.is_float())
    }
}

/// A register, by its place in the register file.
pub(crate) type Register = usize;

/// What a thread may read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Register(Register),
    /// The bits of a constant, or the place of a shared variable.
    Constant(u64),
    Thread,
    Threads,
    Block,
    Blocks,
}

/// Where a memory operand points: a register or a constant, and bytes to add.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) base: Source,
    pub(crate) offset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Param,
    Global,
    Shared,
}

/// One value for one, of any type that has the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unary {
    Move,
    Negate,
    Absolute,
    SquareRoot,
    Not,
    /// `cvt.f32.f16`
    Widen,
    /// `cvt.rn.f16.f32`
    Narrow,
}

/// One value for two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Subtract,
    /// Of floats the product, of integers its low half.
    Multiply,
    /// Of two 32-bit integers all 64 bits.
    MultiplyWide,
    Divide,
    Maximum,
    Minimum,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shuffle {
    Down,
    Butterfly,
    Index,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Unary {
        what: Unary,
        kind: Type,
        to: Register,
        from: Source,
    },
    Binary {
        what: Binary,
        kind: Type,
        to: Register,
        from: [Source; 2],
    },
    Compare {
        what: Comparison,
        kind: Type,
        to: Register,
        from: [Source; 2],
    },
    Select {
        to: Register,
        from: [Source; 2],
        by: Register,
    },
    /// Between the widths of unsigned integers.
    Convert {
        to: Register,
        from: Source,
        narrow: bool,
    },
    /// `mov.b64 {low, high}, wide`, or of 32 bits
    Split {
        to: [Register; 2],
        from: Source,
        /// Of each half.
        bits: u32,
    },
    /// `mov.b64 wide, {low, high}`, or of 32 bits
    Join {
        to: Register,
        from: [Source; 2],
        /// Of each half.
        bits: u32,
    },
    Load {
        space: Space,
        kind: Type,
        to: Vec<Register>,
        at: Address,
    },
    Store {
        space: Space,
        kind: Type,
        from: Vec<Source>,
        at: Address,
    },
    /// `d = *a; *a = d >= b ? 0 : d + 1`
    AtomicIncrement {
        to: Register,
        at: Address,
        limit: Source,
    },
    Shuffle {
        mode: Shuffle,
        to: Register,
        from: Source,
        by: Source,
        clamp: u32,
        mask: u32,
    },
    Barrier,
    Fence,
    Branch {
        to: usize,
    },
    Return,
}

#[derive(Clone, Debug)]
pub(crate) struct Instruction {
    /// Runs only in threads where the predicate is (`true`) or is not (`false`) set.
    pub(crate) guard: Option<(Register, bool)>,
    pub(crate) action: Action,
    /// In the text, from 1.
    pub(crate) line: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub(crate) kind: Type,
    pub(crate) offset: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    pub(crate) name: String,
    pub(crate) parameters: Vec<Parameter>,
    /// Of all parameters, in bytes.
    pub(crate) parameter_bytes: usize,
    pub(crate) shared_bytes: usize,
    /// The most threads a block may have, where the text says so.
    pub(crate) max_threads: Option<u32>,
    pub(crate) registers: Vec<Type>,
    pub(crate) code: Vec<Instruction>,
}
