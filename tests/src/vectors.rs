//! Reference trajectories: replays what other implementations did, on any backend.
//!
//! A [`Case`] is one file: a rule, its hyper-parameters, some tensors, and for every step the gradients and
//! what the parameters must be after it. `tests/vectors/README.md` describes the format. For the author
//! of a backend, one line:
//!
//! ```
//! # use adarem_conformance::vectors;
//! # fn on<B: adarem::Backend>(mut backend: B) -> Result<(), String> {
//! let replayed = vectors::replay_all(&mut backend)?;
//! # let _ = replayed; Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{env, fs};

use adarem::rules::{EachRule, for_each};
use adarem::{AdaRemS, Backend, Dtype, Element, Optimizer, Real, Rule, Tunable};
use serde::Deserialize;

use crate::alone::Alone;

/// The environment variable that names more folders, separated as in `PATH`.
pub const FOLDERS: &str = "ADAREM_VECTORS";

/// Rules that files may ask for although no such rule is here yet. Such files are counted, not replayed.
pub const STILL_TO_COME: &[&str] = &[];

/// One file: what a rule with these hyper-parameters did.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Version of the format: 1.
    pub schema: u32,
    /// The case's name.
    pub name: String,
    /// The rule, as its source calls it.
    pub rule: String,
    /// Hyper-parameters that are the same in all steps.
    pub config: BTreeMap<String, Value>,
    /// Who computed it.
    pub source: String,
    /// The error allowed in binary64, relative to the largest magnitude of the tensor.
    pub max_rel_error: f64,
    /// The error allowed in binary32; `None` where a replay in binary32 shows nothing.
    pub max_rel_error_f32: Option<f64>,
    /// The tensors before the first step.
    pub theta0: Vec<Vec<f64>>,
    /// The steps.
    pub steps: Vec<Step>,
}

/// One step of a [`Case`].
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The learning rate of this step.
    pub lr: f64,
    /// AdaRem's lambda of this step.
    #[serde(default)]
    pub lambda: Option<f64>,
    /// The gradients, one per tensor.
    pub grads: Vec<Vec<f64>>,
    /// The tensors after this step.
    pub theta: Vec<Vec<f64>>,
    /// AdaRem-S' alpha of each tensor after this step.
    #[serde(default)]
    pub alpha: Option<Vec<f64>>,
}

/// A hyper-parameter in a file.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(untagged)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A dialect: on or off.
    Flag(bool),
    /// Left out.
    Missing(()),
}

impl Value {
    /// As [`Setting::set`](adarem::Setting::set) takes it.
    fn number(self) -> f64 {
        match self {
            Value::Number(x) => x,
            Value::Flag(on) => f64::from(u8::from(on)),
            Value::Missing(()) => f64::NAN,
        }
    }
}

/// The folder of this crate's own files, and those that [`FOLDERS`] names.
pub fn folders() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let more = env::var_os(FOLDERS).unwrap_or_default();
    let more = env::split_paths(&more).filter(|path| !path.as_os_str().is_empty());
    std::iter::once(own).chain(more).collect()
}

/// All cases of a folder, in the order of their names.
///
/// # Errors
/// Where the folder cannot be listed, a file not read or understood, or tensors have unequal lengths; in
/// words, with the path. A folder without any case is an error too.
pub fn read_folder(folder: &Path) -> Result<Vec<Case>, String> {
    let at = |error: &dyn std::fmt::Display| format!("{}: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(|error| at(&error))?;
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|e| e.path())).collect();
    let mut paths = paths.map_err(|error| at(&error))?;
    paths.retain(|path| path.extension() == Some(OsStr::new("json")));
    paths.sort();
    if paths.is_empty() {
        return Err(at(&"no trajectory (*.json) here"));
    }
    paths.iter().map(|path| Case::read(path)).collect()
}

