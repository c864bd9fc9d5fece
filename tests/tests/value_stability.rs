//! Golden bits: every rule, in every dialect, and wrappers around some, on one fixed input. A change of any bit must be meant, and
//! stands in the changelog under "Numbers".
//!
//! `ADAREM_WRITE_GOLDEN=1 cargo test -p adarem-conformance --test value_stability` writes the table anew.
//!
//! With `ADAREM_ONLY=adam,lion` in the environment where this is compiled, only these rules are: so `cargo xtask mutants`
//! builds a fault in one rule in a third of the time.

use std::fmt::{Debug, Write as _};
use std::path::Path;
use std::{env, fs};

use adarem::rules::{EachRule, for_each};
use adarem::{Element, Setting, Tunable};
use adarem_conformance::Alone;

/// Long enough for AdaShift to have filled its ring.
const STEPS: u64 = 14;

/// More lanes than a fold has accumulators, and no round number.
const LANES: usize = 600;

/// A fraction of 512, from a counter: exact in every number type. Every seventh is zero.
fn number(k: u64) -> f64 {
    let mixed = k.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    if mixed.is_multiple_of(7) {
        0.0
    } else {
        (mixed % 2048) as f64 / 512.0 - 2.0
    }
}

/// All numbers after the last step: the first three parameters, and a hash of everything.
fn bits<T: Element>(rule: &impl adarem::Rule) -> String {
    let lanes = |t: u64| -> Vec<T> {
        (0..LANES as u64)
            .map(|i| adarem::Real::lit(number(t * 1009 + i)))
            .collect()
    };
    let mut tensor = Alone::new(rule, lanes(999));
    for t in 0..STEPS {
        tensor.step(rule, t, &lanes(t));
    }
    let all = tensor
        .theta
        .iter()
        .chain(tensor.slots.iter().flatten())
        .chain(&tensor.carried);
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for x in all {
        assert!(!x.is_nan(), "a golden number is not NaN");
        for byte in x.to_le().to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    let width = 2 * T::DTYPE.bytes();
    let first: Vec<_> = tensor
        .theta
        .iter()
        .take(3)
        .map(|x| format!("{:0width$x}", x.to_le()))
        .collect();
    format!("{} all {hash:016x}", first.join(" "))
}

/// The rules that are asked; all of them where nothing is said.
const ONLY: Option<&str> = option_env!("ADAREM_ONLY");

/// Whether `rule` is asked. Known when this is compiled, so that the others are not.
const fn is_asked(rule: &str) -> bool {
    let Some(names) = ONLY else { return true };
    let (names, rule) = (names.as_bytes(), rule.as_bytes());
    let (mut from, mut to) = (0, 0);
    while to <= names.len() {
        if to == names.len() || names[to] == b',' {
            let mut same = 0;
            while same < rule.len() && from + same < to && names[from + same] == rule[same] {
                same += 1;
            }
            if same == rule.len() && from + same == to {
                return true;
            }
            from = to + 1;
        }
        to += 1;
    }
    false
}

/// The table of golden bits, as this library computes it.
#[derive(Default)]
struct Table(String);

impl EachRule for Table {
    fn rule<R: Tunable + Default + Clone + PartialEq + Debug + Send + 'static>(&mut self) {
        if !const { is_asked(R::NAME) } {
            return;
        }
        for (dialect, rule) in dialects::<R>() {
            let (name, f32, f64) = (R::NAME, bits::<f32>(&rule), bits::<f64>(&rule));
            writeln!(
                self.0,
                "{name} {dialect} f32 {f32}\n{name} {dialect} f64 {f64}"
            )
            .expect("a string can be written to");
        }
    }
}

