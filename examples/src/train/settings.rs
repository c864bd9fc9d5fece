use std::str::FromStr;

use adarem_adapters::schedule::{
    Cosine, Exponential, InverseSqrt, Linear, MultiStep, Schedule, lambda_per_epoch,
};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::Method;
use crate::task::{Digits, Task, Text};

/// What is run: everything that decides a bit of the outcome, and what carries it out, as a checkpoint
/// keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// What is learnt.
    pub task: TaskName,
    /// Which optimizers learn it, in this order.
    pub methods: Vec<Method>,
    /// The widths of the network's hidden layers.
    pub hidden: Vec<usize>,
    /// How often each meets the whole training set.
    pub epochs: u64,
    /// Decides the network's start and the order of the batches.
    pub seed: u64,
    /// How many examples a batch has.
    pub batch: usize,
    /// Learning rates that differ from the methods' own; the last that fits counts.
    pub rates: Vec<Rate>,
    /// How the learning rate goes on from its start.
    pub schedule: RateSchedule,
    /// For how many epochs the rate rises to its start first.
    pub warmup: u64,
    /// AdaRem's lambda at the start.
    pub lambda: f64,
    /// When lambda is multiplied by `lambda_decay`.
    pub lambda_schedule: LambdaSchedule,
    /// What lambda is multiplied by.
    pub lambda_decay: f64,
    /// Weight decay of the weights, if not the rule's own default; biases and norms have none.
    pub weight_decay: Option<f64>,
    /// The largest norm of the network's gradient; longer ones are cut to it.
    pub clip: Option<f64>,
    /// What carries the steps out.
    pub device: Device,
}

/// What is learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum TaskName {
    /// Classify handwritten digits with a network of two hidden layers.
    Digits,
    /// Foretell the next letter of a text with a recurrent network.
    Text,
}

impl TaskName {
    /// How many epochs the task takes unless one asks for another number.
    pub fn epochs(self) -> u64 {
        match self {
            TaskName::Digits => 30,
            TaskName::Text => 12,
        }
    }

    /// How many examples a batch has unless one asks for another number.
    pub fn batch(self) -> usize {
        match self {
            TaskName::Digits => Digits::BATCH,
            TaskName::Text => Text::BATCH,
        }
    }

    /// The widths of the hidden layers unless one asks for others.
    pub fn hidden(self) -> Vec<usize> {
        match self {
            TaskName::Digits => Digits::HIDDEN.to_vec(),
            TaskName::Text => Text::HIDDEN.to_vec(),
        }
    }
}

/// A learning rate, for one method or for all.
///
/// ```
/// use adarem_examples::train::{Method, Rate};
///
/// assert_eq!("0.2".parse(), Ok(Rate { method: None, lr: 0.2 }));
/// assert_eq!("adam=1e-3".parse(), Ok(Rate { method: Some(Method::ADAM), lr: 1e-3 }));
/// assert_eq!("adam=fast".parse::<Rate>().unwrap_err(), "\"fast\" is not a number");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Whose it is; all methods' if `None`.
    pub method: Option<Method>,
    /// The rate at the start.
    pub lr: f64,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (method, lr) = match text.split_once('=') {
            Some((name, lr)) => (Some(name.parse()?), lr),
            None => (None, text),
        };
        let lr = lr.parse().map_err(|_| format!("{lr:?} is not a number"))?;
        Ok(Self { method, lr })
    }
}

/// How the learning rate goes on from its start. A pure function of the step: nothing to save.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum RateSchedule {
    /// Stays as it is.
    Constant,
    /// Falls to zero along half a cosine, as in the AdaRem paper's image classification.
    Cosine,
    /// Falls to zero along a straight line.
    Linear,
    /// A tenth from half of the epochs on, as in the AdaRem paper's language models.
    Step,
    /// Falls with the root of the step, as in the theory.
    InverseSqrt,
}

/// When lambda is multiplied by its decay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum LambdaSchedule {
    /// Once per epoch, as in the AdaRem paper's experiments.
    Epoch,
    /// At every step, as in its theory.
    Step,
    /// Never.
    Constant,
}

/// What carries the steps out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Device {
    /// The host, with its vector units.
    Cpu,
    /// A Vulkan device, if built with the feature `vulkan`.
    Vulkan,
    /// An NVIDIA GPU, if built with the feature `cuda`.
    Cuda,
}

impl Settings {
    /// A task with everything as it usually is.
    pub fn of(task: TaskName) -> Self {
        let methods = Method::USUAL.into_iter();
        Self {
            task,
            methods: methods.filter(|method| method.suits(task)).collect(),
            hidden: task.hidden(),
            epochs: task.epochs(),
            seed: 0,
            batch: task.batch(),
            rates: Vec::new(),
            schedule: RateSchedule::Cosine,
            warmup: 0,
            lambda: 0.999,
            lambda_schedule: LambdaSchedule::Epoch,
            lambda_decay: 0.999,
            weight_decay: None,
            clip: None,
            device: Device::Cpu,
        }
    }

    /// The data and a fresh network.
    ///
    /// # Errors
    /// If there can be no such network, or the batch is too small or too large for the data.
    pub fn open(&self) -> anyhow::Result<Box<dyn Task>> {
        let Settings {
            hidden,
            batch,
            seed,
            ..
        } = self;
        Ok(match self.task {
            TaskName::Digits => Box::new(Digits::new(hidden, *batch, *seed)?),
            TaskName::Text => Box::new(Text::new(hidden, *batch, *seed)?),
        })
    }

