//! Gives the shared library its name and the C library that it needs, and refuses to link it where a function
//! is missing.

fn main() {
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        for argument in ["-Wl,-soname,libadarem.so", "-Wl,-z,defs", "-lc"] {
            println!("cargo::rustc-link-arg-cdylib={argument}");
        }
    }
}
