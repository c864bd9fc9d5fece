//! `train` on devices that CI does not have in hardware: CUDA on the software driver, Vulkan on whatever
//! device is installed. What it ends on is what the host ends on.

#![cfg(any(feature = "cuda", feature = "vulkan"))]

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adarem_examples::train::command::{self, Arguments};
use adarem_examples::train::{Device, Outcome, checkpoint};
use clap::Parser;

/// Two epochs of seven steps for each of the usual five. The widest tensor is cut into several chunks.
const BRIEF: &str = "--hidden 72,72 --epochs 2 --batch 200 --clip 1 --weight-decay 1e-3";
const STEPS: u32 = 5 * 2 * 7;

/// A folder of its own for a device, empty.
fn folder(device: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(device);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs what `main` runs, with a Ctrl-C after so many steps. The race is in the folder's `race` then.
fn train(folder: &Path, arguments: &str, steps: u32) -> Outcome {
    let race = folder.join("race");
    let mut words = vec!["train", "--out", folder.to_str().unwrap()];
    words.extend(["--checkpoint", race.to_str().unwrap()]);
    words.extend(arguments.split_whitespace());
    let arguments = Arguments::try_parse_from(words).unwrap();
    let done = Cell::new(0);
    let stop = || {
        done.set(done.get() + 1);
        done.get() >= steps
    };
    command::run(&arguments, stop).unwrap()
}

/// The checkpoint in the folder, byte for byte, without what may differ: times, and the device itself.
fn bytes(folder: &Path) -> Vec<u8> {
    let file = folder.join("race");
    let mut race = checkpoint::load(&file).unwrap();
    race.settings.device = Device::Cpu;
    for run in race.finished.iter_mut().chain(&mut race.stopped) {
        run.time = Duration::ZERO;
        for epoch in &mut run.epochs {
            epoch.step_time = Duration::ZERO;
        }
    }
    checkpoint::save(&race, &file).unwrap();
    fs::read(file).unwrap()
}

/// Trains on the device, on the host, and from one to the other half way. Weights, state and scores are
/// the same bits each time.
fn ends_as_on_the_host(device: &str) {
    let folder = folder(device);
    let on = |device: &str| {
        let outcome = train(&folder, &format!("{BRIEF} --backend {device}"), u32::MAX);
        assert_eq!(outcome, Outcome::Finished);
        bytes(&folder)
    };
    let expected = on("cpu");
    assert!(on(device) == expected, "{device} ends elsewhere");

    // In the midst of the second run's first epoch, and of the last run's second.
    for (from, to, steps) in [(device, "cpu", STEPS / 5 + 3), ("cpu", device, STEPS - 3)] {
        let begun = train(&folder, &format!("{BRIEF} --backend {from}"), steps);
        assert_eq!(begun, Outcome::Stopped);
        let race = folder.join("race");
        let resume = format!("--resume {} --backend {to}", race.display());
        assert_eq!(train(&folder, &resume, u32::MAX), Outcome::Finished);
        assert!(
            bytes(&folder) == expected,
            "from {from} to {to} it ends elsewhere"
        );
    }
}

#[cfg(feature = "cuda")]
#[test]
fn cuda_ends_as_the_host_does() {
    let machine = adarem_cuda_softdriver::Machine::claim();
    assert_eq!(machine.ordinal(), 0, "train opens device 0");
    ends_as_on_the_host("cuda");
    assert_eq!(machine.take_faults(), [""; 0]);
    assert_eq!(machine.live_allocations(), 0);
    assert!(
        machine.launches() >= u64::from(2 * STEPS),
        "it ran elsewhere"
    );
}

/// The program itself, so that the loader looks for a driver and not this process.
#[cfg(feature = "cuda")]
#[test]
fn without_a_driver_train_says_what_is_missing() {
    let folder = folder("no-cuda");
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_train"));
    let words = BRIEF.split_whitespace().chain(["--backend", "cuda"]);
    let output = program.args(words).current_dir(&folder).output().unwrap();
    if output.status.success() {
        println!("not tried: this machine has a GPU");
        return;
    }
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    // Or, where there is a driver and no GPU: no CUDA device.
    assert!(
        error.starts_with("error: cannot start adarem: no CUDA d"),
        "{error}"
    );
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "it left a file");
}

/// On a software device too. Without any, it says so; with `ADAREM_REQUIRE_VULKAN=1` it fails.
#[cfg(feature = "vulkan")]
#[test]
fn vulkan_ends_as_the_host_does() {
    use adarem_vulkan::{Error, Vulkan};

    match Vulkan::<f32>::open() {
        Ok(_) => ends_as_on_the_host("vulkan"),
        Err(error @ (Error::NoLoader { .. } | Error::NoDriver | Error::NoDevice { .. })) => {
            let required = std::env::var("ADAREM_REQUIRE_VULKAN").is_ok_and(|value| value == "1");
            assert!(!required, "ADAREM_REQUIRE_VULKAN=1, but {error}");
            eprintln!("SKIPPED: {error}");
        }
        Err(error) => panic!("a device is there and does not open: {error}"),
    }
}
