//! [`Oscillation`]: how much farther a training walked than it got.

use adarem::{Element, Invalid, Mismatch, error::non_negative};

/// Measures Q of AdaRem's paper: path length per displacement, coordinate by coordinate.
///
/// ```text
/// q_i = (sum over the window of |theta_{t+1,i} - theta_{t,i}|) / |theta_{T,i} - theta_{0,i}|
/// ```
///
/// q is at least 1, and 1 where a coordinate only ever went one way. It is undefined where a coordinate came
/// back to where it began, and has a heavy tail near that, so [`Q`] reports three summaries. The paper does not
/// say over which window; an epoch is natural. The memory is the caller's: three slices as long as
/// theta, whatever is in them.
///
/// ```
/// use adarem_adapters::Oscillation;
///
/// let (mut start, mut last, mut length) = ([0.0f32; 2], [0.0; 2], [0.0; 2]);
/// let mut meter = Oscillation::begin(&[0.0, 0.0], &mut start, &mut last, &mut length)?;
/// meter.record(&[2.0, 1.0])?;
/// meter.record(&[1.0, 2.0])?;
/// let q = meter.finish(0.0)?;
/// assert_eq!((q.mean, q.median, q.ratio), (2.0, 2.0, 5.0 / 3.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Oscillation<'a, T> {
    start: &'a mut [T],
    last: &'a mut [T],
    length: &'a mut [f64],
}

/// The oscillation of one window, summed up over the coordinates that moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Q {
    /// The mean of q; NaN where no coordinate moved.
    pub mean: f64,
    /// The median of q; of an even number, the mean of the middle two. NaN where no coordinate moved.
    pub median: f64,
    /// The sum of all path lengths over the sum of all displacements, of the same coordinates: one
    /// that does not depend on a few coordinates that hardly moved.
    pub ratio: f64,
    /// How many coordinates moved farther than asked for.
    pub moved: usize,
    /// How many did not, or became NaN or infinite; they are left out.
    pub left_out: usize,
}

impl<'a, T: Element> Oscillation<'a, T> {
    /// Begins a window at `theta`.
    ///
    /// # Errors
    /// [`Mismatch`] unless all slices are as long as theta.
    pub fn begin(
        theta: &[T],
        start: &'a mut [T],
        last: &'a mut [T],
        length: &'a mut [f64],
    ) -> Result<Self, Mismatch> {
        equal("start", theta.len(), start.len())?;
        equal("last", theta.len(), last.len())?;
        equal("length", theta.len(), length.len())?;
        let mut meter = Oscillation {
            start,
            last,
            length,
        };
        meter.restart(theta)?;
        Ok(meter)
    }

    /// Goes on with the window that a meter left in these slices, say from a checkpoint.
    ///
    /// ```
    /// use adarem_adapters::Oscillation;
    ///
    /// let (mut start, mut last, mut length) = ([0.0f32], [0.0], [0.0]);
    /// Oscillation::begin(&[0.0], &mut start, &mut last, &mut length)?.record(&[2.0])?;
    /// let mut meter = Oscillation::resume(&mut start, &mut last, &mut length)?;
    /// meter.record(&[1.0])?;
    /// assert_eq!(meter.finish(0.0)?.ratio, 3.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Mismatch`] unless all slices are of one length.
    pub fn resume(
        start: &'a mut [T],
        last: &'a mut [T],
        length: &'a mut [f64],
    ) -> Result<Self, Mismatch> {
        equal("last", start.len(), last.len())?;
        equal("length", start.len(), length.len())?;
        Ok(Oscillation {
            start,
            last,
            length,
        })
    }

    /// Begins a new window at `theta`.
    ///
    /// # Errors
    /// [`Mismatch`] unless theta is as long as before.
    pub fn restart(&mut self, theta: &[T]) -> Result<(), Mismatch> {
        equal("theta", self.start.len(), theta.len())?;
        self.start.copy_from_slice(theta);
        self.last.copy_from_slice(theta);
        self.length.fill(0.0);
        Ok(())
    }

    /// Takes note of `theta` after a step.
    ///
    /// # Errors
    /// [`Mismatch`] unless theta is as long as before; nothing was changed.
    pub fn record(&mut self, theta: &[T]) -> Result<(), Mismatch> {
        equal("theta", self.start.len(), theta.len())?;
        for ((length, last), &now) in self.length.iter_mut().zip(self.last.iter_mut()).zip(theta) {
            *length += distance(*last, now);
            *last = now;
        }
        Ok(())
    }

    /// Sums the window up, over the coordinates that ended farther than `least` from where they began. The path
    /// lengths are used up: [`restart`](Self::restart) before recording more.
    ///
    /// # Errors
    /// [`Invalid`] where `least` is negative or not finite.
    pub fn finish(&mut self, least: f64) -> Result<Q, Invalid> {
        non_negative("least", least)?;
        let (mut lengths, mut displacements, mut ratios, mut moved) = (0.0, 0.0, 0.0, 0);
        for i in 0..self.length.len() {
            let (length, displacement) = (self.length[i], distance(self.start[i], self.last[i]));
            if displacement > least && length.is_finite() {
                // Only rounding can take it below 1: a path is never shorter than its displacement.
                let q = (length / displacement).max(1.0);
                lengths += length.max(displacement);
                displacements += displacement;
                ratios += q;
                // Those that moved gather in front, for the median.
                self.length[moved] = q;
                moved += 1;
            }
        }
        let left_out = self.length.len() - moved;
        let median = median(&mut self.length[..moved]);
        Ok(Q {
            mean: ratios / moved as f64,
            median,
            ratio: lengths / displacements,
            moved,
            left_out,
        })
    }
}

fn distance<T: Element>(a: T, b: T) -> f64 {
    let wide = |x: T| x.to_f64().unwrap_or(f64::NAN);
    libm::fabs(wide(b) - wide(a))
}

/// The median, NaN of nothing; reorders `xs`.
fn median(xs: &mut [f64]) -> f64 {
    let half = xs.len() / 2;
    if xs.is_empty() {
        return f64::NAN;
    }
    let even = xs.len().is_multiple_of(2);
    let (below, &mut upper, _) = xs.select_nth_unstable_by(half, f64::total_cmp);
    if even {
        0.5 * (below.iter().copied().fold(0.0, f64::max) + upper)
    } else {
        upper
    }
}

pub(crate) fn equal(what: &'static str, expected: usize, got: usize) -> Result<(), Mismatch> {
    if got == expected {
        Ok(())
    } else {
        Err(Mismatch {
            what,
            tensor: 0,
            expected,
            got,
        })
    }
}
