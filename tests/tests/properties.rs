//! What AdaRem promises of every step (P1 to P12), and what every rule promises of bad input (N1 to N6).

mod walk;

use adarem::projection::{Interval, Projected};
use adarem::rules::{EachRule, for_each};
use adarem::{AdaRem, AdaRemS, Optimizer, Rule, Scope, Sgd, Tunable};
use adarem_conformance::{Interpreter, Random, spicy};
use proptest::prelude::*;
use walk::{Walk, all_bits, bits};

/// Finite numbers of any magnitude, subnormal ones and both zeros among them.
fn finite() -> impl Strategy<Value = f32> + Clone {
    use proptest::num::f32::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    prop_oneof![
        3 => NORMAL | SUBNORMAL | ZERO | POSITIVE | NEGATIVE,
        2 => -10.0f32..10.0,
        1 => prop::sample::select(spicy::<f32>()).prop_filter("finite", |x| x.is_finite()),
    ]
}

/// Numbers as training meets them.
fn ordinary() -> impl Strategy<Value = f32> + Clone {
    prop_oneof![(0.01f32..10.0), (-10.0f32..-0.01)]
}

/// Gradients of several steps for one tensor.
fn gradients(number: impl Strategy<Value = f32> + Clone) -> impl Strategy<Value = Vec<Vec<f32>>> {
    (1usize..20).prop_flat_map(move |len| {
        prop::collection::vec(prop::collection::vec(number.clone(), len), 1..8)
    })
}

fn adarem() -> impl Strategy<Value = AdaRem> {
    let lr = prop_oneof![1e-4..10.0f64, Just(1e-30)];
    (
        lr,
        0.0..1.0f64,
        0.0..1.0f64,
        prop_oneof![Just(0.0), Just(1e-8), 1e-10..1.0f64],
    )
        .prop_map(|(lr, beta, lambda, eps)| AdaRem {
            lr,
            beta,
            lambda,
            eps,
            ..AdaRem::default()
        })
}

/// Steps through all gradients.
fn run<R: Rule>(rule: &R, theta: Vec<f32>, gradients: &[Vec<f32>]) -> Walk<f32> {
    let mut walk = Walk::new(rule, theta);
    gradients.iter().for_each(|grad| walk.step(rule, grad));
    walk
}

/// AdaRem with lr 1, whose measured lengths are the coefficients a.
fn coefficients(rule: AdaRem) -> Projected<AdaRem, Interval> {
    let region = Interval {
        low: f64::NEG_INFINITY,
        high: f64::INFINITY,
    };
    Projected {
        rule: AdaRem { lr: 1.0, ..rule },
        region,
    }
}

const LENGTHS: usize = 1;

