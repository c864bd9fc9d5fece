//! What AdaRem promises of every step (P1 to P13), and what every rule promises of bad input (N1 to N6).

mod walk;

use std::fmt::Debug;

use adarem::projection::{Interval, Projected};
use adarem::rules::{EachRule, for_each};
use adarem::{AdaRem, AdaRemS, Optimizer, Tunable};
use adarem_conformance::cases::{self, Training, Tuned};
use adarem_conformance::{Bytes, Interpreter, agree, promises};
use proptest::prelude::*;
use walk::Walk;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// P1 to P8, P10 to P13, and N3. A fuzz target asks for them, too.
    #[test]
    fn adarem_keeps_its_promises(
        training in cases::bytes().prop_map(|bytes| Training::decode(&bytes))
    ) {
        for promise in promises::ALL {
            promise(&training);
        }
    }

    /// N1. Whatever the bits of hyper-parameters and numbers: refused, or a step with the bits of the direct computation.
    #[test]
    fn nothing_panics_whatever_the_bits(bytes in cases::bytes()) {
        let mut bytes = Bytes::new(&bytes);
        cases::rule(bytes.byte(), &mut Steps { bytes });
    }
}

/// Two steps of a rule.
struct Steps<'b> {
    bytes: Bytes<'b>,
}

impl EachRule for Steps<'_> {
    fn rule<R: Tunable + Default + Clone + PartialEq + Debug + Send + 'static>(&mut self) {
        let tuned = Tuned::<R>::read(&mut self.bytes);
        tuned.check();
        let Tuned { rule, t, .. } = tuned;
        if rule.check_at(t).is_err() {
            return;
        }
        let lengths = cases::lengths(&mut self.bytes);
        let (steps, mut numbers) = (t..t.saturating_add(2), cases::numbers(&self.bytes));
        let backend = &mut Interpreter::<f32>::default();
        let agreed = agree(backend, &rule, &lengths, steps, &mut numbers);
        agreed.unwrap_or_else(|error| panic!("{rule:?}, {lengths:?}, step {t}: {error}"));
    }
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
