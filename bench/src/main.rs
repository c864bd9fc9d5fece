//! adarem beside hand-written loops, the memory's own speed and its peers, in one run.
//!
//! `cargo xtask bench` calls this; it writes BENCHMARKS.md and its pictures.

mod libraries;
mod loops;
mod models;
mod ours;
mod race;
mod report;
mod torch;

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use adarem::rules::{EachRule, for_each};
use adarem::trace::trace;
use adarem::{
    AdaRem, AdaRem8, AdaRemS, Adam, Backend, Batch, Bf16, Element, Optimizer, Rule, SgdM, Stored,
    Tunable,
};
use adarem_adapters::HalfState;
use adarem_cpu::{Cpu, Simd};
use clap::Parser;

use loops::{ByHand, stream};
use ours::{Shared, Tensors, rule, zeros};
use race::{Contender, race};
use report::Section;
use torch::Torch;

/// Measures adarem beside hand-written loops, the memory's own speed, candle, burn, dfdx, and PyTorch where Python has it.
#[derive(Parser)]
struct Options {
    /// The largest number of parameters.
    #[arg(long, default_value_t = 100_000_000)]
    largest: usize,
    /// Rounds in which the contenders take turns.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Where BENCHMARKS.md and its pictures go.
    #[arg(long, default_value = ".")]
    out: PathBuf,
}

