//! Optimizers on the host, at the speed of memory: the bits of [`adarem::Host`], with the widest vector
//! instructions of the processor at hand, and threads for large tensors.
//!
//! ```
//! use adarem::{AdaRem, Optimizer};
//! use adarem_cpu::Cpu;
//!
//! let mut cpu = Cpu::new();
//! let (mut weight, mut bias) = (vec![0.5f32; 1000], vec![0.0; 10]);
//! let mut optimizer = Optimizer::new(AdaRem::default(), &mut cpu, &[weight.len(), bias.len()])?;
//!
//! let (grad_weight, grad_bias) = (vec![0.1; 1000], vec![-0.2; 10]);
//! optimizer.step(&mut cpu, &mut [&mut weight, &mut bias], &[&grad_weight, &grad_bias])?;
//! assert!((bias[0] - 0.02).abs() < 1e-6);
//! # Ok::<(), adarem::ErrorKind>(())
//! ```
//!
//! A step after the first allocates nothing. Which thread does what never changes a bit: sums follow the
//! order written in [`adarem::fold`].

mod engine;
mod interpret;
mod memory;
mod simd;
mod team;

use adarem::backend::{copy_in, copy_out};
use adarem::{AdaRem8, Backend, Batch, Element, ErrorKind, Optimizer, Plan, Rule, Stored};

use engine::{Step, Tensors};
pub use memory::Memory;
use simd::Job;
pub use simd::Simd;
use team::Team;

/// The host's processor as a [`Backend`]: tensors are slices.
///
/// It runs rules natively: [`Backend::step`] compiles the rule's own code into the loop. [`Backend::run`]
/// walks a plan op by op, and is there for plans that come without their rule.
#[derive(Debug)]
pub struct Cpu<T> {
    simd: Simd,
    team: Team,
    work: engine::Work<T>,
    /// How often memory was asked for.
    turn: usize,
}

impl<T: Element> Cpu<T> {
    /// One thread, the caller's, with the widest vectors that the processor has.
    pub fn new() -> Self {
        Cpu::with_threads(1)
    }

    /// `threads` threads, the caller's among them; at least one. They sleep between steps, and are used where
    /// a step is large enough to gain by it.
    ///
    /// # Panics
    /// Where the operating system refuses a thread.
    pub fn with_threads(threads: usize) -> Self {
        Cpu {
            simd: Simd::widest(),
            team: Team::new(threads.max(1)),
            work: engine::Work::default(),
            turn: 0,
        }
    }

    /// The same with vectors no wider than `simd`: for comparisons. No bit depends on it.
    pub fn with_simd(mut self, simd: Simd) -> Self {
        self.simd = simd.min(Simd::widest());
        self
    }

    /// A step in mixed precision: the parameters that the network computes with are `params`, and its gradients are of
    /// the same type; `master` is the copy in full that the step is taken on, so that steps too small for the type add
    /// up. `params` becomes it, rounded to the nearest, in the same trip over memory, wherever the step rewrites it: the bits
    /// are those of [`Host::mixed`](adarem::Host::mixed). The checkpoint of the optimizer holds its state alone; the engine keeps
    /// `master` beside it. Where `P` is not a half type, there is no copy to keep, and `params` is not used.
    ///
    /// With the adapters' `HalfState` around [`AdaRem`](adarem::AdaRem), a step moves 16 bytes a parameter.
    ///
    /// ```
    /// use adarem::{AdaRem, Bf16, Optimizer, Stored};
    /// use adarem_cpu::Cpu;
    ///
    /// let mut cpu = Cpu::new();
    /// let mut optimizer = Optimizer::new(AdaRem { lr: 1e-3, ..AdaRem::default() }, &mut cpu, &[2])?;
    /// let mut master = [1.0f32, -2.0];
    /// let mut params = master.map(Bf16::store);
    /// for _ in 0..1000 {
    ///     let grad = params.map(|x| Bf16::store(2.0 * x.to_f32()));
    ///     cpu.step_mixed(&mut optimizer, &mut [&mut master], &mut [&mut params], &[&grad])?;
    /// }
    /// assert!(params.iter().all(|x| x.to_f32().abs() < 0.3));
    /// # Ok::<(), adarem::ErrorKind>(())
    /// ```
    ///
    /// # Errors
    /// As [`Optimizer::step`]: a length that differs, in `params` too, is refused and nothing is changed.
    pub fn step_mixed<R: Rule, P: Stored<T>>(
        &mut self,
        optimizer: &mut Optimizer<R, Self>,
        master: &mut [&mut [T]],
        params: &mut [&mut [P]],
        grad: &[&[P]],
    ) -> Result<(), ErrorKind> {
        let turn = optimizer.begin(master.iter().map(|x| x.len()), grad.iter().map(|x| x.len()))?;
        let tensors = Tensors {
            theta: master,
            params,
            grad,
            slots: &mut *turn.slots,
            carried: &mut *turn.carried,
        };
        let (rule, t) = (turn.rule, turn.t);
        let result = Step { rule, t }.run(self.simd, &mut self.team, &mut self.work, tensors);
        turn.end(result)
    }

