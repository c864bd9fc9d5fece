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
    /// The quickest first: each judges those faults alone that have survived the one before.
    rounds: &'static [Tests],
}

#[derive(Clone, Copy)]
struct Tests {
    packages: &'static [&'static str],
    /// Which of the packages' tests are built.
    targets: &'static [&'static str],
    /// Those of them that are not run.
    skipped: &'static [&'static str],
}

impl Tests {
    /// As cargo-mutants takes them, for runs with a fault and for the one without.
    fn arguments(&self) -> Vec<String> {
        let packages = self.packages.iter().map(|name| format!("--package={name}"));
        let targets = self.targets.iter().copied().map(str::to_owned);
        // What is built for one fault is run once.
        let unoptimised = "--config=profile.dev.package.adarem.opt-level=0".to_owned();
        let to_cargo = packages.chain(targets).chain([unoptimised]);
        let to_tests = self.skipped.iter().map(|name| format!("--skip={name}"));
        to_cargo
            .map(|argument| format!("--cargo-arg={argument}"))
            .chain(["--".to_owned(), "--".to_owned()])
            .chain(to_tests)
            .collect()
    }
}

const CORE: Tests = Tests {
    packages: &["adarem"],
    targets: &["--lib"],
    skipped: &[],
};

const CUDA: Tests = Tests {
    packages: &["adarem-cuda"],
    targets: &[
        "--test=program",
        "--test=folds",
        "--test=steps",
        "--test=bits",
        "--test=mixed",
    ],
    skipped: &[],
};

const VULKAN: Tests = Tests {
    packages: &["adarem-vulkan"],
    targets: &[
        "--lib",
        "--test=mutations",
        "--test=ops",
        "--test=cutting",
        "--test=modules",
        "--test=pairs",
        "--test=mixed",
    ],
    skipped: &[],
};

