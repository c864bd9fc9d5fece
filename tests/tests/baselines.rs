//! B1 to B5: rules that must coincide where their papers say so.

use adarem::{
    AdaBound, Adagrad, Adam, AmsGrad, Engine, Host, Lane, Nag, Optimizer, Padam, RmsProp, Rule,
    SgdM, elementary::Power,
};
use adarem_conformance::{Alone, Interpreter, Random, spicy};

const STEPS: u64 = 60;
const LANES: usize = 7;

/// Theta after each step on one and the same sequence of gradients.
fn walk<R: Rule>(rule: &R) -> Vec<Vec<f64>> {
    walk_at(rule, |_| None)
}

/// The same, where `rule_at` may give step `t` a rule of its own.
fn walk_at<R: Rule>(rule: &R, rule_at: impl Fn(u64) -> Option<R>) -> Vec<Vec<f64>> {
    let mut random = Random::new(20);
    let mut numbers = || (0..LANES).map(|_| random.ordinary()).collect::<Vec<f64>>();
    let mut tensor = Alone::new(rule, numbers());
    let step = |t| {
        let at = rule_at(t);
        tensor.step(at.as_ref().unwrap_or(rule), t, &numbers());
        tensor.theta.clone()
    };
    (0..STEPS).map(step).collect()
}

/// The largest difference, relative to the largest parameter.
fn difference(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    let largest = a.iter().flatten().fold(0.0, |acc: f64, x| acc.max(x.abs()));
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    let apart = pairs.fold(0.0, |acc: f64, (x, y)| acc.max((x - y).abs()));
    assert!(largest > 0.0 && a.len() == b.len());
    apart / largest
}

fn assert_same(a: &[Vec<f64>], b: &[Vec<f64>]) {
    let apart = difference(a, b);
    assert!(apart < 1e-13, "{apart:e} apart");
}

#[test]
fn b1_padam_with_p_one_half_is_amsgrad() {
    for eps in [0.0, 1e-8, 1e-2] {
        let (lr, eps_hat) = (0.01, true);
        let padam = Padam {
            lr,
            eps,
            partial: 0.5,
            ..Padam::default()
        };
        let amsgrad = AmsGrad {
            lr,
            eps,
            eps_hat,
            ..AmsGrad::default()
        };
        assert_same(&walk(&padam), &walk(&amsgrad));
    }
}

#[test]
fn b1_padam_with_p_near_none_is_momentum_less_its_first_share() {
    // beta2 near 0, so that the correction of the root, which Padam applies whatever p is, is soon 1.
    let padam = Padam {
        lr: 0.01,
        beta2: 0.0,
        partial: 1e-13,
        ..Padam::default()
    };
    let average = SgdM {
        lr: 0.01,
        average: true,
        ..SgdM::default()
    };
    let corrected = |t: u64| {
        let lr = 0.01 / (1.0 - 0.9f64.powi(t as i32 + 1));
        Some(SgdM { lr, ..average })
    };
    let apart = difference(&walk(&padam), &walk_at(&average, corrected));
    assert!(apart < 1e-11, "{apart:e} apart");

    // The average is plain momentum, 1 - beta1 times as fast.
    let plain = SgdM {
        lr: 0.01 * (1.0 - 0.9),
        ..SgdM::default()
    };
    assert_same(&walk(&average), &walk(&plain));
}

#[test]
fn b2_adabound_between_equal_bounds_is_sgd_with_an_average() {
    let bound = AdaBound {
        final_lr: 0.03,
        gamma: 1e300,
        ..AdaBound::default()
    };
    assert_eq!(bound.bounds(0), (0.03, 0.03));
    let sgd = SgdM {
        lr: 0.03,
        average: true,
        ..SgdM::default()
    };
    assert_same(&walk(&bound), &walk(&sgd));
}

#[test]
fn b2_adabound_without_bounds_is_adam_with_eps_hat() {
    let bound = AdaBound {
        lr: 0.01,
        eps: 1e-3,
        gamma: 1e-300,
        ..AdaBound::default()
    };
    let (low, high) = bound.bounds(STEPS);
    assert!(low < 1e-290 && high > 1e290);
    let hat = Adam {
        lr: 0.01,
        eps: 1e-3,
        eps_hat: true,
        ..Adam::default()
    };
    assert_same(&walk(&bound), &walk(&hat));
    // And not Adam with PyTorch's eps.
    let adam = Adam {
        eps_hat: false,
        ..hat
    };
    assert!(difference(&walk(&bound), &walk(&adam)) > 1e-4);
}

