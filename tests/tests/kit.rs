//! The kit on the backends that need nothing but the host.

use adarem_conformance::{Interpreter, conformance};

#[test]
fn the_interpreter_conforms_in_f32() {
    conformance("interpreter", Interpreter::<f32>::default);
}

#[test]
fn the_interpreter_conforms_in_f64() {
    conformance("interpreter", Interpreter::<f64>::default);
}
