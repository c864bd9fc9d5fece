//! Projections in the metric of the step (P14): feasible, optimal by the conditions of Karush, Kuhn and Tucker, and never
//! beaten by a random feasible point.

mod walk;

use adarem::projection::{Ball, HalfSpace, Interval, Projected, Region, Simplex, onto_sphere};
use adarem::{AdaRem, Element, Engine, Host, Invalid, Rule, Scope, Sgd, Slot, Tunable};
use adarem_conformance::Random;
use walk::{Walk, all_bits};

fn uniform(random: &mut Random, low: f64, high: f64) -> f64 {
    low + (high - low) * (random.bits() >> 11) as f64 * (-53f64).exp2()
}

/// Projects `y` in the metric of `lengths`, with `own` state of the region.
fn project<T: Element>(region: &impl Region, y: &[T], lengths: &[T], own: &[T]) -> Vec<T> {
    let (mut x, grad) = (y.to_vec(), vec![T::zero(); y.len()]);
    let (mut lengths, mut own) = (lengths.to_vec(), own.to_vec());
    let mut host = Host::new(&mut x, &grad, [&mut lengths, &mut own], &mut []).unwrap();
    region.project(Some(0), 1, &mut host);
    x
}

/// What the projection minimizes.
fn distance(x: &[f64], y: &[f64], lengths: &[f64]) -> f64 {
    x.iter()
        .zip(y)
        .zip(lengths)
        .map(|((x, y), s)| (x - y) * (x - y) / s)
        .sum()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A point and lengths as AdaRem makes them: they differ by up to (1 + lambda) / (1 - lambda) = 2,000.
fn case(random: &mut Random) -> (Vec<f64>, Vec<f64>) {
    let d = 2 + random.below(6);
    let lr = 10f64.powf(uniform(random, -3.0, 1.0));
    let y = (0..d).map(|_| uniform(random, -3.0, 3.0)).collect();
    let lengths = (0..d)
        .map(|_| lr * (1.0 + 0.999 * uniform(random, -1.0, 1.0)))
        .collect();
    (y, lengths)
}

const CASES: usize = 300;
const RIVALS: usize = 400;

/// Residual of optimality, relative to the numbers it is made of. Measured: 1.3e-15 at worst.
const OPTIMAL: f64 = 1e-13;

#[test]
fn a_ball_is_optimal() {
    let mut random = Random::new(1);
    let (mut outside, mut worst) = (0, 0.0f64);
    for _ in 0..CASES {
        let (y, s) = case(&mut random);
        let radius = uniform(&mut random, 0.2, 3.0);
        let x = project(&Ball::new(radius), &y, &s, &y);
        assert!(dot(&x, &x).sqrt() <= radius * (1.0 + 1e-15));
        if dot(&y, &y).sqrt() <= radius {
            assert_eq!(x, y, "what is inside stays");
            continue;
        }
        outside += 1;
        assert!((dot(&x, &x).sqrt() / radius - 1.0).abs() < 1e-14);
        // (y - x) / s = k x with one k >= 0 for all lanes.
        let pull: Vec<f64> = (0..x.len()).map(|i| (y[i] - x[i]) / s[i]).collect();
        let k = dot(&pull, &x) / dot(&x, &x);
        assert!(k >= 0.0);
        for i in 0..x.len() {
            worst = worst.max((pull[i] - k * x[i]).abs() * s[i] / y[i].abs());
        }
        for _ in 0..RIVALS {
            let z: Vec<f64> = x.iter().map(|_| uniform(&mut random, -3.0, 3.0)).collect();
            let shrink = (radius / dot(&z, &z).sqrt()).min(1.0);
            let z: Vec<f64> = z.iter().map(|z| z * shrink).collect();
            assert!(distance(&z, &y, &s) >= distance(&x, &y, &s) * (1.0 - 1e-9));
        }
    }
    assert!(
        outside > CASES / 3 && worst < OPTIMAL,
        "{outside} outside, residual {worst:e}"
    );
}

#[test]
fn a_half_space_is_optimal() {
    let mut random = Random::new(2);
    let mut outside = 0;
    for _ in 0..CASES {
        let (y, s) = case(&mut random);
        let normal: Vec<f64> = y.iter().map(|_| uniform(&mut random, -1.0, 1.0)).collect();
        let bound = uniform(&mut random, -1.0, 1.0);
        let x = project(&HalfSpace::new(bound), &y, &s, &normal);
        if dot(&normal, &y) <= bound {
            assert_eq!(x, y, "what is inside stays");
            continue;
        }
        outside += 1;
        let size: f64 = normal
            .iter()
            .zip(&y)
            .map(|(n, y)| (n * y).abs())
            .sum::<f64>()
            + bound.abs();
        assert!((dot(&normal, &x) - bound).abs() < 1e-14 * size);
        let pull: Vec<f64> = (0..x.len()).map(|i| (y[i] - x[i]) / s[i]).collect();
        let k = dot(&pull, &normal) / dot(&normal, &normal);
        assert!(k >= 0.0);
        // The difference y - x cancels where a length is small.
        let rounding = |i: usize| 1e-14 * (y[i].abs() / s[i] + k.abs());
        assert!((0..x.len()).all(|i| (pull[i] - k * normal[i]).abs() <= rounding(i)));
        for _ in 0..RIVALS {
            let z: Vec<f64> = x.iter().map(|_| uniform(&mut random, -3.0, 3.0)).collect();
            let excess = (dot(&normal, &z) - bound).max(0.0) / dot(&normal, &normal);
            let z: Vec<f64> = z.iter().zip(&normal).map(|(z, n)| z - n * excess).collect();
            assert!(distance(&z, &y, &s) >= distance(&x, &y, &s) * (1.0 - 1e-9));
        }
    }
    assert!(outside > CASES / 3);
}

#[test]
fn a_simplex_is_optimal() {
    let mut random = Random::new(3);
    let mut worst = 0.0f64;
    for _ in 0..CASES {
        let (y, s) = case(&mut random);
        let sum = uniform(&mut random, 0.5, 2.0);
        let x = project(&Simplex::new(sum), &y, &s, &y);
        assert!(x.iter().all(|&x| x >= 0.0) && (x.iter().sum::<f64>() / sum - 1.0).abs() < 1e-14);
        // (y - x) / s = k where x > 0, at most k where x = 0.
        let pull: Vec<f64> = (0..x.len()).map(|i| (y[i] - x[i]) / s[i]).collect();
        let inside = (0..x.len()).filter(|&i| x[i] > 0.0);
        let weight: f64 = inside.clone().map(|i| s[i]).sum();
        let k = inside.map(|i| s[i] * pull[i]).sum::<f64>() / weight;
        for i in 0..x.len() {
            let residual = if x[i] > 0.0 {
                (pull[i] - k).abs()
            } else {
                (pull[i] - k).max(0.0)
            };
            worst = worst.max(residual * s[i] / (y[i].abs() + sum));
        }
        for _ in 0..RIVALS {
            let z: Vec<f64> = x
                .iter()
                .map(|_| -uniform(&mut random, 1e-12, 1.0).ln())
                .collect();
            let total: f64 = z.iter().sum();
            let z: Vec<f64> = z.iter().map(|z| z * sum / total).collect();
            assert!(distance(&z, &y, &s) >= distance(&x, &y, &s) * (1.0 - 1e-9));
        }
    }
    assert!(worst < OPTIMAL, "residual {worst:e}");
}

/// What stands beside the sum of a simplex: one coordinate, several or all are of this size, on either side of zero.
fn beside(random: &mut Random, size: f32, case: usize) -> Vec<f32> {
    let len = [1, 2, 3, 40, 1000][case % 5];
    let mut number = |kind| match kind {
        0 => size * random.ordinary::<f32>(),
        1 => -size * random.ordinary::<f32>().abs(),
        2 if random.below(4) == 0 => -size,
        2 => size,
        _ if random.below(len) == 0 => size * random.ordinary::<f32>(),
        _ => random.ordinary(),
    };
    (0..len).map(|_| number(case / 5 % 4)).collect()
}

/// Of a step of AdaRem.
fn lengths(random: &mut Random, len: usize) -> Vec<f32> {
    let mut length = || (0.1 * (1.0 + 0.999 * uniform(random, -1.0, 1.0))) as f32;
    (0..len).map(|_| length()).collect()
}

/// They grow to 2^96 times the sum.
#[test]
fn a_simplex_keeps_its_sum_beside_coordinates_of_any_size() {
    let mut random = Random::new(6);
    for k in (0..=96).step_by(8) {
        let size = f32::from(2u8).powi(k);
        for case in 0..120 {
            let y = beside(&mut random, size, case);
            let len = y.len();
            let lengths = lengths(&mut random, len);
            let equal = vec![1.0; len];
            for s in [&lengths, &equal] {
                let x = project(&Simplex::new(1.0), &y, s, &y);
                let sum: f64 = x.iter().map(|&x| f64::from(x)).sum();
                let inside = x.iter().all(|&x| x >= 0.0) && (sum - 1.0).abs() < 1e-6;
                assert!(inside, "{x:?} for {y:?}, lengths {s:?}");
            }
            // What f64 holds in full shows whether the point is the right one, too.
            if k <= 48 {
                let x = project(&Simplex::new(1.0), &y, &equal, &y);
                let y: Vec<f64> = y.iter().map(|&y| y.into()).collect();
                let exact = project(&Simplex::new(1.0), &y, &vec![1.0; len], &y);
                let near = |(&x, exact): (&f32, &f64)| (f64::from(x) - exact).abs() < 1e-6;
                assert!(x.iter().zip(&exact).all(near), "{x:?} for {y:?}");
            }
        }
    }
}

/// By powers of two, which round nothing: so every bit is the same.
#[test]
fn a_simplex_is_scaled_with_its_coordinates_and_not_with_their_lengths() {
    let (mut random, two) = (Random::new(7), f32::from(2u8));
    for k in (0..=96).step_by(8) {
        for case in 0..120 {
            let y = beside(&mut random, two.powi(k), case);
            let lengths = lengths(&mut random, y.len());
            let times = |xs: &[f32], scale| xs.iter().map(|x| x * scale).collect::<Vec<f32>>();
            let scaled = |scale: f32, shorter: f32| {
                let (simplex, y) = (Simplex::new(scale.into()), times(&y, scale));
                let x = project(&simplex, &y, &times(&lengths, shorter), &y);
                times(&x, 1.0 / scale)
            };
            let x = scaled(1.0, 1.0);
            for (scale, shorter) in [(two.powi(-80), 1.0), (two.powi(112 - k), 1.0), (1.0, 0.125)] {
                assert_eq!(x, scaled(scale, shorter), "{scale} times {y:?}");
            }
        }
    }
}

/// Every round finds out about one coordinate more that it is 0, and only the last knows them all.
#[test]
fn a_simplex_is_exact_after_its_last_round() {
    let mut y = vec![0.5f64, 0.25, 0.0];
    y.extend((1..=8).map(|k| -f64::from(16u8).powi(k)));
    let x = project(&Simplex::new(1.0), &y, &[1.0; 11], &y);
    let shift = 0.25 / 3.0;
    let wanted = [0.5 + shift, 0.25 + shift, shift];
    assert!(
        x[..3]
            .iter()
            .zip(wanted)
            .all(|(x, wanted)| (x - wanted).abs() < 1e-12),
        "{x:?}"
    );
    assert_eq!(x[3..], [0.0; 8]);
}

#[test]
fn the_largest_coordinates_share_a_simplex() {
    let large = 1e10f32;
    let below = large.next_down();
    for (y, wanted) in [
        ([large, 0.0, -large, 1.0], [1.0, 0.0, 0.0, 0.0]),
        ([large, large, below, 0.0], [0.5, 0.5, 0.0, 0.0]),
        ([large, large, large, large], [0.25; 4]),
        ([-large, -below, -large, -large], [0.0, 1.0, 0.0, 0.0]),
        ([-large, -large, -large, -large], [0.25; 4]),
    ] {
        let x = project(&Simplex::new(1.0), &y, &[1.0; 4], &y);
        assert_eq!(x, wanted, "{y:?}");
    }
}

/// With a narrow metric it matters which one: the nearest point in the ordinary sense is another.
#[test]
fn the_metric_matters() {
    let (y, s) = ([2.0f64, 2.0], [0.01, 1.0]);
    let (own, even) = (
        project(&Ball::new(1.0), &y, &s, &y),
        project(&Ball::new(1.0), &y, &[1.0; 2], &y),
    );
    assert!((even[0] - even[1]).abs() < 1e-15);
    assert!(
        own[0] > 0.99 && own[1] < 0.1,
        "the lane that hardly moved is hardly moved back: {own:?}"
    );
}

/// Through AdaRem: the lengths are lr a, and theta never leaves.
#[test]
fn adarem_steps_stay_in_their_region() {
    fn run<F: Region>(region: F, inside: impl Fn(&[f32]) -> bool) {
        let rule = Projected {
            rule: AdaRem {
                lr: 0.5,
                ..AdaRem::default()
            },
            region,
        };
        rule.check().unwrap();
        let mut random = Random::new(4);
        let mut walk = Walk::new(&rule, vec![0.25f32; 4]);
        for _ in 0..200 {
            let grad: Vec<f32> = (0..4)
                .map(|_| uniform(&mut random, -1.0, 1.0) as f32)
                .collect();
            walk.step(&rule, &grad);
            assert!(inside(&walk.theta), "{:?}", walk.theta);
        }
    }
    let norm = |x: &[f32]| {
        x.iter()
            .map(|&x| f64::from(x) * f64::from(x))
            .sum::<f64>()
            .sqrt()
    };
    let sum = |x: &[f32]| x.iter().map(|&x| f64::from(x)).sum::<f64>();
    run(
        Interval {
            low: -0.5,
            high: 0.25,
        },
        |x| x.iter().all(|x| (-0.5..=0.25).contains(x)),
    );
    run(Ball::new(0.6), |x| norm(x) <= 0.6 * (1.0 + 3e-7));
    run(HalfSpace::new(1.0), |x| {
        // A sum of four, rounded in f32.
        sum(x) <= 1.0 + 4e-7 * x.iter().map(|x| f64::from(x.abs())).sum::<f64>()
    });
    run(Simplex::new(1.0), |x| {
        x.iter().all(|&x| x >= 0.0) && (sum(x) - 1.0).abs() < 1e-6
    });
}

#[test]
fn projections_of_zeros_and_degenerate_data_are_finite() {
    assert_eq!(
        project(&Ball::new(1.0), &[0.0; 3], &[1.0; 3], &[0.0; 3]),
        [0.0; 3]
    );
    assert_eq!(
        project(&HalfSpace::new(-1.0), &[0.5; 2], &[1.0; 2], &[0.0; 2]),
        [0.5; 2]
    );
    // A length of 0 fixes its lane.
    assert_eq!(
        project(&HalfSpace::new(0.0), &[1.0, 1.0], &[0.0, 1.0], &[1.0; 2]),
        [1.0, -1.0]
    );
    assert_eq!(
        project(
            &Interval::default(),
            &[f64::INFINITY, -5.0],
            &[1.0; 2],
            &[0.0; 2]
        ),
        [1.0, -1.0]
    );
    assert!(project(&Interval::default(), &[f64::NAN], &[1.0], &[0.0])[0].is_nan());
    assert!(project::<f64>(&Ball::default(), &[], &[], &[]).is_empty());
}

/// AdaRem at a rate of 0: a theta inside stays, and one outside is cut off or scaled where the region does so.
#[test]
fn a_rate_of_0_stays_in_its_region() {
    fn rest<F: Region>(region: F, cases: [([f64; 2], [f64; 2]); 2]) {
        let rule = AdaRem {
            lr: 0.0,
            ..AdaRem::default()
        };
        let rule = Projected { rule, region };
        for (start, end) in cases {
            let mut walk = Walk::new(&rule, start.to_vec());
            for grad in [[1.0, -1.0], [-3.0, f64::MAX], [f64::MAX, 2.0]] {
                walk.step(&rule, &grad);
                assert_eq!(all_bits(&walk.theta), all_bits(&end), "from {start:?}");
                let lengths = Projected::<AdaRem, F>::LENGTHS.unwrap();
                assert_eq!(walk.slots[lengths], [0.0; 2]);
            }
        }
    }
    let inside = |x| (x, x);
    let low = 0.25;
    rest(
        Interval { low, high: 1.0 },
        [inside([0.25, 0.5]), ([-8.0, 2.0], [0.25, 1.0])],
    );
    rest(
        Ball::new(5.0),
        [inside([1.5, -0.0]), ([6.0, -8.0], [3.0, -4.0])],
    );
    rest(
        Simplex::new(1.0),
        [inside([0.25, 0.75]), ([-1.0, 4.0], [0.0, 1.0])],
    );
    rest(
        HalfSpace::new(1.0),
        [inside([0.25, -3.0]), inside([2.0, 3.0])],
    );
}

/// Without lengths all are equal, so the nearest point is that of the ordinary sense.
#[test]
fn without_lengths_all_are_equal() {
    fn check(region: impl Region) {
        let (y, normal) = ([3.0f64, -4.0, 0.5], [1.0, -2.0, 0.25]);
        let even = project(&region, &y, &[1.0; 3], &normal);
        let (mut x, mut own) = (y, normal);
        let mut host = Host::new(&mut x, &[0.0; 3], [&mut own], &mut []).unwrap();
        region.project(None, 0, &mut host);
        assert!(even != y && x.iter().zip(&even).all(|(a, b)| (a - b).abs() < 1e-15));
    }
    check(Ball::new(1.0));
    check(HalfSpace::new(1.0));
    check(Simplex::new(1.0));
    check(Interval::default());
}

#[test]
fn nothing_is_scaled_onto_a_sphere_where_there_is_nothing_to_scale_by() {
    assert_eq!(onto_sphere(2.0, 8.0), 0.25);
    for (radius, norm) in [
        (1.0, 0.0),
        (0.0, 1.0),
        (0.0, 0.0),
        (1.0, f64::INFINITY),
        // Too small a norm to divide by.
        (1e300, 1e-300),
    ] {
        assert_eq!(onto_sphere(radius, norm), 1.0, "{radius} / {norm}");
    }
    assert!(onto_sphere(1.0, f64::NAN).is_nan() && onto_sphere(f64::NAN, 1.0).is_nan());
}

#[test]
fn a_projected_rule_keeps_its_own_state_then_the_lengths_then_that_of_the_region() {
    let measured = Projected::<AdaRem, HalfSpace>::default();
    let slots = [0, 1, 2].map(|k| measured.slot(k));
    let normal = Slot {
        name: "normal",
        start: 1.0,
    };
    assert_eq!(
        slots,
        [AdaRem::default().slot(0), Slot::zero("length"), normal]
    );
    assert_eq!(Projected::<AdaRem, HalfSpace>::SLOTS, 3);
    for k in 0..AdaRem::CARRIED {
        assert_eq!(measured.carried(k), AdaRem::default().carried(k));
    }
    assert_eq!(Projected::<Sgd, HalfSpace>::SLOTS, 1);
    assert_eq!(Projected::<Sgd, HalfSpace>::default().slot(0), normal);
    assert_eq!(Projected::<AdaRem, Ball>::SLOTS, 2);
}

/// Not measured, so there are no lengths between its state and the region's.
#[test]
fn a_rule_that_does_not_measure_is_projected_as_if_all_lengths_were_equal() {
    let rule = Projected {
        rule: Sgd {
            lr: 1.0,
            ..Sgd::default()
        },
        region: HalfSpace::new(1.0),
    };
    let mut walk = Walk::new(&rule, vec![0.0f64, 0.0]);
    walk.step(&rule, &[-4.0, -2.0]);
    assert_eq!(walk.theta, [1.5, -0.5]);
}

#[test]
fn regions_are_tuned_by_name() {
    fn set<F: Region + Default + Clone + PartialEq + std::fmt::Debug>(
        values: [(&str, f64); 2],
        wanted: F,
    ) {
        let mut rule = Projected::<AdaRem, F>::default();
        for (name, value) in values {
            assert!(rule.set(name, value), "{name}");
            assert_eq!(rule.get(name), Some(value));
        }
        assert_eq!(rule.region, wanted);
        assert!(rule.set("lambda", 0.5));
        assert_eq!(rule.rule.lambda, 0.5);
    }
    let scope = Scope::Group;
    let (low, high) = (-3.0, 2.0);
    set([("low", low), ("high", high)], Interval { low, high });
    set(
        [("ball_radius", 2.0), ("ball_scope", 1.0)],
        Ball { radius: 2.0, scope },
    );
    set(
        [("bound", 2.0), ("half_space_scope", 1.0)],
        HalfSpace { bound: 2.0, scope },
    );
    set(
        [("simplex_sum", 2.0), ("simplex_scope", 1.0)],
        Simplex { sum: 2.0, scope },
    );
}

/// Accepts its third step alone.
#[derive(Clone, Copy)]
struct ThirdStep;

impl Rule for ThirdStep {
    const NAME: &'static str = "third_step";
    const SLOTS: usize = 0;
    const CARRIED: usize = 0;

    fn check(&self) -> Result<(), Invalid> {
        self.check_at(0)
    }

    fn check_at(&self, t: u64) -> Result<(), Invalid> {
        Sgd {
            lr: if t == 2 { 1.0 } else { -1.0 },
            ..Sgd::default()
        }
        .check()
    }

    fn step<E: Engine>(&self, _: u64, _: &mut E) {}
}

#[test]
fn a_projected_rule_is_checked_at_its_step() {
    let (rule, region) = (ThirdStep, Ball::new(1.0));
    let projected = Projected { rule, region };
    assert_eq!(projected.check().unwrap_err().name, "lr");
    assert_eq!(projected.check_at(1).unwrap_err().name, "lr");
    assert_eq!(projected.check_at(2), Ok(()));
    let region = Ball::new(-1.0);
    let refused = Projected { rule, region }.check_at(2).unwrap_err();
    assert_eq!(refused.name, "radius");
}

#[test]
fn regions_are_refused_by_name_and_value() {
    let refused =
        |region: &dyn Fn() -> Result<(), adarem::Invalid>| region().unwrap_err().to_string();
    assert_eq!(
        refused(&|| Interval {
            low: 1.0,
            high: 0.0
        }
        .check()),
        "high must be at least low, got 0"
    );
    assert_eq!(
        refused(&|| Interval {
            low: f64::NAN,
            high: 0.0
        }
        .check()),
        "low must be a number, got NaN"
    );
    assert_eq!(
        refused(&|| Ball::new(0.0).check()),
        "radius must be positive and finite, got 0"
    );
    assert_eq!(
        refused(&|| HalfSpace::new(f64::INFINITY).check()),
        "bound must be finite, got inf"
    );
    assert_eq!(
        refused(&|| Simplex::new(-1.0).check()),
        "sum must be positive and finite, got -1"
    );
    let bad = Projected {
        rule: Sgd {
            lr: -1.0,
            ..Sgd::default()
        },
        region: Ball {
            radius: 1.0,
            scope: Scope::Group,
        },
    };
    assert_eq!(bad.check().unwrap_err().name, "lr");
}
