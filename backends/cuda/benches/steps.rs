//! How long a step takes, beside the device's own copy: one Markdown table.
//!
//! ```text
//! cargo bench -p adarem-cuda                  on a machine with a GPU
//! cargo bench -p adarem-cuda -- --rehearse    anywhere: the software driver, small tensors, no meaning in the figures
//! python3 backends/cuda/benches/torch_fused.py     the same rows from PyTorch's fused optimizers
//! ```
//!
//! The bound is the memory: a rule reads and writes so many bytes a parameter, and cannot be faster than the device copies
//! as many. Each row stands beside a copy of the same number of parameters, measured in the same rounds, in turn.

use adarem::backend::packing;
use adarem::plan::{Op, Plan};
use adarem::trace::trace;
use adarem::{AdaRem, AdaRemS, Adam, Backend, Optimizer, Rule, Sgd, SgdM};
use adarem_adapters::HalfState;
use adarem_cuda::{Cuda, Error, Memory, Tensor};
use std::time::{Duration, Instant};

/// Rounds, of which the median counts.
const ROUNDS: usize = 9;
/// A round repeats a step until it has taken so long.
const ROUND: Duration = Duration::from_millis(100);
/// Numbers that are made on the host; the device copies them over and over.
const PATTERN: usize = 1 << 20;

fn main() -> Result<(), Error> {
    let rehearses = std::env::args().any(|argument| argument == "--rehearse");
    if rehearses {
        adarem_cuda_softdriver::install(1);
    }
    let mut cuda = match Cuda::<f32>::open(0) {
        Err(error @ (Error::NoDriver(_) | Error::NoDevice { .. })) => {
            println!("Nothing was measured. {error}.");
            return Ok(());
        }
        opened => opened?,
    };
    let (_, total) = cuda.memory()?;
    println!(
        "{}, {:.0} GiB. f32, median of {ROUNDS} rounds.\n",
        cuda.name()?,
        total as f64 / (1_u64 << 30) as f64
    );
    println!("| tensors | parameters | rule | launches | B/parameter | us/step | GB/s | of copy |");
    println!("|--:|--:|---|--:|--:|--:|--:|--:|");
    let sizes: &[usize] = if rehearses {
        &[10_000, 50_000]
    } else {
        &[1_000_000, 10_000_000, 100_000_000, 1_000_000_000]
    };
    for size in sizes {
        table(&mut cuda, &[*size])?;
    }
    if !rehearses {
        table(&mut cuda, &resnet_50())?;
    }
    Ok(())
}

/// The rows of one list of tensors.
fn table(cuda: &mut Cuda<f32>, lengths: &[usize]) -> Result<(), Error> {
    row(cuda, lengths, Sgd::default())?;
    row(cuda, lengths, SgdM::default())?;
    row(cuda, lengths, AdaRem::default())?;
    row(cuda, lengths, HalfState::bf16(AdaRem::default()))?;
    row(cuda, lengths, AdaRemS::default())?;
    row(cuda, lengths, Adam::default())
}

fn row<R: Rule + Clone>(cuda: &mut Cuda<f32>, lengths: &[usize], rule: R) -> Result<(), Error> {
    let (tensors, parameters) = (lengths.len(), lengths.iter().sum::<usize>());
    let (free, _) = cuda.memory()?;
    let vectors = 2 + R::SLOTS;
    // Each tensor is an allocation of its own, rounded up by the driver.
    if (parameters + 512 * tensors) * size_of::<f32>() * vectors > free {
        println!(
            "| {tensors} | {parameters} | {} | does not fit in {free} B |||||",
            R::NAME
        );
        return Ok(());
    }
    let mut thetas = filled(cuda, lengths, 1)?;
    let grads = filled(cuda, lengths, 2)?;
    let mut optimizer = Optimizer::new(rule.clone(), cuda, lengths)?;
    let mut step = |cuda: &mut Cuda<f32>, thetas: &mut [Memory<f32>]| {
        let mut theta: Vec<&mut Tensor<f32>> =
            thetas.iter_mut().map(|theta| &mut **theta).collect();
        let grad: Vec<&Tensor<f32>> = grads.iter().map(|grad| &**grad).collect();
        optimizer.step(cuda, &mut theta, &grad)
    };
    let mut copy = |cuda: &mut Cuda<f32>, thetas: &mut [Memory<f32>]| {
        thetas
            .iter_mut()
            .zip(&grads)
            .try_for_each(|(theta, grad)| cuda.copy(theta, grad))
    };
    // The first steps compile and upload.
    for _ in 0..3 {
        step(cuda, &mut thetas)?;
    }
    let (mut steps, mut copies) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        copies.push(seconds(cuda, &mut thetas, &mut copy)?);
        steps.push(seconds(cuda, &mut thetas, &mut step)?);
    }
    let plan = trace(&rule, 9).map_err(adarem::ErrorKind::from)?.plan;
    let bytes = bytes(&plan);
    let rate = |bytes: usize, time: f64| (bytes * parameters) as f64 / time / 1e9;
    let time = median(&mut steps);
    let of_step = rate(bytes, time);
    let of_copy = rate(2 * size_of::<f32>(), median(&mut copies));
    println!(
        "| {tensors} | {parameters} | {} | {} | {bytes} | {:.1} | {of_step:.0} | {:.1} % of {of_copy:.0} |",
        R::NAME,
        plan.passes().len(),
        time * 1e6,
        100.0 * of_step / of_copy,
    );
    Ok(())
}

