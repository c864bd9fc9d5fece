//! The project's conformance kit: the same that every backend passes.

mod support;

use adarem_conformance::conformance;
use adarem_vulkan::Vulkan;

#[test]
fn f32_conforms() {
    if let Some(context) = support::context() {
        conformance("vulkan f32", || Vulkan::<f32>::new(&context).unwrap());
    }
}

#[test]
fn f64_conforms() {
    if let Some(context) = support::context() {
        conformance("vulkan f64", || Vulkan::<f64>::new(&context).unwrap());
    }
}
