//! Faults planted in the kernels turn the comparison with the host red: the tests are able to see.

mod support;

use adarem::{AdaRemS, Adam, Bf16, F16, Half, Param, Rule};
use adarem_adapters::HalfState;
use adarem_conformance::{Random, agree};
use adarem_vulkan::{Vulkan, spirv::Kernel};
use support::{
    compare, compare_mixed, of_16_bits,
    probe::{Folds, Keeps, Probe, Swaps},
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

/// What `comparison` says of a device whose kernels go through `fault`, which returns how much it changed, and whether
/// that was anything.
fn faulty(
    mut fault: impl FnMut(&mut Vec<u32>) -> usize + Send + 'static,
    comparison: impl FnOnce(&mut Vulkan<f32>) -> Result<(), String>,
) -> Option<(Result<(), String>, bool)> {
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
    let outcome = comparison(&mut vulkan);
    Some((outcome, changed.load(Ordering::Relaxed) > 0))
}

/// What the comparison says of a rule whose kernels went through `fault`.
fn under<R: Rule + Clone>(
    rule: &R,
    fault: impl FnMut(&mut Vec<u32>) -> usize + Send + 'static,
) -> Option<Result<(), String>> {
    let (outcome, planted) = faulty(fault, |vulkan| {
        compare(vulkan, rule, &[70_000, 5000, 600], 3, Random::mild)
    })?;
    assert!(planted, "the fault found no place in {}", R::NAME);
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

/// Puts another constant of 32 bits, whatever its type, where this one was.
fn change_constant(words: &mut [u32], from: u32, to: u32) -> usize {
    const CONSTANT: u32 = 43;
    let places = instructions(words)
        .filter(|&(at, op, end)| op == CONSTANT && end - at == 4 && words[at + 3] == from)
        .map(|(at, ..)| at + 3)
        .collect::<Vec<_>>();
    for &place in &places {
        words[place] = to;
    }
    places.len()
}

/// Rewrites the operands of the choices between a new upper half of a word and the one that it held.
fn change_upper_half(words: &mut [u32], rewrite: impl Fn(&mut [u32])) -> usize {
    const TYPE_INT: u32 = 21;
    const SELECT: u32 = 169;
    const U_LESS_THAN: u32 = 176;
    let result = |wanted| {
        let of = instructions(words).filter(move |&(_, op, _)| op == wanted);
        of.map(|(at, ..)| at).collect::<Vec<_>>()
    };
    let integers = result(TYPE_INT)
        .iter()
        .map(|&at| words[at + 1])
        .collect::<Vec<_>>();
    let inside = result(U_LESS_THAN)
        .iter()
        .map(|&at| words[at + 2])
        .collect::<Vec<_>>();
    let mut places = result(SELECT);
    places.retain(|&at| integers.contains(&words[at + 1]) && inside.contains(&words[at + 3]));
    for &at in &places {
        rewrite(&mut words[at + 4..at + 6]);
    }
    places.len()
}

/// Tensors that end with half a word.
const ODD: [usize; 4] = [1, 4097, 0, 6001];

/// What a comparison says that looks at what lies between the tensors, too. Some NaNs say so only in bits that are cut.
fn kept(vulkan: &mut Vulkan<f32>) -> Result<(), String> {
    let mut random = Random::new(1);
    let mut draw = || match random.below(64) {
        0 => f32::from_bits(0x7f80_0001),
        _ => Half::Bf16.round(random.ordinary()),
    };
    agree(vulkan, &Keeps::<true>, &ODD, 0..2, &mut draw)
}

/// What comparisons of several rules with packed state say, all with the same fault, and whether it found a place.
fn packed(fault: fn(&mut Vec<u32>) -> usize) -> Vec<(Result<(), String>, bool)> {
    let swapped_bf16 = |vulkan: &mut Vulkan<f32>| {
        let draw = |random: &mut Random| of_16_bits(Half::Bf16, random);
        compare(vulkan, &Swaps::<true>, &ODD, 2, draw)
    };
    let swapped_f16 = |vulkan: &mut Vulkan<f32>| {
        let draw = |random: &mut Random| of_16_bits(Half::F16, random);
        compare(vulkan, &Swaps::<false>, &ODD, 2, draw)
    };
    let folded = |vulkan: &mut Vulkan<f32>| {
        let rule = HalfState::bf16(AdaRemS::default());
        compare(vulkan, &rule, &ODD, 2, Random::mild)
    };
    let outcomes = [
        faulty(fault, swapped_bf16),
        faulty(fault, swapped_f16),
        faulty(fault, folded),
        faulty(fault, kept),
    ];
    outcomes.into_iter().flatten().collect()
}

/// A fault in packed state that one of the comparisons must see.
fn red_packed(what: &str, fault: fn(&mut Vec<u32>) -> usize) {
    is_seen(what, packed(fault));
}

/// One of the comparisons, if there is a device for them, has found a place for the fault, and one says so.
#[track_caller]
fn is_seen(what: &str, outcomes: Vec<(Result<(), String>, bool)>) {
    if outcomes.is_empty() {
        return;
    }
    assert!(outcomes.iter().any(|outcome| outcome.1), "{what}: no place");
    let said = outcomes.into_iter().find_map(|(outcome, _)| outcome.err());
    println!(
        "{what}: {}",
        said.unwrap_or_else(|| panic!("{what}: must be seen"))
    );
}

#[test]
fn without_a_fault_packed_state_is_green() {
    for (outcome, _) in packed(|words| words.len()) {
        outcome.unwrap();
    }
}

#[test]
fn faults_in_packed_state_are_seen() {
    red_packed("the lower half is taken for the upper", |words| {
        change_constant(words, 0xffff_0000, 0x0000_ffff)
    });
    red_packed("a half is not moved far enough", |words| {
        change_constant(words, 16, 15)
    });
    red_packed("nor is a fraction", |words| change_constant(words, 13, 12));
    red_packed("an exponent is one too large", |words| {
        change_constant(words, 112 << 23, 113 << 23)
    });
    red_packed("a subnormal number is doubled on its way up", |words| {
        change_constant(words, 24 << 23, 23 << 23)
    });
    red_packed("a subnormal number is doubled on its way down", |words| {
        change_constant(words, 0.5f32.to_bits(), 0.25f32.to_bits())
    });
    red_packed(
        "the largest subnormal number is taken for a normal one",
        |words| change_constant(words, 0x3ff, 0x3fe),
    );
    red_packed("so is the largest on its way down", |words| {
        change_constant(words, (113 << 23) - 1, (112 << 23) + 0x7f_bfff)
    });
    red_packed("infinity is a number", |words| {
        change_constant(words, 0x7bff, 0x7c00)
    });
    red_packed("the largest number is infinite", |words| {
        change_constant(words, 65504f32.to_bits(), 65472f32.to_bits())
    });
    red_packed("a NaN becomes infinite", |words| {
        change_constant(words, 0x7e00, 0x7c00)
    });
    red_packed("a NaN of bits that are cut does", |words| {
        change_constant(words, 0x7fc0_0000, 0x7f80_0000)
    });
    red_packed("a sign is lost", |words| change_constant(words, 0x8000, 0));
    red_packed(
        "only the last lane of a tensor may be an upper half",
        |words| change_upper_half(words, |halves| halves.swap(0, 1)),
    );
    red_packed("shared accumulators meet in another order", |words| {
        exchange_constants(words, 64, 32)
    });
}

#[test]
fn writing_behind_an_odd_tensor_is_seen() {
    const I_EQUAL: u32 = 170;
    const I_NOT_EQUAL: u32 = 171;
    let faults: [fn(&mut Vec<u32>) -> usize; 2] = [
        |words| change_upper_half(words, |halves| halves[1] = halves[0]),
        // The one test for equality in this kernel is whether a word's first lane is the tensor's last.
        |words| exchange_ops(words, I_EQUAL, I_NOT_EQUAL),
    ];
    for fault in faults {
        let Some((outcome, planted)) = faulty(fault, kept) else {
            return;
        };
        assert!(planted);
        println!("{}", outcome.expect_err("a planted fault must be seen"));
    }
}

/// What comparisons in mixed precision say, all with the same fault, and whether it found a place: theta becomes its
/// opposite, of any bits or half-way between two numbers of 16 bits.
fn mixed(fault: fn(&mut Vec<u32>) -> usize) -> Vec<(Result<(), String>, bool)> {
    fn halfway<const PLACES: u32>(random: &mut Random) -> f32 {
        let bits = (random.bits() >> 32) as u32;
        let middle = 1 << (PLACES - 1);
        let below = bits >> PLACES << PLACES | middle;
        match bits & 7 {
            // From a little below the subnormal numbers of f16 to a little above its largest.
            0 => f32::from_bits(below & 0x87ff_ffff | 0x3000_0000),
            1 => f32::from_bits(below & 0x87ff_ffff | 0x4000_0000),
            2 => f32::from_bits(below + 1),
            3 => f32::from_bits(0x7f80_0001),
            _ => random.any(),
        }
    }
    fn negated<P: Param>(
        fault: fn(&mut Vec<u32>) -> usize,
        draw: fn(&mut Random) -> f32,
    ) -> Option<(Result<(), String>, bool)> {
        faulty(fault, |vulkan| {
            compare_mixed::<P, _>(vulkan, &Probe::Neg, &[1, 70_001, 0, 4097], 2, draw)
        })
    }
    let outcomes = [
        negated::<Bf16>(fault, halfway::<16>),
        negated::<F16>(fault, halfway::<13>),
        negated::<F16>(fault, halfway::<20>),
    ];
    outcomes.into_iter().flatten().collect()
}

/// A fault in mixed precision that one of the comparisons must see.
fn red_mixed(what: &str, fault: fn(&mut Vec<u32>) -> usize) {
    is_seen(what, mixed(fault));
}

#[test]
fn without_a_fault_mixed_precision_is_green() {
    for (outcome, _) in mixed(|words| words.len()) {
        outcome.unwrap();
    }
}

#[test]
fn faults_in_mixed_precision_are_seen() {
    red_mixed("a tie goes up", |words| {
        change_constant(words, 0x7fff, 0x8000)
    });
    red_mixed("a NaN loses its quiet bit", |words| {
        change_constant(words, 0x0040_0000, 0)
    });
    red_mixed("a leading 1 is lost", |words| {
        change_constant(words, 0x0080_0000, 0)
    });
    red_mixed("the smallest normal number loses one place more", |words| {
        change_constant(words, 113, 114)
    });
    red_mixed("a number below all of them loses too few places", |words| {
        change_constant(words, 101, 103)
    });
    red_mixed("a fraction loses a place too many", |words| {
        change_constant(words, 126, 127)
    });
    red_mixed("half a place is counted as less", |words| {
        change_constant(words, 93, 92)
    });
    red_mixed("the exponent lies too low", |words| {
        change_constant(words, 10, 9)
    });
    red_mixed("infinity begins too late", |words| {
        change_constant(words, 65520f32.to_bits() - 1, 131072f32.to_bits())
    });
    red_mixed("what lies behind an odd tensor is not kept", |words| {
        change_upper_half(words, |halves| halves[1] = halves[0])
    });
}
