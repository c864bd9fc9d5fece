//! Steps in mixed precision, against the plain host: parameters and gradients of 16 bits beside a master copy.

use adarem::rules::{AdamW, Lamb, Lion};
use adarem::{
    AdaRem, AdaRemS, Bf16, CHUNK, Element, ErrorKind, F16, Host, Optimizer, Param, Phase, Rule,
    Stored,
};
use adarem_conformance::{Mixed, Random, mixed_precision};
use adarem_cpu::{Cpu, Memory, Simd};

const LENGTHS: [usize; 6] = [0, 1, 17, CHUNK - 1, CHUNK + 1, 20 * CHUNK + 333];

fn numbers(len: usize, seed: u64) -> Vec<f32> {
    Random::new(seed).many(len, Random::ordinary)
}

fn bits<T: Stored<f32>>(numbers: &[T]) -> Vec<u64> {
    numbers.iter().map(|x| x.load().to_le()).collect()
}

/// Steps all tensors with every kind of vector and number of threads, and each on the host.
fn has_the_bits_of_the_host<P: Param, R: Rule + Copy, const S: usize, const C: usize>(rule: R) {
    assert_eq!((R::SLOTS, R::CARRIED), (S, C));
    let kinds = [Simd::Baseline, Simd::Avx2, Simd::Avx512];
    for (simd, threads) in kinds.into_iter().zip([2, 1, 3]) {
        let mut cpu = Cpu::with_threads(threads).with_simd(simd);
        let mut optimizer = Optimizer::new(rule, &mut cpu, &LENGTHS).unwrap();
        let mut master = LENGTHS.map(|len| numbers(len, 1));
        let mut params = LENGTHS.map(|len| vec![P::default(); len]);
        let (mut plain, mut plain_params) = (master.clone(), params.clone());
        let mut slots = LENGTHS
            .map(|len| std::array::from_fn::<_, S, _>(|k| vec![rule.slot(k).start as f32; len]));
        let mut carried =
            LENGTHS.map(|_| std::array::from_fn::<_, C, _>(|k| rule.carried(k).start as f32));
        for t in 0..3 {
            let grad = LENGTHS.map(|len| {
                numbers(len, 2 + t)
                    .into_iter()
                    .map(P::store)
                    .collect::<Vec<_>>()
            });
            cpu.step_mixed(
                &mut optimizer,
                &mut master.each_mut().map(Vec::as_mut_slice),
                &mut params.each_mut().map(Vec::as_mut_slice),
                &grad.each_ref().map(Vec::as_slice),
            )
            .unwrap();
            for i in 0..LENGTHS.len() {
                let slots = slots[i].each_mut().map(Vec::as_mut_slice);
                let (theta, params) = (&mut plain[i], &mut plain_params[i]);
                let host = Host::mixed(theta, params, &grad[i], slots, &mut carried[i]);
                rule.step(t, &mut host.unwrap());
            }
        }
        let name = format!("{} {simd:?} {threads} threads", R::NAME);
        for (i, range) in adarem::backend::ranges(LENGTHS.into_iter()).enumerate() {
            assert_eq!(bits(&master[i]), bits(&plain[i]), "{name} master {i}");
            assert_eq!(
                bits(&params[i]),
                bits(&plain_params[i]),
                "{name} params {i}"
            );
            let rounded = plain[i].iter().map(|&x| P::store(x)).collect::<Vec<_>>();
            assert_eq!(bits(&params[i]), bits(&rounded), "{name} rounded {i}");
            for (k, slot) in slots[i].iter().enumerate() {
                let got = &optimizer.slot(k).unwrap()[range.clone()];
                assert_eq!(bits(got), bits(slot), "{name} slot {k} of {i}");
            }
            let got = &optimizer.carried()[i * C..][..C];
            assert_eq!(bits(got), bits(&carried[i]), "{name} carried of {i}");
        }
    }
}

#[test]
fn mixed_precision_has_the_bits_of_the_host() {
    has_the_bits_of_the_host::<Bf16, _, 1, 1>(AdaRem::default());
    has_the_bits_of_the_host::<F16, _, 1, 1>(AdaRem::default());
    has_the_bits_of_the_host::<Bf16, _, 1, { AdaRemS::CARRIED }>(AdaRemS::default());
    has_the_bits_of_the_host::<F16, _, 2, 0>(AdamW::default());
    has_the_bits_of_the_host::<Bf16, _, 1, 0>(Lion::default());
    has_the_bits_of_the_host::<Bf16, _, { Lamb::SLOTS }, { Lamb::CARRIED }>(Lamb::default());
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_changes() {
    let mut cpu = Cpu::new();
    let mut optimizer = Optimizer::new(AdaRem::default(), &mut cpu, &[3, 2]).unwrap();
    let (mut a, mut b) = ([1.0f32; 3], [2.0; 2]);
    let (mut x, mut y, mut short) = (
        [Bf16::default(); 3],
        [Bf16::default(); 2],
        [Bf16::default()],
    );
    let (g, h) = ([Bf16::store(1.0f32); 3], [Bf16::store(1.0f32); 2]);
    let mut refused = |params: &mut [&mut [Bf16]], grad: &[&[Bf16]], what| {
        let refusal = cpu.step_mixed(&mut optimizer, &mut [&mut a, &mut b], params, grad);
        match refusal {
            Err(ErrorKind::Length(mismatch)) => assert_eq!(mismatch.what, what),
            other => panic!("{other:?}"),
        }
        assert_eq!((optimizer.phase(), optimizer.steps()), (Phase::Ready, 0));
        assert_eq!((a, b), ([1.0; 3], [2.0; 2]));
        assert!(optimizer.slot(0).unwrap().iter().all(|&m| m == 0.0));
    };
    refused(&mut [&mut x, &mut short], &[&g, &h], "params");
    refused(&mut [&mut x], &[&g, &h], "the list of params");
    refused(&mut [&mut x, &mut y], &[&g, &g], "grad");
    refused(&mut [&mut x, &mut y], &[&g], "the list of grads");
}

struct Threads(Cpu<f32>);

impl Mixed for Threads {
    type Backend = Cpu<f32>;

    fn backend(&mut self) -> &mut Cpu<f32> {
        &mut self.0
    }

    fn step<R: Rule, P: Param>(
        &mut self,
        optimizer: &mut Optimizer<R, Cpu<f32>>,
        master: &mut [Memory<f32>],
        params: &mut [Vec<P>],
        grad: &[Vec<P>],
    ) -> Result<(), ErrorKind> {
        let mut master: Vec<_> = master.iter_mut().map(|x| &mut x[..]).collect();
        let mut params: Vec<_> = params.iter_mut().map(Vec::as_mut_slice).collect();
        let grad: Vec<_> = grad.iter().map(Vec::as_slice).collect();
        self.0
            .step_mixed(optimizer, &mut master, &mut params, &grad)
    }
}

#[test]
fn every_rule_is_stepped_in_mixed_precision() {
    mixed_precision(Threads(Cpu::with_threads(2)));
}
