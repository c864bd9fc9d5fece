//! The main job: real training, several optimizers on equal terms, a table and pictures.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use adarem_examples::train::Outcome;
use adarem_examples::train::command::{self, Arguments};
use anyhow::Context;
use clap::Parser;

/// What a shell reports for a program that Ctrl-C has ended: 128 and the signal's number.
const INTERRUPTED: u8 = 130;

static STOP: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match listen().and_then(|()| command::run(&arguments, || STOP.load(Ordering::Relaxed))) {
        Ok(Outcome::Finished) => ExitCode::SUCCESS,
        Ok(Outcome::Stopped) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The first Ctrl-C lets the step under way end; the second does not wait for it. The file on the
/// disk is whole at any moment.
fn listen() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
    })
    .context("cannot listen for Ctrl-C")
}
