//! [`Averaged`]: an average of the weights, beside them.

use adarem::error::{ensure, fraction};
use adarem::{Engine, Invalid, Name, Real, Rule, Setting, Slot, Tunable, Wraps};

/// How weights are averaged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Average {
    /// The mean of all: `w = w + (theta - w) / (n + 1)`, stochastic weight averaging (SWA).
    Uniform,
    /// An exponential moving average with this decay d, in [0, 1): `w = d w + (1 - d) theta`. 0.999 is usual.
    Exponential(f64),
}

/// A rule that keeps an average of its weights, to evaluate the model with.
///
/// The first average is theta itself. The walk is the rule's own: theta does not depend on the average.
/// Sources: Polyak and Juditsky (1992); Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization"
/// (2018).
///
/// One state vector, [`AVERAGE`](Self::AVERAGE), behind the rule's own, and one carried scalar, how many weights were
/// averaged (exact up to 2^24 in `f32`). Twelve bytes a parameter more, in `f32`, in a step that averages.
///
/// ```
/// use adarem::{Host, Rule, Sgd};
/// use adarem_adapters::{Average, Averaged};
///
/// type Swa = Averaged<Sgd>;
/// let rule = Swa { start: 2, ..Swa::new(Sgd { lr: 1.0, ..Sgd::default() }, Average::Uniform) };
/// let (mut theta, mut average, mut carried) = ([10.0f32], [0.0], [0.0; Swa::CARRIED]);
/// for t in 0..5 {
///     rule.step(t, &mut Host::new(&mut theta, &[1.0], [&mut average], &mut carried)?);
/// }
/// assert_eq!((theta, average), ([5.0], [6.0]));
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Averaged<R> {
    /// The rule.
    pub rule: R,
    /// How.
    pub average: Average,
    /// The first step whose weights are averaged. Default 0; SWA begins late.
    pub start: u64,
    /// Steps from one averaging to the next, at least 1. Default 1; SWA usually averages once per epoch.
    pub every: u64,
}

impl<R: Rule> Averaged<R> {
    /// Which state vector holds the average: zeros before the first.
    pub const AVERAGE: usize = R::SLOTS;
    const COUNT: usize = R::CARRIED;

    /// Averages after every step.
    pub fn new(rule: R, average: Average) -> Self {
        Averaged {
            rule,
            average,
            start: 0,
            every: 1,
        }
    }
}

impl<R: Rule + Default> Default for Averaged<R> {
    fn default() -> Self {
        Averaged::new(R::default(), Average::Exponential(0.999))
    }
}

impl<R: Rule> Wraps for Averaged<R> {
    const WRAPPER: &'static str = "averaged";
    type Inner = R;
}

impl<R: Rule> Rule for Averaged<R> {
    const NAME: &'static str = Name::<Self>::OF;
    const SLOTS: usize = R::SLOTS + 1;
    const CARRIED: usize = R::CARRIED + 1;

    fn slot(&self, k: usize) -> Slot {
        if k == Self::AVERAGE {
            Slot::zero("average")
        } else {
            self.rule.slot(k)
        }
    }

    fn carried(&self, k: usize) -> Slot {
        if k == Self::COUNT {
            Slot::zero("averaged")
        } else {
            self.rule.carried(k)
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        self.check_at(0)
    }

    fn check_at(&self, t: u64) -> Result<(), Invalid> {
        if let Average::Exponential(decay) = self.average {
            fraction("average", decay)?;
        }
        ensure(self.every > 0, "every", "be at least 1", self.every as f64)?;
        self.rule.check_at(t)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        const {
            assert!(
                R::SLOTS < E::SLOTS && R::CARRIED < E::CARRIED,
                "the engine holds too little state"
            )
        };
        self.rule.step(t, e);
        let due = t
            .checked_sub(self.start)
            .is_some_and(|since| since.is_multiple_of(self.every));
        if !due {
            return;
        }
        let count = e.carried_at(Self::COUNT);
        let next = count + E::Real::lit(1.0);
        match self.average {
            Average::Uniform => {
                let share = E::Real::lit(1.0) / next;
                e.pass_at(Self::AVERAGE, [], |x| {
                    let [w] = x.slot;
                    ([w + (x.theta - w) * share], [])
                });
            }
            Average::Exponential(decay) => {
                let begun = E::Real::lit(0.0).lt(count);
                let (decay, rest) = (e.uniform(decay), e.uniform(1.0 - decay));
                e.pass_at(Self::AVERAGE, [], |x| {
                    let [w] = x.slot;
                    let w = E::Real::select(begun, decay * w + rest * x.theta, x.theta);
                    ([w], [])
                });
            }
        }
        e.carry_at(Self::COUNT, next);
    }
}

impl<R: Tunable> Tunable for Averaged<R> {
    /// Those of the rule, and `average_decay` of an exponential average.
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        self.rule.settings(visit);
        if let Average::Exponential(decay) = &mut self.average {
            visit("average_decay", Setting::Number(decay));
        }
    }
}
