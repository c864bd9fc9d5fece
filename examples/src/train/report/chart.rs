use std::ops::Range;
use std::path::Path;

use anyhow::anyhow;
use plotters::coord::combinators::IntoLogRange;
use plotters::prelude::*;

/// Width and height in pixels of the SVG.
const SIZE: (u32, u32) = (1080, 600);
/// Width of the names at the right.
const LEGEND: u32 = 150;
/// Height of a name.
const LINE: i32 = 19;
const FONT: &str = "sans-serif";

/// A name and its points, all of them above zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// What stands beside the plot.
    pub name: String,
    /// Across and up.
    pub points: Vec<(f64, f64)>,
}

/// A picture of curves over a logarithmic axis.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What stands above.
    pub title: &'static str,
    /// What goes across.
    pub across: &'static str,
    /// From where to where it goes.
    pub span: Range<f64>,
    /// How a number across is written.
    pub mark: fn(f64) -> String,
}

impl Chart {
    /// Draws the curves into an SVG file at `path`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn draw(&self, curves: &[Curve], path: &Path) -> anyhow::Result<()> {
        let root = SVGBackend::new(path, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (left, right) = root.split_horizontally(SIZE.0 - LEGEND);
        let height = height(curves.iter().flat_map(|curve| &curve.points));
        let mut chart = ChartBuilder::on(&left)
            .caption(self.title, (FONT, 24))
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(72)
            .build_cartesian_2d(self.span.clone(), height.log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .x_desc(self.across)
            .x_label_formatter(&|x| (self.mark)(*x))
            .y_label_formatter(&|y| significant(*y))
            .label_style((FONT, 15))
            .draw()?;
        for (k, curve) in curves.iter().enumerate() {
            // Of two curves on one another, the wider one below shows at the edges of the other.
            let width = 6 - 4 * k as u32 / (curves.len() as u32 - 1).max(1);
            let style = color(k, curves.len()).stroke_width(width);
            chart.draw_series(LineSeries::new(curve.points.iter().copied(), style))?;
            let y = 60 + LINE * k as i32;
            right.draw(&PathElement::new([(0, y), (24, y)], style))?;
            let name = curve.name.clone();
            right.draw(&Text::new(name, (32, y - LINE / 3), (FONT, 15)))?;
        }
        root.present().map_err(|error| anyhow!("{error}"))
    }
}

/// From below the lowest point to above the highest.
fn height<'a>(points: impl Iterator<Item = &'a (f64, f64)>) -> Range<f64> {
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
    fn the_height_leaves_room_and_is_there_without_points() {
        assert_eq!(
            height([(1.0, 2.0), (2.0, 8.0)].iter()),
            2.0 / 1.2..8.0 * 1.2
        );
        assert_eq!(height([].iter()), 0.1..10.0);
    }

    #[test]
    fn axis_numbers_have_no_needless_digits() {
        assert_eq!([0.01, 0.5, 100.0].map(significant), ["0.01", "0.5", "100"]);
    }
}
