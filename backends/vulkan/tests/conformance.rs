//! The project's conformance kit: the same that every backend passes.

mod support;

use adarem::Element;
use adarem_conformance::Kit;
use adarem_vulkan::Vulkan;

/// The largest tensor that a processor which plays a GPU is asked to step: beyond it the kit has one more case,
/// 2 million lanes, which takes minutes there. ADAREM_LARGE=1 asks for it.
const LARGEST_IN_SOFTWARE: usize = 1 << 17;

fn conforms<E: Element>(device: &str) {
    let Some(context) = support::context() else {
        return;
    };
    let mut kit = Kit::new(device);
    if context.is_software() && std::env::var_os("ADAREM_LARGE").is_none() {
        kit = kit.largest(LARGEST_IN_SOFTWARE);
    }
    let report = kit.check(&mut Vulkan::<E>::new(&context).unwrap());
    println!("{report}");
    assert!(report.passed(), "{report}");
}

#[test]
fn f32_conforms() {
    conforms::<f32>("vulkan f32");
}

#[test]
fn f64_conforms() {
    conforms::<f64>("vulkan f64");
}
