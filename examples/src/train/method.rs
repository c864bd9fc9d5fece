use std::fmt;
use std::str::FromStr;

use adarem::rules::{EachRule, for_each};
use adarem::{Backend, Tunable};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::TaskName;
use super::descent::{Group, Now, Start};
use crate::network::Role;

/// An optimizer of the race: a rule of the core, by its name. A rule that joins the core joins the
/// race.
///
/// ```
/// use adarem_examples::train::Method;
///
/// let method: Method = "adarem-s".parse()?;
/// assert_eq!(method.to_string(), "adarem_s");
/// assert!(Method::all().contains(&method));
/// assert!("sdg".parse::<Method>().unwrap_err().starts_with("there is no optimizer \"sdg\", but "));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method(&'static str);

/// Learning rates to start with, on digits and on text; a rule that is not here starts with its own
/// default. AdaRem, AdaRem-S and SGD share theirs. On text, with its small gradients, most rules need
/// about ten times what they need on digits.
const RATES: [(&str, f64, f64); 26] = [
    ("adabound", 1e-3, 1e-2),
    ("adadelta", 1.0, 10.0),
    ("adagrad", 1e-2, 1e-1),
    ("adagrad_norm", 1.0, 10.0),
    ("adam", 1e-3, 1e-2),
    ("adamax", 2e-3, 2e-2),
    ("adamw", 1e-3, 1e-2),
    ("adarem", 0.1, 8.0),
    ("adarem_s", 0.1, 8.0),
    ("adashift", 1e-2, 1e-1),
    ("adashift_each", 1e-2, 1e-1),
    ("amsbound", 1e-3, 1e-2),
    ("amsgrad", 1e-3, 1e-2),
    ("lamb", 1e-3, 1e-2),
    ("lion", 1e-4, 1e-3),
    ("nadam", 2e-3, 2e-2),
    ("nag", 0.1, 0.8),
    ("nd_adam", 1e-2, 1e-2),
    ("nosadam", 1e-3, 1e-2),
    ("padam", 0.1, 4.0),
    ("radam", 1e-3, 1e-2),
    ("sgd", 0.1, 8.0),
    ("sgdm", 0.1, 0.8),
    ("sgdw", 0.1, 0.8),
    ("swats", 1e-3, 1e-2),
    ("yogi", 1e-2, 1e-1),
];

/// Rules that hold tensors on spheres, and the rule that takes the tensors that must not be.
const ON_SPHERES: [(&str, &str); 2] = [("adarem_s", "adarem"), ("nd_adam", "adam")];

impl Method {
    /// AdaRem.
    pub const ADAREM: Method = Method("adarem");
    /// AdaRem-S: scale-invariant weights on spheres, AdaRem for the rest.
    pub const ADAREM_S: Method = Method("adarem_s");
    /// Plain stochastic gradient descent.
    pub const SGD: Method = Method("sgd");
    /// Gradient descent with momentum.
    pub const SGDM: Method = Method("sgdm");
    /// Adam.
    pub const ADAM: Method = Method("adam");

    /// Those that run unless one asks for others.
    pub const USUAL: [Method; 5] = [
        Method::ADAREM,
        Method::ADAREM_S,
        Method::SGD,
        Method::SGDM,
        Method::ADAM,
    ];

    /// All there are, in the order of the alphabet.
    pub fn all() -> Vec<Method> {
        struct Names(Vec<Method>);
        impl EachRule for Names {
            fn rule<R: Tunable>(&mut self) {
                self.0.push(Method(R::NAME));
            }
        }
        let mut names = Names(Vec::new());
        for_each(&mut names);
        names.0
    }

    /// Whether it can show on a task what it is for: a sphere needs weights in front of a
    /// normalisation.
    pub fn suits(self, task: TaskName) -> bool {
        task == TaskName::Digits || ON_SPHERES.iter().all(|(rule, _)| *rule != self.0)
    }

    /// The learning rate that it starts with unless one asks for another.
    pub fn rate(self, task: TaskName) -> f64 {
        let own = || own_default(self.0, "lr").unwrap_or(f64::NAN);
        let rates = RATES.iter().find(|(rule, ..)| *rule == self.0);
        rates.map_or_else(own, |(_, digits, text)| match task {
            TaskName::Digits => *digits,
            TaskName::Text => *text,
        })
    }

