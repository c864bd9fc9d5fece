//! What the tests share: finding a device, aloud where there is none, and steps beside the host.
#![allow(dead_code, reason = "each test uses a part")]

pub mod engine;
pub mod probe;

use adarem::{Backend, Element, Half, Optimizer, Param, Rule, backend::packing};
use adarem_conformance::Random;
use adarem_cpu::Cpu;
use adarem_vulkan::{Choice, Context, Error, Tensor, Vulkan};
use std::{path::PathBuf, process::Command};

/// Whether a skip is a failure: CI says so.
fn required() -> bool {
    std::env::var_os("ADAREM_REQUIRE_VULKAN").is_some_and(|value| value == "1")
}

/// Says aloud that a test does not run, or fails where it must.
pub fn skip(why: &str) {
    assert!(!required(), "ADAREM_REQUIRE_VULKAN=1, but {why}");
    println!("SKIPPED: {why}");
    eprintln!("SKIPPED: {why}");
}

/// A device, or a loud skip.
pub fn context() -> Option<Context> {
    match Context::open(&Choice::Best) {
        Ok(context) => Some(context),
        Err(error @ (Error::NoLoader { .. } | Error::NoDriver | Error::NoDevice { .. })) => {
            skip(&error.to_string());
            None
        }
        Err(error) => panic!("a device is there and does not open: {error}"),
    }
}

/// Whether `spirv-val` is installed, or a loud skip.
pub fn has_validator() -> bool {
    let found = Command::new("spirv-val").arg("--version").output().is_ok();
    if !found {
        skip("there is no spirv-val: install spirv-tools");
    }
    found
}

