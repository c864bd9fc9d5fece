//! [`Anneal`]: the way from one value to another.

use core::f64::consts::PI;

/// The shape of a way from one value to another.
///
/// ```
/// use adarem_adapters::schedule::Anneal;
///
/// assert_eq!(Anneal::Linear.between(1.0, 0.0, 0.25), 0.75);
/// assert_eq!(Anneal::Cosine.between(1.0, 0.0, 0.5), 0.5);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anneal {
    /// A straight line.
    Linear,
    /// Half a cosine: flat at both ends.
    #[default]
    Cosine,
}

impl Anneal {
    /// The value after the part `done` of the way, in [0, 1]; exactly `from` at 0 and `to` from 1 on.
    pub fn between(self, from: f64, to: f64, done: f64) -> f64 {
        if done >= 1.0 {
            return to;
        }
        let part = match self {
            Anneal::Linear => done,
            Anneal::Cosine => 0.5 * (1.0 - libm::cos(PI * done)),
        };
        from + (to - from) * part
    }
}
