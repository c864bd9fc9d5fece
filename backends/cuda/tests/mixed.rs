//! Steps in mixed precision on the software driver: parameters and gradients of 16 bits beside a master copy in full.

use adarem::{
    AdaRem, Backend, Bf16, CHUNK, Engine, ErrorKind, F16, Invalid, Lane, Optimizer, Param, Phase,
    Rule, Sgd, Stored, Tensor as _,
};
use adarem_conformance::{Mixed, Random, mixed_precision};
use adarem_cuda::ptx::Form;
use adarem_cuda::{Cuda, Error, Memory, Tensor};
use adarem_cuda_softdriver::Machine;

fn open(machine: &Machine) -> Cuda<f32> {
    Cuda::open(machine.ordinal()).unwrap()
}

/// A vector of numbers in memory that begins so many numbers earlier.
struct Shifted<P> {
    _memory: Memory<P>,
    tensor: Tensor<P>,
}

impl<P: Param> Shifted<P> {
    fn new(cuda: &mut Cuda<f32>, shift: usize, numbers: &[P]) -> Result<Self, Error> {
        let mut memory = cuda.zeros_of(shift + numbers.len())?;
        cuda.write_of(&mut memory, shift, numbers)?;
        let address = memory.address() + (shift * size_of::<P>()) as u64;
        // SAFETY: so many numbers lie there, for as long as the memory does.
        let tensor = unsafe { Tensor::from_raw(address, numbers.len()) };
        Ok(Self {
            _memory: memory,
            tensor,
        })
    }

    fn read(&self, cuda: &mut Cuda<f32>) -> Result<Vec<P>, Error> {
        let mut numbers = vec![P::default(); self.tensor.len()];
        cuda.read_of(&self.tensor, 0, &mut numbers)?;
        Ok(numbers)
    }
}

/// Steps tensors on the device that begin so many numbers beside what CUDA's allocator gave: master, params and
/// gradients.
struct Beside {
    cuda: Cuda<f32>,
    shifts: [usize; 3],
}

impl Beside {
    fn on(machine: &Machine, shifts: [usize; 3]) -> Self {
        let cuda = open(machine);
        Self { cuda, shifts }
    }
}

impl Mixed for Beside {
    type Backend = Cuda<f32>;

    fn backend(&mut self) -> &mut Cuda<f32> {
        &mut self.cuda
    }

    fn step<R: Rule, P: Param>(
        &mut self,
        optimizer: &mut Optimizer<R, Cuda<f32>>,
        master: &mut [Memory<f32>],
        params: &mut [Vec<P>],
        grad: &[Vec<P>],
    ) -> Result<(), Error> {
        let Self { cuda, shifts } = self;
        let mut there = Vec::new();
        for ((master, params), grad) in master.iter().zip(&*params).zip(grad) {
            let mut copy = Shifted::new(cuda, shifts[0], &vec![0.0; master.len()])?;
            cuda.copy(&mut copy.tensor, master)?;
            let params = Shifted::new(cuda, shifts[1], params)?;
            there.push((copy, params, Shifted::new(cuda, shifts[2], grad)?));
        }
        let (mut masters, mut copies, mut grads) = (Vec::new(), Vec::new(), Vec::new());
        for (master, params, grad) in &mut there {
            masters.push(&mut master.tensor);
            copies.push(&mut params.tensor);
            grads.push(&grad.tensor);
        }
        cuda.step_mixed(optimizer, &mut masters, &mut copies, &grads)?;
        for ((master, params), there) in master.iter_mut().zip(params).zip(&there) {
            cuda.copy(master, &there.0.tensor)?;
            *params = there.1.read(cuda)?;
        }
        Ok(())
    }
}

#[test]
fn every_rule_is_stepped_in_mixed_precision() {
    mixed_precision(Beside::on(&Machine::claim(), [0; 3]));
}

#[test]
fn where_master_params_or_gradients_are_not_aligned() {
    for shifts in [[1, 0, 0], [0, 3, 2]] {
        mixed_precision(Beside::on(&Machine::claim(), shifts));
    }
}

#[test]
fn with_the_ends_of_passes_in_launches_of_their_own() {
    let mut split = Beside::on(&Machine::claim(), [0; 3]);
    split.cuda = split.cuda.with_form(Form::Split);
    mixed_precision(split);
}

