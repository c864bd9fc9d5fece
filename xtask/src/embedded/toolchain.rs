//! Compilers for machines without an operating system.
//!
//! rustup brings the targets where it may. Where it cannot reach its server, Debian's `rustc-web` brings a
//! compiler and the sources of `core` of the same version, from which `core` is built once for each target,
//! below `target/`; the system stays as it is.

use std::path::{Path, PathBuf};

use xshell::{Cmd, Shell, cmd};

use super::{Board, target_dir};
use crate::Result;
use crate::proof::Level;

/// A compiler that has `core` for a target.
pub(crate) enum Toolchain {
    /// The one that builds everything else.
    Rustup,
    /// Debian's, unpacked into this folder.
    Debian(PathBuf),
}

impl Toolchain {
    /// Asks rustup for the targets that are not installed.
    pub(crate) fn ask_rustup(shell: &Shell, targets: &[&str]) {
        let missing = targets.iter().filter(|target| !installed(shell, target));
        let missing: Vec<_> = missing.collect();
        if !missing.is_empty() {
            // Where it cannot bring them, `of` finds another way or says what is missing.
            let _ = cmd!(shell, "timeout 60 rustup target add {missing...}")
                .quiet()
                .ignore_stdout()
                .ignore_stderr()
                .run();
        }
    }

    /// The compiler for a target.
    pub(crate) fn of(shell: &Shell, target: &str) -> Result<Toolchain> {
        if installed(shell, target) {
            return Ok(Toolchain::Rustup);
        }
        let root = unpack(shell).map_err(|error| {
            format!("rustup has it not, and Debian's rustc-web could not be unpacked: {error}")
        })?;
        let toolchain = Toolchain::Debian(root);
        toolchain.build_core(shell, target)?;
        Ok(toolchain)
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Toolchain::Rustup => "rustup's compiler",
            Toolchain::Debian(_) => "Debian's compiler",
        }
    }

    /// Builds a library.
    pub(crate) fn build(&self, shell: &Shell, manifest: &str, target: &str) -> Result {
        let folder = target_dir(shell, target);
        let cargo = cmd!(
            shell,
            "cargo build --quiet --release --manifest-path {manifest} --target {target} --target-dir {folder}"
        );
        Ok(self.with(cargo).run()?)
    }

    /// Builds a program of `embedded/cortex-m`; where it lies.
    pub(crate) fn program(
        &self,
        shell: &Shell,
        board: &Board,
        level: Level,
        name: &str,
        features: &str,
    ) -> Result<PathBuf> {
        let (folder, profile) = (target_dir(shell, "cortex-m"), level.profile());
        let target = board.target;
        let libraries = cmd!(shell, "rustc --print target-libdir").quiet().read()?;
        let linker = Path::new(&libraries).with_file_name("bin").join("rust-lld");
        let cargo = cmd!(
            shell,
            "cargo build --quiet --manifest-path embedded/cortex-m/Cargo.toml --profile {profile} --bin {name}
             --features={features} --target {target} --target-dir {folder}"
        );
        let variable = format!("CARGO_TARGET_{target}_LINKER").replace('-', "_");
        self.with(cargo)
            .env(variable.to_uppercase(), linker)
            .run()?;
        Ok(folder.join(target).join(profile).join(name))
    }

    /// Lets cargo use this compiler.
    pub(crate) fn with<'a>(&self, cargo: Cmd<'a>) -> Cmd<'a> {
        let cargo = cargo.quiet().env_remove("CARGO_ENCODED_RUSTFLAGS");
        match self {
            Toolchain::Rustup => cargo,
            Toolchain::Debian(root) => cargo
                .env("RUSTC", root.join("usr/bin/rustc"))
                .env("LD_LIBRARY_PATH", root.join("usr/lib/x86_64-linux-gnu")),
        }
    }

    /// Builds `core` for `target`, and puts it where the compiler looks for it.
    fn build_core(&self, shell: &Shell, target: &str) -> Result {
        let Toolchain::Debian(root) = self else {
            return Ok(());
        };
        let libraries = root.join("usr/lib/rustlib").join(target).join("lib");
        if shell.path_exists(&libraries) {
            return Ok(());
        }
        let folder = target_dir(shell, "core");
        shell.write_file(folder.join("src/lib.rs"), "#![no_std]\n")?;
        shell.write_file(
            folder.join("Cargo.toml"),
            "[package]\nname = \"nothing\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
             [profile.release]\npanic = \"abort\"\n",
        )?;
        let manifest = folder.join("Cargo.toml");
        let cargo = cmd!(
            shell,
            "cargo build --quiet --release --manifest-path {manifest} --target {target} -Zbuild-std=core
             --target-dir {folder}"
        );
        self.with(cargo)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", "-Cembed-bitcode=yes")
            .run()?;
        shell.create_dir(&libraries)?;
        for library in shell.read_dir(folder.join(target).join("release/deps"))? {
            let name = library.file_name().unwrap_or_default().to_string_lossy();
            let wanted = name.starts_with("libcore-") || name.starts_with("libcompiler_builtins-");
            if wanted && name.ends_with(".rlib") {
                shell.copy_file(&library, &libraries)?;
            }
        }
        Ok(())
    }
}

/// Whether rustup has it.
fn installed(shell: &Shell, target: &str) -> bool {
    let installed = cmd!(shell, "rustup target list --installed").quiet().read();
    installed.is_ok_and(|targets| targets.lines().any(|line| line == target))
}

/// Downloads and unpacks Debian's compiler below `target/`; where it lies.
fn unpack(shell: &Shell) -> Result<PathBuf> {
    let folder = target_dir(shell, "debian");
    let (root, done) = (folder.join("root"), folder.join("done"));
    if shell.path_exists(&done) {
        return Ok(root);
    }
    // Their versions belong together, so what they depend on is asked for, not written here.
    let standard = dependency(shell, "libstd-rust-web-dev", "libstd-rust-web-")?;
    let llvm = dependency(shell, &standard, "libllvm")?;
    shell.create_dir(&folder)?;
    let here = shell.push_dir(&folder);
    cmd!(
        shell,
        "apt-get -qq download rustc-web rust-web-src libstd-rust-web-dev {standard} {llvm}"
    )
    .quiet()
    .ignore_stderr()
    .run()?;
    for package in shell.read_dir(&folder)? {
        if package.extension().is_some_and(|end| end == "deb") {
            cmd!(shell, "dpkg --extract {package} {root}")
                .quiet()
                .run()?;
        }
    }
    drop(here);
    shell.write_file(done, "")?;
    Ok(root)
}

/// The package that `package` depends on and whose name begins so.
fn dependency(shell: &Shell, package: &str, begin: &str) -> Result<String> {
    let all = cmd!(shell, "apt-cache depends {package}").quiet().read()?;
    let found = all
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with(begin));
    let found = found.ok_or_else(|| format!("{package} depends on no {begin}.."))?;
    Ok(found.to_string())
}
