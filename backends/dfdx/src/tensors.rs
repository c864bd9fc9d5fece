//! Models on devices that lend no memory: parameters and gradients as tensors.

use core::mem;

use adarem::Element;
use dfdx::dtypes::Dtype;
use dfdx::shapes::{HasShape, Shape};
use dfdx::tensor::{Gradients, Tensor};
use dfdx::tensor_ops::{Device, ReshapeTo};

use crate::flat::Flat;
use crate::place::{Key, Lent, Place};
use crate::walk::Walk;

/// A parameter, which shares its memory with the model until it is rewritten, and a copy of its gradient.
#[derive(Debug)]
pub struct Tensors<E: Element + Dtype, D: Device<E>> {
    theta: Flat<E, D>,
    grad: Flat<E, D>,
}

impl<E: Element + Dtype, D: Device<E>> Default for Tensors<E, D> {
    fn default() -> Self {
        Tensors {
            theta: Flat::default(),
            grad: Flat::default(),
        }
    }
}

impl<E: Element + Dtype, D: Device<E>> Lent for Tensors<E, D> {
    type Tensor = Flat<E, D>;

    fn pair(&mut self, _: Key) -> (&mut Flat<E, D>, &Flat<E, D>) {
        (&mut self.theta, &self.grad)
    }
}

impl<E: Element + Dtype, D: Device<E>> Tensors<E, D> {
    fn lend<S: Shape>(
        &mut self,
        p: &Tensor<S, E, D>,
        gradients: &Gradients<E, D>,
    ) -> Result<(), D::Err> {
        self.theta = Flat::from_tensor(p.clone())?;
        self.grad = Flat::from_tensor(gradients.get(p))?;
        Ok(())
    }

    fn take_back<S: Shape>(
        &mut self,
        p: &mut Tensor<S, E, D>,
        stepped: bool,
    ) -> Result<(), D::Err> {
        let Tensors { theta, .. } = mem::take(self);
        if let Some(list) = theta.into_list().filter(|_| stepped) {
            let new = list.try_reshape_like(p.shape())?;
            // A tensor with an id can only be calculated with: 0 * -1 is -0, and -0 + x is x, also where x is a
            // zero of either sign.
            p.try_fill_with_zeros()?;
            p.try_axpy(-1.0, &new, 1.0)?;
        }
        Ok(())
    }
}

/// A device whose models are stepped by its tensor operations.
pub trait ByTensors {}

#[cfg(feature = "cuda")]
impl ByTensors for dfdx::tensor::Cuda {}

// The engine that steps slices needs `std`.
#[cfg(not(feature = "std"))]
impl ByTensors for dfdx::tensor::Cpu {}

impl<E: Element + Dtype, D: Device<E> + ByTensors> Place<E> for D {
    type Backend = Walk<E, D>;
    type Lent = Tensors<E, D>;

    fn backend(&self) -> Walk<E, D> {
        Walk::new(self.clone())
    }

    fn lend<S: Shape>(
        p: &mut Tensor<S, E, D>,
        gradients: &mut Gradients<E, D>,
        lent: &mut Tensors<E, D>,
        _: Key,
    ) -> Result<(), D::Err> {
        lent.lend(p, gradients)
    }

    fn take_back<S: Shape>(
        p: &mut Tensor<S, E, D>,
        _: &mut Gradients<E, D>,
        lent: &mut Tensors<E, D>,
        stepped: bool,
        _: Key,
    ) -> Result<(), D::Err> {
        lent.take_back(p, stepped)
    }
}