/// Numbers of 16 bits are walked in vectors of 8 bytes, beside 16 of theta.
#[test]
fn eight_bytes_are_aligned_enough_for_numbers_of_16_bits() {
    let goes_lane_by_lane = |shifts| {
        let machine = Machine::claim();
        machine.plant("// lane by lane", "ld.global.f32 %f0, [0];");
        let mut beside = Beside::on(&machine, shifts);
        let mut optimizer = Optimizer::new(AdaRem::default(), &mut beside.cuda, &[CHUNK]).unwrap();
        let master = &mut [beside.cuda.zeros(CHUNK).unwrap()];
        let numbers = vec![Bf16::default(); CHUNK];
        let step = beside.step(&mut optimizer, master, &mut [numbers.clone()], &[numbers]);
        assert!(machine.was_planted());
        step.is_err()
    };
    for aligned in [[0, 0, 0], [4, 4, 4], [0, 12, 8]] {
        assert!(!goes_lane_by_lane(aligned), "{aligned:?}");
    }
    for i in 0..3 {
        for shift in 1..4 {
            let mut misaligned = [4; 3];
            misaligned[i] = shift;
            assert!(goes_lane_by_lane(misaligned), "{misaligned:?}");
        }
    }
}

/// Theta becomes what the state is.
struct Recalls;

impl Rule for Recalls {
    const NAME: &'static str = "recalls";
    const SLOTS: usize = 1;
    const CARRIED: usize = 0;

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    fn step<E: Engine>(&self, _: u64, engine: &mut E) {
        engine.map(|x: Lane<E::Real, 1>| Lane {
            theta: x.slot[0],
            ..x
        });
    }
}

/// Every number of the type, what lies half-way to the next and just beside that, and the edges of `f32`.
fn hard_to_round<P: Param>(from_bits: fn(u16) -> P) -> Vec<f32> {
    let mut numbers = Vec::new();
    for bits in 0..=u16::MAX {
        let [x, next]: [f32; 2] = [bits, bits.wrapping_add(1)].map(|bits| from_bits(bits).load());
        let middle = ((f64::from(x) + f64::from(next)) / 2.0) as f32;
        // Five, in this order, so that ties beside even numbers and beside odd ones come to every place of a vector.
        numbers.extend([x, middle.next_down(), middle, -middle, middle.next_up()]);
    }
    let edges = [
        0.0,
        f32::from_bits(1),
        f32::MIN_POSITIVE,
        f32::MAX,
        f32::INFINITY,
        f32::NAN,
        // What tells them from infinity lies in bits that go.
        f32::from_bits(0x7f80_0001),
        f32::from_bits(0x7f80_7fff),
        // A carry out of the last place would make it -0.
        f32::from_bits(0x7fff_ffff),
        // Half a place beyond the largest number, and just below: of bf16, and of f16.
        f32::from_bits(0x7f7f_8000),
        f32::from_bits(0x7f7f_7fff),
        65520.0,
        65520.0f32.next_down(),
    ];
    numbers.extend(edges.into_iter().flat_map(|x| [x, -x]));
    numbers.extend(Random::new(3).many(CHUNK, Random::any::<f32>));
    numbers
}

/// The first number that is not rounded as [`Stored::store`] rounds it, where vectors are stored or where lanes are.
fn misrounded<P: Param>(machine: &Machine, from_bits: fn(u16) -> P) -> Option<String> {
    let numbers = hard_to_round(from_bits);
    let (len, zeros) = (numbers.len(), vec![P::default(); numbers.len()]);
    let mut cuda = open(machine);
    for shift in [0, 1] {
        let mut optimizer = Optimizer::new(Recalls, &mut cuda, &[len]).unwrap();
        // SAFETY: the slot lives as long as the optimizer, and begins with the state of the first tensor.
        let mut slot = unsafe { Tensor::from_raw(optimizer.slot(0).unwrap().address(), len) };
        cuda.write(&mut slot, 0, &numbers).unwrap();
        let mut master = cuda.zeros(len).unwrap();
        let mut params = Shifted::new(&mut cuda, shift, &zeros).unwrap();
        let grad = Shifted::new(&mut cuda, 0, &zeros).unwrap();
        let (params_there, grad) = (&mut [&mut params.tensor], &[&grad.tensor]);
        cuda.step_mixed(&mut optimizer, &mut [&mut master], params_there, grad)
            .unwrap();
        for (x, got) in numbers.iter().zip(params.read(&mut cuda).unwrap()) {
            let [got, expected] = [got, P::store(*x)].map(P::load);
            if got.to_bits() != expected.to_bits() && !(got.is_nan() && expected.is_nan()) {
                return Some(format!(
                    "{:?}, shift {shift}: {x:e} ({:x}) became {got:e}, not {expected:e}",
                    P::HALF,
                    x.to_bits()
                ));
            }
        }
    }
    None
}

