//! The C example on the emulated board.

use xshell::Shell;

use super::Result;
use super::toolchain::Toolchain;

pub(crate) fn run_on_cortex_m(_: &Shell, _: &Toolchain) -> Result {
    Ok(())
}
