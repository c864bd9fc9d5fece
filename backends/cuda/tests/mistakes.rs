//! Mistakes planted into the kernels: each must turn the comparison with the host red. What this list does not find, the
//! other tests would not notice.

mod beside;

use adarem::{AdaRem, AdaRemS, Element, Rule};
use adarem_adapters::HalfState;
use adarem_cuda_softdriver::{Machine, Order};
use beside::{Setting, differ};

/// What the comparison says when `from` has become `to` in every kernel; `None` when it notices nothing.
///
/// # Panics
/// When no kernel has `from`: the list is out of date.
fn notices<T: Element>(from: &str, to: &str) -> Option<String> {
    let lengths = [1, 4097, 0, 9001, 600];
    let decay = AdaRem {
        weight_decay: 0.1,
        eps: 1e-3,
        ..AdaRem::default()
    };
    let group = adarem::Scope::Group;
    let joint = AdaRemS {
        scope: group,
        sphere: group,
        ..AdaRemS::default()
    };
    let mut planted = false;
    for (order, shift) in [
        (Order::Forward, 0),
        (Order::Backward, 2),
        (Order::Shuffled(1), 1),
    ] {
        let setting = Setting {
            order,
            shift,
            ..Setting::of(&lengths)
        };
        let said = [
            beside_one::<T, _>(&AdaRemS::default(), &setting, (from, to), &mut planted),
            beside_one::<T, _>(&decay, &setting, (from, to), &mut planted),
            // A group of one tensor is that tensor.
            beside_one::<T, _>(
                &joint,
                &Setting {
                    lengths: vec![9001],
                    ..setting
                },
                (from, to),
                &mut planted,
            ),
        ];
        if let Some(said) = said.into_iter().flatten().next() {
            return Some(said);
        }
    }
    assert!(planted || from.is_empty(), "no kernel has {from:?}");
    None
}

fn beside_one<T: Element, R: Rule + Clone>(
    rule: &R,
    setting: &Setting,
    (from, to): (&str, &str),
    planted: &mut bool,
) -> Option<String> {
    let machine = Machine::claim();
    if !from.is_empty() {
        machine.plant(from, to);
    }
    let said = differ::<T, R>(&machine, rule, setting);
    *planted |= machine.was_planted();
    said
}

#[test]
fn the_kernels_as_they_are_written_agree() {
    assert_eq!(notices::<f32>("", ""), None);
    assert_eq!(notices::<f64>("", ""), None);
}

#[test]
fn every_planted_mistake_is_noticed() {
    let mistakes = [
        ("an operation is another", "sub.rn.f32", "add.rn.f32"),
        ("a quotient is a product", "div.rn.f32", "mul.rn.f32"),
        ("a root is forgotten", "sqrt.rn.f32", "abs.f32"),
        ("an operation may be contracted", "mul.rn.f32", "mul.f32"),
        (
            "subnormal numbers are flushed",
            "add.rn.f32",
            "add.rn.ftz.f32",
        ),
        (
            "two operations become one",
            "add.rn.f32 %f32",
            "fma.rn.f32 %f32, %f8",
        ),
        ("the wrong bit is a sign", "0x80000000", "0x40000000"),
        ("a literal is off by one bit", "0f3F800000", "0f3F800001"),
        (
            "a comparison is turned around",
            "setp.lt.f32",
            "setp.gt.f32",
        ),
        ("magnitudes keep their sign", "abs.f32", "neg.f32"),
        ("a maximum is a sum", "max.f32", "add.rn.f32"),
        (
            "the accumulators do not start at zero",
            "0f00000000",
            "0f3F800000",
        ),
        (
            "the tree is another: shuffles",
            ", 16, 31, 0xffffffff",
            ", 8, 31, 0xffffffff",
        ),
        (
            "the tree is another: a level is left out",
            ", 1, 31, 0xffffffff",
            ", 2, 31, 0xffffffff",
        ),
        ("a partial lands beside", ", %r1, 4;", ", %r1, 8;"),
        ("a barrier is missing", "bar.sync 0;", ""),
        ("a fence is missing", "fence.acq_rel.gpu;", ""),
        (
            "the ticket is taken wrongly",
            ", 1;\n    fence",
            ", 2;\n    fence",
        ),
        (
            "a short chunk is taken for a whole one",
            "setp.ne.u32 %p0",
            "setp.eq.u32 %p0",
        ),
        ("memory is taken for aligned", ", 15;", ", 3;"),
        (
            "a chunk is too long",
            "min.u64 %d12, %d12, 4096",
            "min.u64 %d12, %d12, 8192",
        ),
        (
            "a chunk begins elsewhere",
            ", 4096;\n    sub",
            ", 4095;\n    sub",
        ),
        ("lanes are skipped", ", %r5, 4096;", ", %r5, 3584;"),
        ("lanes are walked twice", ", 2048;", ", 1024;"),
        ("the bound is one too far", "setp.ge.u32", "setp.gt.u32"),
        ("the wrong scalar is read", "[uniform1]", "[uniform0]"),
        (
            "the wrong carried scalar is read",
            "+4];\n    ld.param",
            "+8];\n    ld.param",
        ),
        (
            "a vector is loaded where another lies",
            "+0];\n    ld.global.v4",
            "+16];\n    ld.global.v4",
        ),
        (
            "the first block ends the tensor",
            "st.shared.u32 [pool], ",
            "st.shared.u32 [pool], 0; //",
        ),
        (
            "the tensor's entry is another's",
            ", 32;\n    add.u64",
            ", 64;\n    add.u64",
        ),
    ];
    let mut unnoticed = Vec::new();
    for (what, from, to) in mistakes {
        match notices::<f32>(from, to) {
            Some(said) => println!("{what}: {}", said.chars().take(160).collect::<String>()),
            None => unnoticed.push(what),
        }
    }
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
}

