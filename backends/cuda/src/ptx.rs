//! Plan to PTX: any rule as kernels, in text.
//!
//! A pass of a [`Plan`] becomes one kernel, launched once for all tensors. Each block of [`THREADS`] threads takes one
//! chunk of [`CHUNK`](adarem::CHUNK) lanes, which a table on the device names; it rewrites the lanes, folds them in the
//! order of [`adarem::fold`] and leaves a partial. The block that ends a tensor last (a ticket tells) folds the tensor's
//! partials and computes the scalars that are known then, for later passes and for the next step: so a step is as many
//! launches as the plan has passes, and the host waits for none of them.
//!
//! What the text promises:
//! - it is a pure function of plan, number types and [`Form`], and the same in every run: drivers keep what they
//!   compiled under the text;
//! - every float operation that rounds says `.rn`, so nothing is contracted, and none says `.ftz`;
//! - theta and gradient are read and written 16 bytes at a time where both are so aligned and the chunk is whole, else
//!   lane by lane; either way in the same order of additions. What is of 16 bits goes along, 8 bytes at a time or 2:
//!   state that is [packed](adarem::backend::packing), and [in mixed precision](Program::mixed) the gradient and the
//!   parameters that theta is rounded to, which then need be aligned to 8 only;
//! - `sm_70` and PTX 6.0, which every driver since CUDA 9 compiles for its GPU.
//!
//! ```
//! use adarem::{AdaRem, Dtype, trace::trace};
//! use adarem_cuda::ptx::{Form, Program};
//!
//! let traced = trace(&AdaRem::default(), 0)?;
//! let program = Program::new(&traced.plan, Dtype::F32, Form::Fused);
//! assert_eq!(program.launches().len(), 1);
//! assert!(program.text().contains(".visible .entry adarem_pass0("));
//! # Ok::<(), adarem::plan::Misfit>(())
//! ```

mod half;
mod ops;
mod pass;
mod tree;
mod writer;

use crate::Cuda;
use adarem::backend::packing;
use adarem::plan::{Id, Op, Plan};
use adarem::{Dtype, Half, Scope};
use pass::Kernel;

/// Threads of a block. Each has four of the [`WIDTH`](adarem::WIDTH) accumulators.
pub const THREADS: u32 = 128;

/// Blocks that a multiprocessor must have room for. Asked for more, or for nothing, the compiler saves registers until some
/// kernels in `f64` spill; with these, none does, and there are loads enough under way to keep the memory busy.
pub(crate) const RESIDENT_BLOCKS: u32 = 4;

/// How the end of a pass is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// By the last block of the pass itself: one launch a pass.
    Fused,
    /// By launches of their own. Slower and simpler: the reference that [`Form::Fused`] is tested against.
    Split,
}

/// How many blocks a launch has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// One for each entry of the chunk table.
    Chunks,
    /// One for each tensor.
    Tensors,
    /// One.
    One,
}

/// One launch of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The kernel's name in the text.
    pub kernel: String,
    /// How many blocks of [`THREADS`] threads.
    pub grid: Grid,
}

/// A parameter of the kernels. All kernels of a program take the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// Address of the chunk table: for each block the tensor and the chunk of it, two 32-bit numbers.
    Chunks,
    /// Address of the [`TensorEntry`] of each tensor.
    Tensors,
    /// Address of the gradients' addresses.
    Gradients,
    /// Address of the addresses of the parameters of 16 bits, [in mixed precision](Program::mixed) only.
    Params,
    /// Address of a slot, packed or not.
    Slot(usize),
    /// Address of the carried scalars, tensor by tensor.
    Carried,
    /// Address of the scalars that passes hand to later passes: [`Program::handed`] for each tensor.
    Handed,
    /// Address of the partials: [`Program::folds`] times one for each chunk.
    Partials,
    /// Address of the tensors' results: [`Program::folds`] times one for each tensor.
    Results,
    /// Address of the tickets, 32 bits each, zero between launches: one for each tensor and one for all.
    Tickets,
    /// Entries of the chunk table, 32 bits.
    ChunkCount,
    /// Tensors, 32 bits.
    TensorCount,
    /// A host scalar, of the program's number type.
    Uniform(usize),
}

/// What the device knows of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct TensorEntry {
    /// Address of the parameter; in mixed precision of its master copy.
    pub theta: u64,
    /// Lanes.
    pub lanes: u64,
    /// Where its state begins in every slot, in lanes.
    pub state: u64,
    /// Its first entry in the chunk table.
    pub first_chunk: u32,
    /// How many entries it has there: at least one, also where it has no lanes.
    pub chunks: u32,
}

/// The kernels of a plan, and what a step must launch.
#[derive(Clone, Debug)]
pub struct Program {
    text: String,
    launches: Vec<Launch>,
    parameters: Vec<Parameter>,
    folds: usize,
    handed: usize,
}

impl Program {
    /// Writes the kernels of a plan for tensors of a number type.
    pub fn new(plan: &Plan, dtype: Dtype, form: Form) -> Self {
        Self::of(plan, dtype, None, form)
    }

