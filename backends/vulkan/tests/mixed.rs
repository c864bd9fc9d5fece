//! Steps in mixed precision: parameters and gradients of 16 bits beside a master copy in `f32`.

mod support;

use adarem::{
    AdaRem, AdaRemS, Backend, Bf16, CHUNK, ErrorKind, F16, Half, Optimizer, Param, Phase, Rule,
    Sgd, Stored,
};
use adarem_adapters::HalfState;
use adarem_conformance::{Mixed, Random, mixed_precision};
use adarem_vulkan::{Error, Limits, Tensor, Vulkan};
use support::{
    compare_mixed, difference, download, engine::Engine, loaded, numbers_of, probe::Probe, upload,
};

fn vulkan() -> Option<Vulkan<f32>> {
    support::context().map(|context| Vulkan::new(&context).unwrap())
}

/// A tensor of these numbers, of any type.
fn upload_of<P: Param>(vulkan: &mut Vulkan<f32>, numbers: &[P]) -> Tensor<P> {
    let mut tensor = vulkan.zeros_of(numbers.len()).unwrap();
    vulkan.write_of(&mut tensor, 0, numbers).unwrap();
    tensor
}

struct Lends(Vulkan<f32>);

impl Mixed for Lends {
    type Backend = Vulkan<f32>;

    fn backend(&mut self) -> &mut Vulkan<f32> {
        &mut self.0
    }

    fn step<R: Rule, P: Param>(
        &mut self,
        optimizer: &mut Optimizer<R, Vulkan<f32>>,
        master: &mut [Tensor<f32>],
        params: &mut [Vec<P>],
        grad: &[Vec<P>],
    ) -> Result<(), Error> {
        let vulkan = &mut self.0;
        let mut lent = Vec::from_iter(params.iter().map(|params| upload_of(vulkan, params)));
        let grad = Vec::from_iter(grad.iter().map(|grad| upload_of(vulkan, grad)));
        vulkan.step_mixed(
            optimizer,
            &mut Vec::from_iter(master),
            &mut Vec::from_iter(&mut lent),
            &Vec::from_iter(&grad),
        )?;
        for (params, lent) in params.iter_mut().zip(&lent) {
            vulkan.read_of(lent, 0, params)?;
        }
        Ok(())
    }
}

