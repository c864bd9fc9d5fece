//! How near a step comes to what the device's memory can do, and what recording costs the host.
//!
//!     cargo bench -p adarem-vulkan                 the device that the backend would choose
//!     cargo bench -p adarem-vulkan -- 64           with tensors of 64 million numbers (needs about 1.3 GB)
//!
//! Each rule's bytes are counted from its plan: what its passes read and write. Beside it stands a copy of a buffer
//! on the same device, timed in turn with it: the bound. Times are the best of several rounds.

#[path = "../tests/support/engine.rs"]
mod engine;

use adarem::{
    AdaRem, AdaRemS, Adam, Backend, Optimizer, Rule, Sgd, SgdM,
    backend::packing,
    plan::{Op, Plan},
    trace::trace,
};
use adarem_adapters::HalfState;
use adarem_vulkan::{Division, Vulkan};
use ash::vk;
use engine::Engine;
use std::time::Instant;

const ROUNDS: usize = 7;

/// Bytes that a step of `plan` moves for each number of 4 bytes.
fn bytes_per_parameter(plan: &Plan) -> usize {
    let full = size_of::<f32>();
    let state = match packing::<Vulkan<f32>>(plan.half()) {
        Some(_) => full / 2,
        None => full,
    };
    let passes = plan.passes().iter().enumerate();
    let bytes = passes.map(|(p, pass)| {
        let read = |id| match plan.op(id) {
            Op::Theta(_) | Op::Grad(_) => full,
            Op::Slot(..) => state,
            _ => 0,
        };
        let read: usize = plan.lane_ops(p).iter().map(read).sum();
        let slots = (0..plan.slots()).filter(|&k| pass.slot(k).is_some());
        read + state * slots.count() + full * usize::from(pass.theta().is_some())
    });
    bytes.sum()
}

/// Seconds of the quickest of several rounds.
fn best(mut round: impl FnMut()) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

/// Gigabytes a second of a copy, which reads and writes every byte.
fn copy(engine: &Engine, vulkan: &mut Vulkan<f32>, len: usize, times: u32) -> f64 {
    let (from, to) = (vulkan.zeros(len).unwrap(), vulkan.zeros(len).unwrap());
    vulkan.flush().unwrap();
    let bytes = 4 * len as u64;
    let region = [vk::BufferCopy::default().size(bytes)];
    let commands = engine.begin();
    for _ in 0..times {
        // SAFETY: both buffers hold so many bytes and live until the copies have finished.
        unsafe {
            engine
                .device
                .cmd_copy_buffer(commands, from.buffer(), to.buffer(), &region)
        };
        let memory = [vk::MemoryBarrier::default()
            .src_access_mask(vk::AccessFlags::TRANSFER_WRITE)
            .dst_access_mask(vk::AccessFlags::TRANSFER_WRITE)];
        let (stage, none) = (
            vk::PipelineStageFlags::TRANSFER,
            vk::DependencyFlags::empty(),
        );
        // SAFETY: `commands` is being recorded.
        unsafe {
            engine
                .device
                .cmd_pipeline_barrier(commands, stage, stage, none, &memory, &[], &[])
        };
    }
    engine.finish(commands);
    let seconds = best(|| engine.submit(commands));
    2.0 * (bytes * u64::from(times)) as f64 / seconds / 1e9
}

/// One tensor of `len` numbers, stepped again and again without waiting between.
fn large<R: Rule + Clone>(engine: &Engine, division: Division, rule: &R, len: usize, times: u32) {
    let mut vulkan = Vulkan::<f32>::new(&engine.lend())
        .unwrap()
        .with_division(division);
    let bound = copy(engine, &mut vulkan, len, times);
    let (mut theta, grad) = (vulkan.zeros(len).unwrap(), vulkan.zeros(len).unwrap());
    let mut optimizer =
        Optimizer::<_, Vulkan<f32>>::new(rule.clone(), &mut vulkan, &[len]).unwrap();
    // The first step compiles, and may differ from the rest.
    for _ in 0..2 {
        optimizer
            .step(&mut vulkan, &mut [&mut theta], &[&grad])
            .unwrap();
    }
    vulkan.flush().unwrap();
    let seconds = best(|| {
        for _ in 0..times {
            optimizer
                .step(&mut vulkan, &mut [&mut theta], &[&grad])
                .unwrap();
        }
        vulkan.flush().unwrap();
    }) / f64::from(times);
    let bytes = bytes_per_parameter(&trace(rule, optimizer.steps()).unwrap().plan);
    let reached = (bytes * len) as f64 / seconds / 1e9;
    println!(
        "{:17} {division:?}: {bytes:2} bytes a parameter, {:7.3} ns a parameter, {reached:8.2} GB/s; a copy {bound:8.2} \
         GB/s: {:.2} of it",
        R::NAME,
        seconds / len as f64 * 1e9,
        reached / bound,
    );
}

/// What recording a step of many small tensors costs the host, for each.
fn recording<R: Rule + Clone>(engine: &Engine, rule: &R, tensors: usize) {
    let mut vulkan = Vulkan::<f32>::new(&engine.lend()).unwrap();
    let lengths = vec![256; tensors];
    let [mut theta, grad] = [(); 2].map(|()| {
        vulkan
            .zeros(256 * tensors)
            .unwrap()
            .split(&lengths)
            .unwrap()
    });
    let mut optimizer =
        Optimizer::<_, Vulkan<f32>>::new(rule.clone(), &mut vulkan, &lengths).unwrap();
    let mut theta = theta.iter_mut().collect::<Vec<_>>();
    let grad = grad.iter().collect::<Vec<_>>();
    let mut seconds = f64::INFINITY;
    for _ in 0..ROUNDS {
        let commands = engine.begin();
        let start = Instant::now();
        // SAFETY: `commands` is being recorded, and everything stays until `finish` has waited.
        let (stepped, recorded) =
            unsafe { vulkan.record(commands, |vulkan| optimizer.step(vulkan, &mut theta, &grad)) };
        seconds = seconds.min(start.elapsed().as_secs_f64());
        stepped.unwrap();
        engine.finish(commands);
        drop(recorded);
    }
    println!(
        "{:17} recording {tensors} tensors: {:.3} us a tensor",
        R::NAME,
        seconds / tensors as f64 * 1e6
    );
}

fn main() {
    let Some(engine) = Engine::new() else {
        println!("no Vulkan device: nothing measured");
        return;
    };
    let context = engine.lend();
    println!("device: {}", context.name());
    if context.is_software() {
        println!(
            "This is a software device: a processor that plays a GPU. Its figures say nothing of a GPU's, and nothing \
             of adarem's speed on one."
        );
    }
    let millions = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse::<usize>().ok());
    let (len, times) = match (millions, context.is_software()) {
        (Some(millions), _) => (millions << 20, 5),
        (None, true) => (1 << 20, 2),
        (None, false) => (32 << 20, 20),
    };
    println!("one tensor of {len} f32:");
    large(&engine, Division::Exact, &Sgd::default(), len, times);
    large(&engine, Division::Exact, &SgdM::default(), len, times);
    large(&engine, Division::Exact, &AdaRem::default(), len, times);
    let packed = HalfState::bf16(AdaRem::default());
    large(&engine, Division::Exact, &packed, len, times);
    large(&engine, Division::Exact, &AdaRemS::default(), len, times);
    large(&engine, Division::Exact, &Adam::default(), len, times);
    large(&engine, Division::Native, &Adam::default(), len, times);
    for tensors in [100, 1000] {
        recording(&engine, &AdaRem::default(), tensors);
    }
}
