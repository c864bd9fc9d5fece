//! [`Plateau`]: the schedule that looks at the loss.

use adarem::Invalid;
use adarem::error::{ensure, non_negative, positive};

/// A rate that falls when the loss has stopped falling.
///
/// It depends on what was observed, so it is no [`Schedule`](super::Schedule): it is a plain value that the
/// caller asks, sets as the rule's rate, and saves beside the checkpoint.
///
/// As `torch.optim.lr_scheduler.ReduceLROnPlateau` with a relative threshold, except that a
/// negative best loss, too, must be improved on. A NaN is no improvement.
///
/// ```
/// use adarem_adapters::schedule::Plateau;
///
/// let mut lr = Plateau { factor: 0.5, patience: 2, ..Plateau::new(1.0) };
/// lr.check()?;
/// let rates = [3.0, 2.0, 2.0, 2.5, 2.0, 1.0].map(|loss| lr.observe(loss));
/// assert_eq!(rates, [1.0, 1.0, 1.0, 1.0, 0.5, 0.5]);
/// # Ok::<(), adarem::Invalid>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plateau {
    /// The rate now.
    pub lr: f64,
    /// What a fall multiplies by, in (0, 1). Default 0.1.
    pub factor: f64,
    /// How many observations without improvement are borne; the next lets the rate fall. Default 10.
    pub patience: u64,
    /// Which part of the best loss an improvement must exceed, at least 0. Default 1e-4.
    pub threshold: f64,
    /// How many observations after a fall do not count. Default 0.
    pub cooldown: u64,
    /// The lowest rate, at least 0. Default 0.
    pub least: f64,
    /// State: the best loss so far, at first infinity.
    pub best: f64,
    /// State: observations since then that count.
    pub bad: u64,
    /// State: observations that will not count.
    pub cooling: u64,
}

impl Plateau {
    /// PyTorch's defaults, before the first observation.
    pub fn new(lr: f64) -> Self {
        Plateau {
            lr,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            cooldown: 0,
            least: 0.0,
            best: f64::INFINITY,
            bad: 0,
            cooling: 0,
        }
    }

    /// Takes note of a loss, usually once per epoch, and returns the rate from now on.
    pub fn observe(&mut self, loss: f64) -> f64 {
        let margin = if self.best.is_finite() {
            self.threshold * libm::fabs(self.best)
        } else {
            0.0
        };
        if loss < self.best - margin {
            self.best = loss;
            self.bad = 0;
        } else {
            self.bad = self.bad.saturating_add(1);
        }
        if self.cooling > 0 {
            self.cooling -= 1;
            self.bad = 0;
        }
        if self.bad > self.patience {
            self.lr = (self.lr * self.factor).max(self.least);
            self.cooling = self.cooldown;
            self.bad = 0;
        }
        self.lr
    }

    /// Whether its parameters make sense.
    ///
    /// # Errors
    /// The first that does not, by name and value.
    pub fn check(&self) -> Result<(), Invalid> {
        positive("lr", self.lr)?;
        let falls = self.factor > 0.0 && self.factor < 1.0;
        ensure(falls, "factor", "lie in (0, 1)", self.factor)?;
        non_negative("threshold", self.threshold)?;
        non_negative("least", self.least)
    }
}
