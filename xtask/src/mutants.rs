//! `cargo xtask mutants`: faults planted in a file one by one, by cargo-mutants, and those that no test sees.

use serde_json::Value;
use xshell::{Shell, cmd};

use crate::Result;

/// Where every survivor is explained.
const PAGE: &str = "tests/mutants.md";

/// Where cargo-mutants writes what it does.
const OUT: &str = "target/mutants";

/// The files that are mutated.
#[derive(clap::Args)]
pub(crate) struct Faults {
    /// Such as `core/src/fold.rs`; all that have a judge where none is named, which takes hours.
    files: Vec<String>,
}

/// What tells whether a fault in a file is seen. It is built and run anew for each one, so it is small.
struct Judge {
    /// How the paths of its files begin.
    files: &'static [&'static str],
    packages: &'static [&'static str],
    /// Which of the packages' tests.
    tests: &'static [&'static str],
    /// Those of them that judge only what has survived all others.
    slow: &'static [&'static str],
}

/// The first that fits is taken.
const JUDGES: [Judge; 4] = [
    Judge {
        files: &["core/src/rules/"],
        packages: &["adarem", "adarem-conformance"],
        tests: &["--lib", "--test=value_stability", "--test=vectors"],
        slow: &["lent::", "over_the_whole_range", "trajectory"],
    },
    Judge {
        files: &["core/src/"],
        packages: &["adarem"],
        tests: &["--lib"],
        slow: &[
            "every_rule",
            "one_tensor_has",
            "over_the_whole_range",
            "rules::",
        ],
    },
    Judge {
        files: &["backends/cuda/src/ptx"],
        packages: &["adarem-cuda"],
        tests: &[
            "--test=program",
            "--test=folds",
            "--test=steps",
            "--test=bits",
        ],
        slow: &["of_more", "at_lengths", "in_any_order", "where_memory"],
    },
    Judge {
        files: &[
            "backends/vulkan/src/asm",
            "backends/vulkan/src/exact",
            "backends/vulkan/src/spirv",
        ],
        packages: &["adarem-vulkan"],
        tests: &[
            "--lib",
            "--test=mutations",
            "--test=ops",
            "--test=cutting",
            "--test=modules",
        ],
        slow: &["every_rule", "dispatches_of", "pieces_of"],
    },
];

/// Plants the faults and prints a row for each file; survivors that [`PAGE`] does not explain are the error.
pub(crate) fn run(shell: &Shell, faults: &Faults) -> Result {
    let found = cmd!(shell, "cargo mutants --version").quiet();
    if found.ignore_stdout().ignore_stderr().run().is_err() {
        return Err("there is no cargo-mutants: cargo install cargo-mutants --locked".into());
    }
    let files = if faults.files.is_empty() {
        let list = cmd!(shell, "cargo mutants --workspace --list-files")
            .quiet()
            .read()?;
        let judged = list.lines().filter(|file| judge(file).is_some());
        judged.map(str::to_owned).collect()
    } else {
        faults.files.clone()
    };
    let page = shell.read_file(PAGE)?;
    let (mut rows, mut unexplained) = (Vec::new(), Vec::new());
    for file in &files {
        let judge = judge(file).ok_or_else(|| format!("{file} has no judge"))?;
        eprintln!("{file}: its mutants are listed in {OUT}/ as they are judged");
        let outcomes = plant(shell, file, judge)?;
        let count = |name| {
            outcomes
                .iter()
                .filter(|(_, summary)| summary == name)
                .count()
        };
        rows.push(format!(
            "| `{file}` | {} | {} | {} | {} | {} |",
            outcomes.len(),
            count("CaughtMutant"),
            count("Unviable"),
            count("Timeout"),
            count("MissedMutant")
        ));
        let survivors = outcomes
            .into_iter()
            .filter(|(_, summary)| summary == "MissedMutant");
        unexplained.extend(
            survivors
                .map(|(name, _)| name)
                .filter(|name| !page.contains(&format!("`{name}`"))),
        );
    }
    println!("| file | mutants | caught | unviable | timeouts | survivors |");
    println!("|---|--:|--:|--:|--:|--:|\n{}", rows.join("\n"));
    if unexplained.is_empty() {
        return Ok(());
    }
    let list = unexplained.join("\n");
    Err(format!("no test sees, and {PAGE} does not explain:\n{list}").into())
}

fn judge(file: &str) -> Option<&'static Judge> {
    let judges = |judge: &&Judge| judge.files.iter().any(|files| file.starts_with(files));
    JUDGES.iter().find(judges)
}

/// Every mutant of a file, without its line, and what became of it.
fn plant(shell: &Shell, file: &str, judge: &Judge) -> Result<Vec<(String, String)>> {
    let out = format!("{OUT}/{}", file.replace('/', "-"));
    shell.remove_path(&out)?;
    shell.create_dir(&out)?;
    let packages = judge
        .packages
        .iter()
        .flat_map(|name| ["--test-package", name]);
    let tests = judge.tests.iter().flat_map(|name| ["--cargo-arg", name]);
    let common: &Vec<&str> = &packages.chain(tests).collect();
    let skips: Vec<&str> = judge
        .slow
        .iter()
        .flat_map(|name| ["--skip", name])
        .collect();
    // Compiled for the compiler's speed, and only what a fault has touched.
    let _environment = [
        ("CARGO_PROFILE_DEV_OPT_LEVEL", "0".into()),
        ("CARGO_PROFILE_DEV_DEBUG", "0".into()),
        ("CARGO_INCREMENTAL", "1".into()),
        (
            "CARGO_TARGET_DIR",
            shell.current_dir().join(OUT).join("build"),
        ),
    ]
    .map(|(name, value): (&str, std::path::PathBuf)| shell.push_env(name, value));

    let done = |(_, summary): &(String, String)| summary == "CaughtMutant" || summary == "Unviable";
    let mut outcomes = Vec::new();
    for (round, skips) in [("--no-shuffle", &skips[..]), ("--iterate", &[])] {
        let planted = cmd!(
            shell,
            "cargo mutants --workspace --file {file} --output {out} {round} {common...} -- -- {skips...}"
        );
        let status = planted.ignore_status().output()?.status;
        // With 2 some have survived, with 3 some never ended.
        if !matches!(status.code(), Some(0 | 2 | 3)) {
            return Err(format!("cargo-mutants failed on {file}: see {out}").into());
        }
        let log = shell.read_file(format!("{out}/mutants.out/outcomes.json"))?;
        let log: Value = serde_json::from_str(&log)?;
        outcomes.retain(done);
        for outcome in log["outcomes"].as_array().into_iter().flatten() {
            let mutant = &outcome["scenario"]["Mutant"];
            let (Some(name), Some(summary)) =
                (mutant["name"].as_str(), outcome["summary"].as_str())
            else {
                continue;
            };
            let what = name.splitn(4, ':').last().unwrap_or(name);
            outcomes.push((format!("{file}:{what}"), summary.to_owned()));
        }
        // Of nothing, cargo-mutants leaves no log.
        if outcomes.iter().all(done) {
            break;
        }
    }
    Ok(outcomes)
}
