//! A neural network in plain Rust: layers that know their own gradient.
//!
//! Numbers are `f32` in slices. A batch of `rows` vectors is one slice, row after row. A layer's
//! [`Layer::forward`] computes its output and keeps what the way back needs; its [`Layer::backward`]
//! takes the gradient of the loss with respect to that output, leaves the gradient of its own
//! parameters in [`Parameter::grad`], and returns the gradient with respect to its input. That is
//! all of back-propagation; a network calls its layers in order, then in reverse.
//!
//! `exp`, `ln` and `tanh` come from `libm`, not from the operating system, so that a training run
//! ends on the same bits on every machine.

mod batch_norm;
mod character_model;
mod cross_entropy;
mod dense;
mod gru;
mod matrix;
mod mlp;
mod relu;

#[cfg(test)]
mod gradient_check;

pub use batch_norm::{BatchNorm, Statistics};
pub use character_model::CharacterModel;
pub use cross_entropy::{CrossEntropy, Judgement};
pub use dense::Dense;
pub use gru::Gru;
pub use mlp::Mlp;
pub use relu::Relu;

/// What an optimizer may assume about a tensor of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The loss is the same for `c * theta`, for every `c > 0`: the weights in front of a batch
    /// normalisation. Only their direction counts, so they may be held on a sphere.
    ScaleInvariant,
    /// Any other weight.
    Weight,
    /// A bias, or a normalisation's own scale or shift: one number for each feature, which weight
    /// decay leaves alone.
    Offset,
}

/// One tensor of parameters and the gradient of the loss with respect to it.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// The name a checkpoint and an error message show, such as `hidden1.weight`.
    pub name: String,
    /// What an optimizer may assume about it.
    pub role: Role,
    /// The parameters.
    pub theta: Vec<f32>,
    /// The gradient; `grad.len() == theta.len()`.
    pub grad: Vec<f32>,
}

impl Parameter {
    /// A tensor that starts at `theta`, with a gradient of zero.
    pub fn new(name: impl Into<String>, role: Role, theta: Vec<f32>) -> Self {
        let grad = vec![0.0; theta.len()];
        Self {
            name: name.into(),
            role,
            theta,
            grad,
        }
    }

    /// A tensor of `len` numbers drawn evenly from `[-bound, bound)`.
    pub fn uniform(
        name: impl Into<String>,
        role: Role,
        len: usize,
        bound: f32,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let theta = (0..len).map(|_| (2.0 * rng.f32() - 1.0) * bound).collect();
        Self::new(name, role, theta)
    }
}

/// One step of a network's computation that can be gone back over.
pub trait Layer {
    /// Computes the output of a batch and keeps what [`backward`](Layer::backward) needs.
    fn forward(&mut self, input: &[f32]) -> &[f32];

    /// Given the loss's gradient with respect to the last output, sets (does not add to) the
    /// gradients of the layer's parameters, and returns the gradient with respect to the input.
    fn backward(&mut self, output_grad: &[f32]) -> &[f32];

    /// The layer's parameters, always in the same order.
    fn parameters(&mut self) -> Vec<&mut Parameter>;
}
