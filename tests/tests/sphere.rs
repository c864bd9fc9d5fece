//! Training on the sphere is training off it (S1 to S9): AdaRem-S, the sphere around any rule, the radius tracker and the
//! exponential rate, on a loss that does not depend on the scale of theta.

mod walk;

use adarem::{AdaRem, AdaRemS, Rule, Sgd, SgdM};
use adarem_adapters::schedule::{Cosine, LiArora, Schedule};
use adarem_adapters::{RadiusTracker, Scheduled, Sphere, Tangent, Units};
use adarem_conformance::Random;
use walk::{Walk, all_bits};

const DIM: usize = 7;
type Vector = [f64; DIM];

/// Steps of a comparison.
const STEPS: u64 = 2000;

/// How far directions may lie apart in f64 after all steps, as the specification asks. Measured: 1.3e-14 at worst.
const EXACT: f64 = 1e-12;

/// The same of walks in f32, where every step rounds theta and alpha. Measured: 4.0e-6 at worst, of five
/// losses; eight times that.
const EXACT_F32: f64 = 3.2e-5;

/// A loss of the direction u alone: u'A u + <c, u>, with noise in A and c that the step chooses.
struct Loss {
    a: [Vector; DIM],
    c: Vector,
}

impl Loss {
    fn new(random: &mut Random) -> Self {
        let b: [Vector; DIM] = [(); DIM].map(|()| vector(random));
        let a = std::array::from_fn(|i| std::array::from_fn(|j| dot(&b[i], &b[j])));
        Loss {
            a,
            c: vector(random),
        }
    }