proptest! {
    /// P1. The bounds hold of the rounded numbers themselves, not up to rounding.
    #[test]
    fn the_coefficient_keeps_its_bounds_exactly(rule in adarem(), gradients in gradients(finite())) {
        let lambda = rule.lambda as f32;
        let rule = coefficients(rule);
        let mut walk = Walk::new(&rule, vec![0.0; gradients[0].len()]);
        for grad in &gradients {
            walk.step(&rule, grad);
            for &a in &walk.slots[LENGTHS] {
                prop_assert!(1.0 - lambda <= a && a <= 1.0 + lambda, "a = {a:e} with lambda = {lambda:e}");
            }
        }
    }

    /// P2. From 0, theta itself is the update.
    #[test]
    fn the_update_never_turns_against_its_gradient(rule in adarem(), gradients in gradients(finite())) {
        let mut walk = Walk::new(&rule, vec![0.0; gradients[0].len()]);
        for grad in &gradients {
            walk.theta.fill(0.0);
            walk.step(&rule, grad);
            for (&x, &g) in walk.theta.iter().zip(grad) {
                prop_assert!(x == 0.0 || (x < 0.0) == (g > 0.0), "moved by {x:e} along {g:e}");
                // With lambda < 1, also as rounded, a is at least 2^-24: nothing stands still but by underflow.
                let least = f64::from(g.abs()) * rule.lr * f64::from(1.0 - rule.lambda as f32);
                prop_assert!(x != 0.0 || least < f64::from(f32::MIN_POSITIVE));
            }
        }
    }

    /// P3.
    #[test]
    fn the_first_step_is_plain_sgd(rule in adarem(), grad in gradients(finite())) {
        let grad = &grad[..1];
        let theta: Vec<f32> = grad[0].iter().map(|g| 1.0 - g / 3.0).collect();
        let sgd = Sgd { lr: rule.lr, ..Sgd::default() };
        prop_assert_eq!(all_bits(&run(&rule, theta.clone(), grad).theta), all_bits(&run(&sgd, theta, grad).theta));
    }

    /// P4.
    #[test]
    fn lambda_zero_is_decoupled_sgd(rule in adarem(), decay in 0.0..0.5f64, gradients in gradients(finite())) {
        let rule = AdaRem { lambda: 0.0, weight_decay: decay, ..rule };
        let sgd = Sgd { lr: rule.lr, weight_decay: decay, decoupled: true };
        let theta = vec![0.7; gradients[0].len()];
        let (a, b) = (run(&rule, theta.clone(), &gradients), run(&sgd, theta, &gradients));
        prop_assert_eq!(all_bits(&a.theta), all_bits(&b.theta));
    }

    /// P5. Chunks, threads and blocks are the kit's to vary; here, the order of the coordinates.
    #[test]
    fn the_order_of_the_coordinates_does_not_matter(rule in adarem(), gradients in gradients(finite())) {
        let turn = |xs: &[f32]| { let (a, b) = xs.split_at(xs.len() / 3); b.iter().rev().chain(a).copied().collect::<Vec<f32>>() };
        let theta: Vec<f32> = gradients[0].iter().map(|g| g * 0.1).collect();
        let turned: Vec<_> = gradients.iter().map(|g| turn(g)).collect();
        let (a, b) = (run(&rule, theta.clone(), &gradients), run(&rule, turn(&theta), &turned));
        prop_assert_eq!(all_bits(&turn(&a.theta)), all_bits(&b.theta));
        prop_assert_eq!(all_bits(&turn(&a.slots[0])), all_bits(&b.slots[0]));
        prop_assert_eq!(bits(a.carried[0]), bits(b.carried[0]));
    }

    /// P6.
    #[test]
    fn mirrored_gradients_make_a_mirrored_walk(rule in adarem(), gradients in gradients(finite())) {
        let mirror = |xs: &[f32]| xs.iter().map(|x| -x).collect::<Vec<f32>>();
        let theta: Vec<f32> = gradients[0].iter().map(|g| g * 0.1 + 1.0).collect();
        let mirrored: Vec<_> = gradients.iter().map(|g| mirror(g)).collect();
        let (a, b) = (run(&rule, theta.clone(), &gradients), run(&rule, mirror(&theta), &mirrored));
        // Zeros may differ in sign: a sum of opposite numbers is +0 in both.
        for (x, y) in a.theta.iter().zip(&b.theta) {
            prop_assert!(*x == -*y || x.is_nan() && y.is_nan());
        }
    }

    /// P7. A loss in other units, with the rate in the inverse ones: the same bits.
    #[test]
    fn gradients_scaled_by_a_power_of_two_change_nothing(
        rule in adarem().prop_filter("ordinary rates", |rule| rule.lr > 1e-4),
        k in -20i32..20,
        gradients in gradients(ordinary()),
    ) {
        let scale = 2f64.powi(k);
        let rule = AdaRem { eps: 0.0, ..rule };
        let scaled = AdaRem { lr: rule.lr / scale, ..rule };
        let theta = vec![0.3; gradients[0].len()];
        let other: Vec<Vec<f32>> =
            gradients.iter().map(|g| g.iter().map(|x| x * scale as f32).collect()).collect();
        prop_assert_eq!(all_bits(&run(&rule, theta.clone(), &gradients).theta), all_bits(&run(&scaled, theta, &other).theta));
    }

    /// P8.
    #[test]
    fn the_carried_maximum_is_that_of_m(rule in adarem(), gradients in gradients(finite())) {
        let walk = run(&rule, vec![0.0; gradients[0].len()], &gradients);
        let largest = walk.slots[0].iter().fold(0.0f32, |acc, m| acc.max(m.abs()));
        let inverse = walk.carried[0];
        if inverse == 0.0 {
            let safe = (2.0 * f32::MIN_POSITIVE..0.5 / f32::MIN_POSITIVE).contains(&largest);
            prop_assert!(!safe || largest * (1.0 / largest) > 1.0, "no reciprocal of {largest:e}");
        } else {
            prop_assert_eq!(inverse, 1.0 / largest);
        }
    }

    /// P10.
    #[test]
    fn a_group_is_its_tensors_put_together(rule in adarem(), gradients in gradients(finite()), cut in 0usize..20) {
        let whole = run(&rule, vec![0.5; gradients[0].len()], &gradients);

        let group = AdaRem { scope: Scope::Group, ..rule };
        let len = gradients[0].len();
        let cut = cut.min(len);
        let (mut left, mut right) = (vec![0.5f32; cut], vec![0.5f32; len - cut]);
        let mut backend = Interpreter::default();
        let mut optimizer = Optimizer::new(group, &mut backend, &[cut, len - cut]).unwrap();
        for grad in &gradients {
            let (a, b) = grad.split_at(cut);
            optimizer.step(&mut backend, &mut [&mut left, &mut right], &[a, b]).unwrap();
        }
        prop_assert_eq!(all_bits(&whole.theta), all_bits(&[left, right].concat()));
    }

    /// P11.
    #[test]
    fn a_resumed_run_is_the_uninterrupted_one(rule in adarem(), gradients in gradients(finite()), at in 0usize..8) {
        let len = gradients[0].len();
        let mut backend = Interpreter::<f32>::default();
        let open = || Optimizer::new(rule, &mut Interpreter::<f32>::default(), &[len]).unwrap();
        let (mut through, mut before, mut after) = (open(), open(), open());
        let (mut theta, mut resumed) = (vec![1.0f32; len], vec![1.0f32; len]);
        for grad in &gradients {
            through.step(&mut backend, &mut [&mut theta], &[grad]).unwrap();
        }
        let (early, late) = gradients.split_at(at.min(gradients.len()));
        for grad in early {
            before.step(&mut backend, &mut [&mut resumed], &[grad]).unwrap();
        }
        let mut bytes = Vec::new();
        before.save(&mut backend, |part| bytes.extend_from_slice(part)).unwrap();
        after.restore(&mut backend, &bytes).unwrap();
        for grad in late {
            after.step(&mut backend, &mut [&mut resumed], &[grad]).unwrap();
        }
        prop_assert_eq!(all_bits(&theta), all_bits(&resumed));
        prop_assert_eq!(through.steps(), after.steps());
    }

    /// P12.
    #[test]
    fn a_zero_gradient_only_decays(rule in adarem(), decay in 0.0..0.5f64, gradients in gradients(ordinary())) {
        let rule = AdaRem { weight_decay: decay, ..rule };
        let mut walk = run(&rule, vec![0.5; gradients[0].len()], &gradients);
        let before = walk.clone();
        walk.step(&rule, &vec![0.0; before.theta.len()]);
        let (share, beta) = ((rule.lr * decay) as f32, rule.beta as f32);
        for i in 0..before.theta.len() {
            prop_assert_eq!(walk.theta[i], before.theta[i] - share * before.theta[i]);
            prop_assert_eq!(walk.slots[0][i], beta * before.slots[0][i]);
        }
    }

    /// P13.
    #[test]
    fn a_box_cuts_off_and_a_second_time_does_nothing(
        rule in adarem(), gradients in gradients(finite()), low in -2.0..0.0f64, width in 0.0..3.0f64,
    ) {
        let bounded = Projected { rule, region: Interval { low, high: low + width } };
        let (low, high) = (low as f32, (low + width) as f32);
        let theta = vec![0.1; gradients[0].len()];
        let mut walk = Walk::new(&bounded, theta.clone());
        for grad in &gradients {
            let mut free = Walk { theta: walk.theta.clone(), ..walk.clone() };
            free.step(&rule, grad);
            walk.step(&bounded, grad);
            for (&x, &y) in walk.theta.iter().zip(&free.theta) {
                prop_assert!(y.is_nan() || x == y.clamp(low, high));
            }
            let mut again = walk.clone();
            again.step(&Projected { rule: Still, region: bounded.region }, grad);
            prop_assert_eq!(all_bits(&again.theta), all_bits(&walk.theta));
        }
    }

    /// N1, N3. Hyper-parameters of any bits are refused or do; gradients of any bits never panic, and a NaN gradient
    /// of AdaRem's stays in its lane.
    #[test]
    fn nothing_panics_whatever_the_bits(hyper in prop::array::uniform5(any::<u64>()), seed in any::<u64>()) {
        let [lr, beta, lambda, eps, weight_decay] = hyper.map(f64::from_bits);
        let wild = AdaRem { lr, beta, lambda, eps, weight_decay, ..AdaRem::default() };
        let rule = if wild.check().is_ok() { wild } else { AdaRem::default() };
        let mut random = Random::new(seed);
        let mut walk = Walk::new(&rule, (0..33).map(|_| random.any()).collect());
        for _ in 0..4 {
            let grad: Vec<f32> = (0..33).map(|_| random.any()).collect();
            walk.step(&rule, &grad);
        }
    }

    #[test]
    fn a_nan_gradient_stays_in_its_lane(rule in adarem(), gradients in gradients(ordinary()), lane in 0usize..20) {
        let lane = lane % gradients[0].len();
        let mut poisoned = gradients.clone();
        poisoned[0][lane] = f32::NAN;
        // The other lanes step as if that lane's m were not there.
        let mut without = gradients.clone();
        without.iter_mut().for_each(|grad| grad[lane] = 0.0);
        let theta = vec![0.5; gradients[0].len()];
        let (a, b) = (run(&rule, theta.clone(), &poisoned), run(&rule, theta, &without));
        for i in 0..a.theta.len() {
            prop_assert_eq!(a.theta[i].is_nan(), i == lane);
            prop_assert!(i == lane || bits(a.theta[i]) == bits(b.theta[i]));
        }
    }
}

