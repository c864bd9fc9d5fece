//! What the device knows of a list of tensors: which block does what, and where everything lies.

use crate::device::{Allocation, Device, Staging};
use crate::ptx::{Grid, Parameter, Program, TensorEntry};
use crate::{Error, Tensor};
use adarem::backend::ranges;
use adarem::{CHUNK, Element, ErrorKind, Tensor as _};
use core::ops::Deref;
use std::sync::Arc;

/// Copies of addresses that may be under way at once. Who is further ahead of the device than so many steps waits, if the
/// gradients moved in each of them, or the parameters of 16 bits.
const STEPS_AHEAD: usize = 8;

/// The tables of one list of tensors, and the scratch memory of its steps.
#[derive(Debug)]
pub(crate) struct Tables {
    /// Address and length of each parameter: what these tables are for.
    thetas: Vec<(u64, usize)>,
    gradients: Addresses,
    /// Of the parameters of 16 bits, once there was a step in mixed precision.
    params: Option<Addresses>,
    chunk_table: Allocation,
    tensor_table: Allocation,
    chunk_count: u32,
    tickets: Allocation,
    scratch: Scratch,
}

/// The addresses of a list of tensors that may move between steps.
#[derive(Debug)]
struct Addresses {
    /// As the device has them.
    known: Vec<u64>,
    staging: Staging,
    table: Allocation,
}

impl Addresses {
    /// Of so many tensors, none of which is known.
    fn new(device: &Arc<Device>, tensors: usize) -> Result<Self, Error> {
        Ok(Self {
            known: vec![u64::MAX; tensors],
            staging: Staging::new(device, tensors, STEPS_AHEAD)?,
            table: Allocation::new(device, tensors * size_of::<u64>())?,
        })
    }

    fn are(&self, addresses: impl Iterator<Item = u64>) -> bool {
        self.known.iter().copied().eq(addresses)
    }

    /// Tells the device where the tensors are now, if it does not know.
    fn follow(&mut self, addresses: impl Iterator<Item = u64> + Clone) -> Result<(), Error> {
        if self.are(addresses.clone()) {
            return Ok(());
        }
        // Not known any more, should the copy fail.
        self.known.fill(u64::MAX);
        // SAFETY: the table has an address for each tensor, and nothing else writes to it.
        unsafe {
            self.staging
                .copy_in(self.table.address(), addresses.clone())?;
        }
        for (known, address) in self.known.iter_mut().zip(addresses) {
            *known = address;
        }
        Ok(())
    }
}

/// Where the tensors of a list begin.
fn addresses<P>(tensors: &[impl Deref<Target = Tensor<P>>]) -> impl Iterator<Item = u64> + Clone {
    tensors.iter().map(|tensor| tensor.address())
}

/// Memory that a step writes and reads; none of it outlives the step.
#[derive(Debug)]
struct Scratch {
    folds: usize,
    handed: usize,
    partials: Allocation,
    results: Allocation,
    handed_on: Allocation,
}

impl Scratch {
    fn new<T: Element>(
        device: &Arc<Device>,
        program: &Program,
        chunks: usize,
        tensors: usize,
    ) -> Result<Self, Error> {
        let (folds, handed) = (program.folds(), program.handed());
        let numbers = |count: usize| Allocation::new(device, count * size_of::<T>());
        Ok(Self {
            folds,
            handed,
            partials: numbers(folds * chunks)?,
            results: numbers(folds * tensors)?,
            handed_on: numbers(handed * tensors)?,
        })
    }

    fn is_enough_for(&self, program: &Program) -> bool {
        self.folds >= program.folds() && self.handed >= program.handed()
    }
}

