//! Tells the linker where the memory of the board lies that QEMU emulates.

use std::path::PathBuf;
use std::{env, fs};

/// An nRF51: QEMU's microbit, a Cortex-M0.
const NRF51: &str = "MEMORY
{
  FLASH : ORIGIN = 0x00000000, LENGTH = 256K
  RAM   : ORIGIN = 0x20000000, LENGTH = 16K
}
";

/// An STM32F405: QEMU's netduinoplus2, a Cortex-M4F.
const STM32F405: &str = "MEMORY
{
  FLASH : ORIGIN = 0x08000000, LENGTH = 1024K
  RAM   : ORIGIN = 0x20000000, LENGTH = 128K
}
";

fn main() {
    let target = env::var("TARGET").unwrap();
    let memory = if target.starts_with("thumbv6m") {
        NRF51
    } else {
        STM32F405
    };
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
    fs::write(out.join("memory.x"), memory).unwrap();
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    println!("cargo::rerun-if-changed=build.rs");
}
