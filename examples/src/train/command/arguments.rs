use std::path::PathBuf;

use clap::{Args, Parser};

use crate::train::{Device, LambdaSchedule, Method, Rate, RateSchedule, Settings, TaskName};

/// Trains a small neural network on real data with several optimizers on equal terms: the same
/// start, the same batches, the same schedule. Prints how they fare, and draws it.
///
/// Ctrl-C stops it after the step under way and leaves a checkpoint that `--resume` goes on from, to
/// the same bits.
#[derive(Debug, Parser)]
#[command(name = "train", version)]
pub struct Arguments {
    /// What is run.
    #[command(flatten)]
    pub run: RunArguments,

    /// What carries the steps out; --resume may go on with another [default: cpu, or the checkpoint's]
    #[arg(long, value_enum)]
    pub backend: Option<Device>,

    /// Folder for the pictures, and for the checkpoint unless --checkpoint names a file
    #[arg(long, value_name = "FOLDER", default_value = "out")]
    pub out: PathBuf,

    /// Also write the results as JSON, an array with one object for each optimizer
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Save a checkpoint here after every epoch, not only on Ctrl-C
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,

    /// Go on from a checkpoint, which holds its own settings
    #[arg(long, value_name = "FILE", conflicts_with = "RunArguments")]
    pub resume: Option<PathBuf>,
}

/// What decides the outcome; none of it goes with --resume.
#[derive(Args, Debug)]
pub struct RunArguments {
    /// What is learnt
    #[arg(long, value_enum)]
    task: Option<TaskName>,

    /// Which optimizers, with commas between, or `all` [default: adarem,adarem_s,sgd,sgdm,adam]
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = parse_choice)]
    optimizers: Vec<Choice>,

    /// Widths of the network's hidden layers, with commas between [default: 96,96 for digits, 64 for
    /// text, which has one]
    #[arg(long, value_delimiter = ',', value_name = "WIDTHS")]
    hidden: Option<Vec<usize>>,

    /// How often each optimizer meets the whole training set [default: 30 for digits, 12 for text]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    epochs: Option<u64>,

    /// Decides the network's start and the order of the batches [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// How many examples a batch has [default: 32 for digits, 16 for text]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,

    /// Learning rate for all optimizers, or for one, as in `adam=0.002`; may be given several times
    /// [default: each optimizer's own, the same for adarem, adarem-s and sgd]
    #[arg(long = "lr", value_delimiter = ',', value_name = "[NAME=]RATE")]
    rates: Vec<Rate>,

    /// How the learning rate goes on from its start [default: cosine]
    #[arg(long, value_enum)]
    schedule: Option<RateSchedule>,

    /// Let the learning rate rise to its start first, for so many epochs [default: 0]
    #[arg(long, value_name = "N")]
    warmup: Option<u64>,

    /// AdaRem's lambda at the start, in [0, 1) [default: 0.999]
    #[arg(long, value_name = "X")]
    lambda: Option<f64>,

    /// When lambda is multiplied by --lambda-decay [default: epoch]
    #[arg(long, value_enum)]
    lambda_schedule: Option<LambdaSchedule>,

    /// What lambda is multiplied by, in [0, 1] [default: 0.999]
    #[arg(long, value_name = "X", value_parser = parse_share)]
    lambda_decay: Option<f64>,

    /// Weight decay of the weights, not of biases and norms [default: each optimizer's own, 0.01 for
    /// adamw and 0 for the others]
    #[arg(long, value_name = "X")]
    weight_decay: Option<f64>,

    /// Cut the gradient of the whole network to this norm where it is longer
    #[arg(long, value_name = "NORM", value_parser = parse_norm)]
    clip: Option<f64>,
}

/// An item of the list of optimizers.
#[derive(Clone, Copy, Debug)]
enum Choice {
    All,
    One(Method),
}

fn parse_choice(name: &str) -> Result<Choice, String> {
    if name == "all" {
        return Ok(Choice::All);
    }
    name.parse()
        .map(Choice::One)
        .map_err(|known| format!("{known}; or `all` of them"))
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("it must be a number in [0, 1]".into()),
    }
}

