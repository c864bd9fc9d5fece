//! Reads PTX text, and refuses everything that could cost bits or that this subset does not have.

use crate::isa::*;
use std::collections::HashMap;

/// Why a text was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) line: usize,
    pub(crate) why: String,
}

type Result<T> = core::result::Result<T, Refusal>;

/// Reads every kernel of a module.
pub(crate) fn module(text: &str) -> Result<Vec<Kernel>> {
    let mut reader = Reader {
        words: words(text)?,
        at: 0,
    };
    reader.header()?;
    let mut kernels: Vec<Kernel> = Vec::new();
    while !reader.is_done() {
        let kernel = reader.kernel()?;
        if kernels.iter().any(|known| known.name == kernel.name) {
            return Err(reader.refuse(format!("kernel `{}` is defined twice", kernel.name)));
        }
        kernels.push(kernel);
    }
    Ok(kernels)
}

/// The smallest piece of text: a name, a number or one mark.
#[derive(Clone, Debug)]
struct Word {
    text: String,
    line: usize,
}

fn words(text: &str) -> Result<Vec<Word>> {
    let mut all = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split("//").next().unwrap_or_default();
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '%' | '.');
            let length = match first {
                c if is_name(c) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
                '{' | '}' | '(' | ')' | '[' | ']' | '<' | '>' | ',' | ';' | ':' | '@' | '!'
                | '+' | '-' => 1,
                other => {
                    return Err(Refusal {
                        line: number + 1,
                        why: format!("unexpected `{other}`"),
                    });
                }
            };
            all.push(Word {
                text: rest[..length].to_owned(),
                line: number + 1,
            });
            rest = rest[length..].trim_start();
        }
    }
    Ok(all)
}

struct Reader {
    words: Vec<Word>,
    at: usize,
}

/// What the text of a kernel has declared so far.
struct Scope {
    registers: Vec<Type>,
    by_name: HashMap<String, Register>,
    parameters: HashMap<String, usize>,
    shared: HashMap<String, usize>,
    shared_bytes: usize,
}

impl Reader {
    fn is_done(&self) -> bool {
        self.at == self.words.len()
    }

    fn line(&self) -> usize {
        let at = self.at.min(self.words.len().saturating_sub(1));
        self.words.get(at).map_or(0, |word| word.line)
    }

    fn refuse(&self, why: impl Into<String>) -> Refusal {
        Refusal {
            line: self.line(),
            why: why.into(),
        }
    }

    fn peek(&self) -> &str {
        self.words.get(self.at).map_or("", |word| &word.text)
    }

    fn next(&mut self) -> Result<String> {
        let word = self
            .words
            .get(self.at)
            .ok_or_else(|| self.refuse("the text ends too soon"))?;
        self.at += 1;
        Ok(word.text.clone())
    }

    fn takes(&mut self, text: &str) -> bool {
        let found = self.peek() == text;
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, text: &str) -> Result<()> {
        if self.takes(text) {
            return Ok(());
        }
        Err(self.refuse(format!("expected `{text}`, found `{}`", self.peek())))
    }

    fn whole_number(&mut self) -> Result<u64> {
        let text = self.next()?;
        integer(&text).ok_or_else(|| self.refuse(format!("`{text}` is not a whole number")))
    }

    fn header(&mut self) -> Result<()> {
        self.expect(".version")?;
        let version = self.next()?;
        if version != "6.0" {
            return Err(self.refuse(format!(
                "version {version}: only the oldest that has .sync is known, 6.0"
            )));
        }
        self.expect(".target")?;
        let target = self.next()?;
        if target != "sm_70" {
            return Err(self.refuse(format!("target {target}: this driver knows sm_70")));
        }
        self.expect(".address_size")?;
        self.expect("64")
    }

