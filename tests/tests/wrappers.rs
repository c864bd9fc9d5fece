//! What wrappers add to a rule, and that they add nothing else. (That they do so on every backend, bit for bit, is the kit's
//! to prove.)

mod walk;

use adarem::{
    AdaRem, AdaRemS, Adam, AdamW, ErrorKind, Optimizer, Phase, Rule, Scope, Sgd, SgdM, Tunable,
};
use adarem_adapters::{
    Average, Averaged, ClipNorm, ClipValue, Guarded, Lookahead, NonFinite, Sphere, Tangent,
};
use adarem_conformance::{Interpreter, Random};
use walk::{Walk, all_bits};

const LEN: usize = 9;

fn gradients(seed: u64) -> Vec<Vec<f32>> {
    let mut random = Random::new(seed);
    (0..24)
        .map(|_| (0..LEN).map(|_| random.ordinary()).collect())
        .collect()
}

fn start() -> Vec<f32> {
    (0..LEN).map(|i| 0.3 - 0.1 * i as f32).collect()
}

/// Walks a rule over gradients.
fn run<R: Rule>(rule: &R, gradients: &[Vec<f32>]) -> Walk<f32> {
    let mut walk = Walk::new(rule, start());
    gradients.iter().for_each(|g| walk.step(rule, g));
    walk
}

const BAD: [f32; 4] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN];

/// Skipping is as if the step had never been asked for, whatever is inside, wherever the bad gradient falls.
fn skips<R: Rule + Clone>(rule: R, t_free: bool) {
    let guarded = Guarded::new(rule.clone(), NonFinite::Skip);
    for (k, bad) in BAD.into_iter().enumerate() {
        for at in [0, 1, 7, 23] {
            let mut poisoned = gradients(k as u64);
            poisoned[at][k] = bad;
            let mut walk = Walk::new(&guarded, start());
            for (t, g) in poisoned.iter().enumerate() {
                let before = walk.clone();
                walk.step(&guarded, g);
                if t == at {
                    let skipped = Guarded::<R>::SKIPPED;
                    assert_eq!(walk.carried[skipped], before.carried[skipped] + 1.0);
                    walk.carried[skipped] = before.carried[skipped];
                    assert_eq!(
                        walk.bits(),
                        before.bits(),
                        "{}: step {t} wrote something",
                        R::NAME
                    );
                    walk.carried[skipped] += 1.0;
                }
            }
            assert!(
                walk.theta.iter().all(|x| x.is_finite()),
                "{}: {:?}",
                R::NAME,
                walk.theta
            );
            assert_eq!(walk.carried[Guarded::<R>::SKIPPED], 1.0);

            // A rule that does not ask for the number of the step walks as if the bad one had not been.
            if t_free {
                poisoned.remove(at);
                let without = run(&rule, &poisoned);
                assert_eq!(all_bits(&walk.theta), all_bits(&without.theta));
                assert_eq!(
                    all_bits(&walk.carried[..R::CARRIED]),
                    all_bits(&without.carried[..R::CARRIED])
                );
            }
        }
    }
}

#[test]
fn a_skipped_step_writes_nothing() {
    skips(
        Sgd {
            lr: 0.1,
            ..Sgd::default()
        },
        true,
    );
    skips(
        SgdM {
            lr: 0.1,
            ..SgdM::default()
        },
        true,
    );
    skips(AdaRem::default(), true);
    skips(AdaRemS::default(), false);
    skips(Adam::default(), false);
    skips(ClipNorm::global(AdaRem::default(), 0.5), true);
    skips(Averaged::new(AdaRem::default(), Average::Uniform), true);
    skips(
        Averaged::new(AdaRem::default(), Average::Exponential(0.9)),
        true,
    );
    skips(Lookahead::new(AdaRem::default()), false);
    skips(Sphere::new(AdaRem::default()), false);
    skips(
        Sphere::new(Tangent {
            rule: SgdM::default(),
            scope: Scope::Tensor,
        }),
        false,
    );
}

