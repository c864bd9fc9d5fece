//! [`RegretBound`]: what the regret cannot exceed, as the run goes.

use adarem::{Element, Mismatch};

use crate::oscillation::equal;

/// The data-dependent bound on AdaRem's regret, computed online.
///
/// For convex losses, on a convex region whose points differ by at most D in every coordinate, steps of lengths
/// `s_{t,i}` that are [projected](adarem::projection) in their own metric have
///
/// ```text
/// sum_t f_t(theta_t) - min_theta sum_t f_t(theta)
///     <= D^2 / 2 sum_i [1 / s_{1,i} + sum_{t > 1} max(0, 1 / s_{t,i} - 1 / s_{t-1,i})]
///        + 1/2 sum_t sum_i s_{t,i} g_{t,i}^2
/// ```
///
/// whatever the lengths depend on. AdaRem's are `lr_t a_{t,i}`; the slot
/// [`Projected::LENGTHS`](adarem::projection::Projected::LENGTHS) holds them. The decay must be 0.
///
/// The proof is short: the projection does not take a point farther from the best one, measured in the step's metric;
/// write the squared distances before and after a step, use convexity, and sum by parts.
///
/// ```
/// use adarem_adapters::RegretBound;
///
/// let mut memory = [0.0];
/// let mut bound = RegretBound::new(&mut memory);
/// bound.record(&[0.5f64], &[1.0])?;
/// bound.record(&[0.25f64], &[-2.0])?;
/// assert_eq!(bound.at_diameter(2.0), 2.0 * (2.0 + 2.0) + 0.5 * (0.5 + 1.0));
/// # Ok::<(), adarem::Mismatch>(())
/// ```
#[derive(Debug)]
pub struct RegretBound<'a> {
    /// 1 / s of the step before, 0 before the first.
    inverse: &'a mut [f64],
    growth: f64,
    gradients: f64,
}

impl<'a> RegretBound<'a> {
    /// Before the first step, with memory as long as theta, whatever is in it.
    pub fn new(inverse: &'a mut [f64]) -> Self {
        inverse.fill(0.0);
        RegretBound {
            inverse,
            growth: 0.0,
            gradients: 0.0,
        }
    }

    /// Takes note of a step: the lengths that it had, and its gradient.
    ///
    /// A length of 0 makes the bound infinite, as it is.
    ///
    /// # Errors
    /// [`Mismatch`] unless both are as long as the memory; nothing was changed.
    pub fn record<T: Element>(&mut self, lengths: &[T], grad: &[T]) -> Result<(), Mismatch> {
        equal("lengths", self.inverse.len(), lengths.len())?;
        equal("grad", self.inverse.len(), grad.len())?;
        let wide = |x: T| x.to_f64().unwrap_or(f64::NAN);
        for ((inverse, &length), &g) in self.inverse.iter_mut().zip(lengths).zip(grad) {
            let (length, g) = (wide(length), wide(g));
            let now = 1.0 / length;
            self.growth += (now - *inverse).max(0.0);
            self.gradients += length * g * g;
            *inverse = now;
        }
        Ok(())
    }

    /// The bound on the regret so far, on a region of this diameter D in the largest coordinate.
    pub fn at_diameter(&self, diameter: f64) -> f64 {
        0.5 * diameter * diameter * self.growth + 0.5 * self.gradients
    }
}
