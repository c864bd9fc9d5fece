//! AdaRem with a byte of state a parameter.

use super::AdaRem;
use super::decay::Decay;
use super::moments::Average;
use super::resilience::{Resilience, inverse};
use super::rest::rests;
use crate::error::{ErrorKind, Invalid, Mismatch, ensure};
use crate::fold::{Fold, Scope};
use crate::host::Host;
use crate::rule::{Engine, Lane, Rule};

/// The largest `q`.
const FULL: f32 = 127.0;

/// [`AdaRem`] for one tensor of `f32`, with m kept in a signed byte a parameter instead of a float: for
/// microcontrollers.
///
/// ```text
/// initialize: q = 0, unit = 0                       (m is q unit)
/// for t = 0, 1, ..
///   g = gradient at theta
///   b = sign(g) q / 127
///   theta = (theta - lr weight_decay theta) - lr (1 + lambda b) g
///   m = beta q unit + (1 - beta) g
///   unit = max |m| / 127
///   q = m / unit, rounded to the nearest integer, a half to the even one
/// ```
///
/// The coefficient needs m only in units of its maximum, and that is what a byte holds: `b` is q / 127, in
/// [-1, 1], without any reciprocal of a maximum.
///
/// *Error.* Rounding moves m by at most half a unit a step, and the average forgets it at its own pace. So
/// m differs from the m of [`AdaRem`] under the same gradients by at most U / (2 (1 - beta)), where U is the
/// largest unit so far: for beta = 0.9 by 5 units, 4 % of the largest max |m|. (Beside the rounding of the
/// floats themselves.) A component of m below half a unit is 0, and lanes whose gradient is far below the
/// tensor's largest step as SGD.
///
/// Two trips over memory, 18 bytes a parameter. *NaN, infinity, zero.* A NaN gradient makes its own lane NaN, and
/// its q 0. An infinite one makes its lane infinite and empties the state: q = 0 everywhere. An empty tensor
/// is fine.
///
/// ```
/// use adarem::{AdaRem, AdaRem8};
///
/// let (mut theta, mut m) = ([3.0f32, -4.0], [0i8; 2]);
/// let mut optimizer = AdaRem8::new(AdaRem::default(), &mut m)?;
/// for _ in 0..100 {
///     let grad = theta.map(|x| 2.0 * x);
///     optimizer.step(&mut theta, &grad)?;
/// }
/// assert!(theta.iter().all(|x| x.abs() < 1e-3));
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
#[derive(Debug)]
pub struct AdaRem8<'m> {
    rule: AdaRem,
    q: &'m mut [i8],
    unit: f32,
}

impl<'m> AdaRem8<'m> {
    /// Begins at step 0, with state in `q`, which is set to zero.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a hyper-parameter out of its range, for an eps other than 0, and for the
    /// scope of a group.
    pub fn new(rule: AdaRem, q: &'m mut [i8]) -> Result<Self, ErrorKind> {
        check(&rule)?;
        q.fill(0);
        Ok(AdaRem8 { rule, q, unit: 0.0 })
    }

    /// Goes on from a state kept elsewhere: `q` as it is, and its [`unit`](Self::unit).
    ///
    /// # Errors
    /// As [`new`](Self::new); and [`ErrorKind::Config`] for a unit that is negative or not finite.
    pub fn resume(rule: AdaRem, q: &'m mut [i8], unit: f32) -> Result<Self, ErrorKind> {
        check(&rule)?;
        crate::error::non_negative("unit", f64::from(unit))?;
        Ok(AdaRem8 { rule, q, unit })
    }

    /// What a `q` of 1 stands for: m is `q * unit`.
    pub fn unit(&self) -> f32 {
        self.unit
    }

    /// The state: m in units.
    pub fn state(&self) -> &[i8] {
        self.q
    }

    /// The rule, to change hyper-parameters between steps; they are checked by the next.
    pub fn rule_mut(&mut self) -> &mut AdaRem {
        &mut self.rule
    }

