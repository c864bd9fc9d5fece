//! Weight decay, on theta itself or through the gradient.

use super::given;
use crate::error::{Invalid, non_negative, positive};
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

    /// With a `base_lr` the decay follows the schedule alone: c is lr / base_lr times the weight decay.
    #[inline(always)]
    pub(super) fn scheduled<E: Engine<Real = R>>(
        lr: f64,
        base_lr: Option<f64>,
        weight_decay: f64,
        e: &mut E,
    ) -> Self {
        Decay::new(weight_decay * base_lr.map_or(lr, |base| lr / base), e)
    }

    /// Whether theta stays as it is.
    #[inline(always)]
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Theta, decayed.
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
            Shrink::l2(weight_decay, e)
        }
    }

    /// g + weight_decay theta.
    #[inline(always)]
    pub(super) fn l2<E: Engine<Real = R>>(weight_decay: f64, e: &mut E) -> Self {
        Shrink::L2(given(weight_decay).then(|| e.uniform(weight_decay)))
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

/// The ranges of a weight decay and of the learning rate that it is measured against.
pub(super) fn check_scheduled(weight_decay: f64, base_lr: Option<f64>) -> Result<(), Invalid> {
    non_negative("weight_decay", weight_decay)?;
    base_lr.map_or(Ok(()), |base| positive("base_lr", base))
}
