//! Trains a dfdx network on 1,797 handwritten digits with AdaRem-S and a schedule, and beside it with dfdx's own
//! optimizers: `cargo run --release -p adarem-dfdx --features cpu --example digits`.
//!
//! The images of 8 x 8 pixels are from "Optical Recognition of Handwritten Digits" by E. Alpaydin and
//! C. Kaynak (1998), UCI Machine Learning Repository, CC BY 4.0; the crate smartcore carries them. One in five is
//! tested on and never learnt from.

use std::io::{Write, stderr};
use std::time::{Duration, Instant};

use adarem_adapters::Scheduled;
use adarem_adapters::schedule::{Cosine, Schedule};
use adarem_dfdx::{AdaRemConfig, AdaRemSConfig, Group, Groups, Tunable};
use dfdx::losses::cross_entropy_with_logits_loss;
use dfdx::nn::modules;
use dfdx::optim::{Momentum, Optimizer, WeightDecay};
use dfdx::prelude::*;

const EPOCHS: usize = 20;
const BATCH: usize = 32;
const SEEDS: u64 = 3;
const PIXELS: usize = 64;
const WIDTH: usize = 96;
const CLASSES: usize = 10;

/// Two hidden layers, each normalized, and a last one.
type Layers = (
    (Linear<PIXELS, WIDTH>, BatchNorm1D<WIDTH>, ReLU),
    (Linear<WIDTH, WIDTH>, BatchNorm1D<WIDTH>, ReLU),
    Linear<WIDTH, CLASSES>,
);
type Hidden<const IN: usize> = (
    modules::Linear<IN, WIDTH, f32, Cpu>,
    modules::BatchNorm1D<WIDTH, f32, Cpu>,
    modules::ReLU,
);
type Net = (
    Hidden<PIXELS>,
    Hidden<WIDTH>,
    modules::Linear<WIDTH, CLASSES, f32, Cpu>,
);

/// What makes the steps of a training, for a network and a number of steps.
type Make = fn(&Net, u64) -> Step;

/// One step of training: the step's number, the network, its gradients.
type Step = Box<dyn FnMut(u64, &mut Net, &mut Gradients<f32, Cpu>)>;

struct Images {
    pixels: Vec<[f32; PIXELS]>,
    classes: Vec<usize>,
}

impl Images {
    /// The images to learn from, and those to be tested on.
    fn load() -> (Images, Images) {
        let data = smartcore::dataset::digits::load_dataset();
        let mut order: Vec<usize> = (0..data.num_samples).collect();
        fastrand::Rng::with_seed(0).shuffle(&mut order);
        let (test, train) = order.split_at(data.num_samples / 5);
        let pixels = |i: usize| std::array::from_fn(|k| data.data[i * PIXELS + k] / 16.0);
        let images = |which: &[usize]| Images {
            pixels: which.iter().map(|&i| pixels(i)).collect(),
            classes: which.iter().map(|&i| data.target[i] as usize).collect(),
        };
        (images(train), images(test))
    }

    fn batch(
        &self,
        which: &[usize],
        dev: &Cpu,
    ) -> (Pixels, Tensor<(usize, Const<CLASSES>), f32, Cpu>) {
        let pixels: Vec<f32> = which.iter().flat_map(|&i| self.pixels[i]).collect();
        let mut classes = vec![0.0; which.len() * CLASSES];
        for (row, &i) in which.iter().enumerate() {
            classes[row * CLASSES + self.classes[i]] = 1.0;
        }
        (
            dev.tensor((pixels, (which.len(), Const))),
            dev.tensor((classes, (which.len(), Const))),
        )
    }
}

type Pixels = Tensor<(usize, Const<PIXELS>), f32, Cpu>;

/// The share of images whose class the network gets wrong.
fn error(net: &Net, images: &Images, dev: &Cpu) -> f64 {
    let all: Vec<usize> = (0..images.classes.len()).collect();
    let scores = net.forward(images.batch(&all, dev).0).as_vec();
    let rows = scores.chunks(CLASSES).zip(&images.classes);
    let wrong = rows.filter(|(row, class)| row.iter().any(|&score| score > row[**class]));
    wrong.count() as f64 / images.classes.len() as f64
}

/// What one training came to.
struct Outcome {
    loss: f64,
    train: f64,
    test: f64,
    update: Duration,
}

