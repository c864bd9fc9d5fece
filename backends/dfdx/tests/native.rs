//! The optimizers against the core's own run of the rule, on dfdx models.

use adarem::rules::{EachRule, for_each};
use adarem::{Element, ErrorKind, Optimizer as Core, Rule};
use adarem_adapters::schedule::{Cosine, Schedule};
use adarem_adapters::{ClipNorm, Scheduled};
use adarem_cpu::Cpu as Host;
use adarem_dfdx::{
    AdaRem, AdaRemConfig, AdaRemS, AdaRemSConfig, Error, Group, Groups, Sgd, SgdConfig, SgdM,
    SgdMConfig,
};
use dfdx::dtypes::Dtype;
use dfdx::nn::modules;
use dfdx::optim::{Optimizer, OptimizerUpdateError};
use dfdx::prelude::*;

type Layers = (Linear<5, 7>, (Tanh, LayerNorm1D<7>), Linear<7, 3>);
type Net<E> = (
    modules::Linear<5, 7, E, Cpu>,
    (modules::Tanh, modules::LayerNorm1D<7, E, Cpu>),
    modules::Linear<7, 3, E, Cpu>,
);
type Lists<E> = [Vec<E>; 6];

const NAMES: [&str; 6] = [
    "0.weight",
    "0.bias",
    "1.1.gamma",
    "1.1.beta",
    "2.weight",
    "2.bias",
];

fn parameters<E: Dtype>(net: &Net<E>) -> Lists<E>
where
    Cpu: Device<E>,
{
    let (first, (_, norm), last) = net;
    [
        first.weight.as_vec(),
        first.bias.as_vec(),
        norm.gamma.as_vec(),
        norm.beta.as_vec(),
        last.weight.as_vec(),
        last.bias.as_vec(),
    ]
}

fn gradients<E: Dtype>(net: &Net<E>, of: &Gradients<E, Cpu>) -> Lists<E>
where
    Cpu: Device<E>,
{
    let (first, (_, norm), last) = net;
    [
        of.get(&first.weight).as_vec(),
        of.get(&first.bias).as_vec(),
        of.get(&norm.gamma).as_vec(),
        of.get(&norm.beta).as_vec(),
        of.get(&last.weight).as_vec(),
        of.get(&last.bias).as_vec(),
    ]
}

fn bits<E: Element>(lists: &Lists<E>) -> [Vec<u64>; 6] {
    lists
        .each_ref()
        .map(|list| list.iter().map(|x| x.to_le()).collect())
}

/// Inputs that differ from step to step.
fn inputs(step: usize) -> [[f64; 5]; 9] {
    let number = |r, c| f64::from((step * 61 + r * 17 + c * 29) as u32 % 101) / 50.0 - 1.0;
    std::array::from_fn(|r| std::array::from_fn(|c| number(r, c)))
}

/// The step's gradients of a loss, added to those in `into`.
macro_rules! backward {
    ($net:expr, $into:expr, $step:expr, $float:ty) => {{
        let rows = inputs($step).map(|row| row.map(|x| x as $float));
        let x: Tensor<Rank2<9, 5>, $float, _> = Cpu::default().tensor(rows);
        $net.forward(x.traced($into)).square().mean().backward()
    }};
}

/// `update`, `update_in_place` and the core agree in every bit of the parameters.
macro_rules! agrees_with_the_core {
    ($name:ident, $float:ty) => {
        fn $name<R: Rule + Default + Clone>() {
            let dev = Cpu::default();
            let mut net: Net<$float> = dev.build_module::<Layers, $float>();
            let mut other = net.clone();
            let mut lists = parameters(&net);
            let lengths = lists.each_ref().map(Vec::len);
            let mut host = Host::<$float>::new();
            let mut core = Core::new(R::default(), &mut host, &lengths).unwrap();
            let mut opt = Group::new(&net, R::default());
            let mut in_place = Group::new(&other, R::default());
            let names: Vec<_> = opt.params().iter().map(|param| &param.name).collect();
            assert_eq!(names, NAMES);
            let mut grads = net.alloc_grads();
            for step in 0..6 {
                grads = backward!(net, grads, step, $float);
                let g = gradients(&net, &grads);
                let mut thetas = lists.each_mut().map(Vec::as_mut_slice);
                let thetas = &mut thetas.each_mut().map(|x| &mut **x);
                core.step(&mut host, thetas, &g.each_ref().map(Vec::as_slice))
                    .unwrap();
                opt.update(&mut net, &grads).unwrap();
                in_place.update_in_place(&mut other, &mut grads).unwrap();

                let want = bits(&lists);
                assert_eq!(bits(&parameters(&net)), want, "{} at {step}", R::NAME);
                assert_eq!(bits(&parameters(&other)), want, "{} at {step}", R::NAME);
                assert_eq!(bits(&gradients(&net, &grads)), bits(&g), "{}", R::NAME);
                net.zero_grads(&mut grads);
            }
            assert_eq!((opt.steps(), in_place.steps()), (6, 6));
        }
    };
}

