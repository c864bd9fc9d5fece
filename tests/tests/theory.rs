//! What is proven, run (T1 to T6): the regret bound, the counter-examples, descent, and Q.

mod walk;

use adarem::projection::{Interval, Projected};
use adarem::{AdaRem, Adam, AmsGrad, Rule, Sgd};
use adarem_adapters::schedule::{InverseSqrt, lambda_per_step};
use adarem_adapters::{Oscillation, RegretBound, Scheduled};
use adarem_conformance::Random;
use walk::Walk;

/// Theta stays in [-1, 1] in every coordinate: a region of diameter 2.
const REGION: Interval = Interval {
    low: -1.0,
    high: 1.0,
};

/// A rule in the setting of the theorems: rates `lr / sqrt(t)`, and the box.
fn online<R: adarem::Tunable + Clone>(
    rule: R,
    lr: f64,
) -> Projected<Scheduled<R, InverseSqrt>, Interval> {
    let rule = Scheduled::new(rule, "lr", InverseSqrt { start: lr }).unwrap();
    Projected {
        rule,
        region: REGION,
    }
}

/// AdaRem with lambda^t.
fn decaying(adarem: AdaRem, lambda: f64) -> impl adarem::Tunable + Clone {
    Scheduled::new(adarem, "lambda", lambda_per_step(lambda)).unwrap()
}

fn uniform(random: &mut Random, low: f64, high: f64) -> f64 {
    low + (high - low) * (random.bits() >> 11) as f64 * (-53f64).exp2()
}

/// T1. Linear losses: random, of slowly changing regimes, and periodic as in the counter-examples.
#[test]
fn the_regret_keeps_its_bounds() {
    let mut random = Random::new(1);
    let mut closest = 0.0f64;
    for trial in 0..300 {
        let (d, steps) = (1 + random.below(5), 5 + random.below(395));
        let (lambda, beta) = (
            uniform(&mut random, 0.0, 0.99),
            uniform(&mut random, 0.0, 0.99),
        );
        let lr = 10f64.powf(uniform(&mut random, -2.0, 1.0));
        let pace = uniform(&mut random, 0.0, 1.0);

        let rule = online(
            decaying(
                AdaRem {
                    beta,
                    ..AdaRem::default()
                },
                lambda,
            ),
            lr,
        );
        let mut walk = Walk::new(&rule, vec![0.0f64; d]);
        let mut memory = vec![0.0; d];
        let mut bound = RegretBound::new(&mut memory);
        let (mut loss, mut total, mut steepest) = (0.0, vec![0.0; d], 0.0f64);
        for t in 0..steps {
            let g: Vec<f64> = (0..d)
                .map(|_| {
                    let x = uniform(&mut random, -2.0, 2.0);
                    match trial % 3 {
                        0 => x,
                        1 => x + 2.0 * (t as f64 * pace).sin().signum(),
                        _ => x.abs() * if t % 3 == 1 { 1.0 } else { -0.4 },
                    }
                })
                .collect();
            loss += walk.theta.iter().zip(&g).map(|(x, g)| x * g).sum::<f64>();
            total.iter_mut().zip(&g).for_each(|(total, g)| *total += g);
            steepest = steepest.max(g.iter().map(|g| g * g).sum());
            walk.step(&rule, &g);
            bound.record(&walk.slots[1], &g).unwrap();
        }
        let regret = loss + total.iter().map(|x| x.abs()).sum::<f64>();
        let online = bound.at_diameter(2.0);
        let (root, d) = ((steps as f64).sqrt(), d as f64);
        let growth = root + 2.0 * lambda / ((1.0 + lambda) * (1.0 - lambda).powf(2.5));
        let worst_case = 4.0 * d / (2.0 * lr) * growth + lr * steepest * (2.0 * root - 1.0);
        assert!(
            regret <= online,
            "trial {trial}: regret {regret} beyond {online}"
        );
        assert!(
            online <= worst_case * (1.0 + 1e-12),
            "trial {trial}: {online} beyond {worst_case}"
        );
        closest = closest.max(regret / online);
    }
    // The bound is one, not a formality: some run comes near.
    assert!(closest > 0.3, "no run came near: {closest}");
}

/// A loss `c x` with c large once every `period` steps and -1 else; its best point is -1. Returns where the run ends,
/// as the mean of the last 200 points, and its average regret.
fn periodic<R: Rule>(rule: &R, steps: usize, large: f64, period: usize) -> (f64, f64) {
    let mut walk = Walk::new(rule, vec![0.0f64]);
    let (mut loss, mut total, mut last) = (0.0, 0.0, 0.0);
    for t in 0..steps {
        let c = if t % period == 0 { large } else { -1.0 };
        loss += c * walk.theta[0];
        total += c;
        walk.step(rule, &[c]);
        if t >= steps - 200 {
            last += walk.theta[0] / 200.0;
        }
    }
    assert!(total > 0.0, "the best point should be -1");
    (last, (loss + total) / steps as f64)
}

