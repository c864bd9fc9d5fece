//! Every chore of the repository, one entry: `cargo xtask --help`.

mod fuzz;
mod packages;
mod proof;
mod test;

use std::process::ExitCode;

use clap::Parser;
use xshell::{Shell, cmd};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The chores of the adarem repository.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Chore {
    /// Runs everything that must pass: formatting, lints, all tests, the documentation.
    Test,
    /// Shows that no panic can be reached in the core, by linking a program that has no panic handler.
    Proof,
    /// Measures the host beside hand-written loops and peers, and writes BENCHMARKS.md and its pictures.
    Bench {
        /// Options of the benchmark: `-- --help` lists them.
        #[arg(last = true)]
        options: Vec<String>,
    },
    /// Fuzzes every target for some seconds, or those that are named, and prints what it reached.
    Fuzz(fuzz::Round),
}

fn main() -> ExitCode {
    let chore = Chore::parse();
    let run = || -> Result {
        let shell = Shell::new()?;
        shell.change_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        match chore {
            Chore::Test => test::run(&shell)?,
            Chore::Proof => proof::run(&shell)?,
            Chore::Bench { options } => cmd!(
                shell,
                "cargo run --release --manifest-path bench/Cargo.toml -- {options...}"
            )
            .run()?,
            Chore::Fuzz(round) => fuzz::run(&shell, &round)?,
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
