//! The learning-rate range test: which rate to begin with, in a few seconds.
//!
//! `cargo run --release --bin range_test`

use std::path::PathBuf;
use std::process::ExitCode;

use adarem_adapters::schedule::RangeTest;
use adarem_examples::train::range_test::{range_test, steepest};
use adarem_examples::train::report::{Chart, Curve};
use adarem_examples::train::{Method, Settings, TaskName};
use anyhow::Context;
use clap::Parser;

/// Trains for a short while as the learning rate rises, says where the loss fell fastest, and draws it.
///
/// A good rate to begin with lies there or somewhat below.
#[derive(Debug, Parser)]
#[command(name = "range_test", version)]
struct Arguments {
    /// What is learnt
    #[arg(long, value_enum, default_value = "digits")]
    task: TaskName,

    /// Which optimizers, with commas between [default: adarem,adarem_s,sgd,sgdm,adam]
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    optimizers: Vec<Method>,

    /// The rate to rise from
    #[arg(long, default_value_t = 1e-4, value_name = "RATE")]
    from: f64,

    /// The rate to rise to
    #[arg(long, default_value_t = 10.0, value_name = "RATE")]
    to: f64,

    /// How many steps it takes
    #[arg(long, default_value_t = 400, value_name = "N")]
    steps: u64,

    /// Decides the network's start and the order of the batches
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,

    /// Where the picture goes
    #[arg(long, default_value = "out/range-test.svg", value_name = "FILE")]
    picture: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let &Arguments {
        task,
        from,
        to,
        steps,
        seed,
        ..
    } = arguments;
    let usual = Settings::of(task);
    let methods = match &arguments.optimizers[..] {
        [] => usual.methods.clone(),
        methods => methods.to_vec(),
    };
    let settings = Settings {
        seed,
        methods,
        ..usual
    };
    let rates = RangeTest {
        from,
        to,
        steps,
        linear: false,
    };
    let mut curves = Vec::new();
    println!("The learning rate rises from {from} to {to} in {steps} steps.\n");
    println!("optimizer         the loss fell fastest at");
    for &method in &settings.methods {
        let readings = range_test(&settings, method, rates)?;
        let best = steepest(&readings).map_or("no rate".into(), |lr| format!("{lr:.2e}"));
        println!("{method:16}  {best}");
        let points = readings
            .iter()
            .map(|reading| (reading.lr.log10(), reading.loss));
        let points = points.filter(|(_, loss)| *loss > 0.0).collect();
        curves.push(Curve {
            name: method.to_string(),
            points,
        });
    }
    let chart = Chart {
        title: "Training loss as the learning rate rises",
        across: "learning rate",
        span: from.log10()..to.log10(),
        mark: |x| format!("{:.0e}", 10_f64.powf(x)),
    };
    let picture = &arguments.picture;
    let write = || -> anyhow::Result<()> {
        if let Some(folder) = picture.parent() {
            std::fs::create_dir_all(folder)?;
        }
        chart.draw(&curves, picture)
    };
    write().with_context(|| format!("cannot draw {}", picture.display()))?;
    println!("\nPicture: {}", picture.display());
    Ok(())
}
