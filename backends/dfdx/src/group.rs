//! [`Group`]: a parameter group of a dfdx model, as an optimizer.

use alloc::vec::Vec;
use core::marker::PhantomData;
use core::mem;

use adarem::{Backend, Element, ErrorKind, Optimizer as State, Rule};
use dfdx::dtypes::Dtype;
use dfdx::nn::tensor_collection::{
    RecursiveWalker, TensorCollection, TensorOptions, TensorVisitor, ViewTensorMut,
};
use dfdx::optim::{Optimizer, OptimizerUpdateError, UnusedTensors};
use dfdx::shapes::Shape;
use dfdx::tensor::{Gradients, Tensor};

use crate::error::Error;
use crate::params::{Param, Params, Walk};
use crate::place::{Key, Lent, Place};
use crate::roll::Roll;
use crate::update::{Update, update, update_in_place};

/// A rule at work on a model, or on some of its parameters: a dfdx [`Optimizer`].
///
/// `R` is the rule, which is also the configuration; `M` the model; `E` the number type, `f32` or `f64`; `D` the
/// device. Use it by the rule's name, as [`AdaRem`](crate::AdaRem):
///
/// ```
/// use adarem_dfdx::{AdaRem, AdaRemConfig};
/// use dfdx::optim::Optimizer;
/// use dfdx::prelude::*;
///
/// let dev = Cpu::default();
/// let mut model = dev.build_module::<(Linear<4, 8>, ReLU, Linear<8, 2>), f32>();
/// let mut grads = model.alloc_grads();
/// let mut opt = AdaRem::new(&model, AdaRemConfig { lr: 0.05, ..Default::default() });
///
/// let x: Tensor<Rank2<16, 4>, f32, _> = dev.sample_normal();
/// for step in 0..100 {
///     let loss = model.forward_mut(x.clone().traced(grads)).square().mean();
///     grads = loss.backward();
///     opt.cfg.lr = 0.05 / (1.0 + 0.01 * f64::from(step));
///     opt.update(&mut model, &grads)?;
///     model.zero_grads(&mut grads);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`update`](Optimizer::update) is given the gradients to read only, and dfdx then has them copied to be read
/// at all; [`update_in_place`](Self::update_in_place) needs no such copy.
///
/// A parameter that no group steps is frozen. What dfdx itself does not train, such as the running means of
/// a batch normalization, is never touched.
pub struct Group<R, M, E, D>
where
    E: Element + Dtype,
    D: Place<E>,
{
    /// The rule with its hyper-parameters, to be changed between updates; the next one checks them.
    pub cfg: R,
    pub(crate) params: Params,
    pub(crate) state: State<R, D::Backend>,
    pub(crate) backend: D::Backend,
    roll: Roll<E, D>,
    lent: Vec<D::Lent>,
    /// Memory for the lists that a step takes.
    thetas: Vec<&'static mut <D::Backend as Backend>::Tensor>,
    grads: Vec<&'static <D::Backend as Backend>::Tensor>,
    model: PhantomData<fn(&M)>,
}

