//! What the tests share: finding a device, aloud where there is none, and numbers to try.
#![allow(dead_code, reason = "each test uses a part")]

use adarem_vulkan::{Choice, Context, Error};
use std::{path::PathBuf, process::Command};

/// Whether a skip is a failure: CI says so.
fn required() -> bool {
    std::env::var_os("ADAREM_REQUIRE_VULKAN").is_some_and(|value| value == "1")
}

/// Says aloud that a test does not run, or fails where it must.
pub fn skip(why: &str) {
    assert!(!required(), "ADAREM_REQUIRE_VULKAN=1, but {why}");
    println!("SKIPPED: {why}");
    eprintln!("SKIPPED: {why}");
}

/// A device, or a loud skip.
pub fn context() -> Option<Context> {
    match Context::open(&Choice::Best) {
        Ok(context) => Some(context),
        Err(error @ (Error::NoLoader { .. } | Error::NoDriver | Error::NoDevice { .. })) => {
            skip(&error.to_string());
            None
        }
        Err(error) => panic!("a device is there and does not open: {error}"),
    }
}

/// Whether `spirv-val` is installed, or a loud skip.
pub fn has_validator() -> bool {
    let found = Command::new("spirv-val").arg("--version").output().is_ok();
    if !found {
        skip("there is no spirv-val: install spirv-tools");
    }
    found
}

/// An empty directory for a test.
pub fn scratch(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}
