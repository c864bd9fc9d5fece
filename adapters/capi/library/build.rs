//! Gives the shared library its name, and the C library that it needs.

fn main() {
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg-cdylib=-Wl,-soname,libadarem.so");
        println!("cargo::rustc-link-arg-cdylib=-lc");
    }
}
