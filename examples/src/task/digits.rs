use anyhow::ensure;

use super::{Score, Task, order};
use crate::network::{Judgement, Mlp, Parameter, Statistics};

const PIXELS: usize = 64;
const CLASSES: usize = 10;
/// A pixel of the data counts the dark ones among 4 x 4 of the scan.
const DARKEST: f32 = 16.0;
/// One image in this many is tested on and never learnt from.
const TESTED: usize = 5;
/// The split is the same for every seed, so that test errors can be compared.
const SPLIT_SEED: u64 = 0;

/// 1,797 real handwritten digits of 8 x 8 pixels, and a network of two hidden layers with batch
/// normalisation that tells them apart.
///
/// The images are from "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak (1998),
/// UCI Machine Learning Repository, CC BY 4.0; the crate smartcore carries them.
pub struct Digits {
    network: Mlp,
    widths: Vec<usize>,
    train: Images,
    test: Images,
    batch: usize,
    seed: u64,
    /// The order of the epoch under way, and which one that is.
    order: (u64, Vec<usize>),
}

struct Images {
    pixels: Vec<f32>,
    classes: Vec<usize>,
}

impl Digits {
    /// How many images a batch has unless one asks for another number.
    pub const BATCH: usize = 32;

    /// The widths of the hidden layers unless one asks for others.
    pub const HIDDEN: [usize; 2] = [96, 96];

    /// The data, and a network with hidden layers of these widths whose start `seed` decides, as it
    /// does the order of the batches.
    ///
    /// # Errors
    /// If a width is zero; if a batch has fewer than two images, or more than there are.
    pub fn new(hidden: &[usize], batch: usize, seed: u64) -> anyhow::Result<Self> {
        let data = smartcore::dataset::digits::load_dataset();
        let split = order(data.num_samples, SPLIT_SEED, 0);
        let (test, train) = split.split_at(data.num_samples / TESTED);
        ensure!(
            !hidden.contains(&0),
            "a hidden layer must hold at least one unit, got 0"
        );
        ensure!(
            (2..=train.len()).contains(&batch),
            "a batch must hold from 2 to all {} images, got {batch}",
            train.len(),
        );
        let images = |which: &[usize]| Images {
            pixels: which
                .iter()
                .flat_map(|&i| &data.data[i * PIXELS..][..PIXELS])
                .map(|&dark| dark / DARKEST)
                .collect(),
            classes: which.iter().map(|&i| data.target[i] as usize).collect(),
        };
        let mut rng = fastrand::Rng::with_seed(seed);
        let widths = [&[PIXELS], hidden, &[CLASSES]].concat();
        Ok(Self {
            network: Mlp::new(&widths, &mut rng),
            widths,
            train: images(train),
            test: images(test),
            batch,
            seed,
            order: (0, order(train.len(), seed, 0)),
        })
    }
}

impl Images {
    fn pick(&self, which: &[usize]) -> (Vec<f32>, Vec<usize>) {
        let pixels = which
            .iter()
            .flat_map(|&i| &self.pixels[i * PIXELS..][..PIXELS]);
        (
            pixels.copied().collect(),
            which.iter().map(|&i| self.classes[i]).collect(),
        )
    }
}

impl Task for Digits {
    fn describe(&self) -> String {
        let widths: Vec<String> = self.widths.iter().map(usize::to_string).collect();
        format!(
            "Real handwritten digits, 8 x 8 pixels: {} to learn from, {} to be tested on (UCI, CC BY \
             4.0).\nA network of {} units, the hidden ones with batch normalisation.",
            self.train.classes.len(),
            self.test.classes.len(),
            widths.join(", "),
        )
    }

    /// The images that do not fill a last batch wait for another epoch's order: a batch of one or two
    /// has no statistics to normalise with.
    fn batches(&self) -> u64 {
        (self.train.classes.len() / self.batch) as u64
    }

    fn parameters(&mut self) -> Vec<&mut Parameter> {
        self.network.parameters()
    }

    fn learn(&mut self, step: u64) -> Judgement {
        let (epoch, batch) = (step / self.batches(), step % self.batches());
        if self.order.0 != epoch {
            self.order = (epoch, order(self.train.classes.len(), self.seed, epoch));
        }
        let which = &self.order.1[batch as usize * self.batch..][..self.batch];
        let (pixels, classes) = self.train.pick(which);
        self.network.learn(&pixels, &classes)
    }

    fn score(&mut self) -> Score {
        let mut judge =
            |set: &Images, statistics| self.network.judge(&set.pixels, &set.classes, statistics);
        // In this order: the training set leaves the statistics that the test set is judged with.
        let train = judge(&self.train, Statistics::OfThisBatch);
        let test = judge(&self.test, Statistics::Kept);
        Score { train, test }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_is_learnt_from_or_tested_on() {
        let digits = Digits::new(&[16, 16], 32, 0).unwrap();
        assert_eq!(
            (digits.train.classes.len(), digits.test.classes.len()),
            (1438, 359)
        );
        for set in [&digits.train, &digits.test] {
            assert!(set.pixels.iter().all(|p| (0.0..=1.0).contains(p)));
            for class in 0..CLASSES {
                let share = set.classes.iter().filter(|&&c| c == class).count() as f64
                    / set.classes.len() as f64;
                assert!(
                    (0.07..0.13).contains(&share),
                    "class {class} has a share of {share}"
                );
            }
        }
    }

    #[test]
    fn a_batch_depends_on_seed_and_step_only() {
        let mut straight = Digits::new(&[16, 16], 32, 7).unwrap();
        let last = straight.batches() * 2 + 3;
        let seen: Vec<_> = (0..=last).map(|step| straight.learn(step)).collect();
        assert_eq!(
            Digits::new(&[16, 16], 32, 7).unwrap().learn(last),
            seen[last as usize]
        );
        assert_ne!(
            Digits::new(&[16, 16], 32, 8).unwrap().learn(last),
            seen[last as usize]
        );
    }

    #[test]
    fn a_few_plain_steps_learn_something() {
        let mut digits = Digits::new(&[24], 16, 0).unwrap();
        let before = digits.score();
        for step in 0..2 * digits.batches() {
            digits.learn(step);
            for parameter in digits.parameters() {
                for (t, g) in parameter.theta.iter_mut().zip(&parameter.grad) {
                    *t -= 0.1 * g;
                }
            }
        }
        let after = digits.score();
        assert!(
            before.test.accuracy < 0.4 && after.test.accuracy > 0.9,
            "{before:?} {after:?}"
        );
    }
}
