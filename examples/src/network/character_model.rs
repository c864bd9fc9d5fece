use super::{CrossEntropy, Dense, Gru, Judgement, Layer, Parameter};

/// A network that reads text and says, after each symbol, which one comes next: a [`Gru`], and a
/// [`Dense`] layer from its state to a score for each symbol.
#[derive(Clone, Debug)]
pub struct CharacterModel {
    gru: Gru,
    last: Dense,
    loss: CrossEntropy,
}

impl CharacterModel {
    /// A model of `symbols` symbols with a state of `width` numbers.
    pub fn new(symbols: usize, width: usize, rng: &mut fastrand::Rng) -> Self {
        Self {
            gru: Gru::new(symbols, width, rng),
            last: Dense::biased("last", width, symbols, rng),
            loss: CrossEntropy::new(symbols),
        }
    }

    /// Judges how well each next symbol of `rows` texts is foretold.
    ///
    /// `read[step * rows + row]` is what is read; `next`, laid out alike, is what comes after it.
    pub fn judge(&mut self, read: &[usize], next: &[usize], rows: usize) -> Judgement {
        self.loss
            .judge(self.last.forward(self.gru.forward(read, rows)), next)
    }

    /// Judges, and leaves the gradient of the mean loss in the parameters.
    pub fn learn(&mut self, read: &[usize], next: &[usize], rows: usize) -> Judgement {
        let judgement = self.judge(read, next, rows);
        self.gru.backward(self.last.backward(self.loss.grad()));
        judgement
    }

    /// All parameters, from the first layer to the last.
    pub fn parameters(&mut self) -> Vec<&mut Parameter> {
        self.gru
            .parameters()
            .into_iter()
            .chain(self.last.parameters())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::check_network;
    use super::*;

    #[test]
    fn gradient_through_time_matches_differences() {
        let mut rng = fastrand::Rng::with_seed(4);
        let read: Vec<usize> = (0..5 * 3).map(|_| rng.usize(..4)).collect();
        let next: Vec<usize> = (0..5 * 3).map(|_| rng.usize(..4)).collect();
        let mut model = CharacterModel::new(4, 6, &mut rng);
        // Wide weights open and shut the gates, so that every path carries a gradient.
        for parameter in model.parameters() {
            parameter.theta.iter_mut().for_each(|t| *t *= 2.0);
        }
        check_network(model, CharacterModel::parameters, |m| {
            m.learn(&read, &next, 3).loss
        });
    }

    #[test]
    fn a_shorter_text_after_a_longer_one_leaves_nothing_behind() {
        let mut rng = fastrand::Rng::with_seed(4);
        let mut model = CharacterModel::new(4, 6, &mut rng);
        let first = model.learn(&[0, 1, 2], &[1, 2, 3], 1);
        model.learn(&[3, 2, 1, 0, 0, 1, 2, 3], &[2, 1, 0, 0, 1, 2, 3, 3], 2);
        assert_eq!(model.learn(&[0, 1, 2], &[1, 2, 3], 1), first);
    }
}
