//! Measures over the caller's slices: what they say of plain cases, and what they refuse.

use adarem::{ErrorKind, Rule};
use adarem_adapters::{Oscillation, Q, RegretBound, Scale, probe_scale};
use adarem_conformance::Random;
use proptest::prelude::*;

/// The window `points` of one walk, summed up.
fn q(points: &[Vec<f64>], least: f64) -> Q {
    let len = points[0].len();
    let (mut start, mut last, mut length) = (vec![7.0; len], vec![7.0; len], vec![7.0; len]);
    let mut meter = Oscillation::begin(&points[0], &mut start, &mut last, &mut length).unwrap();
    points[1..]
        .iter()
        .for_each(|theta| meter.record(theta).unwrap());
    meter.finish(least).unwrap()
}

proptest! {
    /// The three summaries are what their words say, by a slower way.
    #[test]
    fn q_is_what_its_words_say(points in (1usize..9).prop_flat_map(|len| {
        prop::collection::vec(prop::collection::vec(-4.0f64..4.0, len), 2..12)
    })) {
        let len = points[0].len();
        let least = 0.5;
        let mut lanes: Vec<(f64, f64)> = (0..len)
            .map(|i| {
                let length = points.windows(2).map(|w| (w[1][i] - w[0][i]).abs()).sum::<f64>();
                (length, (points[points.len() - 1][i] - points[0][i]).abs())
            })
            .filter(|&(_, d)| d > least)
            .collect();
        lanes.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
        let got = q(&points, least);
        prop_assert_eq!((got.moved, got.left_out), (lanes.len(), len - lanes.len()));
        if lanes.is_empty() {
            prop_assert!(got.mean.is_nan() && got.median.is_nan() && got.ratio.is_nan());
            return Ok(());
        }
        let ratios: Vec<f64> = lanes.iter().map(|(l, d)| l / d).collect();
        let middle = ratios.len() / 2;
        let median = if ratios.len() % 2 == 1 { ratios[middle] } else { 0.5 * (ratios[middle - 1] + ratios[middle]) };
        let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
        let ratio = lanes.iter().map(|l| l.0).sum::<f64>() / lanes.iter().map(|l| l.1).sum::<f64>();
        for (got, want) in [(got.mean, mean), (got.median, median), (got.ratio, ratio)] {
            prop_assert!((got - want).abs() < 1e-12 * want && got >= 1.0, "{got} instead of {want}");
        }
    }
}

#[test]
fn q_leaves_out_what_did_not_move_or_is_not_a_number() {
    let got = q(
        &[
            vec![0.0, 0.0, 0.0, 1.0],
            vec![1.0, 5.0, f64::NAN, f64::INFINITY],
            vec![2.0, 0.0, 1.0, 0.0],
        ],
        0.0,
    );
    assert_eq!(
        got,
        Q {
            mean: 1.0,
            median: 1.0,
            ratio: 1.0,
            moved: 1,
            left_out: 3
        }
    );
    let nothing = q(&[vec![], vec![]], 0.0);
    assert!(nothing.mean.is_nan() && nothing.moved == 0 && nothing.left_out == 0);
}

#[test]
fn a_window_begins_anew() {
    let (mut a, mut b, mut c) = ([0.0f32], [0.0], [0.0]);
    let mut meter = Oscillation::begin(&[0.0], &mut a, &mut b, &mut c).unwrap();
    for x in [1.0, -1.0, 1.0] {
        meter.record(&[x]).unwrap();
    }
    assert_eq!(meter.finish(0.0).unwrap().ratio, 5.0);
    meter.restart(&[1.0]).unwrap();
    meter.record(&[3.0]).unwrap();
    assert_eq!(meter.finish(0.0).unwrap().ratio, 1.0);
}

#[test]
fn measures_refuse_other_lengths_and_keep_what_they_have() {
    let (mut a, mut b, mut c, mut short) = ([0.0f32; 2], [0.0f32; 2], [0.0; 2], [0.0f32; 1]);
    let theta = [0.0f32; 2];
    assert_eq!(
        Oscillation::begin(&theta, &mut short, &mut b, &mut c)
            .unwrap_err()
            .what,
        "start"
    );
    assert_eq!(
        Oscillation::begin(&theta, &mut a, &mut short, &mut c)
            .unwrap_err()
            .what,
        "last"
    );
    assert_eq!(
        Oscillation::begin(&theta, &mut a, &mut b, &mut [0.0])
            .unwrap_err()
            .what,
        "length"
    );
    let mut meter = Oscillation::begin(&theta, &mut a, &mut b, &mut c).unwrap();
    meter.record(&[1.0, 1.0]).unwrap();
    let refused = meter.record(&[1.0]).unwrap_err();
    assert_eq!(
        (refused.what, refused.expected, refused.got),
        ("theta", 2, 1)
    );
    assert_eq!(meter.restart(&[1.0; 3]).unwrap_err().got, 3);
    assert_eq!(meter.finish(-1.0).unwrap_err().name, "least");
    assert_eq!(meter.finish(0.0).unwrap().ratio, 1.0);

    let mut memory = [0.0; 2];
    let mut bound = RegretBound::new(&mut memory);
    assert_eq!(
        bound.record(&[1.0f32], &[1.0, 1.0]).unwrap_err().what,
        "lengths"
    );
    assert_eq!(bound.record(&[1.0f32; 2], &[1.0]).unwrap_err().what, "grad");
    assert_eq!(bound.at_diameter(2.0), 0.0);
    bound.record(&[0.0f64, 1.0], &[1.0, 1.0]).unwrap();
    assert_eq!(bound.at_diameter(2.0), f64::INFINITY);
}

