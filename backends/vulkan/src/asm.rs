//! A SPIR-V assembler: words of one compute module, in the order that the specification asks for.
//!
//! It knows what every kernel of this crate shares (one entry point, GLSL memory model, unsigned words, one
//! float type) and nothing of optimizers. Types and constants are declared once, when first asked for.

use std::collections::HashMap;

/// Numbers of the SPIR-V grammar that this crate uses, in the order of the specification.
#[allow(missing_docs)]
pub mod op {
    pub const EXT_INST_IMPORT: u32 = 11;
    pub const EXT_INST: u32 = 12;
    pub const MEMORY_MODEL: u32 = 14;
    pub const ENTRY_POINT: u32 = 15;
    pub const EXECUTION_MODE: u32 = 16;
    pub const CAPABILITY: u32 = 17;
    pub const TYPE_VOID: u32 = 19;
    pub const TYPE_BOOL: u32 = 20;
    pub const TYPE_INT: u32 = 21;
    pub const TYPE_FLOAT: u32 = 22;
    pub const TYPE_VECTOR: u32 = 23;
    pub const TYPE_ARRAY: u32 = 28;
    pub const TYPE_RUNTIME_ARRAY: u32 = 29;
    pub const TYPE_STRUCT: u32 = 30;
    pub const TYPE_POINTER: u32 = 32;
    pub const TYPE_FUNCTION: u32 = 33;
    pub const CONSTANT: u32 = 43;
    pub const FUNCTION: u32 = 54;
    pub const FUNCTION_PARAMETER: u32 = 55;
    pub const FUNCTION_END: u32 = 56;
    pub const FUNCTION_CALL: u32 = 57;
    pub const VARIABLE: u32 = 59;
    pub const LOAD: u32 = 61;
    pub const STORE: u32 = 62;
    pub const ACCESS_CHAIN: u32 = 65;
    pub const DECORATE: u32 = 71;
    pub const MEMBER_DECORATE: u32 = 72;
    pub const COMPOSITE_EXTRACT: u32 = 81;
    pub const CONVERT_U_TO_F: u32 = 112;
    pub const BITCAST: u32 = 124;
    pub const I_ADD: u32 = 128;
    pub const F_ADD: u32 = 129;
    pub const I_SUB: u32 = 130;
    pub const F_SUB: u32 = 131;
    pub const I_MUL: u32 = 132;
    pub const F_MUL: u32 = 133;
    pub const U_DIV: u32 = 134;
    pub const F_DIV: u32 = 136;
    pub const LOGICAL_OR: u32 = 166;
    pub const LOGICAL_AND: u32 = 167;
    pub const SELECT: u32 = 169;
    pub const I_EQUAL: u32 = 170;
    pub const I_NOT_EQUAL: u32 = 171;
    pub const U_GREATER_THAN: u32 = 172;
    pub const U_GREATER_THAN_EQUAL: u32 = 174;
    pub const S_GREATER_THAN_EQUAL: u32 = 175;
    pub const U_LESS_THAN: u32 = 176;
    pub const S_LESS_THAN: u32 = 177;
    pub const U_LESS_THAN_EQUAL: u32 = 178;
    pub const F_ORD_LESS_THAN: u32 = 184;
    pub const SHIFT_RIGHT_LOGICAL: u32 = 194;
    pub const SHIFT_RIGHT_ARITHMETIC: u32 = 195;
    pub const SHIFT_LEFT_LOGICAL: u32 = 196;
    pub const BITWISE_OR: u32 = 197;
    pub const BITWISE_XOR: u32 = 198;
    pub const BITWISE_AND: u32 = 199;
    pub const CONTROL_BARRIER: u32 = 224;
    pub const PHI: u32 = 245;
    pub const LOOP_MERGE: u32 = 246;
    pub const SELECTION_MERGE: u32 = 247;
    pub const LABEL: u32 = 248;
    pub const BRANCH: u32 = 249;
    pub const BRANCH_CONDITIONAL: u32 = 250;
    pub const RETURN: u32 = 253;
    pub const RETURN_VALUE: u32 = 254;
}

/// Where a variable lives.
#[allow(missing_docs)]
pub mod class {
    pub const INPUT: u32 = 1;
    pub const WORKGROUP: u32 = 4;
    pub const FUNCTION: u32 = 7;
    pub const PUSH_CONSTANT: u32 = 9;
    pub const STORAGE_BUFFER: u32 = 12;
}

/// What a decoration says.
#[allow(missing_docs)]
pub mod decoration {
    pub const BLOCK: u32 = 2;
    pub const ARRAY_STRIDE: u32 = 6;
    pub const BUILT_IN: u32 = 11;
    pub const NON_WRITABLE: u32 = 24;
    pub const BINDING: u32 = 33;
    pub const DESCRIPTOR_SET: u32 = 34;
    pub const OFFSET: u32 = 35;
    pub const NO_CONTRACTION: u32 = 42;
}