agrees_with_the_core!(agrees_in_f32, f32);
agrees_with_the_core!(agrees_in_f64, f64);

#[test]
fn every_rule_agrees_with_the_core() {
    struct Check;
    impl EachRule for Check {
        fn rule<R: Rule + Default + Clone>(&mut self) {
            agrees_in_f32::<R>();
        }
    }
    for_each(&mut Check);
}

/// With one tensor's folds, with a sphere's, and with no fold.
#[test]
fn rules_agree_with_the_core_in_f64() {
    agrees_in_f64::<AdaRemConfig>();
    agrees_in_f64::<AdaRemSConfig>();
    agrees_in_f64::<SgdMConfig>();
}

fn net() -> Net<f32> {
    Cpu::default().build_module::<Layers, f32>()
}

/// Parameters whose names `chosen` accepts are stepped as when alone, and all others stay.
#[test]
fn groups_step_their_own_parameters_only() {
    let mut both = net();
    let mut first = both.clone();
    let mut second = both.clone();
    let before = parameters(&both);
    let spheres = AdaRemSConfig {
        lr: 0.3,
        ..Default::default()
    };
    let plain = AdaRemConfig {
        lr: 0.2,
        weight_decay: 0.1,
        ..Default::default()
    };
    let on_sphere = |name: &str| name == "0.weight";
    let biases = |name: &str| name.ends_with("bias");
    let mut opt = Groups(
        AdaRemS::of(&both, spheres, on_sphere),
        AdaRem::of(&both, plain, biases),
    );
    let mut opt_first = AdaRemS::of(&first, spheres, on_sphere);
    let mut opt_second = AdaRem::of(&second, plain, biases);
    let mut grads = both.alloc_grads();
    for step in 0..3 {
        grads = backward!(both, grads, step, f32);
        if step == 1 {
            opt.update(&mut both, &grads).unwrap();
        } else {
            opt.update_in_place(&mut both, &mut grads).unwrap();
        }
        opt_first.update(&mut first, &grads).unwrap();
        opt_second.update(&mut second, &grads).unwrap();
        both.zero_grads(&mut grads);
    }
    let (after, first, second) = (parameters(&both), parameters(&first), parameters(&second));
    for (i, name) in NAMES.into_iter().enumerate() {
        let want = match name {
            _ if on_sphere(name) => &first,
            _ if biases(name) => &second,
            _ => &before,
        };
        assert_eq!(bits(&after)[i], bits(want)[i], "{name}");
        let moved = bits(&after)[i] != bits(&before)[i];
        assert_eq!(moved, on_sphere(name) || biases(name), "{name}");
    }
    let norm = |x: &Vec<f32>| x.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt();
    assert!((norm(&after[0]) / norm(&before[0]) - 1.0).abs() < 1e-6);
}

#[test]
fn a_frozen_parameter_needs_no_gradient() {
    let mut net = net();
    let mut opt = Sgd::of(&net, SgdConfig::default(), |name| name.starts_with("2."));
    let x: Tensor<Rank2<9, 7>, f32, _> = Cpu::default().ones();
    let mut grads = net.2.forward(x.leaky_traced()).square().mean().backward();
    let before = parameters(&net);
    opt.update(&mut net, &grads).unwrap();
    opt.update_in_place(&mut net, &mut grads).unwrap();
    let after = parameters(&net);
    assert_eq!(bits(&after)[..4], bits(&before)[..4]);
    assert_ne!(bits(&after)[4], bits(&before)[4]);
}

/// The ids that dfdx's own optimizer reports.
fn reported_by_dfdx(net: &Net<f32>, grads: &Gradients<f32, Cpu>) -> Vec<UniqueId> {
    let mut sgd = dfdx::optim::Sgd::new(net, Default::default());
    match sgd.update(&mut net.clone(), grads) {
        Err(OptimizerUpdateError::UnusedParams(unused)) => unused.ids,
        other => panic!("{other:?}"),
    }
}

