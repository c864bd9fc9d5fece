//! What every rule does with NaN, infinity, overflow and zero: as its documentation says.

use std::fmt::Debug;

use adarem::rules::{EachRule, for_each};
use adarem::{Element, Setting, Tunable};
use adarem_conformance::{Alone, Random};

/// Rules in which a NaN gradient reaches the whole tensor, through a sum that the step needs.
const NAN_SPREADS: &[&str] = &["adagrad_norm", "adarem_s", "nd_adam"];

/// Rules in which other lanes notice that a lane has become NaN, but stay finite.
const NAN_IS_NOTICED: &[&str] = &["lamb", "swats"];

/// Rules that put theta on a sphere, so that even a zero gradient may move it by rounding, or in step 0.
const ON_A_SPHERE: &[&str] = &["adarem_s", "nd_adam"];

/// Rules, some by a flag, whose momentum has the rates of earlier steps, so that theta coasts along it at a rate of 0.
const COASTS: &[(&str, &str)] = &[("nag", ""), ("sgdm", "lr_inside"), ("sgdw", "")];

/// Rules that carry what a step has moved: all others carry on alike at every rate.
const CARRIES_ITS_STEPS: &[&str] = &["adarem_s", "swats"];

/// Rules that refuse a rate of 0, which to them is the length of a first step.
const REFUSES_TO_REST: &[&str] = &["rprop"];

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

/// A rate of 0: theta keeps every bit, and the state becomes what it becomes at any other rate, so nothing is NaN that
/// would not have been. Before the first step and amid a run, with gradients as they are and with any finite ones.
#[test]
fn a_rate_of_0_moves_the_state_alone() {
    struct Rest(usize);
    impl EachRule for Rest {
        fn rule<R: Tunable + Default + Clone + PartialEq + Debug + Send + 'static>(&mut self) {
            let mut still = R::default();
            assert!(still.set("lr", 0.0), "{} has no rate", R::NAME);
            let refused = still.check().is_err();
            assert_eq!(refused, REFUSES_TO_REST.contains(&R::NAME), "{}", R::NAME);
            if refused {
                return;
            }
            for (flag, rule) in dialects::<R>() {
                for before in [0, 1, 15] {
                    rests::<f32, R>(&rule, flag, before);
                    rests::<f64, R>(&rule, flag, before);
                }
            }
            self.0 += 1;
        }
    }
    let mut rest = Rest(0);
    for_each(&mut rest);
    assert!(rest.0 > 30, "only {} rules came to rest", rest.0);
}

/// The rule by default, with decay, and so with each of its flags turned.
fn dialects<R: Tunable + Default + Clone>() -> Vec<(&'static str, R)> {
    let (mut decayed, mut flags) = (R::default(), vec![""]);
    decayed.settings(&mut |name, setting| match setting {
        Setting::Flag(_) => flags.push(name),
        Setting::Number(decay) if name == "weight_decay" => *decay = 0.25,
        _ => {}
    });
    let turned = flags.into_iter().map(|flag| {
        let mut rule = decayed.clone();
        rule.settings(&mut |name, setting| match setting {
            Setting::Flag(on) if name == flag => *on = !*on,
            _ => {}
        });
        (flag, rule)
    });
    [("", R::default())].into_iter().chain(turned).collect()
}

/// Lets `rule` take steps at its own rate `before` it rests.
fn rests<T: Element, R: Tunable + Clone + Debug>(rule: &R, flag: &str, before: u64) {
    let mut random = Random::about(before, R::NAME);
    let mut theta: Vec<T> = (0..21).map(|_| random.ordinary()).collect();
    theta.extend([T::zero(), -T::zero(), T::min_positive_value()]);
    let mut tensor = Alone::new(rule, theta.clone());
    for t in 0..before {
        let grad: Vec<T> = theta.iter().map(|_| random.ordinary()).collect();
        tensor.step(rule, t, &grad);
        // So that zeros of both signs are there to be kept.
        tensor.theta.copy_from_slice(&theta);
    }
    let mut still = rule.clone();
    still.set("lr", 0.0);
    let coasts = |flag: &str| COASTS.contains(&(R::NAME, flag));
    let coasts = coasts("") || coasts(flag);
    let carries_its_steps = CARRIES_ITS_STEPS.contains(&R::NAME);
    for t in before..before + 12 {
        let number = |_| match t % 3 {
            0 => random.ordinary(),
            _ => finite(&mut random),
        };
        let grad: Vec<T> = theta.iter().map(number).collect();
        let (mut resting, mut moving) = (tensor.clone(), tensor.clone());
        resting.step(&still, t, &grad);
        moving.step(rule, t, &grad);

        let at = format!("{still:?} in step {t} after {before}");
        let onto_the_sphere = R::NAME == "nd_adam" && t == 0;
        let moves = onto_the_sphere || coasts && before > 0;
        if !moves {
            assert_eq!(bits(&resting.theta), bits(&tensor.theta), "theta of {at}");
        }
        for (rested, moved) in resting.slots.iter().zip(&moving.slots) {
            goes_on(rested, moved, !coasts, &at);
        }
        goes_on(&resting.carried, &moving.carried, !carries_its_steps, &at);
        tensor = resting;
    }
}

/// The state at rest is that in motion, or, where they do not go on `alike`, not finite only where that is not either.
fn goes_on<T: Element>(rested: &[T], moved: &[T], alike: bool, at: &str) {
    if alike {
        return assert_eq!(bits(rested), bits(moved), "the state of {at}");
    }
    let broken = |(r, m): &(&T, &T)| !r.is_finite() && m.is_finite();
    assert_eq!(
        rested.iter().zip(moved).find(broken),
        None,
        "the state of {at}"
    );
}

/// A number of any bits that is finite.
fn finite<T: Element>(random: &mut Random) -> T {
    loop {
        let x: T = random.any();
        if x.is_finite() {
            return x;
        }
    }
}

/// The bits of numbers; all NaNs are one.
fn bits<T: Element>(numbers: &[T]) -> Vec<u64> {
    let of = |x: &T| if x.is_nan() { u64::MAX } else { x.to_le() };
    numbers.iter().map(of).collect()
}
