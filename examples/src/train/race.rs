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
        Ok(Self {
            settings,
            finished: Vec::new(),
            stopped: None,
        })
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
    assert_eq!(
        race.run(|| false, |_| (), |_| Ok(())).unwrap(),
        Outcome::Finished
    );
    race
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;
    use crate::train::checkpoint;

    /// The race without its times, the only thing that may differ.
    fn timeless(mut race: Race) -> Race {
        for run in race.finished.iter_mut().chain(&mut race.stopped) {
            run.time = Duration::ZERO;
            run.epochs
                .iter_mut()
                .for_each(|epoch| epoch.step_time = Duration::ZERO);
        }
        race
    }

    /// Runs until so many steps are done in all.
    fn run_for(race: &mut Race, steps: u64) -> Outcome {
        let done = Cell::new(0);
        let count = |_: Progress| done.set(done.get() + 1);
        race.run(|| done.get() >= steps, count, |_| Ok(())).unwrap()
    }

    #[test]
    fn a_resumed_race_ends_on_the_same_bits() {
        let straight = timeless(finished_brief());
        let steps = straight.finished[0].step;
        let file = std::env::temp_dir().join(format!("adarem-race-{}", std::process::id()));
        // In the midst of an epoch, at its end, between two runs, and in the midst of the second.
        for stop in [steps / 2 - 3, steps / 2, steps, steps + 5] {
            let mut race = Race::new(Settings::brief()).unwrap();
            assert_eq!(run_for(&mut race, stop), Outcome::Stopped);
            checkpoint::save(&race, &file).unwrap();
            let mut resumed = checkpoint::load(&file).unwrap();
            assert_eq!(resumed, race);
            assert_eq!(run_for(&mut resumed, u64::MAX), Outcome::Finished);
            assert_eq!(timeless(resumed), straight, "stopped after step {stop}");
        }
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn every_epoch_leaves_a_race_that_can_be_taken_up() {
        let mut kept = Vec::new();
        let mut race = Race::new(Settings::brief()).unwrap();
        let keep = |race: &Race| {
            kept.push(race.clone());
            Ok(())
        };
        race.run(|| false, |_| (), keep).unwrap();
        assert_eq!(kept.len(), 4);
        let straight = timeless(race);
        for mut race in kept {
            run_for(&mut race, u64::MAX);
            assert_eq!(timeless(race), straight);
        }
    }

    #[test]
    fn a_setting_out_of_its_range_is_refused_before_anything_runs() {
        let refused = |settings| format!("{:#}", Race::new(settings).unwrap_err());
        let rate = Settings {
            rates: vec!["adarem-s=-1".parse().unwrap()],
            ..Settings::brief()
        };
        assert_eq!(
            refused(rate),
            "cannot start adarem_s: lr must be at least 0 and finite, got -1"
        );
        let lambda = Settings {
            lambda: 1.0,
            ..Settings::brief()
        };
        assert_eq!(
            refused(lambda),
            "cannot start adarem: lambda must lie in [0, 1), got 1"
        );
        let batch = Settings {
            batch: 2000,
            ..Settings::brief()
        };
        assert_eq!(
            refused(batch),
            "a batch must hold from 2 to all 1438 images, got 2000"
        );
    }

    #[test]
    fn a_network_of_another_shape_is_not_taken_up() {
        let mut race = Race::new(Settings::brief()).unwrap();
        run_for(&mut race, 3);
        race.stopped.as_mut().unwrap().theta[0].pop();
        let error = race
            .run(|| false, |_| (), |_| Ok(()))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("the checkpoint holds tensors of [511, "),
            "{error}"
        );
    }

    #[test]
    fn the_same_race_on_text_learns() {
        let mut settings = Settings::brief();
        settings.task = crate::train::TaskName::Text;
        settings.hidden = vec![8];
        (settings.batch, settings.methods) = (400, vec![crate::train::Method::ADAREM]);
        let mut race = Race::new(settings).unwrap();
        run_for(&mut race, u64::MAX);
        let epochs = &race.finished[0].epochs;
        assert!(epochs[1].train_loss < epochs[0].train_loss, "{epochs:?}");
    }
}
