//! One tensor under a rule on the host, with all of its state in reach.
#![allow(dead_code, reason = "each test program uses its own part")]

use adarem::{Element, Host, MAX_CARRIED, MAX_SLOTS, Real, Rule};

/// A tensor, its state under some rule, and the step that comes next.
#[derive(Clone, Debug, PartialEq)]
pub struct Walk<T> {
    pub theta: Vec<T>,
    pub slots: [Vec<T>; MAX_SLOTS],
    pub carried: [T; MAX_CARRIED],
    pub t: u64,
}

impl<T: Element> Walk<T> {
    /// Before the first step of `rule`.
    pub fn new<R: Rule>(rule: &R, theta: Vec<T>) -> Self {
        let slot = |k| {
            if k < R::SLOTS {
                rule.slot(k).start
            } else {
                0.0
            }
        };
        let carried = |k| {
            if k < R::CARRIED {
                rule.carried(k).start
            } else {
                0.0
            }
        };
        Walk {
            slots: std::array::from_fn(|k| vec![Real::lit(slot(k)); theta.len()]),
            carried: std::array::from_fn(|k| Real::lit(carried(k))),
            theta,
            t: 0,
        }
    }

    /// The next step.
    pub fn step<R: Rule>(&mut self, rule: &R, grad: &[T]) {
        let slots = self.slots.each_mut().map(Vec::as_mut_slice);
        let mut host = Host::new(&mut self.theta, grad, slots, &mut self.carried).unwrap();
        rule.step(self.t, &mut host);
        self.t += 1;
    }

    /// Everything a step writes, as bits, all NaNs as one.
    pub fn bits(&self) -> Vec<u64> {
        let numbers = self
            .theta
            .iter()
            .chain(self.slots.iter().flatten())
            .chain(&self.carried);
        numbers.map(|&x| bits(x)).collect()
    }
}

/// The bits of a number; all NaNs are one.
pub fn bits<T: Element>(x: T) -> u64 {
    if x.is_nan() { u64::MAX } else { x.to_le() }
}

/// The bits of numbers.
pub fn all_bits<T: Element>(xs: &[T]) -> Vec<u64> {
    xs.iter().map(|&x| bits(x)).collect()
}
