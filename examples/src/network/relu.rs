use super::{Layer, Parameter};

/// `y = max(x, 0)`.
#[derive(Clone, Debug, Default)]
pub struct Relu {
    output: Vec<f32>,
    input_grad: Vec<f32>,
}

impl Layer for Relu {
    fn forward(&mut self, input: &[f32]) -> &[f32] {
        self.output.clear();
        self.output
            .extend(input.iter().map(|&x| if x > 0.0 { x } else { 0.0 }));
        &self.output
    }

    fn backward(&mut self, output_grad: &[f32]) -> &[f32] {
        self.input_grad.clear();
        let passed = self.output.iter().zip(output_grad);
        self.input_grad
            .extend(passed.map(|(&y, &dy)| if y > 0.0 { dy } else { 0.0 }));
        &self.input_grad
    }

    fn parameters(&mut self) -> Vec<&mut Parameter> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradient_passes_where_the_input_was_positive() {
        let mut relu = Relu::default();
        assert_eq!(relu.forward(&[-2.0, 0.0, 3.0]), [0.0, 0.0, 3.0]);
        assert_eq!(relu.backward(&[5.0, 6.0, 7.0]), [0.0, 0.0, 7.0]);
    }
}
