use std::fmt::Write;

use crate::train::{Epoch, Run};

const HEADS: [&str; 8] = [
    "optimizer",
    "lr",
    "train loss",
    "test loss",
    "test acc.",
    "Q",
    "us/step",
    "state",
];

/// One line for each run that has finished an epoch, under one line of headings.
///
/// # Errors
/// If a run's meter was damaged.
pub fn table(runs: &[Run]) -> anyhow::Result<String> {
    let finished = runs
        .iter()
        .filter_map(|run| Some((run, run.epochs.last()?)));
    let rows: Vec<[String; 8]> = finished
        .map(|(run, last)| row(run, last))
        .collect::<anyhow::Result<_>>()?;
    let width = |k: usize| {
        let cells = rows.iter().map(|row| row[k].chars().count());
        cells.fold(HEADS[k].len(), usize::max)
    };
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut table = String::new();
    let mut line = |cells: [&str; 8]| {
        for (k, (cell, width)) in cells.iter().zip(widths).enumerate() {
            // Names to the left, numbers to the right.
            let written = match k {
                0 => write!(table, "{cell:<width$}"),
                _ => write!(table, "  {cell:>width$}"),
            };
            written.expect("a string takes all that is written");
        }
        table.push('\n');
    };
    line(HEADS);
    line(
        widths
            .map(|width| "-".repeat(width))
            .each_ref()
            .map(String::as_str),
    );
    for row in &rows {
        line(row.each_ref().map(String::as_str));
    }
    Ok(table)
}

fn row(run: &Run, last: &Epoch) -> anyhow::Result<[String; 8]> {
    let micros = run.step_time().as_secs_f64() * 1e6;
    Ok([
        run.method.to_string(),
        run.lr.to_string(),
        loss(last.train_loss),
        loss(last.test_loss),
        format!("{:.2} %", 100.0 * last.test_accuracy),
        format!("{:.2}", run.meter.q()?.ratio),
        format!("{micros:.1}"),
        bytes(run.state_bytes),
    ])
}

fn loss(loss: f64) -> String {
    match loss {
        loss if !loss.is_finite() => "diverged".into(),
        loss if loss != 0.0 && loss < 1e-3 => format!("{loss:.3e}"),
        loss => format!("{loss:.5}"),
    }
}

fn bytes(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        _ => format!("{:.1} KiB", bytes as f64 / 1024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_readable_from_large_to_none() {
        assert_eq!(loss(f64::NAN), "diverged");
        assert_eq!(loss(2.125_004), "2.12500");
        assert_eq!(loss(0.00042), "4.200e-4");
        assert_eq!(loss(0.0), "0.00000");
    }

    #[test]
    fn columns_line_up() {
        let race = crate::train::race::finished_brief();
        let table = table(&race.finished).unwrap();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 2 + race.finished.len());
        assert!(
            lines.iter().all(|line| line.len() == lines[0].len()),
            "{table}"
        );
        assert!(
            lines[2].starts_with("adarem ") && lines[3].starts_with("adarem_s "),
            "{table}"
        );
    }
}