    /// One step: rewrites `theta` by `grad`; both are as long as the state.
    ///
    /// # Errors
    /// [`ErrorKind::Length`], [`ErrorKind::Config`]: refused, nothing was changed.
    #[inline(always)]
    pub fn step(&mut self, theta: &mut [f32], grad: &[f32]) -> Result<(), ErrorKind> {
        check(&self.rule)?;
        if theta.len() != self.q.len() {
            return Err(Mismatch {
                what: "theta",
                tensor: 0,
                expected: self.q.len(),
                got: theta.len(),
            }
            .into());
        }
        let (params, carried) = (&mut [], &mut []);
        let mut host: Host<'_, f32, 1, 0, i8> =
            Host::mixed(theta, params, grad, [&mut *self.q], carried)?;
        let average = Average::new(self.rule.beta, &mut host);
        let resilience = Resilience::new(self.rule.lambda, 0.0, 1.0 / FULL, &mut host);
        let decay = Decay::new(self.rule.lr * self.rule.weight_decay, &mut host);
        let lr = host.uniform(self.rule.lr);
        let unit = self.unit;
        let m = |[q]: [f32; 1], g| average.next(q * unit, g);

        let [largest] = host.pass([Fold::MAX_ABS], |x| ([], [m(x.slot, x.grad)]));
        let scale = FULL * inverse(largest);
        if rests(self.rule.lr) {
            host.map(|x| [m(x.slot, x.grad) * scale]);
        } else {
            host.map(|x| {
                let [q] = x.slot;
                Lane {
                    theta: decay.keep(x.theta) - lr * (resilience.factor(q, x.grad) * x.grad),
                    slot: [m(x.slot, x.grad) * scale],
                    ..x
                }
            });
        }
        self.unit = if scale > 0.0 { largest / FULL } else { 0.0 };
        Ok(())
    }
}

fn check(rule: &AdaRem) -> Result<(), Invalid> {
    rule.check()?;
    ensure(
        rule.eps == 0.0,
        "eps",
        "be 0 with 8 bits of state",
        rule.eps,
    )?;
    let alone = rule.scope == Scope::Tensor;
    ensure(alone, "scope", "be the tensor with 8 bits of state", 1.0)
}

#[cfg(test)]
mod tests {
    use super::AdaRem8;
    use crate::{AdaRem, ErrorKind, Host, Rule};

    const N: usize = 50;

