//! Checks of every rule of the library, and of wrappers around rules: by default, with each hyper-parameter
//! changed, at a rate of 0, on ordinary and on spicy gradients, early and late.

use core::fmt::Debug;
use core::ops::Range;

use adarem::rules::{EachRule, for_each};
use adarem::{Backend, Setting, Tunable};

use crate::kit::{Run, several_steps};
use crate::state::State;

pub(crate) fn check<B: Backend>(run: &mut Run<'_, B>) {
    for_each(run);
    adarem_adapters::for_each(run);
}

impl<B: Backend> EachRule for Run<'_, B> {
    fn rule<R: Tunable + Default + Clone + PartialEq + Debug + Send + 'static>(&mut self) {
        check_rule::<B, R>(self);
    }
}

/// The gradients of a scenario.
#[derive(Clone, Copy, Debug)]
enum Gradients {
    Ordinary,
    /// Spicy ones in the third step; and then whatever the state has become.
    SpicyOnce,
}

/// What every rule goes through: tensors of lengths of which none is round and one is 0, late steps, where
/// bias corrections have become 1, and spicy gradients.
const SCENARIOS: [(&[usize], Range<u64>, Gradients); 3] = [
    (&[1, 0, 700, 4_500], 0..5, Gradients::Ordinary),
    (&[50], 999_999..1_000_002, Gradients::Ordinary),
    (&[300, 1, 1, 5], 0..5, Gradients::SpicyOnce),
];

/// Checks a rule and its variations, as one check.
fn check_rule<B: Backend, R: Tunable + Default + PartialEq + Debug>(run: &mut Run<'_, B>) {
    run.check(format!("rule {}", R::NAME), |backend, random, tally| {
        for rule in variations::<R>() {
            for (lengths, steps, gradients) in SCENARIOS {
                let state = State::start(&rule, lengths, || random.ordinary());
                let mut gradient = |t| match gradients {
                    Gradients::SpicyOnce if t == 2 => random.any(),
                    _ => random.ordinary(),
                };
                let note = format!("{gradients:?} gradients, {rule:?}");
                several_steps(backend, tally, &rule, state, steps, &mut gradient, &note)?;
            }
        }
        Ok(())
    });
}

/// The rule by default, with each hyper-parameter in turn changed to another valid value, and at a rate of 0.
fn variations<R: Tunable + Default + PartialEq>() -> Vec<R> {
    let mut names = Vec::new();
    R::default().settings(&mut |name, _| names.push(name));
    let mut rules = vec![R::default()];
    for name in names {
        let candidates = [0.5, 0.9, 0.01, 2.0, 1.0, 0.0, f64::NAN];
        rules.extend(candidates.into_iter().find_map(|value| {
            let mut rule = R::default();
            rule.settings(&mut |field, setting| {
                let number = matches!(setting, Setting::Number(_) | Setting::Optional(_));
                if field == name && (number || value == 0.0 || value == 1.0) {
                    setting.set(value);
                }
            });
            (rule.check().is_ok() && rule != R::default()).then_some(rule)
        }));
    }
    let mut still = R::default();
    if still.set("lr", 0.0) && still.check().is_ok() {
        rules.push(still);
    }
    rules
}
