//! Schedules that fall, from the first step to the last.

use adarem::Invalid;
use adarem::error::{ensure, positive};

use super::{Anneal, Schedule, Stage, finite, progress, scaled, some};

/// `start / sqrt(t + 1)`: the rate of the regret theorems.
///
/// ```
/// use adarem_adapters::schedule::{InverseSqrt, Schedule};
/// assert_eq!([0, 3, 99].map(|t| InverseSqrt { start: 1.0 }.at(t)), [1.0, 0.5, 0.1]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InverseSqrt {
    /// The value in step 0.
    pub start: f64,
}

impl Schedule for InverseSqrt {
    fn at(&self, step: u64) -> f64 {
        self.start / libm::sqrt(step as f64 + 1.0)
    }

    fn check(&self) -> Result<(), Invalid> {
        finite("start", self.start)
    }
}

/// `start / (t + 1)^power`.
///
/// ```
/// use adarem_adapters::schedule::{InversePower, Schedule};
/// assert_eq!(InversePower { start: 1.0, power: 2.0 }.at(9), 0.01);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InversePower {
    /// The value in step 0.
    pub start: f64,
    /// The power, positive.
    pub power: f64,
}

impl Schedule for InversePower {
    fn at(&self, step: u64) -> f64 {
        self.start / libm::pow(step as f64 + 1.0, self.power)
    }

    fn check(&self) -> Result<(), Invalid> {
        finite("start", self.start)?;
        positive("power", self.power)
    }
}

/// A straight line from `from` to `to` in `steps`, then `to`.
///
/// ```
/// use adarem_adapters::schedule::{Linear, Schedule};
/// let lr = Linear { from: 1.0, to: 0.5, steps: 4 };
/// assert_eq!([0, 1, 4, 9].map(|t| lr.at(t)), [1.0, 0.875, 0.5, 0.5]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// The value in step 0.
    pub from: f64,
    /// The value from step `steps` on.
    pub to: f64,
    /// How long it takes, at least 1.
    pub steps: u64,
}

impl Schedule for Linear {
    fn at(&self, step: u64) -> f64 {
        Anneal::Linear.between(self.from, self.to, progress(step, self.steps))
    }

    fn check(&self) -> Result<(), Invalid> {
        check_way(self.from, self.to, self.steps)
    }
}

/// Half a cosine from `from` to `to` in `steps`, then `to`: what AdaRem's paper trains ImageNet with, over
/// all steps, to 0, without warm-up.
///
/// ```
/// use adarem_adapters::schedule::{Cosine, Schedule};
/// let lr = Cosine { from: 0.4, to: 0.0, steps: 100 };
/// assert_eq!([0, 100, 101].map(|t| lr.at(t)), [0.4, 0.0, 0.0]);
/// assert!((lr.at(50) - 0.2).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosine {
    /// The value in step 0.
    pub from: f64,
    /// The value from step `steps` on.
    pub to: f64,
    /// How long it takes, at least 1.
    pub steps: u64,
}

impl Schedule for Cosine {
    fn at(&self, step: u64) -> f64 {
        Anneal::Cosine.between(self.from, self.to, progress(step, self.steps))
    }

    fn check(&self) -> Result<(), Invalid> {
        check_way(self.from, self.to, self.steps)
    }
}

/// `to + (from - to) (1 - t / steps)^power`, then `to`.
///
/// ```
/// use adarem_adapters::schedule::{Polynomial, Schedule};
/// let lr = Polynomial { from: 1.0, to: 0.0, steps: 10, power: 2.0 };
/// assert_eq!([0, 5, 10, 11].map(|t| lr.at(t)), [1.0, 0.25, 0.0, 0.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Polynomial {
    /// The value in step 0.
    pub from: f64,
    /// The value from step `steps` on.
    pub to: f64,
    /// How long it takes, at least 1.
    pub steps: u64,
    /// The power, positive; 1 is a straight line.
    pub power: f64,
}

impl Schedule for Polynomial {
    fn at(&self, step: u64) -> f64 {
        let left = libm::pow(1.0 - progress(step, self.steps), self.power);
        self.to + (self.from - self.to) * left
    }

    fn check(&self) -> Result<(), Invalid> {
        check_way(self.from, self.to, self.steps)?;
        positive("power", self.power)
    }
}

/// `to + (from - to) / 2 (1 - tanh(lower + (upper - lower) t / steps))`.
///
/// Source: Hsueh, Li and Wu, "Stochastic Gradient Descent with Hyperbolic-Tangent Decay" (2019). The ends are
/// not quite `from` and `to`, as tanh never reaches 1.
///
/// ```
/// use adarem_adapters::schedule::{Schedule, Tanh};
/// let lr = Tanh::new(1.0, 0.0, 300);
/// assert!(lr.at(0) > 0.999 && (lr.at(200) - 0.5).abs() < 1e-12 && lr.at(300) < 0.003);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tanh {
    /// The value far before the fall.
    pub from: f64,
    /// The value far after it.
    pub to: f64,
    /// How long it takes, at least 1.
    pub steps: u64,
    /// Where on the tanh it begins. Usually -6.
    pub lower: f64,
    /// Where it ends, above `lower`. Usually 3.
    pub upper: f64,
}

