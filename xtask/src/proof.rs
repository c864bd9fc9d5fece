//! `cargo xtask proof`: no panic can be reached in the core, shown by the linker.
//!
//! The program in `embedded/proof` links only if none survives optimization; with one planted it must not.

use std::fmt;

use xshell::{Shell, cmd};

use crate::Result;

/// An `opt-level`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    One,
    Two,
    Three,
    S,
    Z,
}

impl Level {
    const ALL: [Level; 5] = [Level::One, Level::Two, Level::Three, Level::S, Level::Z];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Level::One => "1",
            Level::Two => "2",
            Level::Three => "3",
            Level::S => "s",
            Level::Z => "z",
        }
    }

    /// The profile of `embedded/Cargo.toml`.
    pub(crate) fn profile(self) -> String {
        format!("opt-{}", self.name())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "opt-level {}", self.name())
    }
}

pub(crate) fn run(shell: &Shell) -> Result {
    for level in Level::ALL {
        if !links(shell, level, "")? {
            return Err(format!("a panic is reachable at {level}").into());
        }
        println!("no panic is reachable at {level}");
    }
    if links(shell, Level::Three, "planted")? {
        return Err("a planted panic was not seen".into());
    }
    println!("a planted panic is seen");
    Ok(())
}

/// Whether the program links. Where it does not, for another reason than a panic, the error says so.
fn links(shell: &Shell, level: Level, features: &str) -> Result<bool> {
    let profile = level.profile();
    let output = cmd!(
        shell,
        "cargo build --quiet --manifest-path embedded/Cargo.toml --package adarem-panic-proof
         --profile {profile} --features={features} --target-dir target/proof"
    )
    .env("RUSTFLAGS", "--cfg panic_proof")
    .env_remove("CARGO_ENCODED_RUSTFLAGS")
    .quiet()
    .ignore_status()
    .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let undefined = ["undefined symbol: ", "undefined reference to `"];
    if output.status.success() {
        Ok(true)
    } else if undefined
        .iter()
        .any(|undefined| said.contains(&format!("{undefined}a_panic_is_reachable")))
    {
        Ok(false)
    } else {
        Err(said.into())
    }
}
