use serde::{Deserialize, Serialize};

use super::run::UnderWay;
use super::{Run, Settings};

/// One optimizer after the other on equal terms, as far as it has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Race {
    /// What is run.
    pub settings: Settings,
    /// The runs that are done, in the order of the settings' methods.
    pub finished: Vec<Run>,
    /// The run that was stopped, if one was.
    pub stopped: Option<Run>,
}

/// Whether a race came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every method has done all its epochs.
    Finished,
    /// It was stopped; [`Race::run`] goes on from there.
    Stopped,
}

/// Where a race is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The run under way. Its parameters are not up to date.
    pub run: &'a Run,
    /// How many steps it has when it is done.
    pub steps: u64,
}

impl Race {
    /// A race that has not begun.
    ///
    /// # Errors
    /// If a setting is out of its range; nothing has been run then.
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        for &method in &settings.methods {
            UnderWay::start(&settings, method)?;
        }
        Ok(Self { settings, finished: Vec::new(), stopped: None })
    }

    /// Runs until the end, or until `stop` says so, which is asked after every step.
    ///
    /// `show` is told after every step where the race is; `keep` is handed the race at the end of
    /// every epoch, ready to be saved.
    ///
    /// # Errors
    /// If an optimizer's backend fails, or `keep` does.
    pub fn run(
        &mut self,
        stop: impl Fn() -> bool,
        mut show: impl FnMut(Progress),
        mut keep: impl FnMut(&Race) -> anyhow::Result<()>,
    ) -> anyhow::Result<Outcome> {
        let settings = self.settings.clone();
        while let Some(&method) = settings.methods.get(self.finished.len()) {
            let mut under_way = match self.stopped.take() {
                Some(run) => UnderWay::take_up(&settings, run)?,
                None => UnderWay::start(&settings, method)?,
            };
            let steps = under_way.steps();
            while under_way.so_far().step < steps {
                let epochs = under_way.so_far().epochs.len();
                under_way.step()?;
                let run = under_way.so_far();
                show(Progress { run, steps });
                if stop() && run.step < steps {
                    self.stopped = Some(under_way.leave()?);
                    return Ok(Outcome::Stopped);
                }
                if run.epochs.len() > epochs && run.step < steps {
                    self.stopped = Some(under_way.keep()?.clone());
                    keep(self)?;
                    self.stopped = None;
                }
            }
            self.finished.push(under_way.leave()?);
            keep(self)?;
            if stop() && self.finished.len() < settings.methods.len() {
                return Ok(Outcome::Stopped);
            }
        }
        Ok(Outcome::Finished)
    }
}

/// A race of a few steps, run to its end.
#[cfg(test)]
pub(super) fn finished_brief() -> Race {
    let mut race = Race::new(Settings::brief()).unwrap();
    assert_eq!(race.run(|| false, |_| (), |_| Ok(())).unwrap(), Outcome::Finished);
    race
}
