//! [`Cuda`]: a GPU as a backend.

use crate::device::{Allocation, Device, Kernels};
use crate::ptx::{Form, Parameter, Program};
use crate::tables::Tables;
use crate::{Error, Memory, Tensor};
use adarem::backend::{packing, ranges};
use adarem::plan::Plan;
use adarem::trace::trace;
use adarem::{
    Backend, Batch, Element, ErrorKind, Half, Mismatch, Optimizer, Param, Rule, Stored, Tensor as _,
};
use core::any::TypeId;
use core::ffi::c_void;
use core::marker::PhantomData;
use core::ops::Deref;
use std::sync::Arc;

/// Lists of tensors that are remembered. Who steps more of them in turn uploads a table at every step.
const LISTS: usize = 64;

/// A GPU that steps tensors of `f32` or `f64`.
///
/// It has a context and a stream, its own or an engine's, and puts all its work into that stream. It may be moved between
/// threads.
#[derive(Debug)]
pub struct Cuda<T> {
    form: Form,
    compiled: Vec<Compiled>,
    /// The tables used last come last.
    tables: Vec<Tables>,
    /// Values of the kernels' parameters, and pointers to them: kept, so that a step allocates nothing.
    values: Vec<u64>,
    arguments: Vec<*mut c_void>,
    device: Arc<Device>,
    of: PhantomData<T>,
}

// SAFETY: `arguments` points into `values`, and only while a step is launched; the rest may be sent.
unsafe impl<T> Send for Cuda<T> {}

/// The kernels of a plan.
#[derive(Debug)]
struct Compiled {
    plan: Plan,
    /// The type of gradients and parameters that are of 16 bits.
    mixed: Option<Half>,
    program: Program,
    kernels: Kernels,
}

/// The tensors of one step: those of a [`Batch`], in mixed precision with gradients of 16 bits.
struct Tensors<'a, T, P> {
    theta: &'a [&'a mut Tensor<T>],
    /// What theta is rounded to, one for each theta, where `P` is a half type; else none.
    params: &'a [&'a mut Tensor<P>],
    grad: &'a [&'a Tensor<P>],
    slots: &'a [Memory<T>],
    carried: &'a Tensor<T>,
}

