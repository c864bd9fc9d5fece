//! Every rule on the device equals the core's host in every bit that a step writes: where only a GPU could differ. The
//! conformance kit asks the rest.

mod beside;

use adarem::rules::{EachRule, for_each};
use adarem::{
    AdaRem, AdaRemS, Adam, Backend, Element, Engine, Half, Invalid, Lane, Optimizer, Real, Rule,
    Sgd, SgdM, Tensor as _, Tunable,
};
use adarem_adapters::HalfState;
use adarem_cuda::Cuda;
use adarem_cuda::ptx::Form;
use adarem_cuda_softdriver::{Machine, Order};
use beside::{Setting, differ};

struct Agrees(Setting);

impl EachRule for Agrees {
    fn rule<R: Tunable + Default + Clone>(&mut self) {
        // With decay, which no default has.
        let mut rule = R::default();
        rule.set("weight_decay", 0.01);
        agrees::<f32, R>(&rule, &self.0);
        agrees::<f64, R>(&rule, &self.0);
    }
}

#[track_caller]
fn agrees<T: Element, R: Rule + Clone>(rule: &R, setting: &Setting) {
    if let Some(difference) = differ::<T, R>(&Machine::claim(), rule, setting) {
        panic!("{}: {difference}, {setting:?}", R::NAME);
    }
}

/// Every rule, and of those with packed state some of each type, of one pass and of several, with one slot and with two.
fn all_agree(setting: &Setting) {
    for_each(&mut Agrees(setting.clone()));
    agrees::<f32, _>(&HalfState::bf16(AdaRem::default()), setting);
    agrees::<f32, _>(&HalfState::f16(AdaRemS::default()), setting);
    agrees::<f32, _>(&HalfState::bf16(AdaRem::default()).stochastic(3), setting);
    agrees::<f32, _>(&HalfState::bf16(Adam::default()), setting);
    agrees::<f32, _>(&HalfState::f16(SgdM::default()), setting);
    // Nothing is packed here.
    agrees::<f64, _>(&HalfState::bf16(AdaRem::default()), setting);
}

/// Around a vector, a warp, the accumulators of a block, and a chunk.
#[test]
fn at_lengths_around_everything_that_has_a_length() {
    let lengths = [
        0, 1, 3, 4, 5, 31, 127, 129, 511, 513, 4095, 4096, 4097, 9001,
    ];
    all_agree(&Setting::of(&lengths));
}

#[test]
fn in_any_order_of_blocks() {
    for order in [Order::Backward, Order::Shuffled(5)] {
        all_agree(&Setting {
            order,
            ..Setting::of(&[9001, 0, 3])
        });
    }
}

#[test]
fn where_memory_is_not_aligned() {
    for shift in [1, 2, 3] {
        all_agree(&Setting {
            shift,
            ..Setting::of(&[4099, 1])
        });
    }
}

#[test]
fn with_the_ends_of_passes_in_launches_of_their_own() {
    all_agree(&Setting {
        form: Form::Split,
        ..Setting::of(&[4097, 0, 513])
    });
}

#[derive(Clone)]
struct OddlyNamed;

impl Rule for OddlyNamed {
    const NAME: &'static str = "2nd try (not-to-be-named) é";
    const SLOTS: usize = 0;
    const CARRIED: usize = 0;

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    fn step<E: Engine>(&self, t: u64, engine: &mut E) {
        Sgd::default().step(t, engine);
    }
}

#[test]
fn under_any_name_of_a_rule() {
    agrees::<f32, _>(&OddlyNamed, &Setting::of(&[4097]));
}

/// Keeps the gradient as it is, in 16 bits.
#[derive(Clone)]
struct Keeps<const BF16: bool>;

impl<const BF16: bool> Rule for Keeps<BF16> {
    const NAME: &'static str = "keeps";
    const SLOTS: usize = 1;
    const CARRIED: usize = 0;
    const HALF: Option<Half> = Some(if BF16 { Half::Bf16 } else { Half::F16 });

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    fn step<E: Engine>(&self, _: u64, engine: &mut E) {
        engine.pass([], |x: Lane<E::Real, 1>| {
            let slot = [E::Real::select(x.theta.lt(x.grad), x.grad, x.grad)];
            (Lane { slot, ..x }, [])
        });
    }
}

/// All bit patterns of a type but a NaN's arrive as they are; a NaN stays one, also where its payload does not fit.
#[track_caller]
fn keeps<const BF16: bool>(half: Half) {
    let mut grad: Vec<f32> = (0..=u16::MAX)
        .map(|bits| half.unpack(f32::from_bits(bits.into()))[0])
        .collect();
    grad.extend([0x7f80_0001, 0xff80_0001, 0xffff_ffff].map(f32::from_bits));
    let mut cuda = Cuda::<f32>::open(Machine::claim().ordinal()).unwrap();
    let (mut theta, mut on_device) = (
        cuda.zeros(grad.len()).unwrap(),
        cuda.zeros(grad.len()).unwrap(),
    );
    cuda.write(&mut on_device, 0, &grad).unwrap();
    let mut optimizer = Optimizer::new(Keeps::<BF16>, &mut cuda, &[grad.len()]).unwrap();
    assert_eq!(
        optimizer.state_bytes(),
        2 * grad.len().next_multiple_of(64),
        "two bytes a number"
    );
    optimizer
        .step(&mut cuda, &mut [&mut theta], &[&on_device])
        .unwrap();
    let slot = optimizer.slot(0).unwrap();
    let mut packed = vec![0.0; slot.len()];
    cuda.read(slot, 0, &mut packed).unwrap();
    let kept = packed.iter().flat_map(|x| half.unpack(*x));
    for (x, kept) in grad.iter().zip(kept) {
        let same = x.to_bits() == kept.to_bits() || (x.is_nan() && kept.is_nan());
        assert!(same, "{half:?}: {x:e} ({:x}) became {kept:e}", x.to_bits());
    }
}

#[test]
fn every_number_of_16_bits_is_kept() {
    keeps::<true>(Half::Bf16);
    keeps::<false>(Half::F16);
}
