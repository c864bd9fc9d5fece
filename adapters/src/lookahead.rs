//! [`Lookahead`]: slow weights that follow the fast ones.

use adarem::error::ensure;
use adarem::{Engine, Invalid, Lane, Name, Real, Rule, Setting, Slot, Tunable, Wraps};

/// A rule that every few steps falls back towards where it was a few steps before.
///
/// ```text
/// initialize: slow = theta_0
/// every k-th step of the rule, after it:
///   slow = slow + alpha (theta - slow)
///   theta = slow
/// ```
///
/// Source: Zhang, Lucas, Hinton and Ba, "Lookahead Optimizer: k Steps Forward, 1 Step Back" (2019). The state of the rule
/// is kept as it is when the weights fall back.
///
/// One state vector, [`SLOW`](Self::SLOW), behind the rule's own, and one carried scalar. Twelve bytes a parameter more
/// in every `every`-th step, in `f32`, and eight in each of the first `every`; nothing in the others.
///
/// ```
/// use adarem::{Host, Rule, Sgd};
/// use adarem_adapters::Lookahead;
///
/// type Slow = Lookahead<Sgd>;
/// let rule = Slow { rule: Sgd { lr: 1.0, ..Sgd::default() }, every: 2, alpha: 0.5 };
/// let (mut theta, mut slow, mut carried) = ([8.0f32], [0.0], [0.0; Slow::CARRIED]);
/// let path = [0, 1, 2, 3].map(|t| {
///     rule.step(t, &mut Host::new(&mut theta, &[1.0], [&mut slow], &mut carried).unwrap());
///     theta[0]
/// });
/// assert_eq!(path, [7.0, 7.0, 6.0, 6.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lookahead<R> {
    /// The rule.
    pub rule: R,
    /// Steps between fallings back, k; at least 1. 5 in the authors' program.
    pub every: u64,
    /// How far the slow weights follow, in (0, 1]; 1 never falls back. 0.8 in the authors' program, 0.5 in the paper.
    pub alpha: f64,
}

impl<R: Rule> Lookahead<R> {
    /// Which state vector holds the slow weights.
    pub const SLOW: usize = R::SLOTS;
    const BEGUN: usize = R::CARRIED;

    /// As the authors' program: every 5 steps, alpha 0.8.
    pub fn new(rule: R) -> Self {
        Lookahead {
            rule,
            every: 5,
            alpha: 0.8,
        }
    }
}

impl<R: Rule + Default> Default for Lookahead<R> {
    fn default() -> Self {
        Lookahead::new(R::default())
    }
}

impl<R: Rule> Wraps for Lookahead<R> {
    const WRAPPER: &'static str = "lookahead";
    type Inner = R;
}

impl<R: Rule> Rule for Lookahead<R> {
    const NAME: &'static str = Name::<Self>::OF;
    const SLOTS: usize = R::SLOTS + 1;
    const CARRIED: usize = R::CARRIED + 1;

    fn slot(&self, k: usize) -> Slot {
        if k == Self::SLOW {
            Slot::zero("slow")
        } else {
            self.rule.slot(k)
        }
    }

    fn carried(&self, k: usize) -> Slot {
        if k == Self::BEGUN {
            Slot::zero("lookahead_begun")
        } else {
            self.rule.carried(k)
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        self.check_at(0)
    }

    fn check_at(&self, t: u64) -> Result<(), Invalid> {
        ensure(self.every > 0, "every", "be at least 1", self.every as f64)?;
        let follows = self.alpha > 0.0 && self.alpha <= 1.0;
        ensure(follows, "alpha", "lie in (0, 1]", self.alpha)?;
        self.rule.check_at(t)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        const {
            assert!(
                R::SLOTS < E::SLOTS && R::CARRIED < E::CARRIED,
                "the engine holds too little state"
            )
        };
        // Whether the slow weights stand is asked of the state, not of t: a first step may have been skipped.
        let begun = E::Real::lit(0.0).lt(e.carried_at(Self::BEGUN));
        if t < self.every {
            e.pass_at(Self::SLOW, [], |x| {
                let [slow] = x.slot;
                ([E::Real::select(begun, slow, x.theta)], [])
            });
        }
        self.rule.step(t, e);
        if t.wrapping_add(1).is_multiple_of(self.every) {
            let alpha = e.uniform(self.alpha);
            e.pass_at(Self::SLOW, [], |x| {
                let [slow] = x.slot;
                let next = slow + alpha * (x.theta - slow);
                let slow = if t < self.every {
                    next
                } else {
                    E::Real::select(begun, next, x.theta)
                };
                (
                    Lane {
                        theta: slow,
                        slot: [slow],
                        ..x
                    },
                    [],
                )
            });
        }
        let one = e.uniform(1.0);
        e.carry_at(Self::BEGUN, one);
    }
}

impl<R: Tunable> Tunable for Lookahead<R> {
    /// Those of the rule, and `slow_alpha`.
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        self.rule.settings(visit);
        visit("slow_alpha", Setting::Number(&mut self.alpha));
    }
}
