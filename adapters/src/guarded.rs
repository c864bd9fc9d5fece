//! [`Guarded`]: what a step does about gradients that are not finite.

use adarem::{
    Engine, Fold, Invalid, Lane, Name, Overlay, Real, Rewrite, Rule, Setting, Slot, Tunable, View,
    Wraps,
};

/// What happens when any gradient of the group has a NaN or an infinity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NonFinite {
    /// The rule takes it as it comes; its documentation says what comes of it.
    Propagate,
    /// The step is skipped: parameters and state keep every bit. It is counted, and the next is taken as usual.
    #[default]
    Skip,
    /// The step is skipped and counted, and so is every later one, until the caller
    /// [clears](Guarded::clear) the refusal.
    Refuse,
}

/// A rule with a policy for gradients that are not finite.
///
/// One pass scans all tensors of the step before anything is written (4 bytes a parameter in `f32`); the
/// decision is taken where the gradients lie, so no backend waits for the host. Put it outermost: what it wraps,
/// other wrappers included, is skipped as a whole. Steps are counted on by the host, so a skipped
/// step is a step for schedules and for Adam's bias correction.
///
/// Two carried scalars, the same for all tensors, stand behind the rule's own and can be read when it suits:
/// [`SKIPPED`](Self::SKIPPED), how many steps were skipped (exact up to 2^24 in `f32`), and
/// [`REFUSED`](Self::REFUSED), whether steps are refused.
///
/// ```
/// use adarem::{AdaRem, Host, Rule};
/// use adarem_adapters::{Guarded, NonFinite};
///
/// type Safe = Guarded<AdaRem>;
/// let mut rule = Safe::new(AdaRem::default(), NonFinite::Refuse);
/// let (mut theta, mut m, mut carried) = ([1.0f32, 2.0], [0.0; 2], [0.0; Safe::CARRIED]);
/// let gradients = [[f32::NAN, 1.0], [1.0, 1.0], [1.0, 1.0]];
/// for (t, grad) in (0..).zip(gradients) {
///     if t == 2 {
///         rule.clear(t);
///     }
///     rule.step(t, &mut Host::new(&mut theta, &grad, [&mut m], &mut carried)?);
///     assert_eq!(theta == [1.0, 2.0], t < 2);
/// }
/// assert_eq!(carried[Safe::SKIPPED], 2.0);
/// assert_eq!(carried[Safe::REFUSED], 0.0);
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guarded<R> {
    /// The rule.
    pub rule: R,
    /// What happens.
    pub policy: NonFinite,
    cleared: Option<u64>,
}

impl<R: Rule> Guarded<R> {
    /// Which carried scalar counts the steps that were skipped.
    pub const SKIPPED: usize = R::CARRIED;
    /// Which carried scalar is 1 while steps are refused.
    pub const REFUSED: usize = R::CARRIED + 1;

    /// `rule` with `policy`.
    pub fn new(rule: R, policy: NonFinite) -> Self {
        Guarded {
            rule,
            policy,
            cleared: None,
        }
    }

    /// Ends a refusal: step `t`, the next one, is taken unless its own gradients are not finite.
    pub fn clear(&mut self, t: u64) {
        self.cleared = Some(t);
    }
}

impl<R: Rule + Default> Default for Guarded<R> {
    fn default() -> Self {
        Guarded::new(R::default(), NonFinite::default())
    }
}

impl<R: Rule> Wraps for Guarded<R> {
    const WRAPPER: &'static str = "guarded";
    type Inner = R;
}

impl<R: Rule> Rule for Guarded<R> {
    const NAME: &'static str = Name::<Self>::OF;
    const SLOTS: usize = R::SLOTS;
    const CARRIED: usize = R::CARRIED + 2;

    fn slot(&self, k: usize) -> Slot {
        self.rule.slot(k)
    }

    fn carried(&self, k: usize) -> Slot {
        match k.checked_sub(R::CARRIED) {
            None => self.rule.carried(k),
            Some(0) => Slot::zero("skipped"),
            Some(_) => Slot::zero("refused"),
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        self.rule.check()
    }

    fn check_at(&self, t: u64) -> Result<(), Invalid> {
        self.rule.check_at(t)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, engine: &mut E) {
        if self.policy == NonFinite::Propagate {
            return self.rule.step(t, engine);
        }
        let (zero, one) = (E::Real::lit(0.0), E::Real::lit(1.0));
        let skipped = engine.carried_at(Self::SKIPPED);

        // 0 x is 0 of a finite number and NaN of any other, and NaN stays in a sum.
        let zeros = |x: Lane<E::Real, 0>| ([], [zero * x.grad]);
        let [sum] = engine.pass([Fold::SUM.over_group()], zeros);
        let mut go = sum.lt(one);
        if self.policy == NonFinite::Refuse {
            let found = E::Real::select(go, zero, one);
            let refused = if self.cleared == Some(t) {
                found
            } else {
                found.max(engine.carried_at(Self::REFUSED))
            };
            go = refused.lt(one);
            engine.carry_at(Self::REFUSED, refused);
        }
        engine.carry_at(Self::SKIPPED, E::Real::select(go, skipped, skipped + one));
        self.rule.step(t, &mut Gate { engine, go });
    }
}

impl<R: Tunable> Tunable for Guarded<R> {
    /// Those of the rule.
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        self.rule.settings(visit);
    }
}

/// An engine that writes only where `go` holds.
struct Gate<'a, E: Engine> {
    engine: &'a mut E,
    go: <E::Real as Real>::Mask,
}

impl<E: Engine> Overlay for Gate<'_, E> {
    type Beneath = E;

    #[inline(always)]
    fn beneath(&mut self) -> &mut E {
        self.engine
    }

    #[inline(always)]
    fn carry_over(&mut self, k: usize, x: E::Real) {
        let was = self.engine.carried_at(k);
        self.engine.carry_at(k, E::Real::select(self.go, x, was));
    }

    #[inline(always)]
    fn pass_over<const S: usize, const K: usize, W: Rewrite<E::Real, S>>(
        &mut self,
        view: View,
        folds: [Fold; K],
        f: impl Fn(Lane<E::Real, S>) -> (W, [E::Real; K]),
    ) -> [E::Real; K] {
        let go = self.go;
        let either = |new, old| E::Real::select(go, new, old);
        self.engine.pass_at(view, folds, |x| {
            let (left, folded) = f(x);
            (left.amend(&x, either, either), folded)
        })
    }
}