#[test]
fn every_rule_is_stepped_in_mixed_precision() {
    if let Some(vulkan) = vulkan() {
        mixed_precision(Lends(vulkan));
    }
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_changes() {
    let Some(mut vulkan) = vulkan() else { return };
    let mut optimizer = Optimizer::new(AdaRem::default(), &mut vulkan, &[3, 2]).unwrap();
    let (mut a, mut b) = (
        upload(&mut vulkan, &[1.0; 3]),
        upload(&mut vulkan, &[2.0; 2]),
    );
    let one = Bf16::store(1.0f32);
    let [mut x, mut y, mut short] = [3, 2, 1].map(|len| vulkan.zeros_of::<Bf16>(len).unwrap());
    let (g, h) = (
        upload_of(&mut vulkan, &[one; 3]),
        upload_of(&mut vulkan, &[one; 2]),
    );
    let odd = |vulkan: &mut Vulkan<f32>| {
        let parts = vulkan.zeros_of::<Bf16>(6).unwrap().split(&[3, 2, 1]);
        let [_, odd, _] = <[_; 3]>::try_from(parts.unwrap()).unwrap();
        odd
    };
    let (mut odd_params, odd_grad) = (odd(&mut vulkan), odd(&mut vulkan));
    let mut refused = |params: &mut [&mut Tensor<Bf16>], grad: &[&Tensor<Bf16>]| {
        let error = vulkan
            .step_mixed(&mut optimizer, &mut [&mut a, &mut b], params, grad)
            .unwrap_err();
        assert_eq!((optimizer.phase(), optimizer.steps()), (Phase::Ready, 0));
        assert_eq!(download(&mut vulkan, &a), [1.0; 3]);
        assert_eq!(download(&mut vulkan, &b), [2.0; 2]);
        let m = download(&mut vulkan, optimizer.slot(0).unwrap());
        assert!(m.iter().all(|&m| m == 0.0));
        for params in params {
            let numbers = numbers_of(&mut vulkan, params);
            assert!(numbers.iter().all(|x| x.to_bits() == 0));
        }
        error
    };
    let length = |error: Error, what| match error {
        Error::Core(ErrorKind::Length(mismatch)) => assert_eq!(mismatch.what, what),
        other => panic!("{other}"),
    };
    length(refused(&mut [&mut x, &mut short], &[&g, &h]), "params");
    length(refused(&mut [&mut x], &[&g, &h]), "the list of params");
    length(refused(&mut [&mut x, &mut y], &[&g, &g]), "grad");
    length(refused(&mut [&mut x, &mut y], &[&g]), "the list of grads");
    let half_word = |error: Error, wanted| {
        let (tensor, offset) = (1, 6);
        let expected = Error::HalfWord {
            what: wanted,
            tensor,
            offset,
        };
        assert_eq!(error, expected);
        let start = format!("{wanted} of tensor 1 starts at byte 6, and numbers of 16 bits");
        assert!(error.to_string().starts_with(&start), "{error}");
    };
    half_word(refused(&mut [&mut x, &mut odd_params], &[&g, &h]), "params");
    half_word(refused(&mut [&mut x, &mut y], &[&g, &odd_grad]), "grad");
}

/// Each number of the type, what lies half-way to the next and beside that, the first that rounds to infinity and those
/// beside, subnormal numbers and NaNs of `f32`, and any bits.
fn hard(half: Half) -> Vec<f32> {
    let all = (0..=u16::MAX).map(|bits| half.unpack(f32::from_bits(bits.into()))[0]);
    let places = if half == Half::Bf16 { 16 } else { 13 };
    let between = all.clone().flat_map(|x| {
        // Above the subnormal numbers of f16, neighbours differ in a place of the f32; among them in one more the smaller.
        let exponent = (x.to_bits() >> 23 & 0xff) as i32;
        let fewer = if half == Half::F16 {
            (113 - exponent).clamp(0, 10)
        } else {
            0
        };
        let middle = x.to_bits().wrapping_add(1 << (places + fewer - 1));
        [middle - 1, middle, middle + 1].map(f32::from_bits)
    });
    let least = 2f32.powi(-24) / 2.0;
    let edges = [
        least,
        least.next_down(),
        least.next_up(),
        65520.0,
        65519.996,
        65536.0,
        f32::MAX,
    ];
    let bits = [
        1,
        2,
        0x7fff,
        0x8000,
        0x8001,
        0x007f_ffff,
        0x0080_0000,
        0x7f80_0001,
        0x7fff_ffff,
        0x7fa0_8000,
    ];
    let special = bits.into_iter().map(f32::from_bits).chain(edges);
    let special = special.flat_map(|x| [x, -x]);
    let mut random = Random::new(5);
    let any = random.many(100_000, |random| f32::from_bits(random.bits() as u32));
    all.chain(between).chain(special).chain(any).collect()
}

/// The step negates theta, which changes no other bit of it.
fn rounds_as_the_host_does<P: Param>() {
    let Some(mut vulkan) = vulkan() else { return };
    let numbers = hard(P::HALF.unwrap());
    let mut master = upload(&mut vulkan, &numbers);
    let grad = vulkan.zeros_of::<P>(numbers.len()).unwrap();
    let mut params = vulkan.zeros_of::<P>(numbers.len()).unwrap();
    let mut optimizer = Optimizer::new(Probe::Neg, &mut vulkan, &[numbers.len()]).unwrap();
    let (theta, params) = (&mut [&mut master], &mut [&mut params]);
    vulkan
        .step_mixed(&mut optimizer, theta, params, &[&grad])
        .unwrap();
    let stored = numbers_of(&mut vulkan, params[0]);
    for (&x, stored) in numbers.iter().zip(stored) {
        // Of a NaN, too, every bit.
        let (expected, got): (f32, f32) = (P::store(-x).load(), stored.load());
        assert_eq!(
            got.to_bits(),
            expected.to_bits(),
            "{x:e} ({:#x})",
            x.to_bits()
        );
    }
}

#[test]
fn parameters_are_rounded_as_the_host_rounds() {
    rounds_as_the_host_does::<Bf16>();
    rounds_as_the_host_does::<F16>();
}

/// A gradient of any bits of its type becomes theta.
fn gradients_are_exact<P: Param>() {
    let Some(mut vulkan) = vulkan() else { return };
    let half = P::HALF.unwrap();
    let all = (0..=u16::MAX).map(|bits| half.unpack(f32::from_bits(bits.into()))[0]);
    let numbers = Vec::from_iter(all.map(P::store));
    let mut master = vulkan.zeros(numbers.len()).unwrap();
    let (grad, mut params) = (
        upload_of(&mut vulkan, &numbers),
        vulkan.zeros_of::<P>(numbers.len()).unwrap(),
    );
    // The larger of a NaN and the gradient is the gradient.
    let nan = vec![f32::NAN; numbers.len()];
    vulkan.write(&mut master, 0, &nan).unwrap();
    let mut optimizer = Optimizer::new(Probe::Max, &mut vulkan, &[numbers.len()]).unwrap();
    let (theta, lent) = (&mut [&mut master], &mut [&mut params]);
    vulkan
        .step_mixed(&mut optimizer, theta, lent, &[&grad])
        .unwrap();
    let expected = loaded(&numbers);
    difference("theta", &expected, &download(&mut vulkan, &master)).unwrap();
    let rounded = loaded(&numbers_of(&mut vulkan, &params));
    difference("params", &expected, &rounded).unwrap();
}

#[test]
fn gradients_of_any_bits_are_widened_exactly() {
    gradients_are_exact::<Bf16>();
    gradients_are_exact::<F16>();
}

/// Lengths that end with half a word and lie around a chunk; each tensor lies at an offset within a larger buffer.
const LENGTHS: [usize; 8] = [1, 0, 2, 17, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 333];

#[test]
fn state_in_full_and_packed_lies_beside_other_half_types() {
    let Some(mut vulkan) = vulkan() else { return };
    let vulkan = &mut vulkan;
    for gap in [2, 6, 64] {
        let bf16 = HalfState::bf16(AdaRem::default());
        compare_mixed::<F16, _>(vulkan, &bf16, &LENGTHS, gap, Random::mild).unwrap();
        let f16 = HalfState::f16(AdaRemS::default());
        compare_mixed::<Bf16, _>(vulkan, &f16, &LENGTHS, gap, Random::any).unwrap();
        let full = AdaRem::default();
        compare_mixed::<F16, _>(vulkan, &full, &LENGTHS, gap, Random::any).unwrap();
        // No state at all, and a pass that only looks at the gradient.
        compare_mixed::<Bf16, _>(vulkan, &Sgd::default(), &LENGTHS, gap, Random::mild).unwrap();
    }
}

/// Where nothing is of 16 bits, it is a step like any other, and looks at no parameters.
#[test]
fn parameters_in_full_are_not_used() {
    let Some(mut vulkan) = vulkan() else { return };
    compare_mixed::<f32, _>(&mut vulkan, &AdaRem::default(), &LENGTHS, 2, Random::mild).unwrap();
    let mut optimizer = Optimizer::new(Sgd::default(), &mut vulkan, &[1]).unwrap();
    let (mut theta, grad) = (upload(&mut vulkan, &[1.0]), upload(&mut vulkan, &[1.0]));
    vulkan
        .step_mixed(&mut optimizer, &mut [&mut theta], &mut [], &[&grad])
        .unwrap();
    assert!(download(&mut vulkan, &theta)[0] < 1.0);
}

/// Tensors cut into pieces, bound at every alignment.
#[test]
fn pieces_and_alignments_give_the_same_bits() {
    for offset_alignment in [16, 64, 256] {
        let Some(context) = support::context() else {
            return;
        };
        let limits = Limits {
            offset_alignment: context.limits().offset_alignment.max(offset_alignment),
            groups: 2,
            ..context.limits()
        };
        let mut vulkan = Vulkan::<f32>::new(&context.with_limits(limits)).unwrap();
        let lengths = [5 * CHUNK + 17, 1, 2 * CHUNK, 70];
        let packed = HalfState::bf16(AdaRemS::default());
        compare_mixed::<F16, _>(&mut vulkan, &packed, &lengths, 2, Random::mild).unwrap();
        let full = AdaRemS::default();
        compare_mixed::<Bf16, _>(&mut vulkan, &full, &lengths, 10, Random::mild).unwrap();
    }
}

/// One backend steps the same rule with each type: none is answered with kernels or layouts of another.
#[test]
fn kernels_are_kept_for_each_type() {
    let Some(mut vulkan) = vulkan() else { return };
    let rule = AdaRem::default();
    for _ in 0..2 {
        compare_mixed::<Bf16, _>(&mut vulkan, &rule, &[70, 3], 2, Random::mild).unwrap();
        support::compare(&mut vulkan, &rule, &[70, 3], 2, Random::mild).unwrap();
        compare_mixed::<F16, _>(&mut vulkan, &rule, &[70, 3], 2, Random::mild).unwrap();
    }
}

#[test]
fn a_step_is_recorded_for_an_engine() {
    if support::context().is_none() {
        return;
    }
    let Some(engine) = Engine::new() else { return };
    let mut vulkan = Vulkan::<f32>::new(&engine.lend()).unwrap();
    let one = Bf16::store(1.0f32);
    let mut master = upload(&mut vulkan, &[1.0; 9]);
    let (mut params, grad) = (
        upload_of(&mut vulkan, &[one; 9]),
        upload_of(&mut vulkan, &[one; 9]),
    );
    let rule = Sgd {
        lr: 0.25,
        ..Sgd::default()
    };
    let mut optimizer = Optimizer::new(rule, &mut vulkan, &[9]).unwrap();
    let commands = engine.begin();
    // SAFETY: `commands` is being recorded, and everything stays until `finish` has waited.
    let (stepped, recorded) = unsafe {
        vulkan.record(commands, |vulkan| {
            let (master, params) = (&mut [&mut master], &mut [&mut params]);
            vulkan.step_mixed(&mut optimizer, master, params, &[&grad])
        })
    };
    stepped.unwrap();
    assert_eq!(download(&mut vulkan, &master), [1.0; 9], "not yet");
    engine.finish(commands);
    drop(recorded);
    assert_eq!(download(&mut vulkan, &master), [0.75; 9]);
    let rounded = numbers_of(&mut vulkan, &params);
    assert_eq!(rounded, [Bf16::store(0.75f32); 9]);
}

/// Copies of an odd number of halves, longer than the staging buffer, between which copies of words stay whole.
#[test]
fn halves_and_words_share_the_staging_buffer() {
    let Some(mut vulkan) = vulkan() else { return };
    let random = &mut Random::new(5);
    let halves = random.many(3_000_001, |random| F16::from_bits(random.bits() as u16));
    let words = random.many(1_100_000, |random| f32::from_bits(random.bits() as u32));
    let mut of_halves = vulkan.zeros_of(halves.len() + 3).unwrap();
    vulkan.write_of(&mut of_halves, 1, &halves).unwrap();
    let of_words = upload(&mut vulkan, &words);
    difference("words", &words, &download(&mut vulkan, &of_words)).unwrap();
    let got = numbers_of(&mut vulkan, &of_halves);
    assert!(got[1..][..halves.len()] == halves);
    assert!(got[0].to_bits() == 0 && got[halves.len() + 1..].iter().all(|x| x.to_bits() == 0));
    let refused = vulkan.write_of(&mut of_halves, 4, &halves).unwrap_err();
    assert!(
        matches!(refused, Error::Core(ErrorKind::Length(_))),
        "{refused}"
    );
}
