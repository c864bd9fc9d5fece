use super::matrix::{add_product, add_transposed_product, product_transposed, sum_rows};
use super::{Layer, Parameter, Role};

/// `y = x W + c`: a fully connected layer, `W` of shape `inputs x outputs`, the bias `c` optional.
///
/// A layer in front of a [`BatchNorm`](super::BatchNorm) needs no bias, for the normalisation
/// subtracts the mean; its weight is then [scale-invariant](Role::ScaleInvariant).
#[derive(Clone, Debug)]
pub struct Dense {
    weight: Parameter,
    bias: Option<Parameter>,
    inputs: usize,
    outputs: usize,
    input: Vec<f32>,
    output: Vec<f32>,
    input_grad: Vec<f32>,
}

impl Dense {
    /// A layer whose output a normalisation follows: no bias, scale-invariant weight.
    pub fn normalised(name: &str, inputs: usize, outputs: usize, rng: &mut fastrand::Rng) -> Self {
        Self::new(name, Role::ScaleInvariant, None, inputs, outputs, rng)
    }

    /// A layer with a bias, which starts at zero.
    pub fn biased(name: &str, inputs: usize, outputs: usize, rng: &mut fastrand::Rng) -> Self {
        let bias = Parameter::new(format!("{name}.bias"), Role::Offset, vec![0.0; outputs]);
        Self::new(name, Role::Weight, Some(bias), inputs, outputs, rng)
    }

    fn new(
        name: &str,
        role: Role,
        bias: Option<Parameter>,
        inputs: usize,
        outputs: usize,
        rng: &mut fastrand::Rng,
    ) -> Self {
        // He et al. 2015: this variance, 2 / inputs, keeps a signal's size through layers of ReLU.
        let bound = (6.0 / inputs as f32).sqrt();
        let weight =
            Parameter::uniform(format!("{name}.weight"), role, inputs * outputs, bound, rng);
        Self {
            weight,
            bias,
            inputs,
            outputs,
            input: Vec::new(),
            output: Vec::new(),
            input_grad: Vec::new(),
        }
    }
}

impl Layer for Dense {
    fn forward(&mut self, input: &[f32]) -> &[f32] {
        let rows = input.len() / self.inputs;
        self.input.clear();
        self.input.extend_from_slice(input);
        self.output.clear();
        match &self.bias {
            Some(bias) => (0..rows).for_each(|_| self.output.extend_from_slice(&bias.theta)),
            None => self.output.resize(rows * self.outputs, 0.0),
        }
        add_product(
            &mut self.output,
            input,
            &self.weight.theta,
            self.inputs,
            self.outputs,
        );
        &self.output
    }

    fn backward(&mut self, output_grad: &[f32]) -> &[f32] {
        // dL/dW = x^T dL/dy,  dL/dc = sum of the rows of dL/dy,  dL/dx = dL/dy W^T
        self.weight.grad.fill(0.0);
        add_transposed_product(
            &mut self.weight.grad,
            &self.input,
            output_grad,
            self.inputs,
            self.outputs,
        );
        if let Some(bias) = &mut self.bias {
            sum_rows(&mut bias.grad, output_grad);
        }
        self.input_grad.resize(self.input.len(), 0.0);
        product_transposed(
            &mut self.input_grad,
            output_grad,
            &self.weight.theta,
            self.outputs,
            self.inputs,
        );
        &self.input_grad
    }

    fn parameters(&mut self) -> Vec<&mut Parameter> {
        std::iter::once(&mut self.weight)
            .chain(&mut self.bias)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::check_layer;
    use super::*;

    #[test]
    fn gradient_matches_differences() {
        let mut rng = fastrand::Rng::with_seed(1);
        check_layer(&mut Dense::biased("dense", 5, 3, &mut rng), 4, 5);
        check_layer(&mut Dense::normalised("dense", 5, 3, &mut rng), 4, 5);
    }
}
