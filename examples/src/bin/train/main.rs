//! The main job: real training, several optimizers on equal terms, a table and pictures.

mod args;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adarem_examples::train::report::{Picture, draw, json, table};
use adarem_examples::train::{Outcome, Progress, Race, checkpoint};
use anyhow::Context;
use args::Arguments;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

/// What a shell reports for a program that Ctrl-C has ended: 128 and the signal's number.
const INTERRUPTED: u8 = 130;

static STOP: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    match train(&Arguments::parse()) {
        Ok(Outcome::Finished) => ExitCode::SUCCESS,
        Ok(Outcome::Stopped) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn train(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let mut race = match &arguments.resume {
        Some(file) => checkpoint::load(file)?,
        None => Race::new(arguments.run.settings()?)?,
    };
    introduce(&race)?;
    // The first Ctrl-C lets the step under way end; the second does not wait for it. The file on the
    // disk is whole at any moment.
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
    })
    .context("cannot listen for Ctrl-C")?;

    let outcome = run(&mut race, arguments.checkpoint.as_deref())?;
    if outcome == Outcome::Stopped {
        let file = arguments
            .checkpoint
            .clone()
            .unwrap_or(arguments.out.join("train.checkpoint"));
        checkpoint::save(&race, &file)?;
        println!(
            "\nStopped. To go on from here:\n    cargo run --release --bin train -- --resume {}",
            file.display()
        );
    } else {
        show(&race, arguments)?;
    }
    Ok(outcome)
}

fn introduce(race: &Race) -> anyhow::Result<()> {
    let settings = &race.settings;
    let mut task = settings.open()?;
    let parameters: usize = task.parameters().iter().map(|p| p.theta.len()).sum();
    println!("{}", task.describe());
    println!(
        "{parameters} parameters; {} epochs of {} batches of {}; seed {}. Same start, batches and \
         schedule for all.\n",
        settings.epochs,
        task.batches(),
        settings.batch,
        settings.seed,
    );
    Ok(())
}

/// Runs with a bar for each optimizer, and saves after every epoch if there is a file for it.
fn run(race: &mut Race, file: Option<&Path>) -> anyhow::Result<Outcome> {
    let style = ProgressStyle::with_template("{prefix:12} [{bar:28}] {percent:>3} %  {msg}")
        .expect("the template is well formed")
        .progress_chars("=> ");
    let mut bar = ProgressBar::hidden();
    race.run(
        || STOP.load(Ordering::Relaxed),
        |Progress { run, steps }| {
            if bar.is_finished() || bar.prefix() != run.method.to_string() {
                bar = ProgressBar::new(steps).with_style(style.clone());
                bar.set_prefix(run.method.to_string());
            }
            bar.set_position(run.step);
            let Some(last) = run.epochs.last() else {
                return;
            };
            let accuracy = 100.0 * last.test_accuracy;
            bar.set_message(format!(
                "loss {:<8.5} test {accuracy:.2} %",
                last.train_loss
            ));
            if run.step == steps {
                bar.finish();
                if bar.is_hidden() {
                    // Nobody sees a bar in a pipe or a log; a line for each run is seen.
                    let seconds = run.time.as_secs_f64();
                    println!("{:12} done in {seconds:.1} s", run.method);
                }
            }
        },
        |race| file.map_or(Ok(()), |file| checkpoint::save(race, file)),
    )
}

fn show(race: &Race, arguments: &Arguments) -> anyhow::Result<()> {
    let runs = &race.finished;
    let time: Duration = runs.iter().map(|run| run.time).sum();
    println!("\n{}", table(runs)?);
    println!(
        "Losses are means over whole sets. Q is path over displacement, 1 where no parameter ever \
         turned.\nus/step is the optimizer's median step; training took {:.1} s in all.",
        time.as_secs_f64(),
    );
    let folder = &arguments.out;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let pictures = Picture::ALL.map(|picture| draw(picture, runs, folder));
    let pictures: Vec<PathBuf> = pictures.into_iter().collect::<Result<_, _>>()?;
    let names: Vec<_> = pictures
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    println!("Pictures: {}", names.join(", "));
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string_pretty(&json(race)?)?;
        std::fs::write(file, text + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
        println!("Results: {}", file.display());
    }
    Ok(())
}