    /// The learning rate that `method` starts with.
    pub fn rate(&self, method: Method) -> f64 {
        let fits = |rate: &&Rate| rate.method.is_none_or(|m| m == method);
        self.rates
            .iter()
            .rfind(fits)
            .map_or(method.rate(self.task), |rate| rate.lr)
    }

    /// The learning rate of `method` over all steps, of which an epoch has `batches`.
    pub fn rates(&self, method: Method, batches: u64) -> Box<dyn Schedule> {
        let start = self.rate(method);
        let warmup = self.warmup * batches;
        let steps = (self.epochs * batches).saturating_sub(warmup).max(1);
        match self.schedule {
            RateSchedule::Constant => Box::new(start.warmed_up(warmup)),
            RateSchedule::Cosine => Box::new(
                Cosine {
                    from: start,
                    to: 0.0,
                    steps,
                }
                .warmed_up(warmup),
            ),
            RateSchedule::Linear => Box::new(
                Linear {
                    from: start,
                    to: 0.0,
                    steps,
                }
                .warmed_up(warmup),
            ),
            RateSchedule::Step => {
                let milestones = [steps / 2];
                Box::new(
                    MultiStep {
                        start,
                        factor: 0.1,
                        milestones,
                    }
                    .warmed_up(warmup),
                )
            }
            RateSchedule::InverseSqrt => Box::new(InverseSqrt { start }.warmed_up(warmup)),
        }
    }

    /// AdaRem's lambda over all steps, of which an epoch has `batches`.
    pub fn lambdas(&self, batches: u64) -> Box<dyn Schedule> {
        let (start, factor) = (self.lambda, self.lambda_decay);
        match self.lambda_schedule {
            LambdaSchedule::Epoch => Box::new(lambda_per_epoch(start, factor, batches)),
            LambdaSchedule::Step => Box::new(Exponential { start, factor }),
            LambdaSchedule::Constant => Box::new(start),
        }
    }
}

#[cfg(test)]
impl Settings {
    /// A run of two short epochs.
    pub fn brief() -> Self {
        Self {
            methods: vec![Method::ADAREM, Method::ADAREM_S],
            hidden: vec![8, 8],
            epochs: 2,
            seed: 5,
            batch: 200,
            weight_decay: Some(1e-4),
            ..Self::of(TaskName::Digits)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rate_that_fits_counts() {
        let mut settings = Settings::brief();
        assert_eq!(
            settings.rate(Method::ADAM),
            Method::ADAM.rate(TaskName::Digits)
        );
        settings.rates = ["0.5", "adam=0.25", "sgd=0.125"]
            .map(|r| r.parse().unwrap())
            .to_vec();
        let rates = [Method::ADAREM, Method::ADAM, Method::SGD].map(|m| settings.rate(m));
        assert_eq!(rates, [0.5, 0.25, 0.125]);
    }

    #[test]
    fn schedules_start_at_the_rate_and_fall() {
        let rates = vec!["0.5".parse().unwrap()];
        let mut settings = Settings {
            rates,
            epochs: 10,
            ..Settings::brief()
        };
        let mut at = |schedule, step| {
            settings.schedule = schedule;
            settings.rates(Method::SGD, 10).at(step)
        };
        for schedule in RateSchedule::value_variants() {
            assert_eq!(at(*schedule, 0), 0.5);
            assert!(at(*schedule, 99) > 0.0, "the last step moves as well");
        }
        assert_eq!(at(RateSchedule::Constant, 99), 0.5);
        assert!((at(RateSchedule::Cosine, 50) - 0.25).abs() < 1e-15);
        assert!((at(RateSchedule::Linear, 80) - 0.1).abs() < 1e-15);
        assert_eq!(
            [49, 50].map(|step| at(RateSchedule::Step, step)),
            [0.5, 0.05]
        );
        assert_eq!(at(RateSchedule::InverseSqrt, 3), 0.25);
    }

    #[test]
    fn a_warmed_up_rate_rises_first_and_ends_where_it_would() {
        let settings = Settings {
            warmup: 1,
            epochs: 5,
            ..Settings::brief()
        };
        let rates = settings.rates(Method::SGD, 10);
        let start = Method::SGD.rate(TaskName::Digits);
        assert_eq!(
            [0, 9, 10].map(|step| rates.at(step)),
            [0.1 * start, start, start]
        );
        assert!(rates.at(49) > 0.0 && rates.at(50) == 0.0);
    }

    #[test]
    fn lambda_decays_as_often_as_asked() {
        let mut settings = Settings {
            lambda: 0.8,
            lambda_decay: 0.5,
            ..Settings::brief()
        };
        let mut at = |schedule| {
            settings.lambda_schedule = schedule;
            [0, 9, 10].map(|step| settings.lambdas(10).at(step))
        };
        assert_eq!(at(LambdaSchedule::Epoch), [0.8, 0.8, 0.4]);
        assert_eq!(at(LambdaSchedule::Step), [0.8, 0.8 / 512.0, 0.8 / 1024.0]);
        assert_eq!(at(LambdaSchedule::Constant), [0.8; 3]);
    }
}
