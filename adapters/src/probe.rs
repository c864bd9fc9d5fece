//! [`probe_scale`]: whether a tensor's scale matters to the loss.

use adarem::error::positive;
use adarem::{Element, ErrorKind};

use crate::oscillation::equal;

/// Whether the loss depends on the scale of a tensor, as far as a probe can tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// It does not: the tensor belongs on a sphere. The larger of the two deviations that were measured.
    Free(f64),
    /// It does. The first deviation that was too large.
    Bound(f64),
    /// The tensor or its gradient is zero, empty or not finite: ask again with other data.
    Unknown,
}

/// Finds out whether the loss depends on the scale of `theta`: AdaRem-S and [`Sphere`](crate::Sphere) are for tensors
/// with which it does not, usually those that a normalization follows.
///
/// If `L(c theta) = L(theta)` for all c > 0, then the gradient is perpendicular to theta, and at 2 theta it is half. The
/// probe measures how far `|<g, theta>| / (|g| |theta|)`, and `|2 g(2 theta) - g| / |g|`, are from 0, and holds both
/// against `tolerance`. The second is decisive: in high dimensions any gradient is nearly perpendicular.
///
/// `grad` is the gradient at theta. `gradient` computes it at the theta that it is given, into its second argument, with all
/// other parameters, the data and the dropout masks as they were for `grad`. `twice` and `again` are memory as long as
/// theta, whatever is in them.
///
/// A normalization with an eps in its denominator is scale-free only as far as the eps does not count; a tolerance of
/// 1e-3 lets the usual 1e-5 pass.
///
/// ```
/// use adarem_adapters::{Scale, probe_scale};
///
/// // The cosine between theta and (1, 0) does not depend on the scale of theta; its first coordinate does.
/// let cosine = |x: &[f64], g: &mut [f64]| {
///     let n = x[0].hypot(x[1]);
///     (g[0], g[1]) = (x[1] * x[1] / n.powi(3), -x[0] * x[1] / n.powi(3));
/// };
/// let first = |_: &[f64], g: &mut [f64]| g.copy_from_slice(&[1.0, 0.0]);
/// let theta = [0.6, 0.8];
/// let (mut grad, mut twice, mut again) = ([0.0; 2], [0.0; 2], [0.0; 2]);
///
/// cosine(&theta, &mut grad);
/// let scale = probe_scale(&theta, &grad, &mut twice, &mut again, 1e-6, cosine)?;
/// assert!(matches!(scale, Scale::Free(deviation) if deviation < 1e-15));
///
/// first(&theta, &mut grad);
/// let scale = probe_scale(&theta, &grad, &mut twice, &mut again, 1e-6, first)?;
/// assert_eq!(scale, Scale::Bound(0.6));
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Length`] unless all slices are as long as theta, [`ErrorKind::Config`] unless the tolerance is positive;
/// `gradient` was not called.
pub fn probe_scale<T: Element>(
    theta: &[T],
    grad: &[T],
    twice: &mut [T],
    again: &mut [T],
    tolerance: f64,
    gradient: impl FnOnce(&[T], &mut [T]),
) -> Result<Scale, ErrorKind> {
    equal("grad", theta.len(), grad.len())?;
    equal("twice", theta.len(), twice.len())?;
    equal("again", theta.len(), again.len())?;
    positive("tolerance", tolerance)?;

    let (norm, slope) = (dot(theta, theta), dot(grad, grad));
    let usable = |square: f64| square > 0.0 && square.is_finite();
    if !usable(norm) || !usable(slope) {
        return Ok(Scale::Unknown);
    }
    let along = libm::fabs(dot(grad, theta)) / libm::sqrt(norm * slope);
    if along > tolerance {
        return Ok(Scale::Bound(along));
    }

    for (twice, &x) in twice.iter_mut().zip(theta) {
        *twice = x + x;
    }
    gradient(twice, again);
    for (again, &g) in again.iter_mut().zip(grad) {
        *again = *again + *again - g;
    }
    let change = libm::sqrt(dot(again, again) / slope);
    if change.is_nan() {
        Ok(Scale::Unknown)
    } else if change > tolerance {
        Ok(Scale::Bound(change))
    } else {
        Ok(Scale::Free(along.max(change)))
    }
}

fn dot<T: Element>(a: &[T], b: &[T]) -> f64 {
    let wide = |x: T| x.to_f64().unwrap_or(f64::NAN);
    a.iter().zip(b).map(|(&a, &b)| wide(a) * wide(b)).sum()
}
