//! A plan as SPIR-V: pure, no device needed.
//!
//! [`kernels`] turns a [`Plan`] into the compute kernels of one step, in the order in which they run, with a
//! barrier between each two. A step of AdaRem is two of them:
//!
//! | stage | workgroups | does |
//! |---|---|---|
//! | [`Chunks`](Stage::Chunks) | one a chunk of 4096 lanes | rewrites the lanes, folds them to one partial a chunk |
//! | [`Tensors`](Stage::Tensors) | one a tensor | folds the partials; scalars, carried scalars |
//! | [`Group`](Stage::Group) | one | folds the tensors' results: only for folds over the group |
//! | [`Scalars`](Stage::Scalars) | one for 128 tensors | scalars, where `Tensors` could not know them yet |
//!
//! # The bits
//!
//! - Every float result is decorated `NoContraction`; the float controls are declared exactly where the device
//!   has them. Signs, magnitudes, NaN tests and maxima are integer operations on the bits.
//! - A workgroup has 128 invocations, the portable minimum, and each owns 4 of the 512 accumulators of the
//!   [written tree](adarem::fold). Lane `i` of a chunk belongs to accumulator `i % 512` and so to invocation
//!   `i % 128`: neighbours read neighbours. The first two halvings happen within an invocation, the other seven
//!   in shared memory.
//! - Where a pass touches numbers of 16 bits, be it [packed](adarem::backend::packing) state, gradients or parameters in
//!   [mixed precision](Target::mixed), two neighbouring lanes share a word, and so an invocation: invocation `j` owns the
//!   accumulators `2 j`, `2 j + 1` and those 256 further on, and the second halving happens in shared memory too. The tree
//!   is the same. Numbers of 16 bits are widened, rounded and narrowed on their bits.
//! - Division and square root of scalars are computed by integers, correctly rounded. For those of lanes,
//!   [`Division`] chooses.
//!
//! # What a kernel sees
//!
//! Set 0 is one piece of one tensor: theta, its gradient, the slots, the partials of its chunks; in mixed precision the
//! parameters, too. Set 1 is the step: the scalars (uniforms, a zero, results of group folds, a record for each tensor),
//! the carried scalars, a table of each tensor's partials, all partials. Four words are pushed: lanes or tensors to work
//! on, the first element of theta and of the gradient within their bindings, the tensor; with packed state a fifth, its
//! first word within its binding; in mixed precision always six, the last the first word of the parameters within theirs.
//! There the gradient's place, too, counts words.

mod pairs;

use crate::{
    Vulkan,
    asm::{If, Loop, Module, capability, class, decoration, glsl, mode, op},
    context::Floats,
    exact::{self, BINARY32, BINARY64, Format},
};
use adarem::{
    CHUNK, Dtype, FoldOp, Half, Plan, Scope, WIDTH,
    backend::packing,
    plan::{Id, Op, OpSet},
};
use std::collections::HashMap;

/// Invocations of a workgroup: every Vulkan device allows this many.
pub(crate) const INVOCATIONS: u32 = 128;
/// Accumulators that an invocation owns.
const OWNED: usize = WIDTH / INVOCATIONS as usize;
/// Words that are pushed.
pub(crate) const PUSHED: usize = 6;

/// How lanes divide and take square roots. Scalars are always exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Division {
    /// By integers, correctly rounded: the host's bits.
    #[default]
    Exact,
    /// By the device's own instructions, within 2.5 ULP (division) and about 4.5 ULP (square root) for `f32`,
    /// and by Vulkan's word not even that for `f64`. Faster for rules that divide in every lane, such as Adam.
    Native,
}

/// What the kernels are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The type of the tensors.
    pub dtype: Dtype,
    /// The float controls that the device has for it.
    pub floats: Floats,
    /// How lanes divide.
    pub division: Division,
    /// The type of the gradients, and of the parameters that become what theta becomes, where a step is in mixed
    /// precision. Only beside `f32`.
    pub mixed: Option<Half>,
}

/// Which part of a step a kernel is, and so over what it is dispatched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// One workgroup a chunk, one dispatch a piece of a tensor, no barriers between: the lanes of this pass.
    Chunks {
        /// The pass.
        pass: usize,
    },
    /// One workgroup a tensor: folds the partials of its chunks.
    Tensors,
    /// One workgroup: folds the tensors' results.
    Group,
    /// One invocation a tensor: evaluates scalars.
    Scalars,
}

/// One kernel of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// What it is dispatched over.
    pub stage: Stage,
    /// The module: SPIR-V 1.5, entry point `main`.
    pub words: Vec<u32>,
}

