//! Every kernel of every rule is a valid module, by the word of `spirv-val`.

mod support;

use adarem::{
    AdaRem, AdaRemS, Adam, Bf16, Dtype, F16, Half, Plan, Rule, Scope, Setting, SgdM, Tunable,
    plan::Op, rules, trace::trace,
};
use adarem_adapters::HalfState;
use adarem_vulkan::{
    Division, Floats,
    spirv::{Stage, Target, kernels},
};
use std::{
    collections::{HashMap, HashSet},
    process::Command,
};

/// All that can be chosen when kernels are made.
fn targets() -> Vec<Target> {
    let mut targets = Vec::new();
    for dtype in [Dtype::F32, Dtype::F64] {
        for division in [Division::Exact, Division::Native] {
            for declared in [false, true] {
                let floats = Floats {
                    denorm_preserve: declared,
                    signed_zero_inf_nan_preserve: declared,
                    rounding_rte: declared,
                };
                targets.push(Target {
                    dtype,
                    floats,
                    division,
                    mixed: None,
                });
            }
        }
    }
    let in_full = targets[0];
    let mixed = [Half::Bf16, Half::F16].map(Some);
    targets.extend(mixed.map(|mixed| Target { mixed, ..in_full }));
    targets
}

/// The plans of a rule with each flag, scope and optional number either way, at its first and a later step.
fn plans<R: Tunable + Clone>(rule: &R) -> Vec<Plan> {
    let mut names = Vec::new();
    rule.clone().settings(&mut |name, setting| {
        if !matches!(setting, Setting::Number(_)) {
            names.push(name);
        }
    });
    let mut plans = Vec::new();
    for choice in 0..1u32 << names.len() {
        let mut rule = rule.clone();
        rule.settings(&mut |name, setting| {
            let Some(k) = names.iter().position(|&known| known == name) else {
                return;
            };
            let on = choice >> k & 1 == 1;
            match setting {
                Setting::Flag(flag) => *flag = on,
                Setting::Scope(scope) => *scope = if on { Scope::Group } else { Scope::Tensor },
                Setting::Optional(number) => *number = on.then_some(2.0),
                Setting::Number(_) => {}
            }
        });
        for eps in [0.0, 1e-8] {
            rule.set("eps", eps);
            for t in [0, 7] {
                let plan = trace(&rule, t)
                    .expect("a rule of the library fits a plan")
                    .plan;
                if !plans.contains(&plan) {
                    plans.push(plan);
                }
            }
        }
    }
    plans
}

/// `spirv-val` on many modules at once, one process each: the first complaint ends the test.
struct Validator {
    directory: std::path::PathBuf,
    /// Many modes give some of the same modules.
    seen: HashSet<Vec<u32>>,
    rules: usize,
}

impl rules::EachRule for Validator {
    fn rule<R: Tunable + Default + Clone + PartialEq + core::fmt::Debug + Send + 'static>(
        &mut self,
    ) {
        self.rules += 1;
        for plan in plans(&R::default()) {
            for target in targets() {
                for kernel in kernels(&plan, target) {
                    if !self.seen.insert(kernel.words.clone()) {
                        continue;
                    }
                    let path = self.directory.join("kernel.spv");
                    let bytes = kernel
                        .words
                        .iter()
                        .flat_map(|w| w.to_le_bytes())
                        .collect::<Vec<_>>();
                    std::fs::write(&path, bytes).unwrap();
                    let checked = Command::new("spirv-val")
                        .args(["--target-env", "vulkan1.2"])
                        .arg(&path)
                        .output()
                        .unwrap();
                    let complaint = String::from_utf8_lossy(&checked.stderr);
                    assert!(
                        checked.status.success(),
                        "{} {:?} {target:?}: {complaint}\n{plan}",
                        R::NAME,
                        kernel.stage
                    );
                }
            }
        }
    }
}

#[test]
fn every_rule_in_every_mode_gives_valid_modules() {
    if !support::has_validator() {
        return;
    }
    let directory = support::scratch("modules");
    let mut validator = Validator {
        directory,
        seen: HashSet::new(),
        rules: 0,
    };
    rules::for_each(&mut validator);
    // With packed state.
    rules::EachRule::rule::<HalfState<AdaRem, Bf16>>(&mut validator);
    rules::EachRule::rule::<HalfState<AdaRemS, F16>>(&mut validator);
    rules::EachRule::rule::<HalfState<Adam, Bf16>>(&mut validator);
    rules::EachRule::rule::<HalfState<SgdM, F16>>(&mut validator);
    println!(
        "{} modules of {} rules are valid",
        validator.seen.len(),
        validator.rules
    );
    assert!(validator.rules >= 7 && validator.seen.len() >= 16 * validator.rules);
}

#[test]
fn the_same_plan_gives_the_same_words() {
    let plan = trace(&adarem::AdaRemS::default(), 0).unwrap().plan;
    for target in targets() {
        assert_eq!(kernels(&plan, target), kernels(&plan, target));
    }
}

