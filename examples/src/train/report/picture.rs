use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use plotters::coord::combinators::IntoLogRange;
use plotters::prelude::*;

use crate::train::{Epoch, Run};

/// Width and height in pixels of the SVG.
const SIZE: (u32, u32) = (1080, 600);
/// Width of the names at the right.
const LEGEND: u32 = 150;
/// Height of a name.
const LINE: i32 = 19;
const FONT: &str = "sans-serif";

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
    let curves: Vec<Vec<(f64, f64)>> = runs.iter().map(|run| curve(picture, run)).collect();
    let epochs = runs
        .iter()
        .map(|run| run.epochs.len())
        .max()
        .unwrap_or(1)
        .max(2);
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(SIZE.0 - LEGEND);
    let mut chart = ChartBuilder::on(&left)
        .caption(picture.title(), (FONT, 24))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(
            1.0..epochs as f64,
            span(curves.iter().flatten()).log_scale(),
        )?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc("epoch")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| significant(*y))
        .label_style((FONT, 15))
        .draw()?;
    for (k, (run, curve)) in runs.iter().zip(curves).enumerate() {
        // Of two curves on one another, the wider one below shows at the edges of the other.
        let width = 6 - 4 * k as u32 / (runs.len() as u32 - 1).max(1);
        let style = color(k, runs.len()).stroke_width(width);
        chart.draw_series(LineSeries::new(curve, style))?;
        let y = 60 + LINE * k as i32;
        right.draw(&PathElement::new([(0, y), (24, y)], style))?;
        let name = run.method.to_string();
        right.draw(&Text::new(name, (32, y - LINE / 3), (FONT, 15)))?;
    }
    root.present().map_err(|error| anyhow!("{error}"))
}

/// The points of a run that have a place on a logarithmic axis.
fn curve(picture: Picture, run: &Run) -> Vec<(f64, f64)> {
    let points = run
        .epochs
        .iter()
        .enumerate()
        .map(|(k, e)| ((k + 1) as f64, picture.of(e)));
    points.filter(|(_, y)| y.is_finite() && *y > 0.0).collect()
}

/// From below the lowest point to above the highest.
fn span<'a>(points: impl Iterator<Item = &'a (f64, f64)>) -> Range<f64> {
    let (low, high) = points.fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), (_, y)| {
        (low.min(*y), high.max(*y))
    });
    if low < high {
        low / 1.2..high * 1.2
    } else {
        0.1..10.0
    }
}

/// A number on an axis, with no more digits than it needs.
fn significant(y: f64) -> String {
    let shown = format!("{y:.6}");
    shown.trim_end_matches('0').trim_end_matches('.').into()
}

/// Color `k` of so many. The first are those of Okabe and Ito, which people of all color visions
/// can tell apart.
fn color(k: usize, of: usize) -> RGBColor {
    const OKABE_ITO: [RGBColor; 8] = [
        RGBColor(213, 94, 0),
        RGBColor(0, 114, 178),
        RGBColor(0, 0, 0),
        RGBColor(0, 158, 115),
        RGBColor(204, 121, 167),
        RGBColor(86, 180, 233),
        RGBColor(230, 159, 0),
        RGBColor(160, 160, 160),
    ];
    if of <= OKABE_ITO.len() {
        return OKABE_ITO[k];
    }
    let lightness = [0.35, 0.5, 0.65][k % 3];
    let (r, g, b) = HSLColor(k as f64 / of as f64, 0.8, lightness).rgb();
    RGBColor(r, g, b)
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
        assert_eq!(curve(Picture::TrainLoss, &race.finished[0]), []);
        assert_eq!(span([].iter()), 0.1..10.0);
    }

    #[test]
    fn axis_numbers_have_no_needless_digits() {
        assert_eq!([0.01, 0.5, 100.0].map(significant), ["0.01", "0.5", "100"]);
    }
}
