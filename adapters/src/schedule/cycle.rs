//! Schedules that come back: cyclic rates, warm restarts, one cycle.

use adarem::Invalid;
use adarem::error::{ensure, positive};

use super::{Anneal, Schedule, Stage, finite, progress, scaled, some};

/// A triangle between two rates, again and again.
///
/// ```text
/// cycle = floor(t / (2 half)),  x = |t / half - 2 cycle - 1|
/// value = base + (max - base) (1 - x) scale
/// ```
///
/// Source: Smith, "Cyclical Learning Rates for Training Neural Networks" (2017).
///
/// ```
/// use adarem_adapters::schedule::{Cycle, Cyclic, Schedule};
/// let lr = Cyclic { base: 1.0, max: 3.0, half: 4, cycle: Cycle::Halving };
/// assert_eq!([0, 2, 4, 8, 12, 20].map(|t| lr.at(t)), [1.0, 2.0, 3.0, 1.0, 2.0, 1.5]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cyclic {
    /// The lowest value. 1e-3 in the author's program.
    pub base: f64,
    /// The highest value of the first cycle. 6e-3 in the author's program.
    pub max: f64,
    /// Steps of half a cycle, at least 1. 2000 in the author's program; 2 to 10 epochs are usual.
    pub half: u64,
    /// What becomes of the height.
    pub cycle: Cycle,
}

/// What becomes of a cycle's height: the three modes of the paper.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Cycle {
    /// It stays: `triangular`.
    #[default]
    Same,
    /// Every cycle has half the height of the one before: `triangular2`.
    Halving,
    /// Every step multiplies it by this, positive: `exp_range`.
    Decaying(f64),
}

impl Schedule for Cyclic {
    fn at(&self, step: u64) -> f64 {
        let stage = Stage::of(step, self.half.saturating_mul(2), 1);
        let x = stage.into as f64 / self.half.max(1) as f64 - 1.0;
        let scale = match self.cycle {
            Cycle::Same => 1.0,
            Cycle::Halving => libm::exp2(-(stage.index as f64)),
            Cycle::Decaying(factor) => libm::pow(factor, step as f64),
        };
        self.base
            + scaled(
                (self.max - self.base) * (1.0 - libm::fabs(x)).max(0.0),
                scale,
            )
    }

    fn check(&self) -> Result<(), Invalid> {
        finite("base", self.base)?;
        finite("max", self.max)?;
        some("half", self.half)?;
        match self.cycle {
            Cycle::Decaying(factor) => positive("cycle", factor),
            Cycle::Same | Cycle::Halving => Ok(()),
        }
    }
}

/// Half a cosine from `from` to `to`, begun anew after `first`, then `first * growth`, .. steps.
///
/// Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017).
///
/// ```
/// use adarem_adapters::schedule::{Schedule, WarmRestarts};
/// let lr = WarmRestarts { from: 1.0, to: 0.0, first: 10, growth: 2 };
/// assert_eq!([0, 5, 10, 20, 30].map(|t| lr.at(t)), [1.0, 0.5, 1.0, 0.5, 1.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarmRestarts {
    /// The value after every restart.
    pub from: f64,
    /// What every period falls to; it restarts one step before it is there.
    pub to: f64,
    /// Steps of the first period, at least 1.
    pub first: u64,
    /// How many times longer than the one before a period is, at least 1.
    pub growth: u64,
}

impl Schedule for WarmRestarts {
    fn at(&self, step: u64) -> f64 {
        let stage = Stage::of(step, self.first, self.growth);
        Anneal::Cosine.between(self.from, self.to, progress(stage.into, stage.steps))
    }

    fn check(&self) -> Result<(), Invalid> {
        finite("from", self.from)?;
        finite("to", self.to)?;
        some("first", self.first)?;
        some("growth", self.growth)
    }
}

/// One cycle: up, then far down, in `steps` steps; for the momentum down, then up again.
///
/// Source: Smith, "A Disciplined Approach to Neural Network Hyper-Parameters" (2018), with the steps of
/// `torch.optim.lr_scheduler.OneCycleLR`: the peak is in step `rise * steps - 1`, which need not be whole, and
/// the end in step `steps - 1`.
///
/// ```
/// use adarem_adapters::schedule::{OneCycle, Schedule};
///
/// let (lr, momentum) = (OneCycle::rate(1.0, 100), OneCycle::momentum(0.95, 0.85, 100));
/// assert_eq!([0, 29].map(|t| lr.at(t)), [0.04, 1.0]);
/// assert!((lr.at(99) / 4e-6 - 1.0).abs() < 1e-9);
/// assert_eq!([0, 29, 99].map(|t| momentum.at(t)), [0.95, 0.85, 0.95]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneCycle {
    /// The value in step 0.
    pub start: f64,
    /// The value at the peak.
    pub peak: f64,
    /// The value from step `steps - 1` on.
    pub end: f64,
    /// Steps of the whole cycle, at least 1.
    pub steps: u64,
    /// The part of the cycle before the peak, in [0, 1].
    pub rise: f64,
    /// The shape of both ways.
    pub shape: Anneal,
}

impl OneCycle {
    /// A learning rate from `peak / 25` to `peak` in 30 % of the steps, then down to a 10,000th of where it began,
    /// along cosines: PyTorch's defaults.
    pub fn rate(peak: f64, steps: u64) -> Self {
        let start = peak / 25.0;
        OneCycle {
            start,
            peak,
            end: start / 1e4,
            steps,
            rise: 0.3,
            shape: Anneal::Cosine,
        }
    }

    /// A momentum that falls from `high` to `low` while the rate rises, and comes back. 0.95 and 0.85 are usual.
    pub fn momentum(high: f64, low: f64, steps: u64) -> Self {
        OneCycle {
            start: high,
            peak: low,
            end: high,
            steps,
            rise: 0.3,
            shape: Anneal::Cosine,
        }
    }
}

impl Schedule for OneCycle {
    fn at(&self, step: u64) -> f64 {
        let (t, last) = (step as f64, self.steps.saturating_sub(1) as f64);
        let top = (self.rise * self.steps as f64 - 1.0).max(0.0);
        if t < top {
            return self.shape.between(self.start, self.peak, t / top);
        }
        let done = if t < last {
            (t - top) / (last - top)
        } else {
            1.0
        };
        self.shape.between(self.peak, self.end, done)
    }

    fn check(&self) -> Result<(), Invalid> {
        finite("start", self.start)?;
        finite("peak", self.peak)?;
        finite("end", self.end)?;
        some("steps", self.steps)?;
        ensure(
            (0.0..=1.0).contains(&self.rise),
            "rise",
            "lie in [0, 1]",
            self.rise,
        )
    }
}
