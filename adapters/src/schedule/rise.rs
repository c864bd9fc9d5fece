//! Schedules that rise: the learning-rate range test, and those with a warm-up of their own.

use adarem::Invalid;
use adarem::error::{ensure, non_negative, positive};

use super::{Anneal, Schedule, finite, progress, some};

/// The learning-rate range test: `from` rises to `to` in `steps`, while the caller records the loss.
///
/// Source: Smith, "Cyclical Learning Rates for Training Neural Networks" (2017). Train one short run with it,
/// stop when the loss diverges, and choose a rate somewhat below where it fell fastest.
///
/// ```
/// use adarem_adapters::schedule::{RangeTest, Schedule};
/// let lr = RangeTest { from: 1e-4, to: 1.0, steps: 4, linear: false };
/// assert!((lr.at(1) / 1e-3 - 1.0).abs() < 1e-12 && lr.at(4) == 1.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RangeTest {
    /// The rate in step 0: at least 0 along a line, else positive.
    pub from: f64,
    /// The rate in step `steps`, likewise.
    pub to: f64,
    /// How long it takes, at least 1.
    pub steps: u64,
    /// Whether the rate rises along a line, or (false) by the same factor every step.
    pub linear: bool,
}

impl Schedule for RangeTest {
    fn at(&self, step: u64) -> f64 {
        let done = progress(step, self.steps);
        if self.linear || done >= 1.0 {
            return Anneal::Linear.between(self.from, self.to, done);
        }
        self.from * libm::pow(self.to / self.from, done)
    }

    fn check(&self) -> Result<(), Invalid> {
        let range = if self.linear { non_negative } else { positive };
        range("from", self.from)?;
        range("to", self.to)?;
        let ratio = self.to / self.from;
        let holds = self.linear || ratio.is_normal();
        ensure(
            holds,
            "to",
            "have a ratio to from that a number can hold",
            self.to,
        )?;
        some("steps", self.steps)
    }
}

/// `scale / sqrt(width) min(1 / sqrt(t), t / warmup^1.5)`, t from 1: a linear warm-up, then 1/sqrt(t).
///
/// Source: Vaswani et al., "Attention Is All You Need" (2017), equation 3.
///
/// ```
/// use adarem_adapters::schedule::{Noam, Schedule};
/// let lr = Noam { scale: 1.0, width: 512, warmup: 4000 };
/// assert!((lr.at(3999) - 6.987_712_429_686_843e-4).abs() < 1e-15);
/// assert!(lr.at(3998) < lr.at(3999) && lr.at(4000) < lr.at(3999));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noam {
    /// A factor on everything; 1 in the paper.
    pub scale: f64,
    /// The width of the model, at least 1; 512 in the paper.
    pub width: u64,
    /// Steps until the peak, at least 1; 4000 in the paper.
    pub warmup: u64,
}

impl Schedule for Noam {
    fn at(&self, step: u64) -> f64 {
        let (t, warmup) = (step as f64 + 1.0, self.warmup.max(1) as f64);
        let shape = (1.0 / libm::sqrt(t)).min(t / (warmup * libm::sqrt(warmup)));
        self.scale / libm::sqrt(self.width.max(1) as f64) * shape
    }

    fn check(&self) -> Result<(), Invalid> {
        finite("scale", self.scale)?;
        some("width", self.width)?;
        some("warmup", self.warmup)
    }
}

/// Warm-up, stable, decay: a linear rise to the peak, a long plateau, a fall to `end`, and `end` after it.
///
/// ```
/// use adarem_adapters::schedule::{Anneal, Schedule, WarmupStableDecay};
/// let lr = WarmupStableDecay { peak: 1.0, end: 0.5, warmup: 2, stable: 10, decay: 4, shape: Anneal::Linear };
/// assert_eq!([0, 1, 11, 12, 14, 16, 99].map(|t| lr.at(t)), [0.5, 1.0, 1.0, 1.0, 0.75, 0.5, 0.5]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarmupStableDecay {
    /// The highest value.
    pub peak: f64,
    /// The last value.
    pub end: f64,
    /// Steps of the rise: step t has `(t + 1) / warmup` of the peak. 0 for none.
    pub warmup: u64,
    /// Steps at the peak after the rise.
    pub stable: u64,
    /// Steps of the fall, at least 1.
    pub decay: u64,
    /// The shape of the fall.
    pub shape: Anneal,
}

impl Schedule for WarmupStableDecay {
    fn at(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * progress(step + 1, self.warmup);
        }
        let falling = (step - self.warmup).saturating_sub(self.stable);
        self.shape
            .between(self.peak, self.end, progress(falling, self.decay))
    }

    fn check(&self) -> Result<(), Invalid> {
        finite("peak", self.peak)?;
        finite("end", self.end)?;
        let countable = self.warmup.checked_add(self.stable).is_some();
        ensure(
            countable,
            "stable",
            "be a number of steps that can be reached",
            self.stable as f64,
        )?;
        some("decay", self.decay)
    }
}