/// The kernels of one step of `plan`, in order; between each two stands a barrier.
///
/// ```
/// use adarem::{AdaRem, AdaRemS, Dtype, trace::trace};
/// use adarem_vulkan::{Division, Floats, spirv::{Stage, Target, kernels}};
///
/// let (floats, division) = (Floats::default(), Division::Exact);
/// let target = Target { dtype: Dtype::F32, floats, division, mixed: None };
/// let adarem = kernels(&trace(&AdaRem::default(), 0)?.plan, target);
/// let stages: Vec<_> = adarem.iter().map(|kernel| kernel.stage).collect();
/// assert_eq!(stages, [Stage::Chunks { pass: 0 }, Stage::Tensors]);
/// assert_eq!(adarem[0].words[0], 0x0723_0203);
/// # Ok::<(), adarem::plan::Misfit>(())
/// ```
#[must_use]
pub fn kernels(plan: &Plan, target: Target) -> Vec<Kernel> {
    let places = Places::of(plan);
    let mut kernels = Vec::new();
    let mut emit = |stage, ops: &OpSet, body: &dyn Fn(&mut Emitter<'_>)| {
        let mut emitter = Emitter::new(plan, &places, target, ops);
        emitter.m.open_main();
        body(&mut emitter);
        emitter.m.close(None);
        kernels.push(Kernel {
            stage,
            words: emitter.m.words(),
        });
    };
    for (pass, folds) in plan
        .passes()
        .iter()
        .map(adarem::plan::Pass::folds)
        .enumerate()
    {
        emit(Stage::Chunks { pass }, &plan.lane_ops(pass), &|e| {
            e.chunks(pass)
        });
        let none = OpSet::default();
        let scalars = plan.scalar_ops(pass);
        let over_group = folds.iter().any(|(fold, _)| fold.scope == Scope::Group);
        let something = !plan.newly_handed(pass).is_empty() || plan.carries(pass).next().is_some();
        if over_group {
            emit(Stage::Tensors, &none, &|e| e.tensors(pass, false));
            emit(Stage::Group, &none, &|e| e.group(pass));
        } else if !folds.is_empty() {
            emit(Stage::Tensors, &scalars, &|e| e.tensors(pass, true));
        }
        if something && (over_group || folds.is_empty()) {
            emit(Stage::Scalars, &scalars, &|e| e.scalars(pass));
        }
    }
    kernels
}

/// Where the numbers of a step lie in the buffer of scalars: the uniforms, a zero, the results of folds over the
/// group, then a record for each tensor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Places {
    uniforms: usize,
    group: Vec<(u8, u8)>,
    record: Vec<Recorded>,
    partials: usize,
}

/// What a tensor's record holds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Recorded {
    /// The tensor's own result of fold `.1` of pass `.0`, where the scalars that need it come later.
    Fold(u8, u8),
    /// A scalar that later passes read.
    Scalar(Id),
}

impl Places {
    pub fn of(plan: &Plan) -> Self {
        let (mut group, mut record) = (Vec::new(), Vec::new());
        for (p, pass) in (0u8..).zip(plan.passes()) {
            let over_group = pass
                .folds()
                .iter()
                .any(|(fold, _)| fold.scope == Scope::Group);
            for (k, (fold, _)) in (0u8..).zip(pass.folds()) {
                if fold.scope == Scope::Group {
                    group.push((p, k));
                }
                if over_group {
                    record.push(Recorded::Fold(p, k));
                }
            }
            record.extend(plan.newly_handed(p.into()).iter().map(Recorded::Scalar));
        }
        let partials = plan
            .passes()
            .iter()
            .map(|pass| pass.folds().len())
            .max()
            .unwrap_or(0);
        Self {
            uniforms: plan.uniforms(),
            group,
            record,
            partials,
        }
    }

    /// Numbers that a step of so many tensors keeps.
    pub fn scalars(&self, tensors: usize) -> usize {
        self.records() + tensors * self.record.len()
    }

    /// Where the host writes a zero behind the uniforms: see [`Emitter::constant`].
    fn zero(&self) -> u32 {
        self.uniforms as u32
    }

    /// Numbers that each chunk leaves to be folded.
    pub fn partials(&self) -> usize {
        self.partials
    }

    fn records(&self) -> usize {
        self.uniforms + 1 + self.group.len()
    }

    fn group(&self, pass: u8, k: u8) -> Option<u32> {
        let at = self.group.iter().position(|&place| place == (pass, k))?;
        Some((self.uniforms + 1 + at) as u32)
    }

    fn record(&self, what: Recorded) -> Option<u32> {
        Some(self.record.iter().position(|&place| place == what)? as u32)
    }
}

/// A buffer that a kernel may see, by set and binding.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Binding(u32, u32);

const THETA: Binding = Binding(0, 0);
const GRAD: Binding = Binding(0, 1);
const SCALARS: Binding = Binding(1, 0);
const CARRIED: Binding = Binding(1, 1);
const TABLE: Binding = Binding(1, 2);
const PARTIALS: Binding = Binding(1, 3);

/// State vector `k` of a piece.
fn slot(k: usize) -> Binding {
    Binding(0, 2 + k as u32)
}

/// The binding of set 0 at which the partials of a piece's chunks stand, behind `slots` state vectors.
pub(crate) fn piece_partials(slots: usize) -> u32 {
    2 + slots as u32
}

/// The binding behind it, of the parameters of a piece in mixed precision.
pub(crate) fn piece_params(slots: usize) -> u32 {
    piece_partials(slots) + 1
}

/// What is pushed, by place.
#[derive(Clone, Copy, PartialEq)]
enum Pushed {
    /// Lanes of the piece, or tensors of the step.
    Count,
    /// The first element of theta within its binding.
    Theta,
    /// The first element of the gradient within its binding; in mixed precision its first word.
    Grad,
    /// The tensor, or the first of the dispatch.
    Tensor,
    /// The first word of packed state within its binding.
    State,
    /// The first word of the parameters within their binding.
    Params,
}

/// How the state vectors of a plan are packed.
fn packed(plan: &Plan, dtype: Dtype) -> Option<Half> {
    match dtype {
        Dtype::F64 => packing::<Vulkan<f64>>(plan.half()),
        _ => packing::<Vulkan<f32>>(plan.half()),
    }
}

/// A value of each op, in each of the lanes that an invocation works on side by side; 0 where there is none yet.
struct Values<const N: usize>(Vec<[u32; N]>);