    /// The vector instructions in use.
    pub fn simd(&self) -> Simd {
        self.simd
    }

    /// The threads in use.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }
}

impl Cpu<f32> {
    /// A step of [`AdaRem8`], which keeps a byte of state a parameter: [its own](AdaRem8::step), with the vector
    /// instructions in use, on the caller's thread.
    ///
    /// ```
    /// use adarem::{AdaRem, AdaRem8};
    /// use adarem_cpu::Cpu;
    ///
    /// let (cpu, mut theta, mut m) = (Cpu::new(), [3.0f32, -4.0], [0i8; 2]);
    /// let mut optimizer = AdaRem8::new(AdaRem::default(), &mut m)?;
    /// for _ in 0..100 {
    ///     let grad = theta.map(|x| 2.0 * x);
    ///     cpu.step_bytes(&mut optimizer, &mut theta, &grad)?;
    /// }
    /// assert!(theta.iter().all(|x| x.abs() < 1e-3));
    /// # Ok::<(), adarem::ErrorKind>(())
    /// ```
    ///
    /// # Errors
    /// As [`AdaRem8::step`].
    pub fn step_bytes(
        &self,
        optimizer: &mut AdaRem8<'_>,
        theta: &mut [f32],
        grad: &[f32],
    ) -> Result<(), ErrorKind> {
        let mut result = Ok(());
        self.simd.run(Bytes {
            optimizer,
            theta,
            grad,
            result: &mut result,
        });
        result
    }
}

/// A step of [`AdaRem8`].
struct Bytes<'a, 'm> {
    optimizer: &'a mut AdaRem8<'m>,
    theta: &'a mut [f32],
    grad: &'a [f32],
    result: &'a mut Result<(), ErrorKind>,
}

impl Job for Bytes<'_, '_> {
    #[inline(always)]
    fn run<const BITS: usize>(self) {
        *self.result = self.optimizer.step(self.theta, self.grad);
    }
}

impl<T: Element> Default for Cpu<T> {
    fn default() -> Self {
        Cpu::new()
    }
}

impl<T: Element> Backend for Cpu<T> {
    type Elem = T;
    type Tensor = [T];
    type Memory = Memory<T>;
    type Error = ErrorKind;

    /// Halves lie in an element as they do in memory, low half first.
    const PACKS: bool = cfg!(target_endian = "little");

    fn zeros(&mut self, len: usize) -> Result<Memory<T>, ErrorKind> {
        let turn = self.turn;
        self.turn = turn.wrapping_add(1);
        Memory::filled(T::zero(), len, turn)
    }

    fn write(&mut self, to: &mut [T], at: usize, from: &[T]) -> Result<(), ErrorKind> {
        copy_in(to, at, from)
    }

    fn read(&mut self, from: &[T], at: usize, to: &mut [T]) -> Result<(), ErrorKind> {
        copy_out(from, at, to)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }

    fn run(
        &mut self,
        plan: &Plan,
        uniforms: &[f64],
        batch: Batch<'_, '_, Self>,
    ) -> Result<(), ErrorKind> {
        interpret::run(plan, uniforms, batch);
        Ok(())
    }

    fn step<R: Rule>(
        &mut self,
        rule: &R,
        t: u64,
        batch: Batch<'_, '_, Self>,
    ) -> Result<(), ErrorKind> {
        let Batch {
            theta,
            grad,
            slots,
            carried,
        } = batch;
        let tensors = Tensors {
            theta,
            params: &mut [],
            grad,
            slots,
            carried,
        };
        Step { rule, t }.run(self.simd, &mut self.team, &mut self.work, tensors)
    }
}
