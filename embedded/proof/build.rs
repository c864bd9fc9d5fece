//! Links without a C library and without its start files, so that nothing but the program is in the image.

fn main() {
    for argument in ["-nostdlib", "-nostartfiles", "-static", "-no-pie"] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    // The compiler may call these wherever it likes. The program is linked, never run.
    for function in ["memcpy", "memmove", "memset", "memcmp", "bcmp"] {
        println!("cargo::rustc-link-arg-bins=-Wl,--defsym={function}=_start");
    }
}