/// Capabilities that a module may ask of the device.
#[allow(missing_docs)]
pub mod capability {
    pub const SHADER: u32 = 1;
    pub const FLOAT64: u32 = 10;
    pub const INT64: u32 = 11;
    pub const DENORM_PRESERVE: u32 = 4464;
    pub const SIGNED_ZERO_INF_NAN_PRESERVE: u32 = 4466;
    pub const ROUNDING_MODE_RTE: u32 = 4467;
}

/// Execution modes of the entry point.
#[allow(missing_docs)]
pub mod mode {
    pub const LOCAL_SIZE: u32 = 17;
    pub const DENORM_PRESERVE: u32 = 4459;
    pub const SIGNED_ZERO_INF_NAN_PRESERVE: u32 = 4461;
    pub const ROUNDING_MODE_RTE: u32 = 4462;
}

/// Instructions of the set `GLSL.std.450`.
pub mod glsl {
    /// Square root, to the accuracy of an inverse square root and a division.
    pub const SQRT: u32 = 31;
}

const MAGIC: u32 = 0x0723_0203;
/// SPIR-V 1.5, which Vulkan 1.2 takes: the float controls are part of it.
const VERSION: u32 = 0x0001_0500;
const LOGICAL_ADDRESSING: u32 = 0;
const GLSL450_MEMORY_MODEL: u32 = 1;
const GL_COMPUTE: u32 = 5;

/// A module under construction. Ids are plain words, as they are in SPIR-V.
#[derive(Default)]
pub struct Module {
    last: u32,
    head: Vec<u32>,
    modes: Vec<u32>,
    decorations: Vec<u32>,
    globals: Vec<u32>,
    functions: Vec<u32>,
    opening: Vec<u32>,
    locals: Vec<u32>,
    code: Vec<u32>,
    interface: Vec<u32>,
    declared: HashMap<Vec<u32>, u32>,
    main: u32,
    glsl: u32,
    block: u32,
}

/// An open `if`.
pub struct If {
    /// The block that branches.
    before: u32,
    end: u32,
}

/// An open loop.
pub struct Loop {
    /// The counter's value in this round.
    pub index: u32,
    counter: u32,
    step: u32,
    head: u32,
    next: u32,
    out: u32,
}

fn put(to: &mut Vec<u32>, op: u32, words: &[u32]) {
    to.push(((words.len() as u32 + 1) << 16) | op);
    to.extend_from_slice(words);
}

/// A string as SPIR-V keeps it: bytes from the lowest of a word up, ended by a zero byte.
fn text(words: &mut Vec<u32>, s: &str) {
    let mut bytes = s.as_bytes().to_vec();
    bytes.resize((bytes.len() / 4 + 1) * 4, 0);
    words.extend(
        bytes
            .chunks_exact(4)
            .map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])),
    );
}

impl Module {
    /// An empty module with the capability of shaders.
    pub fn new() -> Self {
        let mut module = Self::default();
        module.main = module.id();
        module.glsl = module.id();
        module.capability(capability::SHADER);
        module
    }

