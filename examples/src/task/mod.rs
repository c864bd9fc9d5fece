//! What there is to learn: real data, split into what is learnt from and what is tested on, and the
//! network that learns it.

mod digits;
mod text;

pub use digits::Digits;
pub use text::Text;

use crate::network::{Judgement, Parameter};

/// How well a network knows the whole training set, and the test set it never learnt from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// On the training set.
    pub train: Judgement,
    /// On the test set.
    pub test: Judgement,
}

/// A network, its data, and the order in which it meets them.
///
/// Everything is a pure function of the seed and the step: two optimizers meet the same network and
/// the same batches, and a run that was cut off goes on with the batch it would have met.
pub trait Task {
    /// What is learnt and by which network, in a sentence or two.
    fn describe(&self) -> String;

    /// How many batches an epoch has.
    fn batches(&self) -> u64;

    /// The network's parameters, always in the same order.
    fn parameters(&mut self) -> Vec<&mut Parameter>;

    /// Judges batch number `step % batches()` of epoch `step / batches()` and leaves the gradient of
    /// its mean loss in the parameters.
    fn learn(&mut self, step: u64) -> Judgement;

    /// Judges the network on the whole training set and the whole test set.
    fn score(&mut self) -> Score;
}

/// A shuffled order of `len` things that only the seed and the round decide.
fn order(len: usize, seed: u64, round: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    let mut rng = fastrand::Rng::with_seed(seed.rotate_left(32) ^ round);
    rng.shuffle(&mut order);
    order
}
