//! State in half the bytes: the same numbers wherever it is kept, and how far it leads from full state.

use adarem::{
    AdaRem, AdaRemS, Backend, Bf16, F16, Half, Host, MAX_CARRIED, MAX_SLOTS, Optimizer, Rule, Sgd,
    SgdM, Stored,
};
use adarem_adapters::HalfState;
use adarem_conformance::Random;
use adarem_cpu::{Cpu, Simd};

const LENGTHS: [usize; 5] = [1, 0, 37, 1000, 9001];

fn gradient(len: usize, t: u64) -> Vec<f32> {
    Random::new(t).many(len, Random::ordinary)
}

/// Steps on a host whose slots are slices of `K`: what theta, and all state as numbers in full, become.
fn on_host<R: Rule, K: Stored<f32>>(rule: &R, len: usize, steps: u64) -> (Vec<f32>, Vec<f32>) {
    let mut theta = vec![1.0f32; len];
    let start = |k| {
        if k < R::SLOTS {
            rule.slot(k).start
        } else {
            0.0
        }
    };
    let mut slots: [Vec<K>; MAX_SLOTS] =
        std::array::from_fn(|k| vec![K::store(start(k) as f32); len]);
    let mut carried: [f32; MAX_CARRIED] = std::array::from_fn(|k| {
        if k < R::CARRIED {
            rule.carried(k).start as f32
        } else {
            0.0
        }
    });
    for t in 0..steps {
        let (grad, mut params) = (gradient(len, t), theta.clone());
        let slots = slots.each_mut().map(|slot| &mut slot[..]);
        rule.step(
            t,
            &mut Host::mixed(&mut theta, &mut params, &grad, slots, &mut carried).unwrap(),
        );
    }
    let state = slots.iter().take(R::SLOTS).flatten().map(|x| x.load());
    (theta, state.collect())
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

fn is_the_same_wherever_it_is_kept<R, K>(rule: HalfState<R, K>)
where
    R: Rule + Copy,
    K: Stored<f32>,
{
    let kinds = [Simd::Baseline, Simd::Avx2, Simd::Avx512];
    for (simd, threads) in kinds.into_iter().zip([1, 2, 1]) {
        let mut cpu = Cpu::with_threads(threads).with_simd(simd);
        let mut theta = LENGTHS.map(|len| vec![1.0f32; len]);
        let mut optimizer = Optimizer::new(rule, &mut cpu, &LENGTHS).unwrap();
        for t in 0..6 {
            let grads = LENGTHS.map(|len| gradient(len, t));
            let mut theta = theta.each_mut().map(|x| &mut x[..]);
            let grads = grads.each_ref().map(|x| &x[..]);
            optimizer.step(&mut cpu, &mut theta, &grads).unwrap();
        }
        for (len, theta) in LENGTHS.into_iter().zip(&theta) {
            let (full, state) = on_host::<_, f32>(&rule, len, 6);
            let (half, packed) = on_host::<_, K>(&rule, len, 6);
            assert_eq!(bits(&full), bits(&half), "{len}");
            assert_eq!(bits(&state), bits(&packed), "{len}");
            assert_eq!(bits(&full), bits(theta), "{len} {simd:?} {threads}");
        }
        assert_eq!(
            optimizer.state_bytes(),
            LENGTHS
                .map(|len| len.next_multiple_of(64))
                .iter()
                .sum::<usize>()
                * 2
                * R::SLOTS
                + LENGTHS.len() * 4 * R::CARRIED
        );
    }
}

#[test]
fn half_state_is_the_same_wherever_it_is_kept() {
    is_the_same_wherever_it_is_kept(HalfState::bf16(AdaRem::default()));
    is_the_same_wherever_it_is_kept(HalfState::f16(AdaRem::default()));
    is_the_same_wherever_it_is_kept(HalfState::bf16(AdaRemS::default()));
    is_the_same_wherever_it_is_kept(HalfState::f16(SgdM::default()));
    is_the_same_wherever_it_is_kept(HalfState::bf16(AdaRem::default()).stochastic(1));
    is_the_same_wherever_it_is_kept(HalfState::f16(AdaRemS::default()).stochastic(2));
}

/// The bound of the documentation, and that it is not a wild one.
#[test]
fn m_stays_within_its_bound() {
    fn worst<K: Stored<f32>>(rule: HalfState<AdaRem, K>, place: f64) -> f64 {
        let (mut worst, mut largest) = (0.0f64, 0.0f64);
        for steps in 1..200 {
            let (_, m) = on_host::<_, f32>(&rule, 500, steps);
            let (_, full) = on_host::<_, f32>(&rule.rule, 500, steps);
            for (m, full) in m.iter().zip(full) {
                largest = largest.max(full.abs().into());
                let bound = place * largest / (1.0 - rule.rule.beta);
                let error = f64::from((m - full).abs());
                assert!(error <= bound * 1.001, "{steps}: {error} > {bound}");
                worst = worst.max(error / bound);
            }
        }
        worst
    }
    let rule = AdaRem {
        lr: 1e-9,
        ..AdaRem::default()
    };
    assert!(worst(HalfState::bf16(rule), 1.0 / 256.0) > 0.05);
    assert!(worst(HalfState::f16(rule), 1.0 / 2048.0) > 0.05);
}

/// An average so long that a step moves it by less than half a place: rounded to the nearest it stands still.
#[test]
fn stochastic_rounding_lets_a_long_average_go_on() {
    let rule = AdaRem {
        lr: 1e-9,
        beta: 0.999,
        ..AdaRem::default()
    };
    let (len, steps) = (1000, 700);
    let average = |rule: &HalfState<AdaRem, Bf16>| {
        let (mut theta, mut m, mut carried) =
            (vec![0.0f32; len], vec![Bf16::default(); len], [0.0]);
        for (i, x) in theta.iter_mut().enumerate() {
            *x = 0.3 + i as f32 * 1e-3;
        }
        let (grad, mut params) = (vec![1.0f32; len], theta.clone());
        for t in 0..steps {
            let host = Host::mixed(&mut theta, &mut params, &grad, [&mut m], &mut carried);
            rule.step(t, &mut host.unwrap());
        }
        m.iter().map(|m| f64::from(m.to_f32())).sum::<f64>() / len as f64
    };
    let want = 1.0 - 0.999f64.powi(steps as i32);
    let nearest = average(&HalfState::bf16(rule));
    let stochastic = average(&HalfState::bf16(rule).stochastic(11));
    assert!(
        (stochastic - want).abs() < 0.005,
        "{stochastic}, not {want}"
    );
    assert!((nearest - want).abs() > 0.1, "{nearest} beside {want}");
}

#[test]
fn no_step_turns_against_its_gradient() {
    let rule = HalfState::bf16(AdaRem {
        lr: 1.0,
        lambda: 0.999_999,
        ..AdaRem::default()
    });
    let (len, mut m, mut carried) = (500, vec![Bf16::default(); 500], [0.0]);
    for t in 0..300 {
        let (mut theta, grad) = (vec![0.0f32; len], gradient(len, t));
        let mut params = theta.clone();
        rule.step(
            t,
            &mut Host::mixed(&mut theta, &mut params, &grad, [&mut m], &mut carried).unwrap(),
        );
        let moves = theta.iter().zip(&grad);
        assert!(moves.clone().all(|(x, g)| -x * g >= 0.0), "step {t}");
        assert!(moves.clone().all(|(x, g)| x.abs() <= 2.0 * g.abs()));
    }
}

#[test]
fn parameters_follow_their_master_copy() {
    let rule = Sgd {
        lr: 1e-4,
        ..Sgd::default()
    };
    let mut master = [1.0f32, -2.0, 0.5];
    let mut params = master.map(<F16 as Stored<f32>>::store);
    for t in 0..100 {
        let grad = [1.0, -1.0, 0.25].map(<F16 as Stored<f32>>::store);
        let slots: [&mut [f32]; 0] = [];
        rule.step(
            t,
            &mut Host::mixed(&mut master, &mut params, &grad, slots, &mut []).unwrap(),
        );
        assert_eq!(params, master.map(<F16 as Stored<f32>>::store));
    }
    // Each step is far below a place of the parameters, and yet they have moved.
    assert!((params[0].to_f32() - 0.99).abs() < 1e-3);

    let (mut short, grad) = ([F16::default(); 2], [F16::default(); 3]);
    let slots: [&mut [f32]; 0] = [];
    assert!(Host::mixed(&mut master, &mut short, &grad, slots, &mut []).is_err());
}

/// Half of everything but the master copy: packed state under parameters and gradients of 16 bits.
#[test]
fn state_and_parameters_are_halved_together() {
    let rule = HalfState::bf16(AdaRem::default());
    for (threads, len) in [(1, 1000), (2, 100_003)] {
        let mut cpu = Cpu::with_threads(threads);
        let mut optimizer = Optimizer::new(rule, &mut cpu, &[len]).unwrap();
        let (mut master, mut m, mut carried) =
            (vec![1.0f32; len], vec![Bf16::default(); len], [0.0]);
        let mut params = vec![Bf16::default(); len];
        let (mut plain, mut plain_params) = (master.clone(), params.clone());
        for t in 0..4 {
            let grad: Vec<Bf16> = gradient(len, t).into_iter().map(Bf16::store).collect();
            cpu.step_mixed(
                &mut optimizer,
                &mut [&mut master],
                &mut [&mut params],
                &[&grad],
            )
            .unwrap();
            let host = Host::mixed(&mut plain, &mut plain_params, &grad, [&mut m], &mut carried);
            rule.step(t, &mut host.unwrap());
        }
        assert_eq!(bits(&master), bits(&plain), "{len}");
        assert!(params == plain_params, "{len}");
    }
}

#[test]
fn a_checkpoint_of_packed_state_is_read_where_nothing_is_packed() {
    let rule = HalfState::bf16(AdaRem::default());
    let (mut cpu, mut theta) = (Cpu::new(), vec![1.0f32; 100]);
    let mut optimizer = Optimizer::new(rule, &mut cpu, &[100]).unwrap();
    optimizer
        .step(&mut cpu, &mut [&mut theta], &[&gradient(100, 0)])
        .unwrap();
    let mut saved = Vec::new();
    optimizer
        .save(&mut cpu, |piece| saved.extend_from_slice(piece))
        .unwrap();

    let (_, m) = on_host::<_, f32>(&rule, 100, 1);
    let state: Vec<u8> = m.iter().flat_map(|x| x.to_le_bytes()).collect();
    assert!(saved.windows(state.len()).any(|part| part == state));

    let mut again = Optimizer::new(rule, &mut cpu, &[100]).unwrap();
    again.restore(&mut cpu, &saved).unwrap();
    assert_eq!(again.slot(0).unwrap(), optimizer.slot(0).unwrap());
    assert_eq!(
        adarem::backend::packing::<Cpu<f32>>(HalfState::<AdaRem, Bf16>::HALF),
        Cpu::<f32>::PACKS.then_some(Half::Bf16)
    );
    assert!(!Cpu::<f64>::PACKS || adarem::backend::packing::<Cpu<f64>>(Some(Half::F16)).is_none());
}
