//! Replays every reference trajectory, of `tests/vectors` and of the folders that `ADAREM_VECTORS` names.

use std::io::Write;
use std::path::Path;

use adarem_conformance::Interpreter;
use adarem_conformance::vectors::{
    Case, OnBackend, OnHost, Outcome, STILL_TO_COME, Stage, folders, read_folder, replay,
    replay_all,
};
use adarem_cpu::Cpu;

/// Replays all cases on `stage` and says how many there were, even where the test's output is captured.
fn replay_every_folder(name: &str, stage: &mut impl Stage) {
    let (mut agreed, mut not_asked, mut to_come, mut wrong) = (0, 0, 0, Vec::new());
    let folders = folders();
    for folder in &folders {
        let cases = read_folder(folder).unwrap_or_else(|error| panic!("{error}"));
        for case in &cases {
            match replay(stage, case) {
                Ok(Outcome::Agreed) => agreed += 1,
                Ok(Outcome::NotAsked) => not_asked += 1,
                Ok(Outcome::StillToCome) => to_come += 1,
                Err(error) => wrong.push(error),
            }
        }
    }
    let report = format!(
        "{name}: {agreed} cases agreed, {} did not, {to_come} are of rules still to come, \
         {not_asked} ask for no replay in this type; from {} folders\n",
        wrong.len(),
        folders.len()
    );
    std::io::stderr()
        .write_all(report.as_bytes())
        .expect("stderr can be written");
    assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
    assert!(agreed > 0, "{name}: nothing was replayed");
}

#[test]
fn host_f64_follows_every_trajectory() {
    replay_every_folder("Host f64", &mut OnHost::<f64>::default());
}

#[test]
fn host_f32_follows_every_trajectory() {
    replay_every_folder("Host f32", &mut OnHost::<f32>::default());
}

#[test]
fn cpu_f64_follows_every_trajectory() {
    replay_every_folder("cpu f64", &mut OnBackend(&mut Cpu::<f64>::new()));
}

#[test]
fn cpu_f32_follows_every_trajectory() {
    replay_every_folder("cpu f32", &mut OnBackend(&mut Cpu::<f32>::new()));
}

/// The plans, walked op by op.
#[test]
fn plans_follow_every_trajectory() {
    replay_every_folder(
        "plans f64",
        &mut OnBackend(&mut Interpreter::<f64>::default()),
    );
    replay_every_folder(
        "plans f32",
        &mut OnBackend(&mut Interpreter::<f32>::default()),
    );
}

#[test]
fn a_backend_replays_all_with_one_line() {
    let agreed = replay_all(&mut Interpreter::<f64>::default());
    assert!(agreed.is_ok_and(|agreed| agreed >= 27));
}

fn sgd() -> Case {
    let own = folders()
        .into_iter()
        .next()
        .expect("the own folder comes first");
    Case::read(&own.join("sgd_l2.json")).expect("it can be read")
}

fn refusal(case: &Case) -> String {
    replay(&mut OnHost::<f64>::default(), case).expect_err("it must be refused")
}

#[test]
fn an_unknown_rule_is_refused() {
    let case = Case {
        rule: "sgdx".into(),
        ..sgd()
    };
    assert!(refusal(&case).contains("no rule is called \"sgdx\""));
}

#[test]
fn an_unknown_hyper_parameter_is_refused() {
    let mut case = sgd();
    case.config.insert(
        "typo".into(),
        adarem_conformance::vectors::Value::Number(1.0),
    );
    assert!(refusal(&case).contains("sgd has no hyper-parameter \"typo\""));
}

#[test]
fn a_difference_is_refused_with_its_place() {
    let mut case = sgd();
    let want = &mut case.steps[3].theta[1][2];
    *want *= 1.0 + 1e-8;
    let (want, refused) = (*want, refusal(&case));
    assert!(refused.contains("step 3, tensor 1, index 2"), "{refused}");
    assert!(
        refused.contains(&format!("theta must be {want:e}, got ")),
        "{refused}"
    );
}

#[test]
fn a_folder_that_does_not_exist_is_refused() {
    let refused = read_folder(Path::new("no-such-folder")).expect_err("it must be refused");
    assert!(refused.starts_with("no-such-folder: "), "{refused}");
}

#[test]
fn no_rule_is_both_here_and_still_to_come() {
    struct Names;
    impl adarem::rules::EachRule for Names {
        fn rule<R: adarem::Rule>(&mut self) {
            assert!(!STILL_TO_COME.contains(&R::NAME), "{} is here", R::NAME);
        }
    }
    adarem::rules::for_each(&mut Names);
}