/// A rule that does nothing.
struct Still;

impl Rule for Still {
    const NAME: &'static str = "still";
    const SLOTS: usize = 0;
    const CARRIED: usize = 0;

    fn check(&self) -> Result<(), adarem::Invalid> {
        Ok(())
    }

    fn step<E: adarem::Engine>(&self, _: u64, _: &mut E) {}
}

/// P9. Powers of two, so that m / max|m| is exactly 1.
#[test]
fn agreement_lengthens_and_alternation_shortens_by_exactly_lambda() {
    let lambda = 0.75;
    let rule = coefficients(AdaRem {
        beta: 0.5,
        lambda,
        ..AdaRem::default()
    });
    let mut walk = Walk::new(&rule, vec![0.0f64]);
    for t in 0..10 {
        walk.step(&rule, &[4.0]);
        assert_eq!(
            walk.slots[LENGTHS],
            [if t == 0 { 1.0 } else { 1.0 + lambda }]
        );
    }

    let rule = coefficients(AdaRem {
        beta: 0.0,
        lambda,
        ..AdaRem::default()
    });
    let mut walk = Walk::new(&rule, vec![0.0f64]);
    for t in 0..10 {
        walk.step(&rule, &[if t % 2 == 0 { 4.0 } else { -4.0 }]);
        assert_eq!(
            walk.slots[LENGTHS],
            [if t == 0 { 1.0 } else { 1.0 - lambda }]
        );
    }
}

