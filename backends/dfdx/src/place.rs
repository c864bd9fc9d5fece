//! [`Place`]: what an optimizer needs to know of the device that a model lies on.

use adarem::{Backend, Element};
use dfdx::dtypes::Dtype;
use dfdx::shapes::Shape;
use dfdx::tensor::{Gradients, Tensor};
use dfdx::tensor_ops::Device;

use crate::error::Error;

/// A dfdx device whose tensors can be stepped.
///
/// dfdx has two devices, and this crate implements the trait for both: `Cpu`, whose tensors are stepped as
/// slices by the rule's own code, and `Cuda` (with the feature `cuda`), where a step is made of dfdx's
/// tensor operations. Only this crate can call it, as nobody else has a [`Key`].
pub trait Place<E: Element + Dtype>: Device<E> {
    /// What steps the tensors.
    type Backend: Backend<Elem = E, Tensor: 'static, Error: Into<Error<Self::Err>>>;

    /// A parameter and its gradient, in the hands of a step.
    type Lent: Lent<Tensor = <Self::Backend as Backend>::Tensor> + Default;

    /// A backend for this device.
    fn backend(&self) -> Self::Backend;

    /// Lends `p` and its gradient, which is there, to a step.
    ///
    /// # Errors
    /// What the device gives; the gradients are then as they were.
    fn lend<S: Shape>(
        p: &mut Tensor<S, E, Self>,
        gradients: &mut Gradients<E, Self>,
        lent: &mut Self::Lent,
        key: Key,
    ) -> Result<(), Self::Err>;

    /// Takes back what [`lend`](Self::lend) gave; `p` changes only where it was `stepped`.
    ///
    /// # Errors
    /// What the device gives.
    fn take_back<S: Shape>(
        p: &mut Tensor<S, E, Self>,
        gradients: &mut Gradients<E, Self>,
        lent: &mut Self::Lent,
        stepped: bool,
        key: Key,
    ) -> Result<(), Self::Err>;
}

/// A parameter and its gradient, in the hands of a step.
pub trait Lent {
    /// As the backend takes them.
    type Tensor: ?Sized;

    /// Both, of equal lengths.
    fn pair(&mut self, key: Key) -> (&mut Self::Tensor, &Self::Tensor);
}

/// The right to lend a parameter, and the duty to take it back before anybody else touches it: only this
/// crate has one.
#[derive(Clone, Copy, Debug)]
pub struct Key(pub(crate) ());
