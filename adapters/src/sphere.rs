//! [`Sphere`] and [`Tangent`]: any rule on a sphere, for weights whose scale does not matter to the loss.

use adarem::error::positive;
use adarem::projection::onto_sphere;
use adarem::{
    Engine, Fold, Invalid, Lane, Name, Overlay, Real, Rewrite, Rule, Scope, Setting, Slot, Tunable,
    View, Wraps,
};

use crate::gradient::Gradient;

/// In which units a rule on a sphere works.
///
/// Plain training off the sphere goes through `alpha theta`, where the loss has the gradient `g / alpha`. Radius
/// tracking (SLR) keeps alpha, and the walk on the sphere can then be that of plain training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Units {
    /// No tracking: the rule steps from theta with its own rate, and the sphere only takes the length away.
    Fixed,
    /// Tracking, with the gradients of the sphere: the rule is shown `alpha^2 theta` and `g`, so its rate acts as
    /// `lr / alpha^2` and its decay as in plain training. [`AdaRemS`](adarem::AdaRemS) is AdaRem so wrapped: its
    /// moments do not change their unit as alpha does.
    #[default]
    Sphere,
    /// Tracking, with the gradients of plain training: the rule is shown `alpha theta` and `g / alpha`, and does
    /// exactly what it would do off the sphere, moments, eps and decay in any dialect included.
    Plain,
}

/// Any rule on a sphere: after each of its steps theta is scaled back to its radius.
///
/// ```text
/// initialize: R = |theta_0| unless given, alpha = |theta_0| / R
/// step:
///   half  = the rule's step from alpha theta with g / alpha, in the chosen units
///   alpha = |half| / R
///   theta = half R / |half|
/// ```
///
/// For a rule without moments both tracking units walk alike: with SGD, through exactly the directions of SGD with weight
/// decay off the sphere. The walk does not depend on R. Where R is given, theta_0 and its gradient are those of plain training; the
/// first step leads onto the sphere.
///
/// Two carried scalars behind the rule's own, [`ALPHA`](Self::ALPHA) and [`RADIUS`](Self::RADIUS). Two more
/// passes, 12 bytes a parameter in `f32`.
///
/// *NaN, infinity, zero.* A NaN reaches the whole tensor through the norm. Where the norm is 0 or
/// infinite there is nothing to scale by, and theta stays as the rule left it. At a rate of 0 theta and alpha
/// are scaled and scaled back: they stay but for rounding.
///
/// ```
/// use adarem::{Host, Rule, Sgd};
/// use adarem_adapters::Sphere;
///
/// type OnSphere = Sphere<Sgd>;
/// let rule = OnSphere::new(Sgd { lr: 1.0, ..Sgd::default() });
/// let (mut theta, mut carried) = ([3.0f64, 0.0], [1.0, 0.0]);
/// rule.step(0, &mut Host::new(&mut theta, &[0.0, -4.0], [], &mut carried)?);
/// assert!((theta[0] - 1.8).abs() < 1e-15 && (theta[1] - 2.4).abs() < 1e-15);
/// assert_eq!(carried[OnSphere::RADIUS], 3.0);
/// assert_eq!(carried[OnSphere::ALPHA], 5.0 / 3.0);
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sphere<R> {
    /// The rule.
    pub rule: R,
    /// The radius, positive; `None` keeps the norm that theta has before the first step.
    pub radius: Option<f64>,
    /// In which units the rule works.
    pub units: Units,
    /// What lies on one sphere: each tensor on its own, or the group as one vector.
    pub scope: Scope,
}

impl<R: Rule> Sphere<R> {
    /// Which carried scalar is alpha: the norm of plain training in units of the radius. It starts at 1.
    pub const ALPHA: usize = R::CARRIED;
    /// Which carried scalar is the radius.
    pub const RADIUS: usize = R::CARRIED + 1;

    /// A sphere for each tensor, with tracking and AdaRem-S's units.
    pub fn new(rule: R) -> Self {
        Sphere {
            rule,
            radius: None,
            units: Units::Sphere,
            scope: Scope::Tensor,
        }
    }
}

impl<R: Rule + Default> Default for Sphere<R> {
    fn default() -> Self {
        Sphere::new(R::default())
    }
}

impl<R: Rule> Wraps for Sphere<R> {
    const WRAPPER: &'static str = "sphere";
    type Inner = R;
}

impl<R: Rule> Rule for Sphere<R> {
    const NAME: &'static str = Name::<Self>::OF;
    const SLOTS: usize = R::SLOTS;
    const CARRIED: usize = R::CARRIED + 2;

    fn slot(&self, k: usize) -> Slot {
        self.rule.slot(k)
    }

