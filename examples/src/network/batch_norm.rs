use super::matrix::sum_rows;
use super::{Layer, Parameter, Role};

/// Added to a variance, so that a feature that never changes does not divide by zero.
const EPS: f32 = 1e-5;

/// Whose mean and variance a [`BatchNorm`] normalises with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistics {
    /// Those of the batch at hand, which are kept: for training, and to measure a whole data set.
    OfThisBatch,
    /// Those of the batch last measured: for judging single examples.
    Kept,
}

/// Batch normalisation (Ioffe and Szegedy 2015): each feature is shifted and scaled to mean 0 and
/// variance 1 over the batch, then scaled by `gamma` and shifted by `beta`, which are learnt.
///
/// The weights in front of it only act by their direction: doubling them doubles mean and deviation
/// alike. No running averages are kept. Whoever wants to judge single examples first passes the
/// whole training set through, which gives the exact statistics of that set.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    gamma: Parameter,
    beta: Parameter,
    /// Whose mean and variance the next [`forward`](Layer::forward) uses.
    pub statistics: Statistics,
    mean: Vec<f32>,
    inverse_deviation: Vec<f32>,
    /// The input, shifted and scaled to mean 0 and variance 1.
    normal: Vec<f32>,
    output: Vec<f32>,
    input_grad: Vec<f32>,
}

impl BatchNorm {
    /// A normalisation of `features` numbers a row, which starts as the plain one: gamma 1, beta 0.
    pub fn new(name: &str, features: usize) -> Self {
        let learnt = |what: &str, start: f32| {
            Parameter::new(
                format!("{name}.{what}"),
                Role::Offset,
                vec![start; features],
            )
        };
        Self {
            gamma: learnt("gamma", 1.0),
            beta: learnt("beta", 0.0),
            statistics: Statistics::OfThisBatch,
            mean: vec![0.0; features],
            inverse_deviation: vec![1.0; features],
            normal: Vec::new(),
            output: Vec::new(),
            input_grad: Vec::new(),
        }
    }

    fn measure(&mut self, input: &[f32]) {
        let features = self.mean.len();
        let share = 1.0 / (input.len() / features) as f32;
        sum_rows(&mut self.mean, input);
        self.mean.iter_mut().for_each(|m| *m *= share);
        let variance = &mut self.inverse_deviation;
        variance.fill(0.0);
        for row in input.chunks_exact(features) {
            for ((v, &x), &m) in variance.iter_mut().zip(row).zip(&self.mean) {
                *v += share * (x - m) * (x - m);
            }
        }
        variance
            .iter_mut()
            .for_each(|v| *v = 1.0 / (*v + EPS).sqrt());
    }
}

impl Layer for BatchNorm {
    fn forward(&mut self, input: &[f32]) -> &[f32] {
        if self.statistics == Statistics::OfThisBatch {
            self.measure(input);
        }
        let features = self.mean.len();
        self.normal.clear();
        self.output.clear();
        for row in input.chunks_exact(features) {
            for (k, &x) in row.iter().enumerate() {
                let normal = (x - self.mean[k]) * self.inverse_deviation[k];
                self.normal.push(normal);
                self.output
                    .push(self.gamma.theta[k] * normal + self.beta.theta[k]);
            }
        }
        &self.output
    }

    fn backward(&mut self, output_grad: &[f32]) -> &[f32] {
        // With n the normalised input and averages over the batch:
        // dL/dgamma = sum(dL/dy n),  dL/dbeta = sum(dL/dy),
        // dL/dx = gamma / deviation * (dL/dy - mean(dL/dy) - n mean(dL/dy n))
        let features = self.mean.len();
        let share = 1.0 / (output_grad.len() / features) as f32;
        sum_rows(&mut self.beta.grad, output_grad);
        self.gamma.grad.fill(0.0);
        for (dy, n) in output_grad
            .chunks_exact(features)
            .zip(self.normal.chunks_exact(features))
        {
            for ((g, &dy), &n) in self.gamma.grad.iter_mut().zip(dy).zip(n) {
                *g += dy * n;
            }
        }
        self.input_grad.clear();
        for (dy, n) in output_grad
            .chunks_exact(features)
            .zip(self.normal.chunks_exact(features))
        {
            for k in 0..features {
                let own = dy[k] - share * (self.beta.grad[k] + n[k] * self.gamma.grad[k]);
                self.input_grad
                    .push(self.gamma.theta[k] * self.inverse_deviation[k] * own);
            }
        }
        &self.input_grad
    }

    fn parameters(&mut self) -> Vec<&mut Parameter> {
        vec![&mut self.gamma, &mut self.beta]
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::check_layer;
    use super::*;

    #[test]
    fn gradient_matches_differences() {
        let mut norm = BatchNorm::new("norm", 3);
        norm.gamma.theta = vec![0.7, -1.3, 1.9];
        norm.beta.theta = vec![0.2, 0.4, -0.6];
        check_layer(&mut norm, 6, 3);
    }

    #[test]
    fn output_has_mean_zero_and_variance_one() {
        let mut norm = BatchNorm::new("norm", 2);
        let out = norm.forward(&[1.0, 10.0, 2.0, 30.0, 6.0, -10.0]);
        for k in 0..2 {
            let column: Vec<f32> = out.iter().skip(k).step_by(2).copied().collect();
            let mean = column.iter().sum::<f32>() / 3.0;
            let variance = column.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / 3.0;
            assert!(
                mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5,
                "{mean} {variance}"
            );
        }
    }

    #[test]
    fn kept_statistics_judge_a_row_as_in_its_batch() {
        let mut norm = BatchNorm::new("norm", 2);
        let batch = [1.0, 10.0, 2.0, 30.0, 6.0, -10.0];
        let whole = norm.forward(&batch).to_vec();
        norm.statistics = Statistics::Kept;
        assert_eq!(norm.forward(&batch[2..4]), &whole[2..4]);
    }
}
