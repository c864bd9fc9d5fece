//! The program `train`: what its arguments ask for, from the first line that it prints to the last
//! file that it writes.

mod arguments;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

pub use arguments::{Arguments, RunArguments};

use super::report::{Picture, draw, json, table};
use super::{Device, Outcome, Progress, Race, checkpoint};

/// Runs what the arguments ask for. `stop` is asked after every step; where it says so, the race is
/// left in a checkpoint.
///
/// # Errors
/// If an argument is out of its range, the device is missing or fails, or a file cannot be read or
/// written.
pub fn run(arguments: &Arguments, stop: impl Fn() -> bool) -> anyhow::Result<Outcome> {
    let mut race = open(arguments)?;
    introduce(&race)?;
    let outcome = train(&mut race, stop, arguments.checkpoint.as_deref())?;
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

/// A race that has not begun, or one from a checkpoint.
fn open(arguments: &Arguments) -> anyhow::Result<Race> {
    let settle = |device: &mut Device| *device = arguments.backend.unwrap_or(*device);
    Ok(match &arguments.resume {
        Some(file) => {
            let mut race = checkpoint::load(file)?;
            settle(&mut race.settings.device);
            race
        }
        None => {
            let mut settings = arguments.run.settings()?;
            settle(&mut settings.device);
            Race::new(settings)?
        }
    })
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
fn train(race: &mut Race, stop: impl Fn() -> bool, file: Option<&Path>) -> anyhow::Result<Outcome> {
    let style = ProgressStyle::with_template("{prefix:12} [{bar:28}] {percent:>3} %  {msg}")
        .expect("the template is well formed")
        .progress_chars("=> ");
    let mut bar = ProgressBar::hidden();
    race.run(
        stop,
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