impl<const N: usize> Values<N> {
    fn of(plan: &Plan) -> Self {
        Self(vec![[0; N]; plan.ops().len()])
    }
    fn get(&self, id: Id) -> [u32; N] {
        self.0[usize::from(id)]
    }
    fn set(&mut self, id: Id, values: [u32; N]) {
        self.0[usize::from(id)] = values;
    }
    fn has(&self, id: Id) -> bool {
        self.get(id)[0] != 0
    }
}

/// One kernel under construction.
struct Emitter<'p> {
    plan: &'p Plan,
    places: &'p Places,
    lanes: OpSet,
    native: bool,
    /// How state lies in memory.
    packed: Option<Half>,
    /// How the gradient and the parameters do, in mixed precision.
    mixed: Option<Half>,
    m: Module,
    format: Format,
    real: u32,
    /// The unsigned integer as wide as `real`.
    word: u32,
    divide: u32,
    root: u32,
    pushed: u32,
    buffers: HashMap<Binding, u32>,
    built_ins: Vec<(u32, u32)>,
    /// Bindings that this kernel writes: all others are declared to be only read.
    written: Vec<Binding>,
}

impl<'p> Emitter<'p> {
    fn new(plan: &'p Plan, places: &'p Places, target: Target, ops: &OpSet) -> Self {
        let mut m = Module::new();
        let format = match target.dtype {
            Dtype::F64 => BINARY64,
            _ => BINARY32,
        };
        if format.width == 64 {
            m.capability(capability::FLOAT64);
            m.capability(capability::INT64);
        }
        let Floats {
            denorm_preserve,
            signed_zero_inf_nan_preserve,
            rounding_rte,
        } = target.floats;
        for (has, capability, mode) in [
            (
                denorm_preserve,
                capability::DENORM_PRESERVE,
                mode::DENORM_PRESERVE,
            ),
            (
                signed_zero_inf_nan_preserve,
                capability::SIGNED_ZERO_INF_NAN_PRESERVE,
                mode::SIGNED_ZERO_INF_NAN_PRESERVE,
            ),
            (
                rounding_rte,
                capability::ROUNDING_MODE_RTE,
                mode::ROUNDING_MODE_RTE,
            ),
        ] {
            if has {
                m.capability(capability);
                m.mode(mode, &[format.width]);
            }
        }
        m.mode(mode::LOCAL_SIZE, &[INVOCATIONS, 1, 1]);
        let real = m.ty(op::TYPE_FLOAT, &[format.width]);
        let word = m.ty(op::TYPE_INT, &[format.width, 0]);
        let u32 = m.u32();
        let packed = packed(plan, target.dtype);
        let mixed = target.mixed.filter(|_| format.width == 32);
        let members = match (mixed, packed) {
            (Some(_), _) => PUSHED,
            (None, Some(_)) => Pushed::Params as usize,
            (None, None) => Pushed::State as usize,
        };
        let pushed = m.ty(op::TYPE_STRUCT, &[u32; PUSHED][..members]);
        m.decorate(pushed, &[decoration::BLOCK]);
        for member in 0..members as u32 {
            m.decorate_member(pushed, member, &[decoration::OFFSET, 4 * member]);
        }
        let pushed = m.global(class::PUSH_CONSTANT, pushed);

        let (lanes, native) = (plan.lanes(), target.division == Division::Native);
        let exactly = |id| !(native && lanes.contains(id));
        let some = |wanted: fn(Op) -> bool| ops.iter().any(|id| wanted(plan.op(id)) && exactly(id));
        let (divides, roots) = (
            some(|op| matches!(op, Op::Div(..))),
            some(|op| matches!(op, Op::Sqrt(_))),
        );
        let divide = if divides {
            exact::division(&mut m, format, real, word)
        } else {
            0
        };
        let root = if roots {
            exact::square_root(&mut m, format, real, word)
        } else {
            0
        };
        Self {
            plan,
            places,
            lanes,
            native,
            packed,
            mixed,
            m,
            format,
            real,
            word,
            divide,
            root,
            pushed,
            buffers: HashMap::new(),
            built_ins: Vec::new(),
            written: Vec::new(),
        }
    }

