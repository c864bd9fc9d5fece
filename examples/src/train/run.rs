use std::time::{Duration, Instant};

use adarem_adapters::schedule::Schedule;
use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::descent::{Descend, Now, open};
use super::{Meter, Method, Settings};
use crate::task::Task;

/// What an epoch came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Mean loss over the whole training set, after the epoch.
    pub train_loss: f64,
    /// Mean loss over the test set.
    pub test_loss: f64,
    /// Share of the test set that was classified right, from 0 to 1.
    pub test_accuracy: f64,
    /// Oscillation of the parameters during the epoch: all paths over all displacements.
    pub q: f64,
    /// The median time of the optimizer's steps: other work on the machine seldom disturbs it.
    pub step_time: Duration,
}

/// The training of one network by one method, as far as it has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Which optimizer trains it.
    pub method: Method,
    /// The learning rate it started with.
    pub lr: f64,
    /// Steps done.
    pub step: u64,
    /// What each finished epoch came to.
    pub epochs: Vec<Epoch>,
    /// The parameters, tensor by tensor.
    pub theta: Vec<Vec<f32>>,
    /// The optimizer's state, a checkpoint of the core for each parameter group.
    pub state: Vec<Vec<u8>>,
    /// Bytes of state that the optimizer keeps beside the parameters.
    pub state_bytes: usize,
    /// Follows the parameters from their start.
    pub meter: Meter,
    /// Follows the parameters since the epoch began.
    pub epoch_meter: Meter,
    /// Time for everything: batches, steps, judging.
    pub time: Duration,
}

impl Run {
    /// The median over the epochs of [`Epoch::step_time`].
    pub fn step_time(&self) -> Duration {
        median(
            &mut self
                .epochs
                .iter()
                .map(|epoch| epoch.step_time)
                .collect::<Vec<_>>(),
        )
    }
}

/// A run under way: the network and the optimizer are there, not only their numbers.
pub(super) struct UnderWay<'a> {
    settings: &'a Settings,
    task: Box<dyn Task>,
    descent: Box<dyn Descend>,
    schedules: Schedules,
    run: Run,
    flat: Vec<f32>,
    /// Times of the epoch's steps, as far as they were taken since the run was started or taken up.
    step_times: Vec<Duration>,
}

/// What changes from step to step: pure functions of the step, so there is nothing to save.
struct Schedules {
    lr: Box<dyn Schedule>,
    lambda: Box<dyn Schedule>,
}

impl Schedules {
    fn new(settings: &Settings, method: Method, batches: u64) -> Self {
        Self {
            lr: settings.rates(method, batches),
            lambda: settings.lambdas(batches),
        }
    }

    fn at(&self, step: u64) -> Now {
        Now {
            lr: self.lr.at(step),
            lambda: self.lambda.at(step),
        }
    }
}

impl<'a> UnderWay<'a> {
    /// Starts a run.
    pub fn start(settings: &'a Settings, method: Method) -> anyhow::Result<Self> {
        let mut task = settings.open()?;
        let schedules = Schedules::new(settings, method, task.batches());
        let first = schedules.at(0);
        let descent = open(settings, method, &mut task.parameters(), first)
            .with_context(|| format!("cannot start {method}"))?;
        let flat = flat(&mut *task);
        let run = Run {
            method,
            lr: settings.rate(method),
            step: 0,
            epochs: Vec::new(),
            theta: Vec::new(),
            state: Vec::new(),
            state_bytes: descent.state_bytes(),
            meter: Meter::new(&flat),
            epoch_meter: Meter::new(&flat),
            time: Duration::ZERO,
        };
        Ok(Self {
            settings,
            task,
            descent,
            schedules,
            run,
            flat,
            step_times: Vec::new(),
        })
    }

    /// Takes a run up where it was left.
    pub fn take_up(settings: &'a Settings, run: Run) -> anyhow::Result<Self> {
        let mut fresh = Self::start(settings, run.method)?;
        let mut parameters = fresh.task.parameters();
        let lengths = |tensors: &[Vec<f32>]| tensors.iter().map(Vec::len).collect::<Vec<_>>();
        let expected: Vec<usize> = parameters.iter().map(|p| p.theta.len()).collect();
        anyhow::ensure!(
            lengths(&run.theta) == expected,
            "the checkpoint holds tensors of {:?} numbers, the network has {expected:?}",
            lengths(&run.theta),
        );
        for (parameter, theta) in parameters.iter_mut().zip(&run.theta) {
            parameter.theta.copy_from_slice(theta);
        }
        fresh.descent.restore(&mut parameters, &run.state)?;
        fresh.run = run;
        Ok(fresh)
    }

    /// The run, with the parameters and the optimizer's state as they are now.
    pub fn leave(mut self) -> anyhow::Result<Run> {
        self.keep()?;
        Ok(self.run)
    }

    /// Brings the run's parameters and state up to date, and gives it.
    pub fn keep(&mut self) -> anyhow::Result<&Run> {
        self.run.theta = self
            .task
            .parameters()
            .iter()
            .map(|p| p.theta.clone())
            .collect();
        self.run.state = self.descent.save()?;
        Ok(&self.run)
    }

    /// How many steps the run has when it is done.
    pub fn steps(&self) -> u64 {
        self.settings.epochs * self.task.batches()
    }

    /// The run so far; its parameters and state are those last [kept](Self::keep).
    pub fn so_far(&self) -> &Run {
        &self.run
    }

    /// Learns from one batch, and judges the network if that ends an epoch.
    pub fn step(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        let step = self.run.step;
        self.task.learn(step);
        let step_time = self
            .descent
            .step(&mut self.task.parameters(), self.schedules.at(step))?;
        self.step_times.push(step_time);
        self.run.step += 1;
        self.follow()?;
        if self.run.step.is_multiple_of(self.task.batches()) {
            let score = self.task.score();
            self.run.epochs.push(Epoch {
                train_loss: score.train.loss,
                test_loss: score.test.loss,
                test_accuracy: score.test.accuracy,
                q: self.run.epoch_meter.q()?.ratio,
                step_time: median(&mut self.step_times),
            });
            self.step_times.clear();
            self.run.epoch_meter = Meter::new(&self.flat);
        }
        self.run.time += begin.elapsed();
        Ok(())
    }

    fn follow(&mut self) -> anyhow::Result<()> {
        self.flat.clear();
        for parameter in self.task.parameters() {
            self.flat.extend_from_slice(&parameter.theta);
        }
        self.run.meter.record(&self.flat)?;
        self.run.epoch_meter.record(&self.flat)
    }
}

/// The middle one of `times`, or the later of the middle two; zero of none.
fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn flat(task: &mut dyn Task) -> Vec<f32> {
    task.parameters()
        .iter()
        .flat_map(|p| p.theta.iter().copied())
        .collect()
}