    /// The gradient at theta, of minibatch `noise`.
    fn grad(&self, theta: &[f64], noise: f64) -> Vector {
        let n = norm(theta);
        let u: Vector = std::array::from_fn(|i| theta[i] / n);
        let h: Vector = std::array::from_fn(|i| {
            let jitter = 0.3 * noise * (i as f64 + noise).sin() * u[i];
            2.0 * (dot(&self.a[i], &u) + jitter) + self.c[i] * (1.0 + 0.1 * noise)
        });
        let along = dot(&u, &h);
        std::array::from_fn(|i| (h[i] - u[i] * along) / n)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

fn scaled(x: &[f64], by: f64) -> Vec<f64> {
    x.iter().map(|x| x * by).collect()
}

/// A normal deviate, by Box and Muller.
fn normal(random: &mut Random) -> f64 {
    let mut uniform = || ((random.bits() >> 11) as f64 + 0.5) * (-53f64).exp2();
    (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()
}

fn vector(random: &mut Random) -> Vector {
    [(); DIM].map(|()| normal(random))
}

/// The largest difference of two directions.
fn apart(a: &[f64], b: &[f64]) -> f64 {
    let (na, nb) = (norm(a), norm(b));
    a.iter()
        .zip(b)
        .map(|(a, b)| (a / na - b / nb).abs())
        .fold(0.0, f64::max)
}

/// A loss, a start and the noise of every step.
fn setting(seed: u64) -> (Loss, Vector, Vec<f64>) {
    let mut random = Random::new(seed);
    let loss = Loss::new(&mut random);
    (
        loss,
        vector(&mut random),
        (0..STEPS).map(|_| normal(&mut random)).collect(),
    )
}

/// Walks two rules side by side, each with its own gradients, and returns how far their directions ever parted.
fn parted(
    a: &impl Rule,
    b: &impl Rule,
    from: (&[f64], &[f64]),
    loss: &Loss,
    noise: &[f64],
) -> (f64, Walk<f64>, Walk<f64>) {
    let (mut x, mut y) = (Walk::new(a, from.0.to_vec()), Walk::new(b, from.1.to_vec()));
    let mut worst = 0.0f64;
    for &noise in noise {
        x.step(a, &loss.grad(&x.theta.clone(), noise));
        y.step(b, &loss.grad(&y.theta.clone(), noise));
        worst = worst.max(apart(&x.theta, &y.theta));
    }
    (worst, x, y)
}

const DECAY: f64 = 5e-3;
const RATE: Cosine = Cosine {
    from: 0.1,
    to: 1e-4,
    steps: STEPS,
};

fn plain_sgd() -> Sgd {
    Sgd {
        lr: 0.1,
        weight_decay: DECAY,
        decoupled: true,
    }
}

/// AdaRem-S without resilience: SGD on the sphere.
fn sgd_s(radius: Option<f64>) -> AdaRemS {
    AdaRemS {
        lambda: 0.0,
        weight_decay: DECAY,
        radius,
        ..AdaRemS::default()
    }
}

/// S1.
#[test]
fn the_radius_does_not_drift() {
    let (loss, start, noise) = setting(1);
    let rule = AdaRemS {
        weight_decay: DECAY,
        ..AdaRemS::default()
    };
    let wide = norm(&start);
    let mut walk = Walk::new(&rule, start.to_vec());
    let narrow: Vec<f32> = start.iter().map(|&x| x as f32).collect();
    let mut narrow = Walk::new(&rule, narrow);
    for &noise in &noise {
        walk.step(&rule, &loss.grad(&walk.theta.clone(), noise));
        // Four roundings: of the norm's root and square, of the quotient, and of each product.
        assert!((norm(&walk.theta) / wide - 1.0).abs() < 4.0 * f64::EPSILON);

        let at: Vec<f64> = narrow.theta.iter().map(|&x| x.into()).collect();
        let grad = loss.grad(&at, noise).map(|g| g as f32);
        narrow.step(&rule, &grad);
        let at: Vec<f64> = narrow.theta.iter().map(|&x| x.into()).collect();
        assert!(
            (norm(&at) / f64::from(narrow.carried[AdaRemS::RADIUS]) - 1.0).abs()
                < 4.0 * f64::from(f32::EPSILON)
        );
    }
}

/// S2, on any radius, and the tracked radius is the norm of plain training.
#[test]
fn sgd_on_the_sphere_is_sgd_with_decay_off_it() {
    let plain = Scheduled::new(plain_sgd(), "lr", RATE).unwrap();
    for seed in 0..5 {
        let (loss, start, noise) = setting(seed);
        let sphere = Scheduled::new(sgd_s(None), "lr", RATE).unwrap();
        let (worst, x, y) = parted(&plain, &sphere, (&start, &start), &loss, &noise);
        assert!(worst < EXACT, "parted by {worst:e}");
        let tracked = y.carried[AdaRemS::ALPHA] * y.carried[AdaRemS::RADIUS];
        assert!((tracked / norm(&x.theta) - 1.0).abs() < EXACT);

        for units in [Units::Sphere, Units::Plain] {
            for radius in [None, Some(2.5)] {
                let around = Sphere {
                    units,
                    radius,
                    ..Sphere::new(plain_sgd())
                };
                let around = Scheduled::new(around, "lr", RATE).unwrap();
                let (worst, x, y) = parted(&plain, &around, (&start, &start), &loss, &noise);
                assert!(worst < EXACT, "{units:?}, {radius:?}: parted by {worst:e}");
                let (alpha, radius) = (
                    y.carried[Sphere::<Sgd>::ALPHA],
                    y.carried[Sphere::<Sgd>::RADIUS],
                );
                assert!((alpha * radius / norm(&x.theta) - 1.0).abs() < EXACT);
            }
        }
    }
}

/// S2, where the rate is 0 in the first of five steps: on the sphere as off it nothing moves then, alpha included.
#[test]
fn a_rate_of_0_rests_on_the_sphere_as_off_it() {
    let rate = |t: u64| if t.is_multiple_of(5) { 0.0 } else { RATE.at(t) };
    let plain = Scheduled::new(plain_sgd(), "lr", rate).unwrap();
    for seed in 0..5 {
        let (loss, start, noise) = setting(seed);
        for radius in [None, Some(2.5)] {
            let sphere = Scheduled::new(sgd_s(radius), "lr", rate).unwrap();
            let (worst, x, y) = parted(&plain, &sphere, (&start, &start), &loss, &noise);
            assert!(worst < EXACT, "parted by {worst:e}");
            let tracked = y.carried[AdaRemS::ALPHA] * y.carried[AdaRemS::RADIUS];
            assert!((tracked / norm(&x.theta) - 1.0).abs() < EXACT);

            for units in [Units::Sphere, Units::Plain] {
                let around = Sphere {
                    units,
                    radius,
                    ..Sphere::new(plain_sgd())
                };
                let around = Scheduled::new(around, "lr", rate).unwrap();
                let (worst, ..) = parted(&plain, &around, (&start, &start), &loss, &noise);
                assert!(worst < EXACT, "{units:?}, {radius:?}: parted by {worst:e}");
            }
        }
    }
}

/// S2 in f32.
#[test]
fn sgd_on_the_sphere_is_sgd_with_decay_off_it_in_f32() {
    let (plain, sphere) = (plain_sgd(), sgd_s(None));
    let mut worst = 0.0f64;
    for seed in 0..5 {
        let (loss, start, noise) = setting(seed);
        let narrow: Vec<f32> = start.iter().map(|&x| x as f32).collect();
        let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let (mut x, mut y) = (
            Walk::new(&plain, narrow.clone()),
            Walk::new(&sphere, narrow),
        );
        for &noise in &noise {
            x.step(&plain, &loss.grad(&wide(&x.theta), noise).map(|g| g as f32));
            y.step(
                &sphere,
                &loss.grad(&wide(&y.theta), noise).map(|g| g as f32),
            );
            worst = worst.max(apart(&wide(&x.theta), &wide(&y.theta)));
        }
    }
    assert!(worst < EXACT_F32, "parted by {worst:e}");
    // A tolerance a hundred times too wide would say nothing.
    assert!(
        worst > EXACT_F32 / 100.0,
        "the tolerance is too wide: parted by {worst:e}"
    );
}

/// S3: decay kept (A), decay folded into the rate (B), and the rate that grows.
#[test]
fn three_forms_of_radius_tracking_coincide() {
    for seed in 0..5 {
        let (loss, start, noise) = setting(seed);
        let radius = 2.5;
        let mut a = RadiusTracker::new(norm(&start), radius).unwrap();
        let mut b = a;
        let mut at_a = scaled(&start, radius / norm(&start));
        let (mut at_b, mut growing) = (at_a.clone(), start.to_vec());
        let mut product = 1.0;
        for (t, &noise) in (0..).zip(&noise) {
            let lr = RATE.at(t);
            let keep = 1.0 - lr * DECAY;

            let (g, rate) = (loss.grad(&at_a, noise), a.rate(lr));
            let half: Vector = std::array::from_fn(|i| keep * at_a[i] - rate * g[i]);
            at_a = scaled(&half, a.advance(norm(&half)).unwrap());

            let (g, rate) = (loss.grad(&at_b, noise), b.rate(lr) / keep);
            let half: Vector = std::array::from_fn(|i| at_b[i] - rate * g[i]);
            at_b = scaled(&half, b.advance(norm(&half)).unwrap());
            b.alpha *= keep;

            let g = loss.grad(&growing, noise);
            let next = product / keep;
            (0..DIM).for_each(|i| growing[i] -= lr * product * next * g[i]);
            product = next;

            assert!(apart(&at_a, &at_b) < EXACT && apart(&at_a, &growing) < EXACT);
        }
        assert!((a.alpha / b.alpha - 1.0).abs() < EXACT);
    }
}

/// S3, S4: the exponential rate instead of decay, without and with momentum; there the buffer must begin right.
#[test]
fn an_exponential_rate_replaces_the_decay() {
    for momentum in [0.0, 0.9] {
        let (lr, decay) = (0.05, if momentum == 0.0 { DECAY } else { 1e-2 });
        let rate = LiArora {
            lr,
            weight_decay: decay,
            momentum,
        };
        rate.check().unwrap();
        let (loss, start, noise) = setting(3);
        let decayed = SgdM {
            lr,
            momentum,
            weight_decay: decay,
            ..SgdM::default()
        };
        let growing = Scheduled::new(
            SgdM {
                momentum,
                ..SgdM::default()
            },
            "lr",
            rate,
        )
        .unwrap();

        let walk = |first_buffer: f64| {
            let mut x = Walk::new(&decayed, start.to_vec());
            let mut y = Walk::new(&growing, start.to_vec());
            y.slots[0] = scaled(&start, first_buffer);
            let mut worst = 0.0f64;
            for &noise in &noise[..300] {
                x.step(&decayed, &loss.grad(&x.theta.clone(), noise));
                y.step(&growing, &loss.grad(&y.theta.clone(), noise));
                worst = worst.max(apart(&x.theta, &y.theta));
            }
            let norms = norm(&x.theta) / norm(&y.theta);
            assert!(first_buffer == 0.0 || (norms / rate.root().powi(300) - 1.0).abs() < 1e-10);
            worst
        };
        let worst = walk(rate.first_buffer());
        assert!(worst < EXACT, "momentum {momentum}: parted by {worst:e}");
        let uncorrected = walk(0.0);
        assert!(
            momentum == 0.0 || uncorrected > 1e-3,
            "the buffer's beginning should matter: {uncorrected:e}"
        );
    }
}

/// S5.
#[test]
fn the_radius_is_a_gauge() {
    let (loss, start, noise) = setting(5);
    let from = |radius: f64| scaled(&start, radius / norm(&start));
    let rule = |radius| AdaRemS {
        weight_decay: DECAY,
        radius: Some(radius),
        ..AdaRemS::default()
    };

    // A power of two: the same bits. AdaRem-S takes its first gradient for one on the sphere.
    let (mut x, mut y) = (
        Walk::new(&rule(1.0), start.to_vec()),
        Walk::new(&rule(4.0), start.to_vec()),
    );
    x.step(&rule(1.0), &loss.grad(&from(1.0), 0.0));
    y.step(&rule(4.0), &loss.grad(&scaled(&from(1.0), 4.0), 0.0));
    for &noise in &noise {
        assert_eq!(all_bits(&scaled(&x.theta, 4.0)), all_bits(&y.theta));
        assert_eq!(x.carried[AdaRemS::ALPHA], 4.0 * y.carried[AdaRemS::ALPHA]);
        x.step(&rule(1.0), &loss.grad(&x.theta.clone(), noise));
        y.step(&rule(4.0), &loss.grad(&y.theta.clone(), noise));
    }

    // Any other: the same directions, if plain training begins at the same norm, which alpha holds.
    let (a, b) = (
        Sphere {
            radius: Some(0.7),
            ..sphere_adarem()
        },
        Sphere {
            radius: Some(3.0),
            ..sphere_adarem()
        },
    );
    let (worst, ..) = parted(&a, &b, (&start, &start), &loss, &noise[..500]);
    assert!(worst < EXACT, "parted by {worst:e}");
    let sgd = |radius| Sphere {
        radius: Some(radius),
        ..Sphere::new(plain_sgd())
    };
    let (worst, ..) = parted(&sgd(0.7), &sgd(3.0), (&start, &start), &loss, &noise);
    assert!(worst < EXACT, "parted by {worst:e}");
}

fn sphere_adarem() -> Sphere<AdaRem> {
    Sphere::new(AdaRem {
        weight_decay: DECAY,
        ..AdaRem::default()
    })
}

/// S6: AdaRem-S is AdaRem off the sphere, if that averages its gradients in the units of the sphere.
#[test]
fn adarem_s_is_adarem_with_its_average_in_units_of_the_sphere() {
    let (loss, start, noise) = setting(6);
    let rule = AdaRemS {
        lr: 0.2,
        weight_decay: DECAY,
        ..AdaRemS::default()
    };
    let radius = norm(&start);
    let mut sphere = Walk::new(&rule, start.to_vec());
    let (mut theta, mut m) = (start, [0.0f64; DIM]);
    let mut worst = 0.0f64;
    for &noise in &noise[..500] {
        sphere.step(&rule, &loss.grad(&sphere.theta.clone(), noise));

        let (g, unit) = (loss.grad(&theta, noise), norm(&theta) / radius);
        let largest = m.iter().fold(0.0f64, |acc, m| acc.max(f64::abs(*m)));
        for i in 0..DIM {
            let b = if largest > 0.0 {
                g[i].signum() * m[i] / largest
            } else {
                0.0
            };
            theta[i] = (1.0 - rule.lr * rule.weight_decay) * theta[i]
                - rule.lr * (1.0 + rule.lambda * b) * g[i];
            m[i] = rule.beta * m[i] + (1.0 - rule.beta) * g[i] * unit;
        }
        worst = worst.max(apart(&sphere.theta, &theta));
    }
    assert!(worst < EXACT, "parted by {worst:e}");
}

/// The sphere around AdaRem: in the sphere's units it is AdaRem-S, in those of plain training it is AdaRem, and
/// these two differ.
#[test]
fn the_sphere_around_adarem_is_either() {
    let (loss, start, noise) = setting(7);
    let noise = &noise[..500];
    let adarem = AdaRem {
        lr: 0.2,
        weight_decay: DECAY,
        ..AdaRem::default()
    };
    let adarem_s = AdaRemS {
        lr: 0.2,
        weight_decay: DECAY,
        ..AdaRemS::default()
    };
    let from = (&start[..], &start[..]);

    let (worst, ..) = parted(&adarem_s, &Sphere::new(adarem), from, &loss, noise);
    assert!(worst < EXACT, "parted by {worst:e}");
    let plain = Sphere {
        units: Units::Plain,
        ..Sphere::new(adarem)
    };
    let (worst, ..) = parted(&adarem, &plain, from, &loss, noise);
    assert!(worst < EXACT, "parted by {worst:e}");
    let (apart, ..) = parted(&adarem, &adarem_s, from, &loss, noise);
    assert!(
        apart > 1e-4,
        "AdaRem-S should differ from AdaRem off the sphere: {apart:e}"
    );

    // With moments too, the plain units are those of the rule off the sphere, in every dialect of decay.
    let sgdm = SgdM {
        lr: 0.05,
        weight_decay: 0.01,
        ..SgdM::default()
    };
    let plain = Sphere {
        units: Units::Plain,
        ..Sphere::new(sgdm)
    };
    let (worst, ..) = parted(&sgdm, &plain, from, &loss, noise);
    assert!(worst < EXACT, "parted by {worst:e}");
}

/// A tangent changes nothing where the loss does not depend on the scale, and takes away what does.
#[test]
fn the_tangent_takes_away_the_radial_part() {
    let (loss, start, noise) = setting(8);
    let tangent = Tangent {
        rule: plain_sgd(),
        ..Tangent::default()
    };
    let (worst, ..) = parted(
        &Sphere::new(plain_sgd()),
        &Sphere::new(tangent),
        (&start, &start),
        &loss,
        &noise[..500],
    );
    assert!(worst < EXACT, "parted by {worst:e}");

    let (mut x, mut y) = (
        Walk::new(&tangent, start.to_vec()),
        Walk::new(&tangent, start.to_vec()),
    );
    let g = loss.grad(&start, 0.0);
    let radial: Vector = std::array::from_fn(|i| g[i] + 0.3 * start[i]);
    x.step(&tangent, &g);
    y.step(&tangent, &radial);
    assert!(
        x.theta
            .iter()
            .zip(&y.theta)
            .all(|(a, b): (&f64, &f64)| (a - b).abs() < 1e-14)
    );
}

/// S7: perpendicular steps only ever lead outwards.
#[test]
fn without_decay_alpha_never_falls() {
    let (loss, start, noise) = setting(9);
    let rule = AdaRemS {
        lambda: 0.0,
        ..AdaRemS::default()
    };
    let radius = norm(&start);
    let mut walk = Walk::new(&rule, start.to_vec());
    let mut alpha = 1.0;
    for &noise in &noise {
        let g = loss.grad(&walk.theta, noise);
        let rate = rule.lr / (alpha * alpha);
        walk.step(&rule, &g);
        let next = walk.carried[AdaRemS::ALPHA];
        let half = (radius * radius + rate * rate * dot(&g, &g)).sqrt();
        assert!(next >= alpha * (1.0 - 4.0 * f64::EPSILON));
        assert!((next / (alpha * half / radius) - 1.0).abs() < 1e-14);
        alpha = next;
    }
}

/// S8: with noise alone, every step turns theta by sqrt(2 lr decay).
#[test]
fn the_angle_of_a_step_finds_its_equilibrium() {
    const WIDE: usize = 500;
    let (lr, decay) = (0.1, 1e-2);
    let rule = AdaRemS {
        lr,
        lambda: 0.0,
        weight_decay: decay,
        ..AdaRemS::default()
    };
    let mut random = Random::new(10);
    let mut walk = Walk::new(&rule, (0..WIDE).map(|_| normal(&mut random)).collect());
    let (mut squares, mut count) = (0.0, 0);
    for t in 0..8000 {
        let n = norm(&walk.theta);
        let z: Vec<f64> = (0..WIDE).map(|_| normal(&mut random)).collect();
        let along = dot(&z, &walk.theta) / (n * n);
        let grad: Vec<f64> = z
            .iter()
            .zip(&walk.theta)
            .map(|(z, x)| (z - x * along) / n)
            .collect();
        let before = walk.theta.clone();
        walk.step(&rule, &grad);
        if t >= 5000 {
            let cosine = dot(&before, &walk.theta) / (n * norm(&walk.theta));
            squares += cosine.min(1.0).acos().powi(2);
            count += 1;
        }
    }
    let (measured, law) = (
        (squares / f64::from(count)).sqrt(),
        (2.0 * lr * decay).sqrt(),
    );
    assert!(
        (measured / law - 1.0).abs() < 0.02,
        "{measured} instead of {law}"
    );
}

/// S9: the decay with the sphere's rate, as the paper's formula literally reads, is another method. Guards S2 against
/// a tolerance that lets everything pass.
#[test]
fn decay_with_the_rate_of_the_sphere_is_not_plain_training() {
    let (loss, start, noise) = setting(11);
    let plain = plain_sgd();
    let mut off = Walk::new(&plain, start.to_vec());
    let mut tracker = RadiusTracker::new(norm(&start), norm(&start)).unwrap();
    let mut on = start.to_vec();
    let mut worst = 0.0f64;
    for &noise in &noise {
        off.step(&plain, &loss.grad(&off.theta.clone(), noise));
        let (g, rate) = (loss.grad(&on, noise), tracker.rate(plain.lr));
        let half: Vector = std::array::from_fn(|i| (1.0 - rate * DECAY) * on[i] - rate * g[i]);
        on = scaled(&half, tracker.advance(norm(&half)).unwrap());
        worst = worst.max(apart(&on, &off.theta));
    }
    assert!(
        worst > 1e-3,
        "the literal form should not pass for plain training: {worst:e}"
    );
}

#[test]
fn a_sphere_begins_late_where_there_is_no_norm_yet() {
    for radius in [None, Some(2.0)] {
        let rule = Sphere {
            radius,
            ..Sphere::new(Sgd {
                lr: 1.0,
                ..Sgd::default()
            })
        };
        let mut walk = Walk::new(&rule, vec![0.0f64; 2]);
        walk.step(&rule, &[0.0, 0.0]);
        assert_eq!(walk.theta, [0.0, 0.0]);
        walk.step(&rule, &[-3.0, -4.0]);
        let want = radius.map_or([3.0, 4.0], |radius| [0.6 * radius, 0.8 * radius]);
        assert!(
            walk.theta
                .iter()
                .zip(want)
                .all(|(x, want)| (x - want).abs() < 1e-15),
            "{:?}",
            walk.theta
        );
        walk.step(&rule, &[1.0, -1.0]);
        assert!((norm(&walk.theta) - norm(&want)).abs() < 1e-14);
    }
}

#[test]
fn a_sphere_refuses_a_radius_that_is_none() {
    for bad in [0.0, -1.0, f64::INFINITY, f64::NAN] {
        let refused = Sphere {
            radius: Some(bad),
            ..Sphere::new(Sgd::default())
        }
        .check()
        .unwrap_err();
        assert_eq!(refused.name, "radius");
        assert_eq!(RadiusTracker::new(1.0, bad).unwrap_err().name, "radius");
        assert_eq!(RadiusTracker::new(bad, 1.0).unwrap_err().name, "norm");
        let mut tracker = RadiusTracker::new(1.0, 1.0).unwrap();
        assert_eq!(tracker.advance(bad).unwrap_err().name, "norm");
        assert_eq!(tracker, RadiusTracker::new(1.0, 1.0).unwrap());
    }
    let mut tracker = RadiusTracker {
        alpha: 1e300,
        radius: 1.0,
    };
    assert_eq!(tracker.advance(1e300).unwrap_err().name, "alpha");
    assert!(RadiusTracker::new(1e-300, 1e300).is_err());
}
