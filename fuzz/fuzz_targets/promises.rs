#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| adarem_fuzz::run("promises", bytes));
