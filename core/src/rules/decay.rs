//! Weight decay, on theta itself or through the gradient.

use super::given;
use crate::real::Real;
use crate::rule::Engine;

/// theta - c theta, or theta untouched where c is 0.
pub(super) struct Decay<R>(Option<R>);

impl<R: Real> Decay<R> {
    /// `share` is c: usually the learning rate times the weight decay.
    #[inline(always)]
    pub(super) fn new<E: Engine<Real = R>>(share: f64, e: &mut E) -> Self {
        Decay(given(share).then(|| e.uniform(share)))
    }

    #[inline(always)]
    pub(super) fn keep(&self, theta: R) -> R {
        match self.0 {
            Some(share) => theta - share * theta,
            None => theta,
        }
    }
}

/// Weight decay in its two forms: joined to the gradient (L2), or on theta (decoupled).
pub(super) enum Shrink<R> {
    L2(Option<R>),
    Decoupled(Decay<R>),
}

impl<R: Real> Shrink<R> {
    #[inline(always)]
    pub(super) fn new<E: Engine<Real = R>>(
        lr: f64,
        weight_decay: f64,
        decoupled: bool,
        e: &mut E,
    ) -> Self {
        if decoupled {
            Shrink::Decoupled(Decay::new(lr * weight_decay, e))
        } else {
            Shrink::L2(given(weight_decay).then(|| e.uniform(weight_decay)))
        }
    }

    /// Theta and the gradient, decayed.
    #[inline(always)]
    pub(super) fn apply(&self, theta: R, g: R) -> (R, R) {
        match self {
            Shrink::L2(None) => (theta, g),
            Shrink::L2(Some(decay)) => (theta, g + *decay * theta),
            Shrink::Decoupled(decay) => (decay.keep(theta), g),
        }
    }
}
