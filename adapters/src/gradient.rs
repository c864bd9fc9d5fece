//! [`Gradient`]: an engine that shows a rule another gradient.

use adarem::{Engine, Fold, Lane, Rewrite, View};

/// An engine whose lanes have the gradient that `of` makes of their theta and gradient.
pub(crate) struct Gradient<'a, E, F> {
    pub(crate) engine: &'a mut E,
    pub(crate) of: F,
}

impl<E: Engine, F: Fn(E::Real, E::Real) -> E::Real> Engine for Gradient<'_, E, F> {
    type Real = E::Real;
    const SLOTS: usize = E::SLOTS;
    const CARRIED: usize = E::CARRIED;

    #[inline(always)]
    fn uniform(&mut self, x: f64) -> E::Real {
        self.engine.uniform(x)
    }

    #[inline(always)]
    fn carried_at(&mut self, k: usize) -> E::Real {
        self.engine.carried_at(k)
    }

    #[inline(always)]
    fn carry_at(&mut self, k: usize, x: E::Real) {
        self.engine.carry_at(k, x);
    }

    #[inline(always)]
    fn pass_at<const S: usize, const K: usize, W: Rewrite<E::Real, S>>(
        &mut self,
        view: impl Into<View>,
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