#[test]
fn b3_the_three_forms_of_nag_coincide_at_a_constant_rate() {
    let (lr, momentum) = (0.05, 0.9);
    let first = walk(&Nag { lr, momentum });
    let third = SgdM {
        lr,
        momentum,
        nesterov: true,
        ..SgdM::default()
    };
    let second = SgdM {
        lr_inside: true,
        ..third
    };
    assert_same(&first, &walk(&second));
    assert_same(&first, &walk(&third));

    // Under a schedule the first two still do, and the third does not.
    let falling = |t: u64| lr / (1.0 + t as f64);
    let first = walk_at(&Nag { lr, momentum }, |t| {
        Some(Nag {
            lr: falling(t),
            momentum,
        })
    });
    let second = walk_at(&second, |t| {
        Some(SgdM {
            lr: falling(t),
            ..second
        })
    });
    let third = walk_at(&third, |t| {
        Some(SgdM {
            lr: falling(t),
            ..third
        })
    });
    assert_same(&first, &second);
    assert!(difference(&first, &third) > 1e-3);
}

#[test]
fn b3_the_weights_of_nag_are_where_it_looks_ahead_from() {
    let rule = Nag {
        lr: 0.05,
        momentum: 0.9,
    };
    let mut tensor = Alone::new(&rule, vec![1.0f64, -2.0]);
    for t in 0..9 {
        let grad = tensor.theta.clone();
        tensor.step(&rule, t, &grad);
        for i in 0..2 {
            let ahead = tensor.slots[Nag::WEIGHTS][i] - 0.9 * tensor.slots[0][i];
            assert_eq!(tensor.theta[i], ahead);
        }
    }
}

#[test]
fn b4_adam_without_momentum_is_rmsprop_with_a_corrected_average() {
    let adam = Adam {
        lr: 0.01,
        beta1: 0.0,
        beta2: 0.99,
        eps: 0.0,
        ..Adam::default()
    };
    let rmsprop = RmsProp {
        lr: 0.01,
        alpha: 0.99,
        eps: 0.0,
        ..RmsProp::default()
    };
    let corrected = |t: u64| {
        let lr = 0.01 * (1.0 - 0.99f64.powi(t as i32 + 1)).sqrt();
        Some(RmsProp { lr, ..rmsprop })
    };
    assert_same(&walk(&adam), &walk_at(&rmsprop, corrected));
}

#[test]
fn b5_the_two_forms_of_adagrad_coincide() {
    // v = (1/t) sum g^2 and theta = theta - (a / sqrt(t)) g / sqrt(v), as the Padam paper writes it.
    struct Averaged;
    impl Rule for Averaged {
        const NAME: &'static str = "averaged_adagrad";
        const SLOTS: usize = 1;
        const CARRIED: usize = 0;
        fn slot(&self, _: usize) -> adarem::Slot {
            adarem::Slot::zero("v")
        }
        fn check(&self) -> Result<(), adarem::Invalid> {
            Ok(())
        }
        fn step<E: Engine>(&self, t: u64, e: &mut E) {
            use adarem::Real;
            let t = t as f64 + 1.0;
            let (keep, share) = (e.uniform(1.0 - 1.0 / t), e.uniform(1.0 / t));
            let rate = e.uniform(0.1 / t.sqrt());
            e.map(|x| {
                let [v] = x.slot;
                let v = keep * v + share * (x.grad * x.grad);
                Lane {
                    theta: x.theta - rate * x.grad / v.sqrt(),
                    slot: [v],
                    ..x
                }
            });
        }
    }
    let adagrad = Adagrad {
        lr: 0.1,
        eps: 0.0,
        ..Adagrad::default()
    };
    assert_same(&walk(&adagrad), &walk(&Averaged));
}

// B6, the trajectories of PyTorch, is the test `vectors`; B7, schedules, stands with the schedules.

#[test]
fn powers_join_up_with_roots() {
    let mut none = Host::<f64, 0, 0>::new(&mut [], &[], [], &mut []).expect("empty");
    for (q, near) in [
        (0.25, 0.25 + 1e-15),
        (0.5, 0.5 - 1e-15),
        (0.125, 0.125 + 1e-16),
    ] {
        let (roots, any) = (Power::new(q, &mut none), Power::new(near, &mut none));
        for x in [1e-300f64, 1e-12, 0.3, 1.0, 7.0, 1e200] {
            assert!((roots.of(x) / any.of(x) - 1.0).abs() < 2e-12, "{x:e}^{q}");
        }
    }
}

#[test]
fn a_power_through_a_plan_has_the_bits_of_the_host() {
    let rule = Padam {
        partial: 0.3,
        ..Padam::default()
    };
    let numbers = spicy::<f32>();
    let mut host = Alone::new(&rule, numbers.clone());
    let (mut device, mut theta) = (Interpreter::<f32>::default(), numbers.clone());
    let mut optimizer = Optimizer::new(rule, &mut device, &[numbers.len()]).expect("it is valid");
    for t in 0..5 {
        let grad: Vec<f32> = numbers.iter().rev().map(|x| x * 0.5f32.powi(t)).collect();
        host.step(&rule, t as u64, &grad);
        let stepped = optimizer.step(&mut device, &mut [&mut theta], &[&grad]);
        stepped.expect("it cannot fail");
        for (a, b) in host.theta.iter().zip(&theta) {
            assert!(
                a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
                "{a:e} {b:e}"
            );
        }
    }
}
