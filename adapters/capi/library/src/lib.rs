//! `libadarem.a` and `libadarem.so`: the functions of `adarem_capi`, and what a library without `std` must
//! bring itself.
#![no_std]

pub use adarem_capi::*;

/// A panic ends the program. None can be reached but in the standard library's printing of floats, which
/// holds assertions.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    #[cfg(not(target_os = "none"))]
    {
        unsafe extern "C" {
            safe fn abort() -> !;
        }
        abort()
    }
    #[cfg(target_os = "none")]
    loop {}
}