/// A layer with a normalization after it: the loss is the squared distance of normalized outputs from a target.
fn normalized(inputs: &[[f64; 3]], theta: &[f64], out: &mut [f64], eps: f64) {
    let n = inputs.len() as f64;
    let z: Vec<f64> = inputs
        .iter()
        .map(|x| x.iter().zip(theta).map(|(x, w)| x * w).sum())
        .collect();
    let mean = z.iter().sum::<f64>() / n;
    let deviation = (z.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / n + eps).sqrt();
    let y: Vec<f64> = z.iter().map(|z| (z - mean) / deviation).collect();
    let pull: Vec<f64> = (0..)
        .zip(&y)
        .map(|(i, y)| 2.0 * (y - f64::from(i % 3)))
        .collect();
    let (average, along) = (
        pull.iter().sum::<f64>() / n,
        pull.iter().zip(&y).map(|(p, y)| p * y).sum::<f64>() / n,
    );
    out.fill(0.0);
    for ((x, y), p) in inputs.iter().zip(&y).zip(&pull) {
        for (out, x) in out.iter_mut().zip(x) {
            *out += (p - average - y * along) / deviation * x;
        }
    }
}

#[test]
fn the_probe_tells_normalized_weights_from_others() {
    let mut random = Random::new(1);
    let inputs: Vec<[f64; 3]> = (0..40)
        .map(|_| [(); 3].map(|()| random.ordinary::<f64>()))
        .collect();
    let theta = [0.3, -0.7, 0.4];
    let (mut grad, mut twice, mut again) = ([0.0; 3], [0.0; 3], [0.0; 3]);
    let probe = |grad: &mut [f64; 3], twice: &mut [f64; 3], again: &mut [f64; 3], eps: f64| {
        normalized(&inputs, &theta, grad, eps);
        probe_scale(&theta, &*grad, twice, again, 1e-3, |x, g| {
            normalized(&inputs, x, g, eps)
        })
        .unwrap()
    };
    assert!(matches!(probe(&mut grad, &mut twice, &mut again, 0.0), Scale::Free(x) if x < 1e-12));
    assert!(matches!(probe(&mut grad, &mut twice, &mut again, 1e-5), Scale::Free(x) if x > 1e-9));
    assert!(matches!(
        probe(&mut grad, &mut twice, &mut again, 1.0),
        Scale::Bound(_)
    ));

    // Perpendicular by chance is not enough: the gradient at 2 theta decides.
    let turned = [0.7, 0.3, 0.0];
    let constant = |_: &[f64], g: &mut [f64]| g.copy_from_slice(&turned);
    let scale = probe_scale(&theta, &turned, &mut twice, &mut again, 1e-3, constant).unwrap();
    assert_eq!(scale, Scale::Bound(1.0));
}

#[test]
fn the_probe_does_not_guess() {
    let (mut twice, mut again) = ([0.0f32; 2], [0.0f32; 2]);
    let mut probe = |theta: &[f32], grad: &[f32], tolerance, answer: f32| {
        probe_scale(theta, grad, &mut twice, &mut again, tolerance, |_, g| {
            g.fill(answer)
        })
    };
    for (theta, grad) in [
        ([0.0, 0.0], [1.0, 0.0]),
        ([1.0, 0.0], [0.0, 0.0]),
        ([1.0, f32::NAN], [0.0, 1.0]),
        ([1.0, 0.0], [0.0, f32::INFINITY]),
    ] {
        assert_eq!(probe(&theta, &grad, 1e-3, 0.0), Ok(Scale::Unknown));
    }
    assert_eq!(
        probe(&[1.0, 0.0], &[0.0, 1.0], 1e-3, f32::NAN),
        Ok(Scale::Unknown)
    );
    assert!(
        matches!(probe(&[1.0; 3], &[1.0; 3], 1e-3, 0.0), Err(ErrorKind::Length(m)) if m.what == "twice")
    );
    assert!(
        matches!(probe(&[1.0; 2], &[1.0; 3], 1e-3, 0.0), Err(ErrorKind::Length(m)) if m.what == "grad")
    );
    assert!(
        matches!(probe(&[1.0; 2], &[1.0; 2], 0.0, 0.0), Err(ErrorKind::Config(i)) if i.name == "tolerance")
    );
}

/// The lengths that the bound is fed with are AdaRem's: in a step of full agreement, lr (1 + lambda).
#[test]
fn adarem_measures_its_steps() {
    use adarem::projection::{Interval, Projected};
    use adarem::{AdaRem, Host};
    type Bounded = Projected<AdaRem, Interval>;
    assert_eq!(Bounded::LENGTHS, Some(AdaRem::SLOTS));
    let rule = Bounded {
        rule: AdaRem {
            lr: 0.5,
            lambda: 0.5,
            ..AdaRem::default()
        },
        ..Bounded::default()
    };
    let (mut theta, mut m, mut lengths, mut carried) = ([0.0f64; 2], [0.0; 2], [0.0; 2], [0.0]);
    for (t, grad) in [[1.0, 0.5], [1.0, -0.5]].into_iter().enumerate() {
        let mut host = Host::new(&mut theta, &grad, [&mut m, &mut lengths], &mut carried).unwrap();
        rule.step(t as u64, &mut host);
    }
    assert_eq!(lengths, [0.75, 0.375]);
}