impl Case {
    /// Reads a file.
    ///
    /// # Errors
    /// As [`read_folder`].
    pub fn read(path: &Path) -> Result<Case, String> {
        let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| at(&error))?;
        let case: Case = serde_json::from_str(&text).map_err(|error| at(&error))?;
        if case.schema != 1 {
            return Err(at(&format!("schema {} is not known", case.schema)));
        }
        let lengths = case.lengths();
        for (t, step) in case.steps.iter().enumerate() {
            if lengths_of(&step.grads) != lengths || lengths_of(&step.theta) != lengths {
                return Err(at(&format!(
                    "step {t}: tensors must be as long as in theta0"
                )));
            }
            if step
                .alpha
                .as_ref()
                .is_some_and(|alpha| alpha.len() != lengths.len())
            {
                return Err(at(&format!("step {t}: one alpha per tensor is needed")));
            }
        }
        Ok(case)
    }

    /// The length of each tensor.
    pub fn lengths(&self) -> Vec<usize> {
        lengths_of(&self.theta0)
    }

    /// The error allowed in numbers of type `T`, or `None` where no replay is asked for.
    pub fn tolerance<T: Element>(&self) -> Option<f64> {
        match T::DTYPE {
            Dtype::F32 => self.max_rel_error_f32,
            _ => Some(self.max_rel_error),
        }
    }

    /// The name that this library gives the rule.
    ///
    /// # Errors
    /// Where the hyper-parameters contradict each other, in words.
    pub fn library_rule(&self) -> Result<&str, String> {
        self.dialect().map(|(rule, _)| rule)
    }

    /// The name that this library gives the rule, and its hyper-parameters: where a source has one class
    /// with a flag, this library has a rule of its own if the flag changes what is kept in memory.
    fn dialect(&self) -> Result<(&str, BTreeMap<&str, f64>), String> {
        let mut settings: BTreeMap<&str, f64> = self
            .config
            .iter()
            .map(|(name, value)| (name.as_str(), value.number()))
            .collect();
        let mut without = |name| settings.remove(name).unwrap_or(0.0);
        let rule = match self.rule.as_str() {
            "sgd" if self.config_is_zero("momentum") => {
                without("momentum");
                // Without a buffer there is nothing to dampen; to look ahead along one is a mistake.
                without("dampening");
                if without("nesterov") != 0.0 {
                    return Err("nesterov needs momentum".into());
                }
                "sgd"
            }
            "sgd" => "sgdm",
            "adam" if without("amsgrad") != 0.0 => "amsgrad",
            "adamw" if without("amsgrad") != 0.0 => {
                settings.insert("decoupled", 1.0);
                "amsgrad"
            }
            "adabound" if without("amsbound") != 0.0 => "amsbound",
            "rmsprop" if without("centered") != 0.0 => "rmsprop_centered",
            "rmsprop" if self.config_is_zero("momentum") => {
                without("momentum");
                "rmsprop"
            }
            "rmsprop" => "rmsprop_m",
            other => other,
        };
        if matches!(rule, "adabound" | "amsbound") {
            // In the authors' code the bounds follow lr from where it stood when the optimizer was built.
            let first = self.steps.first().map_or(f64::NAN, |step| step.lr);
            settings.entry("base_lr").or_insert(first);
        }
        Ok((rule, settings))
    }

    fn config_is_zero(&self, name: &str) -> bool {
        self.config
            .get(name)
            .is_none_or(|value| value.number() == 0.0)
    }

    /// Compares the tensors after step `t` with the reference.
    fn compare<T: Element>(&self, t: usize, got: &[Vec<T>], alpha: &[T]) -> Result<(), String> {
        let (step, tolerance) = (&self.steps[t], self.tolerance::<T>().unwrap_or(f64::NAN));
        let f64_of = |x: T| x.to_f64().unwrap_or(f64::NAN);
        for (i, (got, want)) in got.iter().zip(&step.theta).enumerate() {
            let largest = want.iter().fold(0.0f64, |acc, x| acc.max(x.abs()));
            for (j, (&got, &want)) in got.iter().zip(want).enumerate() {
                let got = f64_of(got);
                let error = (got - want).abs();
                // A NaN does not.
                let agrees = error <= tolerance * largest;
                if !agrees {
                    return Err(format!(
                        "step {t}, tensor {i}, index {j}: theta must be {want:e}, got {got:e}; the error \
                         is {:e} of the tensor's largest, {tolerance:e} is allowed",
                        error / largest
                    ));
                }
            }
        }
        for (i, (&got, &want)) in alpha.iter().zip(step.alpha.iter().flatten()).enumerate() {
            let got = f64_of(got);
            let agrees = (got - want).abs() <= tolerance * want.abs();
            if !agrees {
                return Err(format!(
                    "step {t}, tensor {i}: alpha must be {want:e}, got {got:e}"
                ));
            }
        }
        Ok(())
    }
}

