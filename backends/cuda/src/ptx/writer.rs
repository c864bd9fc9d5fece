//! Lines of PTX with fresh registers.

use adarem::Dtype;
use core::fmt::{self, Write};

/// A virtual register; the compiler gives out the real ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Register {
    Predicate(u32),
    /// 16 bits.
    Half(u32),
    /// 32 bits.
    Word(u32),
    /// 64 bits.
    Long(u32),
    /// The program's number type.
    Real(u32),
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Predicate(index) => write!(f, "%p{index}"),
            Self::Half(index) => write!(f, "%h{index}"),
            Self::Word(index) => write!(f, "%r{index}"),
            Self::Long(index) => write!(f, "%d{index}"),
            Self::Real(index) => write!(f, "%f{index}"),
        }
    }
}

/// A place to jump to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label(u32);

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{}", self.0)
    }
}

/// The body of one kernel, while it is written.
pub(super) struct Writer {
    pub(super) dtype: Dtype,
    body: String,
    predicates: u32,
    halves: u32,
    words: u32,
    longs: u32,
    reals: u32,
    labels: u32,
}

impl Writer {
    pub(super) fn new(dtype: Dtype) -> Self {
        let body = String::new();
        Self {
            dtype,
            body,
            predicates: 0,
            halves: 0,
            words: 0,
            longs: 0,
            reals: 0,
            labels: 0,
        }
    }

