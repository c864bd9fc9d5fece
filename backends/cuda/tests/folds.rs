//! Folds of every reach and length, and what passes hand to later passes, beside the core's host.

mod beside;

use adarem::{
    Accumulators, Backend, CHUNK, Element, Engine, Fold, FoldOp, Invalid, Lane, Optimizer, Real,
    Rule, Tensor as _,
};
use adarem_conformance::Random;
use adarem_cuda::ptx::Form;
use adarem_cuda::{Cuda, Memory, Tensor};
use adarem_cuda_softdriver::{Machine, Order};
use beside::{Setting, differ};

/// Writes no lane: carries the sum and the largest magnitude of theta, of the tensor and of the group.
#[derive(Clone)]
struct Measure;

impl Rule for Measure {
    const NAME: &'static str = "measure";
    const SLOTS: usize = 0;
    const CARRIED: usize = 4;

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    fn step<E: Engine>(&self, _: u64, engine: &mut E) {
        let folds = [
            Fold::SUM,
            Fold::MAX_ABS.over_group(),
            Fold::SUM.over_group(),
            Fold::MAX_ABS,
        ];
        let [sum, group_max, group_sum, max] =
            engine.pass(folds, |x: Lane<_, 0>| ([], [x.theta; 4]));
        engine.carry::<0>(sum);
        engine.carry::<1>(group_max);
        engine.carry::<2>(group_sum);
        engine.carry::<3>(max);
    }
}

/// The fold of a tensor, as `adarem::fold` states it.
fn folded<T: Element>(op: FoldOp, numbers: &[T]) -> T {
    let chunk = |chunk: &[T]| fold_all(op, chunk.iter().copied());
    fold_all(op, numbers.chunks(CHUNK).map(chunk))
}

fn fold_all<T: Element>(op: FoldOp, numbers: impl Iterator<Item = T>) -> T {
    let mut accumulators = Accumulators::new(op);
    numbers.for_each(|x| accumulators.push(x));
    accumulators.finish()
}

#[track_caller]
fn measures<T: Element>(lengths: &[usize], form: Form, order: Order) {
    let machine = Machine::claim();
    machine.set_order(order);
    let mut cuda = Cuda::<T>::open(machine.ordinal()).unwrap().with_form(form);
    let mut random = Random::new(3);
    let numbers: Vec<Vec<T>> = lengths
        .iter()
        .map(|len| random.many(*len, Random::mild))
        .collect();
    let mut thetas: Vec<Memory<T>> = Vec::new();
    for numbers in &numbers {
        let mut theta = cuda.zeros(numbers.len()).unwrap();
        cuda.write(&mut theta, 0, numbers).unwrap();
        thetas.push(theta);
    }
    // The rule does not read gradients, so none need be there.
    // SAFETY: nothing reads them.
    let grads: Vec<Tensor<T>> = lengths
        .iter()
        .map(|len| unsafe { Tensor::from_raw(0, *len) })
        .collect();
    let mut optimizer = Optimizer::new(Measure, &mut cuda, lengths).unwrap();
    let mut theta: Vec<&mut Tensor<T>> = thetas.iter_mut().map(|theta| &mut **theta).collect();
    let grad: Vec<&Tensor<T>> = grads.iter().collect();
    // Twice: the tickets must be back at zero.
    for _ in 0..2 {
        optimizer.step(&mut cuda, &mut theta, &grad).unwrap();
    }
    let mut carried = vec![T::zero(); optimizer.carried().len()];
    cuda.read(optimizer.carried(), 0, &mut carried)
        .unwrap_or_else(|error| panic!("{error}: {:?}", machine.take_faults()));

    let of_tensors = |op| -> Vec<T> { numbers.iter().map(|numbers| folded(op, numbers)).collect() };
    let (sums, maxima) = (of_tensors(FoldOp::Sum), of_tensors(FoldOp::MaxAbs));
    let group_sum = fold_all(FoldOp::Sum, sums.iter().copied());
    let group_max = fold_all(FoldOp::MaxAbs, maxima.iter().copied());
    for (i, got) in carried.chunks_exact(4).enumerate() {
        let want = [sums[i], group_max, group_sum, maxima[i]];
        assert_eq!(
            want.map(T::to_le),
            [got[0], got[1], got[2], got[3]].map(T::to_le),
            "tensor {i} of {} lanes: {want:?} and {got:?}, {form:?}, {order:?}",
            lengths[i],
        );
    }
}

#[test]
fn of_tensors_and_groups_in_every_form_and_order() {
    let lengths = [0, 1, 513, 4095, 4096, 4097, 3 * CHUNK, 0, 7];
    for form in [Form::Fused, Form::Split] {
        for order in [Order::Forward, Order::Backward, Order::Shuffled(9)] {
            measures::<f32>(&lengths, form, order);
            measures::<f64>(&lengths, form, order);
        }
    }
}

#[test]
fn of_more_tensors_than_accumulators() {
    // A block takes 2048 of their results at a time, and what is left one by one: in some of these nothing is taken whole.
    for count in [512, 513, 1500, 2600] {
        let lengths: Vec<usize> = (0..count).map(|i| i % 3).collect();
        measures::<f32>(&lengths, Form::Fused, Order::Backward);
    }
}

#[test]
fn of_more_chunks_than_accumulators() {
    for chunks in [513, 2050] {
        measures::<f32>(&[chunks * CHUNK + 1], Form::Fused, Order::Forward);
    }
}

/// Three passes: the later ones read scalars, a mask and carried numbers that the earlier ones knew. The second only
/// reads the last slot, the third only writes it.
#[derive(Clone)]
struct Relay;

impl Rule for Relay {
    const NAME: &'static str = "relay";
    const SLOTS: usize = 3;
    const CARRIED: usize = 2;

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    fn step<E: Engine>(&self, t: u64, engine: &mut E) {
        let (old, older) = (engine.carried::<0>(), engine.carried::<1>());
        let scale = engine.uniform(0.25 + t as f64);
        let [sum, max] = engine.pass([Fold::SUM, Fold::MAX_ABS], |x: Lane<E::Real, 0>| {
            (x, [x.theta * x.grad, x.grad])
        });
        let falls = sum.lt(old);
        let rate = scale / (max + E::Real::lit(1.0));
        let [moved] = engine.pass([Fold::SUM], |x: Lane<E::Real, 3>| {
            let [sum, kept, last] = x.slot;
            let step = rate * x.grad;
            let theta = E::Real::select(falls, x.theta - step, last + step.abs());
            let lane = Lane {
                theta,
                slot: [sum + theta, kept, last],
                ..x
            };
            (lane, [step])
        });
        let root = (moved * moved).sqrt().max(sum);
        engine.map(|x: Lane<E::Real, 3>| {
            let other = E::Real::select(falls, root, older);
            let kept = x.slot[1].max(x.theta.xor_sign(sum));
            Lane {
                theta: -x.theta,
                slot: [x.slot[0] + other * rate, kept, x.theta * x.grad],
                ..x
            }
        });
        engine.carry::<0>(moved);
        engine.carry::<1>(E::Real::select(falls, sum, old));
    }
}

#[test]
fn what_passes_hand_on_reaches_the_later_ones() {
    for form in [Form::Fused, Form::Split] {
        for order in [Order::Forward, Order::Backward] {
            let setting = Setting {
                form,
                order,
                steps: 4,
                ..Setting::of(&[9001, 0, 5, 4096])
            };
            assert_eq!(differ::<f32, _>(&Machine::claim(), &Relay, &setting), None);
            assert_eq!(differ::<f64, _>(&Machine::claim(), &Relay, &setting), None);
        }
    }
}