fn lengths_of(tensors: &[Vec<f64>]) -> Vec<usize> {
    tensors.iter().map(Vec::len).collect()
}

fn rounded<T: Element>(xs: &[f64]) -> Vec<T> {
    xs.iter().map(|&x| T::lit(x)).collect()
}

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was replayed, and agreed.
    Agreed,
    /// It asks for no replay in this number type.
    NotAsked,
    /// Its rule is on the list [`STILL_TO_COME`].
    StillToCome,
}

/// Something that a case is replayed on.
pub trait Stage {
    /// The numbers it computes with.
    type Elem: Element;

    /// Replays `case` with `rule`, whose hyper-parameters are set except those that come per step:
    /// `at_step` sets those.
    ///
    /// # Errors
    /// The first disagreement, in words.
    fn replay<R: Tunable>(&mut self, rule: R, case: &Case) -> Result<(), String>;
}

/// Sets the hyper-parameters that come per step.
fn at_step(rule: &mut impl Tunable, step: &Step) -> Result<(), String> {
    let lambda = step.lambda.map(|lambda| ("lambda", lambda));
    for (name, value) in [("lr", step.lr)].into_iter().chain(lambda) {
        set(rule, name, value)?;
    }
    Ok(())
}

fn set<R: Tunable>(rule: &mut R, name: &str, value: f64) -> Result<(), String> {
    if rule.set(name, value) {
        Ok(())
    } else {
        Err(format!("{} has no hyper-parameter {name:?}", R::NAME))
    }
}

/// Replays one case.
///
/// # Errors
/// The first disagreement, an unknown rule or hyper-parameter; in words, with the case's name.
pub fn replay<S: Stage>(stage: &mut S, case: &Case) -> Result<Outcome, String> {
    struct Find<'a, S> {
        name: &'a str,
        settings: BTreeMap<&'a str, f64>,
        stage: &'a mut S,
        case: &'a Case,
        found: Option<Result<(), String>>,
    }
    impl<S: Stage> EachRule for Find<'_, S> {
        fn rule<R: Tunable + Default + Clone + PartialEq + std::fmt::Debug + Send + 'static>(
            &mut self,
        ) {
            if R::NAME != self.name {
                return;
            }
            let mut rule = R::default();
            let settings = self
                .settings
                .iter()
                .try_for_each(|(name, &x)| set(&mut rule, name, x));
            let replayed = settings.and_then(|()| self.stage.replay(rule, self.case));
            self.found = Some(replayed);
        }
    }

    let named = |error: String| format!("{} ({}): {error}", case.name, case.source);
    if case.tolerance::<S::Elem>().is_none() {
        return Ok(Outcome::NotAsked);
    }
    let (name, settings) = case.dialect().map_err(named)?;
    let mut find = Find {
        name,
        settings,
        stage,
        case,
        found: None,
    };
    for_each(&mut find);
    match find.found {
        Some(replayed) => replayed.map_err(named).map(|()| Outcome::Agreed),
        None if STILL_TO_COME.contains(&name) => Ok(Outcome::StillToCome),
        None => Err(named(format!("no rule is called {name:?}"))),
    }
}

/// Replays every case of every folder on `backend`, and returns how many agreed.
///
/// # Errors
/// All disagreements, one a line.
pub fn replay_all<B: Backend>(backend: &mut B) -> Result<usize, String> {
    let mut stage = OnBackend(backend);
    let (mut agreed, mut wrong) = (0, Vec::new());
    for folder in folders() {
        for case in read_folder(&folder)? {
            match replay(&mut stage, &case) {
                Ok(outcome) => agreed += usize::from(outcome == Outcome::Agreed),
                Err(error) => wrong.push(error),
            }
        }
    }
    if wrong.is_empty() {
        Ok(agreed)
    } else {
        Err(wrong.join("\n"))
    }
}

