//! Schedules: the closed form is the recursion, a resumed run asks for the same numbers, and bad parameters are refused.

use adarem::{AdaRem, Adam, ErrorKind, Invalid, Optimizer, Rprop, Rule, Sgd, SgdM, Tunable};
use adarem_adapters::schedule::*;
use adarem_adapters::{Average, Averaged, ClipNorm, Guarded, Lookahead, NonFinite, Scheduled};
use adarem_conformance::{Interpreter, cases};
use proptest::prelude::*;

/// Compares a closed form with a recursion over 1,000 steps, to a relative 1e-12: roundings of the recursion.
fn is_recursion(schedule: impl Schedule, first: f64, mut next: impl FnMut(u64, f64) -> f64) {
    schedule.check().unwrap();
    let mut value = first;
    for t in 0..1000 {
        let got = schedule.at(t);
        assert!(
            (got - value).abs() <= 1e-12 * value.abs().max(1e-3),
            "step {t}: {got} instead of {value}"
        );
        value = next(t, value);
    }
}

#[test]
fn closed_forms_are_recursions() {
    is_recursion(0.3, 0.3, |_, x| x);
    is_recursion(
        Exponential {
            start: 2.0,
            factor: 0.99,
        },
        2.0,
        |_, x| x * 0.99,
    );
    is_recursion(lambda_per_step(0.999), 0.999, |_, x| x * 0.999);
    is_recursion(lambda_per_epoch(0.999, 0.99, 50), 0.999, |t, x| {
        if (t + 1) % 50 == 0 { x * 0.99 } else { x }
    });
    is_recursion(
        StepDecay {
            start: 1.0,
            factor: 0.1,
            every: 300,
        },
        1.0,
        |t, x| if (t + 1) % 300 == 0 { x * 0.1 } else { x },
    );
    is_recursion(
        MultiStep {
            start: 1.0,
            factor: 0.1,
            milestones: [30, 60, 80],
        },
        1.0,
        |t, x| {
            if [30, 60, 80].contains(&(t + 1)) {
                x * 0.1
            } else {
                x
            }
        },
    );
    is_recursion(
        Linear {
            from: 1.0,
            to: 0.2,
            steps: 400,
        },
        1.0,
        |t, x| if t < 400 { x - 0.8 / 400.0 } else { x },
    );
    // PyTorch's recursion of the cosine.
    let (from, to, steps) = (0.4, 0.01, 999u64);
    let angle = |t: u64| 1.0 + (std::f64::consts::PI * t as f64 / steps as f64).cos();
    is_recursion(Cosine { from, to, steps }, from, |t, x| {
        angle(t + 1) / angle(t) * (x - to) + to
    });
    is_recursion(InverseSqrt { start: 3.0 }, 3.0, |t, x| {
        x * ((t + 1) as f64 / (t + 2) as f64).sqrt()
    });
    is_recursion(
        InversePower {
            start: 3.0,
            power: 2.0,
        },
        3.0,
        |t, x| x * ((t + 1) as f64 / (t + 2) as f64).powi(2),
    );
    is_recursion(
        Polynomial {
            from: 1.0,
            to: 0.0,
            steps: 2000,
            power: 3.0,
        },
        1.0,
        |t, x| x * ((1999 - t) as f64 / (2000 - t) as f64).powi(3),
    );
    is_recursion(
        RangeTest {
            from: 1e-3,
            to: 1.0,
            steps: 999,
            linear: false,
        },
        1e-3,
        |t, x| {
            if t < 999 {
                x * 1000f64.powf(1.0 / 999.0)
            } else {
                x
            }
        },
    );
    is_recursion(
        RangeTest {
            from: 1e-3,
            to: 1.0,
            steps: 999,
            linear: true,
        },
        1e-3,
        |_, x| x + 0.999 / 999.0,
    );

    let mut stage = (10, 10);
    is_recursion(
        Geometric {
            start: 1.0,
            factor: 0.5,
            first: 10,
            growth: 2,
        },
        1.0,
        |_, x| {
            stage.0 -= 1;
            if stage.0 > 0 {
                return x;
            }
            stage = (2 * stage.1, 2 * stage.1);
            x * 0.5
        },
    );
    let (mut into, mut period) = (0u64, 16u64);
    is_recursion(
        WarmRestarts {
            from: 1.0,
            to: 0.1,
            first: 16,
            growth: 3,
        },
        1.0,
        |_, _| {
            into += 1;
            if into == period {
                (into, period) = (0, 3 * period);
            }
            0.1 + 0.45 * (1.0 + (std::f64::consts::PI * into as f64 / period as f64).cos())
        },
    );
    is_recursion(0.4.warmed_up(100), 0.004, |t, x| {
        if t < 99 { x + 0.004 } else { 0.4 }
    });
    is_recursion(
        Noam {
            scale: 2.0,
            width: 64,
            warmup: 50,
        },
        2.0 / 8.0 / 50f64.powf(1.5),
        |t, x| {
            let next = (t + 2) as f64;
            if next <= 50.0 {
                x * next / (next - 1.0)
            } else {
                x * ((next - 1.0) / next).sqrt()
            }
        },
    );
    let rate = LiArora {
        lr: 0.1,
        weight_decay: 1e-3,
        momentum: 0.9,
    };
    is_recursion(rate, 0.1 / rate.root(), |_, x| {
        x / (rate.root() * rate.root())
    });
    // The root solves its equation.
    let root = rate.root();
    assert!((root * root - (1.9 - 1e-4) * root + 0.9).abs() < 1e-15);
}

