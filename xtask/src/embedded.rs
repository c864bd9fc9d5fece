//! `cargo xtask embedded`: what the library promises to machines without an operating system.
//!
//! It builds for each of the targets below with nothing but `core`; on emulated Cortex-M boards, with and
//! without floats in hardware, trainings end on the host's bits; a table prints the memory and the time that
//! a step takes; and the example in C ends on the host's bits, too. What is missing is skipped aloud; with
//! `ADAREM_REQUIRE_EMBEDDED=1` it fails.

mod c_door;
mod toolchain;

use std::env;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use crate::Result;
use crate::proof::Level;
use toolchain::Toolchain;

/// Machines that the library is built for: Cortex-M4 with and Cortex-M0 without floats, RISC-V, WebAssembly.
const TARGETS: [&str; 4] = [
    CORTEX_M4F.target,
    CORTEX_M0.target,
    "riscv32imac-unknown-none-elf",
    "wasm32-unknown-unknown",
];

/// A machine that QEMU emulates.
struct Board {
    name: &'static str,
    target: &'static str,
    machine: &'static str,
}

/// An STM32F405.
const CORTEX_M4F: Board = Board {
    name: "Cortex-M4F",
    target: "thumbv7em-none-eabihf",
    machine: "netduinoplus2",
};

/// An nRF51, whose floats are made of integers.
const CORTEX_M0: Board = Board {
    name: "Cortex-M0",
    target: "thumbv6m-none-eabi",
    machine: "microbit",
};

/// What a step may cost at `opt-level` z where its hyper-parameters are fixed.
const MOST_BYTES: u64 = 200;
const MOST_INSTRUCTIONS: f64 = 30.0;

pub(crate) fn run(shell: &Shell) -> Result {
    Toolchain::ask_rustup(shell, &TARGETS);
    for target in TARGETS {
        match Toolchain::of(shell, target) {
            Ok(toolchain) => {
                toolchain.build(shell, "core/Cargo.toml", target)?;
                toolchain.build(shell, "adapters/Cargo.toml", target)?;
                println!("{target}: built, with {}", toolchain.name());
            }
            Err(error) => skip(target, error)?,
        }
    }
    let qemu = cmd!(shell, "qemu-system-arm --version").quiet();
    if let Err(error) = qemu.ignore_stdout().run() {
        return skip("the emulated boards", error);
    }
    for board in [CORTEX_M4F, CORTEX_M0] {
        match Toolchain::of(shell, board.target) {
            Ok(toolchain) => compare_with_host(shell, &toolchain, &board)?,
            Err(error) => skip(board.name, error)?,
        }
    }
    match Toolchain::of(shell, CORTEX_M4F.target) {
        Ok(toolchain) => {
            print_costs(shell, &toolchain)?;
            c_door::compare_with_host(shell, &toolchain)
        }
        Err(error) => skip("what a step costs, and the example in C", error),
    }
}

/// Says that something is not shown, and why.
fn skip(what: &str, why: impl Display) -> Result {
    if env::var("ADAREM_REQUIRE_EMBEDDED").is_ok_and(|value| value == "1") {
        return Err(format!("{what}: {why}").into());
    }
    println!("SKIPPED: {what}: {why}");
    Ok(())
}

/// Trains on the emulated board and on the host.
fn compare_with_host(shell: &Shell, toolchain: &Toolchain, board: &Board) -> Result {
    for level in [Level::Z, Level::Three] {
        let image = toolchain.program(shell, board, level, "adarem-cortex-m", "")?;
        let printed = emulate(shell, board, &image)?;
        for training in adarem_training::TRAININGS {
            let mut line = String::new();
            adarem_training::report(&mut line, training)?;
            if !line.contains(": learned,") {
                return Err(format!("the host: {line}").into());
            }
            if !printed.contains(&line) {
                let (line, name) = (line.trim_end(), board.name);
                return Err(format!("the host has\n{line}\nthe {name}\n{printed}").into());
            }
        }
        println!("\n{}, {level}: the bits of the host", board.name);
        print!("{printed}");
        print_size(shell, &image)?;
    }
    Ok(())
}

/// Prints what an image takes: `text` in flash, `data` in both, `bss` in RAM.
fn print_size(shell: &Shell, image: &Path) -> Result {
    let size = cmd!(shell, "size {image}").quiet().read()?;
    for line in size.lines() {
        let columns: Vec<_> = line.split_whitespace().take(3).collect();
        println!("{:>8} {:>8} {:>8}", columns[0], columns[1], columns[2]);
    }
    Ok(())
}

fn print_costs(shell: &Shell, toolchain: &Toolchain) -> Result {
    println!(
        "\na step on a Cortex-M4F                   opt-level   .text   instructions a parameter"
    );
    for (features, symbol, what) in [
        ("", "step_fixed", "AdaRem, hyper-parameters fixed"),
        ("tuned", "step_tuned", "AdaRem, all chosen at run time"),
        ("bytes", "step_bytes", "AdaRem8, a byte of state"),
    ] {
        for level in [Level::Z, Level::Three] {
            let cost = Cost::of(shell, toolchain, level, features, symbol)?;
            let Cost {
                bytes,
                instructions,
            } = cost;
            println!(
                "{what:<40} {:>9} {bytes:>7} {instructions:>26.1}",
                level.name()
            );
            if features.is_empty() && level == Level::Z {
                cost.keeps_budget()?;
            }
        }
    }
    Ok(())
}

/// What a step costs.
struct Cost {
    bytes: u64,
    instructions: f64,
}

impl Cost {
    fn of(
        shell: &Shell,
        toolchain: &Toolchain,
        level: Level,
        features: &str,
        symbol: &str,
    ) -> Result<Cost> {
        let image = toolchain.program(shell, &CORTEX_M4F, level, "cost", features)?;
        let printed = emulate(shell, &CORTEX_M4F, &image)?;
        let instructions = printed
            .trim()
            .strip_prefix("instructions a parameter: ")
            .ok_or_else(|| format!("the board printed {printed:?}"))?
            .parse()?;
        let symbols = cmd!(shell, "nm --print-size --demangle {image}")
            .quiet()
            .read()?;
        let bytes = symbols
            .lines()
            .find(|line| line.ends_with(&format!("::{symbol}")))
            .and_then(|line| line.split(' ').nth(1))
            .ok_or_else(|| format!("{symbol} is not in {}", image.display()))?;
        Ok(Cost {
            bytes: u64::from_str_radix(bytes, 16)?,
            instructions,
        })
    }

    fn keeps_budget(&self) -> Result {
        let Cost {
            bytes,
            instructions,
        } = self;
        if *bytes > MOST_BYTES || *instructions > MOST_INSTRUCTIONS {
            return Err(format!(
                "a step takes {bytes} bytes and {instructions} instructions a parameter, \
                 more than {MOST_BYTES} and {MOST_INSTRUCTIONS}"
            )
            .into());
        }
        Ok(())
    }
}

/// Runs `image` on an emulated board, where an instruction takes a nanosecond; what it prints.
fn emulate(shell: &Shell, board: &Board, image: &Path) -> Result<String> {
    let machine = board.machine;
    let board = cmd!(
        shell,
        "timeout 120 qemu-system-arm -machine {machine} -nographic -icount shift=0
         -semihosting-config enable=on,target=native -kernel {image}"
    );
    Ok(board.quiet().read()? + "\n")
}

/// Where builds for `what` lie.
fn target_dir(shell: &Shell, what: &str) -> PathBuf {
    shell.current_dir().join("target/embedded").join(what)
}
