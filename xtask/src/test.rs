//! `cargo xtask test`: everything that must pass before a change is merged.

use xshell::{Shell, cmd};

use crate::proof::Level;
use crate::{Result, embedded, instructions, packages, proof};

/// The devices that `train` takes besides the host; whoever builds it without asking gets neither.
const DEVICES: &str = "adarem-examples/cuda,adarem-examples/vulkan";

pub(crate) fn run(shell: &Shell) -> Result {
    packages::install(shell)?;
    packages::install_assemblers(shell)?;
    cmd!(shell, "cargo fmt --all --check").run()?;
    for workspace in ["adapters/capi/library", "bench", "embedded", "fuzz"] {
        let manifest = format!("{workspace}/Cargo.toml");
        cmd!(shell, "cargo fmt --all --manifest-path {manifest} --check").run()?;
    }
    for features in ["", DEVICES] {
        cmd!(
            shell,
            "cargo clippy --quiet --workspace --all-targets --features={features} -- --deny warnings"
        )
        .run()?;
    }
    cmd!(shell, "cargo test --workspace --features {DEVICES}").run()?;
    // The bits again, of the code that releases have: optimised, and in vectors.
    cmd!(
        shell,
        "cargo test --release --package adarem-cpu --package adarem-conformance --test bits --test value_stability --test special_values"
    )
    .run()?;
    {
        let _strict = shell.push_env("RUSTDOCFLAGS", "--deny warnings");
        cmd!(shell, "cargo doc --quiet --workspace --no-deps").run()?;
    }
    // At the levels of firmware and of releases; `cargo xtask proof` holds it at all.
    proof::run(&[Level::Z, Level::Three])?;
    embedded::run(shell)?;
    instructions::run(shell, false)?;
    // A workspace of its own: the targets, and every input that once crashed one.
    let fuzz = ["--manifest-path", "fuzz/Cargo.toml"];
    cmd!(
        shell,
        "cargo clippy --quiet {fuzz...} --all-targets -- --deny warnings"
    )
    .run()?;
    cmd!(shell, "cargo test {fuzz...}").run()?;
    Ok(())
}