/// Learning rates so small that no number leaves its range in a million steps.
const LR: f64 = 1e-9;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let rounds = options.rounds;
    let threads = std::thread::available_parallelism()?.get();
    let torch = Torch::start(1);
    let torch_version = match &torch {
        Ok(torch) => format!("PyTorch {}", torch.version),
        Err(why) => format!("no PyTorch ({why})"),
    };
    let libraries = ["candle-nn", "burn", "dfdx"].map(|name| format!("{name} {}", locked(name)));
    let head = head(
        threads,
        &format!("{}, {torch_version}", libraries.join(", ")),
    );
    println!("{head}");
    let torch = torch.ok().map(RefCell::new);
    let sizes: Vec<usize> = (3..=9)
        .map(|power| 10usize.pow(power))
        .filter(|&n| n <= options.largest)
        .collect();

    let mut sections = vec![
        Section {
            title: "AdaRem and AdaRem-S by size, f32, one thread".into(),
            bound: "Up to 1e5 parameters the streams come from the caches and arithmetic and stores compete; beyond, memory is the bound: \
                    20 bytes a parameter for AdaRem, 28 for AdaRem-S. The stream loop moves AdaRem's 20 bytes and computes next to nothing.",
            rows: sizes
                .iter()
                .map(|&n| (format!("{n}"), n, adarem_at::<f32>(n, 1, rounds)))
                .collect(),
        },
        Section {
            title: format!("AdaRem and AdaRem-S by size, f32, {threads} threads"),
            bound: "The stream loop is cut into one part a thread; its threads live through all steps and spin where they meet. Ours sleep \
                    between steps. From 1e7 parameters on memory is the bound; below, how the threads meet is.",
            rows: sizes
                .iter()
                .filter(|&&n| n >= 100_000)
                .map(|&n| (format!("{n}"), n, adarem_at::<f32>(n, threads, rounds)))
                .collect(),
        },
        Section {
            title: "AdaRem and AdaRem-S, f64, one thread".into(),
            bound: "Twice the bytes, the same loops.",
            rows: sizes
                .iter()
                .filter(|&&n| n <= 10_000_000)
                .map(|&n| (format!("{n}"), n, adarem_at::<f64>(n, 1, rounds)))
                .collect(),
        },
        Section {
            title: "Vector instructions, f32, in cache (16,384 parameters), one thread".into(),
            bound: "Everything lies in the second-level cache, so instructions count: each loop loads three vectors and stores two, and AdaRem adds \
                    twelve operations. The loop written by hand uses intrinsics of the same width.",
            rows: [Simd::Baseline, Simd::Avx2, Simd::Avx512]
                .into_iter()
                .filter(|&simd| simd <= Simd::widest())
                .map(|simd| (format!("{simd:?}"), 16_384, by_width(simd, rounds)))
                .collect(),
        },
    ];
    let longest = [100_000, 10_000_000, 100_000_000];
    let longest = longest.into_iter().filter(|&n| n <= options.largest);
    sections.push(Section {
        title: "State in fewer bytes, f32, one thread".into(),
        bound: "A step moves 20 bytes a parameter with m in f32, 16 with m in 16 bits, 18 in two trips with m in a byte. With parameters and gradients in bf16 \
                    the master copy takes what they save, so a step moves 20 or 16 again, and it is the network that reads and writes half. Rounding to 16 bits costs nine \
                operations in bf16 and eleven in f16, stochastic rounding three times as many, whose subnormal numbers make loads and stores long too; where memory is fast these decide. A step over \
                bytes reads m and the gradient twice, for their maximum comes first.",
        rows: longest.map(|n| (format!("{n}"), n, by_state(n, rounds))).collect(),
    });
    let mut family = Family {
        len: options.largest.min(10_000_000),
        rounds,
        rows: Vec::new(),
    };
    for_each(&mut family);
    sections.push(Section {
        title: format!("Every rule at {} parameters, f32, one thread", family.len),
        bound: "Each rule stands beside the stream loop with as many state vectors, or more where a rule makes several passes; the bytes are counted \
                from its plan. Rules with a root and a division a lane are bound by these where memory is fast. A pass that only reads (`nd_adam`, \
                `lamb`, `adagrad_norm`) is bound by what one core can read, about 30 GB/s here, while the stream's writes come on top of its reads. `adashift` \
                reads ten gradients from ten places, where the stream goes over five vectors. The `sc_` rules take an exponential: forty operations a lane, \
                most of which wait for the one before, so on one thread these bound them, wherever the numbers lie.",
        rows: family.rows,
    });
    sections.push(Section {
        title: "Lists of tensors, f32, one thread".into(),
        bound: "The bound is one tensor of as many parameters: what a list costs more is the overhead of a tensor.",
        rows: models::models().into_iter().map(|model| by_model(model, rounds)).collect(),
    });
    for len in [1_000_000, options.largest.min(10_000_000)] {
        let outcomes = against_peers(len, rounds, torch.as_ref());
        report::bars(
            &options.out.join(format!("docs/peers-{len}.svg")),
            &format!(
                "Nanoseconds a parameter, over {len} parameters: one thread, f32, logarithmic"
            ),
            len,
            &outcomes,
        )?;
        sections.push(Section {
            title: format!("Peers at {len} parameters, f32, one thread"),
            bound: "A loop of tensor operations moves every intermediate through memory; a fused loop moves each number once.",
            rows: vec![(format!("{len}"), len, outcomes)],
        });
    }
    if let Some(torch) = &torch {
        let (tensors, len) = (1000, 256);
        let shared = RefCell::new(Tensors::<f32>::new(&vec![len; tensors]));
        let mut contenders = vec![rule(
            "adarem AdaRem",
            AdaRem {
                lr: LR,
                ..AdaRem::default()
            },
            Cpu::new(),
            20,
            &shared,
        )];
        contenders.extend(
            Torch::contenders(torch, tensors, len)
                .into_iter()
                .filter(|c| !c.name.contains("compile")),
        );
        sections.push(Section {
            title: "Peers over 1,000 tensors of 256, f32, one thread".into(),
            bound: "Overhead a tensor is the bound.",
            rows: vec![(
                "1,000 x 256".into(),
                tensors * len,
                race("peers, small tensors", rounds, contenders),
            )],
        });
    }
    let path = options.out.join("BENCHMARKS.md");
    std::fs::write(&path, report::markdown(&sections, &head))?;
    println!(
        "wrote {} and the pictures in {}",
        path.display(),
        options.out.join("docs").display()
    );
    Ok(())
}

/// The version of a package that this program was built with.
fn locked(package: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let entry = lock.split_once(&format!("name = \"{package}\"\nversion = \""));
    let version = entry.and_then(|(_, rest)| rest.split('"').next());
    version.unwrap_or("of unknown version")
}

