//! Steps in mixed precision: parameters and gradients of 16 bits beside a master copy in full.

use core::borrow::{Borrow, BorrowMut};
use core::fmt::Debug;

use adarem::rules::{EachRule, for_each};
use adarem::{Backend, Bf16, F16, Optimizer, Param, Rule, Tensor, Tunable};

use crate::number::Random;
use crate::reference::Interpreter;

/// Lengths around a word, a chunk and a piece, and none that is round but 0.
const LENGTHS: [usize; 6] = [1, 0, 17, 700, 4_097, 1];

/// A backend that steps in mixed precision, for [`mixed_precision`], which shows how to write one.
pub trait Mixed {
    /// The backend.
    type Backend: Backend<Elem = f32>;

    /// It.
    fn backend(&mut self) -> &mut Self::Backend;

    /// One step: takes `params` and `grad` to where the backend wants them, steps `master` by them, and puts into
    /// `params` what became of it there.
    ///
    /// # Errors
    /// The backend's.
    fn step<R: Rule, P: Param>(
        &mut self,
        optimizer: &mut Optimizer<R, Self::Backend>,
        master: &mut [<Self::Backend as Backend>::Memory],
        params: &mut [Vec<P>],
        grad: &[Vec<P>],
    ) -> Result<(), <Self::Backend as Backend>::Error>;
}

/// Proves steps in mixed precision, bit for bit: every rule and every wrapper, with parameters and gradients in bf16 and
/// in f16, against steps in full by the same gradients. The parameters must be the master copy, rounded.
///
/// ```no_run
/// use adarem::{ErrorKind, Optimizer, Param, Rule};
/// use adarem_conformance::{Mixed, mixed_precision};
/// use adarem_cpu::{Cpu, Memory};
///
/// struct Threads(Cpu<f32>);
///
/// impl Mixed for Threads {
///     type Backend = Cpu<f32>;
///
///     fn backend(&mut self) -> &mut Cpu<f32> {
///         &mut self.0
///     }
///
///     fn step<R: Rule, P: Param>(
///         &mut self,
///         optimizer: &mut Optimizer<R, Cpu<f32>>,
///         master: &mut [Memory<f32>],
///         params: &mut [Vec<P>],
///         grad: &[Vec<P>],
///     ) -> Result<(), ErrorKind> {
///         let mut master: Vec<_> = master.iter_mut().map(|x| &mut x[..]).collect();
///         let mut params: Vec<_> = params.iter_mut().map(Vec::as_mut_slice).collect();
///         let grad: Vec<_> = grad.iter().map(Vec::as_slice).collect();
///         self.0.step_mixed(optimizer, &mut master, &mut params, &grad)
///     }
/// }
///
/// mixed_precision(Threads(Cpu::new()));
/// ```
///
/// # Panics
/// Where anything differs, with rule, tensor and lane.
pub fn mixed_precision<M: Mixed>(mixed: M) {
    let mut check = Check { mixed, numbers: 0 };
    for_each(&mut check);
    adarem_adapters::for_each(&mut check);
    println!("mixed precision: {} numbers agree", check.numbers);
}

struct Check<M> {
    mixed: M,
    numbers: usize,
}

impl<M: Mixed> EachRule for Check<M> {
    fn rule<R: Tunable + Default + Clone + PartialEq + Debug + Send + 'static>(&mut self) {
        self.steps::<R, Bf16>();
        self.steps::<R, F16>();
    }
}

impl<M: Mixed> Check<M> {
    /// Five steps, one of them with a gradient of any bits.
    fn steps<R: Rule + Default, P: Param>(&mut self) {
        let about = format!("{} with {:?}", R::NAME, P::HALF);
        let mut random = Random::about(1, &about);
        let mut plain = Interpreter::<f32>::default();
        let mut expected = Optimizer::new(R::default(), &mut plain, &LENGTHS).expect("a host");
        let mut theta = LENGTHS.map(|len| random.many(len, Random::ordinary::<f32>));

        let backend = self.mixed.backend();
        let mut optimizer = works(Optimizer::new(R::default(), backend, &LENGTHS), &about);
        let mut master = theta
            .each_ref()
            .map(|theta| works(backend.zeros(theta.len()), &about));
        for (master, theta) in master.iter_mut().zip(&theta) {
            works(backend.write(master.borrow_mut(), 0, theta), &about);
        }
        let mut params = theta
            .each_ref()
            .map(|theta| Vec::from_iter(theta.iter().map(|&x| P::store(x))));
        for t in 0..5 {
            let grad = LENGTHS.map(|len| {
                random.many(len, |random| match t {
                    2 => P::store(random.any()),
                    _ => P::store(random.ordinary()),
                })
            });
            let full = grad
                .each_ref()
                .map(|grad| Vec::from_iter(grad.iter().map(|x| x.load())));
            works(
                expected.step(
                    &mut plain,
                    &mut theta.each_mut().map(Vec::as_mut_slice),
                    &full.each_ref().map(Vec::as_slice),
                ),
                &about,
            );
            let step = self
                .mixed
                .step(&mut optimizer, &mut master, &mut params, &grad);
            works(step, &about);
            let backend = self.mixed.backend();
            for (i, theta) in theta.iter().enumerate() {
                let got = read::<M>(backend, master[i].borrow(), &about);
                self.numbers += same(&got, theta, &format!("{about}: master {i} in step {t}"));
                let rounded = Vec::from_iter(theta.iter().map(|&x| P::store(x).load()));
                let got = Vec::from_iter(params[i].iter().map(|x| x.load()));
                self.numbers += same(&got, &rounded, &format!("{about}: params {i} in step {t}"));
            }
        }
        let backend = self.mixed.backend();
        let carried = read::<M>(backend, optimizer.carried(), &about);
        self.numbers += same(&carried, expected.carried(), &format!("{about}: carried"));
    }
}

fn works<T, E: adarem::Error>(result: Result<T, E>, about: &str) -> T {
    result.unwrap_or_else(|error| panic!("{about}: {error}"))
}

fn read<M: Mixed>(
    backend: &mut M::Backend,
    tensor: &<M::Backend as Backend>::Tensor,
    about: &str,
) -> Vec<f32> {
    let mut numbers = vec![0.0; tensor.len()];
    works(backend.read(tensor, 0, &mut numbers), about);
    numbers
}

/// How many numbers agree, which is all.
fn same(got: &[f32], expected: &[f32], what: &str) -> usize {
    assert_eq!(got.len(), expected.len(), "{what}: lengths");
    for (lane, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!(
            got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan(),
            "{what}, lane {lane}: {got:?} where the host has {expected:?}"
        );
    }
    got.len()
}
