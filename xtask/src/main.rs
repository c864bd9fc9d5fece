//! Every chore of the repository, one entry: `cargo xtask --help`.

mod embedded;
mod packages;
mod test;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use xshell::{Shell, cmd};

/// The chores of the adarem repository.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Chore {
    /// Runs everything that must pass: formatting, lints, all tests, the documentation.
    Test,
    /// Measures the host beside hand-written loops and peers, and writes BENCHMARKS.md and its pictures.
    Bench {
        /// Options of the benchmark: `-- --help` lists them.
        #[arg(last = true)]
        options: Vec<String>,
    },
    /// Proves that no panic is reachable, builds for microcontrollers, and runs trainings and the C example on
    /// an emulated one.
    Embedded,
}

fn main() -> ExitCode {
    let chore = Chore::parse();
    let run = || -> Result<(), Box<dyn Error>> {
        let shell = Shell::new()?;
        shell.change_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        match chore {
            Chore::Test => test::run(&shell)?,
            Chore::Bench { options } => cmd!(
                shell,
                "cargo run --release --manifest-path bench/Cargo.toml -- {options...}"
            )
            .run()?,
            Chore::Embedded => embedded::run(&shell)?,
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
