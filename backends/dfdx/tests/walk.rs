//! The backend of tensor operations, proved on dfdx's host device.

use adarem_conformance::conformance;
use adarem_dfdx::Walk;
use dfdx::tensor::Cpu;

#[test]
fn tensor_operations_conform_in_f32() {
    conformance("dfdx", || Walk::<f32, Cpu>::new(Cpu::default()));
}

#[test]
fn tensor_operations_conform_in_f64() {
    conformance("dfdx", || Walk::<f64, Cpu>::new(Cpu::default()));
}
