//! Steps in mixed precision, and memory for numbers of 16 bits.

use crate::{device::Vulkan, error::Error, memory::Tensor, step::Tensors};
use adarem::{ErrorKind, Optimizer, Param, Rule, Tensor as _, trace::trace};

impl Vulkan<f32> {
    /// A step in mixed precision: the parameters that the network computes with are `params`, and its gradients are of
    /// the same type; `master` is the copy in full that the step is taken on, so that steps too small for the type add
    /// up. `params` becomes it, rounded to the nearest, by the same kernels, wherever the step rewrites it: the bits are
    /// those of [`Host::mixed`](adarem::Host::mixed). The checkpoint of the optimizer holds its state alone; the engine
    /// keeps `master` beside it. Where `P` is `f32`, there is no copy to keep, and `params` is not used.
    ///
    /// Two numbers of 16 bits share a word, which one invocation loads and stores. So each tensor of them starts at a
    /// multiple of 4 bytes, and its buffer holds its last word whole; what [`zeros_of`](Self::zeros_of) gives does both. No
    /// device needs a feature for it. Within [`record`](Self::record) the step is recorded.
    ///
    /// With the adapters' `HalfState` around [`AdaRem`](adarem::AdaRem), a step moves 16 bytes a parameter.
    ///
    /// ```
    /// use adarem::{AdaRem, Backend, Bf16, Optimizer, Stored};
    /// use adarem_vulkan::Vulkan;
    ///
    /// # fn main() -> Result<(), adarem_vulkan::Error> {
    /// # if Vulkan::<f32>::open().is_err() { return Ok(()); }
    /// let mut vulkan = Vulkan::<f32>::open()?;
    /// let start = [1.0, -2.0];
    /// let (mut master, mut params) = (vulkan.zeros(2)?, vulkan.zeros_of::<Bf16>(2)?);
    /// vulkan.write(&mut master, 0, &start)?;
    /// vulkan.write_of(&mut params, 0, &start.map(Bf16::store))?;
    /// let mut grad = vulkan.zeros_of(2)?;
    /// vulkan.write_of(&mut grad, 0, &[2.0, -4.0].map(Bf16::store))?;
    ///
    /// let mut optimizer = Optimizer::new(AdaRem { lr: 1e-3, ..AdaRem::default() }, &mut vulkan, &[2])?;
    /// for _ in 0..100 {
    ///     vulkan.step_mixed(&mut optimizer, &mut [&mut master], &mut [&mut params], &[&grad])?;
    /// }
    /// let mut numbers = [0.0; 2];
    /// vulkan.read(&master, 0, &mut numbers)?;
    /// assert!(numbers[0] < 0.9 && numbers[1] > -1.8);
    /// let mut rounded = [Bf16::default(); 2];
    /// vulkan.read_of(&params, 0, &mut rounded)?;
    /// assert_eq!(rounded, numbers.map(Bf16::store));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Optimizer::step`]: a length that differs, in `params` too, is refused and nothing is changed. So is a tensor
    /// that starts in the middle of a word, with [`Error::HalfWord`].
    pub fn step_mixed<R: Rule, P: Param>(
        &mut self,
        optimizer: &mut Optimizer<R, Self>,
        master: &mut [&mut Tensor<f32>],
        params: &mut [&mut Tensor<P>],
        grad: &[&Tensor<P>],
    ) -> Result<(), Error> {
        let params: &[&mut Tensor<P>] = match P::HALF {
            Some(_) => params,
            None => &[],
        };
        for (i, tensor) in params.iter().enumerate() {
            starts_with_a_word("params", i, tensor)?;
        }
        for (i, tensor) in grad.iter().enumerate() {
            starts_with_a_word("grad", i, tensor)?;
        }
        let turn = optimizer.begin(
            master.iter().map(|tensor| tensor.len()),
            grad.iter().map(|tensor| tensor.len()),
        )?;
        let tensors = Tensors {
            theta: master,
            params,
            grad,
            slots: &*turn.slots,
            carried: &*turn.carried,
        };
        let result = match trace(turn.rule, turn.t) {
            Ok(traced) => self.run_over(&traced.plan, traced.uniforms(), tensors),
            Err(misfit) => Err(ErrorKind::from(misfit).into()),
        };
        turn.end(result)
    }

    /// Allocates `len` zeros of another type than the backend's, for [`step_mixed`](Self::step_mixed): in whole words.
    ///
    /// ```no_run
    /// use adarem::F16;
    /// use adarem_vulkan::Vulkan;
    ///
    /// # fn main() -> Result<(), adarem_vulkan::Error> {
    /// let mut vulkan = Vulkan::<f32>::open()?;
    /// let params = vulkan.zeros_of::<F16>(3)?;
    /// assert_eq!(params.bytes(), 0..6);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Backend::zeros`](adarem::Backend::zeros).
    pub fn zeros_of<P: Param>(&mut self, len: usize) -> Result<Tensor<P>, Error> {
        self.allocate(len)
    }

    /// Copies `from` into `to[at..]`, numbers of another type than the backend's.
    ///
    /// ```no_run
    /// use adarem::{F16, Stored};
    /// use adarem_vulkan::Vulkan;
    ///
    /// # fn main() -> Result<(), adarem_vulkan::Error> {
    /// let mut vulkan = Vulkan::<f32>::open()?;
    /// let mut params = vulkan.zeros_of(3)?;
    /// vulkan.write_of(&mut params, 1, &[0.5, -0.5].map(F16::store))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Backend::write`](adarem::Backend::write).
    pub fn write_of<P: Param>(
        &mut self,
        to: &mut Tensor<P>,
        at: usize,
        from: &[P],
    ) -> Result<(), Error> {
        self.upload(to, at, from)
    }

    /// Copies `from[at..]` into `to`, numbers of another type than the backend's, after everything asked for before.
    ///
    /// ```no_run
    /// use adarem::Bf16;
    /// use adarem_vulkan::Vulkan;
    ///
    /// # fn main() -> Result<(), adarem_vulkan::Error> {
    /// let mut vulkan = Vulkan::<f32>::open()?;
    /// let (params, mut last) = (vulkan.zeros_of::<Bf16>(3)?, [Bf16::default()]);
    /// vulkan.read_of(&params, 2, &mut last)?;
    /// assert_eq!(last[0].to_f32(), 0.0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Backend::read`](adarem::Backend::read).
    pub fn read_of<P: Param>(
        &mut self,
        from: &Tensor<P>,
        at: usize,
        to: &mut [P],
    ) -> Result<(), Error> {
        // SAFETY: any bits are an `f32`, a `Bf16` and an `F16`.
        unsafe { self.download(from, at, to) }
    }
}

/// Refuses a tensor whose first number does not begin a word.
fn starts_with_a_word<P>(what: &'static str, tensor: usize, lent: &Tensor<P>) -> Result<(), Error> {
    let offset = lent.bytes().start;
    match offset.is_multiple_of(4) {
        true => Ok(()),
        false => Err(Error::HalfWord {
            what,
            tensor,
            offset,
        }),
    }
}
