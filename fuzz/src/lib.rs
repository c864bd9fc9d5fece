//! Fuzz targets: each is a function of bytes that panics where something is wrong.
//!
//! `cargo xtask fuzz --seconds 20` runs all of them under cargo-fuzz; `cargo test` here replays their
//! corpora on any compiler. A file of a corpus is named for its case. What crashes a target is fixed,
//! and its bytes become a file of that target's corpus, named for what was wrong: so it stays a test.

mod c_door;
mod checkpoint;
mod emitters;
mod faults;
mod native;
mod region;
mod rules;

use adarem_conformance::cases::Training;
use adarem_conformance::{promises, schedules};

/// A fuzz target: its name, which is its folder's in `corpus/` and its program's in `fuzz_targets/`, and
/// what it does with bytes.
pub struct Target {
    /// The name.
    pub name: &'static str,
    /// Panics where something is wrong.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "c_door",
        run: c_door::run,
    },
    Target {
        name: "checkpoint",
        run: checkpoint::run,
    },
    Target {
        name: "faults",
        run: faults::run,
    },
    Target {
        name: "programs",
        run: rules::programs,
    },
    Target {
        name: "promises",
        run: |bytes| {
            let training = Training::decode(bytes);
            promises::ALL.iter().for_each(|promise| promise(&training));
        },
    },
    Target {
        name: "ptx",
        run: emitters::ptx,
    },
    Target {
        name: "region",
        run: region::run,
    },
    Target {
        name: "rules",
        run: rules::run,
    },
    Target {
        name: "schedules",
        run: schedules::check,
    },
    Target {
        name: "spirv",
        run: emitters::spirv,
    },
];

/// Runs the target `name`.
///
/// # Panics
/// Where something is wrong, or there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.unwrap_or_else(|| panic!("there is no target {name}"));
    (target.run)(bytes);
}
