//! The optimizers of a network on a device: what an engine does with the core.
//!
//! Parameters that are stepped alike form a group, and each group has its own [`Optimizer`]: for AdaRem-S,
//! the weights on spheres are one and the rest is another. Every group keeps its parameters in the backend's memory. A step carries the new
//! gradients there, steps, and carries the new parameters back, so it is the same whether the backend
//! computes beside the network or on a device of its own.

use std::borrow::{Borrow, BorrowMut};
use std::time::{Duration, Instant};

use adarem::{Backend, Optimizer, Rule};
use anyhow::{Context, bail, ensure};
use clap::ValueEnum;

use super::method::Step;
use super::{Device, Method, Settings};
use crate::network::Parameter;

/// What a schedule has decided for a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Now {
    /// The learning rate.
    pub lr: f64,
    /// AdaRem's lambda.
    pub lambda: f64,
}

/// A network's optimizers, whatever they are and wherever they run.
pub trait Descend {
    /// Steps the parameters by their gradients, and says how long the steps took, without the way to
    /// the device and back.
    ///
    /// # Errors
    /// The backend's.
    fn step(&mut self, parameters: &mut [&mut Parameter], now: Now) -> anyhow::Result<Duration>;

    /// How many bytes of state are kept beside the parameters.
    fn state_bytes(&self) -> usize;

    /// The state of each group as a checkpoint of the core.
    ///
    /// # Errors
    /// The backend's.
    fn save(&mut self) -> anyhow::Result<Vec<Vec<u8>>>;

    /// Restores what [`save`](Descend::save) gave, with the parameters of the same moment.
    ///
    /// # Errors
    /// If the state is another's; the backend's.
    fn restore(
        &mut self,
        parameters: &mut [&mut Parameter],
        state: &[Vec<u8>],
    ) -> anyhow::Result<()>;
}

/// The optimizers of `method` for these parameters, on the device of the settings.
///
/// # Errors
/// If a hyper-parameter is out of its range, or there is no such device.
pub fn open(
    settings: &Settings,
    method: Method,
    parameters: &mut [&mut Parameter],
    first: Now,
) -> anyhow::Result<Box<dyn Descend>> {
    match settings.device {
        Device::Cpu => on(adarem_cpu::Cpu::new(), settings, method, parameters, first),
        #[cfg(feature = "vulkan")]
        Device::Vulkan => on(
            adarem_vulkan::Vulkan::open()?,
            settings,
            method,
            parameters,
            first,
        ),
        #[cfg(feature = "cuda")]
        Device::Cuda => on(
            adarem_cuda::Cuda::open(0)?,
            settings,
            method,
            parameters,
            first,
        ),
        #[allow(
            unreachable_patterns,
            reason = "with all features, no device is missing"
        )]
        missing => bail!(
            "this program was built without that backend; build it with `--features adarem-examples/{}`",
            missing
                .to_possible_value()
                .expect("no device is hidden")
                .get_name(),
        ),
    }
}

fn on<B>(
    backend: B,
    settings: &Settings,
    method: Method,
    parameters: &mut [&mut Parameter],
    first: Now,
) -> anyhow::Result<Box<dyn Descend>>
where
    B: Backend<Elem = f32> + 'static,
    B::Error: Send + Sync + 'static,
{
    Ok(Box::new(Descent::new(
        backend, settings, method, parameters, first,
    )?))
}

struct Descent<B> {
    backend: B,
    groups: Vec<Box<dyn Group<B>>>,
    clip: Option<f64>,
}

