use anyhow::{bail, ensure};

use super::{Score, Task, order};
use crate::network::{CharacterModel, Judgement, Parameter};

/// How many symbols a network reads before it is judged: how far back through time it goes.
const STEPS: usize = 32;
/// The share of the text, at its end, that is tested on and never learnt from.
const TESTED: f64 = 0.15;

/// Cicero's "De finibus bonorum et malorum", book one (45 BC), letter by letter, and a recurrent
/// network that foretells the next letter.
///
/// The text is in the public domain; the crate lipsum carries it.
pub struct Text {
    network: CharacterModel,
    width: usize,
    alphabet: Vec<char>,
    train: Vec<Vec<usize>>,
    test: Vec<Vec<usize>>,
    batch: usize,
    seed: u64,
    /// The order of the epoch under way, and which one that is.
    order: (u64, Vec<usize>),
}

impl Text {
    /// How many passages a batch has unless one asks for another number.
    pub const BATCH: usize = 16;

    /// The width of the recurrent network's state unless one asks for another.
    pub const HIDDEN: [usize; 1] = [64];

    /// The text, and a network with a state of this width, the only one of `hidden`, whose start `seed`
    /// decides, as it does the order of the batches.
    ///
    /// # Errors
    /// If there is not one width, or it is zero; if a batch has no passage, or more than there are.
    pub fn new(hidden: &[usize], batch: usize, seed: u64) -> anyhow::Result<Self> {
        let &[width @ (1..)] = hidden else {
            bail!("the recurrent network has one hidden layer of at least one unit, got {hidden:?}")
        };
        let letters: Vec<char> = plain(lipsum::LIBER_PRIMUS).collect();
        let mut alphabet = letters.clone();
        alphabet.sort_unstable();
        alphabet.dedup();
        let symbols = letters
            .iter()
            .map(|c| alphabet.binary_search(c).expect("a known letter"));
        // A passage is what is read and the one symbol more that is foretold last.
        let symbols: Vec<usize> = symbols.collect();
        let starts = (0..symbols.len().saturating_sub(STEPS)).step_by(STEPS);
        let mut train: Vec<Vec<usize>> = starts
            .map(|start| symbols[start..=start + STEPS].to_vec())
            .collect();
        let test = train.split_off((train.len() as f64 * (1.0 - TESTED)) as usize);
        ensure!(
            (1..=train.len()).contains(&batch),
            "a batch must hold from 1 to all {} passages, got {batch}",
            train.len(),
        );
        let mut rng = fastrand::Rng::with_seed(seed);
        Ok(Self {
            network: CharacterModel::new(alphabet.len(), width, &mut rng),
            width,
            alphabet,
            batch,
            order: (0, order(train.len(), seed, 0)),
            train,
            test,
            seed,
        })
    }
}

/// The text in small letters, all white space as single blanks, and of the signs only those that
/// occur often enough to be learnt.
fn plain(text: &str) -> impl Iterator<Item = char> {
    let words = text
        .split_whitespace()
        .flat_map(|word| word.chars().chain([' ']));
    let kept = |c: &char| c.is_ascii_alphabetic() || " ,.;:?".contains(*c);
    words.filter(kept).map(|c| c.to_ascii_lowercase())
}

/// What is read and what comes next, for several passages side by side.
fn side_by_side(passages: &[&Vec<usize>]) -> (Vec<usize>, Vec<usize>) {
    let at = |step: usize| passages.iter().map(move |passage| passage[step]);
    (
        (0..STEPS).flat_map(at).collect(),
        (1..=STEPS).flat_map(at).collect(),
    )
}

impl Task for Text {
    fn describe(&self) -> String {
        format!(
            "Cicero's De finibus, book one, letter by letter: {} letters to learn from, {} to be tested \
             on (public domain).\nA gated recurrent network of {} units, {} steps back through time, {} \
             symbols.",
            self.train.len() * STEPS,
            self.test.len() * STEPS,
            self.width,
            STEPS,
            self.alphabet.len(),
        )
    }

    fn batches(&self) -> u64 {
        (self.train.len() / self.batch) as u64
    }

    fn parameters(&mut self) -> Vec<&mut Parameter> {
        self.network.parameters()
    }

    fn learn(&mut self, step: u64) -> Judgement {
        let (epoch, batch) = (step / self.batches(), step % self.batches());
        if self.order.0 != epoch {
            self.order = (epoch, order(self.train.len(), self.seed, epoch));
        }
        let which = &self.order.1[batch as usize * self.batch..][..self.batch];
        let passages: Vec<_> = which.iter().map(|&i| &self.train[i]).collect();
        let (read, next) = side_by_side(&passages);
        self.network.learn(&read, &next, self.batch)
    }

    fn score(&mut self) -> Score {
        let mut judge = |set: &[Vec<usize>]| {
            let (read, next) = side_by_side(&set.iter().collect::<Vec<_>>());
            self.network.judge(&read, &next, set.len())
        };
        Score {
            train: judge(&self.train),
            test: judge(&self.test),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_plain() {
        assert_eq!(
            plain("Non eram\nnescius,  [Brute]!").collect::<String>(),
            "non eram nescius, brute "
        );
    }

    #[test]
    fn passages_stand_side_by_side() {
        let (a, b) = ((0..=STEPS).collect(), (100..=100 + STEPS).collect());
        let (read, next) = side_by_side(&[&a, &b]);
        assert_eq!((read.len(), next.len()), (2 * STEPS, 2 * STEPS));
        assert_eq!(
            (&read[..4], &next[..4]),
            (&[0, 100, 1, 101][..], &[1, 101, 2, 102][..])
        );
    }

    #[test]
    fn no_symbol_is_tested_on_that_was_learnt_from() {
        let text = Text::new(&[24], 16, 0).unwrap();
        assert!(text.alphabet.len() < 40 && text.train.len() > 1000 && text.test.len() > 150);
        // Neighbours share one symbol: foretold last by the one, read first by the other.
        assert_eq!(text.train.last().unwrap().last(), text.test[0].first());
    }

    #[test]
    fn a_few_plain_steps_learn_something() {
        let mut text = Text::new(&[24], 4, 0).unwrap();
        let evenly = (text.alphabet.len() as f64).ln();
        let mut latest = 0.0;
        for step in 0..60 {
            latest = 0.8 * latest + 0.2 * text.learn(step).loss;
            for parameter in text.parameters() {
                for (t, g) in parameter.theta.iter_mut().zip(&parameter.grad) {
                    *t -= 0.5 * g;
                }
            }
        }
        assert!(
            latest < 0.9 * evenly,
            "{latest} is little better than a guess, {evenly}"
        );
    }
}
