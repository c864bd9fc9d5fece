//! `libadarem.a` and `libadarem.so`: the functions of `adarem_capi`, and what a library without `std` must
//! bring itself.
#![no_std]

pub use adarem_capi::*;

/// A panic ends the program. None can be reached but in the standard library's printing of floats, which
/// holds assertions. That is proven: with `--cfg panic_proof` floats are not printed and `end` does not
/// exist, and the shared library links all the same.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    end()
}

#[cfg(all(not(panic_proof), target_os = "none"))]
fn end() -> ! {
    loop {}
}

#[cfg(all(not(panic_proof), not(target_os = "none")))]
fn end() -> ! {
    unsafe extern "C" {
        safe fn abort() -> !;
    }
    abort()
}

#[cfg(panic_proof)]
unsafe extern "C" {
    #[link_name = "a_panic_is_reachable"]
    safe fn end() -> !;
}

/// A panic on purpose, which the proof must see.
#[cfg(feature = "planted")]
#[unsafe(no_mangle)]
pub extern "C" fn adarem_planted(i: usize) -> u8 {
    [1, 2, 3][i]
}
