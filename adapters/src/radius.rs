//! [`RadiusTracker`]: SLR for those who take their own steps.

use adarem::Invalid;
use adarem::error::{ensure, positive};

/// The norm that plain training would have, for a walk on a sphere: the learning-rate converter and radius tracker
/// (SLR) of AdaRem's paper, section 3.4.1, as a plain value.
///
/// Where a loss does not depend on the scale of theta, its gradient is perpendicular to theta and goes as 1 / |theta|.
/// So plain training from `alpha theta` with `lr` and decay, and training on the sphere |theta| = R as follows, go
/// through the same directions, for every schedule of `lr`:
///
/// ```text
/// half  = (1 - lr weight_decay) theta - rate(lr) g        rate(lr) = lr / alpha^2
/// theta = half R / |half|
/// alpha = alpha |half| / R
/// ```
///
/// The decay takes the `lr` of plain training, not the converted one. Without decay and momentum the
/// same directions come of a rate that grows exponentially, [`LiArora`](crate::schedule::LiArora); here the growth stays
/// in alpha, which is bounded whenever there is decay.
///
/// [`Sphere`](crate::Sphere) and [`AdaRemS`](adarem::AdaRemS) do all this on the device.
///
/// ```
/// use adarem_adapters::RadiusTracker;
///
/// // A loss of the angle alone: <c, theta> / |theta|, in two dimensions.
/// let grad = |[x, y]: [f64; 2]| { let n = x.hypot(y); [y * y / n.powi(3), -x * y / n.powi(3)] };
/// let norm = |[x, y]: [f64; 2]| x.hypot(y);
/// let (lr, decay) = (0.5, 0.01);
///
/// let mut plain = [3.0, 4.0];
/// let mut theta = [0.6, 0.8];
/// let mut tracker = RadiusTracker::new(norm(plain), 1.0)?;
/// for _ in 0..100 {
///     let g = grad(plain);
///     plain = [0, 1].map(|i| (1.0 - lr * decay) * plain[i] - lr * g[i]);
///
///     let (g, rate) = (grad(theta), tracker.rate(lr));
///     let half = [0, 1].map(|i| (1.0 - lr * decay) * theta[i] - rate * g[i]);
///     let scale = tracker.advance(norm(half))?;
///     theta = half.map(|x| x * scale);
/// }
/// assert!((theta[0] - plain[0] / norm(plain)).abs() < 1e-14);
/// assert!((tracker.norm() / norm(plain) - 1.0).abs() < 1e-14);
/// # Ok::<(), adarem::Invalid>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RadiusTracker {
    /// The norm of plain training in units of the radius; positive.
    pub alpha: f64,
    /// The radius of the sphere; positive.
    pub radius: f64,
}

impl RadiusTracker {
    /// Plain training begins with a theta of this `norm`; the caller scales it by `radius / norm`.
    ///
    /// # Errors
    /// [`Invalid`] unless both, and their quotient, are positive and finite.
    pub fn new(norm: f64, radius: f64) -> Result<Self, Invalid> {
        positive("norm", norm)?;
        positive("radius", radius)?;
        let alpha = norm / radius;
        positive("norm / radius", alpha)?;
        Ok(RadiusTracker { alpha, radius })
    }

    /// The rate on the sphere that is `lr` off it.
    pub fn rate(&self, lr: f64) -> f64 {
        lr / (self.alpha * self.alpha)
    }

    /// The norm that plain training has now.
    pub fn norm(&self) -> f64 {
        self.alpha * self.radius
    }

    /// Takes note of the norm of `half`, and returns what to multiply it by to be on the sphere.
    ///
    /// # Errors
    /// [`Invalid`] where there is nothing to scale: where the norm is 0 or not finite, or alpha would be. Nothing was
    /// changed.
    pub fn advance(&mut self, half: f64) -> Result<f64, Invalid> {
        positive("norm", half)?;
        let alpha = self.alpha * (half / self.radius);
        ensure(
            alpha > 0.0 && alpha.is_finite(),
            "alpha",
            "stay positive and finite",
            alpha,
        )?;
        self.alpha = alpha;
        Ok(self.radius / half)
    }
}
