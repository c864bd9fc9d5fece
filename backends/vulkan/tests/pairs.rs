//! State of 16 bits: two bytes a number on the device, and the same numbers as where it is kept in full.

mod support;

use adarem::{AdaRem, AdaRemS, Backend, Element, Half, Optimizer, Rule, SgdM};
use adarem_adapters::HalfState;
use adarem_conformance::{Interpreter, Random, agree};
use adarem_cpu::Cpu;
use adarem_vulkan::{Limits, Vulkan};
use core::borrow::{Borrow, BorrowMut};
use support::{
    compare, difference, download,
    probe::{Keeps, Swaps},
    unpacked, upload,
};

fn vulkan() -> Option<Vulkan<f32>> {
    support::context().map(|context| Vulkan::new(&context).unwrap())
}

/// Every bit pattern of a type, in the low half of a word and then in the high one, and NaNs that it has no room for.
fn every_number(half: Half) -> Vec<f32> {
    let all = (0..=u16::MAX).map(|bits| half.unpack(f32::from_bits(bits.into()))[0]);
    let long = [0x7f80_0001, 0xff80_0001, 0xffff_ffff].map(f32::from_bits);
    all.clone().chain([1.0]).chain(all).chain(long).collect()
}

/// All bit patterns go down and up again; a NaN stays one.
#[track_caller]
fn all_come_through<const BF16: bool>(half: Half) {
    let Some(mut vulkan) = vulkan() else { return };
    let numbers = every_number(half);
    let (mut theta, grad) = (
        upload(&mut vulkan, &vec![1.0; numbers.len()]),
        upload(&mut vulkan, &numbers),
    );
    let mut optimizer =
        Optimizer::<_, Vulkan<f32>>::new(Swaps::<BF16>, &mut vulkan, &[numbers.len()]).unwrap();
    assert_eq!(
        optimizer.state_bytes(),
        2 * numbers.len().next_multiple_of(64),
        "two bytes a number"
    );
    for _ in 0..2 {
        optimizer
            .step(&mut vulkan, &mut [&mut theta], &[&grad])
            .unwrap();
    }
    let slot = download(&mut vulkan, optimizer.slot(0).unwrap());
    let kept = unpacked::<Swaps<BF16>, Vulkan<f32>>(&slot);
    difference("kept", &numbers, &kept[..numbers.len()]).unwrap();
    difference("loaded again", &numbers, &download(&mut vulkan, &theta)).unwrap();
}

#[test]
fn every_number_of_16_bits_comes_through() {
    all_come_through::<true>(Half::Bf16);
    all_come_through::<false>(Half::F16);
}

/// Lengths that end with half a word, and gaps between them that nothing may write.
const LENGTHS: [usize; 9] = [1, 0, 2, 65, 127, 513, 4095, 4097, 9001];

/// From state of any numbers, in the gaps too: what lies behind an odd tensor's last lane shares its word.
fn keeps_the_gaps<R: Rule>(rule: &R, drawn: impl Fn(f32) -> f32) {
    let Some(mut vulkan) = vulkan() else { return };
    for seed in 0..3 {
        let mut random = Random::new(seed);
        let mut ordinary = || drawn(random.ordinary());
        agree(&mut vulkan, rule, &LENGTHS, 0..3, &mut ordinary).unwrap();
        let mut any = || drawn(random.any());
        agree(&mut vulkan, rule, &LENGTHS, 0..3, &mut any).unwrap();
    }
}

#[test]
fn what_lies_behind_an_odd_tensor_stays() {
    keeps_the_gaps(&HalfState::bf16(AdaRem::default()), |x| x);
    keeps_the_gaps(&HalfState::f16(AdaRem::default()), |x| x);
    keeps_the_gaps(&HalfState::bf16(AdaRemS::default()), |x| x);
    keeps_the_gaps(&HalfState::f16(SgdM::default()), |x| x);
    let (bf16, f16) = (|x| Half::Bf16.round(x), |x| Half::F16.round(x));
    keeps_the_gaps(&Swaps::<true>, bf16);
    keeps_the_gaps(&Swaps::<false>, f16);
    // These words are not loaded but for what they share.
    keeps_the_gaps(&Keeps::<true>, bf16);
    keeps_the_gaps(&Keeps::<false>, f16);
}

/// A tensor's packed state begins at a multiple of 128 bytes, which need not be where a binding may begin.
#[test]
fn bindings_of_a_coarser_alignment_give_the_same_bits() {
    let lengths = [1, 70, 5000, 3, 64, 4097];
    for offset_alignment in [64, 128, 256] {
        let Some(context) = support::context() else {
            return;
        };
        let limits = Limits {
            offset_alignment,
            ..context.limits()
        };
        let mut vulkan = Vulkan::<f32>::new(&context.with_limits(limits)).unwrap();
        let (packed, full) = (HalfState::bf16(AdaRemS::default()), AdaRemS::default());
        compare(&mut vulkan, &packed, &lengths, 2, Random::mild).unwrap();
        compare(&mut vulkan, &full, &lengths, 2, Random::mild).unwrap();
    }
}

