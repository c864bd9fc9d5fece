//! Schedules: hyper-parameters as pure functions of the step.
//!
//! A [`Schedule`] maps the step, counted from 0, to a value. It holds no state: there is nothing to save in a
//! checkpoint and nothing to drift, and a resumed run asks for the same step and gets the same bits. Values
//! are computed in `f64` and rounded once, when a rule hands them to its engine.
//!
//! [`Scheduled`](crate::Scheduled) lets one drive any hyper-parameter of a rule: the learning rate, AdaRem's
//! lambda, a momentum. The constant schedule is a plain number, and a closure is a schedule too.
//! [`Plateau`] looks at the loss instead of the step; it is the one with state, a plain value.
//!
//! Every schedule is total: past its end it stays where it ended, and no parameters make it panic.
//! [`Schedule::check`] refuses those that make no sense, by name and value.

mod anneal;
mod cycle;
mod decay;
mod lambda;
mod li_arora;
mod plateau;
mod rise;

pub use anneal::Anneal;
pub use cycle::{Cycle, Cyclic, OneCycle, WarmRestarts};
pub use decay::{
    Cosine, Exponential, Geometric, InversePower, InverseSqrt, Linear, MultiStep, Polynomial,
    StepDecay, Tanh,
};
pub use lambda::{lambda_per_epoch, lambda_per_step};
pub use li_arora::LiArora;
pub use plateau::Plateau;
pub use rise::{Noam, RangeTest, WarmupStableDecay};

use adarem::Invalid;
use adarem::error::ensure;

/// A hyper-parameter as a function of the step.
///
/// ```
/// use adarem_adapters::schedule::{Cosine, Schedule};
///
/// let lr = Cosine { from: 0.4, to: 0.0, steps: 1000 }.warmed_up(10);
/// lr.check()?;
/// assert_eq!([4, 9, 10].map(|t| lr.at(t)), [0.2, 0.4, 0.4]);
/// assert!((lr.at(510) - 0.2).abs() < 1e-12);
/// # Ok::<(), adarem::Invalid>(())
/// ```
pub trait Schedule: Sync {
    /// The value in step `step`, counted from 0.
    fn at(&self, step: u64) -> f64;

    /// Whether its parameters make sense.
    ///
    /// # Errors
    /// The first that does not, by name and value.
    fn check(&self) -> Result<(), Invalid>;

    /// This schedule after a linear [`Warmup`] of `steps`.
    fn warmed_up(self, steps: u64) -> Warmup<Self>
    where
        Self: Sized,
    {
        Warmup { steps, then: self }
    }

    /// This schedule for `steps`, then `next` from its own beginning.
    fn then<N: Schedule>(self, steps: u64, next: N) -> Then<Self, N>
    where
        Self: Sized,
    {
        Then {
            first: self,
            steps,
            next,
        }
    }
}

/// The constant schedule.
///
/// ```
/// use adarem_adapters::schedule::Schedule;
/// assert_eq!(0.1.at(1_000_000), 0.1);
/// ```
impl Schedule for f64 {
    fn at(&self, _: u64) -> f64 {
        *self
    }

    fn check(&self) -> Result<(), Invalid> {
        finite("value", *self)
    }
}

/// Your own: any function of the step.
///
/// ```
/// use adarem_adapters::schedule::Schedule;
/// let sawtooth = |step: u64| 0.1 / (1 + step % 10) as f64;
/// assert_eq!(sawtooth.at(10), 0.1);
/// ```
impl<F: Fn(u64) -> f64 + Sync> Schedule for F {
    fn at(&self, step: u64) -> f64 {
        self(step)
    }

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

/// A linear warm-up before another schedule: step t < `steps` has `(t + 1) / steps` of the other's first value,
/// and step `steps` is the other's step 0.
///
/// RAdam's authors suggest `2 / (1 - beta2)` steps for Adam; AdaRem's paper uses none. For the other habit, a
/// warm-up whose first step has 0 itself, put a [`Linear`] before the schedule with [`then`](Schedule::then).
///
/// ```
/// use adarem_adapters::schedule::{Linear, Schedule};
/// let lr = 0.4.warmed_up(4);
/// assert_eq!([0, 1, 3, 4, 9].map(|t| lr.at(t)), [0.1, 0.2, 0.4, 0.4, 0.4]);
///
/// let lr = Linear { from: 0.0, to: 0.4, steps: 4 }.then(4, 0.4);
/// assert_eq!([0, 1, 2, 4, 9].map(|t| lr.at(t)), [0.0, 0.1, 0.2, 0.4, 0.4]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Warmup<S> {
    /// How many steps; 0 for none.
    pub steps: u64,
    /// What comes after.
    pub then: S,
}

impl<S: Schedule> Schedule for Warmup<S> {
    fn at(&self, step: u64) -> f64 {
        match step.checked_sub(self.steps) {
            Some(after) => self.then.at(after),
            None => self.then.at(0) * progress(step + 1, self.steps),
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        self.then.check()
    }
}

/// One schedule for some steps, then another from its own beginning. Longer sequences nest.
///
/// ```
/// use adarem_adapters::schedule::{Linear, Schedule};
///
/// let lr = 0.1.then(100, Linear { from: 0.1, to: 0.01, steps: 50 }).then(150, 0.001);
/// assert_eq!([99, 100, 125, 150].map(|t| lr.at(t)), [0.1, 0.1, 0.055, 0.001]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Then<A, B> {
    /// What comes first.
    pub first: A,
    /// For how many steps.
    pub steps: u64,
    /// What comes after; its step 0 is step `steps`.
    pub next: B,
}

impl<A: Schedule, B: Schedule> Schedule for Then<A, B> {
    fn at(&self, step: u64) -> f64 {
        match step.checked_sub(self.steps) {
            Some(after) => self.next.at(after),
            None => self.first.at(step),
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        self.first.check()?;
        self.next.check()
    }
}

/// `step / steps`, at most 1; 1 where `steps` is 0.
fn progress(step: u64, steps: u64) -> f64 {
    if step < steps {
        step as f64 / steps as f64
    } else {
        1.0
    }
}

/// `height * scale`, where a power may have grown to infinity: a height of 0 stays 0.
fn scaled(height: f64, scale: f64) -> f64 {
    if height == 0.0 {
        height
    } else {
        height * scale
    }
}

/// Refuses what is not finite, and what is so large that the way between two values would not be.
fn finite(name: &'static str, value: f64) -> Result<(), Invalid> {
    let holds = value.abs() <= 0.5 * f64::MAX;
    ensure(holds, name, "be at most 8.9e307 in magnitude", value)
}

/// Refuses zero steps.
fn some(name: &'static str, steps: u64) -> Result<(), Invalid> {
    ensure(steps > 0, name, "be at least 1", steps as f64)
}

/// Which stage a step lies in, where stage k lasts `first * growth^k` steps.
struct Stage {
    /// k, counted from 0.
    index: u64,
    /// Steps since the stage began.
    into: u64,
    /// How long it lasts.
    steps: u64,
}

impl Stage {
    fn of(step: u64, first: u64, growth: u64) -> Stage {
        if growth <= 1 || first == 0 {
            let (index, into) = match step.checked_div(first) {
                Some(index) => (index, step % first),
                None => (0, step),
            };
            return Stage {
                index,
                into,
                steps: first,
            };
        }
        let mut stage = Stage {
            index: 0,
            into: step,
            steps: first,
        };
        // At most 64 rounds: the stages double at least.
        while stage.into >= stage.steps {
            stage.into -= stage.steps;
            stage.steps = stage.steps.saturating_mul(growth);
            stage.index += 1;
        }
        stage
    }
}