/// The default, and what differs from it in one flag, scope, or number that is 0 or left out by default.
fn dialects<R: Tunable + Default + Clone + PartialEq>() -> Vec<(String, R)> {
    let mut names = Vec::new();
    R::default().settings(&mut |name, setting| {
        let set = match setting {
            Setting::Flag(on) => Some(f64::from(u8::from(!*on))),
            Setting::Scope(_) => Some(1.0),
            Setting::Number(x) => (*x == 0.0).then_some(0.0625),
            Setting::Optional(x) => x.is_none().then_some(0.5),
        };
        names.extend(set.map(|value| (name, value)));
    });
    let changed = names.into_iter().filter_map(|(name, value)| {
        let mut rule = R::default();
        rule.set(name, value);
        rule.check()
            .is_ok()
            .then(|| (format!("{name}={value}"), rule))
    });
    std::iter::once(("default".to_owned(), R::default()))
        .chain(changed)
        .collect()
}

#[test]
fn no_bit_has_changed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/rules.txt");
    let mut table = Table::default();
    for_each(&mut table);
    adarem_adapters::for_each(&mut table);
    if env::var_os("ADAREM_WRITE_GOLDEN").is_some() && ONLY.is_none() {
        fs::write(&path, &table.0).expect("the table can be written");
    }
    let all = fs::read_to_string(&path).expect("the table can be read");
    let is_asked = |line: &&str| line.split(' ').next().is_some_and(is_asked);
    let golden: Vec<&str> = all.lines().filter(is_asked).collect();
    let golden = golden.join("\n");
    let line = |text: &str, at: usize| text.lines().nth(at).unwrap_or("nothing").to_owned();
    let lines = golden.lines().count().max(table.0.lines().count());
    let changed: Vec<_> = (0..lines)
        .filter(|&at| line(&golden, at) != line(&table.0, at))
        .map(|at| format!("was {}\nis  {}", line(&golden, at), line(&table.0, at)))
        .collect();
    assert!(
        changed.is_empty(),
        "{} lines changed:\n{}",
        changed.len(),
        changed.join("\n")
    );
}

/// A hyper-parameter's range: some values at its ends that are accepted, and some just beyond that are
/// refused.
struct Range {
    accepted: &'static [f64],
    refused: &'static [f64],
}

const ONE_LESS: f64 = 1.0 - f64::EPSILON;
const ONE_MORE: f64 = 1.0 + f64::EPSILON;
const LEAST: f64 = f64::MIN_POSITIVE;
const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

const POSITIVE: Range = Range {
    accepted: &[LEAST, 1.0, f64::MAX],
    refused: &[0.0, -LEAST, INF, NAN],
};
const NON_NEGATIVE: Range = Range {
    accepted: &[0.0, -0.0, LEAST, f64::MAX],
    refused: &[-LEAST, INF, NAN],
};
const FRACTION: Range = Range {
    accepted: &[0.0, LEAST, ONE_LESS],
    refused: &[-LEAST, 1.0, INF, NAN],
};

/// The range of each number, by rule where rules differ.
fn range(rule: &str, name: &str) -> Option<Range> {
    let range = match (rule, name) {
        ("adarem" | "adarem_s", "eps") => Range {
            accepted: &[0.0, f32::MIN_POSITIVE as f64, 1.0],
            refused: &[LEAST, -LEAST, ONE_MORE, INF, NAN],
        },
        ("adadelta", "eps") => POSITIVE,
        ("padam", "partial") => Range {
            accepted: &[LEAST, 0.3, 0.5],
            refused: &[0.0, -LEAST, 0.5 + f64::EPSILON, NAN],
        },
        ("sc_rmsprop", "gamma") => Range {
            accepted: &[LEAST, 1.0],
            refused: &[0.0, -LEAST, ONE_MORE, NAN],
        },
        ("nosadam", "gamma") => Range {
            accepted: &[0.0, 1.0, 8.0],
            refused: &[-LEAST, 8.0 * ONE_MORE, NAN],
        },
        ("rprop", "eta_minus") => Range {
            accepted: &[LEAST, ONE_LESS],
            refused: &[0.0, 1.0, NAN],
        },
        ("rprop", "eta_plus") => Range {
            accepted: &[ONE_MORE, f64::MAX],
            refused: &[1.0, INF, NAN],
        },
        // Together they must be ordered; the default of the other is 50 or 1e-6.
        ("rprop", "step_min") => Range {
            accepted: &[LEAST, 50.0],
            refused: &[0.0, -LEAST, INF, NAN],
        },
        ("rprop", "step_max") => Range {
            accepted: &[1e-6, f64::MAX],
            refused: &[1e-6 * ONE_LESS, INF, NAN],
        },
        ("rprop", "lr") => POSITIVE,
        (_, "final_lr" | "base_lr" | "radius" | "gamma" | "xi2" | "b0") => POSITIVE,
        (_, "beta" | "beta1" | "beta2" | "rho" | "alpha" | "momentum" | "dampening") => FRACTION,
        (_, "lambda") => FRACTION,
        (_, "lr" | "eps" | "weight_decay" | "lr_decay" | "momentum_decay" | "xi1") => NON_NEGATIVE,
        (_, "initial_accumulator" | "initial_accumulator_value" | "atol" | "rtol") => NON_NEGATIVE,
        _ => return None,
    };
    Some(range)
}

