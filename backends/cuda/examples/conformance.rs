//! The conformance kit on the GPU at hand: every rule, in both number types, beside the host.
//!
//! ```text
//! cargo run -p adarem-cuda --example conformance                  on a machine with a GPU
//! cargo run -p adarem-cuda --example conformance -- --rehearse    anywhere: the software driver, small tensors
//! ```

use adarem::{CHUNK, Element};
use adarem_conformance::Kit;
use adarem_cuda::{Cuda, Error};
use std::process::ExitCode;

fn main() -> Result<ExitCode, Error> {
    let rehearses = std::env::args().any(|argument| argument == "--rehearse");
    if rehearses {
        adarem_cuda_softdriver::install(1);
    }
    let passed = conforms::<f32>(rehearses)? & conforms::<f64>(rehearses)?;
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the kit, prints its report, and says whether it found nothing.
fn conforms<E: Element>(rehearses: bool) -> Result<bool, Error> {
    let mut cuda = Cuda::<E>::open(0)?;
    println!("{}, {:?}:", cuda.name()?, E::DTYPE);
    let kit = Kit::new("cuda");
    let kit = if rehearses {
        kit.largest(2 * CHUNK)
    } else {
        kit
    };
    let report = kit.check(&mut cuda);
    println!("{report}");
    Ok(report.passed())
}
