//! [`Update`]: what an update asks of one parameter group, or of several together.

use adarem::{Element, ErrorKind};
use dfdx::dtypes::Dtype;
use dfdx::nn::tensor_collection::TensorCollection;
use dfdx::optim::{Optimizer, OptimizerUpdateError, UnusedTensors};
use dfdx::tensor::Gradients;

use crate::error::Error;
use crate::place::Place;

/// What an update asks of one parameter group, or of several together. Its methods are called by
/// [`Optimizer::update`] and `update_in_place`; nobody else needs to.
pub trait Update<M, E: Element + Dtype, D: Place<E>> {
    /// A set of gradients for all trainable tensors of the model; those of this update's parameters that were
    /// missing are added to `unused`.
    ///
    /// # Errors
    /// What the device gives.
    fn complete(
        &mut self,
        model: &M,
        gradients: Gradients<E, D>,
        unused: &mut UnusedTensors,
    ) -> Result<Gradients<E, D>, D::Err>;

    /// Adds the parameters whose gradients are missing to `unused`.
    ///
    /// # Errors
    /// What the device gives.
    fn find_absent(
        &mut self,
        model: &M,
        gradients: &mut Gradients<E, D>,
        unused: &mut UnusedTensors,
    ) -> Result<(), D::Err>;

    /// Whether a step may begin.
    ///
    /// # Errors
    /// A hyper-parameter out of its range, by name and value.
    fn check(&self) -> Result<(), ErrorKind>;

    /// Steps the parameters; every one has a gradient.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Device`].
    fn step(&mut self, model: &mut M, gradients: &mut Gradients<E, D>)
    -> Result<(), Error<D::Err>>;
}

/// An update that reads the gradients only: it steps with a copy of them.
pub(crate) fn update<U, M, E, D>(
    groups: &mut U,
    model: &mut M,
    gradients: &Gradients<E, D>,
) -> Result<(), Error<D::Err>>
where
    U: Update<M, E, D>,
    E: Element + Dtype,
    D: Place<E>,
{
    groups.check()?;
    let mut unused = UnusedTensors::default();
    let copy = groups.complete(model, gradients.clone(), &mut unused);
    let mut copy = copy.map_err(Error::Device)?;
    if !unused.is_empty() {
        return Err(Error::Unused(unused));
    }
    groups.step(model, &mut copy)
}

/// An update with the gradients' own memory.
pub(crate) fn update_in_place<U, M, E, D>(
    groups: &mut U,
    model: &mut M,
    gradients: &mut Gradients<E, D>,
) -> Result<(), Error<D::Err>>
where
    U: Update<M, E, D>,
    E: Element + Dtype,
    D: Place<E>,
{
    groups.check()?;
    let mut unused = UnusedTensors::default();
    groups
        .find_absent(model, gradients, &mut unused)
        .map_err(Error::Device)?;
    if !unused.is_empty() {
        return Err(Error::Unused(unused));
    }
    groups.step(model, gradients)
}

/// Two parameter groups of one model, each with its own rule: together a dfdx [`Optimizer`].
///
/// Either may be such a pair itself. What lies in neither is frozen; a parameter that lies in both is
/// stepped twice.
///
/// ```
/// use adarem_dfdx::{AdaRem, AdaRemConfig, AdaRemS, AdaRemSConfig, Groups};
/// use dfdx::prelude::*;
///
/// let dev = Cpu::default();
/// let mut model = dev.build_module::<(Linear<4, 8>, BatchNorm1D<8>, Linear<8, 2>), f32>();
/// // The first weight's scale does not matter, as a normalization follows: it lives on a sphere. Biases and
/// // the normalization's own parameters must not decay.
/// let spheres = AdaRemS::of(&model, AdaRemSConfig::default(), |name| name == "0.weight");
/// let decayed = AdaRemConfig { weight_decay: 1e-4, ..Default::default() };
/// let decayed = AdaRem::of(&model, decayed, |name| name == "2.weight");
/// let rest = AdaRem::of(&model, AdaRemConfig::default(), |name| !name.ends_with("weight"));
/// let mut opt = Groups(spheres, Groups(decayed, rest));
///
/// let mut grads = model.alloc_grads();
/// let x: Tensor<Rank2<16, 4>, f32, _> = dev.sample_normal();
/// grads = model.forward_mut(x.traced(grads)).square().mean().backward();
/// opt.update(&mut model, &grads)?;
/// opt.0.cfg.lr *= 0.9;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Groups<A, B>(pub A, pub B);

impl<A, B> Groups<A, B> {
    /// Steps both groups without copying the gradients, as `update_in_place` of each.
    ///
    /// # Errors
    /// [`Error::Unused`], [`Error::Refused`]: nothing was changed. [`Error::Device`].
    pub fn update_in_place<M, E, D>(
        &mut self,
        model: &mut M,
        gradients: &mut Gradients<E, D>,
    ) -> Result<(), Error<D::Err>>
    where
        A: Update<M, E, D>,
        B: Update<M, E, D>,
        E: Element + Dtype,
        D: Place<E>,
    {
        update_in_place(self, model, gradients)
    }
}

impl<A, B, M, E, D> Update<M, E, D> for Groups<A, B>
where
    A: Update<M, E, D>,
    B: Update<M, E, D>,
    E: Element + Dtype,
    D: Place<E>,
{
    fn complete(
        &mut self,
        model: &M,
        gradients: Gradients<E, D>,
        unused: &mut UnusedTensors,
    ) -> Result<Gradients<E, D>, D::Err> {
        let gradients = self.0.complete(model, gradients, unused)?;
        self.1.complete(model, gradients, unused)
    }

    fn find_absent(
        &mut self,
        model: &M,
        gradients: &mut Gradients<E, D>,
        unused: &mut UnusedTensors,
    ) -> Result<(), D::Err> {
        self.0.find_absent(model, gradients, unused)?;
        self.1.find_absent(model, gradients, unused)
    }

    fn check(&self) -> Result<(), ErrorKind> {
        self.0.check()?;
        self.1.check()
    }

    fn step(
        &mut self,
        model: &mut M,
        gradients: &mut Gradients<E, D>,
    ) -> Result<(), Error<D::Err>> {
        self.0.step(model, gradients)?;
        self.1.step(model, gradients)
    }
}

impl<A, B, M, E, D> Optimizer<M, D, E> for Groups<A, B>
where
    A: Update<M, E, D>,
    B: Update<M, E, D>,
    M: TensorCollection<E, D>,
    E: Element + Dtype,
    D: Place<E>,
{
    /// Steps both groups.
    ///
    /// # Errors
    /// As dfdx's own optimizers; where gradients are missing, nothing was changed.
    ///
    /// # Panics
    /// For a hyper-parameter that is out of its range.
    fn update(
        &mut self,
        model: &mut M,
        gradients: &Gradients<E, D>,
    ) -> Result<(), OptimizerUpdateError<D::Err>> {
        update(self, model, gradients).map_err(Error::into_dfdx)
    }
}
