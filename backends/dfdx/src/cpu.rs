//! Models on the host: parameters and gradients as slices.

use alloc::vec::Vec;
use core::mem;

use adarem::Element;
use adarem_cpu::Cpu as Host;
use dfdx::dtypes::{Dtype, Unit};
use dfdx::shapes::Shape;
use dfdx::tensor::{Cpu, CpuError, Gradients, Storage, Tensor};
use dfdx::tensor_ops::Device;

use crate::place::{Lent, Place};

/// A parameter's copy and its gradient's own memory.
///
/// dfdx lends a gradient's memory, which is therefore exchanged for an empty one and back, but not a
/// parameter's: that is copied out and in.
#[derive(Debug)]
pub struct Slices<E: Unit> {
    theta: Vec<E>,
    grad: Option<<Cpu as Storage<E>>::Vec>,
}

impl<E: Unit> Default for Slices<E> {
    fn default() -> Self {
        Slices {
            theta: Vec::new(),
            grad: None,
        }
    }
}

impl<E: Unit> Lent for Slices<E> {
    type Tensor = [E];

    fn pair(&mut self) -> (&mut [E], &[E]) {
        let grad = self.grad.as_ref().map_or(&[][..], |grad| grad);
        (&mut self.theta, grad)
    }
}

impl<E: Unit> Slices<E> {
    fn lend<S: Shape>(
        &mut self,
        p: &Tensor<S, E, Cpu>,
        gradients: &mut Gradients<E, Cpu>,
    ) -> Result<(), CpuError> {
        let grad = gradients.get_or_alloc_mut(p)?;
        self.theta.resize(grad.len(), E::default());
        p.copy_into(&mut self.theta);
        let empty = match self.grad.take() {
            Some(empty) => empty,
            None => Storage::<E>::try_alloc_len(p.device(), 0)?,
        };
        self.grad = Some(mem::replace(grad, empty));
        Ok(())
    }

    fn take_back<S: Shape>(
        &mut self,
        p: &mut Tensor<S, E, Cpu>,
        gradients: &mut Gradients<E, Cpu>,
        stepped: bool,
    ) -> Result<(), CpuError> {
        if let Some(grad) = &mut self.grad {
            mem::swap(grad, gradients.get_or_alloc_mut(p)?);
        }
        if stepped {
            p.copy_from(&self.theta);
        }
        Ok(())
    }
}

impl<E: Element + Dtype> Place<E> for Cpu
where
    Cpu: Device<E>,
{
    type Backend = Host<E>;
    type Lent = Slices<E>;

    fn backend(&self) -> Host<E> {
        Host::new()
    }

    fn lend<S: Shape>(
        p: &mut Tensor<S, E, Cpu>,
        gradients: &mut Gradients<E, Cpu>,
        lent: &mut Slices<E>,
    ) -> Result<(), CpuError> {
        lent.lend(p, gradients)
    }

    fn take_back<S: Shape>(
        p: &mut Tensor<S, E, Cpu>,
        gradients: &mut Gradients<E, Cpu>,
        lent: &mut Slices<E>,
        stepped: bool,
    ) -> Result<(), CpuError> {
        lent.take_back(p, gradients, stepped)
    }
}
