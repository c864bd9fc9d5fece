//! `cargo xtask fuzz`: every fuzz target for some seconds, by cargo-fuzz, on any compiler.

use std::path::Path;

use xshell::{Shell, cmd};

use crate::Result;

/// Where cargo-fuzz is put when it is not installed.
const TOOLS: &str = "target/tools";

/// A fuzzing round.
#[derive(clap::Args)]
pub(crate) struct Round {
    /// How long each target runs.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Makes the same choices in every run with this number; 0 makes new ones.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Watches memory with AddressSanitizer, too: slower.
    #[arg(long)]
    address: bool,
    /// The targets; all of them where none is named.
    targets: Vec<String>,
}

/// Runs a round and prints a row for each target; those that crashed are the error.
pub(crate) fn run(shell: &Shell, round: &Round) -> Result {
    crate::packages::install(shell)?;
    let path = std::env::var("PATH")?;
    let tools = shell.current_dir().join(TOOLS).join("bin");
    let _path = shell.push_env("PATH", format!("{path}:{}", tools.display()));
    install(shell)?;
    let sanitizer = if round.address { "address" } else { "none" };
    // What asks for memory to be watched is not yet stable; the bootstrap variable allows it on any compiler.
    let _unstable = round
        .address
        .then(|| shell.push_env("RUSTC_BOOTSTRAP", "1"));
    let targets = if round.targets.is_empty() {
        let list = cmd!(shell, "cargo fuzz list").quiet().read()?;
        list.lines().map(str::to_owned).collect()
    } else {
        round.targets.clone()
    };
    cmd!(shell, "cargo fuzz build --sanitizer {sanitizer}").run()?;
    println!("| target | executions | a second | edges | features |");
    println!("|---|--:|--:|--:|--:|");
    let mut failures = Vec::new();
    for target in &targets {
        match fuzz(shell, target, sanitizer, round) {
            Ok(row) => println!("{row}"),
            Err(error) => failures.push(error.to_string()),
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("\n\n").into())
    }
}

/// Brings cargo-fuzz where there is none.
fn install(shell: &Shell) -> Result {
    let found = cmd!(shell, "cargo fuzz --version").quiet().ignore_stdout();
    if found.ignore_stderr().run().is_err() {
        cmd!(
            shell,
            "cargo install cargo-fuzz --locked --quiet --root {TOOLS}"
        )
        .run()?;
    }
    Ok(())
}

/// Runs one target and returns its row.
fn fuzz(shell: &Shell, target: &str, sanitizer: &str, round: &Round) -> Result<String> {
    // New finds go to the first folder; the corpus in the repository is only read.
    let found = format!("fuzz/target/found/{target}");
    let corpus = format!("fuzz/corpus/{target}");
    shell.create_dir(&found)?;
    let limits = [
        format!("-max_total_time={}", round.seconds),
        format!("-seed={}", round.seed),
        "-timeout=20".to_owned(),
        "-print_final_stats=1".to_owned(),
    ];
    let output = cmd!(
        shell,
        "cargo fuzz run --sanitizer {sanitizer} {target} {found} {corpus} -- {limits...}"
    )
    .env("RUST_BACKTRACE", "0")
    .quiet()
    .ignore_status()
    .output()?;
    let log = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(failure(target, sanitizer, &log).into());
    }
    let value = |name: &str| last(&log, name).ok_or_else(|| format!("{target} said no {name}"));
    let executions = value("stat::number_of_executed_units:")?;
    let speed = value("stat::average_exec_per_sec:")?;
    let (edges, features) = (value(" cov:")?, value(" ft:")?);
    Ok(format!(
        "| {target} | {executions} | {speed} | {edges} | {features} |"
    ))
}

/// The word behind the last `name` in a log.
fn last<'l>(log: &'l str, name: &str) -> Option<&'l str> {
    log.rsplit_once(name)?.1.split_whitespace().next()
}

/// What a target that failed said, where its input lies and how it is run again.
fn failure(target: &str, sanitizer: &str, log: &str) -> String {
    let Some(input) = last(log, "Test unit written to ") else {
        return format!("{target} did not run:\n{log}");
    };
    // libFuzzer's own lines, thousands in a minute, say nothing of the crash.
    let said = log.lines().filter(|line| !line.starts_with('#'));
    let said: Vec<_> = said
        .skip_while(|line| !line.contains("panicked at") && !line.contains("ERROR:"))
        .take(12)
        .collect();
    let shown = Path::new(input).file_name().map_or(input.into(), |file| {
        format!("fuzz/artifacts/{target}/{}", file.to_string_lossy())
    });
    format!(
        "{target} failed on {shown}\n{}\nagain: cargo fuzz run --sanitizer {sanitizer} {target} {shown}",
        said.join("\n")
    )
}
