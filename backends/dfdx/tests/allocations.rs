//! What an update of slices allocates, counted, with dfdx's cache on.
#![cfg(feature = "std")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use adarem_dfdx::{AdaRem, AdaRemConfig, AdaRemS, AdaRemSConfig, Groups};
use dfdx::optim::Optimizer;
use dfdx::prelude::*;

/// Counts the bytes that are asked for, and those of the largest single request.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The bytes that `work` asks for, and those of its largest single request.
fn counted(work: impl FnOnce()) -> (usize, usize) {
    LARGEST.store(0, Ordering::Relaxed);
    let before = BYTES.load(Ordering::Relaxed);
    work();
    let bytes = BYTES.load(Ordering::Relaxed) - before;
    (bytes, LARGEST.load(Ordering::Relaxed))
}

/// One test, as others would be counted with it.
#[test]
fn updates_allocate_no_memory_for_numbers() {
    let dev = Cpu::default();
    dev.enable_cache();
    let mut model = dev.build_module::<Linear<64, 128>, f32>();
    let mut grads = model.alloc_grads();
    let mut opt = Groups(
        AdaRemS::of(&model, AdaRemSConfig::default(), |name| name == "weight"),
        AdaRem::of(&model, AdaRemConfig::default(), |name| name == "bias"),
    );
    for step in 0..6 {
        let x: Tensor<Rank2<16, 64>, f32, _> = dev.sample_normal();
        grads = model.forward(x.traced(grads)).square().mean().backward();
        let (bytes, _) = counted(|| opt.update_in_place(&mut model, &mut grads).unwrap());
        // The first step makes the scratch memory, and knows the gradients from then on.
        assert!(
            step == 0 || bytes == 0,
            "step {step} allocated {bytes} bytes"
        );

        // The trait lends the gradients to be read only. dfdx copies them into cached memory, but makes a new
        // map for the copy, of a few nodes.
        let (bytes, largest) = counted(|| opt.update(&mut model, &grads).unwrap());
        assert!(
            step < 2 || largest < 1024,
            "step {step} allocated {largest} of {bytes} bytes at once"
        );
        model.zero_grads(&mut grads);
    }

    // dfdx writes the number of each field of a tuple into a string whenever it walks through the model; an
    // update of ours walks three times, to know the tensors, to lend them and to take them back.
    let mut model = dev.build_module::<(Linear<64, 128>, ReLU, Linear<128, 32>), f32>();
    let mut grads = model.alloc_grads();
    let mut sgd = dfdx::optim::Sgd::new(&model, Default::default());
    let mut opt = AdaRem::new(&model, AdaRemConfig::default());
    for step in 0..4 {
        let (walk, _) = counted(|| sgd.update(&mut model, &grads).unwrap());
        let (bytes, _) = counted(|| opt.update_in_place(&mut model, &mut grads).unwrap());
        assert!(
            step == 0 || bytes == 3 * walk,
            "step {step} allocated {bytes} bytes"
        );
    }
}
