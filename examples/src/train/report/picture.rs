use std::path::{Path, PathBuf};

use anyhow::Context;

use super::chart::{Chart, Curve};
use crate::train::{Epoch, Run};

/// What a picture shows over the epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {
    /// The loss on the training set.
    TrainLoss,
    /// The share of the test set that is got wrong.
    TestError,
    /// The oscillation within each epoch.
    Q,
}

impl Picture {
    /// All of them.
    pub const ALL: [Picture; 3] = [Picture::TrainLoss, Picture::TestError, Picture::Q];

    fn file(self) -> &'static str {
        match self {
            Picture::TrainLoss => "training-loss.svg",
            Picture::TestError => "test-error.svg",
            Picture::Q => "q.svg",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Picture::TrainLoss => "Training loss",
            Picture::TestError => "Test error in per cent",
            Picture::Q => "Q: path over displacement, per epoch",
        }
    }

    fn of(self, epoch: &Epoch) -> f64 {
        match self {
            Picture::TrainLoss => epoch.train_loss,
            Picture::TestError => 100.0 * (1.0 - epoch.test_accuracy),
            Picture::Q => epoch.q,
        }
    }
}

/// Draws a picture into `folder`, which must exist, and says into which file. Numbers that have no place on a
/// logarithmic axis, such as the loss of a run that diverged, are left out.
///
/// # Errors
/// If the file cannot be written.
pub fn draw(picture: Picture, runs: &[Run], folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join(picture.file());
    plot(picture, runs, &path).with_context(|| format!("cannot draw {}", path.display()))?;
    Ok(path)
}

fn plot(picture: Picture, runs: &[Run], path: &Path) -> anyhow::Result<()> {
    let curves: Vec<Curve> = runs.iter().map(|run| curve(picture, run)).collect();
    let epochs = runs
        .iter()
        .map(|run| run.epochs.len())
        .max()
        .unwrap_or(1)
        .max(2);
    Chart {
        title: picture.title(),
        across: "epoch",
        span: 1.0..epochs as f64,
        mark: |epoch| format!("{epoch:.0}"),
    }
    .draw(&curves, path)
}

/// The points of a run that have a place on a logarithmic axis.
fn curve(picture: Picture, run: &Run) -> Curve {
    let points = run
        .epochs
        .iter()
        .enumerate()
        .map(|(k, e)| ((k + 1) as f64, picture.of(e)));
    Curve {
        name: run.method.to_string(),
        points: points.filter(|(_, y)| y.is_finite() && *y > 0.0).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_name_every_run() {
        let race = crate::train::race::finished_brief();
        let folder = std::env::temp_dir().join(format!("adarem-pictures-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for picture in Picture::ALL {
            let path = draw(picture, &race.finished, &folder).unwrap();
            let svg = std::fs::read_to_string(path).unwrap();
            for name in ["adarem", "adarem_s"] {
                assert!(
                    svg.contains(&format!("\n{name}\n")),
                    "{picture:?} lacks {name}"
                );
            }
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_run_without_finite_numbers_is_left_out() {
        let mut race = crate::train::race::finished_brief();
        race.finished[0]
            .epochs
            .iter_mut()
            .for_each(|epoch| epoch.train_loss = f64::NAN);
        assert_eq!(curve(Picture::TrainLoss, &race.finished[0]).points, []);
    }
}
