//! One tensor and the state of any rule, stepped by [`Host`]: for tests that have no need of a backend.

use adarem::{Element, Host, MAX_CARRIED, MAX_SLOTS, Real, Rule};

/// A tensor with as much state as any rule needs; what a rule does not use stays zero.
///
/// ```
/// use adarem::Sgd;
/// use adarem_conformance::Alone;
///
/// let rule = Sgd { lr: 0.5, ..Sgd::default() };
/// let mut tensor = Alone::new(&rule, vec![1.0f32, 2.0]);
/// tensor.step(&rule, 0, &[2.0, 2.0]);
/// assert_eq!(tensor.theta, [0.0, 1.0]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Alone<T> {
    /// The parameters.
    pub theta: Vec<T>,
    /// The state vectors, each as long as theta.
    pub slots: [Vec<T>; MAX_SLOTS],
    /// The carried scalars.
    pub carried: [T; MAX_CARRIED],
}

impl<T: Element> Alone<T> {
    /// These parameters, before the first step of `rule`.
    pub fn new<R: Rule>(rule: &R, theta: Vec<T>) -> Self {
        let used = |k, count, start: &dyn Fn() -> f64| {
            let start = if k < count { start() } else { 0.0 };
            <T as Real>::lit(start)
        };
        Alone {
            slots: std::array::from_fn(|k| {
                vec![used(k, R::SLOTS, &|| rule.slot(k).start); theta.len()]
            }),
            carried: std::array::from_fn(|k| used(k, R::CARRIED, &|| rule.carried(k).start)),
            theta,
        }
    }

    /// Step `t`, whatever the hyper-parameters are.
    ///
    /// # Panics
    /// Unless `grad` is as long as theta.
    pub fn step<R: Rule>(&mut self, rule: &R, t: u64, grad: &[T]) {
        let slots = self.slots.each_mut().map(Vec::as_mut_slice);
        let mut host = Host::new(&mut self.theta, grad, slots, &mut self.carried)
            .expect("a gradient is as long as theta");
        rule.step(t, &mut host);
    }
}
