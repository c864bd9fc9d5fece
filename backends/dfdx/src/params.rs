//! Which tensors of a model an optimizer steps, and in what order.

use alloc::string::String;
use alloc::vec::Vec;

use dfdx::dtypes::Dtype;
use dfdx::nn::tensor_collection::{
    RecursiveWalker, TensorCollection, TensorOptions, TensorVisitor, ViewTensorName, ViewTensorRef,
};
use dfdx::optim::UnusedTensors;
use dfdx::shapes::{HasShape, Shape};
use dfdx::tensor::{Gradients, Storage, Tensor};
use dfdx::tensor_ops::Device;

/// A parameter that an optimizer steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its dotted name in the model, such as `0.weight`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// How many numbers its memory holds.
    pub(crate) len: usize,
    /// Which of the model's trainable tensors it is.
    place: usize,
}

/// The parameters of a group, in the order in which a model shows its tensors.
#[derive(Debug, Default)]
pub(crate) struct Params(Vec<Param>);

impl Params {
    /// The trainable tensors of `model` whose names `chosen` accepts, and the device they lie on.
    pub(crate) fn of<M, E, D>(
        model: &M,
        chosen: impl FnMut(&str) -> bool,
    ) -> Result<(Self, D), D::Err>
    where
        M: TensorCollection<E, D>,
        E: Dtype,
        D: Device<E>,
    {
        let mut census = Census {
            chosen,
            params: Vec::new(),
            trainable: 0,
            device: None,
            lengths: Gradients::leaky(),
        };
        M::iter_tensors(&mut RecursiveWalker {
            m: (model, String::new()),
            f: &mut census,
        })?;
        Ok((Params(census.params), census.device.unwrap_or_default()))
    }

    pub(crate) fn list(&self) -> &[Param] {
        &self.0
    }

    /// To be asked at every tensor of a walk through the model.
    pub(crate) fn walk(&self) -> Walk<'_> {
        Walk {
            rest: self.0.iter().enumerate(),
            next: None,
            trainable: 0,
        }
        .advanced()
    }
}

struct Census<F, E, D: Device<E>>
where
    E: Dtype,
{
    chosen: F,
    params: Vec<Param>,
    trainable: usize,
    device: Option<D>,
    /// Only its gradient tells how much memory a tensor has.
    lengths: Gradients<E, D>,
}

impl<F: FnMut(&str) -> bool, E: Dtype, D: Device<E>> TensorVisitor<E, D> for Census<F, E, D> {
    type Viewer = (ViewTensorRef, ViewTensorName);
    type Err = D::Err;
    type E2 = E;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        (p, name): (&Tensor<S, E, D>, String),
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        if !options.do_gradient_update {
            return Ok(None);
        }
        let device = self.device.get_or_insert_with(|| p.device().clone());
        let place = self.trainable;
        self.trainable += 1;
        if (self.chosen)(&name) {
            let grad = self.lengths.get_or_alloc_mut(p)?;
            let len = Storage::<E>::len(device, grad);
            *grad = Storage::<E>::try_alloc_len(device, 1)?;
            self.params.push(Param {
                name,
                shape: p.shape().concrete().into(),
                len,
                place,
            });
        }
        Ok(None)
    }
}

/// A walk through a model's tensors beside the list of those that belong to the group.
pub(crate) struct Walk<'a> {
    rest: core::iter::Enumerate<core::slice::Iter<'a, Param>>,
    next: Option<(usize, &'a Param)>,
    trainable: usize,
}

impl Walk<'_> {
    fn advanced(mut self) -> Self {
        self.next = self.rest.next();
        self
    }

    /// Which parameter of the group the next tensor of the walk is; `None` where it is none of them.
    pub(crate) fn meet<S: Shape, E: Dtype, D: Device<E>>(
        &mut self,
        options: &TensorOptions<S, E, D>,
    ) -> Option<usize> {
        if !options.do_gradient_update {
            return None;
        }
        let place = self.trainable;
        self.trainable += 1;
        let (index, _) = self.next.filter(|(_, param)| param.place == place)?;
        self.next = self.rest.next();
        Some(index)
    }
}

/// The ids of a model's trainable tensors, appended to `ids`.
pub(crate) fn trainable_ids<M, E, D>(model: &M, ids: &mut UnusedTensors) -> Result<(), D::Err>
where
    M: TensorCollection<E, D>,
    E: Dtype,
    D: Device<E>,
{
    M::iter_tensors(&mut RecursiveWalker {
        m: model,
        f: &mut Ids(ids),
    })
    .map(drop)
}

struct Ids<'a>(&'a mut UnusedTensors);

impl<E: Dtype, D: Device<E>> TensorVisitor<E, D> for Ids<'_> {
    type Viewer = ViewTensorRef;
    type Err = D::Err;
    type E2 = E;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        p: &Tensor<S, E, D>,
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        if options.do_gradient_update {
            self.0.add(p);
        }
        Ok(None)
    }
}
