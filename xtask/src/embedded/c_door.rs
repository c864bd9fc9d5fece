//! The example in C, on the host and on the emulated board.

use xshell::{Shell, cmd};

use super::toolchain::Toolchain;
use super::{CORTEX_M4F, emulate, print_size, skip};
use crate::Result;

pub(crate) fn compare_with_host(shell: &Shell, toolchain: &Toolchain) -> Result {
    let compiler = cmd!(shell, "arm-none-eabi-gcc --version").quiet();
    if let Err(error) = compiler.ignore_stdout().run() {
        return skip("the example in C on a Cortex-M4F", error);
    }
    let examples = shell.current_dir().join("adapters/capi/examples");
    let _here = shell.push_dir(&examples);
    cmd!(shell, "make --silent target/fit").quiet().run()?;
    let board = cmd!(shell, "make --silent target/board.elf");
    toolchain.with(board).run()?;

    let image = examples.join("target/board.elf");
    let host = cmd!(shell, "target/fit").quiet().read()?;
    let printed = emulate(shell, &CORTEX_M4F, &image)?;
    if printed.trim_end() != host {
        return Err(format!("in C the host has\n{host}\nthe Cortex-M4F\n{printed}").into());
    }
    println!("\nthe example in C, on a Cortex-M4F: the bits of the host");
    print!("{printed}");
    print_size(shell, &image)
}
