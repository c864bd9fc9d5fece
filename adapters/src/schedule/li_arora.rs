//! The exponential learning rate of Li and Arora.

use adarem::Invalid;
use adarem::error::{ensure, fraction, non_negative, positive};

use super::Schedule;

/// The rate that replaces weight decay where the loss does not depend on the scale of theta.
///
/// ```text
/// root   = the larger root of x^2 - (1 + momentum - lr weight_decay) x + momentum
/// rate_t = lr root^(-2 t - 1)
/// ```
///
/// Source: Li and Arora, "An Exponential Learning Rate Schedule for Deep Learning" (2020). SGD with this
/// rate and no decay walks through the same directions as SGD with `lr`, `momentum` and L2 `weight_decay`, if its
/// momentum buffer begins as [`first_buffer`](Self::first_buffer) times theta; its theta grows as `root^-t`. It
/// is the basis of SLR, [`RadiusTracker`](crate::RadiusTracker), which walks through these directions too, without
/// growing: use that to train, and this to understand or to test.
///
/// The rate leaves the range of any float: with lr 0.4 and decay 1e-4 that of `f32` after 1.1 million steps. So it is
/// kept as a logarithm, [`ln_at`](Self::ln_at), and [`last_below`](Self::last_below) says how far it goes;
/// [`at`](Schedule::at) is infinite beyond `f64`, which no rule accepts as a rate.
///
/// ```
/// use adarem_adapters::schedule::{LiArora, Schedule};
///
/// let rate = LiArora { lr: 0.4, weight_decay: 1e-4, momentum: 0.0 };
/// assert!((rate.at(0) - 0.4 / (1.0 - 0.4e-4)).abs() < 1e-15);
/// assert_eq!(rate.last_below(f64::from(f32::MAX)), 1_120_466);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LiArora {
    /// The constant rate of the run with decay, positive.
    pub lr: f64,
    /// Its L2 weight decay, at least 0, with `lr * weight_decay <= (1 - sqrt(momentum))^2` so that the root is real.
    pub weight_decay: f64,
    /// The momentum of both runs, in [0, 1), as in PyTorch's SGD.
    pub momentum: f64,
}

impl LiArora {
    /// 1 - root: the part of theta that a step of the run with decay loses in the long run.
    fn loss(&self) -> f64 {
        // The smaller root of y^2 - (1 - momentum + q) y + q, in the form that does not cancel.
        let q = self.lr * self.weight_decay;
        let sum = 1.0 - self.momentum + q;
        2.0 * q / (sum + libm::sqrt((sum * sum - 4.0 * q).max(0.0)))
    }

    /// The root: by what the norm of theta in the run without decay exceeds the other's is `root^-t`.
    pub fn root(&self) -> f64 {
        1.0 - self.loss()
    }

    /// What the momentum buffer begins as, in units of theta_0: `-(1 - root) / (lr root)`.
    pub fn first_buffer(&self) -> f64 {
        let loss = self.loss();
        -loss / (self.lr * (1.0 - loss))
    }

    /// The natural logarithm of the rate in step `step`.
    pub fn ln_at(&self, step: u64) -> f64 {
        libm::log(self.lr) - (2.0 * step as f64 + 1.0) * libm::log1p(-self.loss())
    }

    /// The last step whose rate is at most `largest`; `u64::MAX` without decay, 0 where not even the first is.
    pub fn last_below(&self, largest: f64) -> u64 {
        let growth = -2.0 * libm::log1p(-self.loss());
        if growth == 0.0 {
            return u64::MAX;
        }
        // A cast of a float to an integer saturates, and takes NaN to 0.
        ((libm::log(largest) - self.ln_at(0)) / growth) as u64
    }
}

impl Schedule for LiArora {
    fn at(&self, step: u64) -> f64 {
        libm::exp(self.ln_at(step))
    }

    fn check(&self) -> Result<(), Invalid> {
        positive("lr", self.lr)?;
        non_negative("weight_decay", self.weight_decay)?;
        fraction("momentum", self.momentum)?;
        let (q, gap) = (self.lr * self.weight_decay, 1.0 - libm::sqrt(self.momentum));
        let real = q < 1.0 && q <= gap * gap;
        let must = "be at most (1 - sqrt(momentum))^2 / lr, and below 1 / lr";
        ensure(real, "weight_decay", must, self.weight_decay)
    }
}