impl<R, M, E, D> Group<R, M, E, D>
where
    R: Rule + Clone,
    M: TensorCollection<E, D>,
    E: Element + Dtype,
    D: Place<E>,
{
    /// An optimizer for all trainable parameters of `model`.
    ///
    /// # Panics
    /// Where [`try_new`](Self::try_new) gives an error.
    pub fn new(model: &M, cfg: R) -> Self {
        Self::try_new(model, cfg).unwrap_or_else(|error| panic!("{error}"))
    }

    /// An optimizer for all trainable parameters of `model`.
    ///
    /// # Errors
    /// A hyper-parameter out of its range, by name and value; what the device gives.
    pub fn try_new(model: &M, cfg: R) -> Result<Self, Error<D::Err>> {
        Self::try_of(model, cfg, |_| true)
    }

    /// An optimizer for the trainable parameters of `model` whose dotted names `chosen` accepts.
    ///
    /// ```
    /// use adarem_dfdx::{AdaRem, AdaRemConfig};
    /// use dfdx::prelude::*;
    ///
    /// let model = Cpu::default().build_module::<(Linear<4, 8>, ReLU, Linear<8, 2>), f32>();
    /// let last = AdaRem::of(&model, AdaRemConfig::default(), |name| name.starts_with("2."));
    /// let names: Vec<_> = last.params().iter().map(|param| param.name.as_str()).collect();
    /// assert_eq!(names, ["2.weight", "2.bias"]);
    /// ```
    ///
    /// # Panics
    /// Where [`try_of`](Self::try_of) gives an error.
    pub fn of(model: &M, cfg: R, chosen: impl FnMut(&str) -> bool) -> Self {
        Self::try_of(model, cfg, chosen).unwrap_or_else(|error| panic!("{error}"))
    }

    /// An optimizer for the trainable parameters of `model` whose dotted names `chosen` accepts.
    ///
    /// # Errors
    /// As [`try_new`](Self::try_new).
    pub fn try_of(
        model: &M,
        cfg: R,
        chosen: impl FnMut(&str) -> bool,
    ) -> Result<Self, Error<D::Err>> {
        let (params, device) = Params::of(model, chosen).map_err(Error::Device)?;
        let mut backend = device.backend();
        let lengths: Vec<_> = params.list().iter().map(|param| param.len).collect();
        let state = State::new(cfg.clone(), &mut backend, &lengths).map_err(Into::into)?;
        Ok(Group {
            cfg,
            state,
            backend,
            roll: Roll::new(&device).map_err(Error::Device)?,
            lent: lengths.iter().map(|_| D::Lent::default()).collect(),
            thetas: Vec::with_capacity(lengths.len()),
            grads: Vec::with_capacity(lengths.len()),
            params,
            model: PhantomData,
        })
    }

    /// Steps the parameters as [`update`](Optimizer::update) does, without copying the gradients.
    ///
    /// The gradients come back as they were. So that those missing can be told, the set is looked through
    /// once, by way of a copy, and then marked with an entry of the optimizer's own: that pays for sets that are
    /// used again, as those of `alloc_grads` are.
    ///
    /// ```
    /// use adarem_dfdx::{Sgd, SgdConfig};
    /// use dfdx::prelude::*;
    ///
    /// let dev = Cpu::default();
    /// let mut theta: Tensor<Rank1<2>, f32, _> = dev.tensor([3.0, -4.0]);
    /// let mut opt = Sgd::new(&theta, SgdConfig { lr: 0.25, ..Default::default() });
    /// let mut grads = theta.leaky_trace().square().sum().backward();
    /// opt.update_in_place(&mut theta, &mut grads)?;
    /// assert_eq!(theta.array(), [1.5, -2.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unused`], [`Error::Refused`]: nothing was changed. [`Error::Device`].
    pub fn update_in_place(
        &mut self,
        model: &mut M,
        gradients: &mut Gradients<E, D>,
    ) -> Result<(), Error<D::Err>> {
        update_in_place(self, model, gradients)
    }

    /// The parameters that it steps, in the model's order.
    pub fn params(&self) -> &[Param] {
        self.params.list()
    }

    /// Steps taken; the next one is this, counted from 0.
    pub fn steps(&self) -> u64 {
        self.state.steps()
    }
}

