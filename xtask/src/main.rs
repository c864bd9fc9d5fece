//! Every chore of the repository, one entry: `cargo xtask --help`.

mod embedded;
mod fuzz;
mod gpu;
mod instructions;
mod mutants;
mod packages;
mod proof;
mod test;

use std::process::ExitCode;

use clap::Parser;
use proof::Level;
use xshell::{Shell, cmd};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The chores of the adarem repository.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Chore {
    /// Runs everything that must pass: formatting, lints, all tests, the documentation.
    Test,
    /// Shows that no panic can be reached in the core, nor through a function of C, at any optimization, by
    /// linking what has no panic handler.
    Proof,
    /// Measures the host beside hand-written loops and peers, and writes BENCHMARKS.md and its pictures.
    Bench {
        /// Options of the benchmark: `-- --help` lists them.
        #[arg(last = true)]
        options: Vec<String>,
    },
    /// Builds for machines without an operating system, and runs trainings and the C example on an emulated
    /// Cortex-M.
    Embedded,
    /// Fuzzes every target for some seconds, or those that are named, and prints what it reached.
    Fuzz(fuzz::Round),
    /// Runs the conformance suites and benches of the GPU backends on the GPU at hand, or gathers them for one.
    Gpu(gpu::Suites),
    /// Counts the instructions of one step of each rule, under callgrind, and compares them with the table.
    Instructions {
        /// Writes the table anew.
        #[arg(long)]
        write: bool,
    },
    /// Plants faults in the core and in the emitters one by one, and shows those that no test sees.
    Mutants(mutants::Faults),
}

/// A shell in the root of the repository.
fn shell() -> Result<Shell> {
    let shell = Shell::new()?;
    shell.change_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    Ok(shell)
}

fn main() -> ExitCode {
    let chore = Chore::parse();
    let run = || -> Result {
        let shell = shell()?;
        match chore {
            Chore::Test => test::run(&shell)?,
            Chore::Proof => proof::run(&Level::ALL)?,
            Chore::Bench { options } => cmd!(
                shell,
                "cargo run --release --manifest-path bench/Cargo.toml -- {options...}"
            )
            .run()?,
            Chore::Embedded => embedded::run(&shell)?,
            Chore::Fuzz(round) => fuzz::run(&shell, &round)?,
            Chore::Gpu(suites) => gpu::run(&shell, &suites)?,
            Chore::Instructions { write } => instructions::run(&shell, write)?,
            Chore::Mutants(faults) => mutants::run(&shell, &faults)?,
        }
        Ok(())
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
