//! The trainings of `adarem-training` on a Cortex-M.
//!
//! `cargo xtask embedded` runs it in QEMU. It prints the lines of the report, which must be those of the
//! host, and after each how deep the stack has been so far.
#![no_std]
#![no_main]

mod board;

use core::fmt::Write;

use adarem_training::{TRAININGS, report};
use cortex_m_rt::{STACK_PAINT_VALUE, entry};
use cortex_m_semihosting::hio;

#[entry]
fn main() -> ! {
    let Ok(mut out) = hio::hstdout() else {
        board::fail()
    };
    for training in TRAININGS {
        if report(&mut out, training).is_err() {
            board::fail();
        }
        let stack = deepest_stack();
        if writeln!(out, "stack {}: {stack} bytes", training.0).is_err() {
            board::fail();
        }
    }
    board::succeed()
}

unsafe extern "C" {
    /// Where the linker puts the end of the memory that is always in use, and the beginning of the stack.
    static __sheap: u32;
    static _stack_start: u32;
}

/// How much of the stack has been used so far, in bytes: up to the deepest word that is not painted.
fn deepest_stack() -> usize {
    let (low, high) = (&raw const __sheap, &raw const _stack_start);
    let words = (high as usize - low as usize) / 4;
    let painted = (0..words).take_while(|&k| {
        // SAFETY: `cortex-m-rt` painted all words from `__sheap` to `_stack_start`, which are RAM.
        let word = unsafe { low.add(k).read_volatile() };
        word == STACK_PAINT_VALUE
    });
    4 * (words - painted.count())
}