/// The first steps skipped, the state that begins with theta still begins rightly.
#[test]
fn wrappers_begin_when_their_first_step_is_taken() {
    fn late<R: Rule + Clone>(rule: R, skipped: usize) -> Walk<f32> {
        let mut all = vec![vec![f32::NAN; LEN]; skipped];
        all.extend(gradients(3));
        run(&Guarded::new(rule, NonFinite::Skip), &all)
    }
    let sgd = Sgd {
        lr: 0.1,
        ..Sgd::default()
    };
    let far = |walk: &Walk<f32>| walk.theta.iter().map(|x| x.abs()).fold(0.0, f32::max);
    // Skipped beyond the first falling back: the slow weights begin in the next place.
    for skipped in [1, 4, 5, 10] {
        let walk = late(Lookahead::new(sgd), skipped);
        let (near, slow) = (
            far(&run(&sgd, &gradients(3))),
            &walk.slots[Lookahead::<Sgd>::SLOW],
        );
        assert!(
            far(&walk) <= 2.0 * near
                && slow
                    .iter()
                    .zip(&walk.theta)
                    .all(|(s, x)| (s - x).abs() < near)
        );
    }
    // Step 0 would have been the first; step 1 begins with where it ends, and step 2 falls back half-way.
    let rule = Guarded::new(
        Lookahead {
            every: 1,
            alpha: 0.5,
            rule: sgd,
        },
        NonFinite::Skip,
    );
    let mut walk = Walk::new(&rule, vec![8.0f32]);
    let path = [f32::NAN, 10.0, 10.0, 10.0].map(|g| {
        walk.step(&rule, &[g]);
        walk.theta[0]
    });
    assert_eq!(path, [8.0, 7.0, 6.5, 6.0]);

    for radius in [None, Some(2.0)] {
        let norm = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>().sqrt();
        let sphere = late(
            Sphere {
                radius,
                ..Sphere::new(Sgd {
                    lr: 0.1,
                    ..Sgd::default()
                })
            },
            1,
        );
        let own = late(
            AdaRemS {
                radius,
                ..AdaRemS::default()
            },
            1,
        );
        for (walk, radius) in [(sphere, Sphere::<Sgd>::RADIUS), (own, AdaRemS::RADIUS)] {
            assert!(walk.carried[radius] > 0.0);
            assert!((norm(&walk.theta) / walk.carried[radius] - 1.0).abs() < 1e-6);
        }
    }
}

#[test]
fn refusing_is_sticky_until_cleared() {
    type Safe = Guarded<AdaRem>;
    let mut rule = Safe::new(AdaRem::default(), NonFinite::Refuse);
    let mut all = gradients(5);
    all[3][4] = f32::INFINITY;
    let mut walk = Walk::new(&rule, start());
    for (t, g) in all.iter().enumerate() {
        if t == 9 {
            rule.clear(9);
        }
        let before = walk.theta.clone();
        walk.step(&rule, g);
        assert_eq!(walk.theta == before, (3..9).contains(&t), "step {t}");
        assert_eq!(
            walk.carried[Safe::REFUSED],
            f32::from(u8::from((3..9).contains(&t)))
        );
    }
    assert_eq!(walk.carried[Safe::SKIPPED], 6.0);
    all.drain(3..9);
    assert_eq!(
        all_bits(&walk.theta),
        all_bits(&run(&AdaRem::default(), &all).theta)
    );

    // Cleared in a step whose gradients are bad again: it goes on refusing.
    rule.clear(walk.t);
    walk.step(&rule, &[f32::NAN; LEN]);
    assert_eq!(walk.carried[Safe::REFUSED], 1.0);
}

#[test]
fn propagating_is_the_rule_itself() {
    let mut all = gradients(6);
    all[2][2] = f32::NAN;
    let guarded = run(&Guarded::new(AdaRem::default(), NonFinite::Propagate), &all);
    let plain = run(&AdaRem::default(), &all);
    assert_eq!(guarded.bits(), plain.bits());
    assert!(guarded.theta[2].is_nan());
}

/// One bad number in the last tensor of a group: the first is not written either.
#[test]
fn the_scan_covers_the_group_before_the_first_write() {
    let mut backend = Interpreter::<f32>::default();
    let rule = Guarded::new(AdaRem::default(), NonFinite::Skip);
    let mut optimizer = Optimizer::new(rule, &mut backend, &[3, 0, 5000]).unwrap();
    let (mut a, mut b, mut c) = ([1.0f32; 3], [], vec![1.0f32; 5000]);
    let mut bad = vec![1.0f32; 5000];
    bad[4999] = f32::NEG_INFINITY;
    optimizer
        .step(
            &mut backend,
            &mut [&mut a, &mut b, &mut c],
            &[&[1.0; 3], &[], &bad],
        )
        .unwrap();
    assert!(a == [1.0; 3] && c.iter().all(|&x| x == 1.0));
    assert!(optimizer.slot(0).unwrap().iter().all(|&m| m == 0.0));
    let carried: Vec<f32> = optimizer.carried().to_vec();
    assert_eq!(carried, [[0.0, 1.0, 0.0]; 3].concat());
    assert_eq!((optimizer.phase(), optimizer.steps()), (Phase::Ready, 1));
}

#[test]
fn clipping_within_the_limit_changes_no_bit() {
    let all = gradients(7);
    let plain = run(&AdaRem::default(), &all);
    assert_eq!(
        run(
            &ClipValue {
                rule: AdaRem::default(),
                limit: 17.0
            },
            &all
        )
        .bits(),
        plain.bits()
    );
    assert_eq!(
        run(&ClipNorm::global(AdaRem::default(), 50.0), &all).bits(),
        plain.bits()
    );
}