    /// The lanes of a pass: one workgroup a chunk.
    fn chunks(&mut self, pass: usize) {
        let plan = self.plan;
        let Some(what) = plan.passes().get(pass) else {
            return;
        };
        let ops = plan.lane_ops(pass);
        let [count, theta_first, grad_first, tensor] =
            [Pushed::Count, Pushed::Theta, Pushed::Grad, Pushed::Tensor].map(|p| self.pushed(p));
        let zero = self.m.word(0);
        // State and the gradient are walked lane by lane, as theta is, or in pairs.
        let in_full = self.packed.map_or(plan.slots(), |_| 0);
        let pairs = self.vectors(what, &ops);
        let of = |binding, first| move |id| (binding, first, id);
        let outputs = (what.theta().into_iter().map(of(THETA, theta_first)))
            .chain((0..in_full).filter_map(|k| what.slot(k).map(of(slot(k), zero))))
            .collect::<Vec<_>>();
        let partials = Binding(0, piece_partials(plan.slots()));
        self.written = outputs
            .iter()
            .map(|&(binding, ..)| binding)
            .chain(pairs.iter().filter_map(pairs::Vector::written))
            .chain([partials])
            .collect();
        let loads = ops
            .iter()
            .filter_map(|id| match plan.op(id) {
                Op::Theta(_) => Some((THETA, theta_first, id)),
                Op::Grad(_) if self.mixed.is_none() => Some((GRAD, grad_first, id)),
                Op::Slot(_, k) if usize::from(k) < in_full => Some((slot(k.into()), zero, id)),
                _ => None,
            })
            .collect::<Vec<_>>();

        let mut values = Values::of(plan);
        for id in plan.lane_inputs(pass).iter() {
            let value = self.recorded(id, tensor);
            values.set(id, [value; OWNED]);
        }
        self.evaluate_scalars(&ops, tensor, &mut values);
        let group = self.workgroup();
        let chunk = self.m.word(CHUNK as u32);
        let from = self.index(op::I_MUL, group, chunk);
        let to = self.index(op::I_ADD, from, chunk);
        let folds = what
            .folds()
            .iter()
            .map(|(fold, _)| fold.op)
            .collect::<Vec<_>>();

        // Loads first, then arithmetic, then stores: so many loads are under way at once.
        let beside = if pairs.is_empty() { 1 } else { pairs::LANES };
        let tree = self.begin_tree(&folds, from, to, count, beside);
        let loaded = tree
            .lanes
            .map(|(at, inside)| self.load_lane(&loads, at, inside));
        for (k, &(.., id)) in loads.iter().enumerate() {
            values.set(id, core::array::from_fn(|j| loaded[j][k]));
        }
        let words = (!pairs.is_empty()).then(|| self.load_pairs(&pairs, &tree, count, &mut values));
        for id in ops.iter() {
            if self.lanes.contains(id) && !values.has(id) {
                let value = core::array::from_fn(|j| self.evaluate(id, |a| values.get(a)[j]));
                values.set(id, value);
            }
        }
        for (j, (at, inside)) in tree.lanes.into_iter().enumerate() {
            let lane = self.m.begin_if(inside);
            for &(binding, first, id) in &outputs {
                let at = self.index(op::I_ADD, first, at);
                self.store(binding, at, values.get(id)[j]);
            }
            self.m.end_if(lane);
        }
        if let Some(words) = words {
            self.store_pairs(&words, &values);
        }
        let folded = what
            .folds()
            .iter()
            .map(|&(_, id)| values.get(id))
            .collect::<Vec<_>>();
        let results = self.end_tree(tree, &folded);

        if !folds.is_empty() {
            let first = self.begin_first_invocation();
            let row = self.scaled(group, self.places.partials);
            for (k, &result) in (0..).zip(&results) {
                let value = self.m.load(class::WORKGROUP, self.real, result, &[zero]);
                let at = self.offset(row, k);
                self.store(partials, at, value);
            }
            self.m.end_if(first);
        }
    }

    /// The numbers of one lane, or zeros where there is no such lane.
    fn load_lane(&mut self, loads: &[(Binding, u32, Id)], at: u32, inside: u32) -> Vec<u32> {
        let otherwise = self.literal(0.0);
        let lane = self.m.begin_if(inside);
        let values = loads
            .iter()
            .map(|&(binding, first, _)| {
                let at = self.index(op::I_ADD, first, at);
                self.load(binding, at)
            })
            .collect::<Vec<_>>();
        self.m.end_if_with(lane, self.real, &values, otherwise)
    }

    /// The partials of each tensor: one workgroup a tensor. With `last`, the scalars too.
    fn tensors(&mut self, pass: usize, last: bool) {
        let plan = self.plan;
        let Some(what) = plan.passes().get(pass) else {
            return;
        };
        self.written = vec![SCALARS, CARRIED];
        let group = self.workgroup();
        let first = self.pushed(Pushed::Tensor);
        let tensor = self.index(op::I_ADD, first, group);
        // The table holds each tensor's first row of partials and its number of chunks.
        let entry = self.scaled(tensor, 2);
        let row = self.load_word(TABLE, entry);
        let entry = self.offset(entry, 1);
        let chunks = self.load_word(TABLE, entry);

        let folds = what
            .folds()
            .iter()
            .map(|(fold, _)| fold.op)
            .collect::<Vec<_>>();
        let zero = self.m.word(0);
        let tree = self.begin_tree(&folds, zero, chunks, chunks, 1);
        let numbers = tree.lanes.map(|(at, inside)| {
            let otherwise = self.literal(0.0);
            let there = self.m.begin_if(inside);
            let at = self.index(op::I_ADD, row, at);
            let at = self.scaled(at, self.places.partials);
            let values = (0..folds.len())
                .map(|k| {
                    let at = self.offset(at, k as u32);
                    self.load(PARTIALS, at)
                })
                .collect::<Vec<_>>();
            self.m.end_if_with(there, self.real, &values, otherwise)
        });
        let folded = (0..folds.len())
            .map(|k| core::array::from_fn(|j| numbers[j][k]))
            .collect::<Vec<_>>();
        let results = self.end_tree(tree, &folded);

        let only = self.begin_first_invocation();
        let results = results
            .iter()
            .map(|&result| self.m.load(class::WORKGROUP, self.real, result, &[zero]))
            .collect::<Vec<_>>();
        if last {
            self.finish_tensor(pass, tensor, &results);
        } else {
            for (k, &value) in (0..).zip(&results) {
                self.record(Recorded::Fold(pass as u8, k), tensor, value);
            }
        }
        self.m.end_if(only);
    }

