//! What an update costs beside dfdx's own stochastic gradient descent with momentum, in one run.
//!
//! The bound is memory: descent with momentum and AdaRem both read theta, the gradient and one state
//! vector and write two of them, 20 bytes a parameter in `f32`. Every round times each contender once, so that
//! what disturbs the machine disturbs all; the medians of all rounds are compared.

use std::time::Instant;

use adarem_dfdx::{AdaRem, AdaRemConfig, AdaRemS, AdaRemSConfig, SgdM, SgdMConfig};
use dfdx::optim::{Momentum, Optimizer, SgdConfig};
use dfdx::prelude::*;

type Layers = (
    Linear<784, 1024>,
    ReLU,
    Linear<1024, 256>,
    ReLU,
    Linear<256, 10>,
);

const ROUNDS: usize = 101;

fn main() {
    let dev = Cpu::default();
    dev.enable_cache();
    let model = dev.build_module::<Layers, f32>();
    let x: Tensor<Rank2<4, 784>, f32, _> = dev.sample_normal();
    let mut grads = model.alloc_grads();
    grads = model.forward(x.traced(grads)).square().mean().backward();

    let momentum = SgdConfig {
        lr: 1e-6,
        momentum: Some(Momentum::Classic(0.9)),
        weight_decay: None,
    };
    let mut own = dfdx::optim::Sgd::new(&model, momentum);
    let adarem = AdaRemConfig {
        lr: 1e-6,
        ..Default::default()
    };
    let mut update = AdaRem::new(&model, adarem);
    let mut in_place = AdaRem::new(&model, adarem);
    let mut spheres = AdaRemS::new(
        &model,
        AdaRemSConfig {
            lr: 1e-6,
            ..Default::default()
        },
    );
    let mut sgdm = SgdM::new(
        &model,
        SgdMConfig {
            lr: 1e-6,
            ..Default::default()
        },
    );

    let names = [
        "dfdx Sgd, momentum: update",
        "AdaRem: update",
        "AdaRem: update_in_place",
        "AdaRem-S: update_in_place",
        "SgdM: update_in_place",
    ];
    let mut models: [_; 5] = std::array::from_fn(|_| model.clone());
    let mut seconds: [Vec<f64>; 5] = Default::default();
    for round in 0..ROUNDS + 5 {
        for (k, (model, seconds)) in models.iter_mut().zip(&mut seconds).enumerate() {
            let start = Instant::now();
            match k {
                0 => own.update(model, &grads).unwrap(),
                1 => update.update(model, &grads).unwrap(),
                2 => in_place.update_in_place(model, &mut grads).unwrap(),
                3 => spheres.update_in_place(model, &mut grads).unwrap(),
                _ => sgdm.update_in_place(model, &mut grads).unwrap(),
            }
            if round >= 5 {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
    }

    let route = if cfg!(feature = "zero-copy") {
        "where parameters lie"
    } else {
        "on copies of parameters"
    };
    println!(
        "{} parameters, {ROUNDS} rounds, {route}",
        model.num_trainable_params()
    );
    let medians = seconds.each_mut().map(|seconds| {
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    });
    for (name, median) in names.iter().zip(medians) {
        println!(
            "{name:28} {:8.1} us  ratio {:.2}",
            median * 1e6,
            median / medians[0]
        );
    }
}