    /// The number type as PTX writes it.
    pub(super) fn real_type(&self) -> &'static str {
        match self.dtype {
            Dtype::F64 => "f64",
            _ => "f32",
        }
    }

    /// Bytes of a number.
    pub(super) fn size(&self) -> usize {
        self.dtype.bytes()
    }

    /// Numbers in 16 bytes.
    pub(super) fn vector(&self) -> usize {
        16 / self.size()
    }

    pub(super) fn line(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.body, "    {text}");
    }

    pub(super) fn note(&mut self, text: &str) {
        let _ = writeln!(self.body, "    // {text}");
    }

    pub(super) fn predicate(&mut self) -> Register {
        self.predicates += 1;
        Register::Predicate(self.predicates - 1)
    }

    pub(super) fn half(&mut self) -> Register {
        self.halves += 1;
        Register::Half(self.halves - 1)
    }

    pub(super) fn word(&mut self) -> Register {
        self.words += 1;
        Register::Word(self.words - 1)
    }

    pub(super) fn long(&mut self) -> Register {
        self.longs += 1;
        Register::Long(self.longs - 1)
    }

    pub(super) fn real(&mut self) -> Register {
        self.reals += 1;
        Register::Real(self.reals - 1)
    }

    pub(super) fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels - 1)
    }

    pub(super) fn place(&mut self, label: Label) {
        let _ = writeln!(self.body, "{label}:");
    }

    pub(super) fn parameter_word(&mut self, name: &str) -> Register {
        let to = self.word();
        self.line(format_args!("ld.param.u32 {to}, [{name}];"));
        to
    }

    /// A parameter that is an address of global memory.
    pub(super) fn parameter_address(&mut self, name: &str) -> Register {
        let (generic, global) = (self.long(), self.long());
        self.line(format_args!("ld.param.u64 {generic}, [{name}];"));
        self.line(format_args!("cvta.to.global.u64 {global}, {generic};"));
        global
    }

    /// `base + index * bytes`, for a 32-bit index.
    pub(super) fn at(&mut self, base: Register, index: Register, bytes: usize) -> Register {
        let (offset, address) = (self.long(), self.long());
        self.line(format_args!("mul.wide.u32 {offset}, {index}, {bytes};"));
        self.line(format_args!("add.u64 {address}, {base}, {offset};"));
        address
    }

    /// `base + index * bytes`, for a 64-bit index.
    pub(super) fn at_long(&mut self, base: Register, index: Register, bytes: usize) -> Register {
        let (offset, address) = (self.long(), self.long());
        self.line(format_args!("mul.lo.u64 {offset}, {index}, {bytes};"));
        self.line(format_args!("add.u64 {address}, {base}, {offset};"));
        address
    }

    /// An instruction over words: `name result, a, b`.
    pub(super) fn word_of(&mut self, name: &str, a: Register, b: impl fmt::Display) -> Register {
        let to = self.word();
        self.line(format_args!("{name} {to}, {a}, {b};"));
        to
    }

    /// A comparison of two words or longs, `kind` such as `lt.u32`.
    pub(super) fn test(&mut self, kind: &str, a: Register, b: impl fmt::Display) -> Register {
        let to = self.predicate();
        self.line(format_args!("setp.{kind} {to}, {a}, {b};"));
        to
    }

    /// An instruction over numbers, `name` without the type.
    pub(super) fn real_of(&mut self, name: &str, arguments: &[Register]) -> Register {
        let to = self.real();
        let kind = self.real_type();
        let mut list = String::new();
        for argument in arguments {
            let _ = write!(list, ", {argument}");
        }
        self.line(format_args!("{name}.{kind} {to}{list};"));
        to
    }

    pub(super) fn constant(&mut self, x: f64) -> Register {
        let to = self.real();
        self.set(to, x);
        to
    }

    /// Sets a register to a constant, rounded once to the number type. Bits, so that no decimals are read.
    pub(super) fn set(&mut self, to: Register, x: f64) {
        match self.dtype {
            Dtype::F64 => self.line(format_args!("mov.f64 {to}, 0d{:016X};", x.to_bits())),
            _ => self.line(format_args!(
                "mov.f32 {to}, 0f{:08X};",
                (x as f32).to_bits()
            )),
        }
    }

    /// Loads a number from global memory.
    pub(super) fn load(&mut self, address: Register, offset: usize) -> Register {
        let to = self.real();
        let kind = self.real_type();
        self.line(format_args!("ld.global.{kind} {to}, [{address}+{offset}];"));
        to
    }

    /// Loads a number that another block of this launch may have written: from where all blocks see the same.
    pub(super) fn load_shared_by_blocks(&mut self, address: Register, offset: usize) -> Register {
        let to = self.real();
        let kind = self.real_type();
        self.line(format_args!(
            "ld.relaxed.gpu.global.{kind} {to}, [{address}+{offset}];"
        ));
        to
    }

    pub(super) fn store(&mut self, address: Register, offset: usize, from: Register) {
        let kind = self.real_type();
        self.line(format_args!(
            "st.global.{kind} [{address}+{offset}], {from};"
        ));
    }

    /// The kernel, with the declarations that its body turned out to need.
    pub(super) fn finish(self, name: &str, parameters: &[(String, &str)], shared: usize) -> String {
        let Self {
            body,
            predicates,
            halves,
            words,
            longs,
            reals,
            ..
        } = &self;
        let real = self.real_type();
        let (threads, resident) = (super::THREADS, super::RESIDENT_BLOCKS);
        let list: Vec<String> = parameters
            .iter()
            .map(|(name, kind)| format!("    .param .{kind} {name}"))
            .collect();
        let mut text = format!(
            "\n.visible .entry {name}(\n{}\n)\n.maxntid {threads}\n.minnctapersm {resident}\n{{\n",
            list.join(",\n")
        );
        for (kind, letter, count) in [
            ("pred", 'p', predicates),
            ("b16", 'h', halves),
            ("b32", 'r', words),
            ("b64", 'd', longs),
            (real, 'f', reals),
        ] {
            if *count > 0 {
                let _ = writeln!(text, "    .reg .{kind} %{letter}<{count}>;");
            }
        }
        if shared > 0 {
            let _ = writeln!(text, "    .shared .align 16 .b8 pool[{shared}];");
        }
        text + body + "    ret;\n}\n"
    }
}
