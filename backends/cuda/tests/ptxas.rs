//! NVIDIA's own assembler on the kernels of every rule: for every generation from `sm_70` to `sm_100`, without spills.
//!
//! It comes with two packages of the Python index, which hold nothing that is kept here:
//!
//! ```text
//! pip install --no-deps --target target/ptxas/cu12 nvidia-cuda-nvcc-cu12==12.9.86
//! pip install --no-deps --target target/ptxas/cu13 nvidia-cuda-nvcc==13.0.88
//! ```
//!
//! `ADAREM_PTXAS` names another program. Where there is none the test is skipped, aloud; with `ADAREM_REQUIRE_PTXAS=1` it
//! fails.

use adarem::rules::{EachRule, for_each};
use adarem::trace::trace;
use adarem::{AdaRem, AdaRemS, Bf16, Dtype, F16, Half, SgdM, Tunable};
use adarem_adapters::HalfState;
use adarem_cuda::ptx::{Form, Program};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const GENERATIONS: &[u32] = &[70, 75, 80, 86, 89, 90, 100];
/// Of them those that the assembler of CUDA 13 is asked for; it has dropped the ones before.
const GENERATIONS_OF_13: &[u32] = &[75, 100];

struct Assembler {
    program: PathBuf,
    generations: &'static [u32],
}

fn assemblers() -> Vec<Assembler> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("ptxas");
    let named = env::var_os("ADAREM_PTXAS").map(|program| (PathBuf::from(program), GENERATIONS));
    let cached = [
        (cache.join("cu12/nvidia/cuda_nvcc/bin/ptxas"), GENERATIONS),
        (cache.join("cu13/nvidia/cu13/bin/ptxas"), GENERATIONS_OF_13),
    ];
    let found = named
        .into_iter()
        .chain(cached)
        .filter(|(program, _)| program.exists());
    found
        .map(|(program, generations)| Assembler {
            program,
            generations,
        })
        .collect()
}

/// Every kernel of every rule, by name: with tensors' folds and with the group's, in the first step and in later ones, in
/// full and in mixed precision.
#[derive(Default)]
struct Programs(BTreeMap<String, String>);

impl EachRule for Programs {
    fn rule<R: Tunable + Default + Clone>(&mut self) {
        let mut rules = vec![("", R::default())];
        let mut decayed = R::default();
        if decayed.set("weight_decay", 0.01) {
            rules.push(("_decayed", decayed));
        }
        let mut joint = R::default();
        if joint.set("scope", 1.0) | joint.set("sphere", 1.0) {
            rules.push(("_group", joint));
        }
        let mut damped = R::default();
        damped.set("eps", 1e-3);
        rules.push(("_eps", damped));
        let mut seen = BTreeSet::new();
        for (suffix, rule) in rules {
            // Of the types of 16 bits one for each: they differ in conversions alone.
            for (step, half) in [(0, Half::Bf16), (9, Half::F16)] {
                let traced = trace(&rule, step).unwrap();
                let full = |dtype| Program::new(&traced.plan, dtype, Form::Fused);
                for (kind, program) in [
                    ("f32", full(Dtype::F32)),
                    ("f64", full(Dtype::F64)),
                    ("mixed", Program::mixed(&traced.plan, half, Form::Fused)),
                ] {
                    if seen.insert(program.text().to_owned()) {
                        let name = format!("{}{suffix}_step{step}_{kind}", R::NAME);
                        self.0.insert(name, program.text().to_owned());
                    }
                }
            }
        }
    }
}

/// The largest number of registers of a program's kernels.
///
/// # Panics
/// When the assembler refuses a kernel, or one spills.
fn registers(assembler: &Path, name: &str, text: &Path, generation: u32) -> u32 {
    let run = Command::new(assembler)
        .args([
            "--verbose",
            "--warning-as-error",
            "--gpu-name",
            &format!("sm_{generation}"),
        ])
        .args(["--output-file", "/dev/null"])
        .arg(text)
        .output()
        .expect("the assembler can be started");
    let said =
        String::from_utf8_lossy(&run.stderr).into_owned() + &String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{name} for sm_{generation}: {said}");
    let number = |line: &str, after: &str| -> Option<u32> {
        let rest = &line[line.find(after)? + after.len()..];
        rest.trim_start().split(' ').next()?.parse().ok()
    };
    for line in said.lines().filter(|line| line.contains("spill stores")) {
        assert!(
            line.contains(" 0 bytes spill stores, 0 bytes spill loads"),
            "{name}: {line}"
        );
    }
    let all = said.lines().filter_map(|line| number(line, "Used"));
    all.max()
        .unwrap_or_else(|| panic!("{name}: no register count in {said}"))
}

#[test]
fn every_rule_assembles_for_every_generation_without_spills() {
    let assemblers = assemblers();
    if assemblers.is_empty() {
        let required = env::var("ADAREM_REQUIRE_PTXAS").is_ok_and(|value| value == "1");
        assert!(!required, "no ptxas was found, and ADAREM_REQUIRE_PTXAS=1");
        println!(
            "SKIPPED: no ptxas was found, nothing was assembled; this file's head says how to get one"
        );
        return;
    }
    let mut programs = Programs::default();
    for_each(&mut programs);
    // With state packed in 16 bits.
    programs.rule::<HalfState<AdaRem, Bf16>>();
    programs.rule::<HalfState<AdaRemS, Bf16>>();
    programs.rule::<HalfState<AdaRem, F16>>();
    programs.rule::<HalfState<SgdM, F16>>();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for Assembler {
        program,
        generations,
    } in assemblers
    {
        let rows = in_parallel(&programs.0, |name, text| {
            let file = folder.join(format!("{name}.ptx"));
            std::fs::write(&file, text).unwrap();
            let counts = generations
                .iter()
                .map(|generation| registers(&program, name, &file, *generation));
            counts.collect::<Vec<u32>>()
        });
        println!("registers a thread, {}\n", program.display());
        let heads: Vec<String> = generations
            .iter()
            .map(|generation| format!("sm_{generation}"))
            .collect();
        println!(
            "| kernels | {} |\n|---|{}",
            heads.join(" | "),
            "--:|".repeat(heads.len())
        );
        for (name, counts) in programs.0.keys().zip(rows) {
            let counts: Vec<String> = counts.iter().map(u32::to_string).collect();
            println!("| {name} | {} |", counts.join(" | "));
        }
        println!();
    }
}

/// `f` of every entry, in order, on all processors.
fn in_parallel<R: Send>(
    entries: &BTreeMap<String, String>,
    f: impl Fn(&str, &str) -> R + Sync,
) -> Vec<R> {
    let entries: Vec<_> = entries.iter().collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = entries.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let f = &f;
        let mut threads = Vec::new();
        for share in entries.chunks(share) {
            let work = move || {
                share
                    .iter()
                    .map(|(name, text)| f(name, text))
                    .collect::<Vec<R>>()
            };
            threads.push(scope.spawn(work));
        }
        let results = threads
            .into_iter()
            .map(|thread| thread.join().expect("no kernel is refused"));
        results.flatten().collect()
    })
}
