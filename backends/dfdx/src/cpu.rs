//! Models on the host: parameters and gradients as slices.

use core::mem;

use adarem::Element;
use adarem_cpu::Cpu as Host;
use dfdx::dtypes::{Dtype, Unit};
use dfdx::shapes::Shape;
use dfdx::tensor::{Cpu, CpuError, Gradients, Storage, Tensor};
use dfdx::tensor_ops::Device;

use crate::place::{Key, Lent, Place};
use crate::theta::Theta;

/// A parameter, and the memory of its gradient.
///
/// dfdx lends a gradient's memory, which is therefore exchanged for an empty one and back.
#[derive(Debug)]
pub struct Slices<E: Unit> {
    theta: Theta<E>,
    /// The gradient's memory, while it is lent.
    grad: Option<<Cpu as Storage<E>>::Vec>,
    /// What stands in its place meanwhile: no memory at all.
    empty: Option<<Cpu as Storage<E>>::Vec>,
}

impl<E: Unit> Default for Slices<E> {
    fn default() -> Self {
        Slices {
            theta: Theta::default(),
            grad: None,
            empty: None,
        }
    }
}

impl<E: Unit> Lent for Slices<E> {
    type Tensor = [E];

    fn pair(&mut self, _: Key) -> (&mut [E], &[E]) {
        let grad = self.grad.as_ref().map_or(&[][..], |grad| grad);
        (self.theta.slice(), grad)
    }
}

impl<E: Unit> Slices<E> {
    fn lend<S: Shape>(
        &mut self,
        p: &mut Tensor<S, E, Cpu>,
        gradients: &mut Gradients<E, Cpu>,
    ) -> Result<(), CpuError> {
        let empty = match self.empty.take() {
            Some(empty) => empty,
            None => Storage::<E>::try_alloc_len(p.device(), 0)?,
        };
        let grad = gradients.get_or_alloc_mut(p)?;
        let len = grad.len();
        self.grad = Some(mem::replace(grad, empty));
        self.theta.lend(p, len)
    }

    fn take_back<S: Shape>(
        &mut self,
        p: &mut Tensor<S, E, Cpu>,
        gradients: &mut Gradients<E, Cpu>,
        stepped: bool,
    ) -> Result<(), CpuError> {
        if let Some(grad) = self.grad.take() {
            self.empty = Some(mem::replace(gradients.get_or_alloc_mut(p)?, grad));
            self.theta.take_back(p, stepped);
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
        _: Key,
    ) -> Result<(), CpuError> {
        lent.lend(p, gradients)
    }

    fn take_back<S: Shape>(
        p: &mut Tensor<S, E, Cpu>,
        gradients: &mut Gradients<E, Cpu>,
        lent: &mut Slices<E>,
        stepped: bool,
        _: Key,
    ) -> Result<(), CpuError> {
        lent.take_back(p, gradients, stepped)
    }
}