/// A training on one backend at a time.
struct Training {
    theta: Vec<Vec<f32>>,
    checkpoint: Vec<u8>,
}

impl Training {
    fn start() -> Self {
        let mut random = Random::new(11);
        let theta = [3, 4097, 0, 64].map(|len| random.many(len, Random::mild));
        Self {
            theta: theta.to_vec(),
            checkpoint: Vec::new(),
        }
    }

    /// Two steps from here on, on this backend.
    fn on<B: Backend<Elem = f32>, R: Rule + Clone>(&self, backend: &mut B, rule: &R) -> Self
    where
        B::Error: core::fmt::Debug,
    {
        let lengths = self.theta.iter().map(Vec::len).collect::<Vec<_>>();
        let mut optimizer = Optimizer::<R, B>::new(rule.clone(), backend, &lengths).unwrap();
        if !self.checkpoint.is_empty() {
            optimizer.restore(backend, &self.checkpoint).unwrap();
        }
        let load = |backend: &mut B, numbers: &[f32]| {
            let mut memory = backend.zeros(numbers.len()).unwrap();
            backend.write(memory.borrow_mut(), 0, numbers).unwrap();
            memory
        };
        let mut theta = self
            .theta
            .iter()
            .map(|theta| load(backend, theta))
            .collect::<Vec<_>>();
        let mut random = Random::new(optimizer.steps() + 13);
        for _ in 0..2 {
            let grad = lengths
                .iter()
                .map(|&len| load(backend, &random.many(len, Random::mild)))
                .collect::<Vec<_>>();
            let mut theta = theta.iter_mut().map(BorrowMut::borrow_mut);
            optimizer
                .step(
                    backend,
                    &mut theta.by_ref().collect::<Vec<_>>(),
                    &grad.iter().map(Borrow::borrow).collect::<Vec<_>>(),
                )
                .unwrap();
        }
        let mut checkpoint = Vec::new();
        optimizer
            .save(backend, |piece| checkpoint.extend_from_slice(piece))
            .unwrap();
        let theta = theta.iter().zip(&lengths).map(|(theta, &len)| {
            let mut numbers = vec![0.0; len];
            backend.read(theta.borrow(), 0, &mut numbers).unwrap();
            numbers
        });
        Self {
            theta: theta.collect(),
            checkpoint,
        }
    }

    #[track_caller]
    fn same(&self, other: &Self) {
        assert_eq!(self.checkpoint, other.checkpoint);
        for (one, other) in self.theta.iter().zip(&other.theta) {
            difference("theta", one, other).unwrap();
        }
    }
}

/// Here, on a backend that packs too, and on one that keeps state in full: each goes on from what another saved.
#[track_caller]
fn checkpoints_are_the_same<R: Rule + Clone>(rule: &R) {
    let Some(mut vulkan) = vulkan() else { return };
    let (mut cpu, mut full) = (Cpu::new(), Interpreter::<f32>::default());
    let start = Training::start();
    let first = start.on(&mut vulkan, rule);
    first.same(&start.on(&mut cpu, rule));
    first.same(&start.on(&mut full, rule));
    let second = first.on(&mut vulkan, rule);
    second.same(&first.on(&mut cpu, rule));
    second.same(&first.on(&mut full, rule));
    assert_ne!(first.checkpoint, second.checkpoint);
}

#[test]
fn a_checkpoint_is_the_same_bytes_everywhere() {
    checkpoints_are_the_same(&HalfState::bf16(AdaRem::default()));
    checkpoints_are_the_same(&HalfState::f16(AdaRem::default()));
    checkpoints_are_the_same(&HalfState::f16(AdaRemS::default()));
}

/// In `f64` a number is kept in full.
#[test]
fn nothing_is_packed_in_f64() {
    fn bytes<E: Element>(vulkan: &mut Vulkan<E>) -> usize {
        let rule = HalfState::bf16(SgdM::default());
        compare(vulkan, &rule, &LENGTHS, 2, Random::mild).unwrap();
        let optimizer = Optimizer::<_, Vulkan<E>>::new(rule, vulkan, &[100]);
        optimizer.unwrap().state_bytes()
    }
    let Some(context) = support::context() else {
        return;
    };
    assert_eq!(bytes(&mut Vulkan::<f64>::new(&context).unwrap()), 8 * 128);
    assert_eq!(bytes(&mut Vulkan::<f32>::new(&context).unwrap()), 2 * 128);
}
