//! A step after the first allocates nothing, on one thread and on several, whatever the rule folds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use adarem::rules::{EachRule, for_each};
use adarem::{AdaRem, Bf16, CHUNK, Optimizer, Rule, Scope, Stored, Tunable};
use adarem_cpu::Cpu;

/// Counts what the whole process allocates.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const LENGTHS: [usize; 4] = [0, 7, 40 * CHUNK, 300];

/// What three calls after the first allocate.
fn counted(mut step: impl FnMut()) -> usize {
    step();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..3 {
        step();
    }
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

fn allocations<R: Rule>(rule: R, threads: usize) -> usize {
    let mut cpu = Cpu::<f32>::with_threads(threads);
    let mut optimizer = Optimizer::new(rule, &mut cpu, &LENGTHS).unwrap();
    let mut theta = LENGTHS.map(|len| vec![0.5; len]);
    let grad = LENGTHS.map(|len| vec![0.1; len]);
    let mut theta = theta.each_mut().map(Vec::as_mut_slice);
    let grad = grad.each_ref().map(Vec::as_slice);
    counted(|| optimizer.step(&mut cpu, &mut theta, &grad).unwrap())
}

fn allocations_in_mixed_precision<R: Rule>(rule: R, threads: usize) -> usize {
    let mut cpu = Cpu::<f32>::with_threads(threads);
    let mut optimizer = Optimizer::new(rule, &mut cpu, &LENGTHS).unwrap();
    let mut master = LENGTHS.map(|len| vec![0.5; len]);
    let mut params = LENGTHS.map(|len| vec![Bf16::store(0.5f32); len]);
    let grad = params.clone();
    let mut master = master.each_mut().map(Vec::as_mut_slice);
    let mut params = params.each_mut().map(Vec::as_mut_slice);
    let grad = grad.each_ref().map(Vec::as_slice);
    counted(|| {
        cpu.step_mixed(&mut optimizer, &mut master, &mut params, &grad)
            .unwrap();
    })
}

struct Each;

impl EachRule for Each {
    fn rule<R: Tunable + Default>(&mut self) {
        for threads in [1, 3] {
            assert_eq!(
                allocations(R::default(), threads),
                0,
                "{} on {threads} threads",
                R::NAME
            );
        }
    }
}

/// One test, so that no other thread of the process allocates meanwhile.
#[test]
fn steps_after_the_first_allocate_nothing() {
    assert!(
        ALLOCATIONS.load(Ordering::Relaxed) > 0,
        "the counter counts"
    );
    for_each(&mut Each);
    assert_eq!(
        allocations(
            AdaRem {
                scope: Scope::Group,
                ..AdaRem::default()
            },
            2
        ),
        0
    );
    for threads in [1, 3] {
        let rule = AdaRem::default();
        assert_eq!(allocations_in_mixed_precision(rule, threads), 0);
    }
}