/// Steps tensors with an [`Optimizer`] over a backend.
#[derive(Debug)]
pub struct OnBackend<'a, B>(
    /// The backend.
    pub &'a mut B,
);

impl<B: Backend> Stage for OnBackend<'_, B> {
    type Elem = B::Elem;

    fn replay<R: Tunable>(&mut self, mut rule: R, case: &Case) -> Result<(), String> {
        use std::borrow::{Borrow, BorrowMut};
        let words = |error: B::Error| error.to_string();
        let backend = &mut *self.0;
        let lengths = case.lengths();
        if let Some(first) = case.steps.first() {
            at_step(&mut rule, first)?;
        }
        let mut optimizer = Optimizer::new(rule, backend, &lengths).map_err(words)?;

        let put = |backend: &mut B, tensors: &[Vec<f64>]| -> Result<Vec<B::Memory>, B::Error> {
            let put = |xs: &Vec<f64>| {
                let mut memory = backend.zeros(xs.len())?;
                backend.write(memory.borrow_mut(), 0, &rounded(xs))?;
                Ok(memory)
            };
            tensors.iter().map(put).collect()
        };
        let mut theta = put(backend, &case.theta0).map_err(words)?;
        for (t, step) in case.steps.iter().enumerate() {
            at_step(optimizer.rule_mut(), step)?;
            let grad = put(backend, &step.grads).map_err(words)?;
            let grad: Vec<&B::Tensor> = grad.iter().map(Borrow::borrow).collect();
            let mut theta_refs: Vec<&mut B::Tensor> =
                theta.iter_mut().map(BorrowMut::borrow_mut).collect();
            optimizer
                .step(backend, &mut theta_refs, &grad)
                .map_err(words)?;

            let mut get = |from: &B::Tensor, at, len| {
                let mut out = vec![B::Elem::default(); len];
                backend
                    .read(from, at, &mut out)
                    .map(|()| out)
                    .map_err(words)
            };
            let got: Result<Vec<_>, _> = theta
                .iter()
                .zip(&lengths)
                .map(|(x, &len)| get(x.borrow(), 0, len))
                .collect();
            let carried = get(optimizer.carried(), 0, lengths.len() * R::CARRIED)?;
            let alpha: Vec<_> = match R::NAME {
                AdaRemS::NAME => carried
                    .chunks(R::CARRIED)
                    .map(|c| c[AdaRemS::ALPHA])
                    .collect(),
                _ => Vec::new(),
            };
            case.compare(t, &got?, &alpha)?;
        }
        Ok(())
    }
}

/// Steps tensors one by one with [`Host`](adarem::Host), as an engine without heap does.
#[derive(Debug, Default)]
pub struct OnHost<T>(std::marker::PhantomData<T>);

impl<T: Element> Stage for OnHost<T> {
    type Elem = T;

    fn replay<R: Tunable>(&mut self, mut rule: R, case: &Case) -> Result<(), String> {
        if let Some(first) = case.steps.first() {
            at_step(&mut rule, first)?;
        }
        rule.check().map_err(|invalid| invalid.to_string())?;
        let alone = |xs: &Vec<f64>| Alone::new(&rule, rounded(xs));
        let mut tensors: Vec<Alone<T>> = case.theta0.iter().map(alone).collect();
        for (t, step) in case.steps.iter().enumerate() {
            at_step(&mut rule, step)?;
            rule.check().map_err(|invalid| invalid.to_string())?;
            for (tensor, grad) in tensors.iter_mut().zip(&step.grads) {
                tensor.step(&rule, t as u64, &rounded(grad));
            }
            let got: Vec<_> = tensors.iter().map(|tensor| tensor.theta.clone()).collect();
            let alpha: Vec<_> = tensors
                .iter()
                .filter(|_| R::NAME == AdaRemS::NAME)
                .map(|tensor| tensor.carried[AdaRemS::ALPHA])
                .collect();
            case.compare(t, &got, &alpha)?;
        }
        Ok(())
    }
}