    /// A fresh id.
    pub fn id(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    /// Asks a capability of the device.
    pub fn capability(&mut self, capability: u32) {
        put(&mut self.head, op::CAPABILITY, &[capability]);
    }

    /// Sets an execution mode of the entry point.
    pub fn mode(&mut self, mode: u32, words: &[u32]) {
        put(
            &mut self.modes,
            op::EXECUTION_MODE,
            &[&[self.main, mode], words].concat(),
        );
    }

    /// Decorates an id.
    pub fn decorate(&mut self, id: u32, words: &[u32]) {
        put(
            &mut self.decorations,
            op::DECORATE,
            &[&[id], words].concat(),
        );
    }

    /// Decorates a member of a struct.
    pub fn decorate_member(&mut self, id: u32, member: u32, words: &[u32]) {
        put(
            &mut self.decorations,
            op::MEMBER_DECORATE,
            &[&[id, member], words].concat(),
        );
    }

    /// A type, declared once.
    pub fn ty(&mut self, op: u32, words: &[u32]) -> u32 {
        let key = [&[op], words].concat();
        if let Some(&id) = self.declared.get(&key) {
            return id;
        }
        let id = self.id();
        put(&mut self.globals, op, &[&[id], words].concat());
        self.declared.insert(key, id);
        id
    }

    /// The type of a pointer to `ty` in a storage class.
    pub fn pointer(&mut self, class: u32, ty: u32) -> u32 {
        self.ty(op::TYPE_POINTER, &[class, ty])
    }

    /// The type of truth values.
    pub fn bool(&mut self) -> u32 {
        self.ty(op::TYPE_BOOL, &[])
    }

    /// The type of 32-bit words.
    pub fn u32(&mut self) -> u32 {
        self.ty(op::TYPE_INT, &[32, 0])
    }

    /// A constant of a type, declared once.
    pub fn constant(&mut self, ty: u32, words: &[u32]) -> u32 {
        let key = [&[op::CONSTANT, ty], words].concat();
        if let Some(&id) = self.declared.get(&key) {
            return id;
        }
        let id = self.id();
        put(
            &mut self.globals,
            op::CONSTANT,
            &[&[ty, id], words].concat(),
        );
        self.declared.insert(key, id);
        id
    }

    /// A 32-bit word as a constant.
    pub fn word(&mut self, value: u32) -> u32 {
        let ty = self.u32();
        self.constant(ty, &[value])
    }

    /// A struct `Block` around one member of unbounded length, as storage buffers are declared.
    pub fn buffer_type(&mut self, element: u32, stride: u32) -> u32 {
        let key = vec![op::TYPE_STRUCT, op::TYPE_RUNTIME_ARRAY, element];
        if let Some(&id) = self.declared.get(&key) {
            return id;
        }
        let array = self.ty(op::TYPE_RUNTIME_ARRAY, &[element]);
        let block = self.ty(op::TYPE_STRUCT, &[array]);
        self.decorate(array, &[decoration::ARRAY_STRIDE, stride]);
        self.decorate(block, &[decoration::BLOCK]);
        self.decorate_member(block, 0, &[decoration::OFFSET, 0]);
        self.declared.insert(key, block);
        block
    }

    /// A variable of the module. From SPIR-V 1.4 on the entry point lists every one of them.
    pub fn global(&mut self, class: u32, ty: u32) -> u32 {
        let (pointer, id) = (self.pointer(class, ty), self.id());
        put(&mut self.globals, op::VARIABLE, &[pointer, id, class]);
        self.interface.push(id);
        id
    }

    /// A variable of the function being written.
    pub fn local(&mut self, ty: u32) -> u32 {
        let (pointer, id) = (self.pointer(class::FUNCTION, ty), self.id());
        put(
            &mut self.locals,
            op::VARIABLE,
            &[pointer, id, class::FUNCTION],
        );
        id
    }

    /// Opens a function and returns its id and parameters.
    pub fn open(&mut self, result: u32, parameters: &[u32]) -> (u32, Vec<u32>) {
        let id = self.id();
        let parameters = self.open_as(id, result, parameters);
        (id, parameters)
    }

    /// Opens the entry point.
    pub fn open_main(&mut self) {
        let void = self.ty(op::TYPE_VOID, &[]);
        self.open_as(self.main, void, &[]);
    }

    fn open_as(&mut self, id: u32, result: u32, parameters: &[u32]) -> Vec<u32> {
        let ty = self.ty(op::TYPE_FUNCTION, &[&[result], parameters].concat());
        put(&mut self.opening, op::FUNCTION, &[result, id, 0, ty]);
        let ids = parameters
            .iter()
            .map(|&ty| {
                let id = self.id();
                put(&mut self.opening, op::FUNCTION_PARAMETER, &[ty, id]);
                id
            })
            .collect();
        let first = self.id();
        put(&mut self.opening, op::LABEL, &[first]);
        self.block = first;
        ids
    }

    /// Closes the function being written, which returns `value` or nothing.
    pub fn close(&mut self, value: Option<u32>) {
        match value {
            Some(value) => self.plain(op::RETURN_VALUE, &[value]),
            None => self.plain(op::RETURN, &[]),
        }
        self.plain(op::FUNCTION_END, &[]);
        // Variables come first in the first block of a function.
        for part in [&mut self.opening, &mut self.locals, &mut self.code] {
            self.functions.append(part);
        }
    }

    /// An instruction with a result.
    pub fn op(&mut self, op: u32, ty: u32, words: &[u32]) -> u32 {
        let id = self.id();
        put(&mut self.code, op, &[&[ty, id], words].concat());
        id
    }

    /// A float instruction that no compiler may fuse with another, reassociate or fold.
    pub fn float(&mut self, op: u32, ty: u32, words: &[u32]) -> u32 {
        let id = self.op(op, ty, words);
        self.decorate(id, &[decoration::NO_CONTRACTION]);
        id
    }

    /// An instruction of `GLSL.std.450`, which no compiler may fuse with another.
    pub fn glsl(&mut self, instruction: u32, ty: u32, words: &[u32]) -> u32 {
        let set = self.glsl;
        self.float(op::EXT_INST, ty, &[&[set, instruction], words].concat())
    }

    /// An instruction without a result.
    pub fn plain(&mut self, op: u32, words: &[u32]) {
        put(&mut self.code, op, words);
    }

    /// A comparison.
    pub fn test(&mut self, op: u32, a: u32, b: u32) -> u32 {
        let ty = self.bool();
        self.op(op, ty, &[a, b])
    }

    /// What a pointer into a variable holds.
    pub fn load(&mut self, class: u32, ty: u32, variable: u32, path: &[u32]) -> u32 {
        let pointer = self.at(class, ty, variable, path);
        self.op(op::LOAD, ty, &[pointer])
    }

    /// Puts `value` where a pointer into a variable points.
    pub fn store(&mut self, class: u32, ty: u32, variable: u32, path: &[u32], value: u32) {
        let pointer = self.at(class, ty, variable, path);
        self.plain(op::STORE, &[pointer, value]);
    }

    fn at(&mut self, class: u32, ty: u32, variable: u32, path: &[u32]) -> u32 {
        if path.is_empty() {
            return variable;
        }
        let pointer = self.pointer(class, ty);
        self.op(op::ACCESS_CHAIN, pointer, &[&[variable], path].concat())
    }

    fn label(&mut self, id: u32) {
        self.plain(op::LABEL, &[id]);
        self.block = id;
    }

    /// Opens `if condition {`.
    pub fn begin_if(&mut self, condition: u32) -> If {
        let (before, yes, end) = (self.block, self.id(), self.id());
        self.plain(op::SELECTION_MERGE, &[end, 0]);
        self.plain(op::BRANCH_CONDITIONAL, &[condition, yes, end]);
        self.label(yes);
        If { before, end }
    }

    /// Closes it.
    pub fn end_if(&mut self, opened: If) {
        self.plain(op::BRANCH, &[opened.end]);
        self.label(opened.end);
    }

    /// Closes it and brings these values of type `ty` out, in whose place stands `otherwise` where the condition
    /// did not hold.
    pub fn end_if_with(&mut self, opened: If, ty: u32, values: &[u32], otherwise: u32) -> Vec<u32> {
        let (inside, before) = (self.block, opened.before);
        self.end_if(opened);
        let join = |&value: &u32| self.op(op::PHI, ty, &[value, inside, otherwise, before]);
        values.iter().map(join).collect()
    }

    /// Opens `for (index = start; index < end; index += step) {` over 32-bit words.
    pub fn begin_loop(&mut self, start: u32, end: u32, step: u32) -> Loop {
        let u32 = self.u32();
        let counter = self.local(u32);
        self.plain(op::STORE, &[counter, start]);
        let [head, test, inside, next, out] = [(); 5].map(|()| self.id());
        self.plain(op::BRANCH, &[head]);
        self.label(head);
        self.plain(op::LOOP_MERGE, &[out, next, 0]);
        self.plain(op::BRANCH, &[test]);
        self.label(test);
        let index = self.op(op::LOAD, u32, &[counter]);
        let more = self.test(op::U_LESS_THAN, index, end);
        self.plain(op::BRANCH_CONDITIONAL, &[more, inside, out]);
        self.label(inside);
        Loop {
            index,
            counter,
            step,
            head,
            next,
            out,
        }
    }

    /// Closes it.
    pub fn end_loop(&mut self, opened: Loop) {
        let Loop {
            index,
            counter,
            step,
            head,
            next,
            out,
        } = opened;
        self.plain(op::BRANCH, &[next]);
        self.label(next);
        let u32 = self.u32();
        let index = self.op(op::I_ADD, u32, &[index, step]);
        self.plain(op::STORE, &[counter, index]);
        self.plain(op::BRANCH, &[head]);
        self.label(out);
    }

    /// The words of the finished module.
    pub fn words(mut self) -> Vec<u32> {
        let mut words = vec![MAGIC, VERSION, 0, self.last + 1, 0];
        words.append(&mut self.head);
        let mut import = vec![self.glsl];
        text(&mut import, "GLSL.std.450");
        put(&mut words, op::EXT_INST_IMPORT, &import);
        put(
            &mut words,
            op::MEMORY_MODEL,
            &[LOGICAL_ADDRESSING, GLSL450_MEMORY_MODEL],
        );
        let mut entry = vec![GL_COMPUTE, self.main];
        text(&mut entry, "main");
        entry.append(&mut self.interface);
        put(&mut words, op::ENTRY_POINT, &entry);
        for part in [
            &self.modes,
            &self.decorations,
            &self.globals,
            &self.functions,
        ] {
            words.extend_from_slice(part);
        }
        words
    }
}
