//! The programs, run as a user runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const TRAIN: &str = env!("CARGO_BIN_EXE_train");

/// A folder of its own for a test, empty.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn train(folder: &Path, arguments: &str) -> Output {
    let words = arguments.split_whitespace();
    Command::new(TRAIN)
        .args(words)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn results(file: &Path) -> Vec<Value> {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

#[test]
fn adarem_learns_digits_and_ends_below_sgd() {
    let folder = folder("digits");
    let arguments =
        "--hidden 48 --epochs 8 --batch 16 --lr 0.1 --optimizers adarem,sgd --json r.json";
    let output = train(&folder, arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let runs = results(&folder.join("r.json"));
    let number = |run: usize, name: &str| runs[run][name].as_f64().unwrap();
    assert_eq!(
        (&runs[0]["optimizer"], &runs[1]["optimizer"]),
        (&"adarem".into(), &"sgd".into())
    );
    assert!(number(0, "test_accuracy") >= 0.965, "{runs:?}");
    assert!(
        number(0, "train_loss") < number(1, "train_loss"),
        "{runs:?}"
    );
    assert!(number(0, "q_ratio") < number(1, "q_ratio"), "{runs:?}");

    let shown = text(&output.stdout);
    for picture in ["out/training-loss.svg", "out/test-error.svg", "out/q.svg"] {
        assert!(
            shown.contains(picture) && folder.join(picture).exists(),
            "{shown}"
        );
    }
    let heading = shown
        .lines()
        .find(|line| line.starts_with("optimizer"))
        .unwrap();
    for column in ["train loss", "test acc.", "Q", "us/step", "state"] {
        assert!(heading.contains(column), "{heading}");
    }
}

#[test]
fn bad_arguments_are_named_and_nothing_is_run() {
    let folder = folder("arguments");
    for (arguments, says) in [
        ("--optimizers sdg", "there is no optimizer \"sdg\", but ad"),
        ("--epochs 0", "0 is not in 1..=1000000"),
        (
            "--lr sgd=-1",
            "cannot start sgd: lr must be at least 0 and finite, got -1",
        ),
        (
            "--lambda 1",
            "cannot start adarem: lambda must lie in [0, 1), got 1",
        ),
        (
            "--batch 5000",
            "a batch must hold from 2 to all 1438 images, got 5000",
        ),
        ("--backend abacus", "[possible values: cpu, vulkan, cuda]"),
        (
            "--hidden 0",
            "a hidden layer must hold at least one unit, got 0",
        ),
        (
            "--task text --hidden 8,8",
            "one hidden layer of at least one unit, got [8, 8]",
        ),
        ("--resume nothing", "cannot read the checkpoint nothing: "),
        ("--resume nothing --seed 3", "cannot be used with"),
    ] {
        let output = train(&folder, arguments);
        let error = text(&output.stderr);
        assert!(
            !output.status.success() && error.contains(says),
            "{arguments}: {error}"
        );
        assert_eq!(
            fs::read_dir(&folder).unwrap().count(),
            0,
            "{arguments} left a file"
        );
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_a_checkpoint_that_ends_on_the_same_bits() {
    use std::time::{Duration, Instant};

    let folder = folder("interrupt");
    let arguments = "--hidden 32 --epochs 12 --optimizers adarem,adarem-s";
    train(&folder, &format!("{arguments} --json straight.json"));

    // The race is under way as soon as its first epoch has left a checkpoint.
    let checkpoint = folder.join("race");
    let words = arguments.split_whitespace().chain(["--checkpoint", "race"]);
    let mut child = Command::new(TRAIN)
        .args(words)
        .current_dir(&folder)
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while !checkpoint.exists() {
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "no checkpoint after a minute"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let signal = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(signal.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!folder.join("race.part").exists());

    let output = train(&folder, "--resume race --json resumed.json");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let [straight, resumed] = ["straight.json", "resumed.json"].map(|f| results(&folder.join(f)));
    for (straight, resumed) in straight.iter().zip(&resumed) {
        for bits in ["optimizer", "theta_crc32", "epochs", "q_ratio"] {
            assert_eq!(straight[bits], resumed[bits]);
        }
    }
}

#[test]
fn range_test_finds_a_rate_and_draws_it() {
    let folder = folder("range");
    let words = "--optimizers sgd --steps 120 --from 1e-3 --to 10 --picture range.svg";
    let mut command = Command::new(env!("CARGO_BIN_EXE_range_test"));
    let output = command
        .args(words.split_whitespace())
        .current_dir(&folder)
        .output()
        .unwrap();
    let shown = text(&output.stdout);
    let line = shown.lines().find(|line| line.starts_with("sgd ")).unwrap();
    let rate: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!((1e-3..10.0).contains(&rate), "{shown}");
    assert!(
        fs::read_to_string(folder.join("range.svg"))
            .unwrap()
            .contains("learning rate")
    );
}

#[test]
fn bare_metal_takes_the_echo_away() {
    let output = Command::new(env!("CARGO_BIN_EXE_bare_metal"))
        .output()
        .unwrap();
    let shown = text(&output.stdout);
    let last = shown
        .lines()
        .last()
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap();
    assert!(last.parse::<f32>().unwrap() < -100.0, "{shown}");
}

#[test]
fn new_rule_ends_on_the_same_bits_everywhere() {
    let output = Command::new(env!("CARGO_BIN_EXE_new_rule"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).contains("xor_sign"),
        "the plan is shown"
    );
}
