//! [`Scheduled`]: a rule with a hyper-parameter that follows a schedule.

use adarem::error::ensure;
use adarem::{Engine, Invalid, Rule, Setting, Slot, Tunable};

use crate::schedule::Schedule;

/// A rule, one hyper-parameter of which follows a schedule. For several, wrap again.
///
/// The rule's own value of it is replaced in every step, by name, before the step; nothing else differs, the
/// state and its checkpoints are the rule's. The value of each step is checked as the rule checks its own: an
/// [`Optimizer`](adarem::Optimizer) refuses the step, and changes nothing, where a schedule leaves the range. A
/// rate may begin and end at 0: past the end of such a schedule theta stays as it is, and the state goes on.
///
/// ```
/// use adarem::{AdaRem, Host, Rule};
/// use adarem_adapters::Scheduled;
/// use adarem_adapters::schedule::{Cosine, lambda_per_epoch};
///
/// let rule = Scheduled::new(AdaRem::default(), "lr", Cosine { from: 0.4, to: 0.01, steps: 100 })?;
/// let rule = Scheduled::new(rule, "lambda", lambda_per_epoch(0.999, 0.999, 10))?;
///
/// let (mut theta, mut m, mut carried) = ([1.0f32], [0.0], [0.0]);
/// for t in 0..100 {
///     let grad = theta.map(|x| 2.0 * x);
///     rule.step(t, &mut Host::new(&mut theta, &grad, [&mut m], &mut carried)?);
/// }
/// assert!(theta[0].abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scheduled<R, S> {
    /// The rule.
    pub rule: R,
    /// Which of its hyper-parameters, by the name of its field.
    pub name: &'static str,
    /// Its value in every step.
    pub schedule: S,
}

impl<R: Tunable + Clone, S: Schedule> Scheduled<R, S> {
    /// `rule`, with `name` following `schedule`.
    ///
    /// # Errors
    /// [`Invalid`] where the rule has no such hyper-parameter, or as [`Rule::check`].
    pub fn new(rule: R, name: &'static str, schedule: S) -> Result<Self, Invalid> {
        let scheduled = Scheduled {
            rule,
            name,
            schedule,
        };
        scheduled.check()?;
        Ok(scheduled)
    }

    /// The rule as it is in step `t`; `None` where it has no such hyper-parameter.
    #[inline(always)]
    pub fn rule_at(&self, t: u64) -> Option<R> {
        let mut rule = self.rule.clone();
        rule.set(self.name, self.schedule.at(t)).then_some(rule)
    }
}

impl<R: Tunable + Clone, S: Schedule> Rule for Scheduled<R, S> {
    const NAME: &'static str = R::NAME;
    const SLOTS: usize = R::SLOTS;
    const CARRIED: usize = R::CARRIED;

    fn slot(&self, k: usize) -> Slot {
        self.rule.slot(k)
    }

    fn carried(&self, k: usize) -> Slot {
        self.rule.carried(k)
    }

    /// The schedule's parameters, and step 0.
    fn check(&self) -> Result<(), Invalid> {
        self.check_at(0)
    }

    fn check_at(&self, t: u64) -> Result<(), Invalid> {
        self.schedule.check()?;
        match self.rule_at(t) {
            Some(rule) => rule.check_at(t),
            None => {
                let must = "be the name of a hyper-parameter of the rule to follow a schedule";
                ensure(false, self.name, must, self.schedule.at(t))
            }
        }
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        match self.rule_at(t) {
            Some(rule) => rule.step(t, e),
            None => self.rule.step(t, e),
        }
    }

    const MEASURED: bool = R::MEASURED;

    #[inline(always)]
    fn step_measured<E: Engine>(&self, t: u64, e: &mut E) {
        match self.rule_at(t) {
            Some(rule) => rule.step_measured(t, e),
            None => self.rule.step_measured(t, e),
        }
    }
}

impl<R: Tunable + Clone, S: Schedule> Tunable for Scheduled<R, S> {
    /// Those of the rule.
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        self.rule.settings(visit);
    }
}
