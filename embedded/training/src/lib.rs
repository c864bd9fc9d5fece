//! A network that learns on a microcontroller, and on the host with the same bits.
//!
//! One input, [`HIDDEN`] neurons, one output: it learns the cubic that a sensor's calibration might be,
//! from 32 points, 400 steps on all of them. Only additions, multiplications and divisions are used, so every machine
//! that follows IEEE 754 ends on the same numbers.
#![no_std]
#![forbid(unsafe_code)]

use core::fmt::{self, Write};

use adarem::{AdaRem, AdaRem8, ErrorKind, Host, Lent, Optimizer, Rule, Scope};

/// Neurons of the hidden layer.
pub const HIDDEN: usize = 16;

/// Parameters: a weight and a bias for each neuron, a weight for its output, and the output's bias.
pub const PARAMETERS: usize = 3 * HIDDEN + 1;

/// Steps that each run takes.
pub const STEPS: u64 = 400;

const POINTS: usize = 32;

/// Parameters before the first step: pseudo-random, between -1 and 1.
pub fn start() -> [f32; PARAMETERS] {
    let mut state = 1u32;
    core::array::from_fn(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as f32 / 32_768.0 - 1.0
    })
}

/// Half the mean squared error of the network `theta` over all points, and its gradient.
pub fn loss(theta: &[f32; PARAMETERS], grad: &mut [f32; PARAMETERS]) -> f32 {
    let (weights, rest) = theta.split_at(HIDDEN);
    let (biases, rest) = rest.split_at(HIDDEN);
    let (outputs, offset) = rest.split_at(HIDDEN);
    *grad = [0.0; PARAMETERS];
    let (grad_weights, rest) = grad.split_at_mut(HIDDEN);
    let (grad_biases, rest) = rest.split_at_mut(HIDDEN);
    let (grad_outputs, grad_offset) = rest.split_at_mut(HIDDEN);

    let mut loss = 0.0;
    for point in 0..POINTS {
        let x = (point as f32 - 15.5) / 10.0;
        let wanted = x * x * x - x;
        let mut y = offset[0];
        for j in 0..HIDDEN {
            y += outputs[j] * softsign(weights[j] * x + biases[j]);
        }
        let error = (y - wanted) / POINTS as f32;
        loss += 0.5 * error * (y - wanted);
        grad_offset[0] += error;
        for j in 0..HIDDEN {
            let sum = weights[j] * x + biases[j];
            let slope = 1.0 / ((1.0 + sum.abs()) * (1.0 + sum.abs()));
            let back = error * outputs[j] * slope;
            grad_outputs[j] += error * softsign(sum);
            grad_weights[j] += back * x;
            grad_biases[j] += back;
        }
    }
    loss
}

fn softsign(x: f32) -> f32 {
    x / (1.0 + x.abs())
}

/// Trains the parameters in [`STEPS`] steps.
pub type Training = fn(&mut [f32; PARAMETERS]) -> Result<(), ErrorKind>;

/// The trainings, by name, in the order of the memory that they need.
pub const TRAININGS: [(&str, Training); 3] = [
    ("adarem", adarem),
    ("adarem_8bit", adarem_8bit),
    ("adarem_group", adarem_group),
];

/// Trains, and writes a line: whether it learned, and as bits the loss before, the loss after, and a hash of
/// the parameters.
///
/// # Errors
/// What `out` gives.
pub fn report(out: &mut impl Write, (name, train): (&str, Training)) -> fmt::Result {
    let mut grad = [0.0; PARAMETERS];
    let mut theta = start();
    let before = loss(&theta, &mut grad);
    if let Err(error) = train(&mut theta) {
        return writeln!(out, "{name}: {error}");
    }
    let after = loss(&theta, &mut grad);
    let hash = theta
        .iter()
        .fold(0u32, |hash, x| hash.rotate_left(5) ^ x.to_bits());
    let learned = if after < before / 100.0 {
        "learned"
    } else {
        "did not learn"
    };
    let (before, after) = (before.to_bits(), after.to_bits());
    writeln!(
        out,
        "{name}: {learned}, loss {before:08x} to {after:08x}, parameters {hash:08x}"
    )
}

/// The rule on slices, with no more memory than its state.
fn adarem(theta: &mut [f32; PARAMETERS]) -> Result<(), ErrorKind> {
    let rule = AdaRem {
        lr: 0.3,
        ..AdaRem::default()
    };
    let (mut grad, mut m, mut carried) = ([0.0; PARAMETERS], [0.0; PARAMETERS], [0.0]);
    for t in 0..STEPS {
        loss(theta, &mut grad);
        rule.step(t, &mut Host::new(theta, &grad, [&mut m], &mut carried)?);
    }
    Ok(())
}

/// The same with a byte of state a parameter.
fn adarem_8bit(theta: &mut [f32; PARAMETERS]) -> Result<(), ErrorKind> {
    let rule = AdaRem {
        lr: 0.3,
        ..AdaRem::default()
    };
    let (mut grad, mut m) = ([0.0; PARAMETERS], [0; PARAMETERS]);
    let mut optimizer = AdaRem8::new(rule, &mut m)?;
    for _ in 0..STEPS {
        loss(theta, &mut grad);
        optimizer.step(theta, &grad)?;
    }
    Ok(())
}

/// Two tensors as one group, in an optimizer whose state lies in lent memory; saved, lost and restored
/// half-way.
fn adarem_group(theta: &mut [f32; PARAMETERS]) -> Result<(), ErrorKind> {
    const LENGTHS: [usize; 2] = [HIDDEN, PARAMETERS - HIDDEN];
    let rule = AdaRem {
        lr: 0.3,
        scope: Scope::Group,
        ..AdaRem::default()
    };
    let (mut memory, mut bytes) = ([0.0f32; 384], [0u8; 1024]);
    let mut lent = Lent::new(&mut memory);
    let mut optimizer = Optimizer::new(rule, &mut lent, &LENGTHS)?;
    let mut grad = [0.0; PARAMETERS];
    for t in 0..STEPS {
        loss(theta, &mut grad);
        let (a, b) = theta.split_at_mut(HIDDEN);
        let (grad_a, grad_b) = grad.split_at(HIDDEN);
        optimizer.step(&mut lent, &mut [a, b], &[grad_a, grad_b])?;
        if t == STEPS / 2 {
            let mut len = 0;
            optimizer.save(&mut lent, |part| {
                if let Some(place) = bytes.get_mut(len..len + part.len()) {
                    place.copy_from_slice(part);
                }
                len += part.len();
            })?;
            optimizer = Optimizer::new(rule, &mut lent, &LENGTHS)?;
            optimizer.restore(&mut lent, bytes.get(..len).unwrap_or_default())?;
        }
    }
    Ok(())
}
