//! Gradients by differences of the loss, to hold those of back-propagation against.

use super::{Layer, Parameter};

/// Half the width of a difference: the loss is rounded to about 1e-7, the derivative thus to 1e-5.
const H: f32 = 1.0 / 128.0;
/// How far a derivative may lie from its difference, as a share of the tensor's largest.
const TOLERANCE: f64 = 4e-3;

/// Asserts that `grad[k]` is the derivative of `loss(k, h)`, the loss with number `k` moved by `h`.
pub fn assert_gradient(name: &str, grad: &[f32], mut loss: impl FnMut(usize, f32) -> f64) {
    let largest = grad
        .iter()
        .fold(0.0, |a: f64, &g| a.max(f64::from(g).abs()));
    assert!(largest > 1e-3, "{name}: a gradient of zero shows nothing");
    for (k, &g) in grad.iter().enumerate() {
        let mut slope = |h: f32| (loss(k, h) - loss(k, -h)) / (2.0 * f64::from(h));
        // The error of a difference falls with the square of its width.
        let slope = (4.0 * slope(H / 2.0) - slope(H)) / 3.0;
        let error = (f64::from(g) - slope).abs();
        assert!(
            error <= TOLERANCE * largest,
            "{name}[{k}]: gradient {g}, difference {slope}"
        );
    }
}

/// Checks a layer's gradients, its input's and its parameters', under the loss `sum(y * weights)`.
pub fn check_layer(layer: &mut impl Layer, rows: usize, inputs: usize) {
    let mut rng = fastrand::Rng::with_seed(5);
    let mut numbers = |len| {
        (0..len)
            .map(|_| 2.0 * rng.f32() - 1.0)
            .collect::<Vec<f32>>()
    };
    let mut input = numbers(rows * inputs);
    let weights = numbers(layer.forward(&input).len());
    let weigh = |output: &[f32]| -> f64 {
        output
            .iter()
            .zip(&weights)
            .map(|(&y, &w)| f64::from(y) * f64::from(w))
            .sum()
    };
    let input_grad = layer.backward(&weights).to_vec();
    let grads: Vec<_> = layer
        .parameters()
        .iter()
        .map(|p| (p.name.clone(), p.grad.clone()))
        .collect();
    assert_gradient("input", &input_grad, |k, h| {
        let before = input[k];
        input[k] = before + h;
        let loss = weigh(layer.forward(&input));
        input[k] = before;
        loss
    });
    for (tensor, (name, grad)) in grads.iter().enumerate() {
        assert_gradient(name, grad, |k, h| {
            let before = layer.parameters()[tensor].theta[k];
            layer.parameters()[tensor].theta[k] = before + h;
            let loss = weigh(layer.forward(&input));
            layer.parameters()[tensor].theta[k] = before;
            loss
        });
    }
}

/// Checks the gradients that `learn` leaves in a network's parameters against the loss it returns.
pub fn check_network<N>(
    mut network: N,
    parameters: impl Fn(&mut N) -> Vec<&mut Parameter>,
    learn: impl Fn(&mut N) -> f64,
) {
    learn(&mut network);
    let grads: Vec<_> = parameters(&mut network)
        .iter()
        .map(|p| (p.name.clone(), p.grad.clone()))
        .collect();
    for (tensor, (name, grad)) in grads.iter().enumerate() {
        assert_gradient(name, grad, |k, h| {
            let before = parameters(&mut network)[tensor].theta[k];
            parameters(&mut network)[tensor].theta[k] = before + h;
            let loss = learn(&mut network);
            parameters(&mut network)[tensor].theta[k] = before;
            loss
        });
    }
}