fn train(name: &str, seed: u64, images: &(Images, Images), make: Make) -> Outcome {
    let dev = Cpu::seed_from_u64(seed);
    dev.enable_cache();
    let mut net: Net = dev.build_module::<Layers, f32>();
    let (learnt, tested) = images;
    let batches = learnt.classes.len() / BATCH;
    let mut step = make(&net, (EPOCHS * batches) as u64);
    let mut order: Vec<usize> = (0..learnt.classes.len()).collect();
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut grads = net.alloc_grads();
    let (mut loss_of_epoch, mut update) = (0.0, Duration::ZERO);
    for epoch in 0..EPOCHS {
        rng.shuffle(&mut order);
        loss_of_epoch = 0.0;
        for (b, which) in order.chunks_exact(BATCH).enumerate() {
            let (pixels, classes) = learnt.batch(which, &dev);
            let scores = net.forward_mut(pixels.traced(grads));
            let loss = cross_entropy_with_logits_loss(scores, classes);
            loss_of_epoch += f64::from(loss.array()) / batches as f64;
            grads = loss.backward();
            let start = Instant::now();
            step((epoch * batches + b) as u64, &mut net, &mut grads);
            update += start.elapsed();
            net.zero_grads(&mut grads);
        }
        let tested = 100.0 * error(&net, tested, &dev);
        let line = format!("{name}, seed {seed}: epoch {:2} of {EPOCHS}", epoch + 1);
        eprint!("\r{line}, loss {loss_of_epoch:.4}, test error {tested:5.2} %  ");
        // Progress that cannot be shown is no reason to stop.
        let _ = stderr().flush();
    }
    eprintln!();
    Outcome {
        loss: loss_of_epoch,
        train: error(&net, learnt, &dev),
        test: error(&net, tested, &dev),
        update: update / (EPOCHS * batches) as u32,
    }
}

/// From `from` to a hundredth of it.
fn cosine(from: f64, steps: u64) -> Cosine {
    Cosine {
        from,
        to: from / 100.0,
        steps,
    }
}

fn scheduled<R: Tunable + Clone>(rule: R, steps: u64) -> Scheduled<R, Cosine> {
    let lr = rule.get("lr").expect("every rule has a learning rate");
    Scheduled::new(rule, "lr", cosine(lr, steps)).expect("the rule's defaults are in their ranges")
}

/// AdaRem-S where a normalization follows, AdaRem with decay on the last weight and without on the rest.
fn adarem_s(net: &Net, steps: u64) -> Step {
    let on_sphere = |name: &str| matches!(name, "0.0.weight" | "1.0.weight");
    let spheres = AdaRemSConfig {
        lr: 0.2,
        weight_decay: 5e-4,
        ..Default::default()
    };
    let plain = AdaRemConfig {
        lr: 0.2,
        ..Default::default()
    };
    let decayed = AdaRemConfig {
        weight_decay: 5e-4,
        ..plain
    };
    let mut opt = Groups(
        Group::of(net, scheduled(spheres, steps), on_sphere),
        Groups(
            Group::of(net, scheduled(decayed, steps), |name| name == "2.weight"),
            Group::of(net, scheduled(plain, steps), |name| {
                !name.ends_with("weight")
            }),
        ),
    );
    Box::new(move |_, net, grads| {
        opt.update_in_place(net, grads)
            .expect("every parameter has a gradient")
    })
}

fn dfdx_sgd(net: &Net, steps: u64) -> Step {
    let lr = cosine(0.1, steps);
    let config = dfdx::optim::SgdConfig {
        lr: 0.1,
        momentum: Some(Momentum::Classic(0.9)),
        weight_decay: Some(WeightDecay::L2(5e-4)),
    };
    let mut opt = dfdx::optim::Sgd::new(net, config);
    Box::new(move |t, net, grads| {
        opt.cfg.lr = lr.at(t);
        opt.update(net, grads)
            .expect("every parameter has a gradient")
    })
}

fn dfdx_adam(net: &Net, steps: u64) -> Step {
    let lr = cosine(3e-3, steps);
    let config = dfdx::optim::AdamConfig {
        weight_decay: Some(WeightDecay::Decoupled(5e-4)),
        ..Default::default()
    };
    let mut opt = dfdx::optim::Adam::new(net, config);
    Box::new(move |t, net, grads| {
        opt.cfg.lr = lr.at(t);
        opt.update(net, grads)
            .expect("every parameter has a gradient")
    })
}

const CONTENDERS: [(&str, Make); 3] = [
    ("AdaRem-S, cosine", adarem_s),
    ("dfdx Sgd, cosine by hand", dfdx_sgd),
    ("dfdx Adam, cosine by hand", dfdx_adam),
];

fn main() {
    let images = Images::load();
    println!(
        "{} digits to learn from, {} to be tested on; {EPOCHS} epochs, mean of {SEEDS} seeds",
        images.0.classes.len(),
        images.1.classes.len()
    );
    let results = CONTENDERS.map(|(name, make)| {
        (0..SEEDS)
            .map(|seed| train(name, seed, &images, make))
            .collect::<Vec<_>>()
    });
    println!("optimizer                  train loss  train error  test error   update");
    for ((name, _), outcomes) in CONTENDERS.iter().zip(&results) {
        let mean = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / SEEDS as f64;
        println!(
            "{name:26} {:10.4}  {:9.2} %  {:8.2} %  {:4.0} us",
            mean(|outcome| outcome.loss),
            100.0 * mean(|outcome| outcome.train),
            100.0 * mean(|outcome| outcome.test),
            1e6 * mean(|outcome| outcome.update.as_secs_f64()),
        );
    }
}