    /// The tensors' results of the folds over the group: one workgroup.
    fn group(&mut self, pass: usize) {
        let plan = self.plan;
        let Some(what) = plan.passes().get(pass) else {
            return;
        };
        self.written = vec![SCALARS];
        let over_group = (0u8..)
            .zip(what.folds())
            .filter(|(_, (fold, _))| fold.scope == Scope::Group)
            .map(|(k, (fold, _))| (k, fold.op))
            .collect::<Vec<_>>();
        let folds = over_group.iter().map(|&(_, op)| op).collect::<Vec<_>>();
        let count = self.pushed(Pushed::Count);
        let zero = self.m.word(0);
        let tree = self.begin_tree(&folds, zero, count, count, 1);
        let numbers = tree.lanes.map(|(at, inside)| {
            let otherwise = self.literal(0.0);
            let there = self.m.begin_if(inside);
            let values = over_group
                .iter()
                .filter_map(|&(k, _)| self.place(Recorded::Fold(pass as u8, k), at))
                .collect::<Vec<_>>();
            let values = values
                .iter()
                .map(|&at| self.load(SCALARS, at))
                .collect::<Vec<_>>();
            self.m.end_if_with(there, self.real, &values, otherwise)
        });
        let folded = (0..folds.len())
            .map(|k| core::array::from_fn(|j| numbers[j][k]))
            .collect::<Vec<_>>();
        let results = self.end_tree(tree, &folded);
        let only = self.begin_first_invocation();
        for (&(k, _), &result) in over_group.iter().zip(&results) {
            let value = self.m.load(class::WORKGROUP, self.real, result, &[zero]);
            if let Some(at) = self.places.group(pass as u8, k) {
                let at = self.m.word(at);
                self.store(SCALARS, at, value);
            }
        }
        self.m.end_if(only);
    }

    /// The scalars of each tensor after a pass: one invocation a tensor.
    fn scalars(&mut self, pass: usize) {
        self.written = vec![SCALARS, CARRIED];
        let (group, invocation) = (self.workgroup(), self.invocation());
        let at = self.scaled(group, INVOCATIONS as usize);
        let at = self.index(op::I_ADD, at, invocation);
        let (first, count) = (self.pushed(Pushed::Tensor), self.pushed(Pushed::Count));
        let tensor = self.index(op::I_ADD, first, at);
        let inside = self.m.test(op::U_LESS_THAN, tensor, count);
        let there = self.m.begin_if(inside);
        self.finish_tensor(pass, tensor, &[]);
        self.m.end_if(there);
    }

    /// Evaluates the scalars of one tensor after a pass, whose folds are known or lie in memory; keeps those that
    /// later passes read and writes the carried ones.
    fn finish_tensor(&mut self, pass: usize, tensor: u32, folded: &[u32]) {
        let plan = self.plan;
        let (ops, new) = (plan.scalar_ops(pass), plan.newly_handed(pass));
        let mut values = Values::<1>::of(plan);
        for id in ops.iter() {
            if let Op::Folded(p, k) = plan.op(id)
                && usize::from(p) == pass
                && let Some(&value) = folded.get(usize::from(k))
            {
                values.set(id, [value]);
            }
        }
        // What the ops and the carried scalars read and no op here computes was handed on by an earlier pass.
        let read = ops
            .iter()
            .flat_map(|id| plan.op(id).args())
            .chain(plan.carries(pass).map(|(_, id)| id));
        for id in read.filter(|&id| !ops.contains(id)) {
            if !values.has(id) {
                let value = self.recorded(id, tensor);
                values.set(id, [value]);
            }
        }
        self.evaluate_scalars(&ops, tensor, &mut values);
        for id in new.iter() {
            let [mut value] = values.get(id);
            if matches!(plan.op(id), Op::Lt(..)) {
                let (one, zero) = (self.literal(1.0), self.literal(0.0));
                value = self.m.op(op::SELECT, self.real, &[value, one, zero]);
            }
            self.record(Recorded::Scalar(id), tensor, value);
        }
        let base = self.scaled(tensor, plan.carried());
        for (k, id) in plan.carries(pass) {
            let at = self.offset(base, k as u32);
            self.store(CARRIED, at, values.get(id)[0]);
        }
    }

    /// Evaluates the scalars among `ops` that have no value yet.
    fn evaluate_scalars<const N: usize>(
        &mut self,
        ops: &OpSet,
        tensor: u32,
        values: &mut Values<N>,
    ) {
        for id in ops.iter() {
            if !self.lanes.contains(id) && !values.has(id) {
                let value = self.evaluate_scalar(id, tensor, |a| values.get(a)[0]);
                values.set(id, [value; N]);
            }
        }
    }

    fn evaluate_scalar(&mut self, id: Id, tensor: u32, value: impl Fn(Id) -> u32) -> u32 {
        match self.plan.op(id) {
            Op::Uniform(k) => {
                let at = self.m.word(k.into());
                self.load(SCALARS, at)
            }
            Op::Carried(k) => {
                let at = self.scaled(tensor, self.plan.carried());
                let at = self.offset(at, k.into());
                self.load(CARRIED, at)
            }
            Op::Folded(pass, k) => {
                let at = match self.places.group(pass, k) {
                    Some(at) => Some(self.m.word(at)),
                    None => self.place(Recorded::Fold(pass, k), tensor),
                };
                self.load(
                    SCALARS,
                    at.expect("a fold read from memory has a place there"),
                )
            }
            Op::Lit(literal) => self.constant(literal.value()),
            _ => self.evaluate(id, value),
        }
    }