/// T2. Reddi, Kale and Kumar's: Adam cannot see that the rare large gradient outweighs the others.
#[test]
fn adam_ends_at_the_wrong_end_of_reddis_example_and_adarem_does_not() {
    for (large, regret) in [(3.0, 0.67), (4.0, 1.34), (10.0, 5.33)] {
        let beta2 = 1.0 / (1.0 + large * large);
        let steps = 20_000;
        let adam = online(
            Adam {
                beta1: 0.0,
                beta2,
                eps: 0.0,
                ..Adam::default()
            },
            0.5,
        );
        let (end, average) = periodic(&adam, steps, large, 3);
        assert!(end > 0.95, "Adam at {end} with C = {large}");
        assert!(
            (average - regret).abs() < 0.02,
            "Adam's average regret {average} with C = {large}"
        );

        let amsgrad = online(
            AmsGrad {
                beta1: 0.0,
                beta2,
                eps: 0.0,
                ..AmsGrad::default()
            },
            0.5,
        );
        assert!(periodic(&amsgrad, steps, large, 3).0 < -0.95);
        let constant = online(AdaRem::default(), 0.5);
        assert!(periodic(&constant, steps, large, 3).0 < -0.95);
        let falling = online(decaying(AdaRem::default(), 0.999), 0.5);
        assert!(periodic(&falling, steps, large, 3).0 < -0.95);
    }
}

/// T3. Ours: with a constant lambda AdaRem, too, can settle at the wrong end; with lambda^t it cannot, nor can SGD.
#[test]
fn a_constant_lambda_has_a_counter_example() {
    let (short, long, large, period) = (30_000, 120_000, 100.0, 30);
    let constant = online(AdaRem::default(), 0.5);
    let (end, average) = periodic(&constant, long, large, period);
    assert!(end > 0.9, "a constant lambda ends at {end}");
    // The whole width times the mean gradient, (100 - 29) / 30: regret grows with every step.
    assert!(
        average > 0.9 * 2.0 * 71.0 / 30.0,
        "a constant lambda has regret {average}"
    );

    let falling = online(decaying(AdaRem::default(), 0.999), 0.5);
    let sgd = online(Sgd::default(), 0.5);
    let runs = |steps| {
        [
            periodic(&falling, steps, large, period),
            periodic(&sgd, steps, large, period),
        ]
    };
    for ((early, late), name) in runs(short)
        .into_iter()
        .zip(runs(long))
        .zip(["lambda^t", "SGD"])
    {
        assert!(
            early.0 < -0.9 && late.0 < early.0,
            "{name} ends at {} and {}",
            early.0,
            late.0
        );
        // Regret of O(sqrt T): four times the steps, half the average.
        assert!(
            late.1 < 0.6 * early.1,
            "{name} has regret {} and {}",
            early.1,
            late.1
        );
    }
}

/// T4. Reddi's stochastic example: gradient 1010 with probability 1/100, else -10, of mean 0.2 > 0; the best point is -1.
#[test]
fn in_reddis_stochastic_example_adarem_follows_sgd() {
    let steps = 200_000;
    let mean = |rule: &dyn Fn(&mut Walk<f64>, &[f64]), seed: u64| {
        let mut random = Random::new(seed);
        let mut walk = Walk::new(&Sgd::default(), vec![0.0f64]);
        let mut sum = 0.0;
        for _ in 0..steps {
            let g = if uniform(&mut random, 0.0, 1.0) < 0.01 {
                1010.0
            } else {
                -10.0
            };
            rule(&mut walk, &[g]);
            sum += walk.theta[0];
        }
        sum / steps as f64
    };
    let adam = online(
        Adam {
            beta2: 0.99,
            eps: 0.0,
            ..Adam::default()
        },
        0.1,
    );
    let sgd = online(Sgd::default(), 0.01);
    let adarem = online(decaying(AdaRem::default(), 0.99), 0.01);
    for seed in 0..3 {
        let of_adam = mean(&|walk, g| walk.step(&adam, g), seed);
        let of_sgd = mean(&|walk, g| walk.step(&sgd, g), seed);
        let of_adarem = mean(&|walk, g| walk.step(&adarem, g), seed);
        assert!(of_adam > 0.8, "Adam's mean point is {of_adam}");
        assert!(
            of_sgd < 0.5 && of_adarem < 0.5,
            "means: SGD {of_sgd}, AdaRem {of_adarem}"
        );
        assert!(
            (of_sgd - of_adarem).abs() < 0.05,
            "AdaRem {of_adarem} strays from SGD {of_sgd}"
        );
    }
}

