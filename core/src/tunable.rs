//! [`Tunable`]: hyper-parameters by name, for schedules, configuration files and other languages.

use crate::fold::Scope;
use crate::rule::Rule;

/// A hyper-parameter, to be read or changed.
#[derive(Debug, PartialEq)]
pub enum Setting<'a> {
    /// A number.
    Number(&'a mut f64),
    /// A number that may be left out.
    Optional(&'a mut Option<f64>),
    /// Yes or no.
    Flag(&'a mut bool),
    /// One tensor or the whole group.
    Scope(&'a mut Scope),
}

impl Setting<'_> {
    /// The setting as a number: a flag is 1 or 0, the group's scope 1 and a tensor's 0, what is left out NaN.
    pub fn get(&self) -> f64 {
        match self {
            Setting::Number(x) => **x,
            Setting::Optional(x) => x.unwrap_or(f64::NAN),
            Setting::Flag(x) => f64::from(u8::from(**x)),
            Setting::Scope(x) => f64::from(u8::from(**x == Scope::Group)),
        }
    }

    /// Sets what [`get`](Self::get) would return. A flag and a scope are on for everything but 0.
    pub fn set(self, value: f64) {
        match self {
            Setting::Number(x) => *x = value,
            Setting::Optional(x) => *x = (!value.is_nan()).then_some(value),
            Setting::Flag(x) => *x = value != 0.0,
            Setting::Scope(x) => {
                *x = if value == 0.0 {
                    Scope::Tensor
                } else {
                    Scope::Group
                }
            }
        }
    }
}

/// A rule whose hyper-parameters can be reached by the names of their fields.
///
/// ```
/// use adarem::{AdaRem, Rule, Tunable};
///
/// let mut rule = AdaRem::default();
/// assert!(rule.set("lambda", 0.5) && !rule.set("gamma", 1.0));
/// assert_eq!(rule.get("lambda"), Some(0.5));
/// assert_eq!(rule.get("lr"), Some(0.1));
/// rule.set("lr", -1.0);
/// assert_eq!(rule.check().unwrap_err().to_string(), "lr must be at least 0 and finite, got -1");
/// ```
pub trait Tunable: Rule {
    /// Shows every hyper-parameter to `visit`, by the name of its field.
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>));

    /// Sets the hyper-parameter `name`, as [`Setting::set`]; false where there is none. The value is checked
    /// by the next step, or by [`Rule::check`].
    fn set(&mut self, name: &str, value: f64) -> bool {
        let mut found = false;
        self.settings(&mut |field, setting| {
            if field == name {
                setting.set(value);
                found = true;
            }
        });
        found
    }

    /// The hyper-parameter `name`, as [`Setting::get`]; `None` where there is none.
    fn get(&self, name: &str) -> Option<f64>
    where
        Self: Clone,
    {
        let mut found = None;
        self.clone().settings(&mut |field, setting| {
            if field == name {
                found = Some(setting.get());
            }
        });
        found
    }
}

#[cfg(test)]
mod tests {
    use super::{Setting, Tunable};
    use crate::{AdaRemS, Scope};

    #[test]
    fn every_kind_of_setting_is_read_and_changed_by_its_name() {
        let mut rule = AdaRemS::default();
        for (name, default, value) in [
            ("lr", 0.1, 0.5),
            ("radius", f64::NAN, 3.0),
            ("slr", 1.0, 0.0),
            ("scope", 0.0, 1.0),
            ("sphere", 0.0, 1.0),
        ] {
            let before = rule.get(name).unwrap();
            assert!(
                before == default || before.is_nan() && default.is_nan(),
                "{name}"
            );
            assert!(rule.set(name, value));
            assert_eq!(rule.get(name), Some(value), "{name}");
        }
        let changed = AdaRemS {
            lr: 0.5,
            radius: Some(3.0),
            slr: false,
            scope: Scope::Group,
            sphere: Scope::Group,
            ..AdaRemS::default()
        };
        assert_eq!(rule, changed);
        for (name, value) in [
            ("lr", 0.1),
            ("radius", f64::NAN),
            ("slr", -2.0),
            ("scope", 0.0),
        ] {
            assert!(rule.set(name, value));
        }
        let back = AdaRemS {
            sphere: Scope::Group,
            ..AdaRemS::default()
        };
        assert_eq!(rule, back);
    }

    #[test]
    fn a_name_that_no_setting_has_changes_nothing() {
        let mut rule = AdaRemS::default();
        assert!(!rule.set("gamma", 7.0));
        assert_eq!(rule.get("gamma"), None);
        assert_eq!(rule, AdaRemS::default());
    }

    #[test]
    fn what_is_left_out_is_not_a_number() {
        let (mut number, mut none) = (2.0, None);
        assert_eq!(Setting::Number(&mut number).get(), 2.0);
        assert!(Setting::Optional(&mut none).get().is_nan());
        Setting::Optional(&mut none).set(0.0);
        assert_eq!(none, Some(0.0));
    }
}