impl<R, M, E, D> Update<M, E, D> for Group<R, M, E, D>
where
    R: Rule + Clone,
    M: TensorCollection<E, D>,
    E: Element + Dtype,
    D: Place<E>,
{
    fn complete(
        &mut self,
        model: &M,
        gradients: Gradients<E, D>,
        unused: &mut UnusedTensors,
    ) -> Result<Gradients<E, D>, D::Err> {
        let (gradients, absent) = self.roll.call(model, &self.params, gradients)?;
        unused.ids.extend(absent.ids);
        Ok(gradients)
    }

    fn find_absent(
        &mut self,
        model: &M,
        gradients: &mut Gradients<E, D>,
        unused: &mut UnusedTensors,
    ) -> Result<(), D::Err> {
        let absent = self.roll.absent(model, &self.params, gradients)?;
        unused.ids.extend(absent.ids);
        Ok(())
    }

    fn check(&self) -> Result<(), ErrorKind> {
        let next = self.state.steps();
        self.cfg.check_at(next).map_err(ErrorKind::from)
    }

    fn step(
        &mut self,
        model: &mut M,
        gradients: &mut Gradients<E, D>,
    ) -> Result<(), Error<D::Err>> {
        self.state.rule_mut().clone_from(&self.cfg);
        let lent = self.walk(model, gradients, Way::Lend);
        let stepped = lent.and_then(|()| {
            let (mut thetas, mut grads) = (mem::take(&mut self.thetas), mem::take(&mut self.grads));
            for lent in &mut self.lent {
                let (theta, grad) = lent.pair(Key(()));
                thetas.push(theta);
                grads.push(grad);
            }
            let stepped = self.state.step(&mut self.backend, &mut thetas, &grads);
            self.thetas = emptied(thetas, |_| unreachable!("the list is empty"));
            self.grads = emptied(grads, |_| unreachable!("the list is empty"));
            stepped.map_err(Into::into)
        });
        let way = Way::TakeBack {
            stepped: stepped.is_ok(),
        };
        stepped.and(self.walk(model, gradients, way))
    }
}

/// An empty list of another lifetime in the memory of `list`.
fn emptied<A, B>(mut list: Vec<A>, never: impl FnMut(A) -> B) -> Vec<B> {
    list.clear();
    list.into_iter().map(never).collect()
}

impl<R, M, E, D> Group<R, M, E, D>
where
    M: TensorCollection<E, D>,
    E: Element + Dtype,
    D: Place<E>,
{
    /// Lends all parameters to a step, or takes them back.
    fn walk(
        &mut self,
        model: &mut M,
        gradients: &mut Gradients<E, D>,
        way: Way,
    ) -> Result<(), Error<D::Err>> {
        let mut lending = Lending {
            walk: self.params.walk(),
            lent: &mut self.lent,
            gradients,
            way,
        };
        M::iter_tensors(&mut RecursiveWalker {
            m: model,
            f: &mut lending,
        })
        .map(drop)
        .map_err(Error::Device)
    }
}

/// Where a walk through the parameters moves them.
#[derive(Clone, Copy)]
enum Way {
    Lend,
    TakeBack { stepped: bool },
}

struct Lending<'a, E: Element + Dtype, D: Place<E>> {
    walk: Walk<'a>,
    lent: &'a mut [D::Lent],
    gradients: &'a mut Gradients<E, D>,
    way: Way,
}

impl<E: Element + Dtype, D: Place<E>> TensorVisitor<E, D> for Lending<'_, E, D> {
    type Viewer = ViewTensorMut;
    type Err = D::Err;
    type E2 = E;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, E, D>,
        p: &mut Tensor<S, E, D>,
    ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
        let index = self.walk.meet(&options);
        if let Some(lent) = index.and_then(|i| self.lent.get_mut(i)) {
            match self.way {
                Way::Lend => D::lend(p, self.gradients, lent, Key(()))?,
                Way::TakeBack { stepped } => {
                    D::take_back(p, self.gradients, lent, stepped, Key(()))?
                }
            }
        }
        Ok(None)
    }
}

impl<R, M, E, D> Optimizer<M, D, E> for Group<R, M, E, D>
where
    R: Rule + Clone,
    M: TensorCollection<E, D>,
    E: Element + Dtype,
    D: Place<E>,
{
    /// Steps the parameters.
    ///
    /// # Errors
    /// As dfdx's own optimizers: the ids of parameters without a gradient, or what the device gives. In the first
    /// case nothing was changed.
    ///
    /// # Panics
    /// For what dfdx has no error for: a hyper-parameter in [`cfg`](Group::cfg) that is out of its range.
    fn update(
        &mut self,
        model: &mut M,
        gradients: &Gradients<E, D>,
    ) -> Result<(), OptimizerUpdateError<D::Err>> {
        update(self, model, gradients).map_err(Error::into_dfdx)
    }
}