    fn kernel(&mut self) -> Result<Kernel> {
        self.expect(".visible")?;
        self.expect(".entry")?;
        let name = self.next()?;
        if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return Err(self.refuse(format!("`{name}` is no name of a kernel")));
        }
        let mut scope = Scope {
            registers: Vec::new(),
            by_name: HashMap::new(),
            parameters: HashMap::new(),
            shared: HashMap::new(),
            shared_bytes: 0,
        };
        let mut parameters = Vec::new();
        let mut parameter_bytes = 0_usize;
        self.expect("(")?;
        while !self.takes(")") {
            self.expect(".param")?;
            let kind = self.declared_type()?;
            let offset = parameter_bytes.next_multiple_of(kind.size());
            parameter_bytes = offset + kind.size();
            parameters.push(Parameter { kind, offset });
            let name = self.next()?;
            if scope.parameters.insert(name.clone(), offset).is_some() {
                return Err(self.refuse(format!("parameter `{name}` is declared twice")));
            }
            if self.peek() != ")" {
                self.expect(",")?;
            }
        }
        let mut max_threads = None;
        while self.peek() != "{" {
            if self.takes(".minnctapersm") {
                // For the compiler's choice of registers.
                self.whole_number()?;
            } else {
                self.expect(".maxntid")?;
                max_threads = Some(self.whole_number()? as u32);
            }
        }
        self.expect("{")?;
        let code = self.body(&mut scope)?;
        Ok(Kernel {
            name,
            parameters,
            parameter_bytes,
            shared_bytes: scope.shared_bytes,
            max_threads,
            registers: scope.registers,
            code,
        })
    }

    fn declared_type(&mut self) -> Result<Type> {
        let text = self.next()?;
        text.strip_prefix('.')
            .and_then(Type::named)
            .ok_or_else(|| self.refuse(format!("`{text}` is not a type")))
    }

    /// Everything up to the closing brace. Labels are known at the end only: a branch holds the number of its label
    /// until then.
    fn body(&mut self, scope: &mut Scope) -> Result<Vec<Instruction>> {
        let mut code = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut wanted: Vec<(String, usize)> = Vec::new();
        while !self.takes("}") {
            match self.peek() {
                ".reg" => self.registers(scope)?,
                ".shared" => self.shared(scope)?,
                _ if self
                    .words
                    .get(self.at + 1)
                    .is_some_and(|word| word.text == ":") =>
                {
                    let label = self.next()?;
                    self.expect(":")?;
                    if places.insert(label.clone(), code.len()).is_some() {
                        return Err(self.refuse(format!("label `{label}` is defined twice")));
                    }
                }
                _ => {
                    let line = self.line();
                    let guard = self.guard(scope)?;
                    let opcode = self.next()?;
                    let action = if matches!(opcode.as_str(), "bra" | "bra.uni") {
                        wanted.push((self.next()?, line));
                        Action::Branch {
                            to: wanted.len() - 1,
                        }
                    } else {
                        self.action(&opcode, scope)?
                    };
                    self.expect(";")?;
                    code.push(Instruction {
                        guard,
                        action,
                        line,
                    });
                }
            }
        }
        for instruction in &mut code {
            if let Action::Branch { to } = &mut instruction.action {
                let (label, line) = &wanted[*to];
                *to = *places.get(label).ok_or_else(|| Refusal {
                    line: *line,
                    why: format!("no label `{label}`"),
                })?;
            }
        }
        match code.last().map(|last| (&last.action, last.guard)) {
            Some((Action::Return | Action::Branch { .. }, None)) => Ok(code),
            _ => Err(self.refuse("control runs off the end of the kernel")),
        }
    }

    fn registers(&mut self, scope: &mut Scope) -> Result<()> {
        self.expect(".reg")?;
        let kind = self.declared_type()?;
        let name = self.next()?;
        self.expect("<")?;
        let count = self.whole_number()?;
        self.expect(">")?;
        self.expect(";")?;
        for index in 0..count {
            let register = scope.registers.len();
            if scope
                .by_name
                .insert(format!("{name}{index}"), register)
                .is_some()
            {
                return Err(self.refuse(format!("register `{name}{index}` is declared twice")));
            }
            scope.registers.push(kind);
        }
        Ok(())
    }

    fn shared(&mut self, scope: &mut Scope) -> Result<()> {
        self.expect(".shared")?;
        self.expect(".align")?;
        let align = self.whole_number()? as usize;
        let kind = self.next()?;
        if kind != ".b8" {
            return Err(self.refuse("shared variables are declared as .b8"));
        }
        let name = self.next()?;
        self.expect("[")?;
        let bytes = self.whole_number()? as usize;
        self.expect("]")?;
        self.expect(";")?;
        let place = scope.shared_bytes.next_multiple_of(align);
        scope.shared_bytes = place + bytes;
        if scope.shared.insert(name.clone(), place).is_some() {
            return Err(self.refuse(format!("shared variable `{name}` is declared twice")));
        }
        Ok(())
    }

    fn guard(&mut self, scope: &Scope) -> Result<Option<(Register, bool)>> {
        if !self.takes("@") {
            return Ok(None);
        }
        let set = !self.takes("!");
        Ok(Some((self.register(Type::Pred, scope)?, set)))
    }

    fn register(&mut self, kind: Type, scope: &Scope) -> Result<Register> {
        let name = self.next()?;
        let register = *scope
            .by_name
            .get(&name)
            .ok_or_else(|| self.refuse(format!("no register `{name}`")))?;
        let declared = scope.registers[register];
        if !kind.accepts(declared) {
            return Err(self.refuse(format!(
                "`{name}` is {declared:?}, the instruction is {kind:?}"
            )));
        }
        Ok(register)
    }

    fn source(&mut self, kind: Type, scope: &Scope) -> Result<Source> {
        let special = match self.peek() {
            "%tid.x" => Some(Source::Thread),
            "%ntid.x" => Some(Source::Threads),
            "%ctaid.x" => Some(Source::Block),
            "%nctaid.x" => Some(Source::Blocks),
            _ => None,
        };
        if let Some(source) = special {
            if kind.size() != 4 || kind.is_float() {
                return Err(self.refuse("a special register is 32 bits wide"));
            }
            self.at += 1;
            return Ok(source);
        }
        if self.peek().starts_with('%') {
            return self.register(kind, scope).map(Source::Register);
        }
        if let Some(place) = scope.shared.get(self.peek()) {
            self.at += 1;
            return Ok(Source::Constant(*place as u64));
        }
        let negative = self.takes("-");
        let text = self.next()?;
        let bits = constant(&text, kind)
            .ok_or_else(|| self.refuse(format!("`{text}` is not a constant of {kind:?}")))?;
        let bits = if negative && !kind.is_float() {
            bits.wrapping_neg()
        } else {
            bits
        };
        Ok(Source::Constant(
            bits & (u64::MAX >> (64 - 8 * kind.size())),
        ))
    }

    fn two_sources(&mut self, first: Type, second: Type, scope: &Scope) -> Result<[Source; 2]> {
        let one = self.source(first, scope)?;
        self.expect(",")?;
        Ok([one, self.source(second, scope)?])
    }

    fn address(&mut self, space: Space, scope: &Scope) -> Result<Address> {
        self.expect("[")?;
        let base = match (space, scope.parameters.get(self.peek())) {
            (Space::Param, Some(offset)) => {
                self.at += 1;
                Source::Constant(*offset as u64)
            }
            (Space::Param, None) => {
                return Err(self.refuse(format!("no parameter `{}`", self.peek())));
            }
            (Space::Shared, _) => self.source(Type::U32, scope)?,
            (Space::Global, _) => self.source(Type::U64, scope)?,
        };
        let sign = if self.takes("+") {
            1
        } else if self.takes("-") {
            -1
        } else {
            0
        };
        let offset = if sign == 0 {
            0
        } else {
            sign * self.whole_number()? as i64
        };
        self.expect("]")?;
        Ok(Address { base, offset })
    }

    /// One item, or several in braces where the instruction has a vector width.
    fn vector<T>(
        &mut self,
        width: usize,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        if width == 1 {
            return Ok(vec![item(self)?]);
        }
        self.expect("{")?;
        let mut all = vec![item(self)?];
        while self.takes(",") {
            all.push(item(self)?);
        }
        self.expect("}")?;
        if all.len() != width {
            return Err(self.refuse(format!("{} items in a vector of {width}", all.len())));
        }
        Ok(all)
    }

    fn action(&mut self, opcode: &str, scope: &Scope) -> Result<Action> {
        let parts: Vec<&str> = opcode.split('.').collect();
        if parts
            .iter()
            .any(|part| matches!(*part, "ftz" | "sat" | "approx" | "full"))
        {
            return Err(self.refuse(format!("`{opcode}` changes bits")));
        }
        match parts.as_slice() {
            ["ret"] => Ok(Action::Return),
            ["bar", "sync"] => {
                self.expect("0")?;
                Ok(Action::Barrier)
            }
            ["membar", "gl"] | ["fence", "acq_rel", "gpu"] => Ok(Action::Fence),
            ["ld", rest @ ..] => self.load(opcode, rest, scope),
            ["st", rest @ ..] => self.store(opcode, rest, scope),
            ["atom", "global", "inc", "u32"] => {
                let to = self.register(Type::U32, scope)?;
                self.expect(",")?;
                let at = self.address(Space::Global, scope)?;
                self.expect(",")?;
                Ok(Action::AtomicIncrement {
                    to,
                    at,
                    limit: self.source(Type::U32, scope)?,
                })
            }
            ["shfl", "sync", mode, "b32"] => self.shuffle(mode, scope),
            ["cvta", "to", "global", "u64"] => self.unary(Unary::Move, Type::U64, scope),
            ["cvt", "u64", "u32"] => self.convert(Type::U64, Type::U32, scope),
            ["cvt", "u32", "u64"] => self.convert(Type::U32, Type::U64, scope),
            ["setp", comparison, kind] => self.compare(opcode, comparison, kind, scope),
            ["selp", kind] => {
                let kind = self.kind(kind)?;
                let to = self.register(kind, scope)?;
                self.expect(",")?;
                let from = self.two_sources(kind, kind, scope)?;
                self.expect(",")?;
                Ok(Action::Select {
                    to,
                    from,
                    by: self.register(Type::Pred, scope)?,
                })
            }
            ["cvt", "f32", "f16"] => self.unary_of(Unary::Widen, Type::F32, Type::B16, scope),
            ["cvt", "rn", "f16", "f32"] => {
                self.unary_of(Unary::Narrow, Type::B16, Type::F32, scope)
            }
            ["mov", "b32"] => self.move_parts(Type::B32, Type::B16, scope),
            ["mov", "b64"] => self.move_parts(Type::B64, Type::B32, scope),
            ["mov", kind] => {
                let kind = self.kind(kind)?;
                self.unary(Unary::Move, kind, scope)
            }
            ["not", "pred"] => self.unary(Unary::Not, Type::Pred, scope),
            _ => self.arithmetic(opcode, &parts, scope),
        }
    }

    fn kind(&self, name: &str) -> Result<Type> {
        Type::named(name).ok_or_else(|| self.refuse(format!("`.{name}` is not a type")))
    }

    fn unary(&mut self, what: Unary, kind: Type, scope: &Scope) -> Result<Action> {
        self.unary_of(what, kind, kind, scope)
    }

    fn unary_of(&mut self, what: Unary, kind: Type, of: Type, scope: &Scope) -> Result<Action> {
        let to = self.register(kind, scope)?;
        self.expect(",")?;
        Ok(Action::Unary {
            what,
            kind,
            to,
            from: self.source(of, scope)?,
        })
    }

    fn convert(&mut self, to: Type, from: Type, scope: &Scope) -> Result<Action> {
        let register = self.register(to, scope)?;
        self.expect(",")?;
        let source = self.source(from, scope)?;
        Ok(Action::Convert {
            to: register,
            from: source,
            narrow: to == Type::U32,
        })
    }

    fn compare(
        &mut self,
        opcode: &str,
        comparison: &str,
        kind: &str,
        scope: &Scope,
    ) -> Result<Action> {
        let kind = self.kind(kind)?;
        let what = match comparison {
            "eq" => Comparison::Equal,
            // For floats `ne` is false for NaN, `neu` true: only the second is what != means.
            "ne" if !kind.is_float() => Comparison::NotEqual,
            "neu" if kind.is_float() => Comparison::NotEqual,
            "lt" => Comparison::Less,
            "le" => Comparison::LessOrEqual,
            "gt" => Comparison::Greater,
            "ge" => Comparison::GreaterOrEqual,
            _ => return Err(self.refuse(format!("unknown instruction `{opcode}`"))),
        };
        let to = self.register(Type::Pred, scope)?;
        self.expect(",")?;
        Ok(Action::Compare {
            what,
            kind,
            to,
            from: self.two_sources(kind, kind, scope)?,
        })
    }

    /// `mov` of bits, which may take them apart or put them together.
    fn move_parts(&mut self, whole: Type, part: Type, scope: &Scope) -> Result<Action> {
        let bits = 8 * part.size() as u32;
        if self.peek() == "{" {
            let to = self.vector(2, |reader| reader.register(part, scope))?;
            self.expect(",")?;
            let from = self.source(whole, scope)?;
            let to = [to[0], to[1]];
            return Ok(Action::Split { to, from, bits });
        }
        let to = self.register(whole, scope)?;
        self.expect(",")?;
        if self.peek() == "{" {
            let from = self.vector(2, |reader| reader.source(part, scope))?;
            let from = [from[0], from[1]];
            return Ok(Action::Join { to, from, bits });
        }
        let from = self.source(whole, scope)?;
        Ok(Action::Unary {
            what: Unary::Move,
            kind: whole,
            to,
            from,
        })
    }

    fn shuffle(&mut self, mode: &str, scope: &Scope) -> Result<Action> {
        let mode = match mode {
            "down" => Shuffle::Down,
            "bfly" => Shuffle::Butterfly,
            "idx" => Shuffle::Index,
            _ => return Err(self.refuse(format!("unknown shuffle `{mode}`"))),
        };
        let to = self.register(Type::B32, scope)?;
        self.expect(",")?;
        let [from, by] = self.two_sources(Type::B32, Type::B32, scope)?;
        self.expect(",")?;
        let clamp = self.whole_number()? as u32;
        self.expect(",")?;
        let mask = self.whole_number()? as u32;
        Ok(Action::Shuffle {
            mode,
            to,
            from,
            by,
            clamp,
            mask,
        })
    }

    /// The words between `ld.` and the type: `.relaxed.gpu`, the space, a vector width.
    fn access(&mut self, opcode: &str, parts: &[&str]) -> Result<(Space, usize, Type)> {
        let (parts, relaxed) = match parts {
            ["relaxed", "gpu", rest @ ..] => (rest, true),
            rest => (rest, false),
        };
        let unknown = || self.refuse(format!("unknown instruction `{opcode}`"));
        let [space, middle @ .., kind] = parts else {
            return Err(unknown());
        };
        let space = match *space {
            "param" => Space::Param,
            "global" => Space::Global,
            "shared" => Space::Shared,
            _ => return Err(unknown()),
        };
        let width = match middle {
            [] => 1,
            ["v2"] => 2,
            ["v4"] => 4,
            _ => return Err(unknown()),
        };
        let kind = self.kind(kind)?;
        let only_global = relaxed || kind == Type::B16;
        if kind == Type::Pred || width * kind.size() > 16 || (only_global && space != Space::Global)
        {
            return Err(unknown());
        }
        Ok((space, width, kind))
    }

    fn load(&mut self, opcode: &str, parts: &[&str], scope: &Scope) -> Result<Action> {
        let (space, width, kind) = self.access(opcode, parts)?;
        let to = self.vector(width, |reader| reader.register(kind, scope))?;
        self.expect(",")?;
        Ok(Action::Load {
            space,
            kind,
            to,
            at: self.address(space, scope)?,
        })
    }

    fn store(&mut self, opcode: &str, parts: &[&str], scope: &Scope) -> Result<Action> {
        let (space, width, kind) = self.access(opcode, parts)?;
        if space == Space::Param {
            return Err(self.refuse("parameters are not written"));
        }
        let at = self.address(space, scope)?;
        self.expect(",")?;
        let from = self.vector(width, |reader| reader.source(kind, scope))?;
        Ok(Action::Store {
            space,
            kind,
            from,
            at,
        })
    }

    fn arithmetic(&mut self, opcode: &str, parts: &[&str], scope: &Scope) -> Result<Action> {
        let unknown = || self.refuse(format!("unknown instruction `{opcode}`"));
        let (Some(name), Some(kind)) = (parts.first(), parts.last()) else {
            return Err(unknown());
        };
        let kind = self.kind(kind)?;
        let modifiers = parts.get(1..parts.len() - 1).unwrap_or_default();
        if kind.is_float() {
            let rounds = matches!(*name, "add" | "sub" | "mul" | "div" | "sqrt");
            match (rounds, modifiers) {
                (true, ["rn"]) | (false, []) => {}
                (true, _) => {
                    let why =
                        format!("`{opcode}` without .rn may be contracted or rounded otherwise");
                    return Err(self.refuse(why));
                }
                (false, _) => return Err(unknown()),
            }
            let unary = match *name {
                "neg" => Some(Unary::Negate),
                "abs" => Some(Unary::Absolute),
                "sqrt" => Some(Unary::SquareRoot),
                _ => None,
            };
            if let Some(what) = unary {
                return self.unary(what, kind, scope);
            }
        }
        let (what, result) = match (*name, modifiers) {
            ("add", _) if kind.is_float() => (Binary::Add, kind),
            ("sub", _) if kind.is_float() => (Binary::Subtract, kind),
            ("mul", _) if kind.is_float() => (Binary::Multiply, kind),
            ("div", _) if kind.is_float() => (Binary::Divide, kind),
            ("max", []) if kind.is_float() => (Binary::Maximum, kind),
            ("add", []) if kind.is_integer() => (Binary::Add, kind),
            ("sub", []) if kind.is_integer() => (Binary::Subtract, kind),
            ("mul", ["lo"]) if kind.is_integer() => (Binary::Multiply, kind),
            ("mul", ["wide"]) if kind == Type::U32 => (Binary::MultiplyWide, Type::U64),
            ("min", []) if kind.is_integer() => (Binary::Minimum, kind),
            ("and", []) if kind.is_bits() || kind == Type::Pred => (Binary::And, kind),
            ("or", []) if kind.is_bits() || kind == Type::Pred => (Binary::Or, kind),
            ("xor", []) if kind.is_bits() || kind == Type::Pred => (Binary::Xor, kind),
            ("shl", []) if kind.is_bits() => (Binary::ShiftLeft, kind),
            ("shr", []) if matches!(kind, Type::U32 | Type::U64) => (Binary::ShiftRight, kind),
            _ => return Err(unknown()),
        };
        let to = self.register(result, scope)?;
        self.expect(",")?;
        let is_shift = matches!(what, Binary::ShiftLeft | Binary::ShiftRight);
        let second = if is_shift { Type::U32 } else { kind };
        Ok(Action::Binary {
            what,
            kind,
            to,
            from: self.two_sources(kind, second, scope)?,
        })
    }
}

fn integer(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The bits of a constant. Floats are given as bits (`0f3F800000`), so that no reader of decimals comes between.
fn constant(text: &str, kind: Type) -> Option<u64> {
    match kind {
        Type::F32 => {
            let digits = text.strip_prefix("0f").filter(|digits| digits.len() == 8)?;
            u32::from_str_radix(digits, 16).ok().map(u64::from)
        }
        Type::F64 => {
            let digits = text
                .strip_prefix("0d")
                .filter(|digits| digits.len() == 16)?;
            u64::from_str_radix(digits, 16).ok()
        }
        Type::Pred => None,
        _ => integer(text),
    }
}
