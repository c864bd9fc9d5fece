//! What an update costs beside dfdx's own stochastic gradient descent with momentum, in one run.
//!
//! The bound is memory: descent with momentum and AdaRem both read theta, the gradient and one state
//! vector and write two of them, 20 bytes a parameter in `f32`. Each contender is timed by turns with dfdx's, on the
//! same model and gradients, so that what disturbs the machine disturbs both; the medians are compared.
//! `zero-copy` steps parameters where they lie: run it with and without that feature.

use std::time::Instant;

use adarem_dfdx::{AdaRem, AdaRemConfig, AdaRemS, AdaRemSConfig, SgdM, SgdMConfig};
use dfdx::nn::modules;
use dfdx::optim::{Momentum, Optimizer, Sgd, SgdConfig};
use dfdx::prelude::*;

type Layers = (
    Linear<784, 1024>,
    ReLU,
    Linear<1024, 256>,
    ReLU,
    Linear<256, 10>,
);
type Net = (
    modules::Linear<784, 1024, f32, Cpu>,
    modules::ReLU,
    modules::Linear<1024, 256, f32, Cpu>,
    modules::ReLU,
    modules::Linear<256, 10, f32, Cpu>,
);

/// Rounds that count, after a few that warm up.
const ROUNDS: usize = 201;
const WARM_UP: usize = 5;
/// So small that the parameters keep their size.
const LR: f64 = 1e-6;

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// The median, and the best: what a machine with other work to do leaves of the truth.
fn median_and_best(mut of: Vec<f64>) -> (f64, f64) {
    of.sort_by(f64::total_cmp);
    (of[of.len() / 2], of[0])
}

struct Bench {
    net: Net,
    grads: Gradients<f32, Cpu>,
    own: Sgd<Net, f32, Cpu>,
}

impl Bench {
    fn new() -> Self {
        let dev = Cpu::default();
        dev.enable_cache();
        let net = dev.build_module::<Layers, f32>();
        let x: Tensor<Rank2<4, 784>, f32, _> = dev.sample_normal();
        let grads = net.forward(x.traced(net.alloc_grads()));
        let momentum = SgdConfig {
            lr: LR,
            momentum: Some(Momentum::Classic(0.9)),
            weight_decay: None,
        };
        Bench {
            grads: grads.square().mean().backward(),
            own: Sgd::new(&net, momentum),
            net,
        }
    }

    /// Times `update` by turns with dfdx's own optimizer.
    fn beside_dfdx(
        &mut self,
        name: &str,
        mut update: impl FnMut(&mut Net, &mut Gradients<f32, Cpu>),
    ) {
        let (mut own, mut ours) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS + WARM_UP {
            let Bench {
                net,
                grads,
                own: sgd,
            } = self;
            let times = (
                seconds(|| sgd.update(net, grads).expect("all have gradients")),
                seconds(|| update(net, grads)),
            );
            if round >= WARM_UP {
                own.push(times.0);
                ours.push(times.1);
            }
        }
        let (own, ours) = (median_and_best(own), median_and_best(ours));
        println!(
            "{name:26} {:8.1} us, dfdx {:8.1} us, ratio {:.2}; at best {:.2}",
            ours.0 * 1e6,
            own.0 * 1e6,
            ours.0 / own.0,
            ours.1 / own.1
        );
    }
}

fn main() {
    let mut bench = Bench::new();
    let route = if cfg!(feature = "zero-copy") {
        "where parameters lie"
    } else {
        "on copies of parameters"
    };
    let parameters = bench.net.num_trainable_params();
    println!("{parameters} parameters, {ROUNDS} rounds, {route}");

    let adarem = AdaRemConfig {
        lr: LR,
        ..Default::default()
    };
    let mut opt = AdaRem::new(&bench.net, adarem);
    bench.beside_dfdx("AdaRem, update", |net, grads| {
        opt.update(net, grads).expect("all have gradients")
    });
    let mut opt = AdaRem::new(&bench.net, adarem);
    bench.beside_dfdx("AdaRem, update_in_place", |net, grads| {
        opt.update_in_place(net, grads).expect("all have gradients")
    });
    let spheres = AdaRemSConfig {
        lr: LR,
        ..Default::default()
    };
    let mut opt = AdaRemS::new(&bench.net, spheres);
    bench.beside_dfdx("AdaRem-S, update_in_place", |net, grads| {
        opt.update_in_place(net, grads).expect("all have gradients")
    });
    let momentum = SgdMConfig {
        lr: LR,
        ..Default::default()
    };
    let mut opt = SgdM::new(&bench.net, momentum);
    bench.beside_dfdx("SgdM, update_in_place", |net, grads| {
        opt.update_in_place(net, grads).expect("all have gradients")
    });
}
