//! `cargo xtask instructions`: what one step of each rule executes, counted by callgrind.
//!
//! The table is committed, and the count must stay within 2 % of it: a regression that a noisy clock would hide shows.

use std::fmt::Write as _;

use xshell::{Shell, cmd};

use crate::Result;

const TABLE: &str = "bench/instructions/README.md";
const BEGIN: &str = "<!-- counts -->\n";
const END: &str = "<!-- /counts -->";

/// The part of a count that it may differ by.
const SLACK: f64 = 0.02;

/// Instructions of a rule: per lane of a long tensor, and per tensor of 16 lanes.
struct Counts {
    rule: String,
    lane: f64,
    tensor: f64,
}

pub(crate) fn run(shell: &Shell, write: bool) -> Result {
    let page = shell.read_file(TABLE)?;
    let (head, rest) = page.split_once(BEGIN).ok_or("the table has no beginning")?;
    let (stands, tail) = rest.split_once(END).ok_or("the table has no end")?;
    let compiler = cmd!(shell, "rustc --version").quiet().read()?;
    let counts = count(shell)?;
    if write {
        let mut table =
            format!("Counted with {compiler}.\n\n| rule | a lane | a tensor |\n|---|---:|---:|\n");
        for Counts { rule, lane, tensor } in &counts {
            writeln!(table, "| `{rule}` | {lane:.2} | {tensor:.0} |")?;
        }
        shell.write_file(TABLE, format!("{head}{BEGIN}{table}{END}{tail}"))?;
        println!("wrote {TABLE}");
        return Ok(());
    }
    if !stands.contains(&compiler) {
        println!("the instructions are not compared: the table was not counted with {compiler}");
        return Ok(());
    }
    compare(&counts, stands)
}

/// Runs the program under callgrind, and pairs what it prints with what is dumped.
fn count(shell: &Shell) -> Result<Vec<Counts>> {
    cmd!(
        shell,
        "cargo build --quiet --release --manifest-path bench/Cargo.toml --package adarem-instructions --target-dir target/bench"
    )
    .run()?;
    let dumps = shell.current_dir().join("target/callgrind");
    shell.remove_path(&dumps)?;
    shell.create_dir(&dumps)?;
    let out = dumps.join("out");
    let printed = cmd!(
        shell,
        "valgrind --quiet --tool=callgrind --callgrind-out-file={out} --zero-before=counted --dump-after=counted target/bench/release/adarem-instructions"
    )
    .quiet()
    .read()?;
    let mut counts: Vec<Counts> = Vec::new();
    for (i, line) in printed.lines().enumerate() {
        let [rule, of, parts] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("not a count: {line}").into());
        };
        let dump = shell.read_file(dumps.join(format!("out.{}", i + 1)))?;
        let total = dump.lines().find_map(|line| line.strip_prefix("summary: "));
        let total: f64 = total.ok_or("a dump without a summary")?.trim().parse()?;
        let each = total / parts.parse::<f64>()?;
        match (of, counts.last_mut()) {
            ("lane", _) => counts.push(Counts {
                rule: rule.into(),
                lane: each,
                tensor: 0.0,
            }),
            (_, Some(counts)) => counts.tensor = each,
            _ => return Err(format!("a count without a rule: {line}").into()),
        }
    }
    Ok(counts)
}

/// Refuses counts that left the table, whichever way: a gain is committed as well.
fn compare(counts: &[Counts], table: &str) -> Result {
    let mut wrong = String::new();
    for Counts { rule, lane, tensor } in counts {
        let row = table
            .lines()
            .find_map(|line| line.strip_prefix(&format!("| `{rule}` | ")));
        let Some((lane_was, tensor_was)) =
            row.and_then(|row| row.strip_suffix(" |")?.split_once(" | "))
        else {
            writeln!(wrong, "{rule} is not in the table")?;
            continue;
        };
        for (of, is, was) in [("lane", lane, lane_was), ("tensor", tensor, tensor_was)] {
            let was: f64 = was.parse()?;
            // The table is rounded, which is more than the slack where a count is small.
            let slack = (SLACK * was).max(if of == "lane" { 0.01 } else { 1.0 });
            if (is - was).abs() > slack {
                writeln!(
                    wrong,
                    "{rule}: {is:.2} instructions a {of}, and the table says {was}"
                )?;
            }
        }
    }
    if wrong.is_empty() {
        println!("{} rules execute the instructions of {TABLE}", counts.len());
        return Ok(());
    }
    Err(format!("{wrong}where that is meant: `cargo xtask instructions --write`, and a line in the changelog").into())
}
