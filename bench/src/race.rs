//! Runs contenders in turns and keeps the medians.
//!
//! What a machine can do drifts by half within an hour, so absolute figures of different runs say nothing
//! about each other. Contenders take turns, round by round, and are compared within the run.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Something that takes steps.
pub struct Contender<'a> {
    /// What the table calls it.
    pub name: String,
    /// Bytes that one step must move at least.
    pub bytes: usize,
    /// Takes so many steps and says how long they took.
    pub steps: Box<dyn FnMut(usize) -> Duration + 'a>,
}

impl<'a> Contender<'a> {
    /// A contender whose steps are timed here.
    pub fn new(name: impl Into<String>, bytes: usize, mut step: impl FnMut() + 'a) -> Self {
        let steps = move |count| {
            let start = Instant::now();
            (0..count).for_each(|_| step());
            start.elapsed()
        };
        Contender {
            name: name.into(),
            bytes,
            steps: Box::new(steps),
        }
    }
}

/// What a contender achieved.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the table calls it.
    pub name: String,
    /// Seconds a step, the median of the rounds.
    pub seconds: f64,
    /// Bytes that one step must move at least.
    pub bytes: usize,
}

impl Outcome {
    /// Bytes that a step must move, over the time it took.
    pub fn gigabytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.seconds * 1e-9
    }
}

/// How long one turn of one contender lasts, about.
const TURN: Duration = Duration::from_millis(30);

/// Lets the contenders take turns for so many rounds.
pub fn race(title: &str, rounds: usize, contenders: Vec<Contender<'_>>) -> Vec<Outcome> {
    let style = ProgressStyle::with_template("{prefix:40} {wide_bar} {pos}/{len}")
        .expect("the template is valid");
    let bar = ProgressBar::new((rounds * contenders.len()) as u64)
        .with_style(style)
        .with_prefix(title.to_owned());
    let mut lanes: Vec<_> = contenders
        .into_iter()
        .map(|mut contender| {
            // The first steps allocate, fault pages in and wake threads; the next tell how many fill a turn.
            (contender.steps)(2);
            let one = (contender.steps)(2) / 2;
            let count = (TURN.as_secs_f64() / one.as_secs_f64().max(1e-9)).clamp(1.0, 1e6) as usize;
            (contender, count, Vec::with_capacity(rounds))
        })
        .collect();
    for _ in 0..rounds {
        for (contender, count, times) in &mut lanes {
            times.push((contender.steps)(*count).as_secs_f64() / *count as f64);
            bar.inc(1);
        }
    }
    bar.finish();
    lanes
        .into_iter()
        .map(|(Contender { name, bytes, .. }, _, mut times)| {
            times.sort_by(f64::total_cmp);
            Outcome {
                name,
                seconds: times[times.len() / 2],
                bytes,
            }
        })
        .collect()
}