impl<B> Descent<B>
where
    B: Backend<Elem = f32> + 'static,
    B::Error: Send + Sync + 'static,
{
    fn new(
        mut backend: B,
        settings: &Settings,
        method: Method,
        parameters: &mut [&mut Parameter],
        first: Now,
    ) -> anyhow::Result<Self> {
        // Tensors that are stepped alike are one group, and one launch.
        let mut members: Vec<(Step, Vec<usize>)> = Vec::new();
        for (k, parameter) in parameters.iter().enumerate() {
            let step = method.step(parameter.role, settings.weight_decay);
            match members.iter_mut().find(|(of, _)| *of == step) {
                Some((_, members)) => members.push(k),
                None => members.push((step, vec![k])),
            }
        }
        let mut groups = Vec::new();
        for (step, members) in members {
            let lengths = members.iter().map(|&k| parameters[k].theta.len()).collect();
            let start = Start {
                backend: &mut backend,
                members,
                lengths,
                first,
            };
            groups.push(step.group(start)?);
        }
        for group in &mut groups {
            group.write_theta(&mut backend, parameters)?;
        }
        Ok(Self {
            backend,
            groups,
            clip: settings.clip,
        })
    }
}

impl<B> Descend for Descent<B>
where
    B: Backend<Elem = f32>,
    B::Error: Send + Sync + 'static,
{
    fn step(&mut self, parameters: &mut [&mut Parameter], now: Now) -> anyhow::Result<Duration> {
        if let Some(limit) = self.clip {
            clip(parameters, limit);
        }
        for group in &mut self.groups {
            group.follow(now);
            group.write_grad(&mut self.backend, parameters)?;
        }
        self.backend.flush()?;
        let begin = Instant::now();
        for group in &mut self.groups {
            group.step(&mut self.backend)?;
        }
        self.backend.flush()?;
        let time = begin.elapsed();
        for group in &mut self.groups {
            group.read_theta(&mut self.backend, parameters)?;
        }
        Ok(time)
    }

    fn state_bytes(&self) -> usize {
        self.groups.iter().map(|group| group.state_bytes()).sum()
    }

    fn save(&mut self) -> anyhow::Result<Vec<Vec<u8>>> {
        let saved = self
            .groups
            .iter()
            .map(|group| group.save(&mut self.backend));
        Ok(saved.collect::<Result<_, _>>()?)
    }

    fn restore(
        &mut self,
        parameters: &mut [&mut Parameter],
        state: &[Vec<u8>],
    ) -> anyhow::Result<()> {
        let (got, expected) = (state.len(), self.groups.len());
        ensure!(
            got == expected,
            "{got} groups of state where the optimizer has {expected}"
        );
        for (k, (group, state)) in self.groups.iter_mut().zip(state).enumerate() {
            group
                .restore(&mut self.backend, state)
                .with_context(|| format!("cannot restore parameter group {k}"))?;
            group.write_theta(&mut self.backend, parameters)?;
        }
        Ok(())
    }
}

/// Cuts the gradient of the whole network to a norm of `limit` where it is longer. The adapters' `ClipNorm`
/// does this for one parameter group, on the device; a network of several groups has one norm.
fn clip(parameters: &mut [&mut Parameter], limit: f64) {
    let grads = parameters.iter().flat_map(|p| &p.grad);
    let norm = grads
        .map(|&g| f64::from(g) * f64::from(g))
        .sum::<f64>()
        .sqrt();
    if norm > limit {
        let scale = (limit / norm) as f32;
        parameters
            .iter_mut()
            .flat_map(|p| &mut p.grad)
            .for_each(|g| *g *= scale);
    }
}

/// A parameter group: an optimizer, and its parameters in the backend's memory.
pub(super) trait Group<B: Backend> {
    fn write_theta(
        &mut self,
        backend: &mut B,
        parameters: &[&mut Parameter],
    ) -> Result<(), B::Error>;
    fn write_grad(
        &mut self,
        backend: &mut B,
        parameters: &[&mut Parameter],
    ) -> Result<(), B::Error>;
    fn read_theta(
        &mut self,
        backend: &mut B,
        parameters: &mut [&mut Parameter],
    ) -> Result<(), B::Error>;
    fn follow(&mut self, now: Now);
    fn step(&mut self, backend: &mut B) -> Result<(), B::Error>;
    fn state_bytes(&self) -> usize;
    fn save(&self, backend: &mut B) -> Result<Vec<u8>, B::Error>;
    fn restore(&mut self, backend: &mut B, state: &[u8]) -> Result<(), B::Error>;
}