impl<T: Element> Cuda<T> {
    /// Device `ordinal`, with a stream of its own. The driver is looked for now.
    ///
    /// ```
    /// match adarem_cuda::Cuda::<f32>::open(0) {
    ///     Ok(_) => println!("there is a GPU"),
    ///     Err(error) => println!("{error}"),
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::NoDriver`], [`Error::NoDevice`], or what the driver says.
    ///
    /// # Panics
    /// When `T` is neither `f32` nor `f64`.
    pub fn open(ordinal: u32) -> Result<Self, Error> {
        Device::open(ordinal).map(Self::on)
    }

    /// An engine's context (`CUcontext`) and stream (`CUstream`, null for the default stream). The engine keeps both.
    ///
    /// # Errors
    /// [`Error::NoDriver`], [`Error::NoDevice`], or what the driver says.
    ///
    /// # Panics
    /// When `T` is neither `f32` nor `f64`.
    ///
    /// # Safety
    /// The context is alive, and so is the stream, which is one of its streams, until this backend and all [`Memory`] of
    /// it are dropped. The library in which they were made is the one this program's `cu*` functions belong to.
    pub unsafe fn from_engine(context: *mut c_void, stream: *mut c_void) -> Result<Self, Error> {
        // SAFETY: by the caller's promise.
        unsafe { Device::adopt(context, stream) }.map(Self::on)
    }

    fn on(device: Arc<Device>) -> Self {
        let of = TypeId::of::<T>();
        assert!(
            of == TypeId::of::<f32>() || of == TypeId::of::<f64>(),
            "tensors hold f32 or f64"
        );
        Self {
            form: Form::Fused,
            compiled: Vec::new(),
            tables: Vec::new(),
            values: Vec::new(),
            arguments: Vec::new(),
            device,
            of: PhantomData,
        }
    }

    /// The same with other kernels: [`Form::Split`] launches more often and gives the same bits. For tests and doubt.
    #[must_use]
    pub fn with_form(mut self, form: Form) -> Self {
        self.form = form;
        self.compiled.clear();
        self
    }

    /// The device's name.
    ///
    /// # Errors
    /// What the driver says.
    pub fn name(&self) -> Result<String, Error> {
        self.device.name()
    }

    /// Bytes of the device's memory that are free, and bytes in all.
    ///
    /// # Errors
    /// What the driver says.
    pub fn memory(&self) -> Result<(usize, usize), Error> {
        self.device.memory()
    }

    /// Copies on the device, in order with the steps, without waiting.
    ///
    /// # Errors
    /// [`ErrorKind::Length`] unless both are of one length.
    pub fn copy(&mut self, to: &mut Tensor<T>, from: &Tensor<T>) -> Result<(), Error> {
        fits("from", to.len(), from.len(), from.len() == to.len())?;
        // SAFETY: tensors are what they say: see `Tensor::from_raw`.
        unsafe {
            self.device
                .copy(to.address(), from.address(), to.len() * size_of::<T>())
        }
    }

    /// `len` zeros, of any type whose zero has no bit set.
    fn allocate<N>(&self, len: usize) -> Result<Memory<N>, Error> {
        let bytes = len
            .checked_mul(size_of::<N>())
            .ok_or(ErrorKind::OutOfMemory)?;
        Ok(Memory::new(Allocation::zeros(&self.device, bytes)?, len))
    }

    /// Copies `from` into `to[at..]`, and waits for it.
    ///
    /// # Safety
    /// `N` has no gaps between its bytes.
    unsafe fn copy_in<N>(&self, to: &mut Tensor<N>, at: usize, from: &[N]) -> Result<(), Error> {
        let end = at.saturating_add(from.len());
        fits("from", to.len(), end, end <= to.len())?;
        let address = to.address() + (at * size_of::<N>()) as u64;
        // SAFETY: by the caller's promise; the tensor is what it says: see `Tensor::from_raw`.
        unsafe {
            let bytes = core::slice::from_raw_parts(from.as_ptr().cast(), size_of_val(from));
            self.device.copy_in(address, bytes)
        }
    }

    /// Copies `from[at..]` into `to`, after everything asked for before, and waits for it.
    ///
    /// # Safety
    /// Any bytes are an `N`.
    unsafe fn copy_out<N>(&self, from: &Tensor<N>, at: usize, to: &mut [N]) -> Result<(), Error> {
        let end = at.saturating_add(to.len());
        fits("to", from.len(), end, end <= from.len())?;
        let address = from.address() + (at * size_of::<N>()) as u64;
        // SAFETY: by the caller's promise; the tensor is what it says: see `Tensor::from_raw`.
        unsafe {
            let bytes = core::slice::from_raw_parts_mut(to.as_mut_ptr().cast(), size_of_val(to));
            self.device.copy_out(address, bytes)
        }
    }

    /// Which of the known programs is the plan's.
    fn known(&self, plan: &Plan, mixed: Option<Half>) -> Option<usize> {
        self.compiled
            .iter()
            .position(|known| known.mixed == mixed && known.plan == *plan)
    }

    fn compile(&mut self, plan: &Plan, mixed: Option<Half>) -> Result<usize, Error> {
        let program = match mixed {
            Some(half) => Program::mixed(plan, half, self.form),
            None => Program::new(plan, T::DTYPE, self.form),
        };
        let kernels = Kernels::new(&self.device, plan.name(), &program)?;
        self.compiled.push(Compiled {
            plan: plan.clone(),
            mixed,
            program,
            kernels,
        });
        Ok(self.compiled.len() - 1)
    }

    /// The program of the plan, and tables of the tensors that are ready for it. Only here may a step allocate or copy.
    fn prepare<P: Stored<T>>(
        &mut self,
        plan: &Plan,
        tensors: &Tensors<'_, T, P>,
    ) -> Result<(usize, usize), Error> {
        let compiled = self.known(plan, P::HALF);
        let tables = self
            .tables
            .iter()
            .rposition(|tables| tables.are_for(tensors.theta));
        if let (Some(compiled), Some(tables)) = (compiled, tables)
            && self.tables[tables].are_ready(
                &self.compiled[compiled].program,
                tensors.grad,
                tensors.params,
            )
        {
            return Ok((compiled, tables));
        }
        if self.device.is_capturing()? {
            return Err(Error::Capturing);
        }
        let compiled = match compiled {
            Some(compiled) => compiled,
            None => self.compile(plan, P::HALF)?,
        };
        let program = &self.compiled[compiled].program;
        let mut tables = match tables {
            Some(tables) => self.tables.remove(tables),
            None => {
                if self.tables.len() == LISTS {
                    self.tables.remove(0);
                }
                let thetas = tensors
                    .theta
                    .iter()
                    .map(|theta| (theta.address(), theta.len()));
                Tables::new::<T>(&self.device, program, thetas.collect())?
            }
        };
        tables.prepare::<T, P>(&self.device, program, tensors.grad, tensors.params)?;
        self.tables.push(tables);
        Ok((compiled, self.tables.len() - 1))
    }

    /// Puts the launches of a step into the stream.
    fn launch<P: Stored<T>>(
        &mut self,
        plan: &Plan,
        uniforms: &[f64],
        tensors: &Tensors<'_, T, P>,
    ) -> Result<(), Error> {
        check(plan, uniforms, tensors)?;
        if tensors.theta.is_empty() {
            return Ok(());
        }
        let (compiled, tables) = self.prepare(plan, tensors)?;
        let (
            Compiled {
                program, kernels, ..
            },
            tables,
        ) = (&self.compiled[compiled], &self.tables[tables]);
        self.values.clear();
        self.values.extend(
            program
                .parameters()
                .iter()
                .map(|parameter| match *parameter {
                    Parameter::Slot(k) => tensors.slots[k].address(),
                    Parameter::Carried => tensors.carried.address(),
                    // Little-endian, as the host is that has a GPU: the low bytes are where the kernel reads them.
                    Parameter::Uniform(k) => <T as adarem::Real>::lit(uniforms[k]).to_le(),
                    table => tables.argument(table).unwrap_or_default(),
                }),
        );
        self.arguments.clear();
        self.arguments.extend(self.values.iter_mut().map(ptr_to));
        // SAFETY: one value for each parameter, in eight bytes of which the kernel reads as many as the type has. Tables
        // and state were checked against the lengths of the tensors, which are what they say: see `Tensor::from_raw`.
        unsafe { kernels.launch(&mut self.arguments, |grid| tables.blocks(grid)) }
    }
}

impl Cuda<f32> {
    /// A step in mixed precision: the parameters that the network computes with are `params`, and its gradients are of
    /// the same type; `master` is the copy in full that the step is taken on, so that steps too small for the type add
    /// up. `params` becomes it, rounded to the nearest, in the same launch and the same trip over memory, wherever the
    /// step rewrites it: the bits are those of [`Host::mixed`](adarem::Host::mixed). The checkpoint of the optimizer
    /// holds its state alone; the engine keeps `master` beside it. Where `P` is `f32`, there is no copy to keep, and
    /// `params` is not used. Where the rule leaves `master` as it is, `params` stays, too: let it be `master`,
    /// rounded, before the first step.
    ///
    /// With the adapters' `HalfState` around [`AdaRem`](adarem::AdaRem), a step moves 16 bytes a parameter.
    ///
    /// ```
    /// use adarem::{AdaRem, Backend, Bf16, Optimizer, Stored};
    /// use adarem_cuda::Cuda;
    ///
    /// # fn main() -> Result<(), adarem_cuda::Error> {
    /// # adarem_cuda_softdriver::install(1);
    /// let mut cuda = Cuda::<f32>::open(0)?;
    /// let (mut params, mut grad) = (cuda.zeros_of::<Bf16>(2)?, cuda.zeros_of::<Bf16>(2)?);
    /// let mut master = cuda.zeros(2)?;
    /// cuda.write(&mut master, 0, &[1.0, -2.0])?;
    /// cuda.write_of(&mut params, 0, &[1.0, -2.0].map(Bf16::store))?;
    /// cuda.write_of(&mut grad, 0, &[1.0, -1.0].map(Bf16::store))?;
    ///
    /// let rule = AdaRem { lr: 1e-3, ..AdaRem::default() };
    /// let mut optimizer = Optimizer::new(rule, &mut cuda, &[2])?;
    /// for _ in 0..10 {
    ///     cuda.step_mixed(&mut optimizer, &mut [&mut master], &mut [&mut params], &[&grad])?;
    /// }
    ///
    /// let mut numbers = [Bf16::default(); 2];
    /// cuda.read_of(&params, 0, &mut numbers)?;
    /// assert!(numbers[0].to_f32() < 1.0 && -2.0 < numbers[1].to_f32());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Optimizer::step`]: a length that differs, in `params` too, is refused and nothing is changed.
    pub fn step_mixed<R: Rule, P: Param>(
        &mut self,
        optimizer: &mut Optimizer<R, Self>,
        master: &mut [&mut Tensor<f32>],
        params: &mut [&mut Tensor<P>],
        grad: &[&Tensor<P>],
    ) -> Result<(), Error> {
        let turn = optimizer.begin(master.iter().map(|x| x.len()), grad.iter().map(|x| x.len()))?;
        let tensors = Tensors {
            theta: master,
            params: if P::HALF.is_some() { params } else { &[] },
            grad,
            slots: turn.slots,
            carried: turn.carried,
        };
        let result = trace(turn.rule, turn.t)
            .map_err(|misfit| ErrorKind::from(misfit).into())
            .and_then(|traced| self.launch(&traced.plan, traced.uniforms(), &tensors));
        turn.end(result)
    }

