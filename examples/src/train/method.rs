use std::fmt;

use adarem::Backend;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::TaskName;
use super::descent::{Group, Start};
use crate::network::Role;

/// An optimizer of the race.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Method {
    /// AdaRem.
    #[value(name = "adarem")]
    AdaRem,
    /// AdaRem-S: scale-invariant weights on spheres, AdaRem for the rest.
    #[value(name = "adarem-s")]
    AdaRemS,
    /// Plain stochastic gradient descent.
    Sgd,
    /// Gradient descent with momentum 0.9.
    #[value(name = "sgdm")]
    SgdM,
    /// Adam.
    Adam,
    /// Adam with decoupled weight decay.
    #[value(name = "adamw")]
    AdamW,
    /// Adam with the largest second moment so far.
    #[value(name = "amsgrad")]
    AmsGrad,
}

impl Method {
    /// Those that run unless one asks for others.
    pub const USUAL: [Method; 5] =
        [Method::AdaRem, Method::AdaRemS, Method::Sgd, Method::SgdM, Method::Adam];

    /// Whether it can show on a task what it is for: AdaRem-S needs weights in front of a
    /// normalisation.
    pub fn suits(self, task: TaskName) -> bool {
        self != Method::AdaRemS || task == TaskName::Digits
    }

    /// The learning rate that it starts with unless one asks for another.
    pub fn rate(self, task: TaskName) -> f64 {
        let (digits, text) = match self {
            Method::AdaRem | Method::AdaRemS | Method::Sgd => (0.1, 1.0),
            Method::SgdM => (0.1, 0.3),
            Method::Adam | Method::AdamW | Method::AmsGrad => (1e-3, 4e-3),
        };
        match task {
            TaskName::Digits => digits,
            TaskName::Text => text,
        }
    }

    /// The optimizer of the tensors of one role. Without a `decay`, the rule's own default is taken.
    pub(super) fn group<B: Backend<Elem = f32> + 'static>(
        self,
        role: Role,
        decay: Option<f64>,
        start: Start<B>,
    ) -> Result<Box<dyn Group<B>>, B::Error> {
        let plain = decay.unwrap_or(0.0);
        match self {
            Method::AdaRemS if role == Role::ScaleInvariant => {
                let rule = adarem::AdaRemS { weight_decay: plain, ..Default::default() };
                start.with(rule, |rule, now| (rule.lr, rule.lambda) = (now.lr, now.lambda))
            }
            Method::AdaRem | Method::AdaRemS => {
                let rule = adarem::AdaRem { weight_decay: plain, ..Default::default() };
                start.with(rule, |rule, now| (rule.lr, rule.lambda) = (now.lr, now.lambda))
            }
            Method::Sgd => {
                let rule =
                    adarem::Sgd { weight_decay: plain, decoupled: true, ..Default::default() };
                start.with(rule, |rule, now| rule.lr = now.lr)
            }
            Method::SgdM => {
                let rule =
                    adarem::SgdM { weight_decay: plain, decoupled: true, ..Default::default() };
                start.with(rule, |rule, now| rule.lr = now.lr)
            }
            Method::Adam => {
                let rule = adarem::Adam { weight_decay: plain, ..Default::default() };
                start.with(rule, |rule, now| rule.lr = now.lr)
            }
            Method::AdamW => {
                let mut rule = adarem::AdamW::default();
                rule.weight_decay = decay.unwrap_or(rule.weight_decay);
                start.with(rule, |rule, now| rule.lr = now.lr)
            }
            Method::AmsGrad => {
                let rule = adarem::AmsGrad { weight_decay: plain, ..Default::default() };
                start.with(rule, |rule, now| rule.lr = now.lr)
            }
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no method is hidden");
        f.pad(value.get_name())
    }
}