/// Beside `f64` there are no numbers of 16 bits.
#[test]
fn in_f64_no_precision_is_mixed() {
    let plan = trace(&adarem::AdaRemS::default(), 0).unwrap().plan;
    for target in targets() {
        let mixed = Some(Half::Bf16);
        let same = kernels(&plan, target) == kernels(&plan, Target { mixed, ..target });
        let already = target.mixed == mixed;
        assert_eq!(same, already || target.dtype == Dtype::F64, "{target:?}");
    }
}

/// A module's instructions: opcode and operands.
fn instructions(words: &[u32]) -> impl Iterator<Item = (u32, &[u32])> {
    let mut rest = &words[5..];
    std::iter::from_fn(move || {
        let first = *rest.first()?;
        let (instruction, others) = rest.split_at((first >> 16) as usize);
        rest = others;
        Some((first & 0xffff, &instruction[1..]))
    })
}

/// A device whose own division is exact does not show by its bits which one it was told to take.
#[test]
fn the_devices_own_division_stands_in_lanes_that_ask_for_it_and_nowhere_else() {
    let own = |words: &[u32]| {
        let (mut divisions, mut roots) = (0, 0);
        for (op, operands) in instructions(words) {
            match (op, operands) {
                (136, _) => divisions += 1,
                (12, &[_, _, _, 31, _]) => roots += 1,
                _ => {}
            }
        }
        (divisions, roots)
    };
    let adam = trace(&adarem::Adam::default(), 1).unwrap().plan;
    let adarem_s = trace(&adarem::AdaRemS::default(), 1).unwrap().plan;
    for target in targets() {
        for plan in [&adam, &adarem_s] {
            for kernel in kernels(plan, target) {
                let wanted = match (target.division, kernel.stage) {
                    // An invocation works on four lanes side by side.
                    (Division::Native, Stage::Chunks { pass }) => {
                        let ops = plan.lane_ops(pass);
                        let of_lanes = ops.iter().filter(|id| plan.lanes().contains(*id));
                        let (mut divisions, mut roots) = (0, 0);
                        for id in of_lanes {
                            divisions += 4 * usize::from(matches!(plan.op(id), Op::Div(..)));
                            roots += 4 * usize::from(matches!(plan.op(id), Op::Sqrt(_)));
                        }
                        (divisions, roots)
                    }
                    _ => (0, 0),
                };
                assert_eq!(own(&kernel.words), wanted, "{target:?} {:?}", kernel.stage);
            }
        }
    }
    let lanes = adam.lanes();
    let by_device = |id: &_| matches!(adam.op(*id), Op::Div(..) | Op::Sqrt(_));
    assert!(lanes.iter().filter(by_device).count() > 1);
}

/// By this the synchronisation layer, and a driver, tell which buffers a kernel leaves as they are.
#[test]
fn buffers_are_declared_as_only_read_where_no_kernel_writes_them() {
    const STORAGE_BUFFER: u32 = 12;
    let plans = [
        trace(&AdaRemS::default(), 1),
        trace(&HalfState::bf16(AdaRemS::default()), 1),
    ]
    .map(|traced| traced.unwrap().plan);
    for target in targets() {
        for kernel in plans.iter().flat_map(|plan| kernels(plan, target)) {
            let (mut buffers, mut pointers) = (HashSet::new(), HashMap::new());
            let (mut only_read, mut written) = (HashSet::new(), HashSet::new());
            for instruction in instructions(&kernel.words) {
                match instruction {
                    (71, &[id, 24]) => drop(only_read.insert(id)),
                    (59, &[_, id, STORAGE_BUFFER]) => drop(buffers.insert(id)),
                    (65, &[_, id, base, ..]) => drop(pointers.insert(id, base)),
                    (62, &[pointer, _]) => {
                        let base = pointers.get(&pointer).copied().unwrap_or(pointer);
                        written.insert(base);
                    }
                    _ => {}
                }
            }
            let unwritten = buffers.difference(&written).copied().collect();
            assert_eq!(only_read, unwritten, "{:?}", kernel.stage);
            assert!(!written.is_disjoint(&buffers) && !only_read.is_empty());
        }
    }
}

/// What has nothing to do is not launched.
#[test]
fn a_step_has_the_stages_that_its_plan_needs() {
    let target = targets()[0];
    let stages = |plan: &Plan| -> Vec<Stage> {
        kernels(plan, target)
            .iter()
            .map(|kernel| kernel.stage)
            .collect()
    };
    let of = |plan: Result<adarem::trace::Traced, _>| stages(&plan.unwrap().plan);
    let chunks = Stage::Chunks { pass: 0 };
    assert_eq!(of(trace(&adarem::Sgd::default(), 1)), [chunks]);
    let adarem = adarem::AdaRem::default();
    assert_eq!(of(trace(&adarem, 1)), [chunks, Stage::Tensors]);
    let group = adarem::AdaRem {
        scope: Scope::Group,
        ..adarem
    };
    assert_eq!(
        of(trace(&group, 1)),
        [chunks, Stage::Tensors, Stage::Group, Stage::Scalars]
    );
}

