//! The learning-rate range test (Smith 2017): one short run in which the rate rises until training
//! falls apart.

use adarem_adapters::schedule::{RangeTest, Schedule};
use anyhow::Context;

use super::descent::{Now, open};
use super::{Method, Settings};

/// How much of the smoothed loss the next batch leaves as it is.
const SMOOTH: f64 = 0.9;
/// So many times the lowest loss, and training has fallen apart.
const APART: f64 = 3.0;

/// A learning rate, and the smoothed loss that training had there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// The rate.
    pub lr: f64,
    /// The mean loss of the latest batches, the latest most of all.
    pub loss: f64,
}

/// Trains while the rate rises, until training falls apart or the rate has risen to its end.
///
/// # Errors
/// If the rates or a setting are out of range; the backend's.
pub fn range_test(
    settings: &Settings,
    method: Method,
    rates: RangeTest,
) -> anyhow::Result<Vec<Reading>> {
    rates.check()?;
    let mut task = settings.open()?;
    let now = |step| Now {
        lr: rates.at(step),
        lambda: settings.lambda,
    };
    let mut descent = open(settings, method, &mut task.parameters(), now(0))
        .with_context(|| format!("cannot start {method}"))?;
    let (mut sum, mut weight, mut lowest) = (0.0, 0.0, f64::INFINITY);
    let mut readings = Vec::new();
    for step in 0..rates.steps {
        sum = SMOOTH * sum + (1.0 - SMOOTH) * task.learn(step).loss;
        weight = SMOOTH * weight + (1.0 - SMOOTH);
        let loss = sum / weight;
        lowest = f64::min(lowest, loss);
        if !loss.is_finite() || loss > APART * lowest {
            break;
        }
        readings.push(Reading {
            lr: now(step).lr,
            loss,
        });
        descent.step(&mut task.parameters(), now(step))?;
    }
    Ok(readings)
}

/// The rate at which the loss fell fastest for a given factor of the rate, measured over tenths of the
/// test: a good one lies there or somewhat below. `None` where it never fell.
pub fn steepest(readings: &[Reading]) -> Option<f64> {
    let width = (readings.len() / 10).max(1);
    let falls = readings.windows(width + 1).map(|part| {
        let (first, last) = (part[0], part[width]);
        let fall = (first.loss - last.loss) / (last.lr / first.lr).ln();
        ((first.lr * last.lr).sqrt(), fall)
    });
    let steepest = falls.max_by(|a, b| a.1.total_cmp(&b.1));
    steepest.filter(|(_, fall)| *fall > 0.0).map(|(lr, _)| lr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_until_training_falls_apart() {
        let rates = RangeTest {
            from: 1e-3,
            to: 1e4,
            steps: 60,
            linear: false,
        };
        let readings = range_test(&Settings::brief(), Method::SGDM, rates).unwrap();
        assert!(
            readings.len() > 20 && readings.len() < 60,
            "{}",
            readings.len()
        );
        assert!(readings.windows(2).all(|pair| pair[0].lr < pair[1].lr));
        let best = steepest(&readings).unwrap();
        assert!(best > 1e-3 && best < 1e2, "{best}");
    }

    #[test]
    fn the_steepest_fall_is_found_and_a_rise_is_none() {
        let reading = |(lr, loss)| Reading { lr, loss };
        let readings = [(0.1, 3.0), (0.2, 2.8), (0.4, 2.0), (0.8, 1.9)].map(reading);
        assert!((steepest(&readings).unwrap() - 0.08_f64.sqrt()).abs() < 1e-12);
        assert_eq!(steepest(&[(0.1, 1.0), (0.2, 2.0)].map(reading)), None);
        assert_eq!(steepest(&[]), None);
    }

    #[test]
    fn rates_that_make_no_sense_are_refused() {
        let rates = RangeTest {
            from: -1.0,
            to: 1.0,
            steps: 10,
            linear: false,
        };
        let error = range_test(&Settings::brief(), Method::SGD, rates).unwrap_err();
        assert_eq!(
            error.to_string(),
            "from must be positive and finite, got -1"
        );
    }
}
