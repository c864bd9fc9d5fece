//! The conformance kit, on the software driver.

use adarem_conformance::conformance;
use adarem_cuda::Cuda;
use adarem_cuda_softdriver::Machine;

#[test]
fn cuda_conforms_in_f32() {
    conformance("cuda", || {
        Cuda::<f32>::open(Machine::claim().ordinal()).unwrap()
    });
}

#[test]
fn cuda_conforms_in_f64() {
    conformance("cuda", || {
        Cuda::<f64>::open(Machine::claim().ordinal()).unwrap()
    });
}
