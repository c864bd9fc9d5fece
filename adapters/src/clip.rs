//! Gradient clipping, by value and by norm.

use adarem::error::positive;
use adarem::{Engine, Fold, Invalid, Lane, Name, Real, Rule, Scope, Setting, Slot, Tunable, Wraps};

use crate::gradient::Gradient;

/// A rule that sees every gradient's coordinates cut to [-limit, limit].
///
/// Costs no memory and no pass. A NaN stays NaN, an infinity becomes the limit.
///
/// ```
/// use adarem::{Host, Rule, Sgd};
/// use adarem_adapters::ClipValue;
///
/// let rule = ClipValue { rule: Sgd { lr: 1.0, ..Sgd::default() }, limit: 0.5 };
/// let mut theta = [0.0f32; 3];
/// rule.step(0, &mut Host::new(&mut theta, &[0.25, -2.0, f32::INFINITY], [], &mut [])?);
/// assert_eq!(theta, [-0.25, 0.5, -0.5]);
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClipValue<R> {
    /// The rule.
    pub rule: R,
    /// The largest magnitude of a coordinate, positive.
    pub limit: f64,
}

impl<R: Default> Default for ClipValue<R> {
    /// A limit of 1.
    fn default() -> Self {
        ClipValue {
            rule: R::default(),
            limit: 1.0,
        }
    }
}

impl<R: Rule> Wraps for ClipValue<R> {
    const WRAPPER: &'static str = "clip_value";
    type Inner = R;
}

impl<R: Rule> Rule for ClipValue<R> {
    const NAME: &'static str = Name::<Self>::OF;
    const SLOTS: usize = R::SLOTS;
    const CARRIED: usize = R::CARRIED;

    fn slot(&self, k: usize) -> Slot {
        self.rule.slot(k)
    }

    fn carried(&self, k: usize) -> Slot {
        self.rule.carried(k)
    }

    fn check(&self) -> Result<(), Invalid> {
        self.check_at(0)
    }

    fn check_at(&self, t: u64) -> Result<(), Invalid> {
        positive("limit", self.limit)?;
        self.rule.check_at(t)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, engine: &mut E) {
        let limit = engine.uniform(self.limit);
        // Both comparisons are false of a NaN.
        let of = move |_, g: E::Real| {
            let below = E::Real::select(limit.lt(g), limit, g);
            E::Real::select(g.lt(-limit), -limit, below)
        };
        self.rule.step(t, &mut Gradient { engine, of });
    }
}

impl<R: Tunable> Tunable for ClipValue<R> {
    /// Those of the rule, and `value_limit`.
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        self.rule.settings(visit);
        visit("value_limit", Setting::Number(&mut self.limit));
    }
}

/// A rule that sees gradients of at most a given norm: `g min(1, limit / |g|)`.
///
/// The norm is that of all gradients of the group, the *global* norm, unless `scope` says otherwise. It is folded
/// where the gradients lie, in one more pass that reads them (4 bytes a parameter in `f32`). A gradient
/// within the limit is not touched: the step is then the rule's own, bit for bit. PyTorch
/// divides by `|g| + 1e-6`; burn's norm is that of each tensor.
///
/// *NaN, infinity, zero.* With a NaN among the gradients nothing is clipped. Where the norm overflows (in `f32` from 1.8e19 on) the
/// gradient becomes 0, and an infinite coordinate NaN. Put [`Guarded`](crate::Guarded) around to be safe of both.
///
/// ```
/// use adarem::{Host, Rule, Scope, Sgd};
/// use adarem_adapters::ClipNorm;
///
/// let sgd = Sgd { lr: 1.0, ..Sgd::default() };
/// let rule = ClipNorm { rule: sgd, limit: 1.0, scope: Scope::Group };
/// let mut theta = [0.0f32; 2];
/// rule.step(0, &mut Host::new(&mut theta, &[3.0, 4.0], [], &mut [])?);
/// assert_eq!(theta, [-0.6, -0.8]);
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClipNorm<R> {
    /// The rule.
    pub rule: R,
    /// The largest norm, positive.
    pub limit: f64,
    /// What the norm is of: all tensors of the group, or each for itself.
    pub scope: Scope,
}

impl<R> ClipNorm<R> {
    /// Clips by the global norm.
    pub fn global(rule: R, limit: f64) -> Self {
        ClipNorm {
            rule,
            limit,
            scope: Scope::Group,
        }
    }
}

impl<R: Default> Default for ClipNorm<R> {
    /// A limit of 1 on the global norm.
    fn default() -> Self {
        ClipNorm::global(R::default(), 1.0)
    }
}

impl<R: Rule> Wraps for ClipNorm<R> {
    const WRAPPER: &'static str = "clip_norm";
    type Inner = R;
}

impl<R: Rule> Rule for ClipNorm<R> {
    const NAME: &'static str = Name::<Self>::OF;
    const SLOTS: usize = R::SLOTS;
    const CARRIED: usize = R::CARRIED;

    fn slot(&self, k: usize) -> Slot {
        self.rule.slot(k)
    }

    fn carried(&self, k: usize) -> Slot {
        self.rule.carried(k)
    }

    fn check(&self) -> Result<(), Invalid> {
        self.check_at(0)
    }

    fn check_at(&self, t: u64) -> Result<(), Invalid> {
        positive("limit", self.limit)?;
        self.rule.check_at(t)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, engine: &mut E) {
        let limit = engine.uniform(self.limit);
        let [square] = engine.pass([Fold::SUM.over(self.scope)], |x: Lane<_, 0>| {
            ([], [x.grad * x.grad])
        });
        let norm = square.sqrt();
        let scale = E::Real::select(limit.lt(norm), limit / norm, E::Real::lit(1.0));
        self.rule.step(
            t,
            &mut Gradient {
                engine,
                of: move |_, g| g * scale,
            },
        );
    }
}

impl<R: Tunable> Tunable for ClipNorm<R> {
    /// Those of the rule, `norm_limit` and `norm_scope`.
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        self.rule.settings(visit);
        visit("norm_limit", Setting::Number(&mut self.limit));
        visit("norm_scope", Setting::Scope(&mut self.scope));
    }
}
