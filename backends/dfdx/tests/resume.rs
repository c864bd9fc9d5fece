//! State dictionaries: a training that is resumed goes on with the bits of one that was not stopped.
#![cfg(feature = "safetensors")]

use adarem_adapters::{ClipNorm, HalfState, Lookahead, Scheduled, schedule::Cosine};
use adarem_dfdx::{
    AdaRem, AdaRemConfig, AdaRemSConfig, Adam, AdamConfig, Error, Group, SgdConfig, SgdM,
    SgdMConfig,
};
use dfdx::nn::modules;
use dfdx::optim::Optimizer;
use dfdx::prelude::*;

type Layers = (Linear<4, 6>, ReLU, Linear<6, 2>);
type Net = (
    modules::Linear<4, 6, f32, Cpu>,
    modules::ReLU,
    modules::Linear<6, 2, f32, Cpu>,
);

fn net() -> Net {
    Cpu::default().build_module::<Layers, f32>()
}

fn train<O: Optimizer<Net, Cpu, f32>>(net: &mut Net, opt: &mut O, steps: std::ops::Range<usize>) {
    let dev = Cpu::default();
    let mut grads = net.alloc_grads();
    for step in steps {
        let number = |r: usize, c: usize| ((step * 13 + r * 7 + c * 5) % 17) as f32 / 8.0 - 1.0;
        let rows: [[f32; 4]; 8] = std::array::from_fn(|r| std::array::from_fn(|c| number(r, c)));
        let x: Tensor<Rank2<8, 4>, f32, _> = dev.tensor(rows);
        grads = net.forward(x.traced(grads)).square().mean().backward();
        opt.update(net, &grads).unwrap();
        net.zero_grads(&mut grads);
    }
}

fn bits(net: &Net) -> Vec<u32> {
    let lists = [
        net.0.weight.as_vec(),
        net.0.bias.as_vec(),
        net.2.weight.as_vec(),
        net.2.bias.as_vec(),
    ];
    lists.concat().into_iter().map(f32::to_bits).collect()
}

fn resumes<R: adarem::Rule + Clone>(rule: R) {
    let mut whole = net();
    let mut opt = Group::new(&whole, rule.clone());
    train(&mut whole, &mut opt, 0..5);
    let (model, state) = (whole.clone(), opt.state_dict().unwrap());
    train(&mut whole, &mut opt, 5..9);

    let mut resumed = model;
    let mut opt = Group::new(&resumed, rule);
    opt.load_state_dict(&state).unwrap();
    assert_eq!(opt.steps(), 5);
    assert_eq!(opt.state_dict().unwrap(), state, "{}", R::NAME);
    train(&mut resumed, &mut opt, 5..9);
    assert_eq!(bits(&resumed), bits(&whole), "{}", R::NAME);
}

/// Rules without state, with slots, with carried scalars, with both.
#[test]
fn rules_resume_bit_for_bit() {
    resumes(SgdConfig::default());
    resumes(SgdMConfig::default());
    resumes(AdamConfig::default());
    resumes(AdaRemConfig::default());
    resumes(AdaRemSConfig::default());
}

#[test]
fn wrapped_rules_resume_with_their_schedule() {
    let cosine = Cosine {
        from: 0.4,
        to: 0.01,
        steps: 9,
    };
    let clipped = ClipNorm::global(AdaRemConfig::default(), 0.1);
    resumes(Scheduled::new(Lookahead::new(clipped), "lr", cosine).unwrap());
}

/// What the host keeps in two bytes a number is a number of the file like any other.
#[test]
fn packed_state_resumes_bit_for_bit() {
    resumes(HalfState::bf16(AdaRemConfig::default()));
    resumes(HalfState::f16(AdamConfig::default()));
}

#[test]
fn the_state_has_the_names_of_model_and_rule() {
    let mut net = net();
    let mut opt = AdaRem::new(&net, AdaRemConfig::default());
    train(&mut net, &mut opt, 0..3);
    let file = opt.state_dict().unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let mut names = tensors.names();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "0.bias.inverse_max_m",
            "0.bias.m",
            "0.weight.inverse_max_m",
            "0.weight.m",
            "2.bias.inverse_max_m",
            "2.bias.m",
            "2.weight.inverse_max_m",
            "2.weight.m",
            "steps",
        ]
    );
    let m = tensors.tensor("0.weight.m").unwrap();
    assert_eq!(m.shape(), [6, 4]);
    let numbers = m.data().chunks(4);
    let largest = numbers
        .map(|x| f32::from_le_bytes(x.try_into().unwrap()).abs())
        .fold(0.0, f32::max);
    let inverse = tensors.tensor("0.weight.inverse_max_m").unwrap();
    let inverse = f32::from_le_bytes(inverse.data().try_into().unwrap());
    assert!(largest > 0.0);
    assert_eq!(inverse, 1.0 / largest);
    assert_eq!(tensors.tensor("steps").unwrap().data(), 3u64.to_le_bytes());
}

#[test]
fn a_foreign_state_is_refused_and_changes_nothing() {
    let mut net = net();
    let mut adam = Adam::new(&net, AdamConfig::default());
    let mut sgdm = SgdM::new(&net, SgdMConfig::default());
    let mut part = SgdM::of(&net, SgdMConfig::default(), |name| name.ends_with("bias"));
    train(&mut net, &mut sgdm, 0..2);
    let state = sgdm.state_dict().unwrap();
    let refused = adam.load_state_dict(&state).unwrap_err().to_string();
    assert!(refused.ends_with("its rule is sgdm, not adam"), "{refused}");
    let refused = part.load_state_dict(&state).unwrap_err().to_string();
    assert!(refused.ends_with("it holds 5 tensors, not 3"), "{refused}");
    let wide = Cpu::default().build_module::<(Linear<4, 7>, ReLU, Linear<7, 2>), f32>();
    let mut other = SgdM::new(&wide, SgdMConfig::default());
    let refused = other.load_state_dict(&state).unwrap_err().to_string();
    assert!(
        refused.contains("0.weight.momentum_buffer is F32 [6, 4], not F32 [7, 4]"),
        "{refused}"
    );
    let mut again = SgdM::new(&net, SgdMConfig::default());
    let before = again.state_dict().unwrap();
    let refused = again.load_state_dict(&state[..state.len() - 1]);
    assert!(matches!(refused, Err(Error::Foreign(_))));
    assert_eq!(again.state_dict().unwrap(), before);
}