/// The machine, the versions and the command.
fn head(threads: usize, peers: &str) -> String {
    let read = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| {
        line.strip_prefix("model name")?
            .split_once(": ")
            .map(|(_, model)| model)
    });
    format!(
        "Made by `cargo xtask bench` on {}, {threads} hardware threads, {:?}, {}, commit {}; peers: {peers}.\n\n\
         Contenders take turns within one run and the table holds medians of the rounds: figures of one table may be compared, figures of \
         different runs may not. A step's bytes are what it must move, so GB/s is the useful part of the traffic. The streams, the \
         loops by hand and adarem share memory from `Cpu::zeros`, which asks Linux for huge pages; the peers allocate their own.\n",
        model.unwrap_or("an unknown processor"),
        Simd::widest(),
        read("rustc", &["--version"]).unwrap_or_default(),
        read("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_default(),
    )
}

/// The stream loop with `S` state vectors, over the first tensor; its threads last a turn, and meet after every step.
fn streaming<'a, T: Element, const S: usize>(
    name: &str,
    threads: usize,
    simd: Simd,
    shared: Shared<'a, T>,
) -> Contender<'a> {
    let len = shared.borrow().parameters();
    let mut state: [_; S] = std::array::from_fn(|_| {
        let mut ones = zeros(len);
        ones.fill(T::one());
        ones
    });
    let steps = move |count| {
        let Tensors { theta, grad } = &mut *shared.borrow_mut();
        let part = len.div_ceil(threads);
        let mut theta = theta[0].chunks_mut(part);
        let mut grad = grad[0].chunks(part);
        let mut state = state.each_mut().map(|s| s.chunks_mut(part));
        let arrived = AtomicUsize::new(0);
        let start = Instant::now();
        std::thread::scope(|scope| {
            while let (Some(theta), Some(grad)) = (theta.next(), grad.next()) {
                let mut state = state
                    .each_mut()
                    .map(|s| s.next().expect("state is as long as theta"));
                let arrived = &arrived;
                let mut work = move || {
                    for step in 1..=count {
                        stream(simd, theta, grad, state.each_mut().map(|s| &mut **s));
                        arrived.fetch_add(1, Ordering::AcqRel);
                        while arrived.load(Ordering::Acquire) < step * threads {
                            std::hint::spin_loop();
                        }
                    }
                };
                if threads == 1 {
                    work()
                } else {
                    scope.spawn(work);
                }
            }
        });
        start.elapsed()
    };
    Contender {
        name: name.to_owned(),
        bytes: (3 + 2 * S) * len * T::DTYPE.bytes(),
        steps: Box::new(steps),
    }
}

/// The stream loop with `state` state vectors, on one thread.
fn bound<'a>(state: usize, shared: Shared<'a, f32>) -> Contender<'a> {
    let streaming = match state {
        0 => streaming::<f32, 0>,
        1 => streaming::<f32, 1>,
        2 => streaming::<f32, 2>,
        3 => streaming::<f32, 3>,
        4 => streaming::<f32, 4>,
        5 => streaming::<f32, 5>,
        6 => streaming::<f32, 6>,
        7 => streaming::<f32, 7>,
        8 => streaming::<f32, 8>,
        9 => streaming::<f32, 9>,
        10 => streaming::<f32, 10>,
        11 => streaming::<f32, 11>,
        more => panic!("no rule is known to move {more} state vectors"),
    };
    streaming("stream", 1, Simd::widest(), shared)
}

fn adarem_at<T: Element>(len: usize, threads: usize, rounds: usize) -> Vec<race::Outcome> {
    let shared = RefCell::new(Tensors::<T>::new(&[len]));
    let bytes = T::DTYPE.bytes();
    let cpu = || Cpu::with_threads(threads);
    let contenders = vec![
        streaming::<T, 1>("stream", threads, Simd::widest(), &shared),
        rule(
            "adarem AdaRem",
            AdaRem {
                lr: LR,
                ..AdaRem::default()
            },
            cpu(),
            5 * bytes,
            &shared,
        ),
        rule(
            "adarem AdaRem-S",
            AdaRemS {
                lr: LR,
                ..AdaRemS::default()
            },
            cpu(),
            7 * bytes,
            &shared,
        ),
    ];
    race(
        &format!("AdaRem, {len}, {threads} threads, {:?}", T::DTYPE),
        rounds,
        contenders,
    )
}

