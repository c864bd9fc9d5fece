//! [`Cuda`]: a GPU as a backend.

use crate::device::{Allocation, Device, Kernels};
use crate::ptx::{Form, Parameter, Program};
use crate::tables::Tables;
use crate::{Error, Memory, Tensor};
use adarem::backend::packing;
use adarem::plan::Plan;
use adarem::{Backend, Batch, Element, ErrorKind, Mismatch, Tensor as _};
use core::any::TypeId;
use core::ffi::c_void;
use core::marker::PhantomData;
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
    program: Program,
    kernels: Kernels,
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

    /// Which of the known programs is the plan's.
    fn known(&self, plan: &Plan) -> Option<usize> {
        self.compiled.iter().position(|known| known.plan == *plan)
    }

    fn compile(&mut self, plan: &Plan) -> Result<usize, Error> {
        let program = Program::new(plan, T::DTYPE, self.form);
        let kernels = Kernels::new(&self.device, plan.name(), &program)?;
        self.compiled.push(Compiled {
            plan: plan.clone(),
            program,
            kernels,
        });
        Ok(self.compiled.len() - 1)
    }

    /// The program of the plan, and tables of the batch that are ready for it. Only here may a step allocate or copy.
    fn prepare(
        &mut self,
        plan: &Plan,
        batch: &Batch<'_, '_, Self>,
    ) -> Result<(usize, usize), Error> {
        let compiled = self.known(plan);
        let tables = self
            .tables
            .iter()
            .rposition(|tables| tables.are_for(batch.theta));
        if let (Some(compiled), Some(tables)) = (compiled, tables)
            && self.tables[tables].are_ready(&self.compiled[compiled].program, batch.grad)
        {
            return Ok((compiled, tables));
        }
        if self.device.is_capturing()? {
            return Err(Error::Capturing);
        }
        let compiled = match compiled {
            Some(compiled) => compiled,
            None => self.compile(plan)?,
        };
        let program = &self.compiled[compiled].program;
        let mut tables = match tables {
            Some(tables) => self.tables.remove(tables),
            None => {
                if self.tables.len() == LISTS {
                    self.tables.remove(0);
                }
                let thetas = batch
                    .theta
                    .iter()
                    .map(|theta| (theta.address(), theta.len()));
                Tables::new::<T>(&self.device, program, thetas.collect())?
            }
        };
        tables.prepare(&self.device, program, batch.grad)?;
        self.tables.push(tables);
        Ok((compiled, self.tables.len() - 1))
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
        let bytes = len
            .checked_mul(size_of::<T>())
            .ok_or(ErrorKind::OutOfMemory)?;
        Ok(Memory::new(Allocation::zeros(&self.device, bytes)?, len))
    }

    fn write(&mut self, to: &mut Tensor<T>, at: usize, from: &[T]) -> Result<(), Error> {
        let end = at.saturating_add(from.len());
        fits("from", to.len(), end, end <= to.len())?;
        let address = to.address() + (at * size_of::<T>()) as u64;
        // SAFETY: floats are bytes without gaps; the tensor is what it says: see `Tensor::from_raw`.
        unsafe {
            let bytes = core::slice::from_raw_parts(from.as_ptr().cast(), size_of_val(from));
            self.device.copy_in(address, bytes)
        }
    }

    fn read(&mut self, from: &Tensor<T>, at: usize, to: &mut [T]) -> Result<(), Error> {
        let end = at.saturating_add(to.len());
        fits("to", from.len(), end, end <= from.len())?;
        let address = from.address() + (at * size_of::<T>()) as u64;
        // SAFETY: any bytes are a float; the tensor is what it says: see `Tensor::from_raw`.
        unsafe {
            let bytes = core::slice::from_raw_parts_mut(to.as_mut_ptr().cast(), size_of_val(to));
            self.device.copy_out(address, bytes)
        }
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
        if batch.theta.is_empty() {
            return Ok(());
        }
        check(plan, uniforms, &batch)?;
        let (compiled, tables) = self.prepare(plan, &batch)?;
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
                    Parameter::Slot(k) => batch.slots[k].address(),
                    Parameter::Carried => batch.carried.address(),
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

fn ptr_to(value: &mut u64) -> *mut c_void {
    (&raw mut *value).cast()
}

/// Refuses a batch that would lead a kernel out of its memory.
fn check<T: Element>(
    plan: &Plan,
    uniforms: &[f64],
    batch: &Batch<'_, '_, Cuda<T>>,
) -> Result<(), Error> {
    let tensors = batch.theta.len();
    fits(
        "the list of grads",
        tensors,
        batch.grad.len(),
        batch.grad.len() == tensors,
    )?;
    fits(
        "the list of uniforms",
        plan.uniforms(),
        uniforms.len(),
        uniforms.len() == plan.uniforms(),
    )?;
    fits(
        "the list of slots",
        plan.slots(),
        batch.slots.len(),
        batch.slots.len() == plan.slots(),
    )?;
    for (tensor, (theta, grad)) in batch.theta.iter().zip(batch.grad).enumerate() {
        if grad.len() != theta.len() {
            let (expected, got) = (theta.len(), grad.len());
            return Err(Mismatch {
                what: "grad",
                tensor,
                expected,
                got,
            }
            .into());
        }
    }
    let lanes = batch.ranges().last().map_or(0, |range| range.end);
    let end = match packing::<Cuda<T>>(plan.half()) {
        Some(_) => lanes.div_ceil(2),
        None => lanes,
    };
    if let Some(short) = batch.slots.iter().find(|slot| slot.len() < end) {
        fits("slot", end, short.len(), false)?;
    }
    let scalars = tensors * plan.carried();
    fits(
        "carried",
        scalars,
        batch.carried.len(),
        batch.carried.len() >= scalars,
    )
}
