//! The conformance kit, on one thread and on several.

use adarem_conformance::conformance;
use adarem_cpu::Cpu;

#[test]
fn one_thread_conforms_in_f32() {
    conformance("cpu, one thread", Cpu::<f32>::new);
}

#[test]
fn three_threads_conform_in_f64() {
    conformance("cpu, three threads", || Cpu::<f64>::with_threads(3));
}
