use super::{BatchNorm, CrossEntropy, Dense, Judgement, Layer, Parameter, Relu, Statistics};

/// A classifier: hidden layers of [`Dense`], [`BatchNorm`] and [`Relu`], then a last [`Dense`] layer
/// that gives each class a score.
#[derive(Clone, Debug)]
pub struct Mlp {
    hidden: Vec<(Dense, BatchNorm, Relu)>,
    last: Dense,
    loss: CrossEntropy,
}

impl Mlp {
    /// A network of the given `widths`: the inputs', the hidden layers' and the number of classes.
    ///
    /// # Panics
    /// If there are fewer than two widths.
    pub fn new(widths: &[usize], rng: &mut fastrand::Rng) -> Self {
        let [hidden @ .., before, classes] = widths else {
            panic!("a network has at least inputs and classes, got widths {widths:?}")
        };
        let inputs = hidden.iter().zip(&widths[1..]);
        let hidden = inputs.enumerate().map(|(k, (&inputs, &outputs))| {
            let name = format!("hidden{}", k + 1);
            (
                Dense::normalised(&name, inputs, outputs, rng),
                BatchNorm::new(&format!("{name}.norm"), outputs),
                Relu::default(),
            )
        });
        Self {
            hidden: hidden.collect(),
            last: Dense::biased("last", *before, *classes, rng),
            loss: CrossEntropy::new(*classes),
        }
    }

    /// Judges a batch of `examples` by their classes.
    pub fn judge(
        &mut self,
        examples: &[f32],
        classes: &[usize],
        statistics: Statistics,
    ) -> Judgement {
        let mut signal = examples;
        for (dense, norm, relu) in &mut self.hidden {
            norm.statistics = statistics;
            signal = relu.forward(norm.forward(dense.forward(signal)));
        }
        self.loss.judge(self.last.forward(signal), classes)
    }

    /// Judges a batch and leaves the gradient of its mean loss in the parameters.
    pub fn learn(&mut self, examples: &[f32], classes: &[usize]) -> Judgement {
        let judgement = self.judge(examples, classes, Statistics::OfThisBatch);
        let mut grad = self.last.backward(self.loss.grad());
        for (dense, norm, relu) in self.hidden.iter_mut().rev() {
            grad = dense.backward(norm.backward(relu.backward(grad)));
        }
        judgement
    }

    /// All parameters, from the first layer to the last.
    pub fn parameters(&mut self) -> Vec<&mut Parameter> {
        let hidden = self
            .hidden
            .iter_mut()
            .flat_map(|(dense, norm, _)| dense.parameters().into_iter().chain(norm.parameters()));
        hidden.chain(self.last.parameters()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::super::gradient_check::check_network;
    use super::*;

    const EXAMPLES: usize = 8;

    /// The seed is one that puts no number near the corner of a ReLU, where a difference of the loss
    /// is no derivative.
    fn small() -> (Mlp, Vec<f32>, Vec<usize>) {
        let mut rng = fastrand::Rng::with_seed(9);
        let examples = (0..EXAMPLES * 4).map(|_| rng.f32()).collect();
        let classes = (0..EXAMPLES).map(|_| rng.usize(..3)).collect();
        (Mlp::new(&[4, 5, 4, 3], &mut rng), examples, classes)
    }

    #[test]
    fn gradient_matches_differences() {
        let (network, examples, classes) = small();
        check_network(network, Mlp::parameters, |net| {
            net.learn(&examples, &classes).loss
        });
    }

    #[test]
    fn loss_depends_on_the_direction_of_scale_invariant_weights_only() {
        let (mut network, examples, classes) = small();
        let before = network.learn(&examples, &classes).loss;
        let invariant = |p: &&mut Parameter| p.role == Role::ScaleInvariant;
        for weight in network.parameters().into_iter().filter(invariant) {
            let along: f32 = weight
                .theta
                .iter()
                .zip(&weight.grad)
                .map(|(t, g)| t * g)
                .sum();
            assert!(
                along.abs() < 1e-4,
                "the gradient is not orthogonal to {}",
                weight.name
            );
            weight.theta.iter_mut().for_each(|t| *t *= 4.0);
        }
        let after = network
            .judge(&examples, &classes, Statistics::OfThisBatch)
            .loss;
        assert!((after - before).abs() < 1e-3, "{before} became {after}");
    }

    #[test]
    fn every_layer_has_its_parameters_named() {
        let names: Vec<_> = small()
            .0
            .parameters()
            .iter()
            .map(|p| p.name.clone())
            .collect();
        assert_eq!(names.len(), 8);
        assert_eq!(
            names[..3],
            ["hidden1.weight", "hidden1.norm.gamma", "hidden1.norm.beta"]
        );
        assert_eq!(names[6..], ["last.weight", "last.bias"]);
    }
}