/// Loads and stores of the kernel that rewrites the lanes of a rule with one slot, from its words: what goes through
/// bindings of theta, the gradient, the slot and the parameters, all of 4 bytes. An invocation works on four lanes side
/// by side.
fn moved<R: Rule>(rule: &R, mixed: Option<Half>) -> (usize, usize) {
    const STORAGE_BUFFER: u32 = 12;
    let target = Target {
        dtype: Dtype::F32,
        floats: Floats::default(),
        division: Division::Exact,
        mixed,
    };
    let plan = trace(rule, 1).unwrap().plan;
    let words = &kernels(&plan, target)[0].words;
    let (mut bindings, mut sets) = (HashMap::new(), HashMap::new());
    let (mut buffers, mut pointers) = (HashSet::new(), HashSet::new());
    let (mut loads, mut stores) = (0, 0);
    for instruction in instructions(words) {
        match instruction {
            (71, &[id, 33, binding]) => drop(bindings.insert(id, binding)),
            (71, &[id, 34, set]) => drop(sets.insert(id, set)),
            // Theta, the gradient, m, the partials, the parameters.
            (59, &[_, id, STORAGE_BUFFER]) if sets[&id] == 0 && bindings[&id] != 3 => {
                buffers.insert(id);
            }
            (65, &[_, id, base, ..]) if buffers.contains(&base) => drop(pointers.insert(id)),
            (61, &[_, _, pointer]) => loads += usize::from(pointers.contains(&pointer)),
            (62, &[pointer, _]) => stores += usize::from(pointers.contains(&pointer)),
            _ => {}
        }
    }
    (loads, stores)
}

#[test]
fn adarem_moves_20_bytes_a_parameter() {
    let (loads, stores) = moved(&AdaRem::default(), None);
    assert_eq!((loads, stores), (4 * 3, 4 * 2), "theta, grad, m; theta, m");
    assert_eq!((loads + stores) * size_of::<f32>() / 4, 20);
}

/// Two lanes of m lie in a word.
#[test]
fn with_m_in_16_bits_it_moves_16() {
    for moved in [
        moved(&HalfState::bf16(AdaRem::default()), None),
        moved(&HalfState::f16(AdaRem::default()), None),
    ] {
        assert_eq!(moved, (4 * 2 + 2, 4 + 2), "theta, grad, m; theta, m");
        assert_eq!((moved.0 + moved.1) * size_of::<f32>() / 4, 16);
    }
}

/// So do the gradient and the parameters. What the parameters' words held is loaded only where a tensor ends with half a
/// word.
#[test]
fn in_mixed_precision_it_moves_16_too() {
    for mixed in [Half::Bf16, Half::F16].map(Some) {
        let (loads, stores) = moved(&HalfState::f16(AdaRem::default()), mixed);
        let at_the_end = 2;
        assert_eq!(loads - at_the_end, 4 + 2 + 2, "theta; grad, m");
        assert_eq!(stores, 4 + 2 + 2, "theta; m, params");
        assert_eq!((loads - at_the_end + stores) * size_of::<f32>() / 4, 16);
        let (loads, stores) = moved(&AdaRem::default(), mixed);
        assert_eq!((loads - at_the_end, stores), (4 + 2 + 4, 4 + 4 + 2));
    }
}

/// Packed state needs nothing of the device that state in full does not, nor does mixed precision.
#[test]
fn no_kernel_asks_for_words_of_16_bits() {
    const CAPABILITY: u32 = 17;
    const TYPE_INT: u32 = 21;
    const TYPE_FLOAT: u32 = 22;
    let target = targets()[0];
    assert_eq!(
        (target.dtype, target.floats, target.mixed),
        (Dtype::F32, Floats::default(), None)
    );
    let plans = [
        trace(&HalfState::bf16(AdaRemS::default()), 1),
        trace(&HalfState::f16(AdaRemS::default()), 1),
    ];
    for plan in plans.map(|traced| traced.unwrap().plan) {
        let lent = [None, Some(Half::Bf16), Some(Half::F16)];
        let targets = lent.map(|mixed| Target { mixed, ..target });
        for kernel in targets
            .into_iter()
            .flat_map(|target| kernels(&plan, target))
        {
            let mut shader = 0;
            for instruction in instructions(&kernel.words) {
                match instruction {
                    (CAPABILITY, &[capability]) => {
                        assert_eq!(capability, 1, "{:?} is no plain shader", kernel.stage);
                        shader += 1;
                    }
                    (TYPE_INT | TYPE_FLOAT, &[_, width, ..]) => assert_eq!(width, 32),
                    _ => {}
                }
            }
            assert_eq!(shader, 1);
        }
    }
}