/// T5. On quadratics of curvature at most L, with full gradients and lr < 2 / (L (1 + lambda)): the loss falls in every
/// step by what the lemma says, and the smallest gradient goes as 1/T.
#[test]
fn the_loss_falls_by_what_the_descent_lemma_says() {
    let mut random = Random::new(5);
    for _ in 0..500 {
        let d = 1 + random.below(12);
        let b: Vec<Vec<f64>> = (0..d)
            .map(|_| (0..d).map(|_| uniform(&mut random, -1.0, 1.0)).collect())
            .collect();
        let a = |i: usize, j: usize| (0..d).map(|k| b[i][k] * b[j][k]).sum::<f64>();
        let matrix: Vec<Vec<f64>> = (0..d).map(|i| (0..d).map(|j| a(i, j)).collect()).collect();
        // The largest row sum bounds the curvature.
        let row = |r: &Vec<f64>| r.iter().map(|x| x.abs()).sum::<f64>();
        let curvature = matrix.iter().map(row).fold(0.0, f64::max);
        let grad = |x: &[f64]| -> Vec<f64> {
            matrix
                .iter()
                .map(|r| r.iter().zip(x).map(|(a, x)| a * x).sum())
                .collect()
        };
        let loss = |x: &[f64]| 0.5 * grad(x).iter().zip(x).map(|(g, x)| g * x).sum::<f64>();

        let (lambda, beta) = (
            uniform(&mut random, 0.0, 0.999),
            uniform(&mut random, 0.0, 0.99),
        );
        let lr = uniform(&mut random, 0.1, 1.999) / (curvature * (1.0 + lambda));
        let free = Interval {
            low: f64::NEG_INFINITY,
            high: f64::INFINITY,
        };
        let rule = Projected {
            rule: AdaRem {
                lr,
                lambda,
                beta,
                ..AdaRem::default()
            },
            region: free,
        };
        let start: Vec<f64> = (0..d).map(|_| uniform(&mut random, -2.0, 2.0)).collect();
        let mut walk = Walk::new(&rule, start);
        let (first, mut least) = (loss(&walk.theta), f64::INFINITY);
        let steps = 100;
        for _ in 0..steps {
            let (g, before) = (grad(&walk.theta), loss(&walk.theta));
            least = least.min(g.iter().map(|g| g * g).sum());
            walk.step(&rule, &g);
            let fall: f64 = g
                .iter()
                .zip(&walk.slots[1])
                .map(|(g, s)| s * (1.0 - 0.5 * curvature * s) * g * g)
                .sum();
            let slack = 1e-12 * before + 1e-290;
            assert!(
                loss(&walk.theta) <= before - fall + slack,
                "fell less than {fall:e} from {before:e}"
            );
            assert!(loss(&walk.theta) <= before + slack);
        }
        let share =
            steps as f64 * lr * (1.0 - lambda) * (1.0 - 0.5 * curvature * lr * (1.0 + lambda));
        assert!(
            least <= first / share * (1.0 + 1e-9),
            "{least:e} beyond {:e}",
            first / share
        );
    }
}

/// T6. A ravine that SGD crosses from side to side: AdaRem, which shortens the steps that turn back, walks less for what
/// it gets.
#[test]
fn adarem_oscillates_less_than_sgd_in_a_ravine() {
    fn ratio(rule: &impl Rule, seed: u64) -> f64 {
        let mut random = Random::new(seed);
        let curvature = [10.0, 1.0, 0.1, 0.01];
        let mut walk = Walk::new(rule, vec![1.0f64; 4]);
        let (mut a, mut b, mut c) = ([0.0; 4], [0.0; 4], [0.0; 4]);
        let mut meter = Oscillation::begin(&walk.theta, &mut a, &mut b, &mut c).unwrap();
        for _ in 0..200 {
            let grad: Vec<f64> = curvature
                .iter()
                .zip(&walk.theta)
                .map(|(c, x)| c * x + c * uniform(&mut random, -0.1, 0.1))
                .collect();
            walk.step(rule, &grad);
            meter.record(&walk.theta).unwrap();
        }
        let q = meter.finish(0.0).unwrap();
        assert!(q.mean >= 1.0 && q.median >= 1.0 && q.ratio >= 1.0);
        q.ratio
    }
    let lr = 0.19;
    let mean = |of: &dyn Fn(u64) -> f64| (0..5).map(of).sum::<f64>() / 5.0;
    let sgd = mean(&|seed| {
        ratio(
            &Sgd {
                lr,
                ..Sgd::default()
            },
            seed,
        )
    });
    let adarem = mean(&|seed| {
        ratio(
            &AdaRem {
                lr,
                ..AdaRem::default()
            },
            seed,
        )
    });
    assert!(adarem < 0.8 * sgd, "AdaRem {adarem}, SGD {sgd}");
}

/// T6. q is 1 exactly where a coordinate only ever goes one way.
#[test]
fn q_is_one_exactly_of_what_never_turns_back() {
    let mut random = Random::new(7);
    for turns in [false, true] {
        for _ in 0..200 {
            let (mut start, mut last, mut length) = ([0.0f32], [0.0], [0.0]);
            let mut x = uniform(&mut random, -1.0, 1.0) as f32;
            let mut meter = Oscillation::begin(&[x], &mut start, &mut last, &mut length).unwrap();
            for t in 0..50 {
                let step = uniform(&mut random, 0.1, 1.0) as f32;
                x += if turns && t % 7 == 3 { -step } else { step };
                meter.record(&[x]).unwrap();
            }
            let q = meter.finish(0.0).unwrap();
            assert_eq!((q.moved, q.mean, q.mean), (1, q.median, q.ratio));
            // f32 numbers of this size differ exactly in f64: a monotone path has no rounding at all.
            assert_eq!(q.mean > 1.0, turns, "q = {}", q.mean);
        }
    }
}