    fn carried(&self, k: usize) -> Slot {
        if k == Self::ALPHA {
            Slot {
                name: "sphere_alpha",
                start: 1.0,
            }
        } else if k == Self::RADIUS {
            Slot::zero("sphere_radius")
        } else {
            self.rule.carried(k)
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        self.check_at(0)
    }

    fn check_at(&self, t: u64) -> Result<(), Invalid> {
        self.radius
            .map_or(Ok(()), |radius| positive("radius", radius))?;
        self.rule.check_at(t)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        const {
            assert!(
                R::CARRIED + 1 < E::CARRIED,
                "the engine carries too few scalars"
            )
        };
        let (zero, one) = (E::Real::lit(0.0), E::Real::lit(1.0));
        let sum = [Fold::SUM.over(self.scope)];
        let squares = |x: Lane<E::Real, 0>| ([], [x.theta * x.theta]);

        // Before the first step theta is that of plain training, alpha times the one on the sphere.
        let start = (t == 0).then(|| {
            let [square] = e.pass(sum, squares);
            square.sqrt()
        });
        let given = self.radius.map(|radius| e.uniform(radius));
        let alpha = match (start, given) {
            (Some(norm), Some(radius)) => one / onto_sphere(radius, norm),
            _ => e.carried_at(Self::ALPHA),
        };
        let (theta, grad) = match (self.units, start) {
            (Units::Fixed, _) | (Units::Plain, Some(_)) => (None, None),
            (Units::Sphere, Some(_)) => (Some(alpha), Some(alpha)),
            (Units::Sphere, None) => (Some(alpha * alpha), None),
            (Units::Plain, None) => (Some(alpha), Some(one / alpha)),
        };
        self.rule.step(
            t,
            &mut Stretched {
                engine: e,
                theta,
                grad,
            },
        );

        let [square] = e.pass(sum, squares);
        let norm = square.sqrt();
        let radius = given
            .or(start)
            .unwrap_or_else(|| e.carried_at(Self::RADIUS));
        // 0 where step 0 found zeros, or was skipped by a wrapper: then this is the first norm there is.
        let radius = E::Real::select(zero.lt(radius), radius, norm);
        let scale = onto_sphere(radius, norm);
        e.map(|x: Lane<_, 0>| x.moved(x.theta * scale));

        let stretched = one / scale;
        match self.units {
            Units::Fixed => {}
            Units::Sphere => e.carry_at(Self::ALPHA, stretched / alpha),
            Units::Plain => e.carry_at(Self::ALPHA, stretched),
        }
        e.carry_at(Self::RADIUS, radius);
    }
}

impl<R: Tunable> Tunable for Sphere<R> {
    /// Those of the rule, `sphere_radius` and `sphere_scope`.
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        self.rule.settings(visit);
        visit("sphere_radius", Setting::Optional(&mut self.radius));
        visit("sphere_scope", Setting::Scope(&mut self.scope));
    }
}

/// An engine that shows theta and the gradient in other units. Theta is brought into them by the first pass, and
/// left in them.
struct Stretched<'a, E: Engine> {
    engine: &'a mut E,
    theta: Option<E::Real>,
    grad: Option<E::Real>,
}

impl<E: Engine> Overlay for Stretched<'_, E> {
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
        let grad = self.grad;
        let times = |factor: Option<E::Real>, x: E::Real| factor.map_or(x, |factor| factor * x);
        let shown = |theta, x: Lane<E::Real, S>| Lane {
            theta: times(theta, x.theta),
            grad: times(grad, x.grad),
            ..x
        };
        match self.theta.take() {
            None => self.engine.pass_at(view, folds, |x| f(shown(None, x))),
            // Written back though `f` may not rewrite it.
            theta => self.engine.pass_at(view, folds, |x| {
                let x = shown(theta, x);
                let (left, folded) = f(x);
                (left.onto(x), folded)
            }),
        }
    }
}

/// A rule that sees only the part of the gradient that is perpendicular to theta: `g - theta <g, theta> / |theta|^2`.
///
/// A loss that does not depend on the scale of theta has no other part, but for rounding and noise; weight decay
/// joined to the gradient by the caller is one. For a rule on the sphere: `Sphere<Tangent<R>>`. One more pass,
/// 8 bytes a parameter in `f32`. A theta of zeros has no tangent; its gradient stays. A rule that
/// rewrites theta before it has read the gradient for the last time is not for this wrapper.
///
/// ```
/// use adarem::{Host, Rule, Scope, Sgd};
/// use adarem_adapters::Tangent;
///
/// let rule = Tangent { rule: Sgd { lr: 1.0, ..Sgd::default() }, scope: Scope::Tensor };
/// let mut theta = [2.0f32, 0.0];
/// rule.step(0, &mut Host::new(&mut theta, &[5.0, -1.0], [], &mut [])?);
/// assert_eq!(theta, [2.0, 1.0]);
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tangent<R> {
    /// The rule.
    pub rule: R,
    /// What is one vector: each tensor, or the group.
    pub scope: Scope,
}

impl<R: Rule> Wraps for Tangent<R> {
    const WRAPPER: &'static str = "tangent";
    type Inner = R;
}

impl<R: Rule> Rule for Tangent<R> {
    const NAME: &'static str = Name::<Self>::OF;
    const SLOTS: usize = R::SLOTS;
    const CARRIED: usize = R::CARRIED;

    fn slot(&self, k: usize) -> Slot {
        self.rule.slot(k)
    }

    fn carried(&self, k: usize) -> Slot {
        self.rule.carried(k)
    }

    fn check(&self) -> Result<(), Invalid> {
        self.rule.check()
    }

    fn check_at(&self, t: u64) -> Result<(), Invalid> {
        self.rule.check_at(t)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, engine: &mut E) {
        let sum = Fold::SUM.over(self.scope);
        let [dot, square] = engine.pass([sum, sum], |x: Lane<_, 0>| {
            ([], [x.grad * x.theta, x.theta * x.theta])
        });
        let zero = E::Real::lit(0.0);
        let share = E::Real::select(zero.lt(square), dot / square, zero);
        self.rule.step(
            t,
            &mut Gradient {
                engine,
                of: move |theta, g| g - share * theta,
            },
        );
    }
}

impl<R: Tunable> Tunable for Tangent<R> {
    /// Those of the rule, and `tangent_scope`.
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        self.rule.settings(visit);
        visit("tangent_scope", Setting::Scope(&mut self.scope));
    }
}