    /// Allocates `len` zeros of a type that [`step_mixed`](Self::step_mixed) takes: [`Backend::zeros`] of parameters and
    /// gradients of 16 bits.
    ///
    /// ```
    /// use adarem::{F16, Stored};
    /// use adarem_cuda::Cuda;
    ///
    /// # fn main() -> Result<(), adarem_cuda::Error> {
    /// # adarem_cuda_softdriver::install(1);
    /// let mut cuda = Cuda::<f32>::open(0)?;
    /// let mut params = cuda.zeros_of::<F16>(3)?;
    /// cuda.write_of(&mut params, 1, &[F16::store(0.5)])?;
    ///
    /// let mut numbers = [F16::default(); 3];
    /// cuda.read_of(&params, 0, &mut numbers)?;
    /// assert_eq!(numbers.map(F16::to_f32), [0.0, 0.5, 0.0]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Backend::zeros`].
    pub fn zeros_of<P: Param>(&mut self, len: usize) -> Result<Memory<P>, Error> {
        self.allocate(len)
    }

    /// Copies `from` into `to[at..]`: [`Backend::write`] of what [`zeros_of`](Self::zeros_of) allocates.
    ///
    /// ```
    /// use adarem::{Bf16, Stored};
    /// use adarem_cuda::Cuda;
    ///
    /// # fn main() -> Result<(), adarem_cuda::Error> {
    /// # adarem_cuda_softdriver::install(1);
    /// let mut cuda = Cuda::<f32>::open(0)?;
    /// let mut grad = cuda.zeros_of(2)?;
    /// cuda.write_of(&mut grad, 0, &[0.5, -0.5].map(Bf16::store))?;
    /// assert!(cuda.write_of(&mut grad, 2, &[Bf16::store(1.0f32)]).is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Backend::write`].
    pub fn write_of<P: Param>(
        &mut self,
        to: &mut Tensor<P>,
        at: usize,
        from: &[P],
    ) -> Result<(), Error> {
        // SAFETY: the known types are bytes without gaps.
        unsafe { self.copy_in(to, at, from) }
    }

