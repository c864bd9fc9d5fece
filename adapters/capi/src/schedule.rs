//! Schedules of settings, as C gives them.

use adarem::Invalid;
use adarem_adapters::schedule::{
    Cosine, Exponential, InverseSqrt, Linear, Polynomial, Schedule as _, StepDecay,
};

use crate::error::Failure;

/// `from`, in every step.
pub const SCHEDULE_CONSTANT: u32 = 0;
/// A straight line from `from` to `to` in `steps`.
pub const SCHEDULE_LINEAR: u32 = 1;
/// Half a cosine from `from` to `to` in `steps`.
pub const SCHEDULE_COSINE: u32 = 2;
/// `to + (from - to) (1 - t / steps)^factor`, then `to`.
pub const SCHEDULE_POLYNOMIAL: u32 = 3;
/// `from * factor^t`.
pub const SCHEDULE_EXPONENTIAL: u32 = 4;
/// `from * factor^floor(t / steps)`.
pub const SCHEDULE_STEPS: u32 = 5;
/// `from / sqrt(t + 1)`.
pub const SCHEDULE_INVERSE_SQRT: u32 = 6;

/// A setting as a function of the step t, counted from 0. Fields that a kind does not name are not read.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// One of ADAREM_SCHEDULE_...
    pub kind: u32,
    /// The value in step 0.
    pub from: f64,
    /// The value at the end.
    pub to: f64,
    /// How many steps it takes, at least 1; for ADAREM_SCHEDULE_STEPS, the steps between falls.
    pub steps: u64,
    /// What is multiplied by, or the power; positive.
    pub factor: f64,
    /// Steps of a linear warm-up before the schedule begins; 0 for none.
    pub warmup: u64,
}

impl Schedule {
    /// The value in step `t`, where its fields make sense.
    pub(crate) fn at(&self, t: u64) -> Result<f64, Failure> {
        let Schedule {
            kind,
            from,
            to,
            steps,
            factor,
            ..
        } = *self;
        Ok(match kind {
            SCHEDULE_CONSTANT => self.warmed(from, t),
            SCHEDULE_LINEAR => self.warmed(Linear { from, to, steps }, t),
            SCHEDULE_COSINE => self.warmed(Cosine { from, to, steps }, t),
            SCHEDULE_POLYNOMIAL => {
                let power = factor;
                self.warmed(
                    Polynomial {
                        from,
                        to,
                        steps,
                        power,
                    },
                    t,
                )
            }
            SCHEDULE_EXPONENTIAL => self.warmed(
                Exponential {
                    start: from,
                    factor,
                },
                t,
            ),
            SCHEDULE_STEPS => {
                let (start, every) = (from, steps);
                self.warmed(
                    StepDecay {
                        start,
                        factor,
                        every,
                    },
                    t,
                )
            }
            SCHEDULE_INVERSE_SQRT => self.warmed(InverseSqrt { start: from }, t),
            kind => return Err(Failure::ScheduleKind(kind)),
        }?)
    }

    fn warmed(
        &self,
        schedule: impl adarem_adapters::schedule::Schedule,
        t: u64,
    ) -> Result<f64, Invalid> {
        schedule.check()?;
        Ok(schedule.warmed_up(self.warmup).at(t))
    }
}
