//! What AdaRem promises of every step (P1 to P8, P10 to P13, and N3), each as a function of a [`Training`] that panics
//! where it is broken: for property tests, and for fuzzers.

use adarem::projection::{Interval, Projected};
use adarem::{AdaRem, Engine, Invalid, Optimizer, Rule, Scope, Sgd};

use crate::alone::Alone;
use crate::cases::Training;
use crate::reference::Interpreter;

/// All of them.
pub const ALL: [fn(&Training); 13] = [
    the_coefficient_keeps_its_bounds_exactly,
    the_update_never_turns_against_its_gradient,
    the_first_step_is_plain_sgd,
    lambda_zero_is_decoupled_sgd,
    the_order_of_the_coordinates_does_not_matter,
    mirrored_gradients_make_a_mirrored_walk,
    gradients_scaled_by_a_power_of_two_change_nothing,
    the_carried_maximum_is_that_of_m,
    a_group_is_its_tensors_put_together,
    a_resumed_run_is_the_uninterrupted_one,
    a_zero_gradient_only_decays,
    a_box_cuts_off_and_a_second_time_does_nothing,
    a_nan_gradient_stays_in_its_lane,
];

/// Steps through all gradients.
fn run<R: Rule>(rule: &R, theta: Vec<f32>, gradients: &[Vec<f32>]) -> Alone<f32> {
    let mut tensor = Alone::new(rule, theta);
    for (t, grad) in (0..).zip(gradients) {
        tensor.step(rule, t, grad);
    }
    tensor
}

/// All NaNs are one.
fn bits(xs: &[f32]) -> Vec<u32> {
    let bits = |x: &f32| if x.is_nan() { u32::MAX } else { x.to_bits() };
    xs.iter().map(bits).collect()
}

fn each(gradients: &[Vec<f32>], to: impl Fn(&[f32]) -> Vec<f32>) -> Vec<Vec<f32>> {
    gradients.iter().map(|grad| to(grad)).collect()
}

impl Training {
    fn lanes(&self) -> usize {
        self.gradients[0].len()
    }

    fn decaying(&self) -> AdaRem {
        AdaRem {
            weight_decay: self.decay,
            ..self.rule
        }
    }
}

/// P1. The bounds hold of the rounded numbers themselves, not up to rounding.
pub fn the_coefficient_keeps_its_bounds_exactly(training: &Training) {
    // With lr 1, the measured lengths are the coefficients a.
    let rule = Projected {
        rule: AdaRem {
            lr: 1.0,
            ..training.rule
        },
        region: Interval {
            low: f64::NEG_INFINITY,
            high: f64::INFINITY,
        },
    };
    let lengths = Projected::<AdaRem, Interval>::LENGTHS.expect("AdaRem measures its steps");
    let lambda = training.rule.lambda as f32;
    let mut tensor = Alone::new(&rule, vec![0.0; training.lanes()]);
    for (t, grad) in (0..).zip(&training.gradients) {
        tensor.step(&rule, t, grad);
        for &a in &tensor.slots[lengths] {
            assert!(
                1.0 - lambda <= a && a <= 1.0 + lambda,
                "a = {a:e} with lambda = {lambda:e}"
            );
        }
    }
}

/// P2. From 0, theta itself is the update.
pub fn the_update_never_turns_against_its_gradient(training: &Training) {
    let rule = training.rule;
    let mut tensor = Alone::new(&rule, vec![0.0; training.lanes()]);
    for (t, grad) in (0..).zip(&training.gradients) {
        tensor.theta.fill(0.0);
        tensor.step(&rule, t, grad);
        for (&x, &g) in tensor.theta.iter().zip(grad) {
            assert!(
                x == 0.0 || (x < 0.0) == (g > 0.0),
                "moved by {x:e} along {g:e}"
            );
            // With lambda < 1, also as rounded, a is at least 2^-24: nothing stands still but by underflow.
            let least = f64::from(g.abs()) * rule.lr * f64::from(1.0 - rule.lambda as f32);
            assert!(x != 0.0 || least < f64::from(f32::MIN_POSITIVE));
        }
    }
}

/// P3.
pub fn the_first_step_is_plain_sgd(training: &Training) {
    let (rule, grad) = (training.rule, &training.gradients[..1]);
    let theta: Vec<f32> = grad[0].iter().map(|g| 1.0 - g / 3.0).collect();
    let sgd = Sgd {
        lr: rule.lr,
        ..Sgd::default()
    };
    let (a, b) = (run(&rule, theta.clone(), grad), run(&sgd, theta, grad));
    assert_eq!(bits(&a.theta), bits(&b.theta));
}

