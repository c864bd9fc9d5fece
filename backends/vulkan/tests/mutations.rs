//! Faults planted in the kernels turn the comparison with the host red: the tests are able to see.

mod support;

use adarem::{AdaRemS, Adam, Rule};
use adarem_conformance::Random;
use adarem_vulkan::{Vulkan, spirv::Kernel};
use support::{
    compare,
    probe::{Folds, Probe},
};

/// A module's header is five words; then every instruction says its length and its opcode in its first word.
fn instructions(words: &[u32]) -> impl Iterator<Item = (usize, u32, usize)> + '_ {
    let mut at = 5;
    core::iter::from_fn(move || {
        let first = *words.get(at)?;
        let here = at;
        at += (first >> 16) as usize;
        Some((here, first & 0xffff, at))
    })
}

/// The module without the instructions that `unwanted` names; how many those were.
fn without(words: &mut Vec<u32>, unwanted: impl Fn(u32, &[u32]) -> bool) -> usize {
    let mut kept = words[..5].to_vec();
    let mut dropped = 0;
    for (from, op, to) in instructions(words) {
        if unwanted(op, &words[from..to]) {
            dropped += 1;
        } else {
            kept.extend_from_slice(&words[from..to]);
        }
    }
    *words = kept;
    dropped
}

/// Exchanges two constants of 32 bits.
fn exchange_constants(words: &mut [u32], a: u32, b: u32) -> usize {
    const CONSTANT: u32 = 43;
    let places = instructions(words)
        .filter(|&(from, op, to)| {
            op == CONSTANT && to - from == 4 && [a, b].contains(&words[from + 3])
        })
        .map(|(from, ..)| from + 3)
        .collect::<Vec<_>>();
    for &place in &places {
        words[place] = a + b - words[place];
    }
    places.len()
}

/// Exchanges opcodes.
fn exchange_ops(words: &mut [u32], a: u32, b: u32) -> usize {
    let places = instructions(words)
        .filter(|&(_, op, _)| op == a || op == b)
        .map(|(from, ..)| from)
        .collect::<Vec<_>>();
    for &place in &places {
        let other = if words[place] & 0xffff == a { b } else { a };
        words[place] = (words[place] & 0xffff_0000) | other;
    }
    places.len()
}

/// What the comparison says of a rule whose kernels went through `fault`, which returns how much it changed.
fn under<R: Rule + Clone>(
    rule: &R,
    mut fault: impl FnMut(&mut Vec<u32>) -> usize + Send + 'static,
) -> Option<Result<(), String>> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let context = support::context()?;
    let changed = std::sync::Arc::new(AtomicUsize::new(0));
    let count = changed.clone();
    let mut vulkan =
        Vulkan::<f32>::new(&context)
            .unwrap()
            .with_kernels(move |kernel: &mut Kernel| {
                count.fetch_add(fault(&mut kernel.words), Ordering::Relaxed);
            });
    let outcome = compare(&mut vulkan, rule, &[70_000, 5000, 600], 3, Random::mild);
    assert!(
        changed.load(Ordering::Relaxed) > 0,
        "the fault found no place in {}",
        R::NAME
    );
    Some(outcome)
}

fn green<R: Rule + Clone>(rule: &R) {
    if let Some(outcome) = under(rule, |words| words.len()) {
        outcome.unwrap();
    }
}

fn red<R: Rule + Clone>(rule: &R, fault: impl FnMut(&mut Vec<u32>) -> usize + Send + 'static) {
    if let Some(outcome) = under(rule, fault) {
        println!("{}", outcome.expect_err("a planted fault must be seen"));
    }
}

#[test]
fn without_a_fault_all_is_green() {
    green(&AdaRemS::default());
    green(&Adam::default());
    green(&Probe::AddSub);
    green(&Folds);
}

#[test]
fn dropping_no_contraction_is_seen() {
    const DECORATE: u32 = 71;
    const NO_CONTRACTION: u32 = 42;
    const CAPABILITY: u32 = 17;
    const EXECUTION_MODE: u32 = 16;
    // Mesa takes the promise to keep signed zeros and NaNs for a wish to keep everything, so that goes too.
    const SIGNED_ZERO_INF_NAN_PRESERVE: [u32; 2] = [4466, 4461];
    red(&Probe::AddSub, |words| {
        without(words, |op, words| match op {
            DECORATE => words[2] == NO_CONTRACTION,
            CAPABILITY => SIGNED_ZERO_INF_NAN_PRESERVE.contains(&words[1]),
            EXECUTION_MODE => SIGNED_ZERO_INF_NAN_PRESERVE.contains(&words[2]),
            _ => false,
        })
    });
}

/// Accumulators 128 and 256 further on change places: each lane still counts once, only the order of the sum is
/// another.
#[test]
fn another_tree_is_seen() {
    red(&Folds, |words| exchange_constants(words, 128, 256));
}

/// The halving in shared memory begins with the half of the half.
#[test]
fn another_order_of_halving_is_seen() {
    red(&Folds, |words| exchange_constants(words, 64, 32));
    red(&AdaRemS::default(), |words| {
        exchange_constants(words, 64, 32)
    });
}

#[test]
fn another_operation_is_seen() {
    const F_ADD: u32 = 129;
    const F_SUB: u32 = 131;
    red(&Adam::default(), |words| exchange_ops(words, F_ADD, F_SUB));
    red(&AdaRemS::default(), |words| {
        exchange_ops(words, F_ADD, F_SUB)
    });
}

#[test]
fn dropping_the_workgroups_barrier_is_seen() {
    const CONTROL_BARRIER: u32 = 224;
    red(&AdaRemS::default(), |words| {
        without(words, |op, _| op == CONTROL_BARRIER)
    });
}

/// The exact division with its ties rounded up instead of to even, and the root without its last bit.
#[test]
fn a_wrong_last_bit_is_seen() {
    const U_GREATER_THAN: u32 = 172;
    const U_GREATER_THAN_EQUAL: u32 = 174;
    red(&Adam::default(), |words| {
        exchange_ops(words, U_GREATER_THAN, U_GREATER_THAN_EQUAL)
    });
}
