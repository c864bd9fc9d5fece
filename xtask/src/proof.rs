//! `cargo xtask proof`: no panic can be reached in the core, nor through a function of C, shown by the linker.
//!
//! The program in `embedded/proof` and the library in `adapters/capi/library` link only if none survives
//! optimization: their panic handlers call a function that does not exist. With one planted they must not.

use std::fmt;
use std::num::NonZero;
use std::sync::Mutex;
use std::thread;

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

/// Proves the core at `levels`, and the library for C as it is built for speed and for size; several at a time.
pub(crate) fn run(levels: &[Level]) -> Result {
    let core = levels.iter().map(|&level| Proof::of_core(level));
    let library = ["release", "small"].map(Proof::of_library);
    let planted = [
        Proof::of_core(Level::Three).planted(),
        Proof::of_library("small").planted(),
    ];
    let proofs = Mutex::new(core.chain(library).chain(planted));
    let work = || -> Result {
        let shell = crate::shell()?;
        loop {
            let next = proofs.lock().map_err(|error| error.to_string())?.next();
            match next {
                Some(proof) => proof.hold(&shell)?,
                None => return Ok(()),
            }
        }
    };
    thread::scope(|scope| {
        let workers = thread::available_parallelism().map_or(1, NonZero::get);
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let mut ended = workers.into_iter().map(|worker| worker.join());
        ended.try_for_each(|end| end.unwrap_or_else(|_| Err("a proof panicked".into())))
    })
}

/// Something that links only if no panic is reachable.
struct Proof {
    what: String,
    manifest: &'static str,
    profile: String,
    features: &'static str,
}

impl Proof {
    fn of_core(level: Level) -> Proof {
        Proof {
            what: format!("the core, {level}"),
            manifest: "embedded/proof/Cargo.toml",
            profile: level.profile(),
            features: "",
        }
    }

    fn of_library(profile: &str) -> Proof {
        Proof {
            what: format!("the library for C, {profile}"),
            manifest: "adapters/capi/library/Cargo.toml",
            profile: profile.to_string(),
            features: "every-rule,f64",
        }
    }

    /// The same with a panic in it, and little else.
    fn planted(self) -> Proof {
        Proof {
            features: PLANTED,
            ..self
        }
    }

    fn hold(&self, shell: &Shell) -> Result {
        let Proof { what, features, .. } = self;
        match (self.links(shell)?, *features == PLANTED) {
            (true, false) => println!("{what}: no panic is reachable"),
            (false, true) => println!("{what}: a planted panic is seen"),
            (false, false) => return Err(format!("{what}: a panic is reachable").into()),
            (true, true) => return Err(format!("{what}: a planted panic was not seen").into()),
        }
        Ok(())
    }

    /// Whether it links. An error tells another reason than a panic.
    fn links(&self, shell: &Shell) -> Result<bool> {
        let Proof {
            manifest,
            profile,
            features,
            ..
        } = self;
        let output = cmd!(
            shell,
            "cargo build --quiet --manifest-path {manifest} --profile {profile}
             --no-default-features --features={features} --target-dir target/proof"
        )
        .env("RUSTFLAGS", "--cfg panic_proof")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .quiet()
        .ignore_status()
        .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        // In the words of LLVM's linker and of GNU's.
        let undefined = ["undefined symbol: ", "undefined reference to `"]
            .map(|words| format!("{words}a_panic_is_reachable"));
        if output.status.success() {
            Ok(true)
        } else if undefined.iter().any(|words| said.contains(words)) {
            Ok(false)
        } else {
            Err(said.into())
        }
    }
}

/// The feature that plants a panic.
const PLANTED: &str = "planted";