    /// Writes the kernels of a plan for mixed precision: theta in `f32`, gradients of 16 bits, and parameters of the same
    /// type, which become theta, rounded to the nearest, wherever a pass rewrites it.
    ///
    /// ```
    /// use adarem::{AdaRem, Half, trace::trace};
    /// use adarem_cuda::ptx::{Form, Parameter, Program};
    ///
    /// let traced = trace(&AdaRem::default(), 0)?;
    /// let program = Program::mixed(&traced.plan, Half::F16, Form::Fused);
    /// assert_eq!(program.launches().len(), 1);
    /// assert!(program.parameters().contains(&Parameter::Params));
    /// assert!(program.text().contains("cvt.rn.f16.f32"));
    /// # Ok::<(), adarem::plan::Misfit>(())
    /// ```
    pub fn mixed(plan: &Plan, half: Half, form: Form) -> Self {
        Self::of(plan, Dtype::F32, Some(half), form)
    }

    fn of(plan: &Plan, dtype: Dtype, mixed: Option<Half>, form: Form) -> Self {
        let parameters = parameters(plan, mixed);
        let handed = handed(plan);
        let mut text = String::from(".version 6.0\n.target sm_70\n.address_size 64\n");
        let mut launches = Vec::new();
        let mut folds = 0;
        for index in 0..plan.passes().len() {
            let end = End::of(plan, index);
            folds = folds.max(end.folds.len());
            let name = format!("{}_pass{index}", identifier(plan.name()));
            let kernel = || Kernel::new(plan, dtype, &parameters, &handed, index, &end, mixed);
            let mut add = |kernel: Kernel<'_>, name: String, grid| {
                text.push_str(&kernel.finish(&name));
                launches.push(Launch { kernel: name, grid });
            };
            match form {
                Form::Fused => {
                    let mut fused = kernel();
                    fused.lanes();
                    if end.is_needed {
                        fused.last_of_tensor();
                        fused.tensor();
                    }
                    if end.reaches_group {
                        fused.last_of_group();
                        fused.group();
                    }
                    add(fused, name, Grid::Chunks);
                }
                Form::Split => {
                    let mut lanes = kernel();
                    lanes.lanes();
                    add(lanes, name.clone(), Grid::Chunks);
                    if end.is_needed {
                        let mut tensor = kernel();
                        tensor.tensor_of_block();
                        tensor.tensor();
                        add(tensor, format!("{name}_tensor"), Grid::Tensors);
                    }
                    if end.reaches_group {
                        let mut group = kernel();
                        group.group();
                        add(group, format!("{name}_group"), Grid::One);
                    }
                }
            }
        }
        Self {
            text,
            launches,
            parameters,
            folds,
            handed: handed.len(),
        }
    }

    /// The PTX text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What a step launches, in order.
    pub fn launches(&self) -> &[Launch] {
        &self.launches
    }

    /// What every kernel takes, in order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The most numbers that a pass folds.
    pub fn folds(&self) -> usize {
        self.folds
    }

    /// Scalars for each tensor that passes hand to later passes.
    pub fn handed(&self) -> usize {
        self.handed
    }
}

/// What remains to be done when the lanes of a pass are written.
pub(crate) struct End {
    /// Anything at all.
    is_needed: bool,
    /// The folds of the pass whose results are used, by their place in the pass.
    folds: Vec<usize>,
    /// One of them reaches over the group.
    reaches_group: bool,
}

impl End {
    fn of(plan: &Plan, index: usize) -> Self {
        let is_needed =
            !plan.newly_handed(index).is_empty() || plan.carries(index).next().is_some();
        let used = |fold: usize| {
            plan.scalar_ops(index)
                .iter()
                .any(|id| plan.op(id) == Op::Folded(index as u8, fold as u8))
        };
        let all = plan.passes()[index].folds();
        let folds: Vec<usize> = (0..all.len()).filter(|fold| used(*fold)).collect();
        let reaches_group = folds.iter().any(|fold| all[*fold].0.scope == Scope::Group);
        Self {
            is_needed,
            folds,
            reaches_group,
        }
    }
}

/// How the state vectors of a plan are packed.
fn packed(plan: &Plan, dtype: Dtype) -> Option<Half> {
    match dtype {
        Dtype::F64 => packing::<Cuda<f64>>(plan.half()),
        _ => packing::<Cuda<f32>>(plan.half()),
    }
}

/// A rule's name as a name of PTX: a letter, then letters, digits and underscores.
fn identifier(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = name.chars().map(allowed).collect();
    if name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        name
    } else {
        format!("rule_{name}")
    }
}

fn parameters(plan: &Plan, mixed: Option<Half>) -> Vec<Parameter> {
    use Parameter::*;
    let tables = [Chunks, Tensors, Gradients];
    let scratch = [
        Carried,
        Handed,
        Partials,
        Results,
        Tickets,
        ChunkCount,
        TensorCount,
    ];
    tables
        .into_iter()
        .chain(mixed.map(|_| Params))
        .chain((0..plan.slots()).map(Slot))
        .chain(scratch)
        .chain((0..plan.uniforms()).map(Uniform))
        .collect()
}

/// Every scalar that any pass hands on; its place here is its place in memory.
fn handed(plan: &Plan) -> Vec<Id> {
    (0..plan.passes().len())
        .flat_map(|index| plan.newly_handed(index).iter().collect::<Vec<_>>())
        .collect()
}