    /// A gradient that changes its scale over eight orders of magnitude and its signs at random.
    fn gradient(t: u32, state: &mut u32) -> [f32; N] {
        let scale = libm::powf(10.0, libm::sinf(t as f32 * 0.02) * 4.0);
        core::array::from_fn(|i| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((*state >> 8) as f32 / 8_388_608.0 - 1.0) * scale * (i as f32 + 1.0) / N as f32
        })
    }

    #[test]
    fn m_stays_within_its_bound() {
        for beta in [0.0, 0.5, 0.9, 0.99] {
            let rule = AdaRem {
                beta,
                ..AdaRem::default()
            };
            let mut q = [0; N];
            let mut bytes = AdaRem8::new(rule, &mut q).unwrap();
            let (mut theta, mut m, mut carried) = ([0.0f32; N], [0.0f32; N], [0.0]);
            let (mut largest_unit, mut state, mut worst) = (0.0f32, 7, 0.0f32);
            for t in 0..2000 {
                let grad = gradient(t, &mut state);
                bytes.step(&mut [0.0; N], &grad).unwrap();
                rule.step(
                    t.into(),
                    &mut Host::new(&mut theta, &grad, [&mut m], &mut carried).unwrap(),
                );
                largest_unit = largest_unit.max(bytes.unit());
                let bound = largest_unit / (2.0 * (1.0 - beta as f32));
                for (&q, m) in bytes.state().iter().zip(m) {
                    let error = (f32::from(q) * bytes.unit() - m).abs();
                    assert!(
                        error <= bound * 1.001,
                        "beta {beta}, t {t}: {error} > {bound}"
                    );
                    worst = worst.max(error / bound);
                }
            }
            // The bound is no wild overestimate, unless so many roundings are averaged that they cancel.
            assert!(worst > 0.25 || beta > 0.9, "beta {beta}: {worst}");
        }
    }

    /// One line of the box after the other, in `f64`, from the state before each step.
    #[test]
    fn a_step_is_that_of_its_box() {
        let rule = AdaRem {
            lr: 0.5,
            lambda: 0.75,
            beta: 0.25,
            weight_decay: 0.125,
            ..AdaRem::default()
        };
        let mut before = [1; N];
        let mut optimizer = AdaRem8::new(rule, &mut before).unwrap();
        assert_eq!(optimizer.state(), [0; N]);
        let (mut theta, mut state) = ([3.0f32; N], 9);
        for t in 0..40u8 {
            // Changed between steps.
            let lr = 0.5 / f64::from(1 + t % 3);
            optimizer.rule_mut().lr = lr;
            let grad = gradient(t.into(), &mut state);
            let (was, unit) = (theta, f64::from(optimizer.unit()));
            let q: std::vec::Vec<f64> = optimizer.state().iter().map(|&q| q.into()).collect();
            optimizer.step(&mut theta, &grad).unwrap();
            let mut largest = 0.0f64;
            let m: std::vec::Vec<f64> = (q.iter().zip(&grad))
                .map(|(q, &g)| 0.25 * q * unit + 0.75 * f64::from(g))
                .inspect(|m| largest = largest.max(m.abs()))
                .collect();
            let next = f64::from(optimizer.unit());
            assert!((next * 127.0 / largest - 1.0).abs() < 1e-6);
            for i in 0..N {
                let (x, g) = (f64::from(was[i]), f64::from(grad[i]));
                let factor = 1.0 + 0.75 * g.signum() * q[i] / 127.0;
                let want = x - lr * 0.125 * x - lr * factor * g;
                let scale = x.abs() + lr * 2.0 * g.abs();
                assert!((f64::from(theta[i]) - want).abs() <= 1e-6 * scale);
                let rounding = f64::from(optimizer.state()[i]) - m[i] / next;
                assert!(rounding.abs() <= 0.5001, "{} for {}", m[i] / next, q[i]);
            }
        }
    }

    #[test]
    fn the_first_step_is_plain_sgd_and_the_sign_never_turns() {
        let mut q = [0; N];
        let mut optimizer = AdaRem8::new(
            AdaRem {
                lr: 1.0,
                ..AdaRem::default()
            },
            &mut q,
        )
        .unwrap();
        let mut state = 3;
        let grad = gradient(0, &mut state);
        let mut theta = [0.0; N];
        optimizer.step(&mut theta, &grad).unwrap();
        assert!(theta.iter().zip(grad).all(|(x, g)| *x == -g));
        for t in 1..300 {
            let (mut theta, grad) = ([0.0f32; N], gradient(t, &mut state));
            optimizer.step(&mut theta, &grad).unwrap();
            assert!(
                theta
                    .iter()
                    .zip(grad)
                    .all(|(x, g)| -x * g >= 0.0 && x.abs() <= 2.0 * g.abs())
            );
        }
    }

    #[test]
    fn a_nan_stays_in_its_lane_and_infinity_empties_the_state() {
        let mut q = [0; 3];
        let mut optimizer = AdaRem8::new(AdaRem::default(), &mut q).unwrap();
        let mut theta = [0.0; 3];
        optimizer.step(&mut theta, &[1.0, f32::NAN, -0.5]).unwrap();
        assert!(theta[1].is_nan() && theta[0] == -0.1 && theta[2] == 0.05);
        assert_eq!(optimizer.state(), [127, 0, -64]);
        optimizer
            .step(&mut theta, &[f32::INFINITY, 1.0, 1.0])
            .unwrap();
        assert_eq!((optimizer.state(), optimizer.unit()), (&[0; 3][..], 0.0));
        assert!(theta[2].is_finite());
    }

    #[test]
    fn a_rate_of_0_moves_the_state_alone() {
        let (mut resting, mut moving) = ([0; N], [0; N]);
        let mut optimizers = [(0.0, &mut resting), (0.1, &mut moving)].map(|(lr, q)| {
            let rule = AdaRem {
                lr,
                ..AdaRem::default()
            };
            AdaRem8::new(rule, q).unwrap()
        });
        let (mut theta, mut state) = ([-0.0f32; N], 5);
        for t in 0..20 {
            let mut grad = gradient(t, &mut state);
            // A step of twice that would overflow.
            grad[0] = f32::MAX;
            optimizers[0].step(&mut theta, &grad).unwrap();
            optimizers[1].step(&mut [0.0; N], &grad).unwrap();
            assert!(theta.iter().all(|x| x.to_bits() == (-0.0f32).to_bits()));
            let [resting, moving] = optimizers.each_ref().map(|o| (o.state(), o.unit()));
            assert_eq!(resting, moving);
        }
    }

    #[test]
    fn what_it_cannot_do_is_refused() {
        let refused = |rule| matches!(AdaRem8::new(rule, &mut []), Err(ErrorKind::Config(_)));
        assert!(refused(AdaRem {
            eps: 1e-8,
            ..AdaRem::default()
        }));
        assert!(refused(AdaRem {
            scope: crate::Scope::Group,
            ..AdaRem::default()
        }));
        assert!(AdaRem8::resume(AdaRem::default(), &mut [], f32::NAN).is_err());
        let mut q = [0; 2];
        let mut optimizer = AdaRem8::new(AdaRem::default(), &mut q).unwrap();
        assert!(optimizer.step(&mut [0.0; 3], &[0.0; 3]).is_err());
        assert!(optimizer.step(&mut [0.0; 2], &[0.0; 3]).is_err());
    }

    #[test]
    fn a_resumed_run_ends_on_the_same_bits() {
        let (mut once, mut twice) = ([0; N], [0; N]);
        let mut a = AdaRem8::new(AdaRem::default(), &mut once).unwrap();
        let (mut theta, mut same, mut state) = ([0.5; N], [0.5; N], 11);
        let grads: [[f32; N]; 8] = core::array::from_fn(|t| gradient(t as u32 * 20, &mut state));
        for grad in &grads {
            a.step(&mut theta, grad).unwrap();
        }
        let mut unit = 0.0;
        for grad in &grads {
            let mut b = AdaRem8::resume(AdaRem::default(), &mut twice, unit).unwrap();
            b.step(&mut same, grad).unwrap();
            unit = b.unit();
        }
        assert!(
            theta
                .iter()
                .zip(same)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
    }
}