    /// The meaning of an op, given its operands.
    fn evaluate(&mut self, id: Id, x: impl Fn(Id) -> u32) -> u32 {
        let (real, native) = (self.real, self.native && self.lanes.contains(id));
        match self.plan.op(id) {
            Op::Add(a, b) => self.m.float(op::F_ADD, real, &[x(a), x(b)]),
            Op::Sub(a, b) => self.m.float(op::F_SUB, real, &[x(a), x(b)]),
            Op::Mul(a, b) => self.m.float(op::F_MUL, real, &[x(a), x(b)]),
            Op::Div(a, b) if native => self.m.float(op::F_DIV, real, &[x(a), x(b)]),
            Op::Div(a, b) => self
                .m
                .op(op::FUNCTION_CALL, real, &[self.divide, x(a), x(b)]),
            Op::Sqrt(a) if native => self.m.glsl(glsl::SQRT, real, &[x(a)]),
            Op::Sqrt(a) => self.m.op(op::FUNCTION_CALL, real, &[self.root, x(a)]),
            Op::Max(a, b) => {
                let below = self.m.test(op::F_ORD_LESS_THAN, x(a), x(b));
                let magnitude = self.masked(op::BITWISE_AND, x(a), self.format.sign() - 1);
                let infinity = self.bits_literal(self.format.infinity());
                let nan = self.m.test(op::U_GREATER_THAN, magnitude, infinity);
                let bool = self.m.bool();
                let loses = self.m.op(op::LOGICAL_OR, bool, &[below, nan]);
                self.m.op(op::SELECT, real, &[loses, x(b), x(a)])
            }
            Op::Lt(a, b) => self.m.test(op::F_ORD_LESS_THAN, x(a), x(b)),
            Op::Neg(a) => {
                let bits = self.masked(op::BITWISE_XOR, x(a), self.format.sign());
                self.m.op(op::BITCAST, real, &[bits])
            }
            Op::Abs(a) => {
                let bits = self.masked(op::BITWISE_AND, x(a), self.format.sign() - 1);
                self.m.op(op::BITCAST, real, &[bits])
            }
            Op::XorSign(a, b) => {
                let sign = self.masked(op::BITWISE_AND, x(b), self.format.sign());
                let bits = self.bits(x(a));
                let bits = self.m.op(op::BITWISE_XOR, self.word, &[bits, sign]);
                self.m.op(op::BITCAST, real, &[bits])
            }
            Op::Select(mask, a, b) => self.m.op(op::SELECT, real, &[x(mask), x(a), x(b)]),
            leaf => unreachable!("{leaf} is read, not evaluated"),
        }
    }

    /// A constant of the plan. Zeros are read from memory, where no compiler sees them: x + 0 is not x where x is
    /// -0, nor x * 0 always 0, but Mesa's llvmpipe takes them for that in spite of `NoContraction`.
    fn constant(&mut self, x: f64) -> u32 {
        let rounded = if self.format.width == 32 {
            f64::from(x as f32)
        } else {
            x
        };
        if rounded != 0.0 {
            return self.literal(x);
        }
        let at = self.m.word(self.places.zero());
        let zero = self.load(SCALARS, at);
        if rounded.is_sign_positive() {
            return zero;
        }
        let bits = self.masked(op::BITWISE_XOR, zero, self.format.sign());
        self.m.op(op::BITCAST, self.real, &[bits])
    }

    /// Opens the loop of the written tree over the numbers `from..to` of which those below `limit` are there. Of an
    /// invocation's accumulators so many lie beside each other.
    fn begin_tree(
        &mut self,
        folds: &[FoldOp],
        from: u32,
        to: u32,
        limit: u32,
        beside: usize,
    ) -> Tree {
        let zero = self.literal(0.0);
        let accumulators = folds
            .iter()
            .map(|&fold| {
                (
                    fold,
                    core::array::from_fn(|_| {
                        let accumulator = self.m.local(self.real);
                        self.m.plain(op::STORE, &[accumulator, zero]);
                        accumulator
                    }),
                )
            })
            .collect();
        let invocation = self.invocation();
        let own = match beside {
            1 => invocation,
            several => self.scaled(invocation, several),
        };
        let width = self.m.word(WIDTH as u32);
        let rounds = self.m.begin_loop(from, to, width);
        let first = self.index(op::I_ADD, rounds.index, own);
        let lanes = core::array::from_fn(|j| {
            let further = INVOCATIONS as usize * (j - j % beside) + j % beside;
            let at = self.offset(first, further as u32);
            (at, self.m.test(op::U_LESS_THAN, at, limit))
        });
        Tree {
            accumulators,
            rounds,
            lanes,
            invocation,
            own,
            beside,
        }
    }

    /// Closes it: adds each fold's numbers to its accumulators, and after the last round halves them. The results
    /// stand at place 0 of shared arrays, for the first invocation to read.
    fn end_tree(&mut self, tree: Tree, numbers: &[[u32; OWNED]]) -> Vec<u32> {
        let Tree {
            accumulators,
            rounds,
            lanes,
            invocation,
            own,
            beside,
        } = tree;
        let (real, zero) = (self.real, self.literal(0.0));
        for ((fold, owned), numbers) in accumulators.iter().zip(numbers) {
            for j in 0..OWNED {
                let number = self.m.op(op::SELECT, real, &[lanes[j].1, numbers[j], zero]);
                let before = self.m.op(op::LOAD, real, &[owned[j]]);
                let after = self.combine(*fold, before, number);
                self.m.plain(op::STORE, &[owned[j], after]);
            }
        }
        self.m.end_loop(rounds);
        let length = self.m.word(INVOCATIONS * beside as u32);
        let array = self.m.ty(op::TYPE_ARRAY, &[real, length]);
        let mut shared = Vec::new();
        for (fold, owned) in &accumulators {
            // An accumulator meets the one WIDTH / 2 further on, then WIDTH / 4, as long as that has the same owner.
            let mut mine = owned
                .map(|variable| self.m.op(op::LOAD, real, &[variable]))
                .to_vec();
            while mine.len() > beside {
                let far = mine.split_off(mine.len() / 2);
                mine = mine
                    .iter()
                    .zip(&far)
                    .map(|(&a, &b)| self.combine(*fold, a, b))
                    .collect();
            }
            let variable = self.m.global(class::WORKGROUP, array);
            for (k, &value) in (0..).zip(&mine) {
                let at = if k == 0 { own } else { self.offset(own, k) };
                self.m.store(class::WORKGROUP, real, variable, &[at], value);
            }
            shared.push(variable);
        }
        if shared.is_empty() {
            return shared;
        }
        let mut width = INVOCATIONS * beside as u32 / 2;
        while width > 0 {
            self.barrier();
            let limit = self.m.word(width);
            let works = self.m.test(op::U_LESS_THAN, invocation, limit);
            let working = self.m.begin_if(works);
            let far = self.index(op::I_ADD, invocation, limit);
            for ((fold, _), &variable) in accumulators.iter().zip(&shared) {
                let [a, b] = [invocation, far]
                    .map(|at| self.m.load(class::WORKGROUP, real, variable, &[at]));
                let sum = self.combine(*fold, a, b);
                self.m
                    .store(class::WORKGROUP, real, variable, &[invocation], sum);
            }
            self.m.end_if(working);
            width /= 2;
        }
        shared
    }

