//! Adam and its nearest kin: AdamW decays theta itself, AMSGrad never forgets the largest second moment.

use super::decay::{Decay, Shrink, check_scheduled};
use super::moments::{Corrected, Moments, check_moments};
use super::rest::{Resting, Walk, rest_or_walk, rests};
use crate::error::{Invalid, non_negative};
use crate::real::Real;
use crate::rule::{Engine, Lane, Rule, Slot};
use crate::tunable::{Setting, Tunable};

/// Adam: steps by the average gradient over the root of the average squared gradient.
///
/// ```text
/// input: lr, beta1, beta2, eps, weight_decay; theta_0
/// initialize: m = 0, v = 0
/// for t = 1, 2, ..
///   g = gradient at theta + weight_decay theta
///   m = beta1 m + (1 - beta1) g
///   v = beta2 v + (1 - beta2) g^2
///   theta = theta - lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
///         = theta - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)       (eps_hat)
/// ```
///
/// Source: Kingma and Ba, "Adam" (2015), with the eps of `torch.optim.Adam`: beside the corrected root.
/// With `eps_hat` it is the paper's second form, TensorFlow's. burn's default eps is 1e-5.
///
/// Two state vectors; 28 bytes a parameter in `f32`; a root and a division a lane. With eps = 0 a gradient
/// that was always 0 gives 0 / 0; g^2 overflows beyond 1.8e19 in `f32`, and such a lane stands still. A NaN
/// stays in its lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Learning rate; at least 0, no upper bound. Default 1e-3.
    pub lr: f64,
    /// Decay of the first moment m, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay of the second moment v, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Least denominator, in units of gradient; at least 0. Default 1e-8.
    pub eps: f64,
    /// L2 weight decay, joined to the gradient; at least 0. Default 0.
    pub weight_decay: f64,
    /// Whether eps is added to the root before the correction instead of after. Default false.
    pub eps_hat: bool,
}

impl Default for Adam {
    fn default() -> Self {
        Adam {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            eps_hat: false,
        }
    }
}

impl Rule for Adam {
    const NAME: &'static str = "adam";
    const SLOTS: usize = 2;
    const CARRIED: usize = 0;

    fn slot(&self, k: usize) -> Slot {
        Slot::zero(NAMES[k.min(1)])
    }

    fn check(&self) -> Result<(), Invalid> {
        check_moments([self.lr, self.beta1, self.beta2, self.eps])?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        let shrink = Shrink::l2(self.weight_decay, e);
        let hyper = [self.lr, self.beta1, self.beta2, self.eps];
        step(&shrink, hyper, self.eps_hat, t, e);
    }
}

impl Tunable for Adam {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("beta1", Setting::Number(&mut self.beta1));
        visit("beta2", Setting::Number(&mut self.beta2));
        visit("eps", Setting::Number(&mut self.eps));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
        visit("eps_hat", Setting::Flag(&mut self.eps_hat));
    }
}

/// AdamW: Adam, with the weight decay on theta itself.
///
/// ```text
/// for t = 1, 2, ..
///   theta = theta - lr weight_decay theta
///         = theta - lr / base_lr weight_decay theta              (with a base_lr)
///   theta = the step of Adam with the undecayed gradient
/// ```
///
/// Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019), in the form of
/// `torch.optim.AdamW`: the decay is multiplied by lr. The paper multiplies it by the schedule alone,
/// which a `base_lr` does: give it the lr that the schedule starts from. State, cost and special values
/// as [`Adam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate; at least 0, no upper bound. Default 1e-3.
    pub lr: f64,
    /// Decay of the first moment m, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay of the second moment v, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Least denominator, in units of gradient; at least 0. Default 1e-8.
    pub eps: f64,
    /// Decoupled weight decay; at least 0. Default 1e-2, as in PyTorch.
    pub weight_decay: f64,
    /// What the decay is multiplied by: lr where this is `None` (default, as in PyTorch), else the schedule
    /// alone, lr / base_lr, as the paper has it. Positive.
    pub base_lr: Option<f64>,
    /// Whether eps is added to the root before the correction instead of after. Default false.
    pub eps_hat: bool,
}

impl Default for AdamW {
    fn default() -> Self {
        let Adam {
            lr,
            beta1,
            beta2,
            eps,
            ..
        } = Adam::default();
        AdamW {
            lr,
            beta1,
            beta2,
            eps,
            weight_decay: 1e-2,
            base_lr: None,
            eps_hat: false,
        }
    }
}

impl Rule for AdamW {
    const NAME: &'static str = "adamw";
    const SLOTS: usize = 2;
    const CARRIED: usize = 0;

    fn slot(&self, k: usize) -> Slot {
        Slot::zero(NAMES[k.min(1)])
    }

    fn check(&self) -> Result<(), Invalid> {
        check_moments([self.lr, self.beta1, self.beta2, self.eps])?;
        check_scheduled(self.weight_decay, self.base_lr)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        let decay = Decay::scheduled(self.lr, self.base_lr, self.weight_decay, e);
        let hyper = [self.lr, self.beta1, self.beta2, self.eps];
        step(&Shrink::Decoupled(decay), hyper, self.eps_hat, t, e);
    }
}

