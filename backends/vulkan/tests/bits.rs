//! Every rule gives the host's bits: the native host code against the kernels of its plan.

mod support;

use adarem::{AdaRem, AdaRemS, Adam, Element, Rule, Scope, Setting, SgdM, Tunable, rules};
use adarem_adapters::HalfState;
use adarem_conformance::Random;
use adarem_vulkan::Vulkan;
use support::compare;

/// Lengths around everything that cuts: invocations, accumulators, chunks, pieces of 16 chunks.
const LENGTHS: [usize; 16] = [
    0, 1, 2, 127, 128, 129, 511, 512, 513, 4095, 4096, 4097, 8192, 12289, 0, 65537,
];

struct EveryRule<'v, E> {
    vulkan: &'v mut Vulkan<E>,
    draw: fn(&mut Random) -> E,
    failures: Vec<String>,
}

impl<E: Element> rules::EachRule for EveryRule<'_, E> {
    fn rule<R: Tunable + Default + Clone + PartialEq + core::fmt::Debug + Send + 'static>(
        &mut self,
    ) {
        for scope in [Scope::Tensor, Scope::Group] {
            let (mut rule, mut scoped) = (R::default(), false);
            rule.settings(&mut |_, setting| {
                if let Setting::Scope(chosen) = setting {
                    *chosen = scope;
                    scoped = true;
                }
            });
            if scope == Scope::Group && !scoped {
                continue;
            }
            self.one(&rule, &format!("{scope:?}"));
        }
    }
}

impl<E: Element> EveryRule<'_, E> {
    fn one<R: Rule + Clone>(&mut self, rule: &R, note: &str) {
        if let Err(difference) = compare(self.vulkan, rule, &LENGTHS, 3, self.draw) {
            self.failures.push(format!("{note}: {difference}"));
        }
    }
}

fn every_rule<E: Element>(draw: fn(&mut Random) -> E) {
    let Some(context) = support::context() else {
        return;
    };
    let mut vulkan = Vulkan::<E>::new(&context).unwrap();
    let mut all = EveryRule {
        vulkan: &mut vulkan,
        draw,
        failures: Vec::new(),
    };
    rules::for_each(&mut all);
    // State of 16 bits, packed in f32: of one pass and of several, with one slot and with two.
    all.one(&HalfState::bf16(AdaRem::default()), "bf16");
    all.one(&HalfState::f16(AdaRemS::default()), "f16");
    all.one(&HalfState::bf16(AdaRem::default()).stochastic(3), "bf16");
    all.one(&HalfState::bf16(Adam::default()), "bf16");
    all.one(&HalfState::f16(SgdM::default()), "f16");
    assert!(all.failures.is_empty(), "{}", all.failures.join("\n"));
}

#[test]
fn every_rule_gives_the_hosts_bits_in_f32() {
    every_rule::<f32>(Random::mild);
}

#[test]
fn every_rule_gives_the_hosts_bits_in_f64() {
    every_rule::<f64>(Random::mild);
}

#[test]
fn any_bits_at_all_in_f32() {
    every_rule::<f32>(Random::any);
}

#[test]
fn any_bits_at_all_in_f64() {
    every_rule::<f64>(Random::any);
}
