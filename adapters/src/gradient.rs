//! [`Gradient`]: an engine that shows a rule another gradient.

use adarem::{Engine, Fold, Lane, Overlay, Rewrite, View};

/// An engine whose lanes have the gradient that `of` makes of their theta and gradient.
pub(crate) struct Gradient<'a, E, F> {
    pub(crate) engine: &'a mut E,
    pub(crate) of: F,
}

impl<E: Engine, F: Fn(E::Real, E::Real) -> E::Real> Overlay for Gradient<'_, E, F> {
    type Beneath = E;

    #[inline(always)]
    fn beneath(&mut self) -> &mut E {
        self.engine
    }

    #[inline(always)]
    fn pass_over<const S: usize, const K: usize, W: Rewrite<E::Real, S>>(
        &mut self,
        view: View,
        folds: [Fold; K],
        f: impl Fn(Lane<E::Real, S>) -> (W, [E::Real; K]),
    ) -> [E::Real; K] {
        let of = &self.of;
        self.engine.pass_at(view, folds, |x| {
            f(Lane {
                grad: of(x.theta, x.grad),
                ..x
            })
        })
    }
}
