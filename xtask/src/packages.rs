//! Programs that tests need and that cargo cannot bring: installed where that is possible.

use xshell::{Shell, cmd};

/// Debian packages, each with a file that tells whether it is there.
const PACKAGES: [(&str, &str); 5] = [
    ("libvulkan1", "/usr/lib/x86_64-linux-gnu/libvulkan.so.1"),
    (
        "mesa-vulkan-drivers",
        "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json",
    ),
    (
        "vulkan-validationlayers",
        "/usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json",
    ),
    ("spirv-tools", "/usr/bin/spirv-val"),
    ("qemu-system-arm", "/usr/bin/qemu-system-arm"),
];

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