/// An empty directory for a test.
pub fn scratch(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// Any number that a type of 16 bits has: subnormal, infinite or NaN, too. In one of eight the last ten bits are set,
/// in another not: there `f16` changes its ways.
pub fn of_16_bits(half: Half, random: &mut Random) -> f32 {
    let bits = (random.bits() >> 32) as u32;
    let bits = match bits >> 29 {
        0 => bits | 0x3ff,
        1 => bits & !0x3ff,
        _ => bits,
    };
    half.unpack(f32::from_bits(bits))[0]
}

/// The same bits, or both NaN.
pub fn same<E: Element>(a: E, b: E) -> bool {
    a.to_le() == b.to_le() || (a.is_nan() && b.is_nan())
}

/// Where two lists first differ, and in how many places.
pub fn difference<E: Element>(what: &str, host: &[E], device: &[E]) -> Result<(), String> {
    assert_eq!(host.len(), device.len(), "{what}");
    let differ = |i: &usize| !same(host[*i], device[*i]);
    match (0..host.len()).find(differ) {
        None => Ok(()),
        Some(i) => Err(format!(
            "{what}[{i}]: host {:?} ({:#x}), device {:?} ({:#x}); {} of {} differ",
            host[i],
            host[i].to_le(),
            device[i],
            device[i].to_le(),
            (0..host.len()).filter(differ).count(),
            host.len()
        )),
    }
}

/// A tensor of these numbers.
pub fn upload<E: Element>(vulkan: &mut Vulkan<E>, numbers: &[E]) -> Tensor<E> {
    let mut tensor = vulkan.zeros(numbers.len()).unwrap();
    vulkan.write(&mut tensor, 0, numbers).unwrap();
    tensor
}

/// A tensor's numbers.
pub fn download<E: Element>(vulkan: &mut Vulkan<E>, tensor: &Tensor<E>) -> Vec<E> {
    let mut numbers = vec![E::zero(); adarem::Tensor::len(tensor)];
    vulkan.read(tensor, 0, &mut numbers).unwrap();
    numbers
}

/// The numbers of a state vector of a rule as a backend is given it.
pub fn unpacked<R: Rule, B: Backend>(slot: &[B::Elem]) -> Vec<B::Elem> {
    match packing::<B>(R::HALF) {
        Some(half) => slot.iter().flat_map(|&pair| half.unpack(pair)).collect(),
        None => slot.to_vec(),
    }
}

/// Steps the same tensors on the host and on the device and compares everything that a step writes, after every
/// step: parameters, state, carried scalars.
pub fn compare<E: Element, R: Rule + Clone>(
    vulkan: &mut Vulkan<E>,
    rule: &R,
    lengths: &[usize],
    steps: usize,
    draw: fn(&mut Random) -> E,
) -> Result<(), String> {
    let mut random = Random::new(lengths.iter().sum::<usize>() as u64 + 7);
    let mut cpu = Cpu::<E>::new();
    let mut on_host = Optimizer::<R, Cpu<E>>::new(rule.clone(), &mut cpu, lengths).unwrap();
    let mut on_device = Optimizer::<R, Vulkan<E>>::new(rule.clone(), vulkan, lengths).unwrap();
    let mut theta = lengths
        .iter()
        .map(|&len| random.many(len, draw))
        .collect::<Vec<_>>();
    let mut device_theta = theta
        .iter()
        .map(|theta| upload(vulkan, theta))
        .collect::<Vec<_>>();
    let mut device_grad = lengths
        .iter()
        .map(|&len| vulkan.zeros(len).unwrap())
        .collect::<Vec<_>>();
    for step in 0..steps {
        let grad = lengths
            .iter()
            .map(|&len| random.many(len, draw))
            .collect::<Vec<_>>();
        for (device, grad) in device_grad.iter_mut().zip(&grad) {
            vulkan.write(device, 0, grad).unwrap();
        }
        on_host
            .step(
                &mut cpu,
                &mut theta.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>(),
                &grad.iter().map(Vec::as_slice).collect::<Vec<_>>(),
            )
            .unwrap();
        on_device
            .step(
                vulkan,
                &mut device_theta.iter_mut().collect::<Vec<_>>(),
                &device_grad.iter().collect::<Vec<_>>(),
            )
            .unwrap();
        let what = |name: &str| format!("{} step {step} {name}", R::NAME);
        for (i, (theta, device)) in theta.iter().zip(&device_theta).enumerate() {
            difference(
                &what(&format!("theta {i}")),
                theta,
                &download(vulkan, device),
            )?;
        }
        for k in 0..R::SLOTS {
            let (host, device) = (on_host.slot(k).unwrap(), on_device.slot(k).unwrap());
            let (host, device) = (
                unpacked::<R, Cpu<E>>(host),
                unpacked::<R, Vulkan<E>>(&download(vulkan, device)),
            );
            difference(&what(&format!("slot {k}")), &host, &device)?;
        }
        let carried = download(vulkan, on_device.carried());
        difference(&what("carried"), on_host.carried(), &carried)?;
    }
    Ok(())
}

/// Parameters or gradients in one allocation, each behind `gap` numbers that no step may touch, and one more where it
/// is odd, so that the next begins a word.
pub struct Lent<P> {
    gaps: Vec<(Tensor<P>, Vec<P>)>,
    pub tensors: Vec<Tensor<P>>,
}

impl<P: Param> Lent<P> {
    /// Draws all numbers, those of the gaps too.
    pub fn new(
        vulkan: &mut Vulkan<f32>,
        lengths: &[usize],
        gap: usize,
        mut draw: impl FnMut() -> f32,
    ) -> Self {
        assert!(gap.is_multiple_of(2), "a gap ends with a word");
        let ends = lengths.iter().flat_map(|&len| [len, gap + len % 2]);
        let parts = Vec::from_iter(core::iter::once(gap).chain(ends));
        let numbers = (0..parts.iter().sum()).map(|_| P::store(draw()));
        let numbers = Vec::from_iter(numbers);
        let mut all = vulkan.zeros_of(numbers.len()).unwrap();
        vulkan.write_of(&mut all, 0, &numbers).unwrap();
        let (mut gaps, mut tensors, mut at) = (Vec::new(), Vec::new(), 0);
        for (i, part) in all.split(&parts).unwrap().into_iter().enumerate() {
            let held = numbers[at..][..parts[i]].to_vec();
            at += held.len();
            match i % 2 {
                0 => gaps.push((part, held)),
                _ => tensors.push(part),
            }
        }
        Self { gaps, tensors }
    }

    /// Whether the gaps hold what they held.
    pub fn gaps(&self, vulkan: &mut Vulkan<f32>) -> Result<(), String> {
        self.gaps
            .iter()
            .enumerate()
            .try_for_each(|(i, (gap, held))| {
                let now = numbers_of(vulkan, gap);
                difference(&format!("gap {i}"), &loaded(held), &loaded(&now))
            })
    }
}

/// A tensor's numbers, of any type.
pub fn numbers_of<P: Param>(vulkan: &mut Vulkan<f32>, tensor: &Tensor<P>) -> Vec<P> {
    let mut numbers = vec![P::default(); adarem::Tensor::len(tensor)];
    vulkan.read_of(tensor, 0, &mut numbers).unwrap();
    numbers
}

/// Numbers of 16 bits in full.
pub fn loaded<P: Param>(numbers: &[P]) -> Vec<f32> {
    numbers.iter().map(|x| x.load()).collect()
}

/// As [`compare`], in mixed precision; what lies between the parameters must stay as it is.
pub fn compare_mixed<P: Param, R: Rule + Clone>(
    vulkan: &mut Vulkan<f32>,
    rule: &R,
    lengths: &[usize],
    gap: usize,
    draw: fn(&mut Random) -> f32,
) -> Result<(), String> {
    let mut random = Random::new(lengths.iter().sum::<usize>() as u64 + 7);
    let mut cpu = Cpu::<f32>::new();
    let mut on_host = Optimizer::<R, Cpu<f32>>::new(rule.clone(), &mut cpu, lengths).unwrap();
    let mut on_device = Optimizer::<R, _>::new(rule.clone(), vulkan, lengths).unwrap();
    let mut master = Vec::from_iter(lengths.iter().map(|&len| random.many(len, draw)));
    let mut device_master = Vec::from_iter(master.iter().map(|theta| upload(vulkan, theta)));
    let mut device_params = Lent::<P>::new(vulkan, lengths, gap, || draw(&mut random));
    let params = device_params.tensors.iter();
    let mut params = Vec::from_iter(params.map(|tensor| numbers_of(vulkan, tensor)));
    for step in 0..3 {
        let device_grad = Lent::<P>::new(vulkan, lengths, gap, || draw(&mut random));
        let grad = device_grad.tensors.iter();
        let grad = Vec::from_iter(grad.map(|tensor| numbers_of(vulkan, tensor)));
        cpu.step_mixed(
            &mut on_host,
            &mut Vec::from_iter(master.iter_mut().map(Vec::as_mut_slice)),
            &mut Vec::from_iter(params.iter_mut().map(Vec::as_mut_slice)),
            &Vec::from_iter(grad.iter().map(Vec::as_slice)),
        )
        .unwrap();
        vulkan
            .step_mixed(
                &mut on_device,
                &mut Vec::from_iter(&mut device_master),
                &mut Vec::from_iter(&mut device_params.tensors),
                &Vec::from_iter(&device_grad.tensors),
            )
            .unwrap();
        let what = |name: &str| format!("{} step {step} {name}", R::NAME);
        for (i, (host, device)) in master.iter().zip(&device_master).enumerate() {
            let device = download(vulkan, device);
            difference(&what(&format!("master {i}")), host, &device)?;
        }
        for (i, (host, device)) in params.iter().zip(&device_params.tensors).enumerate() {
            let device = numbers_of(vulkan, device);
            let (host, device) = (loaded(host), loaded(&device));
            difference(&what(&format!("params {i}")), &host, &device)?;
        }
        for k in 0..R::SLOTS {
            let (host, device) = (on_host.slot(k).unwrap(), on_device.slot(k).unwrap());
            let (host, device) = (
                unpacked::<R, Cpu<f32>>(host),
                unpacked::<R, Vulkan<f32>>(&download(vulkan, device)),
            );
            difference(&what(&format!("slot {k}")), &host, &device)?;
        }
        let carried = download(vulkan, on_device.carried());
        difference(&what("carried"), on_host.carried(), &carried)?;
        device_params.gaps(vulkan)?;
    }
    Ok(())
}