/// Smith's own formula, with its cycle counted from 1.
#[test]
fn cyclic_rates_are_those_of_the_paper() {
    let (base, max, half) = (1e-3, 6e-3, 50u64);
    type Scale<'a> = &'a dyn Fn(f64, f64) -> f64;
    let modes: [(Cycle, Scale<'_>); 3] = [
        (Cycle::Same, &|_, _| 1.0),
        (Cycle::Halving, &|cycle, _| 0.5f64.powf(cycle - 1.0)),
        (Cycle::Decaying(0.999), &|_, t| 0.999f64.powf(t)),
    ];
    for (mode, scale) in modes {
        let schedule = Cyclic {
            base,
            max,
            half,
            cycle: mode,
        };
        schedule.check().unwrap();
        for t in 0..1000u64 {
            let (at, s) = (t as f64, half as f64);
            let cycle = (1.0 + at / (2.0 * s)).floor();
            let x = (at / s - 2.0 * cycle + 1.0).abs();
            let want = base + (max - base) * (1.0 - x).max(0.0) * scale(cycle, at);
            assert!((schedule.at(t) - want).abs() < 1e-15, "{mode:?}, step {t}");
        }
    }
}

/// The phases of `torch.optim.lr_scheduler.OneCycleLR`: the peak in step 0.3 * 10 - 1, the end in step 9.
#[test]
fn one_cycle_has_the_steps_of_pytorch() {
    let (lr, momentum) = (OneCycle::rate(1.0, 10), OneCycle::momentum(0.95, 0.85, 10));
    // Two steps up, seven down: the ends and the middle of each.
    assert_eq!(
        (lr.at(0), lr.at(2), momentum.at(0), momentum.at(2)),
        (0.04, 1.0, 0.95, 0.85)
    );
    assert!((lr.at(1) - 0.52).abs() < 1e-15 && (momentum.at(1) - 0.9).abs() < 1e-15);
    assert_eq!((lr.at(9), momentum.at(9)), (4e-6, 0.95));
    let want = |t: u64, to: f64, from: f64| {
        to + 0.5 * (from - to) * (1.0 + (std::f64::consts::PI * (t - 2) as f64 / 7.0).cos())
    };
    for t in 2..10 {
        assert!((lr.at(t) - want(t, 4e-6, 1.0)).abs() < 1e-15);
        assert!((momentum.at(t) - want(t, 0.95, 0.85)).abs() < 1e-15);
    }
}

#[test]
fn sequences_begin_where_the_one_before_ended() {
    let lr = Linear {
        from: 1.0,
        to: 0.5,
        steps: 10,
    }
    .then(
        10,
        0.5.then(
            5,
            Cosine {
                from: 0.5,
                to: 0.0,
                steps: 20,
            },
        ),
    );
    lr.check().unwrap();
    assert_eq!(
        [0, 10, 14, 15, 35, 99].map(|t| lr.at(t)),
        [1.0, 0.5, 0.5, 0.5, 0.0, 0.0]
    );
    // Without steps there is no first.
    assert_eq!(7.0.then(0, 3.0).at(0), 3.0);
    assert_eq!(7.0.warmed_up(0).at(0), 7.0);
}

/// Far beyond the range of f32, and of f64, the rate of Li and Arora is a number in its logarithm.
#[test]
fn the_exponential_rate_is_never_materialised_beyond_range() {
    let rate = LiArora {
        lr: 0.4,
        weight_decay: 1e-4,
        momentum: 0.0,
    };
    for largest in [f64::from(f32::MAX), f64::MAX, 1.0] {
        let last = rate.last_below(largest);
        assert!(rate.at(last) <= largest && rate.ln_at(last + 1) > largest.ln());
    }
    assert!(rate.ln_at(1 << 40).is_finite() && rate.at(1 << 40) == f64::INFINITY);
    assert_eq!(
        LiArora {
            weight_decay: 0.0,
            ..rate
        }
        .last_below(1.0),
        u64::MAX
    );
    assert_eq!(rate.last_below(0.1), 0);

    // A rule refuses such a rate by name, and nothing is changed.
    let rule = Scheduled::new(Sgd::default(), "lr", rate).unwrap();
    let refused = rule.check_at(10_000_000).unwrap_err();
    assert_eq!((refused.name, refused.value), ("lr", f64::INFINITY));
}

/// Found by fuzzing: a power that grew to infinity made NaN of a rate of 0.
#[test]
fn growth_of_zero_stays_zero() {
    let (start, factor) = (0.0, f64::MAX);
    let (every, first, growth) = (1, 1, 2);
    let milestones = [1, 2];
    let growing: [&dyn Schedule; 4] = [
        &Exponential { start, factor },
        &StepDecay {
            start,
            factor,
            every,
        },
        &MultiStep {
            start,
            factor,
            milestones,
        },
        &Geometric {
            start,
            factor,
            first,
            growth,
        },
    ];
    for schedule in growing {
        schedule.check().unwrap();
        assert_eq!([0, 5, u64::MAX].map(|t| schedule.at(t)), [0.0; 3]);
    }
    // And a cycle without height stays at its base.
    let flat = Cyclic {
        base: 0.5,
        max: 0.5,
        half: 10,
        cycle: Cycle::Decaying(factor),
    };
    assert_eq!([0, 5, u64::MAX].map(|t| flat.at(t)), [0.5; 3]);
}

#[test]
fn a_plateau_lets_the_rate_fall_and_is_saved_as_a_value() {
    let losses = [
        5.0,
        4.0,
        4.0,
        4.0,
        3.9,
        f64::NAN,
        4.0,
        4.0,
        4.0,
        4.0,
        4.0,
        3.0,
        3.0,
        3.0,
    ];
    let start = Plateau {
        factor: 0.5,
        patience: 2,
        cooldown: 1,
        least: 0.3,
        ..Plateau::new(1.0)
    };
    start.check().unwrap();
    let mut whole = start;
    let rates = losses.map(|loss| whole.observe(loss));
    assert_eq!(
        rates,
        [
            1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5
        ]
    );

    let mut resumed = start;
    losses[..6].iter().for_each(|&loss| {
        resumed.observe(loss);
    });
    let mut resumed: Plateau = resumed;
    losses[6..].iter().for_each(|&loss| {
        resumed.observe(loss);
    });
    assert_eq!(resumed, whole);

    // A negative loss must be improved on, too, and the least rate is a floor.
    let mut lr = Plateau {
        factor: 0.5,
        patience: 0,
        least: 0.3,
        ..Plateau::new(1.0)
    };
    assert_eq!(
        [-1.0, -1.0, -1.0, -1.0].map(|loss| lr.observe(loss)),
        [1.0, 0.5, 0.3, 0.3]
    );
}

#[test]
fn several_hyper_parameters_follow_their_schedules_at_once() {
    let rule = Scheduled::new(SgdM::default(), "lr", OneCycle::rate(1.0, 100)).unwrap();
    let rule = Scheduled::new(rule, "momentum", OneCycle::momentum(0.95, 0.85, 100)).unwrap();
    let rule = Scheduled::new(rule, "weight_decay", |t: u64| 1e-3 * t as f64).unwrap();
    let at = |t| {
        rule.rule_at(t)
            .and_then(|rule| rule.rule_at(t))
            .and_then(|rule| rule.rule_at(t))
            .unwrap()
    };
    assert_eq!(
        at(29),
        SgdM {
            lr: 1.0,
            momentum: 0.85,
            weight_decay: 0.029,
            ..SgdM::default()
        }
    );
}

/// A scheduled run is the run of rules changed by hand; cut and resumed, it is the same run.
#[test]
fn a_scheduled_run_resumes_from_its_step_alone() {
    let schedule = Cosine {
        from: 0.4,
        to: 0.01,
        steps: 20,
    };
    let rule = Scheduled::new(AdaRem::default(), "lr", schedule).unwrap();
    let mut backend = Interpreter::<f32>::default();
    let mut theta = [[1.0f32, -2.0]; 3];
    let gradient = |theta: &[f32; 2]| theta.map(|x| x + 0.1);

    let open = || Optimizer::new(rule, &mut Interpreter::<f32>::default(), &[2]).unwrap();
    let (mut whole, mut before, mut after) = (open(), open(), open());
    let by_hand = AdaRem::default();
    let mut by_hand = Optimizer::new(by_hand, &mut backend, &[2]).unwrap();
    for t in 0..20 {
        let grad = gradient(&theta[0]);
        whole
            .step(&mut backend, &mut [&mut theta[0]], &[&grad])
            .unwrap();
        let grad = gradient(&theta[1]);
        by_hand.rule_mut().set("lr", schedule.at(t));
        by_hand
            .step(&mut backend, &mut [&mut theta[1]], &[&grad])
            .unwrap();
        let grad = gradient(&theta[2]);
        if t == 9 {
            let mut bytes = Vec::new();
            before
                .save(&mut backend, |part| bytes.extend_from_slice(part))
                .unwrap();
            after.restore(&mut backend, &bytes).unwrap();
        }
        let resumed = if t < 9 { &mut before } else { &mut after };
        resumed
            .step(&mut backend, &mut [&mut theta[2]], &[&grad])
            .unwrap();
    }
    assert_eq!(theta[0], theta[1]);
    assert_eq!(theta[0], theta[2]);
}

#[test]
fn a_step_beyond_the_range_is_refused_and_changes_nothing() {
    let rule = Scheduled::new(
        Sgd::default(),
        "lr",
        Linear {
            from: 0.1,
            to: -0.1,
            steps: 1,
        },
    )
    .unwrap();
    let mut backend = Interpreter::<f32>::default();
    let mut optimizer = Optimizer::new(rule, &mut backend, &[1]).unwrap();
    let mut theta = [1.0f32];
    optimizer
        .step(&mut backend, &mut [&mut theta], &[&[1.0]])
        .unwrap();
    let refused = optimizer
        .step(&mut backend, &mut [&mut theta], &[&[1.0]])
        .unwrap_err();
    assert!(matches!(
        refused,
        ErrorKind::Config(Invalid {
            name: "lr",
            value: -0.1,
            ..
        })
    ));
    assert_eq!((theta, optimizer.steps()), ([0.9], 1));
}

/// Runs to twice the steps of a schedule that warms up from 0 and ends at 0, `falling` of which fall: theta moves in
/// every step but the first and those from the end on, and the state goes on in all.
fn rises_from_0_and_falls_to_it(rule: impl Tunable + Clone, rate: impl Schedule, falling: u64) {
    let warmup = 10;
    let (first, last) = (
        Linear {
            from: 0.0,
            to: rate.at(0),
            steps: warmup,
        },
        warmup + falling,
    );
    let rule = Scheduled::new(rule, "lr", first.then(warmup, rate)).unwrap();
    let mut backend = Interpreter::<f32>::default();
    let mut optimizer = Optimizer::new(&rule, &mut backend, &[4]).unwrap();
    let mut theta = [1.0f32, -2.0, 0.5, -0.0];
    for t in 0..2 * last {
        let (before, state) = (theta, optimizer.slot(0).map(<[f32]>::to_vec));
        let grad = [0.5, -1.0, 0.25, -3.0].map(|g: f32| g * (1.0 + t as f32 / 64.0));
        optimizer
            .step(&mut backend, &mut [&mut theta], &[&grad])
            .unwrap();
        let moves = t != 0 && t < last;
        for (x, was) in theta.iter().zip(before) {
            assert_eq!(
                x.to_bits() != was.to_bits(),
                moves,
                "{was} became {x} in step {t}"
            );
        }
        let goes_on = optimizer.slot(0) != state.as_deref();
        assert!(goes_on || state.is_none(), "the state stays in step {t}");
    }
}

#[test]
fn a_rate_may_rise_from_0_and_end_at_0() {
    let steps = 40;
    let cosine = Cosine {
        from: 0.25,
        to: 0.0,
        steps,
    };
    let linear = Linear {
        from: 0.25,
        to: 0.0,
        steps,
    };
    let polynomial = Polynomial {
        from: 0.25,
        to: 0.0,
        steps,
        power: 2.0,
    };
    rises_from_0_and_falls_to_it(AdaRem::default(), cosine, steps);
    rises_from_0_and_falls_to_it(AdaRem::default(), linear, steps);
    rises_from_0_and_falls_to_it(AdaRem::default(), polynomial, steps);
    rises_from_0_and_falls_to_it(Sgd::default(), cosine, steps);
    rises_from_0_and_falls_to_it(Sgd::default(), linear, steps);
    rises_from_0_and_falls_to_it(Sgd::default(), polynomial, steps);
    rises_from_0_and_falls_to_it(Adam::default(), cosine, steps);
    rises_from_0_and_falls_to_it(Adam::default(), linear, steps);
    rises_from_0_and_falls_to_it(Adam::default(), polynomial, steps);
}

/// Inside wrappers and around them; but not where the rate is the length of a first step.
#[test]
fn a_rate_that_ends_at_0_is_accepted_past_its_end() {
    let rate = Cosine {
        from: 0.25,
        to: 0.0,
        steps: 3,
    };
    let inside = Scheduled::new(AdaRem::default(), "lr", rate).unwrap();
    let inside = Averaged::new(ClipNorm::global(inside, 1.0), Average::Uniform);
    let inside = Guarded::new(Lookahead::new(inside), NonFinite::Skip);
    let around = Averaged::new(ClipNorm::global(AdaRem::default(), 1.0), Average::Uniform);
    let around = Guarded::new(Lookahead::new(around), NonFinite::Skip);
    let around = Scheduled::new(around, "lr", rate).unwrap();
    for t in [0, 2, 3, 1_000_000] {
        assert_eq!((inside.check_at(t), around.check_at(t)), (Ok(()), Ok(())));
    }
    let length = Scheduled::new(Rprop::default(), "lr", rate).unwrap();
    assert_eq!(
        length.check_at(3).unwrap_err().to_string(),
        "lr must be positive and finite, the length of the first steps, got 0"
    );
}

#[test]
fn bad_parameters_are_refused_by_name_and_value() {
    let nan = f64::NAN;
    let cases: [(&str, Result<(), Invalid>); 32] = [
        ("value", nan.check()),
        ("start", InverseSqrt { start: nan }.check()),
        (
            "power",
            InversePower {
                start: 1.0,
                power: 0.0,
            }
            .check(),
        ),
        (
            "from",
            Linear {
                from: f64::INFINITY,
                to: 0.0,
                steps: 1,
            }
            .check(),
        ),
        (
            "to",
            Linear {
                from: 1.0,
                to: nan,
                steps: 1,
            }
            .check(),
        ),
        (
            "steps",
            Linear {
                from: 1.0,
                to: 0.0,
                steps: 0,
            }
            .check(),
        ),
        (
            "steps",
            Cosine {
                from: 1.0,
                to: 0.0,
                steps: 0,
            }
            .check(),
        ),
        (
            "power",
            Polynomial {
                from: 1.0,
                to: 0.0,
                steps: 1,
                power: -1.0,
            }
            .check(),
        ),
        (
            "upper",
            Tanh {
                upper: -7.0,
                ..Tanh::new(1.0, 0.0, 10)
            }
            .check(),
        ),
        (
            "lower",
            Tanh {
                lower: nan,
                ..Tanh::new(1.0, 0.0, 10)
            }
            .check(),
        ),
        (
            "factor",
            Exponential {
                start: 1.0,
                factor: 0.0,
            }
            .check(),
        ),
        (
            "factor",
            StepDecay {
                start: 1.0,
                factor: -1.0,
                every: 1,
            }
            .check(),
        ),
        (
            "every",
            StepDecay {
                start: 1.0,
                factor: 0.1,
                every: 0,
            }
            .check(),
        ),
        (
            "factor",
            MultiStep {
                start: 1.0,
                factor: nan,
                milestones: [1],
            }
            .check(),
        ),
        (
            "first",
            Geometric {
                start: 1.0,
                factor: 0.5,
                first: 0,
                growth: 1,
            }
            .check(),
        ),
        (
            "growth",
            Geometric {
                start: 1.0,
                factor: 0.5,
                first: 1,
                growth: 0,
            }
            .check(),
        ),
        (
            "from",
            RangeTest {
                from: 0.0,
                to: 1.0,
                steps: 1,
                linear: false,
            }
            .check(),
        ),
        (
            "to",
            RangeTest {
                from: 1.0,
                to: -1.0,
                steps: 1,
                linear: true,
            }
            .check(),
        ),
        (
            "width",
            Noam {
                scale: 1.0,
                width: 0,
                warmup: 1,
            }
            .check(),
        ),
        (
            "warmup",
            Noam {
                scale: 1.0,
                width: 1,
                warmup: 0,
            }
            .check(),
        ),
        (
            "decay",
            WarmupStableDecay {
                peak: 1.0,
                end: 0.0,
                warmup: 1,
                stable: 1,
                decay: 0,
                shape: Anneal::Linear,
            }
            .check(),
        ),
        (
            "stable",
            WarmupStableDecay {
                peak: 1.0,
                end: 0.0,
                warmup: 1,
                stable: u64::MAX,
                decay: 1,
                shape: Anneal::Linear,
            }
            .check(),
        ),
        (
            "half",
            Cyclic {
                base: 0.0,
                max: 1.0,
                half: 0,
                cycle: Cycle::Same,
            }
            .check(),
        ),
        (
            "cycle",
            Cyclic {
                base: 0.0,
                max: 1.0,
                half: 1,
                cycle: Cycle::Decaying(0.0),
            }
            .check(),
        ),
        (
            "first",
            WarmRestarts {
                from: 1.0,
                to: 0.0,
                first: 0,
                growth: 1,
            }
            .check(),
        ),
        (
            "rise",
            OneCycle {
                rise: 1.5,
                ..OneCycle::rate(1.0, 10)
            }
            .check(),
        ),
        ("steps", OneCycle::rate(1.0, 0).check()),
        (
            "weight_decay",
            LiArora {
                lr: 1.0,
                weight_decay: 0.01,
                momentum: 0.9,
            }
            .check(),
        ),
        (
            "weight_decay",
            LiArora {
                lr: 1.0,
                weight_decay: 1.0,
                momentum: 0.0,
            }
            .check(),
        ),
        (
            "factor",
            Plateau {
                factor: 1.0,
                ..Plateau::new(1.0)
            }
            .check(),
        ),
        ("value", 0.1.then(5, nan).check()),
        ("start", InverseSqrt { start: nan }.warmed_up(5).check()),
    ];
    for (name, result) in cases {
        assert_eq!(result.unwrap_err().name, name);
    }
    let refused = Scheduled::new(AdaRem::default(), "gamma", 0.5).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "gamma must be the name of a hyper-parameter of the rule to follow a schedule, got 0.5"
    );
    assert_eq!(
        Scheduled::new(AdaRem::default(), "lambda", 1.0)
            .unwrap_err()
            .name,
        "lambda"
    );
    assert_eq!(
        Scheduled::new(AdaRem::default(), "lr", nan)
            .unwrap_err()
            .name,
        "value"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// A fuzz target asks for them, too.
    #[test]
    fn schedules_are_total(bytes in cases::bytes()) {
        adarem_conformance::schedules::check(&bytes);
    }
}