/// A parameter group that still lacks its rule.
pub(super) struct Start<'a, B> {
    backend: &'a mut B,
    members: Vec<usize>,
    lengths: Vec<usize>,
    pub first: Now,
}

impl<B: Backend<Elem = f32> + 'static> Start<'_, B> {
    /// A group stepped by `rule`; before each step, `follow` sets what the schedules have decided.
    pub fn with<R: Rule + 'static>(
        self,
        mut rule: R,
        follow: fn(&mut R, Now),
    ) -> Result<Box<dyn Group<B>>, B::Error> {
        let Self {
            backend,
            members,
            lengths,
            first,
        } = self;
        follow(&mut rule, first);
        let optimizer = Optimizer::new(rule, backend, &lengths)?;
        let mut zeros = || -> Result<Vec<B::Memory>, B::Error> {
            lengths.iter().map(|&len| backend.zeros(len)).collect()
        };
        let (theta, grad) = (zeros()?, zeros()?);
        Ok(Box::new(Stepped {
            optimizer,
            follow,
            members,
            theta,
            grad,
        }))
    }
}

struct Stepped<R, B: Backend> {
    optimizer: Optimizer<R, B>,
    follow: fn(&mut R, Now),
    /// Which of the network's parameters are in the group.
    members: Vec<usize>,
    theta: Vec<B::Memory>,
    grad: Vec<B::Memory>,
}

impl<R: Rule, B: Backend<Elem = f32>> Group<B> for Stepped<R, B> {
    fn write_theta(
        &mut self,
        backend: &mut B,
        parameters: &[&mut Parameter],
    ) -> Result<(), B::Error> {
        self.members
            .iter()
            .zip(&mut self.theta)
            .try_for_each(|(&k, memory)| {
                backend.write(memory.borrow_mut(), 0, &parameters[k].theta)
            })
    }

    fn write_grad(
        &mut self,
        backend: &mut B,
        parameters: &[&mut Parameter],
    ) -> Result<(), B::Error> {
        self.members
            .iter()
            .zip(&mut self.grad)
            .try_for_each(|(&k, memory)| backend.write(memory.borrow_mut(), 0, &parameters[k].grad))
    }

    fn read_theta(
        &mut self,
        backend: &mut B,
        parameters: &mut [&mut Parameter],
    ) -> Result<(), B::Error> {
        self.members
            .iter()
            .zip(&self.theta)
            .try_for_each(|(&k, memory)| backend.read(memory.borrow(), 0, &mut parameters[k].theta))
    }

    fn follow(&mut self, now: Now) {
        (self.follow)(self.optimizer.rule_mut(), now);
    }

    fn step(&mut self, backend: &mut B) -> Result<(), B::Error> {
        let mut theta: Vec<&mut B::Tensor> =
            self.theta.iter_mut().map(BorrowMut::borrow_mut).collect();
        let grad: Vec<&B::Tensor> = self.grad.iter().map(Borrow::borrow).collect();
        self.optimizer.step(backend, &mut theta, &grad)
    }

    fn state_bytes(&self) -> usize {
        self.optimizer.state_bytes()
    }

    fn save(&self, backend: &mut B) -> Result<Vec<u8>, B::Error> {
        let mut state = Vec::new();
        self.optimizer
            .save(backend, |bytes| state.extend_from_slice(bytes))?;
        Ok(state)
    }

    fn restore(&mut self, backend: &mut B, state: &[u8]) -> Result<(), B::Error> {
        self.optimizer.restore(backend, state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Role;

    #[test]
    fn a_long_gradient_is_cut_over_all_tensors_and_a_short_one_is_left() {
        let mut tensors = [3.0, 4.0].map(|g| {
            let mut tensor = Parameter::new("tensor", Role::Weight, vec![0.0]);
            tensor.grad[0] = g;
            tensor
        });
        let mut cut = |limit| {
            clip(&mut tensors.each_mut(), limit);
            [tensors[0].grad[0], tensors[1].grad[0]]
        };
        assert_eq!(cut(5.0), [3.0, 4.0]);
        assert_eq!(cut(2.5), [1.5, 2.0]);
    }
}
