//! The C example on the emulated board.

use xshell::Shell;

use super::toolchain::Toolchain;
use crate::Result;

pub(crate) fn run_on_cortex_m(_: &Shell, _: &Toolchain) -> Result {
    Ok(())
}
