//! One step of every rule, for callgrind to count: `cargo xtask instructions` runs this and reads the counts.
//!
//! A count does not depend on what else the machine does, so it shows a regression that noise would hide. Every
//! call of [`counted`] is dumped on its own; this program prints which is which, in order.

use adarem::rules::{EachRule, for_each};
use adarem::{Optimizer, Tunable};
use adarem_cpu::{Cpu, Simd};

/// Steps before the counted one: no rule is still starting, and no memory is allocated any more.
const BEFORE: usize = 20;

/// The case for lanes: one tensor that is long beside a step's fixed cost, and that ends within a row of lanes.
const LONG: [usize; 1] = [16_391];

/// The case for tensors: many, of a few lanes each.
const SHORT: [usize; 100] = [16; 100];

fn main() {
    for_each(&mut Count);
}

struct Count;

impl EachRule for Count {
    fn rule<R: Tunable + Default + Clone>(&mut self) {
        count::<R>("lane", &LONG, LONG[0]);
        count::<R>("tensor", &SHORT, SHORT.len());
    }
}

/// Has one step over tensors of these lengths counted, to be divided by `parts`.
fn count<R: Tunable + Default>(of: &str, lengths: &[usize], parts: usize) {
    // AVX2, which callgrind knows and most machines have.
    let mut cpu = Cpu::<f32>::new().with_simd(Simd::Avx2);
    assert_eq!(cpu.simd(), Simd::Avx2, "the counts are those of AVX2");
    let numbers = |&len: &usize| -> Vec<f32> {
        (0..len)
            .map(|i| (i * 7919 % 1000) as f32 * 1e-3 - 0.4995)
            .collect()
    };
    let mut theta: Vec<_> = lengths.iter().map(numbers).collect();
    let grad = theta.clone();
    let mut theta: Vec<&mut [f32]> = theta.iter_mut().map(Vec::as_mut_slice).collect();
    let grad: Vec<&[f32]> = grad.iter().map(Vec::as_slice).collect();
    let mut optimizer =
        Optimizer::new(R::default(), &mut cpu, lengths).expect("the defaults are valid");
    let mut step = || {
        let stepped = optimizer.step(&mut cpu, &mut theta, &grad);
        stepped.expect("the lengths are those of the optimizer");
    };
    (0..BEFORE).for_each(|_| step());
    counted(&mut step);
    println!("{} {of} {parts}", R::NAME);
}

/// What callgrind counts, found by its name.
#[unsafe(no_mangle)]
#[inline(never)]
fn counted(step: &mut dyn FnMut()) {
    step();
}
