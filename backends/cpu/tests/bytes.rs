//! AdaRem with a byte of state a parameter: the same bits whatever the vectors.

use adarem::{AdaRem, AdaRem8, CHUNK, ErrorKind, Mismatch};
use adarem_cpu::{Cpu, Simd};

/// Gradients of step `t`: of both signs, some of them 0, a NaN and an infinity in the middle of step 3.
fn grad(len: usize, t: usize) -> Vec<f32> {
    let mut grad: Vec<f32> = (0..len)
        .map(|i| ((i * 37 + t * 11) % 101) as f32 * 0.02 - 1.0)
        .collect();
    if t == 3
        && let [.., a, b] = &mut grad[..len / 2]
    {
        (*a, *b) = (f32::NAN, f32::INFINITY);
    }
    grad
}

#[test]
fn a_step_has_the_same_bits_whatever_the_vectors() {
    let kinds = [Simd::Baseline, Simd::Avx2, Simd::Avx512];
    let decayed = AdaRem {
        weight_decay: 0.1,
        ..AdaRem::default()
    };
    let resting = AdaRem { lr: 0.0, ..decayed };
    for rule in [AdaRem::default(), decayed, resting] {
        for len in [0, 1, 15, 16, 17, 530, CHUNK + 1] {
            let (mut plain, mut q) = (vec![0.5f32; len], vec![0; len]);
            let mut alone = AdaRem8::new(rule, &mut q).unwrap();
            let mut others = kinds.map(|_| (vec![0.5f32; len], vec![0; len]));
            let mut others = others.each_mut().map(|(theta, q)| {
                let optimizer = AdaRem8::new(rule, q).unwrap();
                (theta, optimizer)
            });
            for t in 0..6 {
                let grad = grad(len, t);
                alone.step(&mut plain, &grad).unwrap();
                for (&simd, (theta, optimizer)) in kinds.iter().zip(&mut others) {
                    let cpu = Cpu::new().with_simd(simd);
                    cpu.step_bytes(optimizer, theta, &grad).unwrap();
                    let bits =
                        |theta: &[f32]| theta.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(theta), bits(&plain), "{simd:?}, {len}, step {t}");
                    assert_eq!(
                        optimizer.state(),
                        alone.state(),
                        "{simd:?}, {len}, step {t}"
                    );
                    assert_eq!(optimizer.unit().to_bits(), alone.unit().to_bits());
                }
            }
        }
    }
}

#[test]
fn a_refused_step_changes_nothing() {
    let (mut theta, mut q) = ([1.0f32; 4], [0; 4]);
    let mut optimizer = AdaRem8::new(AdaRem::default(), &mut q).unwrap();
    let refused = Cpu::new().step_bytes(&mut optimizer, &mut theta, &[1.0; 3]);
    let mismatch = Mismatch {
        what: "grad",
        tensor: 0,
        expected: 4,
        got: 3,
    };
    assert_eq!(refused, Err(ErrorKind::Length(mismatch)));
    assert_eq!((optimizer.state(), optimizer.unit()), (&[0i8; 4][..], 0.0));
    assert_eq!(theta, [1.0; 4]);
}
