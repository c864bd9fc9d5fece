//! `cargo xtask proof`: no panic can be reached in the core, shown by the linker.
//!
//! The program in `embedded/proof` links only if none survives optimization; with one planted it must not.

use xshell::{Shell, cmd};

pub(crate) fn run(shell: &Shell) -> xshell::Result<()> {
    let _proof = shell.push_env("RUSTFLAGS", "--cfg panic_proof");
    for profile in ["opt-1", "opt-2", "opt-3", "opt-s", "opt-z"] {
        build(shell, profile, &[]).run()?;
        println!("{profile}: no panic is reachable");
    }
    let planted = build(shell, "opt-3", &["--features", "planted"])
        .ignore_status()
        .read_stderr()?;
    assert!(
        planted.contains("a_panic_is_reachable"),
        "the planted panic was not noticed:\n{planted}"
    );
    println!("planted: the proof fails, as it must");
    Ok(())
}

fn build<'a>(shell: &'a Shell, profile: &str, features: &[&str]) -> xshell::Cmd<'a> {
    let target = "target/proof";
    cmd!(
        shell,
        "cargo build --quiet --manifest-path embedded/Cargo.toml --package adarem-panic-proof --target-dir {target} --profile {profile} {features...}"
    )
}
