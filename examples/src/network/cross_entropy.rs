/// How well a batch was predicted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Judgement {
    /// The mean over the rows of `-ln p(right class)`.
    pub loss: f64,
    /// The share of rows whose right class had the highest score, from 0 to 1.
    pub accuracy: f64,
}

/// Softmax and cross entropy in one: scores in, mean loss and its gradient out.
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    classes: usize,
    grad: Vec<f32>,
}

impl CrossEntropy {
    /// A loss over `classes` classes.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            grad: Vec::new(),
        }
    }

    /// Judges the `scores` of a batch, `classes` a row, by the right class of each row, and keeps the
    /// gradient of the mean loss.
    pub fn judge(&mut self, scores: &[f32], right: &[usize]) -> Judgement {
        let rows = right.len();
        let share = 1.0 / rows as f32;
        let (mut loss, mut hits) = (0.0, 0_usize);
        self.grad.clear();
        for (row, &right) in scores.chunks_exact(self.classes).zip(right) {
            let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            hits += usize::from(row[right] == highest);
            // Shifting all scores by the highest changes no probability, and no exp overflows.
            let first = self.grad.len();
            self.grad
                .extend(row.iter().map(|&s| libm::expf(s - highest)));
            let exps = &mut self.grad[first..];
            let sum: f32 = exps.iter().sum();
            loss += f64::from(libm::logf(sum) - (row[right] - highest));
            // d loss / d score = (p - 1 where right) / rows
            exps.iter_mut().for_each(|e| *e *= share / sum);
            exps[right] -= share;
        }
        Judgement {
            loss: loss / rows as f64,
            accuracy: hits as f64 / rows as f64,
        }
    }

    /// The gradient of the last mean loss with respect to the scores.
    pub fn grad(&self) -> &[f32] {
        &self.grad
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::assert_gradient;
    use super::*;

    #[test]
    fn even_scores_lose_the_logarithm_of_the_classes() {
        let judgement = CrossEntropy::new(4).judge(&[2.0; 8], &[0, 3]);
        assert!((judgement.loss - 4.0_f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn large_scores_do_not_overflow() {
        let judgement = CrossEntropy::new(2).judge(&[3e38, -3e38], &[0]);
        assert_eq!(
            judgement,
            Judgement {
                loss: 0.0,
                accuracy: 1.0
            }
        );
    }

    #[test]
    fn gradient_matches_differences() {
        let mut scores = vec![0.3, -1.2, 0.9, 2.0, 0.1, -0.4];
        let mut loss = CrossEntropy::new(3);
        loss.judge(&scores, &[2, 1]);
        let grad = loss.grad().to_vec();
        assert_gradient("scores", &grad, |k, h| {
            scores[k] += h;
            let moved = loss.judge(&scores, &[2, 1]).loss;
            scores[k] -= h;
            moved
        });
    }
}
