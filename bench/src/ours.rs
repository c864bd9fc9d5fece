//! Our own contenders: rules on the cpu backend.

use adarem::{Backend, Element, Optimizer, Rule};
use adarem_cpu::{Cpu, Memory};

use crate::race::Contender;

/// Parameters and gradients that many contenders share, one after the other.
pub struct Tensors<T> {
    /// The parameters.
    pub theta: Vec<Memory<T>>,
    /// Their gradients.
    pub grad: Vec<Memory<T>>,
}

/// `len` zeros that begin at a cache line, as every loop's memory does here: a vector that lies across two lines
/// costs two loads, which would be luck and not a loop's merit.
pub fn zeros<T: Element>(len: usize) -> Memory<T> {
    Cpu::new().zeros(len).expect("the memory is there")
}

impl<T: Element> Tensors<T> {
    /// Tensors of these lengths, with numbers that no step makes subnormal or infinite.
    pub fn new(lengths: &[usize]) -> Self {
        let number = |i: usize| adarem::Real::lit(((i * 7919) % 1000) as f64 * 1e-3 - 0.4995);
        let fill = |&len: &usize| {
            let mut numbers = zeros(len);
            for (i, x) in numbers.iter_mut().enumerate() {
                *x = number(i);
            }
            numbers
        };
        Tensors {
            theta: lengths.iter().map(fill).collect(),
            grad: lengths.iter().map(fill).collect(),
        }
    }

    /// The tensors' lengths.
    pub fn lengths(&self) -> Vec<usize> {
        self.theta.iter().map(|theta| theta.len()).collect()
    }

    /// How many parameters there are.
    pub fn parameters(&self) -> usize {
        self.theta.iter().map(|theta| theta.len()).sum()
    }
}

/// Shares memory among contenders that take turns.
pub type Shared<'a, T> = &'a std::cell::RefCell<Tensors<T>>;

/// `rule` on `cpu`; `bytes` is what it moves a parameter.
pub fn rule<'a, R: Rule + 'a, T: Element>(
    name: impl Into<String>,
    rule: R,
    mut cpu: Cpu<T>,
    bytes: usize,
    tensors: Shared<'a, T>,
) -> Contender<'a> {
    let lengths = tensors.borrow().lengths();
    let total = bytes * tensors.borrow().parameters();
    let mut optimizer =
        Optimizer::new(rule, &mut cpu, &lengths).expect("the rule's defaults are valid");
    Contender {
        name: name.into(),
        bytes: total,
        steps: Box::new(move |count| {
            let Tensors { theta, grad } = &mut *tensors.borrow_mut();
            let mut theta: Vec<&mut [T]> = theta.iter_mut().map(|x| &mut **x).collect();
            let grad: Vec<&[T]> = grad.iter().map(|x| &**x).collect();
            let start = std::time::Instant::now();
            for _ in 0..count {
                optimizer
                    .step(&mut cpu, &mut theta, &grad)
                    .expect("the lengths are those of the optimizer");
            }
            start.elapsed()
        }),
    }
}