impl Tunable for AdamW {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("beta1", Setting::Number(&mut self.beta1));
        visit("beta2", Setting::Number(&mut self.beta2));
        visit("eps", Setting::Number(&mut self.eps));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
        visit("base_lr", Setting::Optional(&mut self.base_lr));
        visit("eps_hat", Setting::Flag(&mut self.eps_hat));
    }
}

/// AMSGrad: Adam, divided by the largest second moment so far.
///
/// ```text
/// initialize: m = 0, v = 0, v_max = 0
/// for t = 1, 2, ..
///   g, m, v as Adam
///   v_max = max(v_max, v)
///   theta = theta - lr / (1 - beta1^t) m / (sqrt(v_max) / sqrt(1 - beta2^t) + eps)
/// ```
///
/// Source: Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond" (2018), in the form of
/// `torch.optim.Adam(amsgrad=True)`: the maximum is of the uncorrected v, then corrected. The paper does
/// not correct; optax takes the maximum of the corrected one.
///
/// Three state vectors; 36 bytes a parameter in `f32`. A NaN in v loses the maximum. Else as [`Adam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AmsGrad {
    /// Learning rate; at least 0, no upper bound. Default 1e-3.
    pub lr: f64,
    /// Decay of the first moment m, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Decay of the second moment v, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Least denominator, in units of gradient; at least 0. Default 1e-8.
    pub eps: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Whether the decay acts on theta itself, as AdamW's, instead of joining the gradient. Default false.
    pub decoupled: bool,
    /// Whether eps is added to the root before the correction instead of after. Default false.
    pub eps_hat: bool,
}

impl Default for AmsGrad {
    fn default() -> Self {
        let Adam {
            lr,
            beta1,
            beta2,
            eps,
            weight_decay,
            ..
        } = Adam::default();
        AmsGrad {
            lr,
            beta1,
            beta2,
            eps,
            weight_decay,
            decoupled: false,
            eps_hat: false,
        }
    }
}

impl Rule for AmsGrad {
    const NAME: &'static str = "amsgrad";
    const SLOTS: usize = 3;
    const CARRIED: usize = 0;

    fn slot(&self, k: usize) -> Slot {
        Slot::zero(NAMES[k.min(2)])
    }

    fn check(&self) -> Result<(), Invalid> {
        check_moments([self.lr, self.beta1, self.beta2, self.eps])?;
        non_negative("weight_decay", self.weight_decay)
    }

    #[inline(always)]
    fn step<E: Engine>(&self, t: u64, e: &mut E) {
        rest_or_walk(rests(self.lr), self, t, e);
    }
}

impl Walk for AmsGrad {
    #[inline(always)]
    fn walk<E: Engine>(&self, t: u64, e: &mut E) {
        let shrink = Shrink::new(self.lr, self.weight_decay, self.decoupled, e);
        let moments = Moments::new(self.beta1, self.beta2, e);
        let hyper = [self.lr, self.beta1, self.beta2, self.eps];
        let correct = Corrected::new(hyper, self.eps_hat, t, e);
        e.map(|x| {
            let [m, v, largest] = x.slot;
            let (theta, g) = shrink.apply(x.theta, x.grad);
            let (m, v) = moments.next(m, v, g);
            let largest = largest.max(v);
            Lane {
                theta: theta - correct.update(m, largest),
                slot: [m, v, largest],
                ..x
            }
        });
    }
}

impl Tunable for AmsGrad {
    fn settings(&mut self, visit: &mut dyn FnMut(&'static str, Setting<'_>)) {
        visit("lr", Setting::Number(&mut self.lr));
        visit("beta1", Setting::Number(&mut self.beta1));
        visit("beta2", Setting::Number(&mut self.beta2));
        visit("eps", Setting::Number(&mut self.eps));
        visit("weight_decay", Setting::Number(&mut self.weight_decay));
        visit("decoupled", Setting::Flag(&mut self.decoupled));
        visit("eps_hat", Setting::Flag(&mut self.eps_hat));
    }
}

const NAMES: [&str; 3] = ["m", "v", "v_max"];

/// Step `t` of Adam and of AdamW, which differ in `shrink`.
#[inline(always)]
fn step<E: Engine>(shrink: &Shrink<E::Real>, hyper: [f64; 4], eps_hat: bool, t: u64, e: &mut E) {
    let [lr, beta1, beta2, _] = hyper;
    let moments = Moments::new(beta1, beta2, e);
    let correct = Corrected::new(hyper, eps_hat, t, e);
    if rests(lr) {
        pass(shrink, &moments, &correct, &mut Resting(e));
    } else {
        pass(shrink, &moments, &correct, e);
    }
}

#[inline(always)]
fn pass<E: Engine>(
    shrink: &Shrink<E::Real>,
    moments: &Moments<E::Real>,
    correct: &Corrected<E::Real>,
    e: &mut E,
) {
    e.map(|x| {
        let [m, v] = x.slot;
        let (theta, g) = shrink.apply(x.theta, x.grad);
        let (m, v) = moments.next(m, v, g);
        Lane {
            theta: theta - correct.update(m, v),
            slot: [m, v],
            ..x
        }
    });
}
