//! Every rule of the library by the name that a dfdx user looks for: `X` the optimizer, `XConfig` its
//! hyper-parameters.

use crate::group::Group;

pub use adarem::{
    AdaRem as AdaRemConfig, AdaRemS as AdaRemSConfig, Adam as AdamConfig, AdamW as AdamWConfig,
    AmsGrad as AmsGradConfig, Sgd as SgdConfig, SgdM as SgdMConfig,
};

/// AdaRem: see [`AdaRemConfig`].
pub type AdaRem<M, E, D> = Group<AdaRemConfig, M, E, D>;

/// AdaRem-S, every tensor on its own sphere: see [`AdaRemSConfig`].
pub type AdaRemS<M, E, D> = Group<AdaRemSConfig, M, E, D>;

/// Adam: see [`AdamConfig`].
pub type Adam<M, E, D> = Group<AdamConfig, M, E, D>;

/// Adam with decoupled weight decay: see [`AdamWConfig`].
pub type AdamW<M, E, D> = Group<AdamWConfig, M, E, D>;

/// AMSGrad: see [`AmsGradConfig`].
pub type AmsGrad<M, E, D> = Group<AmsGradConfig, M, E, D>;

/// Stochastic gradient descent: see [`SgdConfig`].
pub type Sgd<M, E, D> = Group<SgdConfig, M, E, D>;

/// Stochastic gradient descent with momentum: see [`SgdMConfig`].
pub type SgdM<M, E, D> = Group<SgdMConfig, M, E, D>;
