//! The examples in C and C++ compile without a warning, run, and end on the bits of the Rust library.
//!
//! Where `make` or `cmake` is missing a test says so and passes; with `ADAREM_REQUIRE_C=1` it fails.
#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use adarem::rules::{EachRule, for_each};
use adarem::{AdaRem, Host, Lent, Optimizer, Rule, SgdM, Tunable};
use adarem_adapters::schedule::{Cosine, Schedule};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// What a program prints; it must succeed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?} printed\n{printed}\n{said}"
    );
    printed
}

fn is_missing(program: &str) -> bool {
    let Err(error) = Command::new(program).arg("--version").output() else {
        return false;
    };
    let required = env::var("ADAREM_REQUIRE_C").is_ok_and(|value| value == "1");
    assert!(!required, "{program}: {error}, and ADAREM_REQUIRE_C=1");
    println!("SKIPPED: {program}: {error}");
    true
}

#[test]
fn make_builds_programs_with_the_bits_of_rust() {
    if is_missing("make") {
        return;
    }
    let make = |what: &str| run(Command::new("make").arg(what).current_dir(examples()));
    let shared = examples().join("../library/target/release");
    make("target/fit");
    make("target/fit-shared");
    make("target/rules");

    let target = examples().join("target");
    let fit = run(&mut Command::new(target.join("fit")));
    assert_eq!(fit, fit_in_rust());
    let fit = run(Command::new(target.join("fit-shared")).env("LD_LIBRARY_PATH", shared));
    assert_eq!(fit, fit_in_rust());
    let rules = run(&mut Command::new(target.join("rules")));
    assert_eq!(losses(&rules), losses_in_rust());
    assert!(rules.ends_with("there is no rule \"adarm\": adarem_rule_name lists them\n"));
}

#[test]
fn cmake_builds_the_same_programs() {
    if is_missing("cmake") {
        return;
    }
    let folder = examples().join("target/cmake");
    run(Command::new("cmake")
        .arg("-S")
        .arg(examples())
        .arg("-B")
        .arg(&folder));
    run(Command::new("cmake").arg("--build").arg(&folder));
    assert_eq!(run(&mut Command::new(folder.join("fit"))), fit_in_rust());
    let rules = run(&mut Command::new(folder.join("rules")));
    assert_eq!(losses(&rules), losses_in_rust());
}

#[test]
fn the_program_of_the_readme_learns() {
    if is_missing("make") {
        return;
    }
    let readme = include_str!("../README.md");
    let (_, program) = readme.split_once("```c\n").unwrap();
    let (program, _) = program.split_once("```").unwrap();
    let folder = examples().join("target");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("readme.c"), program).unwrap();
    run(Command::new("make")
        .arg("host-library")
        .current_dir(examples()));
    run(Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"])
        .args(["-I../include", "-o", "target/readme", "target/readme.c"])
        .arg("../library/target/release/libadarem.a")
        .current_dir(examples()));
    run(&mut Command::new(folder.join("readme")));
}

/// What `fit.c` prints, by the host, without a checkpoint.
fn fit_in_rust() -> String {
    const POINTS: i16 = 24;
    const STEPS: u64 = 600;
    let loss = |weights: &[f32; 3], bias: f32| {
        let (mut sum, mut grad) = (0.0, ([0.0f32; 3], 0.0f32));
        for point in 0..POINTS {
            let x = f32::from(2 * point - POINTS + 1) / f32::from(POINTS);
            let power = [x, x * x, x * x * x];
            let wanted = power[2] - 2.0 * x + 0.5;
            let mut error = bias - wanted;
            for (weight, power) in weights.iter().zip(power) {
                error += weight * power;
            }
            sum += 0.5 * error * error / f32::from(POINTS);
            for (grad, power) in grad.0.iter_mut().zip(power) {
                *grad += error * power / f32::from(POINTS);
            }
            grad.1 += error / f32::from(POINTS);
        }
        (sum, grad)
    };
    let cosine = Cosine {
        from: 0.5,
        to: 0.01,
        steps: STEPS,
    };
    let cosine = cosine.warmed_up(20);
    let of_bias = SgdM {
        lr: 0.05,
        ..SgdM::default()
    };
    let (mut weights, mut m, mut carried) = ([0.0f32; 3], [0.0; 3], [0.0]);
    let (mut bias, mut momentum) = ([0.0f32], [0.0]);
    let (before, _) = loss(&weights, bias[0]);
    for t in 0..STEPS {
        let (_, (grad, grad_bias)) = loss(&weights, bias[0]);
        let of_weights = AdaRem {
            lr: cosine.at(t),
            ..AdaRem::default()
        };
        let mut host = Host::new(&mut weights, &grad, [&mut m], &mut carried).unwrap();
        of_weights.step(t, &mut host);
        let grad_bias = [grad_bias];
        let mut host = Host::new(&mut bias, &grad_bias, [&mut momentum], &mut []).unwrap();
        of_bias.step(t, &mut host);
    }
    let (after, _) = loss(&weights, bias[0]);
    let [before, after, weight, bias] =
        [before, after, weights[0], bias[0]].map(|x| format!("{:08x}", x.to_bits()));
    format!(
        "loss before {before}\nloss after {after}\nweight of x {weight}\nbias {bias}\n\
         beta must lie in [0, 1), got 1\nlearned\n"
    )
}

/// Rules and losses that `rules.cpp` printed, the losses as bits.
fn losses(printed: &str) -> Vec<(String, u64)> {
    let words = printed.lines().filter_map(|line| line.split_once(' '));
    let losses = words.filter_map(|(rule, loss)| Some((rule.to_string(), loss.parse().ok()?)));
    losses
        .map(|(rule, loss): (_, f64)| (rule, loss.to_bits()))
        .collect()
}

/// The same of the Rust library.
fn losses_in_rust() -> Vec<(String, u64)> {
    struct Losses(Vec<(String, u64)>);
    impl EachRule for Losses {
        fn rule<R: Tunable + Default + Clone>(&mut self) {
            self.0.push((R::NAME.to_string(), train::<R>().to_bits()));
        }
    }
    let mut losses = Losses(Vec::new());
    for_each(&mut losses);
    losses.0
}

fn train<R: Tunable + Default + Clone>() -> f64 {
    let loss = |theta: &[Vec<f64>; 2], grad: &mut [Vec<f64>; 2]| {
        let (mut sum, mut scale) = (0.0, 0.0);
        for (theta, grad) in theta.iter().flatten().zip(grad.iter_mut().flatten()) {
            scale += 1.0;
            *grad = scale * theta;
            sum += 0.5 * *grad * theta;
        }
        sum
    };
    let mut rule = R::default();
    rule.set("lr", 0.05);
    let mut memory = [0.0; 2048];
    let mut lent = Lent::new(&mut memory);
    let mut optimizer = Optimizer::new(rule, &mut lent, &[3, 5]).unwrap();
    let mut theta = [vec![1.0, -2.0, 3.0], vec![0.5, -0.25, 0.125, 4.0, -1.5]];
    let mut grad = theta.clone();
    for _ in 0..50 {
        loss(&theta, &mut grad);
        let [a, b] = &mut theta;
        optimizer
            .step(&mut lent, &mut [a, b], &[&grad[0], &grad[1]])
            .unwrap();
    }
    loss(&theta, &mut grad)
}
