//! [`Overlay`]: an engine that is another one, but for what its passes do.

use crate::fold::Fold;
use crate::rule::{Engine, Lane, Rewrite, View};

/// An engine laid over another: it says what becomes of a pass, and all else is as beneath. Whoever
/// implements it has an [`Engine`], to run a rule on: that is how one rule wraps another.
///
/// ```
/// use adarem::{Engine, Fold, Host, Lane, Overlay, Rewrite, Rule, Sgd, View};
///
/// /// Shows a rule the gradient upside down, so that it climbs.
/// struct Climbing<'a, E>(&'a mut E);
///
/// impl<E: Engine> Overlay for Climbing<'_, E> {
///     type Beneath = E;
///
///     fn beneath(&mut self) -> &mut E {
///         self.0
///     }
///
///     fn pass_over<const S: usize, const K: usize, W: Rewrite<E::Real, S>>(
///         &mut self,
///         view: View,
///         folds: [Fold; K],
///         f: impl Fn(Lane<E::Real, S>) -> (W, [E::Real; K]),
///     ) -> [E::Real; K] {
///         self.0.pass_at(view, folds, |x| f(Lane { grad: -x.grad, ..x }))
///     }
/// }
///
/// let (mut theta, rule) = ([1.0f32], Sgd { lr: 0.5, ..Sgd::default() });
/// let mut host = Host::<_, 0, 0>::new(&mut theta, &[4.0], [], &mut [])?;
/// rule.step(0, &mut Climbing(&mut host));
/// assert_eq!(theta, [3.0]);
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
pub trait Overlay {
    /// The engine beneath.
    type Beneath: Engine;

    /// The engine beneath.
    fn beneath(&mut self) -> &mut Self::Beneath;

    /// [`Engine::pass_at`], as it is seen from above.
    fn pass_over<const S: usize, const K: usize, W: Rewrite<Number<Self>, S>>(
        &mut self,
        view: View,
        folds: [Fold; K],
        f: impl Fn(Lane<Number<Self>, S>) -> (W, [Number<Self>; K]),
    ) -> [Number<Self>; K];

    /// [`Engine::carry_at`], as it is seen from above. By default what it is beneath.
    #[inline(always)]
    fn carry_over(&mut self, k: usize, x: Number<Self>) {
        self.beneath().carry_at(k, x);
    }
}

/// The numbers that an overlay and the engine beneath compute with.
type Number<O> = <<O as Overlay>::Beneath as Engine>::Real;

impl<O: Overlay> Engine for O {
    type Real = Number<O>;
    const SLOTS: usize = O::Beneath::SLOTS;
    const CARRIED: usize = O::Beneath::CARRIED;

    #[inline(always)]
    fn uniform(&mut self, x: f64) -> Number<O> {
        self.beneath().uniform(x)
    }

    #[inline(always)]
    fn carried_at(&mut self, k: usize) -> Number<O> {
        self.beneath().carried_at(k)
    }

    #[inline(always)]
    fn carry_at(&mut self, k: usize, x: Number<O>) {
        self.carry_over(k, x);
    }

    #[inline(always)]
    fn pass_at<const S: usize, const K: usize, W: Rewrite<Number<O>, S>>(
        &mut self,
        view: impl Into<View>,
        folds: [Fold; K],
        f: impl Fn(Lane<Number<O>, S>) -> (W, [Number<O>; K]),
    ) -> [Number<O>; K] {
        self.pass_over(view.into(), folds, f)
    }
}