/// The first that fits is taken.
const JUDGES: [Judge; 7] = [
    Judge {
        files: &["core/src/projection"],
        rounds: &[
            Tests {
                packages: &["adarem-conformance"],
                targets: &["--test=projections"],
                skipped: &[],
            },
            Tests {
                packages: &["adarem", "adarem-conformance"],
                targets: &["--lib", "--test=projections", "--test=properties"],
                skipped: &[],
            },
        ],
    },
    // It steps by itself, so no list of rules has it; its tests stand beside it.
    Judge {
        files: &["core/src/rules/adarem8"],
        rounds: &[CORE],
    },
    Judge {
        files: &["core/src/rules/"],
        rounds: &[
            Tests {
                packages: &["adarem-conformance"],
                targets: &["--test=value_stability"],
                skipped: &[],
            },
            CORE,
            Tests {
                packages: &["adarem-conformance"],
                targets: &[
                    "--test=vectors",
                    "--test=special_values",
                    "--test=baselines",
                ],
                skipped: &[],
            },
        ],
    },
    Judge {
        files: &["core/src/"],
        rounds: &[
            Tests {
                skipped: &[
                    "every_rule",
                    "one_tensor_has",
                    "over_the_whole_range",
                    "rules::",
                ],
                ..CORE
            },
            CORE,
        ],
    },
    Judge {
        files: &["backends/cuda/src/ptx"],
        rounds: &[
            Tests {
                skipped: &[
                    "of_more",
                    "at_lengths",
                    "in_any_order",
                    "where_memory",
                    "every_rule_is",
                    "not_aligned",
                    "of_their_own",
                ],
                ..CUDA
            },
            CUDA,
        ],
    },
    Judge {
        files: &["backends/vulkan/src/spirv/pairs"],
        rounds: &[
            Tests {
                targets: &["--test=pairs", "--test=mixed"],
                skipped: &["every_rule_is"],
                ..VULKAN
            },
            VULKAN,
        ],
    },
    Judge {
        files: &[
            "backends/vulkan/src/asm",
            "backends/vulkan/src/exact",
            "backends/vulkan/src/spirv",
        ],
        rounds: &[
            Tests {
                skipped: &["every_rule", "dispatches_of", "pieces_of"],
                ..VULKAN
            },
            VULKAN,
        ],
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
    let mut outcomes = Vec::new();
    for (judge, files) in by_judge(&files)? {
        eprintln!(
            "{}: their mutants are listed in {OUT}/ as they are judged",
            files.join(", ")
        );
        outcomes.extend(plant(shell, &files, judge)?);
    }
    let page = shell.read_file(PAGE)?;
    let (mut rows, mut unexplained) = (Vec::new(), Vec::new());
    for file in &files {
        let of_file = |outcome: &&Outcome| outcome.file == *file;
        let all: Vec<&Outcome> = outcomes.iter().filter(of_file).collect();
        let count = |summary| all.iter().filter(|one| one.summary == summary).count();
        rows.push(format!(
            "| `{file}` | {} | {} | {} | {} | {} |",
            all.len(),
            count("CaughtMutant"),
            count("Unviable"),
            count("Timeout"),
            count("MissedMutant")
        ));
        let survivors = all.iter().filter(|one| one.summary == "MissedMutant");
        unexplained.extend(
            survivors
                .map(|one| one.name.as_str())
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

/// Files that have the same judge are built together.
fn by_judge(files: &[String]) -> Result<Vec<(&'static Judge, Vec<&str>)>> {
    let mut groups: Vec<(&'static Judge, Vec<&str>)> = Vec::new();
    for file in files {
        let judge = judge(file).ok_or_else(|| format!("{file} has no judge"))?;
        match groups.iter_mut().find(|(of, _)| std::ptr::eq(*of, judge)) {
            Some((_, files)) => files.push(file),
            None => groups.push((judge, vec![file])),
        }
    }
    Ok(groups)
}

/// What became of a mutant.
struct Outcome {
    file: String,
    /// Without its line.
    name: String,
    summary: String,
}

impl Outcome {
    fn is_done(&self) -> bool {
        self.summary == "CaughtMutant" || self.summary == "Unviable"
    }
}

/// The names of the rules in some files, where every one of them has some: the golden bits of these alone are asked then.
fn rules(shell: &Shell, files: &[&str]) -> Result<Option<Vec<String>>> {
    let mut rules = Vec::new();
    for file in files {
        let text = shell.read_file(file)?;
        let names = text.split("const NAME: &'static str = \"").skip(1);
        let names = names.filter_map(|rest| rest.split('"').next());
        let before = rules.len();
        rules.extend(names.map(str::to_owned));
        if rules.len() == before || !file.starts_with("core/src/rules/") {
            return Ok(None);
        }
    }
    Ok(Some(rules))
}

/// Every mutant of some files.
fn plant(shell: &Shell, files: &[&str], judge: &Judge) -> Result<Vec<Outcome>> {
    let out = format!("{OUT}/{}", files[0].replace('/', "-"));
    shell.remove_path(&out)?;
    shell.create_dir(&out)?;
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
    let rules = rules(shell, files)?;
    let _only = rules.map(|rules| shell.push_env("ADAREM_ONLY", rules.join(",")));

    let files: &Vec<&str> = &files.iter().flat_map(|file| ["--file", file]).collect();
    let mut outcomes = Vec::new();
    for (number, tests) in judge.rounds.iter().enumerate() {
        let round = if number == 0 {
            "--no-shuffle"
        } else {
            "--iterate"
        };
        let tests = &tests.arguments();
        let planted = cmd!(
            shell,
            "cargo mutants --workspace {files...} --output {out} {round} {tests...}"
        );
        let status = planted.ignore_status().output()?.status;
        // With 2 some have survived, with 3 some never ended.
        if !matches!(status.code(), Some(0 | 2 | 3)) {
            return Err(format!("cargo-mutants failed: see {out}").into());
        }
        let log = shell.read_file(format!("{out}/mutants.out/outcomes.json"))?;
        let log: Value = serde_json::from_str(&log)?;
        outcomes.retain(Outcome::is_done);
        for outcome in log["outcomes"].as_array().into_iter().flatten() {
            let mutant = &outcome["scenario"]["Mutant"];
            let (Some(file), Some(name), Some(summary)) = (
                mutant["file"].as_str(),
                mutant["name"].as_str(),
                outcome["summary"].as_str(),
            ) else {
                continue;
            };
            let what = name.splitn(4, ':').last().unwrap_or(name);
            outcomes.push(Outcome {
                file: file.to_owned(),
                name: format!("{file}:{what}"),
                summary: summary.to_owned(),
            });
        }
        // Of nothing, cargo-mutants leaves no log.
        if outcomes.iter().all(Outcome::is_done) {
            break;
        }
    }
    Ok(outcomes)
}