#[test]
fn every_hyper_parameter_is_checked_at_its_ends() {
    struct Ends(usize);
    impl EachRule for Ends {
        fn rule<R: Tunable + Default + Clone + PartialEq + Debug + Send + 'static>(&mut self) {
            if !const { is_asked(R::NAME) } {
                return;
            }
            assert_eq!(R::default().check(), Ok(()), "the default of {}", R::NAME);
            let mut names = Vec::new();
            R::default().settings(&mut |name, setting| match setting {
                Setting::Number(_) => names.push((name, false)),
                Setting::Optional(_) => names.push((name, true)),
                Setting::Flag(_) | Setting::Scope(_) => {}
            });
            assert!(!names.is_empty(), "{} shows no hyper-parameter", R::NAME);
            for (name, optional) in names {
                let range = range(R::NAME, name)
                    .unwrap_or_else(|| panic!("the range of {name} of {} is not stated", R::NAME));
                let check = |value| {
                    let mut rule = R::default();
                    assert!(rule.set(name, value));
                    rule.check()
                };
                for &value in range.accepted {
                    assert_eq!(check(value), Ok(()), "{}: {name} = {value:e}", R::NAME);
                }
                // What is left out is set as NaN.
                for &value in range.refused.iter().filter(|x| !(optional && x.is_nan())) {
                    let refused = check(value).expect_err(name);
                    assert_eq!(refused.name, name, "{}", R::NAME);
                    assert!(refused.value == value || value.is_nan() && refused.value.is_nan());
                    assert!(refused.to_string().starts_with(&format!("{name} must ")));
                }
                self.0 += 1;
            }
        }
    }
    let mut ends = Ends(0);
    for_each(&mut ends);
    let least = if ONLY.is_none() { 100 } else { 0 };
    assert!(ends.0 > least, "only {} hyper-parameters were seen", ends.0);
}

/// At the ends of a range too, early and late: no panic, a plan, and host scalars that are numbers.
#[test]
fn every_range_can_be_stepped_at_its_ends() {
    struct Steps;
    impl EachRule for Steps {
        fn rule<R: Tunable + Default + Clone + PartialEq + Debug + Send + 'static>(&mut self) {
            if !const { is_asked(R::NAME) } {
                return;
            }
            let mut names = Vec::new();
            R::default().settings(&mut |name, setting| {
                if matches!(setting, Setting::Number(_) | Setting::Optional(_)) {
                    names.push(name);
                }
            });
            for name in names {
                let Some(range) = range(R::NAME, name) else {
                    continue;
                };
                for &value in range.accepted {
                    let mut rule = R::default();
                    rule.set(name, value);
                    let mut tensor = Alone::new(&rule, vec![1.0f32, -2.0, 0.0]);
                    for t in [0, 1, 9, 10, 11, 999_999, u64::MAX] {
                        tensor.step(&rule, t, &[0.5, 0.0, -1.0]);
                        let traced = adarem::trace::trace(&rule, t)
                            .unwrap_or_else(|misfit| panic!("{rule:?}: {misfit}"));
                        let nan = traced.uniforms().iter().any(|x| x.is_nan());
                        assert!(!nan, "{rule:?}, step {t}: {:?}", traced.uniforms());
                    }
                }
            }
        }
    }
    for_each(&mut Steps);
}
