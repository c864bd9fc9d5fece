//! What every rule does with NaN, infinity, overflow and zero: as its documentation says.

use std::fmt::Debug;

use adarem::Tunable;
use adarem::rules::{EachRule, for_each};
use adarem_conformance::Alone;

/// Rules in which a NaN gradient reaches the whole tensor, through a sum that the step needs.
const NAN_SPREADS: &[&str] = &["adagrad_norm", "adarem_s", "nd_adam"];

/// Rules in which other lanes notice that a lane has become NaN, but stay finite.
const NAN_IS_NOTICED: &[&str] = &["lamb", "swats"];

/// Rules that put theta on a sphere, so that even a zero gradient may move it by rounding, or in step 0.
const ON_A_SPHERE: &[&str] = &["adarem_s", "nd_adam"];

const THETA: [f32; 4] = [1.0, -2.0, 0.5, 3.0];
const BAD: usize = 1;

/// Long enough for AdaShift to have filled its ring and to have seen the bad gradient leave it.
const STEPS: u64 = 24;

/// The lanes after steps with ordinary gradients, but for `bad` in one lane of step 2.
fn after<R: Tunable>(rule: &R, bad: f32) -> Alone<f32> {
    let mut tensor = Alone::new(rule, THETA.to_vec());
    for t in 0..STEPS {
        let mut grad = [0.25, 0.0, -0.5, 0.125 * (t % 5) as f32];
        if t == 2 {
            grad[BAD] = bad;
        }
        tensor.step(rule, t, &grad);
    }
    tensor
}

fn others(tensor: &Alone<f32>) -> Vec<u32> {
    let lanes = tensor.theta.iter().enumerate();
    lanes
        .filter(|&(i, _)| i != BAD)
        .map(|(_, x)| x.to_bits())
        .collect()
}

/// What is checked of one rule.
struct Each<F>(F);

trait Check {
    fn check<R: Tunable>(&self, rule: &R);
}

impl<F: Check> EachRule for Each<F> {
    fn rule<R: Tunable + Default + Clone + PartialEq + Debug + Send + 'static>(&mut self) {
        self.0.check(&R::default());
    }
}

#[test]
fn a_nan_gradient_stays_in_its_lane_unless_said() {
    struct Nan;
    impl Check for Nan {
        fn check<R: Tunable>(&self, rule: &R) {
            let with = after(rule, f32::NAN);
            assert!(with.theta[BAD].is_nan(), "{} hides a NaN", R::NAME);
            let finite = with.theta.iter().filter(|x| x.is_finite()).count();
            if NAN_SPREADS.contains(&R::NAME) {
                assert_eq!(finite, 0, "{} says that a NaN spreads", R::NAME);
            } else if NAN_IS_NOTICED.contains(&R::NAME) {
                assert_eq!(finite, THETA.len() - 1, "{}", R::NAME);
            } else {
                assert_eq!(others(&with), others(&after(rule, 0.0)), "{}", R::NAME);
            }
        }
    }
    for_each(&mut Each(Nan));
}

#[test]
fn a_gradient_whose_square_overflows_makes_no_nan() {
    struct Overflow;
    impl Check for Overflow {
        fn check<R: Tunable>(&self, rule: &R) {
            let with = after(rule, 3e24);
            // ND-Adam's norm overflows; AdaRem-S has no finite norm to scale by.
            if !ON_A_SPHERE.contains(&R::NAME) {
                let theta = &with.theta;
                assert!(
                    theta.iter().all(|x| x.is_finite()),
                    "{}: {theta:?}",
                    R::NAME
                );
            }
        }
    }
    for_each(&mut Each(Overflow));
}

#[test]
fn zero_gradients_move_nothing() {
    struct Zero;
    impl Check for Zero {
        fn check<R: Tunable>(&self, rule: &R) {
            if ON_A_SPHERE.contains(&R::NAME) {
                return;
            }
            let mut rules = [
                Alone::new(rule, THETA.to_vec()),
                Alone::new(rule, Vec::new()),
            ];
            for t in 0..STEPS {
                rules[0].step(rule, t, &[0.0, -0.0, 0.0, 0.0]);
                rules[1].step(rule, t, &[]);
            }
            let decays = ["adamw", "lamb", "sgdw"].contains(&R::NAME);
            // What yogi's m starts at takes some steps to fade.
            let tolerance = if R::NAME == "yogi" { 1e-3 } else { 0.0 };
            for (x, was) in rules[0].theta.iter().zip(THETA) {
                let moved = (x - was).abs();
                assert!(
                    decays && x.abs() < was.abs() || moved <= tolerance,
                    "{}: {x}",
                    R::NAME
                );
            }
            assert!(
                rules[1].carried.iter().all(|x| x.is_finite()),
                "{}: empty",
                R::NAME
            );
        }
    }
    for_each(&mut Each(Zero));
}

#[test]
fn an_infinite_gradient_leaves_the_others_finite_unless_said() {
    struct Infinite;
    impl Check for Infinite {
        fn check<R: Tunable>(&self, rule: &R) {
            let with = after(rule, f32::INFINITY);
            let finite = with.theta.iter().filter(|x| x.is_finite()).count();
            if ON_A_SPHERE.contains(&R::NAME) {
                return;
            }
            assert!(finite >= THETA.len() - 1, "{}: {:?}", R::NAME, with.theta);
        }
    }
    for_each(&mut Each(Infinite));
}
