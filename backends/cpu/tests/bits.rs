//! Every rule on every kind of vector instruction and number of threads, against the plain host and the plan.
#![expect(
    clippy::needless_range_loop,
    reason = "several arrays are walked side by side"
)]

use adarem::rules::{EachRule, for_each};
use adarem::trace::trace;
use adarem::{
    AdaRem, AdaRemS, Backend, Batch, CHUNK, Host, MAX_CARRIED, MAX_SLOTS, Optimizer, Rule, Scope,
    Tunable, WIDTH,
};
use adarem_conformance::Random;
use adarem_cpu::{Cpu, Memory, Simd};

fn numbers(len: usize, seed: u64) -> Vec<f32> {
    Random::new(seed).many(len, Random::ordinary)
}

fn zeros(len: usize) -> Memory<f32> {
    Cpu::new().zeros(len).unwrap()
}

fn assert_same(what: &str, got: &[f32], want: &[f32]) {
    let differ = got
        .iter()
        .zip(want)
        .position(|(a, b)| a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan()));
    assert!(
        got.len() == want.len() && differ.is_none(),
        "{what} at {differ:?}"
    );
}

const LENGTHS: [usize; 9] = [
    0,
    1,
    15,
    17,
    WIDTH + 1,
    CHUNK - 1,
    CHUNK,
    3 * CHUNK + 5,
    20 * CHUNK + 333,
];

fn cpus() -> impl Iterator<Item = Cpu<f32>> {
    let kinds = [Simd::Baseline, Simd::Avx2, Simd::Avx512];
    kinds
        .into_iter()
        .flat_map(|simd| [1, 2, 3].map(|threads| Cpu::with_threads(threads).with_simd(simd)))
}

struct AgainstHost;

impl EachRule for AgainstHost {
    fn rule<R: Tunable + Default>(&mut self) {
        let rule = R::default();
        for mut cpu in cpus() {
            let name = format!("{} {:?} {} threads", R::NAME, cpu.simd(), cpu.threads());
            let mut theta: Vec<_> = LENGTHS.iter().map(|&len| numbers(len, 1)).collect();
            let mut plain = theta.clone();
            let mut slots: Vec<[Vec<f32>; MAX_SLOTS]> = LENGTHS
                .iter()
                .map(|&len| {
                    std::array::from_fn(|k| {
                        vec![
                            if k < R::SLOTS {
                                rule.slot(k).start as f32
                            } else {
                                0.0
                            };
                            len
                        ]
                    })
                })
                .collect();
            let start = |k| {
                if k < R::CARRIED {
                    rule.carried(k).start as f32
                } else {
                    0.0
                }
            };
            let mut carried =
                vec![std::array::from_fn::<f32, MAX_CARRIED, _>(start); LENGTHS.len()];
            let mut optimizer = Optimizer::new(R::default(), &mut cpu, &LENGTHS).unwrap();
            for t in 0..4 {
                let grad: Vec<_> = LENGTHS.iter().map(|&len| numbers(len, 2 + t)).collect();
                let mut thetas: Vec<&mut [f32]> = theta.iter_mut().map(Vec::as_mut_slice).collect();
                let grads: Vec<&[f32]> = grad.iter().map(Vec::as_slice).collect();
                optimizer.step(&mut cpu, &mut thetas, &grads).unwrap();
                for i in 0..LENGTHS.len() {
                    let slots = slots[i].each_mut().map(Vec::as_mut_slice);
                    let mut host =
                        Host::new(&mut plain[i], &grad[i], slots, &mut carried[i]).unwrap();
                    rule.step(t, &mut host);
                    assert_same(&format!("{name} step {t} theta {i}"), &theta[i], &plain[i]);
                }
            }
            for (i, range) in adarem::backend::ranges(LENGTHS.into_iter()).enumerate() {
                for k in 0..R::SLOTS {
                    let got = &optimizer.slot(k).unwrap()[range.clone()];
                    assert_same(&format!("{name} slot {k} of {i}"), got, &slots[i][k]);
                }
                let got = &optimizer.carried()[i * R::CARRIED..][..R::CARRIED];
                assert_same(
                    &format!("{name} carried of {i}"),
                    got,
                    &carried[i][..R::CARRIED],
                );
            }
        }
    }
}

#[test]
fn every_rule_has_the_bits_of_the_plain_host() {
    for_each(&mut AgainstHost);
}

/// Steps `rule` natively and by its plan, and compares everything.
fn against_plan<R: Rule + Copy>(rule: R) {
    const LENGTHS: [usize; 5] = [0, 3, CHUNK + 1, 16 * CHUNK + 7, 17];
    for mut cpu in [1, 3].map(Cpu::with_threads) {
        let mut thetas = [0, 1].map(|_| LENGTHS.map(|len| numbers(len, 1)));
        let mut slots = [0, 1].map(|_| {
            [(); 12].map(|()| zeros(LENGTHS.iter().map(|l| l.next_multiple_of(64)).sum()))
        });
        let mut carried = [0, 1].map(|_| zeros(LENGTHS.len() * R::CARRIED));
        for t in 0..3 {
            let grad = LENGTHS.map(|len| numbers(len, 2 + t));
            for way in 0..2 {
                let mut theta = thetas[way].each_mut().map(Vec::as_mut_slice);
                let grad = grad.each_ref().map(Vec::as_slice);
                let batch = Batch {
                    theta: &mut theta,
                    grad: &grad,
                    slots: &mut slots[way][..R::SLOTS],
                    carried: &mut carried[way],
                };
                if way == 0 {
                    cpu.step(&rule, t, batch).unwrap();
                } else {
                    let traced = trace(&rule, t).unwrap();
                    cpu.run(&traced.plan, traced.uniforms(), batch).unwrap();
                }
            }
            for i in 0..LENGTHS.len() {
                assert_same(
                    &format!("{} theta {i}", R::NAME),
                    &thetas[0][i],
                    &thetas[1][i],
                );
            }
        }
        assert_same("carried", &carried[0], &carried[1]);
        for k in 0..R::SLOTS {
            assert_same("slot", &slots[0][k], &slots[1][k]);
        }
    }
}

#[test]
fn a_rule_with_folds_over_the_group_has_the_bits_of_its_plan() {
    against_plan(AdaRem {
        scope: Scope::Group,
        ..AdaRem::default()
    });
    against_plan(AdaRemS {
        scope: Scope::Group,
        sphere: Scope::Group,
        radius: Some(2.0),
        ..AdaRemS::default()
    });
    against_plan(AdaRemS {
        sphere: Scope::Group,
        ..AdaRemS::default()
    });
}

#[test]
fn a_batch_that_does_not_fit_is_refused() {
    let mut cpu = Cpu::<f32>::new();
    let (mut theta, grad) = ([1.0; 4], [1.0; 4]);
    let mut short = [zeros(3)];
    let batch = Batch {
        theta: &mut [&mut theta[..]],
        grad: &[&grad[..]],
        slots: &mut short,
        carried: &mut zeros(1),
    };
    let refused = cpu.step(&AdaRem::default(), 0, batch).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a slot, for all tensors of tensor 0 must have length 4, got 3"
    );
    assert_eq!(theta, [1.0; 4]);
}
