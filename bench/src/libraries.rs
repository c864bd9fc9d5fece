//! What a Rust user would otherwise take: candle, burn and dfdx, each with its own tensors.

use crate::race::Contender;

/// Bytes a parameter that SGD with momentum and Adam must move in f32.
const SGDM: usize = 20;
const ADAM: usize = 28;

/// candle-nn's SGD and AdamW over one tensor of `len`.
fn candle<'a>(len: usize) -> candle_core::Result<Vec<Contender<'a>>> {
    use candle_core::{Device, Tensor, Var};
    use candle_nn::{AdamW, Optimizer, ParamsAdamW, SGD};

    let device = Device::Cpu;
    // A gradient store comes only from a backward pass; the loss theta . g has the gradient g.
    let problem = || {
        let theta = Var::from_tensor(&Tensor::full(0.25f32, len, &device)?)?;
        let grads = (theta.as_tensor() * Tensor::full(0.1f32, len, &device)?)?
            .sum_all()?
            .backward()?;
        Ok::<_, candle_core::Error>((theta, grads))
    };
    let (theta, sgd_grads) = problem()?;
    let mut sgd = SGD::new(vec![theta], 1e-6)?;
    let (theta, adam_grads) = problem()?;
    let mut adam = AdamW::new(
        vec![theta],
        ParamsAdamW {
            lr: 1e-6,
            ..ParamsAdamW::default()
        },
    )?;
    Ok(vec![
        Contender::new("candle SGD, no momentum", 12 * len, move || {
            sgd.step(&sgd_grads).expect("candle steps")
        }),
        Contender::new("candle AdamW", ADAM * len, move || {
            adam.step(&adam_grads).expect("candle steps")
        }),
    ])
}

/// burn's SGD with momentum and Adam over one tensor of `len`, on its own CPU backend.
fn burn<'a>(len: usize) -> Vec<Contender<'a>> {
    use burn::optim::momentum::MomentumConfig;
    use burn::optim::{AdamConfig, Optimizer, SgdConfig};
    use burn::tensor::{Device, Tensor};

    fn contender<'a, O: Optimizer + 'a>(
        name: &str,
        optimizer: O,
        bytes: usize,
        len: usize,
    ) -> Contender<'a> {
        let device = Device::default();
        let grad = Tensor::<1>::full([len], 0.1, &device);
        let mut state = Some((Tensor::<1>::full([len], 0.25, &device), None));
        Contender::new(name, bytes * len, move || {
            let (theta, kept) = state.take().expect("every step puts it back");
            state = Some(optimizer.step(1e-6, theta, grad.clone(), kept));
        })
    }
    let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
    let sgd = SgdConfig::new().with_momentum(Some(momentum)).build();
    vec![
        contender("burn SGD", sgd, SGDM, len),
        contender("burn Adam", AdamConfig::new().build(), ADAM, len),
    ]
}

/// dfdx's Sgd with momentum and Adam over one tensor of `LEN`.
fn dfdx<'a, const LEN: usize>() -> Vec<Contender<'a>> {
    use dfdx::optim::{Adam, AdamConfig, Momentum, Optimizer, Sgd, SgdConfig};
    use dfdx::prelude::*;

    let device = Cpu::default();
    device.enable_cache();
    let problem = || {
        let theta = device.sample_uniform::<Rank1<LEN>>();
        let mut grads = Gradients::leaky();
        grads
            .get_or_alloc_mut(&theta)
            .expect("memory for the gradient")
            .fill(0.1);
        (theta, grads)
    };
    let (mut theta, grads) = problem();
    let config = SgdConfig {
        lr: 1e-6,
        momentum: Some(Momentum::Classic(0.9)),
        weight_decay: None,
    };
    let mut sgd = Sgd::new(&theta, config);
    let sgd = Contender::new("dfdx Sgd", SGDM * LEN, move || {
        sgd.update(&mut theta, &grads).expect("dfdx steps")
    });
    let (mut theta, grads) = problem();
    let mut adam = Adam::new(
        &theta,
        AdamConfig {
            lr: 1e-6,
            ..AdamConfig::default()
        },
    );
    let adam = Contender::new("dfdx Adam", ADAM * LEN, move || {
        adam.update(&mut theta, &grads).expect("dfdx steps")
    });
    vec![sgd, adam]
}

/// All of them, over one tensor of `len`.
pub fn all<'a>(len: usize) -> Vec<Contender<'a>> {
    let mut all = candle(len).expect("candle has memory");
    all.extend(burn(len));
    // A model's shape is part of its type.
    all.extend(match len {
        1_000_000 => dfdx::<1_000_000>(),
        10_000_000 => dfdx::<10_000_000>(),
        _ => Vec::new(),
    });
    all
}