#[test]
fn what_is_hard_to_round_is_rounded_to_the_nearest() {
    assert_eq!(misrounded(&Machine::claim(), Bf16::from_bits), None);
    assert_eq!(misrounded(&Machine::claim(), F16::from_bits), None);
}

/// What the comparison did not notice, it would not test.
#[test]
fn every_planted_mistake_in_the_rounding_is_noticed() {
    let mistakes = [
        ("a tie goes up", ", 0x7fff;", ", 0x8000;"),
        ("a tie goes down", ", 1;\n    add", ", 0;\n    add"),
        ("half a place is less", ", 0x7fff;", ", 0x7ffe;"),
        (
            "the wrong bit tells whether a number is even",
            ", 16;\n    and",
            ", 15;\n    and",
        ),
        ("a NaN becomes infinite", "0f7FC00000", "0f7F800000"),
    ];
    for (what, from, to) in mistakes {
        let machine = Machine::claim();
        machine.plant(from, to);
        let said = misrounded(&machine, Bf16::from_bits);
        println!("{what}: {said:?}");
        assert!(machine.was_planted(), "no kernel has {from:?}");
        assert!(said.is_some(), "{what}");
    }
}

/// Rewrites its state and not theta.
struct Watches;

impl Rule for Watches {
    const NAME: &'static str = "watches";
    const SLOTS: usize = 1;
    const CARRIED: usize = 0;

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    fn step<E: Engine>(&self, _: u64, engine: &mut E) {
        engine.map(|x: Lane<E::Real, 1>| [x.grad]);
    }
}

#[test]
fn where_theta_is_not_rewritten_params_are_not() {
    let mut cuda = open(&Machine::claim());
    let mut optimizer = Optimizer::new(Watches, &mut cuda, &[3]).unwrap();
    let mut master = cuda.zeros(3).unwrap();
    let mut params = Shifted::new(&mut cuda, 0, &[F16::store(5.0f32); 3]).unwrap();
    let grad = Shifted::new(&mut cuda, 0, &[F16::store(2.0f32); 3]).unwrap();
    let (there, grad) = (&mut [&mut params.tensor], &[&grad.tensor]);
    cuda.step_mixed(&mut optimizer, &mut [&mut master], there, grad)
        .unwrap();
    let mut slot = [0.0; 3];
    cuda.read(optimizer.slot(0).unwrap(), 0, &mut slot).unwrap();
    assert_eq!(slot, [2.0; 3]);
    assert_eq!(params.read(&mut cuda).unwrap(), [F16::store(5.0f32); 3]);
}

#[test]
fn in_full_there_is_no_copy_to_keep() {
    let mut cuda = open(&Machine::claim());
    let (mut master, mut grad) = (cuda.zeros(2).unwrap(), cuda.zeros_of::<f32>(2).unwrap());
    cuda.write(&mut grad, 0, &[1.0, -1.0]).unwrap();
    let mut optimizer = Optimizer::new(whole_steps(), &mut cuda, &[2]).unwrap();
    cuda.step_mixed(&mut optimizer, &mut [&mut master], &mut [], &[&grad])
        .unwrap();
    let mut numbers = [0.0; 2];
    cuda.read(&master, 0, &mut numbers).unwrap();
    assert_eq!(numbers, [-1.0, 1.0]);
}

fn whole_steps() -> Sgd {
    Sgd {
        lr: 1.0,
        ..Sgd::default()
    }
}