fn parse_norm(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(norm) if norm > 0.0 && norm < f64::INFINITY => Ok(norm),
        _ => Err("it must be a positive number".into()),
    }
}

impl RunArguments {
    /// The settings, with the defaults of the task; the host carries the steps out.
    ///
    /// # Errors
    /// If an optimizer is asked for by name that has nothing to show on the task.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let usual = Settings::of(self.task.unwrap_or(TaskName::Digits));
        Ok(Settings {
            task: usual.task,
            methods: self.methods(&usual)?,
            hidden: self.hidden.clone().unwrap_or(usual.hidden),
            epochs: self.epochs.unwrap_or(usual.epochs),
            seed: self.seed.unwrap_or(usual.seed),
            batch: self.batch.unwrap_or(usual.batch),
            rates: self.rates.clone(),
            schedule: self.schedule.unwrap_or(usual.schedule),
            warmup: self.warmup.unwrap_or(usual.warmup),
            lambda: self.lambda.unwrap_or(usual.lambda),
            lambda_schedule: self.lambda_schedule.unwrap_or(usual.lambda_schedule),
            lambda_decay: self.lambda_decay.unwrap_or(usual.lambda_decay),
            weight_decay: self.weight_decay.or(usual.weight_decay),
            clip: self.clip.or(usual.clip),
            device: usual.device,
        })
    }

    fn methods(&self, usual: &Settings) -> anyhow::Result<Vec<Method>> {
        if self.optimizers.is_empty() {
            return Ok(usual.methods.clone());
        }
        let task = usual.task;
        let mut methods = Vec::new();
        let mut add = |method| {
            if !methods.contains(&method) {
                methods.push(method);
            }
        };
        for choice in &self.optimizers {
            match choice {
                Choice::All => Method::all()
                    .into_iter()
                    .filter(|m| m.suits(task))
                    .for_each(&mut add),
                Choice::One(method) => {
                    anyhow::ensure!(
                        method.suits(task),
                        "{method} holds weights in front of a normalisation on spheres, and the \
                         network of this task has none"
                    );
                    add(*method);
                }
            }
        }
        Ok(methods)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(arguments: &str) -> anyhow::Result<Settings> {
        let words = std::iter::once("train").chain(arguments.split_whitespace());
        Arguments::try_parse_from(words)?.run.settings()
    }

    fn refusal(arguments: &str) -> String {
        settings(arguments).unwrap_err().to_string()
    }

    #[test]
    fn without_arguments_the_usual_five_learn_digits() {
        let settings = settings("").unwrap();
        assert_eq!((settings.task, settings.epochs), (TaskName::Digits, 30));
        assert_eq!(settings.methods, Method::USUAL);
    }

    #[test]
    fn all_are_all_and_none_runs_twice() {
        assert_eq!(settings("--optimizers all").unwrap().methods, Method::all());
        let twice = settings("--optimizers sgd,adam,sgd").unwrap().methods;
        assert_eq!(twice, [Method::SGD, Method::ADAM]);
    }

    #[test]
    fn text_has_its_own_defaults() {
        let settings = settings("--task text").unwrap();
        assert_eq!((settings.epochs, settings.batch), (12, 16));
        assert!(!settings.methods.contains(&Method::ADAREM_S));
        assert!(refusal("--task text --optimizers adarem-s").starts_with("adarem_s holds"));
    }

    #[test]
    fn refusals_name_the_argument_and_what_it_takes() {
        assert!(refusal("--optimizers sdg").contains("there is no optimizer \"sdg\", but ad"));
        assert!(refusal("--epochs 0").contains("0 is not in 1..=1000000"));
        assert!(refusal("--lr adam=fast").contains("\"fast\" is not a number"));
        assert!(refusal("--lambda-decay 1.5").contains("it must be a number in [0, 1]"));
        assert!(refusal("--resume file --epochs 3").contains("cannot be used with"));
    }
}