impl Tables {
    /// Tables for these parameters and for steps of this program. Waits for the device.
    pub(crate) fn new<T: Element>(
        device: &Arc<Device>,
        program: &Program,
        thetas: Vec<(u64, usize)>,
    ) -> Result<Self, Error> {
        let mut chunks: Vec<[u32; 2]> = Vec::new();
        let mut entries = Vec::with_capacity(thetas.len());
        let too_many = |_| Error::from(ErrorKind::OutOfMemory);
        let states = ranges(thetas.iter().map(|(_, len)| *len));
        for (tensor, ((theta, len), state)) in (0_u32..).zip(thetas.iter().zip(states)) {
            // An empty tensor has a block too: its scalars change with every step.
            let count = u32::try_from(len.div_ceil(CHUNK).max(1)).map_err(too_many)?;
            entries.push(TensorEntry {
                theta: *theta,
                lanes: *len as u64,
                state: state.start as u64,
                first_chunk: u32::try_from(chunks.len()).map_err(too_many)?,
                chunks: count,
            });
            chunks.extend((0..count).map(|chunk| [tensor, chunk]));
        }
        let chunk_count = u32::try_from(chunks.len()).map_err(too_many)?;
        Ok(Self {
            gradients: Addresses::new(device, thetas.len())?,
            params: None,
            chunk_table: upload(device, chunks.as_flattened())?,
            tensor_table: upload(device, &entries)?,
            chunk_count,
            tickets: Allocation::zeros(device, (thetas.len() + 1) * size_of::<u32>())?,
            scratch: Scratch::new::<T>(device, program, chunks.len(), thetas.len())?,
            thetas,
        })
    }

    /// Whether these are the tables of these parameters.
    pub(crate) fn are_for<T>(&self, thetas: &[&mut Tensor<T>]) -> bool {
        let known = self.thetas.iter().copied();
        known.eq(thetas.iter().map(|theta| (theta.address(), theta.len())))
    }

    /// Whether a step of the program with these gradients, and these parameters of 16 bits if there are any, needs
    /// nothing but launches.
    pub(crate) fn are_ready<P>(
        &self,
        program: &Program,
        grads: &[&Tensor<P>],
        params: &[&mut Tensor<P>],
    ) -> bool {
        let known = self.params.as_ref();
        self.scratch.is_enough_for(program)
            && self.gradients.are(addresses(grads))
            && (params.is_empty() || known.is_some_and(|known| known.are(addresses(params))))
    }

    /// Makes them ready.
    pub(crate) fn prepare<T: Element, P>(
        &mut self,
        device: &Arc<Device>,
        program: &Program,
        grads: &[&Tensor<P>],
        params: &[&mut Tensor<P>],
    ) -> Result<(), Error> {
        if !self.scratch.is_enough_for(program) {
            let (chunks, tensors) = (self.chunk_count as usize, self.thetas.len());
            self.scratch = Scratch::new::<T>(device, program, chunks, tensors)?;
        }
        self.gradients.follow(addresses(grads))?;
        if params.is_empty() {
            return Ok(());
        }
        let known = match &mut self.params {
            Some(known) => known,
            none => none.insert(Addresses::new(device, params.len())?),
        };
        known.follow(addresses(params))
    }

    /// The value of a parameter of the kernels that the tables know.
    pub(crate) fn argument(&self, parameter: Parameter) -> Option<u64> {
        match parameter {
            Parameter::Chunks => Some(self.chunk_table.address()),
            Parameter::Tensors => Some(self.tensor_table.address()),
            Parameter::Gradients => Some(self.gradients.table.address()),
            Parameter::Params => self.params.as_ref().map(|params| params.table.address()),
            Parameter::Handed => Some(self.scratch.handed_on.address()),
            Parameter::Partials => Some(self.scratch.partials.address()),
            Parameter::Results => Some(self.scratch.results.address()),
            Parameter::Tickets => Some(self.tickets.address()),
            Parameter::ChunkCount => Some(self.chunk_count.into()),
            Parameter::TensorCount => Some(self.thetas.len() as u64),
            Parameter::Slot(_) | Parameter::Carried | Parameter::Uniform(_) => None,
        }
    }

    /// Blocks of a launch.
    pub(crate) fn blocks(&self, grid: Grid) -> u32 {
        match grid {
            Grid::Chunks => self.chunk_count,
            Grid::Tensors => self.thetas.len() as u32,
            Grid::One => 1,
        }
    }
}

/// A table on the device.
fn upload<E: Copy>(device: &Arc<Device>, table: &[E]) -> Result<Allocation, Error> {
    let allocation = Allocation::new(device, size_of_val(table))?;
    // SAFETY: tables are of whole numbers without gaps between; they were allocated as large.
    unsafe {
        let bytes = core::slice::from_raw_parts(table.as_ptr().cast(), size_of_val(table));
        device.copy_in(allocation.address(), bytes)?;
    }
    Ok(allocation)
}
