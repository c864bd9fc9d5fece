use serde::{Deserialize, Serialize};

/// How much parameters went to and fro, after the AdaRem paper.
///
/// For each parameter, `q` is the length of the path it went over its displacement; it is at least 1,
/// and 1 where the parameter never turned. A parameter that ended where it began has no `q`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Q {
    /// All paths over all displacements: what large movements did. It has no heavy tail.
    pub ratio: f64,
    /// The mean of `q`, as in the paper; single parameters that came back to their start rule it.
    pub mean: f64,
    /// The median of `q`.
    pub median: f64,
}

/// Follows parameters and measures their [`Q`].
///
/// ```
/// use adarem_examples::train::Oscillation;
///
/// let mut meter = Oscillation::new(&[0.0, 0.0]);
/// for theta in [[1.0, 3.0], [2.0, 1.0], [3.0, 2.0]] {
///     meter.follow(&theta);
/// }
/// // Paths of 3 and 6, displacements of 3 and 2.
/// let q = meter.q();
/// assert_eq!((q.ratio, q.mean, q.median), (1.8, 2.0, 3.0));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Oscillation {
    start: Vec<f32>,
    latest: Vec<f32>,
    path: Vec<f64>,
}

impl Oscillation {
    /// A meter of parameters that start at `theta`.
    pub fn new(theta: &[f32]) -> Self {
        Self {
            start: theta.to_vec(),
            latest: theta.to_vec(),
            path: vec![0.0; theta.len()],
        }
    }

    /// The parameters have moved to `theta`; `theta.len()` is that of the start.
    pub fn follow(&mut self, theta: &[f32]) {
        for ((path, latest), &theta) in self.path.iter_mut().zip(&mut self.latest).zip(theta) {
            *path += (f64::from(theta) - f64::from(*latest)).abs();
            *latest = theta;
        }
    }

    /// The oscillation since the start.
    pub fn q(&self) -> Q {
        let displacements = self.start.iter().zip(&self.latest);
        let displacements = displacements.map(|(&s, &l)| (f64::from(l) - f64::from(s)).abs());
        let moved: Vec<(f64, f64)> = self
            .path
            .iter()
            .copied()
            .zip(displacements)
            .filter(|(_, d)| *d > 0.0)
            .collect();
        let (path, displacement) = moved
            .iter()
            .fold((0.0, 0.0), |(paths, ds), (path, d)| (paths + path, ds + d));
        let mut q: Vec<f64> = moved.iter().map(|(path, d)| path / d).collect();
        q.sort_unstable_by(f64::total_cmp);
        Q {
            ratio: path / displacement,
            mean: q.iter().sum::<f64>() / q.len() as f64,
            median: q.get(q.len() / 2).copied().unwrap_or(f64::NAN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_way_has_q_of_one() {
        let mut meter = Oscillation::new(&[1.0, -1.0]);
        meter.follow(&[0.5, -0.5]);
        meter.follow(&[0.25, 0.75]);
        assert_eq!(
            meter.q(),
            Q {
                ratio: 1.0,
                mean: 1.0,
                median: 1.0
            }
        );
    }

    #[test]
    fn a_parameter_that_came_back_is_left_out() {
        let mut meter = Oscillation::new(&[0.0, 0.0]);
        meter.follow(&[1.0, 1.0]);
        meter.follow(&[0.0, 2.0]);
        assert_eq!(
            meter.q(),
            Q {
                ratio: 1.0,
                mean: 1.0,
                median: 1.0
            }
        );
    }

    #[test]
    fn without_any_movement_there_is_no_q() {
        let q = Oscillation::new(&[0.0]).q();
        assert!(q.ratio.is_nan() && q.mean.is_nan() && q.median.is_nan());
    }
}
