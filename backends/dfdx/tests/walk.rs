//! The backend of tensor operations, proved on dfdx's host device.

use adarem::{Backend, Element};
use adarem_conformance::{Kit, Tolerance};
use adarem_dfdx::Walk;
use dfdx::dtypes::Dtype;
use dfdx::tensor::Cpu;
use dfdx::tensor_ops::Device;

/// Rules where the sign of a NaN gradient shows in a number that is not NaN: as the direction in which the
/// coefficient of its own lane is taken to agree with the past. Whatever the sign, theta is NaN there.
const SIGNS_OF_NAN: [&str; 3] = [
    "rule in_box(adarem)",
    "rule in_ball(adarem)",
    "rule in_simplex(adarem)",
];

fn conforms<E: Element + Dtype>()
where
    Cpu: Device<E>,
    Walk<E, Cpu>: Backend,
{
    let lines = SIGNS_OF_NAN.map(|check| Tolerance {
        device: "dfdx",
        check,
        // 1 + lambda b in the place of 1 - lambda b: any number of units.
        ulp: u64::MAX - 1,
        reason: "no operation of dfdx shows the sign of a NaN",
    });
    let kit = lines.into_iter().fold(Kit::new("dfdx"), Kit::tolerate);
    let report = kit.check(&mut Walk::<E, Cpu>::new(Cpu::default()));
    assert!(report.passed(), "{report}");
}

#[test]
fn tensor_operations_conform_in_f32() {
    conforms::<f32>();
}

#[test]
fn tensor_operations_conform_in_f64() {
    conforms::<f64>();
}
