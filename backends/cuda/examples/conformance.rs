//! The conformance kit on the GPU at hand: every rule, in both number types and in mixed precision, beside the host.
//!
//! ```text
//! cargo run -p adarem-cuda --example conformance                  on a machine with a GPU
//! cargo run -p adarem-cuda --example conformance -- --rehearse    anywhere: the software driver, small tensors
//! ```

use adarem::{CHUNK, Element, Optimizer, Param, Rule};
use adarem_conformance::{Kit, Mixed, mixed_precision};
use adarem_cuda::{Cuda, Error, Memory};
use std::process::ExitCode;

fn main() -> Result<ExitCode, Error> {
    let rehearses = std::env::args().any(|argument| argument == "--rehearse");
    if rehearses {
        adarem_cuda_softdriver::install(1);
    }
    let passed = conforms::<f32>(rehearses)? & conforms::<f64>(rehearses)?;
    mixed_precision(Lends(Cuda::open(0)?));
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

/// Lends memory of 16 bits to each step.
struct Lends(Cuda<f32>);

impl Mixed for Lends {
    type Backend = Cuda<f32>;

    fn backend(&mut self) -> &mut Cuda<f32> {
        &mut self.0
    }

    fn step<R: Rule, P: Param>(
        &mut self,
        optimizer: &mut Optimizer<R, Cuda<f32>>,
        master: &mut [Memory<f32>],
        params: &mut [Vec<P>],
        grad: &[Vec<P>],
    ) -> Result<(), Error> {
        let cuda = &mut self.0;
        let mut lend = |numbers: &Vec<P>| {
            let mut memory = cuda.zeros_of(numbers.len())?;
            cuda.write_of(&mut memory, 0, numbers)?;
            Ok(memory)
        };
        let mut lent = params
            .iter()
            .map(&mut lend)
            .collect::<Result<Vec<_>, Error>>()?;
        let grad = grad
            .iter()
            .map(&mut lend)
            .collect::<Result<Vec<_>, Error>>()?;
        cuda.step_mixed(
            optimizer,
            &mut Vec::from_iter(master.iter_mut().map(|memory| &mut **memory)),
            &mut Vec::from_iter(lent.iter_mut().map(|memory| &mut **memory)),
            &Vec::from_iter(grad.iter().map(|memory| &**memory)),
        )?;
        for (params, lent) in params.iter_mut().zip(&lent) {
            cuda.read_of(lent, 0, params)?;
        }
        Ok(())
    }
}