/// P4.
pub fn lambda_zero_is_decoupled_sgd(training: &Training) {
    let rule = AdaRem {
        lambda: 0.0,
        ..training.decaying()
    };
    let sgd = Sgd {
        lr: rule.lr,
        weight_decay: rule.weight_decay,
        decoupled: true,
    };
    let theta = vec![0.7; training.lanes()];
    let a = run(&rule, theta.clone(), &training.gradients);
    let b = run(&sgd, theta, &training.gradients);
    assert_eq!(bits(&a.theta), bits(&b.theta));
}

/// P5. Chunks, threads and blocks are the kit's to vary; here, the order of the coordinates.
pub fn the_order_of_the_coordinates_does_not_matter(training: &Training) {
    let (rule, gradients) = (training.rule, &training.gradients);
    let turn = |xs: &[f32]| {
        let (a, b) = xs.split_at(xs.len() / 3);
        b.iter().rev().chain(a).copied().collect::<Vec<f32>>()
    };
    let theta: Vec<f32> = gradients[0].iter().map(|g| g * 0.1).collect();
    let a = run(&rule, theta.clone(), gradients);
    let b = run(&rule, turn(&theta), &each(gradients, turn));
    assert_eq!(bits(&turn(&a.theta)), bits(&b.theta));
    assert_eq!(bits(&turn(&a.slots[0])), bits(&b.slots[0]));
    assert_eq!(bits(&a.carried), bits(&b.carried));
}

/// P6.
pub fn mirrored_gradients_make_a_mirrored_walk(training: &Training) {
    let (rule, gradients) = (training.rule, &training.gradients);
    let mirror = |xs: &[f32]| xs.iter().map(|x| -x).collect::<Vec<f32>>();
    let theta: Vec<f32> = gradients[0].iter().map(|g| g * 0.1 + 1.0).collect();
    let a = run(&rule, theta.clone(), gradients);
    let b = run(&rule, mirror(&theta), &each(gradients, mirror));
    // Zeros may differ in sign: a sum of opposite numbers is +0 in both.
    for (x, y) in a.theta.iter().zip(&b.theta) {
        assert!(*x == -*y || x.is_nan() && y.is_nan());
    }
}

/// P7. A loss in other units, with the rate in the inverse ones: the same bits, of ordinary numbers.
pub fn gradients_scaled_by_a_power_of_two_change_nothing(training: &Training) {
    if training.rule.lr < 1e-4 {
        return;
    }
    let gradients = training.ordinary().gradients;
    let scale = f64::from(training.place as i32 - 20).exp2();
    let rule = AdaRem {
        eps: 0.0,
        ..training.rule
    };
    let scaled = AdaRem {
        lr: rule.lr / scale,
        ..rule
    };
    let other = each(&gradients, |g| g.iter().map(|x| x * scale as f32).collect());
    let theta = vec![0.3; training.lanes()];
    let a = run(&rule, theta.clone(), &gradients);
    let b = run(&scaled, theta, &other);
    assert_eq!(bits(&a.theta), bits(&b.theta));
}

/// P8.
pub fn the_carried_maximum_is_that_of_m(training: &Training) {
    let theta = vec![0.0; training.lanes()];
    let tensor = run(&training.rule, theta, &training.gradients);
    let largest = tensor.slots[0]
        .iter()
        .fold(0.0f32, |acc, m| acc.max(m.abs()));
    let inverse = tensor.carried[0];
    if inverse == 0.0 {
        let safe = (2.0 * f32::MIN_POSITIVE..0.5 / f32::MIN_POSITIVE).contains(&largest);
        assert!(
            !safe || largest * (1.0 / largest) > 1.0,
            "no reciprocal of {largest:e}"
        );
    } else {
        assert_eq!(inverse, 1.0 / largest);
    }
}

/// P10.
pub fn a_group_is_its_tensors_put_together(training: &Training) {
    let (len, gradients) = (training.lanes(), &training.gradients);
    let whole = run(&training.rule, vec![0.5; len], gradients);

    let group = AdaRem {
        scope: Scope::Group,
        ..training.rule
    };
    let cut = training.place.min(len);
    let (mut left, mut right) = (vec![0.5f32; cut], vec![0.5f32; len - cut]);
    let mut backend = Interpreter::default();
    let optimizer = Optimizer::new(group, &mut backend, &[cut, len - cut]);
    let mut optimizer = optimizer.expect("valid");
    for grad in gradients {
        let (a, b) = grad.split_at(cut);
        let stepped = optimizer.step(&mut backend, &mut [&mut left, &mut right], &[a, b]);
        stepped.expect("the interpreter never fails");
    }
    assert_eq!(bits(&whole.theta), bits(&[left, right].concat()));
}