/// The same rule and the same tensors, compiled for each type.
#[test]
fn steps_in_full_and_in_mixed_precision_may_take_turns() {
    const LEN: usize = CHUNK + 1;
    let mut cuda = open(&Machine::claim());
    let mut optimizer = Optimizer::new(whole_steps(), &mut cuda, &[LEN]).unwrap();
    let mut master = cuda.zeros(LEN).unwrap();
    let full = Shifted::new(&mut cuda, 0, &[8.0; LEN]).unwrap();
    let mut bf16 =
        [0.0, 2.0].map(|x: f32| Shifted::new(&mut cuda, 0, &[Bf16::store(x); LEN]).unwrap());
    let mut f16 =
        [0.0, 1.0].map(|x: f32| Shifted::new(&mut cuda, 0, &[F16::store(x); LEN]).unwrap());
    for _ in 0..2 {
        let [params, grad] = &mut bf16;
        let (params, grad) = (&mut [&mut params.tensor], &[&grad.tensor]);
        cuda.step_mixed(&mut optimizer, &mut [&mut master], params, grad)
            .unwrap();
        optimizer
            .step(&mut cuda, &mut [&mut master], &[&full.tensor])
            .unwrap();
        let [params, grad] = &mut f16;
        let (params, grad) = (&mut [&mut params.tensor], &[&grad.tensor]);
        cuda.step_mixed(&mut optimizer, &mut [&mut master], params, grad)
            .unwrap();
    }
    let mut numbers = [0.0; LEN];
    cuda.read(&master, 0, &mut numbers).unwrap();
    assert_eq!(numbers, [-22.0; LEN]);
    assert_eq!(
        bf16[0].read(&mut cuda).unwrap(),
        [Bf16::store(-13.0f32); LEN]
    );
    assert_eq!(f16[0].read(&mut cuda).unwrap(), [F16::store(-22.0f32); LEN]);
}

#[test]
fn a_step_is_one_launch_and_params_that_move_are_followed_without_a_wait() {
    let machine = Machine::claim();
    let mut cuda = open(&machine);
    let mut optimizer = Optimizer::new(whole_steps(), &mut cuda, &[10]).unwrap();
    let mut master = cuda.zeros(10).unwrap();
    let [mut here, mut there, grad] =
        [0.0, 0.0, 1.0].map(|x: f32| Shifted::new(&mut cuda, 0, &[Bf16::store(x); 10]).unwrap());
    let mut calls = |params: &mut Shifted<Bf16>| {
        machine.take_calls();
        let (params, grad) = (&mut [&mut params.tensor], &[&grad.tensor]);
        cuda.step_mixed(&mut optimizer, &mut [&mut master], params, grad)
            .unwrap();
        machine.take_calls()
    };
    calls(&mut here);
    assert_eq!(calls(&mut here), ["cuLaunchKernel"]);
    let moved = calls(&mut there);
    assert!(
        !moved
            .iter()
            .any(|call| call.contains("Alloc") || *call == "cuStreamSynchronize"),
        "{moved:?}"
    );
    assert_eq!(here.read(&mut cuda).unwrap(), [Bf16::store(-2.0f32); 10]);
    assert_eq!(there.read(&mut cuda).unwrap(), [Bf16::store(-3.0f32); 10]);
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_changes() {
    let machine = Machine::claim();
    let mut cuda = open(&machine);
    let mut optimizer = Optimizer::new(AdaRem::default(), &mut cuda, &[3, 2]).unwrap();
    let (mut a, mut b) = (cuda.zeros(3).unwrap(), cuda.zeros(2).unwrap());
    let [mut x, mut y, mut short, g, h] =
        [3, 2, 1, 3, 2].map(|len| cuda.zeros_of::<Bf16>(len).unwrap());
    let mut refused = |params: &mut [&mut Tensor<Bf16>], grad: &[&Tensor<Bf16>], what| {
        let refusal = cuda.step_mixed(&mut optimizer, &mut [&mut a, &mut b], params, grad);
        match refusal {
            Err(Error::Core(ErrorKind::Length(mismatch))) => assert_eq!(mismatch.what, what),
            other => panic!("{other:?}"),
        }
        assert_eq!((optimizer.phase(), optimizer.steps()), (Phase::Ready, 0));
    };
    refused(&mut [&mut x, &mut short], &[&g, &h], "params");
    refused(&mut [&mut x], &[&g, &h], "the list of params");
    refused(&mut [&mut x, &mut y], &[&g, &g], "grad");
    refused(&mut [&mut x, &mut y], &[&g], "the list of grads");
    assert_eq!(machine.launches(), 0);

    let is_length = |error: Error| matches!(error, Error::Core(ErrorKind::Length(_)));
    let mut numbers = [Bf16::default(); 3];
    assert!(is_length(cuda.write_of(&mut x, 1, &numbers).unwrap_err()));
    assert!(is_length(cuda.read_of(&x, 1, &mut numbers).unwrap_err()));
}
