//! How tensors are cut and bound never changes a bit: limits of bindings and dispatches (lowered, so that small
//! tensors are cut like large ones), tensors packed without alignment, a thousand tensors.

mod support;

use adarem::{AdaRem, AdaRemS, Backend, CHUNK, Element, Optimizer, Rule, Scope, Sgd};
use adarem_adapters::HalfState;
use adarem_conformance::Random;
use adarem_cpu::Cpu;
use adarem_vulkan::{Context, Limits, Tensor, Vulkan};
use support::{compare, difference, download, probe::Folds};

/// A device that reaches only so many chunks of `E` with one binding, and covers so many with one dispatch.
fn narrow<E: Element>(chunks: u64, groups: u32) -> Option<Context> {
    let context = support::context()?;
    let limits = context.limits();
    let bytes = (CHUNK * E::DTYPE.bytes()) as u64 * chunks + limits.offset_alignment;
    Some(context.with_limits(Limits {
        binding_bytes: bytes,
        groups,
        ..limits
    }))
}

/// Lengths at, below and above one, two and many pieces of so many chunks.
fn lengths(chunks: usize) -> Vec<usize> {
    let piece = chunks * CHUNK;
    vec![
        piece - 1,
        piece,
        piece + 1,
        2 * piece,
        2 * piece + 1,
        5 * piece + 17,
        0,
        1,
        CHUNK + 1,
    ]
}

fn rules<E: Element>(context: &Context, lengths: &[usize]) {
    let mut vulkan = Vulkan::<E>::new(context).unwrap();
    compare(&mut vulkan, &Folds, lengths, 2, Random::mild).unwrap();
    compare(&mut vulkan, &AdaRem::default(), lengths, 2, Random::mild).unwrap();
    let group = AdaRemS {
        scope: Scope::Group,
        sphere: Scope::Group,
        ..AdaRemS::default()
    };
    compare(&mut vulkan, &group, lengths, 2, Random::mild).unwrap();
    let packed = HalfState::bf16(AdaRemS::default());
    compare(&mut vulkan, &packed, lengths, 2, Random::mild).unwrap();
}

#[test]
fn pieces_of_four_chunks_give_the_same_bits() {
    if let Some(context) = narrow::<f32>(4, u32::MAX) {
        rules::<f32>(&context, &lengths(4));
    }
    if let Some(context) = narrow::<f64>(4, u32::MAX) {
        rules::<f64>(&context, &lengths(4));
    }
}

/// With 12 workgroups a dispatch, tensors longer than 12 chunks are cut, and 31 tensors take three dispatches to
/// finish.
#[test]
fn dispatches_of_twelve_groups_give_the_same_bits() {
    if let Some(context) = narrow::<f32>(1000, 12) {
        let many = [lengths(12), vec![100; 22]].concat();
        rules::<f32>(&context, &many);
    }
}

/// Numbers and kernels of one invocation a tensor: more tensors than one dispatch covers.
#[test]
fn more_tensors_than_a_dispatch_covers() {
    if let Some(context) = narrow::<f32>(1000, 1) {
        let mut vulkan = Vulkan::<f32>::new(&context).unwrap();
        compare(&mut vulkan, &Folds, &[3; 300], 2, Random::mild).unwrap();
    }
}

/// Tensors cut from one allocation start at any multiple of their element, not at the device's alignment.
#[test]
fn tensors_without_alignment_give_the_same_bits() {
    let Some(context) = support::context() else {
        return;
    };
    let mut vulkan = Vulkan::<f32>::new(&context).unwrap();
    let lengths = [1, 5000, 3, 0, 4097, 4096, 7];
    let mut random = Random::new(3);
    let cut = |vulkan: &mut Vulkan<f32>, numbers: &[Vec<f32>]| -> Vec<Tensor<f32>> {
        support::upload(vulkan, &numbers.concat())
            .split(&lengths)
            .unwrap()
    };
    let mut many = || {
        lengths
            .map(|len| random.many(len, Random::mild::<f32>))
            .to_vec()
    };
    let (mut theta, grad) = (many(), many());
    let (mut device_theta, device_grad) = (cut(&mut vulkan, &theta), cut(&mut vulkan, &grad));
    let mut cpu = Cpu::new();
    let rule = AdaRemS::default();
    let mut on_host = Optimizer::<_, Cpu<f32>>::new(rule, &mut cpu, &lengths).unwrap();
    let mut on_device = Optimizer::<_, Vulkan<f32>>::new(rule, &mut vulkan, &lengths).unwrap();
    for _ in 0..3 {
        let mut host_theta = theta.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>();
        let host_grad = grad.iter().map(Vec::as_slice).collect::<Vec<_>>();
        on_host.step(&mut cpu, &mut host_theta, &host_grad).unwrap();
        let mut theta = device_theta.iter_mut().collect::<Vec<_>>();
        let grad = device_grad.iter().collect::<Vec<_>>();
        on_device.step(&mut vulkan, &mut theta, &grad).unwrap();
    }
    for (theta, device) in theta.iter().zip(&device_theta) {
        difference("theta", theta, &download(&mut vulkan, device)).unwrap();
    }
}

#[test]
fn a_thousand_tensors_give_the_same_bits() {
    let Some(context) = support::context() else {
        return;
    };
    let mut vulkan = Vulkan::<f32>::new(&context).unwrap();
    let lengths = (0..1000).map(|i| i * 37 % 600).collect::<Vec<_>>();
    compare(&mut vulkan, &AdaRem::default(), &lengths, 2, Random::mild).unwrap();
}

#[test]
fn no_tensors_at_all_are_a_step() {
    fn step<R: Rule>(rule: R, vulkan: &mut Vulkan<f32>) {
        let mut optimizer = Optimizer::<_, Vulkan<f32>>::new(rule, vulkan, &[]).unwrap();
        optimizer.step(vulkan, &mut [], &[]).unwrap();
        assert_eq!(optimizer.steps(), 1);
    }
    let Some(context) = support::context() else {
        return;
    };
    let mut vulkan = Vulkan::<f32>::new(&context).unwrap();
    step(Sgd::default(), &mut vulkan);
    step(AdaRemS::default(), &mut vulkan);
    vulkan.flush().unwrap();
}

/// Copies longer than the staging buffer, to and from the middle of a tensor.
#[test]
fn long_copies_arrive_whole() {
    let Some(context) = support::context() else {
        return;
    };
    let mut vulkan = Vulkan::<f32>::new(&context).unwrap();
    let numbers = Random::new(5).many(3_000_000, |random| f32::from_bits(random.bits() as u32));
    let mut tensor = vulkan.zeros(3_000_100).unwrap();
    vulkan.write(&mut tensor, 50, &numbers).unwrap();
    let all = download(&mut vulkan, &tensor);
    difference("before", &[0.0; 50], &all[..50]).unwrap();
    difference("within", &numbers, &all[50..3_000_050]).unwrap();
    difference("behind", &[0.0; 50], &all[3_000_050..]).unwrap();
    let refused = vulkan.write(&mut tensor, 101, &numbers).unwrap_err();
    assert!(
        matches!(adarem::Error::kind(&refused), adarem::ErrorKind::Length(_)),
        "{refused}"
    );
}
