//! Bytes that claim to be a checkpoint: refused, and then nothing is changed; or restored, and then saved as
//! the same bytes. Either way without allocating, however much they claim to hold.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use adarem::{AdaRemS, Error, ErrorKind, Optimizer, Phase};
use adarem_conformance::Interpreter;

const LENGTHS: [usize; 3] = [5, 0, 3];

/// An optimizer that has taken a step; its state is neither zero nor what it starts with.
fn stepped(backend: &mut Interpreter<f32>) -> Optimizer<AdaRemS, Interpreter<f32>> {
    let mut optimizer = Optimizer::new(AdaRemS::default(), backend, &LENGTHS).expect("valid");
    let (a, b, c): (&mut [f32], &mut [f32], &mut [f32]) = (&mut [1.0; 5], &mut [], &mut [2.0; 3]);
    let grad: [&[f32]; 3] = [&[0.1, -0.2, 0.3, 0.0, 1.0], &[], &[-1.0, 2.0, 0.5]];
    optimizer
        .step(backend, &mut [a, b, c], &grad)
        .expect("the interpreter never fails");
    optimizer
}

fn saved(
    optimizer: &Optimizer<AdaRemS, Interpreter<f32>>,
    backend: &mut Interpreter<f32>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let saved = optimizer.save(backend, |piece| bytes.extend_from_slice(piece));
    saved.expect("what is ready can be saved");
    bytes
}

pub(crate) fn run(bytes: &[u8]) {
    let backend = &mut Interpreter::default();
    let mut optimizer = stepped(backend);
    let good = saved(&optimizer, backend);

    // First bytes as they are; then, so that what lies behind the checksum is reached, a real checkpoint
    // with these bytes written over it from somewhere on, and a checksum that is right.
    let mut altered = good.clone();
    altered.truncate(good.len() - 8);
    if let Some((&at, rest)) = bytes.split_first() {
        let at = usize::from(at) % altered.len();
        match rest.split_first() {
            Some((0, rest)) => altered.splice(at.., rest.iter().copied()).for_each(drop),
            Some((_, rest)) => {
                altered
                    .iter_mut()
                    .skip(at)
                    .zip(rest)
                    .for_each(|(byte, &new)| *byte = new);
            }
            None => altered.truncate(at),
        }
    }
    let checksum = altered
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    altered.extend(checksum.to_le_bytes());

    for bytes in [bytes, &altered] {
        let allocated = ALLOCATED.get();
        let restored = optimizer.restore(backend, bytes);
        assert_eq!(ALLOCATED.get(), allocated, "restoring allocates");
        assert_eq!(optimizer.phase(), Phase::Ready);
        match restored.map_err(|error| error.kind()) {
            Ok(()) => assert_eq!(
                saved(&optimizer, backend),
                bytes,
                "what was restored is saved otherwise"
            ),
            Err(ErrorKind::Checkpoint(_)) => {
                assert_eq!(
                    saved(&optimizer, backend),
                    good,
                    "a refusal changed something"
                );
            }
            Err(other) => panic!("hostile bytes gave {other:?}"),
        }
        optimizer
            .restore(backend, &good)
            .expect("its own checkpoint is restored");
    }
}

/// The system's allocator, counting what this thread asks it for.
struct Counting;

thread_local!(static ALLOCATED: Cell<usize> = const { Cell::new(0) });

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counter is a plain cell without a destructor,
// so touching it allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size());
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}
