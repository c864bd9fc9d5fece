//! The proof that no panic is reachable in the core: `embedded/proof` links.

use std::fmt;

use xshell::{Shell, cmd};

use super::{Result, target_dir};

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
    pub(crate) const ALL: [Level; 5] = [Level::One, Level::Two, Level::Three, Level::S, Level::Z];

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

/// Links the proof.
pub(crate) fn prove(shell: &Shell, level: Level) -> Result {
    link(shell, level, "")
}

/// Links the proof with a panic in it, which must fail.
pub(crate) fn prove_planted(shell: &Shell, level: Level) -> Result {
    link(shell, level, "planted")
}

fn link(shell: &Shell, level: Level, features: &str) -> Result {
    let (profile, target) = (level.profile(), target_dir(shell, "proof"));
    let output = cmd!(
        shell,
        "cargo build --quiet --manifest-path embedded/proof/Cargo.toml --profile {profile}
         --features={features} --target-dir {target}"
    )
    .env("RUSTFLAGS", "--cfg panic_proof")
    .env_remove("CARGO_ENCODED_RUSTFLAGS")
    .quiet()
    .ignore_status()
    .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("undefined symbol: a_panic_is_reachable")
        || said.contains("undefined reference to `a_panic_is_reachable'")
    {
        return Err(format!("a panic is reachable at {level}").into());
    }
    Err(said.into())
}