    /// The accumulator after `x`. The largest magnitude is found among the bits, where a NaN lies above infinity.
    fn combine(&mut self, fold: FoldOp, accumulator: u32, x: u32) -> u32 {
        match fold {
            FoldOp::Sum => self.m.float(op::F_ADD, self.real, &[accumulator, x]),
            FoldOp::MaxAbs => {
                let magnitude = self.masked(op::BITWISE_AND, x, self.format.sign() - 1);
                let largest = self.bits(accumulator);
                let larger = self.m.test(op::U_GREATER_THAN, magnitude, largest);
                let infinity = self.bits_literal(self.format.infinity());
                let number = self.m.test(op::U_LESS_THAN_EQUAL, magnitude, infinity);
                let bool = self.m.bool();
                let wins = self.m.op(op::LOGICAL_AND, bool, &[larger, number]);
                let bits = self
                    .m
                    .op(op::SELECT, self.word, &[wins, magnitude, largest]);
                self.m.op(op::BITCAST, self.real, &[bits])
            }
        }
    }

    /// Waits for all invocations of the workgroup, and for what they wrote to shared memory.
    fn barrier(&mut self) {
        const WORKGROUP_SCOPE: u32 = 2;
        const ACQUIRE_RELEASE_WORKGROUP_MEMORY: u32 = 0x108;
        let (scope, semantics) = (
            self.m.word(WORKGROUP_SCOPE),
            self.m.word(ACQUIRE_RELEASE_WORKGROUP_MEMORY),
        );
        self.m
            .plain(op::CONTROL_BARRIER, &[scope, scope, semantics]);
    }

    fn begin_first_invocation(&mut self) -> If {
        let (invocation, zero) = (self.invocation(), self.m.word(0));
        let first = self.m.test(op::I_EQUAL, invocation, zero);
        self.m.begin_if(first)
    }

    /// A scalar that an earlier pass handed on.
    fn recorded(&mut self, id: Id, tensor: u32) -> u32 {
        let at = self
            .place(Recorded::Scalar(id), tensor)
            .expect("what is handed on has a place");
        let value = self.load(SCALARS, at);
        if !matches!(self.plan.op(id), Op::Lt(..)) {
            return value;
        }
        let (bits, zero) = (self.bits(value), self.bits_literal(0));
        self.m.test(op::I_NOT_EQUAL, bits, zero)
    }

    fn record(&mut self, what: Recorded, tensor: u32, value: u32) {
        if let Some(at) = self.place(what, tensor) {
            self.store(SCALARS, at, value);
        }
    }

    /// Where a number of a tensor's record lies among the scalars.
    fn place(&mut self, what: Recorded, tensor: u32) -> Option<u32> {
        let at = self.places.records() as u32 + self.places.record(what)?;
        let record = self.scaled(tensor, self.places.record.len());
        Some(self.offset(record, at))
    }

    fn bits(&mut self, real: u32) -> u32 {
        self.m.op(op::BITCAST, self.word, &[real])
    }

    fn masked(&mut self, op: u32, real: u32, mask: u64) -> u32 {
        let (bits, mask) = (self.bits(real), self.bits_literal(mask));
        self.m.op(op, self.word, &[bits, mask])
    }

    fn bits_literal(&mut self, bits: u64) -> u32 {
        self.m.constant(self.word, &self.format.words(bits))
    }

    /// A constant, rounded once.
    fn literal(&mut self, x: f64) -> u32 {
        let bits = if self.format.width == 32 {
            (x as f32).to_bits().into()
        } else {
            x.to_bits()
        };
        self.m.constant(self.real, &self.format.words(bits))
    }

    fn index(&mut self, op: u32, a: u32, b: u32) -> u32 {
        let u32 = self.m.u32();
        self.m.op(op, u32, &[a, b])
    }

    fn scaled(&mut self, index: u32, by: usize) -> u32 {
        let by = self.m.word(by as u32);
        self.index(op::I_MUL, index, by)
    }

    fn offset(&mut self, index: u32, by: u32) -> u32 {
        let by = self.m.word(by);
        self.index(op::I_ADD, index, by)
    }

    fn pushed(&mut self, what: Pushed) -> u32 {
        let (u32, place) = (self.m.u32(), self.m.word(what as u32));
        self.m
            .load(class::PUSH_CONSTANT, u32, self.pushed, &[place])
    }

    fn workgroup(&mut self) -> u32 {
        self.built_in(26)
    }

    fn invocation(&mut self) -> u32 {
        self.built_in(27)
    }

