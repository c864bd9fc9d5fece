//! Roll call: which parameters have a gradient.
//!
//! dfdx shows nobody which gradients a [`Gradients`] holds: `get` panics where there is none, and
//! `get_or_alloc_mut` makes one. What it offers is the merging of two tapes, where the gradients of one stand
//! over those of the other. So a set with a vector of a wrong length for every parameter, the *hollow* one,
//! is laid under a copy of the gradients: where the wrong length shows through, there was none.
//!
//! That copy is what [`update`](dfdx::optim::Optimizer::update) steps with anyway. An update in place makes it
//! once for each set of gradients and then leaves a *witness* in the set, an entry of its own; as long as
//! it is found there, no gradient can have gone.

use core::mem;

use dfdx::dtypes::Dtype;
use dfdx::nn::tensor_collection::{
    RecursiveWalker, TensorCollection, TensorOptions, TensorVisitor, ViewTensorRef,
};
use dfdx::optim::UnusedTensors;
use dfdx::shapes::{Rank0, Shape};
use dfdx::tensor::{Gradients, Merge, PutTape, SplitTape, Storage, Tensor, Trace, ZerosTensor};
use dfdx::tensor_ops::{Backward, Device};

use crate::params::{Params, Walk, trainable_ids};

/// The length of a witness: not what dfdx would give it.
const WITNESS: usize = 2;

/// A length that no gradient of so many numbers has.
fn wrong(len: usize) -> usize {
    if len == 1 { 2 } else { 1 }
}

pub(crate) struct Roll<E: Dtype, D: Device<E>> {
    /// The model's trainable tensors.
    ids: UnusedTensors,
    hollow: Gradients<E, D>,
    witness: Tensor<Rank0, E, D>,
    /// Memory to list the tensors of a model again.
    found: UnusedTensors,
}

impl<E: Dtype, D: Device<E>> Roll<E, D> {
    /// Knows no model yet.
    pub(crate) fn new(device: &D) -> Result<Self, D::Err> {
        Ok(Roll {
            ids: UnusedTensors::default(),
            hollow: Gradients::leaky(),
            witness: ZerosTensor::<E>::try_zeros(device)?,
            found: UnusedTensors::default(),
        })
    }

    /// Gets to know the tensors of `model`, where they are not those of the call before.
    fn meet<M: TensorCollection<E, D>>(
        &mut self,
        model: &M,
        params: &Params,
    ) -> Result<(), D::Err> {
        self.found.clear();
        trainable_ids(model, &mut self.found)?;
        if self.found.ids == self.ids.ids {
            return Ok(());
        }
        // Older witnesses saw other tensors.
        self.witness = ZerosTensor::<E>::try_zeros(self.witness.device())?;
        self.hollow = Gradients::leaky();
        M::iter_tensors(&mut RecursiveWalker {
            m: model,
            f: &mut Hollow {
                walk: params.walk(),
                gradients: &mut self.hollow,
            },
        })?;
        self.hollow.retain_leafs(&self.found.ids);
        mem::swap(&mut self.ids, &mut self.found);
        Ok(())
    }

    /// The gradients of the model's trainable tensors, and which parameters have none.
    pub(crate) fn call<M: TensorCollection<E, D>>(
        &mut self,
        model: &M,
        params: &Params,
        gradients: Gradients<E, D>,
    ) -> Result<(Gradients<E, D>, UnusedTensors), D::Err> {
        self.meet(model, params)?;
        let (scalar, below) = self
            .witness
            .clone()
            .traced(self.hollow.clone())
            .split_tape();
        let (_, above) = self.witness.clone().traced(gradients).split_tape();
        let mut gradients = scalar.put_tape(below.merge(above)).try_backward()?;
        let mut absent = Absent {
            walk: params.walk(),
            params,
            gradients: &mut gradients,
            unused: UnusedTensors::default(),
        };
        M::iter_tensors(&mut RecursiveWalker {
            m: model,
            f: &mut absent,
        })?;
        let unused = absent.unused;
        Ok((gradients, unused))
    }

    /// The parameters without a gradient; none where a witness vouches for the set.
    pub(crate) fn absent<M: TensorCollection<E, D>>(
        &mut self,
        model: &M,
        params: &Params,
        gradients: &mut Gradients<E, D>,
    ) -> Result<UnusedTensors, D::Err> {
        self.meet(model, params)?;
        if self.vouched(gradients)? {
            return Ok(UnusedTensors::default());
        }
        // What the next pass backwards would drop anyway must not count.
        gradients.drop_non_leafs();
        let (_, unused) = self.call(model, params, gradients.clone())?;
        if unused.is_empty() {
            self.place_witness(gradients)?;
            gradients.drop_non_leafs();
            if !self.vouched(gradients)? {
                // The set keeps only what it knows as a leaf.
                self.place_witness(gradients)?;
                let mut leaf = UnusedTensors::default();
                leaf.add(&self.witness);
                gradients.retain_leafs(&leaf.ids);
            }
        }
        Ok(unused)
    }

    fn vouched(&self, gradients: &mut Gradients<E, D>) -> Result<bool, D::Err> {
        let found = gradients.get_or_alloc_mut(&self.witness)?;
        Ok(Storage::<E>::len(self.witness.device(), found) == WITNESS)
    }

    fn place_witness(&self, gradients: &mut Gradients<E, D>) -> Result<(), D::Err> {
        let place = gradients.get_or_alloc_mut(&self.witness)?;
        *place = Storage::<E>::try_alloc_len(self.witness.device(), WITNESS)?;
        Ok(())
    }
}

/// Gives every parameter a gradient of a wrong length.
struct Hollow<'a, E: Dtype, D: Device<E>> {
    walk: Walk<'a>,
    gradients: &'a mut Gradients<E, D>,
}

impl<E: Dtype, D: Device<E>> TensorVisitor<E, D> for Hollow<'_, E, D> {
    type Viewer = ViewTensorRef;
    type Err = D::Err;
    type E2 = E;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        p: &Tensor<S, E, D>,
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        if self.walk.meet(&options).is_some() {
            let device = p.device();
            let grad = self.gradients.get_or_alloc_mut(p)?;
            *grad = Storage::<E>::try_alloc_len(device, wrong(Storage::<E>::len(device, grad)))?;
        }
        Ok(None)
    }
}

/// Finds the parameters whose gradient has a wrong length.
struct Absent<'a, E: Dtype, D: Device<E>> {
    walk: Walk<'a>,
    params: &'a Params,
    gradients: &'a mut Gradients<E, D>,
    unused: UnusedTensors,
}

impl<E: Dtype, D: Device<E>> TensorVisitor<E, D> for Absent<'_, E, D> {
    type Viewer = ViewTensorRef;
    type Err = D::Err;
    type E2 = E;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        p: &Tensor<S, E, D>,
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        if let Some(param) = self
            .walk
            .meet(&options)
            .and_then(|i| self.params.list().get(i))
        {
            let found = self.gradients.get_or_alloc_mut(p)?;
            if Storage::<E>::len(p.device(), found) == wrong(param.len) {
                self.unused.add(p);
            }
        }
        Ok(None)
    }
}
