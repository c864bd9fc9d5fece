//! Regions and spheres: no bits make them panic, and from numbers of a sane size the result lies where it
//! must.

use adarem::projection::{Ball, HalfSpace, Interval, Region, Simplex};
use adarem::{AdaRem, AdaRemS, Host, Rule};
use adarem_adapters::Sphere;
use adarem_conformance::cases::numbers;
use adarem_conformance::{Alone, Bytes};

pub(crate) fn run(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let (kind, len) = (bytes.below(6), bytes.below(40));
    let (size, other) = (bytes.number::<f64>(), bytes.number::<f64>());
    let mut numbers = numbers::<f64>(&bytes);
    let y: Vec<f64> = (0..len).map(|_| numbers()).collect();
    let normal: Vec<f64> = (0..len).map(|_| numbers()).collect();
    let sane = |x: &f64| *x == 0.0 || (1e-20..1e20).contains(&x.abs());
    let sane = y.iter().chain(&normal).chain([&size, &other]).all(sane);
    match kind {
        0 => {
            let Some(x) = projected(
                Interval {
                    low: size,
                    high: other,
                },
                &y,
                &normal,
            ) else {
                return;
            };
            for (x, y) in x.iter().zip(&y) {
                let kept = y.is_nan() && x.is_nan();
                assert!(
                    (size..=other).contains(x) || kept,
                    "{y} became {x} in {size}..={other}"
                );
            }
        }
        1 => {
            let Some(x) = projected(Ball::new(size), &y, &normal) else {
                return;
            };
            assert!(
                !sane || norm(&x) <= size * (1.0 + 1e-14),
                "|{x:?}| > {size}"
            );
        }
        2 => {
            let Some(x) = projected(HalfSpace::new(size), &y, &normal) else {
                return;
            };
            if sane && normal.iter().all(|n| *n == 0.0) {
                assert_eq!(x, y, "a normal of zeros bounds nothing");
                return;
            }
            // What the terms of the products can lose.
            let terms = |x: &[f64]| {
                x.iter()
                    .zip(&normal)
                    .map(|(x, n)| (x * n).abs())
                    .sum::<f64>()
            };
            let dot: f64 = x.iter().zip(&normal).map(|(x, n)| x * n).sum();
            let room = 1e-13 * (terms(&x) + terms(&y) + size.abs());
            assert!(
                !sane || dot <= size + room,
                "{dot:e} > {size:e} of {y:?} along {normal:?}"
            );
        }
        3 => {
            let Some(x) = projected(Simplex::new(size), &y, &normal) else {
                return;
            };
            let sum: f64 = x.iter().sum();
            let near = (sum - size).abs() <= 1e-13 * size && x.iter().all(|x| *x >= 0.0);
            assert!(
                !sane || x.is_empty() || near,
                "{x:?} for {y:?} on the simplex of {size}"
            );
        }
        4 => on_sphere(
            AdaRemS {
                radius: Some(size),
                ..AdaRemS::default()
            },
            size,
            &y,
            &normal,
            sane,
        ),
        _ => {
            let sphere = Sphere {
                radius: Some(size),
                ..Sphere::new(AdaRem::default())
            };
            on_sphere(sphere, size, &y, &normal, sane);
        }
    }
}

/// `y` taken into the region; `None` where its parameters are refused.
fn projected<F: Region>(region: F, y: &[f64], normal: &[f64]) -> Option<Vec<f64>> {
    region.check().ok()?;
    let (mut x, grad, mut own) = (y.to_vec(), vec![0.0; y.len()], normal.to_vec());
    let mut host =
        Host::<f64, 1, 0>::new(&mut x, &grad, [&mut own], &mut []).expect("equal lengths");
    region.project(None, 0, &mut host);
    Some(x)
}

/// One step on a sphere of this radius.
fn on_sphere<R: Rule>(rule: R, radius: f64, y: &[f64], grad: &[f64], sane: bool) {
    if rule.check().is_err() {
        return;
    }
    let mut tensor = Alone::new(&rule, y.to_vec());
    tensor.step(&rule, 0, grad);
    let length = norm(&tensor.theta);
    // A zero stays one; and what moved by as much as it was may have come to nothing.
    if sane && length > 1e-100 {
        let near = (length / radius - 1.0).abs() < 1e-14 * (1.0 + y.len() as f64);
        assert!(near, "|{:?}| is {length:e}, not {radius:e}", tensor.theta);
    }
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}