fn by_state(len: usize, rounds: usize) -> Vec<race::Outcome> {
    let shared = &RefCell::new(Tensors::<f32>::new(&[len]));
    let kind = AdaRem {
        lr: LR,
        ..AdaRem::default()
    };
    let (cpu, mut q) = (Cpu::new(), vec![0; len]);
    let mut bytes = AdaRem8::new(kind, &mut q).expect("the rule's defaults are valid");
    let contenders = vec![
        rule("AdaRem, m in f32", kind, Cpu::new(), 20, shared),
        rule(
            "AdaRem, m in bf16",
            HalfState::bf16(kind),
            Cpu::new(),
            16,
            shared,
        ),
        rule(
            "AdaRem, m in f16",
            HalfState::f16(kind),
            Cpu::new(),
            16,
            shared,
        ),
        rule(
            "AdaRem, m in bf16, stochastic",
            HalfState::bf16(kind).stochastic(1),
            Cpu::new(),
            16,
            shared,
        ),
        mixed("AdaRem, bf16 but for m", kind, 20, shared),
        mixed("AdaRem, bf16, m too", HalfState::bf16(kind), 16, shared),
        Contender::new("AdaRem, m in a byte", 18 * len, move || {
            let Tensors { theta, grad } = &mut *shared.borrow_mut();
            cpu.step_bytes(&mut bytes, &mut theta[0], &grad[0])
                .expect("the lengths are those of the state");
        }),
    ];
    race(&format!("AdaRem's state, {len}"), rounds, contenders)
}

/// The rule on parameters and gradients in bf16, and a master copy in `f32`.
fn mixed<'a, R: Rule + 'a>(
    name: &str,
    rule: R,
    bytes: usize,
    shared: &'a RefCell<Tensors<f32>>,
) -> Contender<'a> {
    let grad: Vec<Bf16> = shared.borrow().grad[0]
        .iter()
        .map(|&g| Bf16::store(g))
        .collect();
    let (len, mut params, mut cpu) = (grad.len(), grad.clone(), Cpu::new());
    let mut optimizer = Optimizer::new(rule, &mut cpu, &[len]).expect("the state has room");
    Contender::new(name, bytes * len, move || {
        let master = &mut shared.borrow_mut().theta[0];
        cpu.step_mixed(&mut optimizer, &mut [master], &mut [&mut params], &[&grad])
            .expect("the lengths are those of the state");
    })
}

/// The stream loop, the loop by hand and ours with these vectors, over the very same memory, state too: where in a page
/// each vector lies decides a tenth of the time in cache.
fn by_width(simd: Simd, rounds: usize) -> Vec<race::Outcome> {
    const LEN: usize = 16_384;
    let tensors = RefCell::new((Tensors::<f32>::new(&[LEN]), [zeros(LEN)]));
    let kind = AdaRem {
        lr: LR,
        ..AdaRem::default()
    };
    let by_hand = ByHand {
        lr: kind.lr as f32,
        beta: kind.beta as f32,
        lambda: kind.lambda as f32,
    };
    let (mut largest, mut cpu, mut carried) = (0.0f32, Cpu::new().with_simd(simd), zeros(1));
    let bytes = 20 * LEN;
    let contenders = vec![
        Contender::new("stream", bytes, || {
            let (Tensors { theta, grad }, state) = &mut *tensors.borrow_mut();
            stream(
                simd,
                &mut theta[0],
                &grad[0],
                state.each_mut().map(|m| &mut **m),
            );
        }),
        Contender::new(format!("by hand, {simd:?}"), bytes, || {
            let (Tensors { theta, grad }, [m]) = &mut *tensors.borrow_mut();
            let inverse = if largest > 0.0 { 1.0 / largest } else { 0.0 };
            largest = by_hand.step(simd, inverse, &mut theta[0], &grad[0], m);
        }),
        Contender::new("adarem AdaRem", bytes, || {
            let (Tensors { theta, grad }, slots) = &mut *tensors.borrow_mut();
            let batch = Batch {
                theta: &mut [&mut *theta[0]],
                grad: &[&*grad[0]],
                slots,
                carried: &mut carried,
            };
            cpu.step(&kind, 0, batch).expect("the batch fits the rule");
        }),
    ];
    race(&format!("AdaRem, {simd:?}"), rounds, contenders)
}