    /// The first coordinate of a built-in variable: 26 is `WorkgroupId`, 27 `LocalInvocationId`.
    fn built_in(&mut self, built_in: u32) -> u32 {
        let u32 = self.m.u32();
        let vector = self.m.ty(op::TYPE_VECTOR, &[u32, 3]);
        let variable = match self.built_ins.iter().find(|known| known.0 == built_in) {
            Some(&(_, variable)) => variable,
            None => {
                let variable = self.m.global(class::INPUT, vector);
                self.m.decorate(variable, &[decoration::BUILT_IN, built_in]);
                self.built_ins.push((built_in, variable));
                variable
            }
        };
        let value = self.m.op(op::LOAD, vector, &[variable]);
        self.m.op(op::COMPOSITE_EXTRACT, u32, &[value, 0])
    }

    fn load(&mut self, binding: Binding, at: u32) -> u32 {
        let (variable, zero) = (
            self.buffer(binding, self.real, self.format.width / 8),
            self.m.word(0),
        );
        self.m
            .load(class::STORAGE_BUFFER, self.real, variable, &[zero, at])
    }

    fn load_word(&mut self, binding: Binding, at: u32) -> u32 {
        let (u32, zero) = (self.m.u32(), self.m.word(0));
        let variable = self.buffer(binding, u32, 4);
        self.m
            .load(class::STORAGE_BUFFER, u32, variable, &[zero, at])
    }

    fn store(&mut self, binding: Binding, at: u32, value: u32) {
        let (variable, zero) = (
            self.buffer(binding, self.real, self.format.width / 8),
            self.m.word(0),
        );
        self.m.store(
            class::STORAGE_BUFFER,
            self.real,
            variable,
            &[zero, at],
            value,
        );
    }

    /// The variable of a buffer, declared when first used, and as only read unless the kernel writes it: the
    /// synchronisation layer goes by that.
    fn buffer(&mut self, binding: Binding, element: u32, stride: u32) -> u32 {
        if let Some(&variable) = self.buffers.get(&binding) {
            return variable;
        }
        let block = self.m.buffer_type(element, stride);
        let variable = self.m.global(class::STORAGE_BUFFER, block);
        self.m
            .decorate(variable, &[decoration::DESCRIPTOR_SET, binding.0]);
        self.m.decorate(variable, &[decoration::BINDING, binding.1]);
        if !self.written.contains(&binding) {
            self.m.decorate(variable, &[decoration::NON_WRITABLE]);
        }
        self.buffers.insert(binding, variable);
        variable
    }
}

/// The written tree, open for the numbers of one round.
struct Tree {
    /// The accumulators that an invocation owns, for each fold.
    accumulators: Vec<(FoldOp, [u32; OWNED])>,
    rounds: Loop,
    /// The numbers of this round that an invocation works on: their index, and whether there is such a number.
    lanes: [(u32, u32); OWNED],
    invocation: u32,
    /// The first accumulator that an invocation owns.
    own: u32,
    /// How many of its accumulators lie beside each other.
    beside: usize,
}

#[cfg(test)]
mod tests {
    use adarem::{AdaRem, AdaRemS, Plan, Rule, Scope, trace::trace};

    use super::Places;

    fn plan<R: Rule>(rule: &R) -> Plan {
        trace(rule, 1).expect("it fits a plan").plan
    }

    /// Uniforms, the zero behind them, the group's folds, then the records: one after the other, and no more.
    #[track_caller]
    fn lie_side_by_side(plan: &Plan, folds_over_group: usize, record: usize) {
        let places = Places::of(plan);
        assert_eq!(places.zero(), plan.uniforms() as u32);
        let folds = plan.passes().iter().zip(0u8..).flat_map(|(pass, p)| {
            let folds = pass.folds().iter().zip(0u8..);
            folds.map(move |((fold, _), k)| (p, k, fold.scope))
        });
        let mut next = places.zero() + 1;
        for (pass, k, scope) in folds {
            let wanted = (scope == Scope::Group).then_some(next);
            assert_eq!(places.group(pass, k), wanted);
            next += u32::from(wanted.is_some());
        }
        assert_eq!(places.records(), next as usize);
        assert_eq!(places.records(), plan.uniforms() + 1 + folds_over_group);
        for (tensors, all) in [(0, 0), (1, record), (7, 7 * record)] {
            assert_eq!(places.scalars(tensors), places.records() + all);
        }
        for (k, &what) in (0u32..).zip(&places.record) {
            assert_eq!(places.record(what), Some(k));
        }
    }

    #[test]
    fn numbers_of_a_step_lie_side_by_side() {
        let tensor = AdaRemS::default();
        let plan_of_tensors = plan(&tensor);
        let handed = plan_of_tensors.newly_handed(0).len();
        lie_side_by_side(&plan_of_tensors, 0, handed);
        assert_eq!(Places::of(&plan_of_tensors).partials(), 2);

        // With the group's folds each tensor keeps its own results of the pass beside.
        let sphere = AdaRemS {
            sphere: Scope::Group,
            ..tensor
        };
        let plan_of_sphere = plan(&sphere);
        let handed = plan_of_sphere.newly_handed(0).len();
        lie_side_by_side(&plan_of_sphere, 1, 2 + handed);
        let group = AdaRemS {
            scope: Scope::Group,
            ..sphere
        };
        let plan_of_group = plan(&group);
        let handed = plan_of_group.newly_handed(0).len();
        lie_side_by_side(&plan_of_group, 2, 2 + handed);
        lie_side_by_side(&plan(&AdaRem::default()), 0, 0);
        assert_eq!(Places::of(&plan(&AdaRem::default())).partials(), 1);
    }
}