impl Tanh {
    /// From -6 to 3 on the tanh, as its authors found best.
    pub fn new(from: f64, to: f64, steps: u64) -> Self {
        Tanh {
            from,
            to,
            steps,
            lower: -6.0,
            upper: 3.0,
        }
    }
}

impl Schedule for Tanh {
    fn at(&self, step: u64) -> f64 {
        let x = Anneal::Linear.between(self.lower, self.upper, progress(step, self.steps));
        self.to + 0.5 * (self.from - self.to) * (1.0 - libm::tanh(x))
    }

    fn check(&self) -> Result<(), Invalid> {
        check_way(self.from, self.to, self.steps)?;
        finite("lower", self.lower)?;
        let above = self.upper > self.lower && self.upper.is_finite();
        ensure(above, "upper", "be finite and above lower", self.upper)
    }
}

/// `start factor^t`.
///
/// ```
/// use adarem_adapters::schedule::{Exponential, Schedule};
/// assert_eq!(Exponential { start: 1.0, factor: 0.5 }.at(3), 0.125);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exponential {
    /// The value in step 0.
    pub start: f64,
    /// What a step multiplies by; positive.
    pub factor: f64,
}

impl Schedule for Exponential {
    fn at(&self, step: u64) -> f64 {
        scaled(self.start, libm::pow(self.factor, step as f64))
    }

    fn check(&self) -> Result<(), Invalid> {
        finite("start", self.start)?;
        positive("factor", self.factor)
    }
}

/// `start factor^floor(t / every)`: a fall every so many steps, such as ÷10 at half of the run.
///
/// ```
/// use adarem_adapters::schedule::{Schedule, StepDecay};
/// let lr = StepDecay { start: 1.0, factor: 0.5, every: 30 };
/// assert_eq!([0, 29, 30, 60].map(|t| lr.at(t)), [1.0, 1.0, 0.5, 0.25]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepDecay {
    /// The value in step 0.
    pub start: f64,
    /// What every fall multiplies by; positive.
    pub factor: f64,
    /// Steps between falls, at least 1.
    pub every: u64,
}

impl Schedule for StepDecay {
    fn at(&self, step: u64) -> f64 {
        let falls = Stage::of(step, self.every, 1).index;
        scaled(self.start, libm::pow(self.factor, falls as f64))
    }

    fn check(&self) -> Result<(), Invalid> {
        finite("start", self.start)?;
        positive("factor", self.factor)?;
        some("every", self.every)
    }
}

/// `start factor^k` with k the number of milestones at or before t.
///
/// Padam's paper: factor 0.1 after 100 and 150 of 200 epochs (CIFAR), after 30, 60 and 80 of 100 (ImageNet).
///
/// ```
/// use adarem_adapters::schedule::{MultiStep, Schedule};
/// let lr = MultiStep { start: 1.0, factor: 0.5, milestones: [100, 150] };
/// assert_eq!([99, 100, 150].map(|t| lr.at(t)), [1.0, 0.5, 0.25]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MultiStep<M> {
    /// The value before the first milestone.
    pub start: f64,
    /// What every milestone multiplies by; positive.
    pub factor: f64,
    /// The steps of the falls, in any order: an array, a slice or whatever lends one.
    pub milestones: M,
}

impl<M: AsRef<[u64]> + Sync> Schedule for MultiStep<M> {
    fn at(&self, step: u64) -> f64 {
        let passed = self
            .milestones
            .as_ref()
            .iter()
            .filter(|&&m| m <= step)
            .count();
        scaled(self.start, libm::pow(self.factor, passed as f64))
    }

    fn check(&self) -> Result<(), Invalid> {
        finite("start", self.start)?;
        positive("factor", self.factor)
    }
}

/// `start factor^k` in stage k, which lasts `first * growth^k` steps: geometric step decay with stages that grow.
///
/// ```
/// use adarem_adapters::schedule::{Geometric, Schedule};
/// let lr = Geometric { start: 1.0, factor: 0.5, first: 10, growth: 2 };
/// assert_eq!([9, 10, 29, 30, 69, 70].map(|t| lr.at(t)), [1.0, 0.5, 0.5, 0.25, 0.25, 0.125]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometric {
    /// The value in stage 0.
    pub start: f64,
    /// What every stage multiplies by; positive, usually 1/2.
    pub factor: f64,
    /// Steps of stage 0, at least 1.
    pub first: u64,
    /// How many times longer than the one before a stage is, at least 1.
    pub growth: u64,
}

impl Schedule for Geometric {
    fn at(&self, step: u64) -> f64 {
        let stage = Stage::of(step, self.first, self.growth).index;
        scaled(self.start, libm::pow(self.factor, stage as f64))
    }

    fn check(&self) -> Result<(), Invalid> {
        finite("start", self.start)?;
        positive("factor", self.factor)?;
        some("first", self.first)?;
        some("growth", self.growth)
    }
}

fn check_way(from: f64, to: f64, steps: u64) -> Result<(), Invalid> {
    finite("from", from)?;
    finite("to", to)?;
    some("steps", steps)
}
