//! `cargo xtask gpu`: the conformance suites and the benches of the GPU backends, for a machine with a GPU.
//!
//! The machine needs a driver and nothing else: the programs are built here and gathered in one folder.

use xshell::{Shell, cmd};

use crate::Result;

/// Where the programs are gathered.
const FOLDER: &str = "target/gpu";

/// What is done with the programs.
#[derive(clap::Args)]
pub(crate) struct Suites {
    /// Builds and gathers, and runs nothing: take the folder to the machine and call `run.sh` there.
    #[arg(long)]
    build: bool,
    /// Runs CUDA on the software driver and small tensors: whether everything starts, and no figure that means anything.
    #[arg(long, conflicts_with = "build")]
    rehearse: bool,
}

/// What runs on the machine. Its output is Markdown, to be pasted into BENCHMARKS.md.
const RUN: &str = r#"#!/bin/sh
# Runs all suites, goes on after one that fails, and fails where one did. Arguments go to the CUDA programs.
cd "$(dirname "$0")" || exit 1
failed=0
part() { printf '\n### %s\n\n' "$1"; shift; "$@" || { failed=1; echo "FAILED: $*"; }; }
printf '## GPU\n\nCommit %s; ' "$(cat commit)"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo 'no NVIDIA driver'
part 'CUDA: conformance' ./cuda-conformance "$@"
part 'CUDA: steps' ./cuda-steps "$@"
part 'Vulkan: conformance' ./vulkan-conformance --nocapture --test-threads 1
part 'Vulkan: mixed precision' ./vulkan-mixed --nocapture --test-threads 1
part 'Vulkan: steps' ./vulkan-bandwidth
if python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
    part 'PyTorch, fused' python3 torch_fused.py
else
    printf '\nNo PyTorch with CUDA here: its rows are missing.\n'
fi
exit $failed
"#;

pub(crate) fn run(shell: &Shell, suites: &Suites) -> Result {
    shell.remove_path(FOLDER)?;
    shell.create_dir(FOLDER)?;
    let programs = [
        (
            "cuda-conformance",
            "adarem-cuda",
            ["--example", "conformance"],
        ),
        ("cuda-steps", "adarem-cuda", ["--bench", "steps"]),
        (
            "vulkan-conformance",
            "adarem-vulkan",
            ["--test", "conformance"],
        ),
        ("vulkan-mixed", "adarem-vulkan", ["--test", "mixed"]),
        (
            "vulkan-bandwidth",
            "adarem-vulkan",
            ["--bench", "bandwidth"],
        ),
    ];
    for (name, package, target) in programs {
        let profile = if target[0] == "--bench" {
            "release"
        } else {
            "dev"
        };
        let built = cmd!(
            shell,
            "cargo build --quiet --package {package} {target...} --profile {profile} --message-format json"
        )
        .read()?;
        shell.copy_file(executable(&built, target[1])?, format!("{FOLDER}/{name}"))?;
    }
    shell.copy_file("backends/cuda/benches/torch_fused.py", FOLDER)?;
    let commit = cmd!(shell, "git rev-parse --short HEAD").quiet().read()?;
    shell.write_file(format!("{FOLDER}/commit"), commit)?;
    shell.write_file(format!("{FOLDER}/run.sh"), RUN)?;
    if suites.build {
        println!("take {FOLDER} to the machine and run `sh run.sh` in it");
        return Ok(());
    }
    let arguments = suites.rehearse.then_some("--rehearse");
    Ok(cmd!(shell, "sh {FOLDER}/run.sh {arguments...}")
        .quiet()
        .run()?)
}

/// The program that cargo's messages say it built for `target`.
fn executable(messages: &str, target: &str) -> Result<String> {
    let built = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let program = message["executable"].as_str()?;
        (message["target"]["name"] == target).then(|| program.to_owned())
    });
    built.ok_or_else(|| format!("cargo built no program for {target}").into())
}