/// P11.
pub fn a_resumed_run_is_the_uninterrupted_one(training: &Training) {
    let (len, gradients) = (training.lanes(), &training.gradients);
    let mut backend = Interpreter::<f32>::default();
    let open =
        || Optimizer::new(training.rule, &mut Interpreter::default(), &[len]).expect("valid");
    let (mut through, mut before, mut after) = (open(), open(), open());
    let (mut theta, mut resumed) = (vec![1.0f32; len], vec![1.0f32; len]);
    let mut walk = |optimizer: &mut Optimizer<_, _>, theta: &mut Vec<f32>, grads: &[Vec<f32>]| {
        for grad in grads {
            let stepped = optimizer.step(&mut backend, &mut [theta], &[grad]);
            stepped.expect("the interpreter never fails");
        }
    };
    let (early, late) = gradients.split_at(training.place.min(gradients.len()));
    walk(&mut through, &mut theta, gradients);
    walk(&mut before, &mut resumed, early);
    let mut bytes = Vec::new();
    let saved = before.save(&mut Interpreter::default(), |part| {
        bytes.extend_from_slice(part);
    });
    saved.expect("what is ready can be saved");
    let restored = after.restore(&mut Interpreter::default(), &bytes);
    restored.expect("a checkpoint of the same optimizer");
    walk(&mut after, &mut resumed, late);
    assert_eq!(bits(&theta), bits(&resumed));
    assert_eq!(through.steps(), after.steps());
}

/// P12. Of ordinary numbers: a decay of what is not finite is not.
pub fn a_zero_gradient_only_decays(training: &Training) {
    let (rule, gradients) = (training.decaying(), training.ordinary().gradients);
    let mut tensor = run(&rule, vec![0.5; training.lanes()], &gradients);
    let before = tensor.clone();
    let zeros = vec![0.0; training.lanes()];
    tensor.step(&rule, gradients.len() as u64, &zeros);
    let (share, beta) = ((rule.lr * rule.weight_decay) as f32, rule.beta as f32);
    for i in 0..training.lanes() {
        assert_eq!(tensor.theta[i], before.theta[i] - share * before.theta[i]);
        assert_eq!(tensor.slots[0][i], beta * before.slots[0][i]);
    }
}

/// P13.
pub fn a_box_cuts_off_and_a_second_time_does_nothing(training: &Training) {
    let (rule, region) = (training.rule, training.region);
    let bounded = Projected { rule, region };
    let (low, high) = (region.low as f32, region.high as f32);
    let mut tensor = Alone::new(&bounded, vec![0.1; training.lanes()]);
    for (t, grad) in (0..).zip(&training.gradients) {
        let mut free = tensor.clone();
        free.step(&rule, t, grad);
        tensor.step(&bounded, t, grad);
        for (&x, &y) in tensor.theta.iter().zip(&free.theta) {
            assert!(y.is_nan() || x == y.clamp(low, high));
        }
        let mut again = tensor.clone();
        again.step(
            &Projected {
                rule: Still,
                region,
            },
            t,
            grad,
        );
        assert_eq!(bits(&again.theta), bits(&tensor.theta));
    }
}

/// A rule that does nothing.
struct Still;

impl Rule for Still {
    const NAME: &'static str = "still";
    const SLOTS: usize = 0;
    const CARRIED: usize = 0;

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    fn step<E: Engine>(&self, _: u64, _: &mut E) {}
}

/// N3. The other lanes step as if that lane's m were not there.
pub fn a_nan_gradient_stays_in_its_lane(training: &Training) {
    let lane = training.place % training.lanes();
    let gradients = training.ordinary().gradients;
    let (mut poisoned, mut without) = (gradients.clone(), gradients);
    poisoned[0][lane] = f32::NAN;
    without.iter_mut().for_each(|grad| grad[lane] = 0.0);
    let theta = vec![0.5; training.lanes()];
    let a = run(&training.rule, theta.clone(), &poisoned);
    let b = run(&training.rule, theta, &without);
    for i in 0..training.lanes() {
        assert_eq!(a.theta[i].is_nan(), i == lane);
        assert!(i == lane || a.theta[i].to_bits() == b.theta[i].to_bits());
    }
}
