//! The table and the picture.

use std::fmt::Write as _;
use std::path::Path;

use plotters::prelude::*;

use crate::race::Outcome;

/// Outcomes of one run of one set of contenders.
pub struct Section {
    /// The heading.
    pub title: String,
    /// What bounds the case, in two sentences.
    pub bound: &'static str,
    /// Each row: what the case is, its parameters, and the contenders' outcomes, the bound first.
    pub rows: Vec<(String, usize, Vec<Outcome>)>,
}

/// The whole report as Markdown.
pub fn markdown(sections: &[Section], head: &str) -> String {
    let mut text = format!("# Benchmarks\n\n{head}\n");
    for Section { title, bound, rows } in sections {
        let _ = write!(text, "\n## {title}\n\n{bound}\n\n");
        text.push_str("| case | contender | ns a parameter | GB/s | time, as a multiple of the first |\n|---|---|---:|---:|---:|\n");
        for (case, parameters, outcomes) in rows {
            let first = outcomes.first().map_or(f64::NAN, |first| first.seconds);
            for outcome in outcomes {
                let Outcome { name, seconds, .. } = outcome;
                let nanoseconds = seconds * 1e9 / *parameters as f64;
                let speed = outcome.gigabytes_per_second();
                let _ = writeln!(
                    text,
                    "| {case} | {name} | {nanoseconds:.3} | {speed:.1} | {:.2} |",
                    seconds / first
                );
            }
        }
    }
    text
}

/// Draws bars of nanoseconds a parameter, shortest first.
pub fn bars(
    path: &Path,
    title: &str,
    parameters: usize,
    outcomes: &[Outcome],
) -> Result<(), Box<dyn std::error::Error>> {
    let mut bars: Vec<_> = outcomes
        .iter()
        .map(|o| (o.name.as_str(), o.seconds * 1e9 / parameters as f64))
        .collect();
    bars.sort_by(|a, b| a.1.total_cmp(&b.1));
    let height = 70 + 26 * bars.len() as u32;
    let area = SVGBackend::new(path, (900, height)).into_drawing_area();
    area.fill(&WHITE)?;
    area.draw(&Text::new(title.to_owned(), (20, 16), ("sans-serif", 20)))?;
    let longest = bars.last().map_or(1.0, |bar| bar.1);
    // Peers differ by a hundred times: the lengths are logarithmic, and the figures stand beside them.
    let shortest = bars.first().map_or(1.0, |bar| bar.1) / 2.0;
    for (i, (name, nanoseconds)) in bars.iter().enumerate() {
        let y = 52 + 26 * i as i32;
        let ours = name.starts_with("adarem");
        let colour = if ours {
            RGBColor(200, 60, 40)
        } else {
            RGBColor(120, 140, 170)
        };
        let length = (nanoseconds / shortest).ln() / (longest / shortest).ln();
        let end = 290 + (480.0 * length) as i32;
        area.draw(&Text::new(
            (*name).to_owned(),
            (20, y + 3),
            ("sans-serif", 14),
        ))?;
        area.draw(&Rectangle::new([(290, y), (end, y + 18)], colour.filled()))?;
        area.draw(&Text::new(
            format!("{nanoseconds:.2} ns"),
            (end + 8, y + 3),
            ("sans-serif", 14),
        ))?;
    }
    area.present()?;
    Ok(())
}
