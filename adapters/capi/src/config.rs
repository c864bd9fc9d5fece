//! What an optimizer is created from.

use core::ffi::c_char;

use adarem::rules::EachRule;
use adarem::{AdaRem, AdaRemS, AdamW, SgdM, Tunable};

use crate::error::Failure;
use crate::pointers::{self, Word, list};

/// Tensors of `float`.
pub const DTYPE_F32: u32 = 4;
/// Tensors of `double`.
pub const DTYPE_F64: u32 = 8;

/// A setting by name, such as `{"lr", 0.1}`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NamedValue {
    /// The name of a hyper-parameter: `adarem_setting_name` lists those of a rule.
    pub name: *const c_char,
    /// Its value. A flag is 0 or 1; a scope is 0 for each tensor, 1 for all tensors of the optimizer; NaN
    /// leaves out what may be left out.
    pub value: f64,
}

/// What an optimizer is: a rule, its settings, and the tensors that it steps. One optimizer is one parameter
/// group; use one for each group.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The rule's name, such as "adarem": `adarem_rule_name` lists them.
    pub rule: *const c_char,
    /// ADAREM_DTYPE_F32 or ADAREM_DTYPE_F64.
    pub dtype: u32,
    /// Settings that differ from the rule's defaults; may be null where there are none.
    pub settings: *const NamedValue,
    /// How many.
    pub settings_count: usize,
    /// The length of each tensor, in numbers; read by `adarem_size` and `adarem_create` only.
    pub lengths: *const usize,
    /// How many tensors.
    pub tensors: usize,
}

/// Calls `each` with every rule that this library was built with.
pub(crate) fn for_each(each: &mut impl EachRule) {
    if cfg!(feature = "every-rule") {
        adarem::rules::for_each(each);
    } else {
        each.rule::<AdamW>();
        each.rule::<AdaRem>();
        each.rule::<AdaRemS>();
        each.rule::<SgdM>();
    }
}

/// Something done with the rule of a name.
pub(crate) trait WithRule {
    type Out;
    fn rule<R: Tunable + Default + Clone + 'static>(&mut self) -> Result<Self::Out, Failure>;
}

/// Does it with the rule that is called `name`.
///
/// # Safety
/// `name` is null or a C string.
pub(crate) unsafe fn with_rule<W: WithRule>(
    name: *const c_char,
    with: W,
) -> Result<W::Out, Failure> {
    struct Find<W: WithRule> {
        name: *const c_char,
        with: W,
        out: Result<W::Out, Failure>,
    }
    impl<W: WithRule> EachRule for Find<W> {
        fn rule<R: Tunable + Default + Clone + 'static>(&mut self) {
            // SAFETY: a C string, as it is not null.
            if unsafe { pointers::is(self.name, R::NAME) } {
                self.out = self.with.rule::<R>();
            }
        }
    }
    pointers::check(name, "rule")?;
    // SAFETY: a C string, as it is not null.
    let out = Err(Failure::UnknownRule(unsafe { Word::of(name) }));
    let mut find = Find { name, with, out };
    for_each(&mut find);
    find.out
}

impl Config {
    /// The lengths of the tensors.
    ///
    /// # Safety
    /// As for `adarem_create`.
    pub(crate) unsafe fn lengths<'a>(&self) -> Result<&'a [usize], Failure> {
        // SAFETY: the caller's word.
        unsafe { list(self.lengths, self.tensors, "lengths") }
    }

    /// The rule with its settings.
    ///
    /// # Safety
    /// As for `adarem_create`.
    pub(crate) unsafe fn rule<R: Tunable + Default>(&self) -> Result<R, Failure> {
        let mut rule = R::default();
        // SAFETY: the caller's word.
        for setting in unsafe { list(self.settings, self.settings_count, "settings") }? {
            // SAFETY: the caller's word.
            let name = unsafe { setting_name(&rule, setting.name) }?;
            rule.set(name, setting.value);
        }
        rule.check()?;
        Ok(rule)
    }
}

/// The rule's own word for the setting `name`.
///
/// # Safety
/// `name` is null or a C string.
pub(crate) unsafe fn setting_name<R: Tunable + Default>(
    _: &R,
    name: *const c_char,
) -> Result<&'static str, Failure> {
    pointers::check(name, "name")?;
    // SAFETY: a C string, as it is not null.
    let mut found = Err(Failure::UnknownSetting(R::NAME, unsafe { Word::of(name) }));
    R::default().settings(&mut |field, _| {
        // SAFETY: a C string, as it is not null.
        if unsafe { pointers::is(name, field) } {
            found = Ok(field);
        }
    });
    found
}
