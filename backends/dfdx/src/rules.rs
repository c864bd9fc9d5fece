//! Every rule of the library by the name that a dfdx user looks for: `X` the optimizer, `XConfig` its
//! hyper-parameters, which say what it does.

use crate::group::Group;

pub use adarem::{
    AdaBound as AdaBoundConfig, AdaRem as AdaRemConfig, AdaRemS as AdaRemSConfig,
    AdaShift as AdaShiftConfig, AdaShiftEach as AdaShiftEachConfig, Adadelta as AdadeltaConfig,
    Adagrad as AdagradConfig, AdagradNorm as AdagradNormConfig, Adam as AdamConfig,
    AdamW as AdamWConfig, Adamax as AdamaxConfig, AmsBound as AmsBoundConfig,
    AmsGrad as AmsGradConfig, Lamb as LambConfig, Lion as LionConfig, Nadam as NadamConfig,
    Nag as NagConfig, NdAdam as NdAdamConfig, NosAdam as NosAdamConfig, Padam as PadamConfig,
    RAdam as RAdamConfig, RmsProp as RmsPropConfig, RmsPropCentered as RmsPropCenteredConfig,
    RmsPropM as RmsPropMConfig, Rprop as RpropConfig, ScAdagrad as ScAdagradConfig,
    ScRmsProp as ScRmsPropConfig, Sgd as SgdConfig, SgdM as SgdMConfig, SgdW as SgdWConfig,
    Swats as SwatsConfig, Yogi as YogiConfig,
};

/// The optimizer of [`AdaBoundConfig`].
pub type AdaBound<M, E, D> = Group<AdaBoundConfig, M, E, D>;

/// The optimizer of [`AdadeltaConfig`].
pub type Adadelta<M, E, D> = Group<AdadeltaConfig, M, E, D>;

/// The optimizer of [`AdagradConfig`].
pub type Adagrad<M, E, D> = Group<AdagradConfig, M, E, D>;

/// The optimizer of [`AdagradNormConfig`].
pub type AdagradNorm<M, E, D> = Group<AdagradNormConfig, M, E, D>;

/// The optimizer of [`AdamConfig`].
pub type Adam<M, E, D> = Group<AdamConfig, M, E, D>;

/// The optimizer of [`AdamaxConfig`].
pub type Adamax<M, E, D> = Group<AdamaxConfig, M, E, D>;

/// The optimizer of [`AdamWConfig`].
pub type AdamW<M, E, D> = Group<AdamWConfig, M, E, D>;

/// The optimizer of [`AdaRemConfig`].
pub type AdaRem<M, E, D> = Group<AdaRemConfig, M, E, D>;

/// The optimizer of [`AdaRemSConfig`].
pub type AdaRemS<M, E, D> = Group<AdaRemSConfig, M, E, D>;

/// The optimizer of [`AdaShiftConfig`].
pub type AdaShift<M, E, D> = Group<AdaShiftConfig, M, E, D>;

/// The optimizer of [`AdaShiftEachConfig`].
pub type AdaShiftEach<M, E, D> = Group<AdaShiftEachConfig, M, E, D>;

/// The optimizer of [`AmsBoundConfig`].
pub type AmsBound<M, E, D> = Group<AmsBoundConfig, M, E, D>;

/// The optimizer of [`AmsGradConfig`].
pub type AmsGrad<M, E, D> = Group<AmsGradConfig, M, E, D>;

/// The optimizer of [`LambConfig`].
pub type Lamb<M, E, D> = Group<LambConfig, M, E, D>;

/// The optimizer of [`LionConfig`].
pub type Lion<M, E, D> = Group<LionConfig, M, E, D>;

/// The optimizer of [`NadamConfig`].
pub type Nadam<M, E, D> = Group<NadamConfig, M, E, D>;

/// The optimizer of [`NagConfig`].
pub type Nag<M, E, D> = Group<NagConfig, M, E, D>;

/// The optimizer of [`NdAdamConfig`].
pub type NdAdam<M, E, D> = Group<NdAdamConfig, M, E, D>;

/// The optimizer of [`NosAdamConfig`].
pub type NosAdam<M, E, D> = Group<NosAdamConfig, M, E, D>;

/// The optimizer of [`PadamConfig`].
pub type Padam<M, E, D> = Group<PadamConfig, M, E, D>;

/// The optimizer of [`RAdamConfig`].
pub type RAdam<M, E, D> = Group<RAdamConfig, M, E, D>;

/// The optimizer of [`RmsPropConfig`].
pub type RmsProp<M, E, D> = Group<RmsPropConfig, M, E, D>;

/// The optimizer of [`RmsPropCenteredConfig`].
pub type RmsPropCentered<M, E, D> = Group<RmsPropCenteredConfig, M, E, D>;

/// The optimizer of [`RmsPropMConfig`].
pub type RmsPropM<M, E, D> = Group<RmsPropMConfig, M, E, D>;

/// The optimizer of [`RpropConfig`].
pub type Rprop<M, E, D> = Group<RpropConfig, M, E, D>;

/// The optimizer of [`ScAdagradConfig`].
pub type ScAdagrad<M, E, D> = Group<ScAdagradConfig, M, E, D>;

/// The optimizer of [`ScRmsPropConfig`].
pub type ScRmsProp<M, E, D> = Group<ScRmsPropConfig, M, E, D>;

/// The optimizer of [`SgdConfig`].
pub type Sgd<M, E, D> = Group<SgdConfig, M, E, D>;

/// The optimizer of [`SgdMConfig`].
pub type SgdM<M, E, D> = Group<SgdMConfig, M, E, D>;

/// The optimizer of [`SgdWConfig`].
pub type SgdW<M, E, D> = Group<SgdWConfig, M, E, D>;

/// The optimizer of [`SwatsConfig`].
pub type Swats<M, E, D> = Group<SwatsConfig, M, E, D>;

/// The optimizer of [`YogiConfig`].
pub type Yogi<M, E, D> = Group<YogiConfig, M, E, D>;

#[cfg(test)]
mod tests {
    use adarem::rules::{EachRule, for_each};

    #[test]
    fn every_rule_has_its_names() {
        struct Named(usize);
        impl EachRule for Named {
            fn rule<R>(&mut self) {
                let path = core::any::type_name::<R>();
                let name = path.rsplit("::").next().unwrap_or(path);
                let alias =
                    alloc::format!("pub type {name}<M, E, D> = Group<{name}Config, M, E, D>;");
                assert!(include_str!("rules.rs").contains(&alias), "{name}");
                self.0 += 1;
            }
        }
        let mut named = Named(0);
        for_each(&mut named);
        let aliases = include_str!("rules.rs").matches("\npub type ").count();
        assert_eq!(aliases, named.0);
    }
}
