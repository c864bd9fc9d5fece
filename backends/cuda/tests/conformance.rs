//! The conformance kit, on the software driver.

use adarem::CHUNK;
use adarem_conformance::{Kit, conformance};
use adarem_cuda::Cuda;
use adarem_cuda_softdriver::Machine;

#[test]
fn cuda_conforms_in_f32() {
    conformance("cuda", || {
        Cuda::<f32>::open(Machine::claim().ordinal()).unwrap()
    });
}

/// Without the largest tensors: what lies beyond a few chunks is the same text in both types, and slow here.
#[test]
fn cuda_conforms_in_f64() {
    let mut cuda = Cuda::<f64>::open(Machine::claim().ordinal()).unwrap();
    let report = Kit::new("cuda").largest(5 * CHUNK).check(&mut cuda);
    assert!(report.passed(), "{report}");
    println!("{report}");
}