/// Bytes that a step of the plan must move for each parameter.
fn bytes(plan: &Plan) -> usize {
    let full = size_of::<f32>();
    let state = match packing::<Cuda<f32>>(plan.half()) {
        Some(_) => full / 2,
        None => full,
    };
    let touched = plan.passes().iter().enumerate().map(|(index, pass)| {
        let read = |id| match plan.op(id) {
            Op::Theta(_) | Op::Grad(_) => full,
            Op::Slot(..) => state,
            _ => 0,
        };
        let reads: usize = plan.lane_ops(index).iter().map(read).sum();
        let slots = (0..plan.slots()).filter(|k| pass.slot(*k).is_some());
        reads + state * slots.count() + full * usize::from(pass.theta().is_some())
    });
    touched.sum()
}

/// Seconds that one of `work` takes, repeated until a round is over.
fn seconds(
    cuda: &mut Cuda<f32>,
    thetas: &mut [Memory<f32>],
    work: &mut impl FnMut(&mut Cuda<f32>, &mut [Memory<f32>]) -> Result<(), Error>,
) -> Result<f64, Error> {
    let mut repeats = 1;
    loop {
        cuda.flush()?;
        let start = Instant::now();
        for _ in 0..repeats {
            work(cuda, thetas)?;
        }
        cuda.flush()?;
        let time = start.elapsed();
        if time >= ROUND {
            return Ok(time.as_secs_f64() / f64::from(repeats));
        }
        repeats *= 2;
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Tensors of small numbers, different ones for different seeds: memory is not as fast with any as with zeros.
fn filled(cuda: &mut Cuda<f32>, lengths: &[usize], seed: u32) -> Result<Vec<Memory<f32>>, Error> {
    let mut state = seed;
    let pattern: Vec<f32> = (0..PATTERN)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        })
        .collect();
    let mut source = cuda.zeros(PATTERN)?;
    cuda.write(&mut source, 0, &pattern)?;
    let mut all = Vec::new();
    for len in lengths {
        let memory = cuda.zeros(*len)?;
        for start in (0..*len).step_by(PATTERN) {
            let part = PATTERN.min(len - start);
            let at = memory.address() + (start * size_of::<f32>()) as u64;
            // SAFETY: the part lies in the memory, and the first of the pattern in the pattern.
            let (mut to, from) = unsafe {
                (
                    Tensor::from_raw(at, part),
                    Tensor::from_raw(source.address(), part),
                )
            };
            cuda.copy(&mut to, &from)?;
        }
        all.push(memory);
    }
    cuda.flush()?;
    Ok(all)
}

/// The lengths of ResNet-50's 161 parameters, in the order of torchvision: 25,557,032 in all.
fn resnet_50() -> Vec<usize> {
    fn convolution(all: &mut Vec<usize>, from: usize, to: usize, side: usize) {
        // The kernel, and scale and shift of the normalization behind it.
        all.extend([to * from * side * side, to, to]);
    }
    let mut all = Vec::new();
    convolution(&mut all, 3, 64, 7);
    let mut from = 64;
    for (width, blocks) in [(64, 3), (128, 4), (256, 6), (512, 3)] {
        for block in 0..blocks {
            convolution(&mut all, from, width, 1);
            convolution(&mut all, width, width, 3);
            convolution(&mut all, width, 4 * width, 1);
            if block == 0 {
                convolution(&mut all, from, 4 * width, 1);
            }
            from = 4 * width;
        }
    }
    all.extend([1000 * from, 1000]);
    assert_eq!((all.len(), all.iter().sum::<usize>()), (161, 25_557_032));
    all
}
