//! `cargo xtask embedded`: what the core promises to machines without an operating system.
//!
//! No panic can be reached; it builds for each of the targets below with nothing but `core`; and on an
//! emulated Cortex-M4F trainings end on the host's bits, in the memory and time that a table prints.

mod c_door;
mod toolchain;

use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use crate::Result;
use crate::proof::Level;
use toolchain::Toolchain;

/// Machines that the core is built for: Cortex-M4 with and Cortex-M0 without floats, RISC-V, WebAssembly.
const TARGETS: [&str; 4] = [
    CORTEX_M4F,
    "thumbv6m-none-eabi",
    "riscv32imac-unknown-none-elf",
    "wasm32-unknown-unknown",
];

const CORTEX_M4F: &str = "thumbv7em-none-eabihf";

/// What a step may cost at `opt-level` z where its hyper-parameters are fixed.
const MOST_BYTES: u64 = 200;
const MOST_INSTRUCTIONS: f64 = 30.0;

pub(crate) fn run(shell: &Shell) -> Result {
    for target in TARGETS {
        let toolchain = Toolchain::of(shell, target)?;
        toolchain.build(shell, "core/Cargo.toml", target)?;
        toolchain.build(shell, "adapters/Cargo.toml", target)?;
        println!("{target}: built, with {}", toolchain.name());
    }

    let toolchain = Toolchain::of(shell, CORTEX_M4F)?;
    for level in [Level::Z, Level::Three] {
        compare_with_host(shell, &toolchain, level)?;
    }
    println!();
    println!(
        "a step on a Cortex-M4F                   opt-level   .text   instructions a parameter"
    );
    for (features, symbol, what) in [
        ("", "step_fixed", "AdaRem, hyper-parameters fixed"),
        ("tuned", "step_tuned", "AdaRem, all chosen at run time"),
        ("bytes", "step_bytes", "AdaRem8, a byte of state"),
    ] {
        for level in [Level::Z, Level::Three] {
            let cost = Cost::of(shell, &toolchain, level, features, symbol)?;
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
    println!();
    c_door::run_on_cortex_m(shell, &toolchain)
}

/// Trains on the emulated board and on the host.
fn compare_with_host(shell: &Shell, toolchain: &Toolchain, level: Level) -> Result {
    let image = toolchain.program(shell, level, "adarem-cortex-m", "")?;
    let printed = emulate(shell, &image)?;
    for training in adarem_training::TRAININGS {
        let mut line = String::new();
        adarem_training::report(&mut line, training)?;
        if !line.contains(": learned,") {
            return Err(format!("the host: {line}").into());
        }
        if !printed.contains(&line) {
            let line = line.trim_end();
            return Err(format!("the host has\n{line}\nthe Cortex-M4F\n{printed}").into());
        }
    }
    println!("Cortex-M4F, {level}: the bits of the host");
    print!("{printed}");
    println!("{}", cmd!(shell, "size {image}").quiet().read()?);
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
        let image = toolchain.program(shell, level, "cost", features)?;
        let printed = emulate(shell, &image)?;
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

/// Runs `image` on an emulated STM32F405, where an instruction takes a nanosecond; what it prints.
fn emulate(shell: &Shell, image: &Path) -> Result<String> {
    let board = cmd!(
        shell,
        "timeout 120 qemu-system-arm -machine netduinoplus2 -nographic -icount shift=0
         -semihosting-config enable=on,target=native -kernel {image}"
    );
    Ok(board.quiet().read()? + "\n")
}

/// Where builds for `what` lie.
fn target_dir(shell: &Shell, what: &str) -> PathBuf {
    shell.current_dir().join("target/embedded").join(what)
}