/// Of those that say more about f64 than about f32.
#[test]
fn every_planted_mistake_is_noticed_in_f64() {
    let mistakes = [
        (
            "a half of a number is shuffled twice",
            "shfl.sync.down.b32 %r2",
            "shfl.sync.down.b32 %r1",
        ),
        (
            "only single precision",
            "0d3FF0000000000000",
            "0d3FF0000000000001",
        ),
        (
            "the wrong bit is a sign",
            "0x8000000000000000",
            "0x0000000080000000",
        ),
        ("a vector of two lies elsewhere", "+2048]", "+1024]"),
        ("an operation may be contracted", "mul.rn.f64", "mul.f64"),
    ];
    for (what, from, to) in mistakes {
        let said = notices::<f64>(from, to);
        println!("{what}: {said:?}");
        assert!(said.is_some(), "{what}");
    }
}

/// As [`notices`], of rules whose state is packed: where vectors are read and where lanes are.
fn notices_packed(from: &str, to: &str) -> Option<String> {
    let mut planted = false;
    for shift in [0, 1] {
        let setting = Setting {
            shift,
            ..Setting::of(&[1, 4097, 0, 600])
        };
        let (bf16, f16) = (
            HalfState::bf16(AdaRem::default()),
            HalfState::f16(AdaRemS::default()),
        );
        let said = [
            beside_one::<f32, _>(&bf16, &setting, (from, to), &mut planted),
            beside_one::<f32, _>(&f16, &setting, (from, to), &mut planted),
        ];
        if let Some(said) = said.into_iter().flatten().next() {
            return Some(said);
        }
    }
    assert!(planted, "no kernel has {from:?}");
    None
}

#[test]
fn every_planted_mistake_in_packed_state_is_noticed() {
    let mistakes = [
        (
            "the other half of a number is loaded",
            "{%h4, %h0};",
            "{%h0, %h4};",
        ),
        (
            "the other half of a number is stored",
            "{%h9, %h8},",
            "{%h8, %h9},",
        ),
        (
            "a lane becomes its neighbour",
            "{%h8, %h10, %h12, %h14}",
            "{%h10, %h8, %h12, %h14}",
        ),
        (
            "packed state begins where it would in full",
            "mul.lo.u64 %d31, %d28, 2;",
            "mul.lo.u64 %d31, %d28, 4;",
        ),
        (
            "a thread's vector lies elsewhere",
            "mul.wide.u32 %d39, %r0, 8;",
            "mul.wide.u32 %d39, %r0, 16;",
        ),
        ("a thread's lane lies elsewhere", "%r0, 2;\n", "%r0, 4;\n"),
        ("packed state is walked as in full", ", 1024;", ", 2048;"),
        (
            "a lane is stored over its neighbour",
            "st.global.b16 [%d46+256]",
            "st.global.b16 [%d46+258]",
        ),
        (
            "the type is another",
            "cvt.rn.f16.f32 %h4, %f53;",
            "mov.b32 {%h5, %h4}, %f53;",
        ),
    ];
    for (what, from, to) in mistakes {
        let said = notices_packed(from, to);
        println!("{what}: {said:?}");
        assert!(said.is_some(), "{what}");
    }
}