/// N2. Every rule of the library, from the first step on.
#[test]
fn zero_gradients_never_make_a_nan() {
    struct Zero;
    impl EachRule for Zero {
        fn rule<R: Tunable + Default + Clone + PartialEq + std::fmt::Debug + Send + 'static>(
            &mut self,
        ) {
            let rule = R::default();
            for start in [0.0f32, 1.0] {
                let mut walk = Walk::new(&rule, vec![start; 3]);
                for _ in 0..20 {
                    walk.step(&rule, &[0.0, -0.0, 0.0]);
                }
                assert!(
                    walk.theta.iter().all(|x| x.is_finite()),
                    "{}: {:?}",
                    R::NAME,
                    walk.theta
                );
            }
        }
    }
    for_each(&mut Zero);
    adarem_adapters::for_each(&mut Zero);
}

/// N4, N5. Where 1 / max|m| is not normal there is no coefficient, instead of 0 * infinity.
#[test]
fn a_maximum_without_reciprocal_makes_the_step_plain() {
    let rule = coefficients(AdaRem {
        beta: 0.0,
        ..AdaRem::default()
    });
    for scale in [f32::MIN_POSITIVE / 4.0, 1e-45, f32::INFINITY] {
        let mut walk = Walk::new(&rule, vec![0.0; 2]);
        walk.step(&rule, &[scale, 0.0]);
        walk.step(&rule, &[1.0, -1.0]);
        assert_eq!(walk.slots[LENGTHS][1], 1.0, "after a maximum of {scale:e}");
    }
    // A huge one has a reciprocal, if a subnormal one.
    let mut walk = Walk::new(&rule, vec![0.0; 2]);
    walk.step(&rule, &[f32::MAX, -f32::MAX]);
    walk.step(&rule, &[1.0, 1.0]);
    assert!(walk.slots[LENGTHS].iter().all(|a| (0.0..=2.0).contains(a)));
}

/// N6. A zero has a sign bit but no direction: it must not move theta, and its neighbour neither.
#[test]
fn zeros_of_either_sign_move_nothing() {
    let rule = AdaRem::default();
    let mut walk = Walk::new(&rule, vec![0.25f32; 3]);
    walk.step(&rule, &[1.0, -1.0, 1.0]);
    let before = walk.theta.clone();
    walk.step(&rule, &[0.0, -0.0, -0.0]);
    assert_eq!(walk.theta, before);
}

/// AdaRem-S passes a NaN on to its whole tensor, as documented, and no farther.
#[test]
fn a_nan_reaches_the_whole_tensor_of_adarem_s_and_no_other() {
    let mut backend = Interpreter::default();
    let mut optimizer = Optimizer::new(AdaRemS::default(), &mut backend, &[2, 2]).unwrap();
    let (mut a, mut b) = ([1.0f32, 2.0], [1.0f32, 2.0]);
    optimizer
        .step(
            &mut backend,
            &mut [&mut a, &mut b],
            &[&[f32::NAN, 1.0], &[1.0, -1.0]],
        )
        .unwrap();
    assert!(a.iter().all(|x| x.is_nan()) && b.iter().all(|x| x.is_finite()));
}