    /// Copies `from[at..]` into `to`, after everything asked for before: [`Backend::read`] of what
    /// [`zeros_of`](Self::zeros_of) allocates.
    ///
    /// ```
    /// use adarem::F16;
    /// use adarem_cuda::Cuda;
    ///
    /// # fn main() -> Result<(), adarem_cuda::Error> {
    /// # adarem_cuda_softdriver::install(1);
    /// let mut cuda = Cuda::<f32>::open(0)?;
    /// let (params, mut last) = (cuda.zeros_of::<F16>(3)?, [F16::default()]);
    /// cuda.read_of(&params, 2, &mut last)?;
    /// assert_eq!(last[0].to_f32(), 0.0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Backend::read`].
    pub fn read_of<P: Param>(
        &mut self,
        from: &Tensor<P>,
        at: usize,
        to: &mut [P],
    ) -> Result<(), Error> {
        // SAFETY: any bytes are one of the known types.
        unsafe { self.copy_out(from, at, to) }
    }
}

/// Refuses lengths that do not fit.
fn fits(what: &'static str, expected: usize, got: usize, fits: bool) -> Result<(), Error> {
    if fits {
        Ok(())
    } else {
        Err(Mismatch {
            what,
            tensor: 0,
            expected,
            got,
        }
        .into())
    }
}

