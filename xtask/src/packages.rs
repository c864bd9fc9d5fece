//! Programs that tests need and that cargo cannot bring: installed where that is possible.

use xshell::{Shell, cmd};

/// Debian packages, each with a file that tells whether it is there.
const PACKAGES: [(&str, &str); 9] = [
    ("libvulkan1", "/usr/lib/x86_64-linux-gnu/libvulkan.so.1"),
    (
        "mesa-vulkan-drivers",
        "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json",
    ),
    (
        "vulkan-validationlayers",
        "/usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json",
    ),
    // For the fuzzer's own runtime, libFuzzer.
    ("g++", "/usr/bin/c++"),
    ("spirv-tools", "/usr/bin/spirv-val"),
    ("qemu-system-arm", "/usr/bin/qemu-system-arm"),
    ("gcc-arm-none-eabi", "/usr/bin/arm-none-eabi-gcc"),
    ("cmake", "/usr/bin/cmake"),
    ("valgrind", "/usr/bin/valgrind"),
];

/// NVIDIA's assembler, as packages of the Python index: a folder below `target/ptxas`, and what goes there.
const ASSEMBLERS: [(&str, &str); 2] = [
    ("cu12", "nvidia-cuda-nvcc-cu12==12.9.86"),
    ("cu13", "nvidia-cuda-nvcc==13.0.88"),
];

/// Brings NVIDIA's assembler, of which nothing is kept here.
pub(crate) fn install_assemblers(shell: &Shell) -> xshell::Result<()> {
    for (folder, package) in ASSEMBLERS {
        let target = format!("target/ptxas/{folder}");
        if shell.path_exists(&target) {
            continue;
        }
        let pip = cmd!(
            shell,
            "python3 -m pip install --quiet --no-deps --target {target} {package}"
        );
        if let Err(error) = pip.env("PIP_ROOT_USER_ACTION", "ignore").run() {
            println!(
                "{package} was not installed ({error}): the tests that need it will say that they are skipped"
            );
        }
    }
    Ok(())
}

/// Installs what is missing, with `apt-get` as root; elsewhere says what the tests will skip without.
pub(crate) fn install(shell: &Shell) -> xshell::Result<()> {
    let missing: Vec<_> = PACKAGES
        .iter()
        .filter(|(_, file)| !shell.path_exists(file))
        .map(|(name, _)| name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let root = cmd!(shell, "id -u")
        .quiet()
        .read()
        .is_ok_and(|id| id == "0");
    if !root
        || cmd!(shell, "apt-get --version")
            .quiet()
            .ignore_stdout()
            .run()
            .is_err()
    {
        println!("not installed, and not root on a Debian system to install it: {missing:?}");
        println!("the tests that need it will say that they are skipped");
        return Ok(());
    }
    let _noninteractive = shell.push_env("DEBIAN_FRONTEND", "noninteractive");
    cmd!(shell, "apt-get -qq update").run()?;
    cmd!(
        shell,
        "apt-get -qq install --yes --no-install-recommends {missing...}"
    )
    .ignore_stdout()
    .run()
}
