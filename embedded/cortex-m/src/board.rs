//! How a program on the emulated board ends.

use cortex_m_semihosting::{debug, hprintln};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    hprintln!("panicked");
    fail()
}

pub(crate) fn fail() -> ! {
    loop {
        debug::exit(debug::EXIT_FAILURE);
    }
}

pub(crate) fn succeed() -> ! {
    loop {
        debug::exit(debug::EXIT_SUCCESS);
    }
}