#[test]
fn clipping_by_value_cuts_every_coordinate() {
    let all = gradients(8);
    let limit = 0.25f32;
    let cut: Vec<Vec<f32>> = all
        .iter()
        .map(|g| g.iter().map(|x| x.clamp(-limit, limit)).collect())
        .collect();
    let clipped = run(
        &ClipValue {
            rule: AdaRem::default(),
            limit: 0.25,
        },
        &all,
    );
    assert_eq!(clipped.bits(), run(&AdaRem::default(), &cut).bits());
    let mut nan = all[0].clone();
    nan[0] = f32::NAN;
    assert!(
        run(
            &ClipValue {
                rule: Sgd::default(),
                limit: 0.25
            },
            &[nan]
        )
        .theta[0]
            .is_nan()
    );
}

/// The norm of all tensors together, not of each: what other libraries got wrong.
#[test]
fn clipping_by_norm_is_global() {
    let mut backend = Interpreter::<f64>::default();
    let sgd = Sgd {
        lr: 1.0,
        ..Sgd::default()
    };
    let mut step = |scope, want: [f64; 2]| {
        let rule = ClipNorm {
            rule: sgd,
            limit: 1.0,
            scope,
        };
        let mut optimizer = Optimizer::new(rule, &mut backend, &[1, 1]).unwrap();
        let (mut a, mut b) = ([0.0], [0.0]);
        optimizer
            .step(&mut backend, &mut [&mut a, &mut b], &[&[-3.0], &[-0.4]])
            .unwrap();
        assert!(
            (a[0] - want[0]).abs() < 1e-15 && (b[0] - want[1]).abs() < 1e-15,
            "{a:?} {b:?}"
        );
    };
    let norm = 3.0f64.hypot(0.4);
    step(Scope::Group, [3.0 / norm, 0.4 / norm]);
    step(Scope::Tensor, [1.0, 0.4]);

    // As documented: an infinite norm leaves nothing of finite gradients, a NaN leaves all as it is.
    let rule = ClipNorm::global(sgd, 1.0);
    let mut walk = Walk::new(&rule, vec![0.0f32; 2]);
    walk.step(&rule, &[1e30, 1.0]);
    assert_eq!(walk.theta, [0.0, 0.0]);
    walk.step(&rule, &[f32::NAN, 5.0]);
    assert!(walk.theta[0].is_nan() && walk.theta[1] == -5.0);
}

#[test]
fn lookahead_is_its_recursion() {
    let rule = Lookahead {
        rule: SgdM::default(),
        every: 5,
        alpha: 0.8,
    };
    let all = gradients(9);
    let mut walk = Walk::new(&rule, start());
    let mut fast = Walk::new(&rule.rule, start());
    let mut slow = start();
    for (t, g) in all.iter().enumerate() {
        walk.step(&rule, g);
        fast.step(&rule.rule, g);
        if t % 5 == 4 {
            for (slow, x) in slow.iter_mut().zip(&mut fast.theta) {
                *slow += 0.8 * (*x - *slow);
                *x = *slow;
            }
        }
        assert_eq!(all_bits(&walk.theta), all_bits(&fast.theta), "step {t}");
    }
    assert_eq!(
        all_bits(&walk.slots[Lookahead::<SgdM>::SLOW]),
        all_bits(&slow)
    );
}

#[test]
fn averages_are_their_recursions_and_leave_the_walk_alone() {
    let all = gradients(10);
    let plain = run(&AdaRem::default(), &all);
    let (begin, every) = (4, 3);
    for average in [Average::Uniform, Average::Exponential(0.75)] {
        let rule = Averaged {
            start: begin,
            every,
            ..Averaged::new(AdaRem::default(), average)
        };
        let mut walk = Walk::new(&rule, start());
        let (mut seen, mut want) = (Vec::new(), vec![0.0f64; LEN]);
        for (t, g) in (0..).zip(&all) {
            walk.step(&rule, g);
            if t >= begin && (t - begin) % every == 0 {
                seen.push(walk.theta.clone());
                for i in 0..LEN {
                    let x = f64::from(walk.theta[i]);
                    want[i] = match average {
                        Average::Uniform => {
                            seen.iter().map(|x| f64::from(x[i])).sum::<f64>() / seen.len() as f64
                        }
                        Average::Exponential(_) if seen.len() == 1 => x,
                        Average::Exponential(d) => d * want[i] + (1.0 - d) * x,
                    };
                }
            }
        }
        assert_eq!(all_bits(&walk.theta), all_bits(&plain.theta));
        let got = &walk.slots[Averaged::<AdaRem>::AVERAGE];
        // Seven roundings of f32 numbers below 2.
        assert!(
            got.iter()
                .zip(&want)
                .all(|(got, want)| (f64::from(*got) - want).abs() < 1e-6),
            "{got:?} {want:?}"
        );
    }
}