impl<T: Element> Backend for Cuda<T> {
    type Elem = T;
    type Tensor = Tensor<T>;
    type Memory = Memory<T>;
    type Error = Error;

    const PACKS: bool = true;

    fn zeros(&mut self, len: usize) -> Result<Memory<T>, Error> {
        self.allocate(len)
    }

    fn write(&mut self, to: &mut Tensor<T>, at: usize, from: &[T]) -> Result<(), Error> {
        // SAFETY: floats are bytes without gaps.
        unsafe { self.copy_in(to, at, from) }
    }

    fn read(&mut self, from: &Tensor<T>, at: usize, to: &mut [T]) -> Result<(), Error> {
        // SAFETY: any bytes are a float.
        unsafe { self.copy_out(from, at, to) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.device.synchronize()
    }

    fn run(
        &mut self,
        plan: &Plan,
        uniforms: &[f64],
        batch: Batch<'_, '_, Self>,
    ) -> Result<(), Error> {
        let tensors = Tensors {
            theta: batch.theta,
            params: &[],
            grad: batch.grad,
            slots: batch.slots,
            carried: batch.carried,
        };
        self.launch(plan, uniforms, &tensors)
    }
}

fn ptr_to(value: &mut u64) -> *mut c_void {
    (&raw mut *value).cast()
}

/// Refuses tensors that would lead a kernel out of its memory.
fn check<T: Element, P: Stored<T>>(
    plan: &Plan,
    uniforms: &[f64],
    tensors: &Tensors<'_, T, P>,
) -> Result<(), Error> {
    let Tensors {
        theta,
        params,
        grad,
        slots,
        carried,
    } = tensors;
    all_fit(["the list of grads", "grad"], theta, grad)?;
    if P::HALF.is_some() {
        all_fit(["the list of params", "params"], theta, params)?;
    }
    fits(
        "the list of uniforms",
        plan.uniforms(),
        uniforms.len(),
        uniforms.len() == plan.uniforms(),
    )?;
    fits(
        "the list of slots",
        plan.slots(),
        slots.len(),
        slots.len() == plan.slots(),
    )?;
    let ranges = ranges(theta.iter().map(|theta| theta.len()));
    let lanes = ranges.last().map_or(0, |range| range.end);
    let end = match packing::<Cuda<T>>(plan.half()) {
        Some(_) => lanes.div_ceil(2),
        None => lanes,
    };
    if let Some(short) = slots.iter().find(|slot| slot.len() < end) {
        fits("slot", end, short.len(), false)?;
    }
    let scalars = theta.len() * plan.carried();
    fits("carried", scalars, carried.len(), carried.len() >= scalars)
}

/// Refuses a list of tensors, or one of them, that is not as long as theta.
fn all_fit<T, P>(
    [list, what]: [&'static str; 2],
    theta: &[&mut Tensor<T>],
    tensors: &[impl Deref<Target = Tensor<P>>],
) -> Result<(), Error> {
    let (expected, got) = (theta.len(), tensors.len());
    fits(list, expected, got, got == expected)?;
    for (tensor, (theta, other)) in theta.iter().zip(tensors).enumerate() {
        let (expected, got) = (theta.len(), other.len());
        if got != expected {
            return Err(Mismatch {
                what,
                tensor,
                expected,
                got,
            }
            .into());
        }
    }
    Ok(())
}