    /// How tensors of this role are stepped. Without a `decay`, weights decay as the rule's own
    /// default says.
    pub(super) fn step(self, role: Role, decay: Option<f64>) -> Step {
        let off_sphere = ON_SPHERES.iter().find(|(rule, _)| *rule == self.0);
        let rule = match off_sphere {
            Some((_, companion)) if role != Role::ScaleInvariant => companion,
            _ => self.0,
        };
        let decay = match role {
            Role::Offset => 0.0,
            _ => decay
                .or_else(|| own_default(rule, "weight_decay"))
                .unwrap_or(0.0),
        };
        Step { rule, decay }
    }
}

/// The rule's own default of a hyper-parameter, if it has that one.
fn own_default(rule: &'static str, name: &'static str) -> Option<f64> {
    struct Ask {
        rule: &'static str,
        name: &'static str,
        answer: Option<f64>,
    }
    impl EachRule for Ask {
        fn rule<R: Tunable + Default + Clone>(&mut self) {
            if R::NAME == self.rule {
                self.answer = R::default().get(self.name);
            }
        }
    }
    let mut ask = Ask {
        rule,
        name,
        answer: None,
    };
    for_each(&mut ask);
    ask.answer
}

/// A rule and its weight decay: what the tensors of a parameter group have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    rule: &'static str,
    decay: f64,
}

impl Step {
    /// The optimizer of a parameter group.
    pub fn group<B: Backend<Elem = f32> + 'static>(
        self,
        start: Start<B>,
    ) -> Result<Box<dyn Group<B>>, B::Error> {
        let mut build = Build {
            step: self,
            start: Some(start),
            group: None,
        };
        for_each(&mut build);
        build.group.expect("a method's name is a rule's")
    }
}

struct Build<'a, B: Backend> {
    step: Step,
    start: Option<Start<'a, B>>,
    group: Option<Result<Box<dyn Group<B>>, B::Error>>,
}

impl<B: Backend<Elem = f32> + 'static> EachRule for Build<'_, B> {
    fn rule<R: Tunable + Default + Clone + 'static>(&mut self) {
        if R::NAME != self.step.rule {
            return;
        }
        let Some(start) = self.start.take() else {
            return;
        };
        let mut rule = R::default();
        // Not every rule has all of these; `set` passes over those that a rule lacks.
        rule.set("weight_decay", self.step.decay);
        rule.set("decoupled", 1.0);
        if rule.get("final_lr").is_some() {
            // The bounds belong to this rate, and move in proportion when a schedule changes it.
            rule.set("base_lr", start.first.lr);
        }
        self.group = Some(start.with(rule, follow));
    }
}

/// Sets what the schedules have decided.
fn follow<R: Tunable>(rule: &mut R, now: Now) {
    rule.set("lr", now.lr);
    rule.set("lambda", now.lambda);
}

impl FromStr for Method {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = Method::all();
        let known = all.iter().find(|method| method.0 == name.replace('-', "_"));
        known.copied().ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|method| method.0).collect();
            format!("there is no optimizer {name:?}, but {}", names.join(", "))
        })
    }
}

impl Serialize for Method {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_rate_on_every_task() {
        for method in Method::all() {
            for task in [TaskName::Digits, TaskName::Text] {
                assert!(method.rate(task) > 0.0, "{method} on {task:?}");
            }
        }
    }

    #[test]
    fn only_weights_decay_and_only_scale_invariant_ones_are_on_spheres() {
        let step = |rule, decay| Step { rule, decay };
        let on_sphere = |role| Method::ADAREM_S.step(role, Some(0.5));
        assert_eq!(on_sphere(Role::ScaleInvariant), step("adarem_s", 0.5));
        assert_eq!(on_sphere(Role::Weight), step("adarem", 0.5));
        assert_eq!(on_sphere(Role::Offset), step("adarem", 0.0));
        let adamw: Method = "adamw".parse().unwrap();
        assert_eq!(adamw.step(Role::Weight, None), step("adamw", 0.01));
        assert_eq!(adamw.step(Role::Offset, None), step("adamw", 0.0));
    }

    #[test]
    fn tables_name_rules_that_exist() {
        let rated = RATES.map(|(rule, ..)| rule);
        let on_spheres = ON_SPHERES.map(|(rule, _)| rule);
        let off_spheres = ON_SPHERES.map(|(_, rule)| rule);
        let usual = Method::USUAL.map(|method| method.0);
        for name in [&rated[..], &on_spheres, &off_spheres, &usual].concat() {
            assert!(
                name.parse::<Method>().is_ok_and(|method| method.0 == name),
                "{name}"
            );
        }
    }
}
