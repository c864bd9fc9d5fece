//! `cargo xtask test`: everything that must pass before a change is merged.

use xshell::{Shell, cmd};

pub(crate) fn run(shell: &Shell) -> xshell::Result<()> {
    crate::packages::install(shell)?;
    crate::packages::install_assemblers(shell)?;
    cmd!(shell, "cargo fmt --all --check").run()?;
    cmd!(
        shell,
        "cargo clippy --quiet --workspace --all-targets -- --deny warnings"
    )
    .run()?;
    cmd!(shell, "cargo test --workspace").run()?;
    {
        let _strict = shell.push_env("RUSTDOCFLAGS", "--deny warnings");
        cmd!(shell, "cargo doc --quiet --workspace --no-deps").run()?;
    }
    // A workspace of its own: the targets, and every input that once crashed one.
    let fuzz = ["--manifest-path", "fuzz/Cargo.toml"];
    cmd!(shell, "cargo fmt {fuzz...} --check").run()?;
    cmd!(
        shell,
        "cargo clippy --quiet {fuzz...} --all-targets -- --deny warnings"
    )
    .run()?;
    cmd!(shell, "cargo test {fuzz...}").run()?;
    Ok(())
}