#[test]
fn missing_gradients_are_reported_as_by_dfdx_and_nothing_is_changed() {
    let mut net = net();
    let before = parameters(&net);
    let x: Tensor<Rank2<9, 7>, f32, _> = Cpu::default().ones();
    let mut opt = AdaRem::new(&net, AdaRemConfig::default());
    let mut pair = Groups(
        AdaRem::of(&net, AdaRemConfig::default(), |name| name.starts_with('0')),
        AdaRem::of(&net, AdaRemConfig::default(), |name| !name.starts_with('0')),
    );

    // In a leaky set, and in one that keeps only the leafs of another part of the model.
    let leaky = net.2.forward(x.leaky_trace()).square().mean().backward();
    let kept = net.2.alloc_grads();
    let kept = net.2.forward(x.traced(kept)).square().mean().backward();
    for mut grads in [leaky, kept] {
        let want = reported_by_dfdx(&net, &grads);
        assert_eq!(want.len(), 4);
        for _ in 0..2 {
            match opt.update(&mut net, &grads) {
                Err(OptimizerUpdateError::UnusedParams(unused)) => assert_eq!(unused.ids, want),
                other => panic!("{other:?}"),
            }
            match opt.update_in_place(&mut net, &mut grads) {
                Err(Error::Unused(unused)) => assert_eq!(unused.ids, want),
                other => panic!("{other:?}"),
            }
            match pair.update_in_place(&mut net, &mut grads) {
                Err(Error::Unused(unused)) => assert_eq!(unused.ids, want),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(
            reported_by_dfdx(&net, &grads),
            want,
            "none was made on the way"
        );
    }
    assert_eq!(bits(&parameters(&net)), bits(&before));
    assert_eq!(opt.steps(), 0);
}

/// A set that has been vouched for is not mistaken for another.
#[test]
fn a_missing_gradient_is_found_after_a_complete_set_was_used() {
    let mut net = net();
    let mut opt = AdaRem::new(&net, AdaRemConfig::default());
    let mut complete = net.alloc_grads();
    for step in 0..3 {
        complete = backward!(net, complete, step, f32);
        opt.update_in_place(&mut net, &mut complete).unwrap();
        net.zero_grads(&mut complete);
    }
    let x: Tensor<Rank2<9, 7>, f32, _> = Cpu::default().ones();
    let mut leaky = net.2.forward(x.leaky_trace()).square().mean().backward();
    let refused = opt.update_in_place(&mut net, &mut leaky);
    assert!(matches!(refused, Err(Error::Unused(unused)) if unused.ids.len() == 4));
    assert_eq!(opt.steps(), 3);
    let missing = reported_by_dfdx(&net, &leaky).len();
    assert_eq!(missing, 4);
}

#[test]
fn a_zero_gradient_is_not_a_missing_one() {
    let mut net = net();
    let mut opt = SgdM::new(&net, SgdMConfig::default());
    let mut grads = net.alloc_grads();
    let before = parameters(&net);
    opt.update(&mut net, &grads).unwrap();
    opt.update_in_place(&mut net, &mut grads).unwrap();
    assert_eq!(bits(&parameters(&net)), bits(&before));
    assert_eq!(opt.steps(), 2);
}

#[test]
fn bad_hyper_parameters_are_refused_by_name_and_value() {
    let mut net = net();
    let bad = AdaRemConfig {
        beta: 1.0,
        ..Default::default()
    };
    let refused = AdaRem::<_, f32, Cpu>::try_new(&net, bad);
    let message = refused.map(drop).unwrap_err().to_string();
    assert_eq!(message, "beta must lie in [0, 1), got 1");

    let mut opt = AdaRem::new(&net, AdaRemConfig::default());
    opt.cfg.lr = -1.0;
    let before = parameters(&net);
    let mut grads = net.alloc_grads();
    let refused = opt.update_in_place(&mut net, &mut grads);
    assert!(
        matches!(refused, Err(Error::Refused(ErrorKind::Config(invalid))) if invalid.name == "lr")
    );
    assert_eq!(bits(&parameters(&net)), bits(&before));
}

/// A tensor is a model too, and one that shares its memory with a clone leaves the clone alone.
#[test]
fn a_shared_tensor_is_parted_before_it_is_stepped() {
    let dev = Cpu::default();
    let mut theta: Tensor<Rank1<3>, f32, _> = dev.tensor([1.0, 2.0, -3.0]);
    let kept = theta.clone();
    let config = SgdConfig {
        lr: 0.5,
        ..Default::default()
    };
    let mut opt = Sgd::new(&theta, config);
    let mut grads = theta.leaky_trace().square().sum().backward();
    opt.update_in_place(&mut theta, &mut grads).unwrap();
    assert_eq!(theta.array(), [0.0; 3]);
    assert_eq!(kept.array(), [1.0, 2.0, -3.0]);
}

/// Wrappers are rules like any other: here a group clipped by its global norm, on a schedule.
#[test]
fn a_group_is_clipped_by_its_global_norm() {
    let mut net = net();
    let cosine = Cosine {
        from: 0.5,
        to: 0.1,
        steps: 4,
    };
    let rule = ClipNorm::global(SgdConfig::default(), 0.01);
    let rule = Scheduled::new(rule, "lr", cosine).unwrap();
    let mut opt = Group::new(&net, rule);
    let mut grads = net.alloc_grads();
    for step in 0..4 {
        let before = parameters(&net).concat();
        grads = backward!(net, grads, step, f32);
        if step % 2 == 0 {
            opt.update(&mut net, &grads).unwrap();
        } else {
            opt.update_in_place(&mut net, &mut grads).unwrap();
        }
        let after = parameters(&net).concat();
        let squares = after
            .iter()
            .zip(&before)
            .map(|(a, b)| f64::from(a - b).powi(2));
        let moved = squares.sum::<f64>().sqrt();
        let want = 0.01 * cosine.at(step as u64);
        assert!(
            (moved / want - 1.0).abs() < 1e-3,
            "moved by {moved}, not {want}"
        );
        net.zero_grads(&mut grads);
    }
}
