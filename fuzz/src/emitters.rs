//! Programs through the emitters: as PTX on the software driver, with the host's bits; as SPIR-V under
//! the eyes of the validator.

use std::cell::Cell;
use std::io::Write;
use std::process::{Command, Stdio};

use adarem::trace::trace;
use adarem::{Dtype, Element, Half};
use adarem_conformance::cases::{lengths, numbers};
use adarem_conformance::programs::Program;
use adarem_conformance::{Bytes, agree};
use adarem_cuda::Cuda;
use adarem_cuda_softdriver::Machine;
use adarem_vulkan::spirv::{Target, kernels};
use adarem_vulkan::{Division, Floats};

/// A program as PTX: what the software driver computes has the host's bits, and it finds no fault.
pub(crate) fn ptx(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let shape = lengths(&mut bytes);
    if bytes.byte().is_multiple_of(4) {
        ptx_of::<f64>(&mut bytes, &shape);
    } else {
        ptx_of::<f32>(&mut bytes, &shape);
    }
}

fn ptx_of<T: Element>(bytes: &mut Bytes<'_>, shape: &[usize])
where
    Cuda<T>: adarem::Backend<Elem = T>,
{
    thread_local!(static DEVICE: Machine = Machine::claim());
    let program = Program::read(bytes);
    DEVICE.with(|machine| {
        let mut cuda = Cuda::<T>::open(machine.ordinal()).expect("the software driver opens");
        let agreed = agree(&mut cuda, &program, shape, 0..2, &mut numbers(bytes));
        let faults = machine.take_faults();
        assert!(faults.is_empty(), "{program:?} on {shape:?}: {faults:?}");
        agreed.unwrap_or_else(|error| panic!("{program:?} on {shape:?}: {error}"));
        drop(cuda);
        assert_eq!(machine.live_allocations(), 0, "{program:?} leaks");
    });
}

/// A program as SPIR-V: `spirv-val` accepts every kernel, whatever the device says of its floats.
pub(crate) fn spirv(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let bits = bytes.byte();
    let bit = |k: u8| bits >> k & 1 == 1;
    let target = Target {
        dtype: if bit(0) { Dtype::F64 } else { Dtype::F32 },
        floats: Floats {
            denorm_preserve: bit(1),
            signed_zero_inf_nan_preserve: bit(2),
            rounding_rte: bit(3),
        },
        division: if bit(4) {
            Division::Native
        } else {
            Division::Exact
        },
        mixed: bit(5).then_some(if bit(6) { Half::F16 } else { Half::Bf16 }),
    };
    let program = Program::read(&mut bytes);
    let traced = trace(&program, 0).expect("every program traces");
    for kernel in kernels(&traced.plan, target) {
        let words: Vec<u8> = kernel
            .words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        if let Err(complaint) = validate(&words) {
            panic!(
                "{:?} of {program:?} for {target:?}: {complaint}",
                kernel.stage
            );
        }
    }
}

/// What `spirv-val` says of a module. Where it is not installed, nothing is checked but that emitting ends,
/// and that is said once; with `ADAREM_REQUIRE_VULKAN` it is an error.
fn validate(words: &[u8]) -> Result<(), String> {
    thread_local!(static WARNED: Cell<bool> = const { Cell::new(false) });
    let child = Command::new("spirv-val")
        .args(["--target-env", "vulkan1.2", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if std::env::var_os("ADAREM_REQUIRE_VULKAN").is_some() => {
            return Err(format!("there is no spirv-val: {error}"));
        }
        Err(error) => {
            if !WARNED.replace(true) {
                eprintln!("SKIPPED: spirv-val does not run ({error}): install spirv-tools");
            }
            return Ok(());
        }
    };
    let mut stdin = child.stdin.take().ok_or("no pipe to spirv-val")?;
    let written = stdin.write_all(words);
    drop(stdin);
    let output = child
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    if output.status.success() && written.is_ok() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr))
}