/// State of wrappers stands behind the rule's own, under names of its own, and checkpoints know whose it is.
#[test]
fn wrapped_state_is_named_and_restored_only_where_it_belongs() {
    type Nest = Guarded<ClipNorm<Averaged<Lookahead<AdamW>>>>;
    let rule = Nest::default();
    assert_eq!(Nest::NAME, "guarded(clip_norm(averaged(lookahead(adamw))))");
    let slots: Vec<_> = (0..Nest::SLOTS).map(|k| rule.slot(k).name).collect();
    assert_eq!(slots, ["m", "v", "slow", "average"]);
    let carried: Vec<_> = (0..Nest::CARRIED).map(|k| rule.carried(k).name).collect();
    assert_eq!(
        carried,
        ["lookahead_begun", "averaged", "skipped", "refused"]
    );
    let mut names = Vec::new();
    rule.clone().settings(&mut |name, _| names.push(name));
    let own = names.len();
    names.sort();
    names.dedup();
    assert_eq!(
        names.len(),
        own,
        "two hyper-parameters of one name: {names:?}"
    );

    let mut backend = Interpreter::<f32>::default();
    let mut one = Optimizer::new(rule, &mut backend, &[LEN]).unwrap();
    let mut theta = start();
    for g in &gradients(11)[..7] {
        one.step(&mut backend, &mut [&mut theta], &[g]).unwrap();
    }
    let mut bytes = Vec::new();
    one.save(&mut backend, |part| bytes.extend_from_slice(part))
        .unwrap();
    let mut same = Optimizer::new(rule, &mut backend, &[LEN]).unwrap();
    same.restore(&mut backend, &bytes).unwrap();
    let mut resumed = theta.clone();
    for g in &gradients(11)[7..] {
        one.step(&mut backend, &mut [&mut theta], &[g]).unwrap();
        same.step(&mut backend, &mut [&mut resumed], &[g]).unwrap();
    }
    assert_eq!(all_bits(&theta), all_bits(&resumed));

    let mut other = Optimizer::new(Averaged::<AdamW>::default(), &mut backend, &[LEN]).unwrap();
    assert!(matches!(
        other.restore(&mut backend, &bytes),
        Err(ErrorKind::Checkpoint(_))
    ));
}

#[test]
fn wrappers_refuse_their_own_and_their_rules_hyper_parameters() {
    let name = |result: Result<(), adarem::Invalid>| result.unwrap_err().name;
    for bad in [0.0, -1.0, f64::INFINITY, f64::NAN] {
        assert_eq!(
            name(
                ClipValue {
                    rule: Sgd::default(),
                    limit: bad
                }
                .check()
            ),
            "limit"
        );
        assert_eq!(name(ClipNorm::global(Sgd::default(), bad).check()), "limit");
    }
    for alpha in [0.0, 1.5, f64::NAN] {
        assert_eq!(
            name(
                Lookahead {
                    alpha,
                    ..Lookahead::new(Sgd::default())
                }
                .check()
            ),
            "alpha"
        );
    }
    assert_eq!(
        name(
            Lookahead {
                every: 0,
                ..Lookahead::new(Sgd::default())
            }
            .check()
        ),
        "every"
    );
    assert_eq!(
        name(
            Averaged {
                every: 0,
                ..Averaged::<Sgd>::default()
            }
            .check()
        ),
        "every"
    );
    for decay in [1.0, -0.1, f64::NAN] {
        assert_eq!(
            name(Averaged::new(Sgd::default(), Average::Exponential(decay)).check()),
            "average"
        );
    }
    let bad = Sgd {
        lr: f64::NAN,
        ..Sgd::default()
    };
    assert_eq!(name(Guarded::new(bad, NonFinite::Skip).check()), "lr");
    assert_eq!(
        name(
            ClipValue {
                rule: bad,
                limit: 1.0
            }
            .check()
        ),
        "lr"
    );
    assert_eq!(name(ClipNorm::global(bad, 1.0).check()), "lr");
    assert_eq!(name(Lookahead::new(bad).check()), "lr");
    assert_eq!(name(Averaged::new(bad, Average::Uniform).check()), "lr");
    assert_eq!(name(Sphere::new(bad).check()), "lr");
    assert_eq!(
        name(
            Tangent {
                rule: bad,
                scope: Scope::Group
            }
            .check()
        ),
        "lr"
    );

    // Refused by the optimizer before anything is allocated, and before a step writes anything.
    let mut backend = Interpreter::<f32>::default();
    let refused = Optimizer::new(ClipNorm::global(Sgd::default(), 0.0), &mut backend, &[1]);
    assert!(matches!(refused, Err(ErrorKind::Config(_))));
}
