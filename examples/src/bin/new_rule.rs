//! A rule of one's own: written once, then run on slices, written down as a plan, and stepped by a
//! backend, each to the same bits.
//!
//! The rule is Signum (Bernstein et al. 2018): every coordinate moves by `lr` against the sign of its
//! gradient's average.
//!
//! `cargo run --release --bin new_rule`

use adarem::error::{Invalid, fraction, non_negative};
use adarem::trace::trace;
use adarem::{Engine, Host, Lane, Optimizer, Real, Rule, Slot};
use adarem_cpu::Cpu;

/// Signum.
///
/// ```text
/// input: lr, beta; theta_0
/// initialize: m = 0
/// for t = 0, 1, ..
///   g = gradient at theta
///   m = beta m + (1 - beta) g
///   theta = theta - lr sign(m)
/// ```
#[derive(Clone, Debug)]
struct Signum {
    lr: f64,
    beta: f64,
}

impl Rule for Signum {
    const NAME: &'static str = "signum";
    const SLOTS: usize = 1;
    const CARRIED: usize = 0;

    fn slot(&self, _: usize) -> Slot {
        Slot::zero("m")
    }

    fn check(&self) -> Result<(), Invalid> {
        non_negative("lr", self.lr)?;
        fraction("beta", self.beta)
    }

    // What is computed once, in f64, before the pass: the uniforms. What is done to one coordinate: the
    // closure. There is no branch in it, for a device takes all coordinates through the same operations;
    // a choice is a `select`, and a sign is a bit operation that knows no zero.
    #[inline(always)]
    fn step<E: Engine>(&self, _: u64, engine: &mut E) {
        let lr = engine.uniform(self.lr);
        let beta = engine.uniform(self.beta);
        let share = engine.uniform(1.0 - self.beta);
        engine.map(|x| {
            let [m] = x.slot;
            let m = beta * m + share * x.grad;
            Lane {
                theta: x.theta - lr.xor_sign(m),
                slot: [m],
                ..x
            }
        });
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rule = Signum {
        lr: 0.01,
        beta: 0.9,
    };
    rule.check()?;
    let start = [0.9_f32, -0.5, 0.25, 0.0];
    let grad_at = |theta: &[f32; 4]| theta.map(|x| 2.0 * (x - 0.3));

    // On slices, as it stands.
    let (mut theta, mut m) = (start, [0.0; 4]);
    for t in 0..100 {
        let grad = grad_at(&theta);
        rule.step(t, &mut Host::new(&mut theta, &grad, [&mut m], &mut [])?);
    }
    println!("On the host, after 100 steps towards 0.3: {theta:?}\n");

    // As a plan: what a device is given to run.
    println!("The plan that a device runs:\n{}\n", trace(&rule, 0)?.plan);

    // By a backend: the same bits.
    let mut cpu = Cpu::new();
    let mut optimizer = Optimizer::new(rule, &mut cpu, &[4])?;
    let mut stepped = start;
    for _ in 0..100 {
        let grad = grad_at(&stepped);
        optimizer.step(&mut cpu, &mut [&mut stepped], &[&grad])?;
    }
    assert_eq!(stepped.map(f32::to_bits), theta.map(f32::to_bits));
    println!("The cpu backend ends on the same bits.");
    Ok(())
}
