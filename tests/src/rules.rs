//! Checks of every rule of the library, and of wrappers around rules: by default, with each hyper-parameter changed, on ordinary and on
//! spicy gradients, early and late.

use core::fmt::Debug;

use adarem::rules::{EachRule, for_each};
use adarem::{Backend, Setting, Tunable};

use crate::kit::{Run, Stop, Tally, several_steps};
use crate::number::Random;
use crate::state::State;

/// Lengths of the tensors that a rule is checked on: none of them round, one empty.
const LENGTHS: [usize; 4] = [1, 0, 700, 4_500];

pub(crate) fn check<B: Backend>(run: &mut Run<'_, B>) {
    for_each(run);
    adarem_adapters::for_each(run);
}

impl<B: Backend> EachRule for Run<'_, B> {
    fn rule<R: Tunable + Default + Clone + PartialEq + Debug + Send + 'static>(&mut self) {
        check_rule(self, &variations::<R>());
    }
}

/// Checks each of these rules, as one check under their name.
pub(crate) fn check_rule<B: Backend, R: Tunable + Debug>(run: &mut Run<'_, B>, rules: &[R]) {
    run.check(format!("rule {}", R::NAME), |backend, random, tally| {
        rules
            .iter()
            .try_for_each(|rule| one(backend, random, tally, rule))
    });
}

fn one<B: Backend, R: Tunable + Debug>(
    backend: &mut B,
    random: &mut Random,
    tally: &mut Tally,
    rule: &R,
) -> Result<(), Stop> {
    let note = format!("{rule:?}");
    let state = State::start(rule, &LENGTHS, || random.ordinary());
    several_steps(
        backend,
        tally,
        rule,
        state,
        0..5,
        |_| random.ordinary(),
        &note,
    )?;

    // Late in training, where bias corrections have become 1.
    let state = State::start(rule, &[50], || random.ordinary());
    several_steps(
        backend,
        tally,
        rule,
        state,
        999_999..1_000_002,
        |_| random.ordinary(),
        &note,
    )?;

    // A spicy gradient in the third step, and then whatever the state has become.
    let state = State::start(rule, &[300, 1, 1, 5], || random.ordinary());
    let gradient = |t| {
        if t == 2 {
            random.any()
        } else {
            random.ordinary()
        }
    };
    several_steps(
        backend,
        tally,
        rule,
        state,
        0..5,
        gradient,
        &format!("spicy gradients, {note}"),
    )
}

/// The rule by default, and with each hyper-parameter in turn changed to another valid value.
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
    rules
}
