use adarem_adapters::{Oscillation, Q};
use serde::{Deserialize, Serialize};

/// The memory of an [`Oscillation`], which a checkpoint keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meter {
    start: Vec<f32>,
    last: Vec<f32>,
    length: Vec<f64>,
}

impl Meter {
    /// A meter of parameters that start at `theta`.
    pub fn new(theta: &[f32]) -> Self {
        Self {
            start: theta.to_vec(),
            last: theta.to_vec(),
            length: vec![0.0; theta.len()],
        }
    }

    /// The parameters have moved to `theta`.
    ///
    /// # Errors
    /// If theta is not as long as it was, or this memory was damaged.
    pub fn record(&mut self, theta: &[f32]) -> anyhow::Result<()> {
        Ok(self.resume()?.record(theta)?)
    }

    /// The oscillation since the start, of the parameters that moved at all.
    ///
    /// # Errors
    /// If this memory was damaged.
    pub fn q(&self) -> anyhow::Result<Q> {
        Ok(self.clone().resume()?.finish(0.0)?)
    }

    fn resume(&mut self) -> anyhow::Result<Oscillation<'_, f32>> {
        Ok(Oscillation::resume(
            &mut self.start,
            &mut self.last,
            &mut self.length,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_goes_on_where_it_was() {
        let mut meter = Meter::new(&[0.0, 0.0]);
        for theta in [[1.0, 3.0], [2.0, 1.0], [3.0, 2.0]] {
            meter.record(&theta).unwrap();
        }
        // Paths of 3 and 6, displacements of 3 and 2; asking does not disturb it.
        assert_eq!(
            (meter.q().unwrap().ratio, meter.q().unwrap().mean),
            (1.8, 2.0)
        );
        assert!(meter.record(&[1.0]).is_err());
    }
}
