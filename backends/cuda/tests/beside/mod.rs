//! One optimizer on the core's host and on a device of the software driver, side by side.

use adarem::{Backend, backend::packing, backend::ranges};
use adarem::{
    Element, ErrorKind, Host, MAX_CARRIED, MAX_SLOTS, Optimizer, Real, Rule, Tensor as _,
};
use adarem_conformance::Random;
use adarem_cuda::ptx::Form;
use adarem_cuda::{Cuda, Memory, Tensor};
use adarem_cuda_softdriver::{Machine, Order};

/// How a list of tensors is stepped.
#[derive(Clone, Debug)]
pub struct Setting {
    pub lengths: Vec<usize>,
    /// By how many elements the parameters and gradients begin beside what CUDA's allocator gave.
    pub shift: usize,
    pub form: Form,
    pub order: Order,
    pub steps: u64,
}

impl Setting {
    pub fn of(lengths: &[usize]) -> Self {
        let (form, order) = (Form::Fused, Order::Forward);
        Self {
            lengths: lengths.to_vec(),
            shift: 0,
            form,
            order,
            steps: 3,
        }
    }
}

/// A vector of numbers in memory that begins so many elements earlier.
struct Shifted<T> {
    _memory: Memory<T>,
    tensor: Tensor<T>,
}

impl<T: Element> Shifted<T> {
    fn new(cuda: &mut Cuda<T>, shift: usize, numbers: &[T]) -> Result<Self, adarem_cuda::Error> {
        let mut memory = cuda.zeros(shift + numbers.len())?;
        cuda.write(&mut memory, shift, numbers)?;
        let address = memory.address() + (shift * size_of::<T>()) as u64;
        // SAFETY: so many numbers lie there, for as long as the memory does.
        let tensor = unsafe { Tensor::from_raw(address, numbers.len()) };
        Ok(Self {
            _memory: memory,
            tensor,
        })
    }
}

/// The state of one tensor on the host.
struct Tensors<T> {
    theta: Vec<Vec<T>>,
    slots: Vec<[Vec<T>; MAX_SLOTS]>,
    carried: Vec<[T; MAX_CARRIED]>,
}

/// Steps both, and tells the first difference: in an error of the driver, or in a bit of anything a step writes.
pub fn differ<T: Element, R: Rule + Clone>(
    machine: &Machine,
    rule: &R,
    setting: &Setting,
) -> Option<String> {
    match run::<T, R>(machine, rule, setting) {
        Ok(()) => None,
        Err(Failure::Driver(error)) => {
            Some(format!("{error} ({})", machine.take_faults().join("; ")))
        }
        Err(Failure::Bits(text)) => Some(text),
    }
}

enum Failure {
    Driver(adarem_cuda::Error),
    Bits(String),
}

impl From<adarem_cuda::Error> for Failure {
    fn from(error: adarem_cuda::Error) -> Self {
        Self::Driver(error)
    }
}

impl From<ErrorKind> for Failure {
    fn from(kind: ErrorKind) -> Self {
        Self::Driver(kind.into())
    }
}

fn run<T: Element, R: Rule + Clone>(
    machine: &Machine,
    rule: &R,
    setting: &Setting,
) -> Result<(), Failure> {
    machine.set_order(setting.order);
    let mut random = Random::new(7);
    let mut cuda = Cuda::<T>::open(machine.ordinal())?.with_form(setting.form);
    let lengths = &setting.lengths;
    let mut host = Tensors {
        theta: lengths
            .iter()
            .map(|len| random.many(*len, Random::mild))
            .collect(),
        slots: lengths
            .iter()
            .map(|len| {
                core::array::from_fn(|k| {
                    let start = if k < R::SLOTS {
                        rule.slot(k).start
                    } else {
                        0.0
                    };
                    vec![T::lit(start); *len]
                })
            })
            .collect(),
        carried: vec![
            core::array::from_fn(|k| {
                T::lit(if k < R::CARRIED {
                    rule.carried(k).start
                } else {
                    0.0
                })
            });
            lengths.len()
        ],
    };
    let shift = setting.shift;
    let mut thetas = host
        .theta
        .iter()
        .map(|theta| Shifted::new(&mut cuda, shift, theta))
        .collect::<Result<Vec<_>, _>>()?;
    let mut optimizer = Optimizer::new(rule.clone(), &mut cuda, lengths)?;
    for t in 0..setting.steps {
        let grads: Vec<Vec<T>> = lengths
            .iter()
            .map(|len| random.many(*len, Random::mild))
            .collect();
        for (i, grad) in grads.iter().enumerate() {
            let slots = host.slots[i].each_mut().map(|slot| slot.as_mut_slice());
            let (theta, carried) = (&mut host.theta[i], &mut host.carried[i]);
            rule.step(t, &mut Host::new(theta, grad, slots, carried)?);
        }
        let on_device = grads
            .iter()
            .map(|grad| Shifted::new(&mut cuda, shift, grad))
            .collect::<Result<Vec<_>, _>>()?;
        let mut theta: Vec<&mut Tensor<T>> = thetas.iter_mut().map(|it| &mut it.tensor).collect();
        let grad: Vec<&Tensor<T>> = on_device.iter().map(|it| &it.tensor).collect();
        optimizer.step(&mut cuda, &mut theta, &grad)?;
        for (i, tensor) in thetas.iter().enumerate() {
            let mut numbers = vec![T::zero(); lengths[i]];
            cuda.read(&tensor.tensor, 0, &mut numbers)?;
            same(&host.theta[i], &numbers, || format!("step {t}, theta {i}"))?;
        }
        for k in 0..R::SLOTS {
            let slot = optimizer.slot(k).expect("the rule has it");
            let mut numbers = vec![T::zero(); slot.len()];
            cuda.read(slot, 0, &mut numbers)?;
            if let Some(half) = packing::<Cuda<T>>(R::HALF) {
                numbers = numbers.iter().flat_map(|x| half.unpack(*x)).collect();
            }
            for (i, range) in ranges(lengths.iter().copied()).enumerate() {
                same(&host.slots[i][k], &numbers[range], || {
                    format!("step {t}, slot {k} of {i}")
                })?;
            }
        }
        let mut carried = vec![T::zero(); optimizer.carried().len()];
        cuda.read(optimizer.carried(), 0, &mut carried)?;
        for (i, host) in host.carried.iter().enumerate() {
            let numbers = &carried[i * R::CARRIED..(i + 1) * R::CARRIED];
            same(&host[..R::CARRIED], numbers, || {
                format!("step {t}, carried of {i}")
            })?;
        }
    }
    Ok(())
}

/// Every bit, but NaN equals NaN.
fn same<T: Element>(host: &[T], device: &[T], what: impl Fn() -> String) -> Result<(), Failure> {
    for (i, (x, y)) in host.iter().zip(device).enumerate() {
        let equal = x.to_le() == y.to_le() || (x.is_nan() && y.is_nan());
        if !equal {
            let (what, a, b) = (what(), x.to_le(), y.to_le());
            return Err(Failure::Bits(format!(
                "{what}, lane {i}: {x} ({a:x}) and {y} ({b:x})"
            )));
        }
    }
    Ok(())
}