/// Races every rule beside the stream loop of its own width.
struct Family {
    len: usize,
    rounds: usize,
    rows: Vec<(String, usize, Vec<race::Outcome>)>,
}

impl EachRule for Family {
    fn rule<R: Tunable + Default + Clone>(&mut self) {
        let mut kind = R::default();
        kind.set("lr", LR);
        let shared = RefCell::new(Tensors::<f32>::new(&[self.len]));
        // Steps after the first few are all alike.
        let plan = trace(&kind, 20).expect("every rule has a plan").plan;
        let moved = |p: usize| {
            let ops = plan.lane_ops(p);
            let read = ops.iter().filter(|&id| {
                use adarem::plan::Op::{Grad, Slot, Theta};
                matches!(plan.op(id), Theta(_) | Grad(_) | Slot(..))
            });
            let pass = &plan.passes()[p];
            read.count()
                + usize::from(pass.theta().is_some())
                + (0..plan.slots())
                    .filter(|&k| pass.slot(k).is_some())
                    .count()
        };
        let streams: usize = (0..plan.passes().len()).map(moved).sum();
        let bound = bound(streams.saturating_sub(3).div_ceil(2), &shared);
        let contenders = vec![
            bound,
            rule(
                format!("adarem {}", R::NAME),
                kind,
                Cpu::new(),
                4 * streams,
                &shared,
            ),
        ];
        let outcomes = race(R::NAME, self.rounds, contenders);
        self.rows.push((R::NAME.to_owned(), self.len, outcomes));
    }
}

fn by_model(model: models::Model, rounds: usize) -> (String, usize, Vec<race::Outcome>) {
    let list = RefCell::new(Tensors::<f32>::new(&model.lengths));
    let total = list.borrow().parameters();
    let one = RefCell::new(Tensors::<f32>::new(&[total]));
    let kind = AdaRem {
        lr: LR,
        ..AdaRem::default()
    };
    let tensors = model.lengths.len();
    let contenders = vec![
        rule("one tensor", kind, Cpu::new(), 20, &one),
        rule(
            format!("adarem, {tensors} tensors"),
            kind,
            Cpu::new(),
            20,
            &list,
        ),
    ];
    (
        model.name.to_owned(),
        total,
        race(model.name, rounds, contenders),
    )
}

fn against_peers(len: usize, rounds: usize, torch: Option<&RefCell<Torch>>) -> Vec<race::Outcome> {
    let shared = RefCell::new(Tensors::<f32>::new(&[len]));
    let mut contenders = vec![
        streaming::<f32, 1>("stream, 20 bytes a parameter", 1, Simd::widest(), &shared),
        rule(
            "adarem AdaRem",
            AdaRem {
                lr: LR,
                ..AdaRem::default()
            },
            Cpu::new(),
            20,
            &shared,
        ),
        rule(
            "adarem SGDM",
            SgdM {
                lr: LR,
                ..SgdM::default()
            },
            Cpu::new(),
            20,
            &shared,
        ),
        rule(
            "adarem Adam",
            Adam {
                lr: LR,
                ..Adam::default()
            },
            Cpu::new(),
            28,
            &shared,
        ),
    ];
    contenders.extend(libraries::all(len));
    contenders.extend(
        torch
            .map(|torch| Torch::contenders(torch, 1, len))
            .unwrap_or_default(),
    );
    race(&format!("peers, {len}"), rounds, contenders)
}
