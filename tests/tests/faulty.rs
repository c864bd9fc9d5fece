//! The kit sees faults: a backend with one planted fault at a time, and the checks that must name it.

use std::collections::HashMap;

use adarem::plan::{Id, Op, OpSet};
use adarem::{
    Accumulators, Backend, Batch, CHUNK, ErrorKind, FoldOp, Mismatch, Plan, Real, Scope, WIDTH,
};
use adarem_conformance::{Kit, Tolerance};

/// One way to get a backend wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    // Calls.
    FailsEveryNinthStep,
    DropsEveryFifthWrite,
    WritesAtTheBeginning,
    ReadsAtTheBeginning,
    ReadsPastTheEndAsZeros,
    PromisesAnyMemory,
    GivesMemoryThatIsNotZero,
    // Arithmetic.
    ContractsMultiplyAdd,
    FlushesSubnormalResults,
    FlushesSubnormalOperands,
    RootsByReciprocal,
    SwapsMax,
    LetsNanWinMax,
    ComparesWithEquality,
    DividesByReciprocal,
    TakesSignOfZeroAsPlus,
    NegatesFromZero,
    RoundsLiteralsTwice,
    // Folds.
    MirrorsTheTree,
    HalvesNeighbours,
    CutsOtherChunks,
    AddsPartialsInARow,
    LetsNanWinTheLargest,
    FoldsTheGroupPerTensor,
    FoldsTheGroupAsOneTensor,
    // State.
    ForgetsCarry,
    CarriesTooEarly,
    CarriesOfTheFirstTensor,
    WritesTheGaps,
    LeavesTheLastLane,
    RemembersTheFirstGradients,
    RemembersTheFirstUniforms,
    SkipsEmptyTensors,
}

struct Faulty {
    fault: Fault,
    steps: usize,
    writes: usize,
    gradients: HashMap<(Plan, Vec<usize>), Vec<Vec<f32>>>,
    uniforms: HashMap<Plan, Vec<f64>>,
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        Faulty {
            fault,
            steps: 0,
            writes: 0,
            gradients: HashMap::new(),
            uniforms: HashMap::new(),
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn flushed(&self, at: Fault, x: f32) -> f32 {
        if self.has(at) && x.is_subnormal() {
            0.0f32.copysign(x)
        } else {
            x
        }
    }

    /// The meaning of the ops, as [`Plan::eval`] has it, but for the fault.
    fn eval(&self, plan: &Plan, ops: &OpSet, values: &mut [f32], leaf: impl Fn(Op) -> f32) {
        use Fault::*;
        for id in ops.iter() {
            let x = |id: Id| self.flushed(FlushesSubnormalOperands, values[usize::from(id)]);
            let product = |id: Id| match plan.op(id) {
                Op::Mul(a, b) if self.has(ContractsMultiplyAdd) => Some((x(a), x(b))),
                _ => None,
            };
            let value = match plan.op(id) {
                Op::Lit(c) if self.has(RoundsLiteralsTwice) => {
                    // By way of bfloat16, as an author short of bits may have it.
                    f32::from_bits((c.value() as f32).to_bits() & 0xffff_0000)
                }
                Op::Lit(c) => Real::lit(c.value()),
                Op::Add(a, b) => match product(a) {
                    Some((p, q)) => p.mul_add(q, x(b)),
                    None => x(a) + x(b),
                },
                Op::Sub(a, b) => x(a) - x(b),
                Op::Mul(a, b) => x(a) * x(b),
                Op::Div(a, b) if self.has(DividesByReciprocal) => x(a) * (1.0 / x(b)),
                Op::Div(a, b) => x(a) / x(b),
                Op::Max(a, b) if self.has(SwapsMax) => Real::max(x(b), x(a)),
                Op::Max(_, b) if self.has(LetsNanWinMax) && x(b).is_nan() => x(b),
                Op::Max(a, b) => Real::max(x(a), x(b)),
                Op::XorSign(a, b) if self.has(TakesSignOfZeroAsPlus) && x(b) == 0.0 => x(a),
                Op::XorSign(a, b) => x(a).xor_sign(x(b)),
                Op::Lt(a, b) if self.has(ComparesWithEquality) => f32::from(u8::from(x(a) <= x(b))),
                Op::Lt(a, b) => f32::from(u8::from(x(a) < x(b))),
                Op::Neg(a) if self.has(NegatesFromZero) => 0.0 - x(a),
                Op::Neg(a) => -x(a),
                Op::Abs(a) => x(a).abs(),
                Op::Sqrt(a) if self.has(RootsByReciprocal) => 1.0 / (1.0 / x(a)).sqrt(),
                Op::Sqrt(a) => x(a).sqrt(),
                Op::Select(m, a, b) => {
                    if x(m) == 0.0 {
                        x(b)
                    } else {
                        x(a)
                    }
                }
                op => leaf(op),
            };
            values[usize::from(id)] = self.flushed(FlushesSubnormalResults, value);
        }
    }

    /// The tree, but for the fault.
    fn fold(&self, op: FoldOp, xs: &[f32]) -> f32 {
        let cut = if self.has(Fault::CutsOtherChunks) {
            1024
        } else {
            CHUNK
        };
        let partials: Vec<f32> = xs.chunks(cut).map(|chunk| self.halve(op, chunk)).collect();
        if self.has(Fault::AddsPartialsInARow) {
            return partials.into_iter().fold(0.0, |acc, x| op.step(acc, x));
        }
        self.halve(op, &partials)
    }

    fn halve(&self, op: FoldOp, xs: &[f32]) -> f32 {
        if op == FoldOp::MaxAbs {
            let nan_wins = self.has(Fault::LetsNanWinTheLargest);
            return match xs.iter().find(|x| nan_wins && x.is_nan()) {
                Some(nan) => *nan,
                None => xs.iter().fold(0.0, |acc, &x| op.step(acc, x)),
            };
        }
        let mut sums = [0.0; WIDTH];
        let mut order: Vec<usize> = (0..xs.len()).collect();
        if self.has(Fault::MirrorsTheTree) {
            order.reverse();
        }
        order.into_iter().for_each(|i| sums[i % WIDTH] += xs[i]);
        let mut width = WIDTH;
        while width > 1 {
            width /= 2;
            for k in 0..width {
                sums[k] = if self.has(Fault::HalvesNeighbours) {
                    sums[2 * k] + sums[2 * k + 1]
                } else {
                    sums[k] + sums[k + width]
                };
            }
        }
        sums[0]
    }
}

fn too_short() -> ErrorKind {
    let (expected, got) = (1, 0);
    ErrorKind::Length(Mismatch {
        what: "memory",
        tensor: 0,
        expected,
        got,
    })
}

impl Backend for Faulty {
    type Elem = f32;
    type Tensor = [f32];
    type Memory = Vec<f32>;
    type Error = ErrorKind;

    fn zeros(&mut self, len: usize) -> Result<Vec<f32>, ErrorKind> {
        if len > 1 << 40 {
            return match self.fault {
                Fault::PromisesAnyMemory => Ok(Vec::new()),
                _ => Err(ErrorKind::OutOfMemory),
            };
        }
        let zero = if self.has(Fault::GivesMemoryThatIsNotZero) {
            1e-9
        } else {
            0.0
        };
        Ok(vec![zero; len])
    }

    fn write(&mut self, to: &mut [f32], at: usize, from: &[f32]) -> Result<(), ErrorKind> {
        self.writes += 1;
        let place = to.get_mut(at..).and_then(|to| to.get_mut(..from.len()));
        place.ok_or(too_short())?;
        match self.fault {
            Fault::DropsEveryFifthWrite if self.writes.is_multiple_of(5) => {}
            Fault::WritesAtTheBeginning => to[..from.len()].copy_from_slice(from),
            _ => to[at..at + from.len()].copy_from_slice(from),
        }
        Ok(())
    }

    fn read(&mut self, from: &[f32], at: usize, to: &mut [f32]) -> Result<(), ErrorKind> {
        let found = from.get(at..).and_then(|from| from.get(..to.len()));
        let found = match found {
            Some(_) if self.has(Fault::ReadsAtTheBeginning) => &from[..to.len()],
            None if self.has(Fault::ReadsPastTheEndAsZeros) => {
                to.fill(0.0);
                return Ok(());
            }
            found => found.ok_or(too_short())?,
        };
        to.copy_from_slice(found);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }

    fn run(
        &mut self,
        plan: &Plan,
        uniforms: &[f64],
        batch: Batch<'_, '_, Self>,
    ) -> Result<(), ErrorKind> {
        use Fault::*;
        self.steps += 1;
        if self.has(FailsEveryNinthStep) && self.steps.is_multiple_of(9) {
            return Err(ErrorKind::Other);
        }
        let ranges: Vec<_> = batch.ranges().collect();
        let Batch {
            theta,
            grad,
            slots,
            carried,
        } = batch;
        let mut grad: Vec<Vec<f32>> = grad.iter().map(|grad| grad.to_vec()).collect();
        let mut uniforms = uniforms.to_vec();
        if self.has(RemembersTheFirstGradients) {
            let lengths = grad.iter().map(Vec::len).collect();
            grad = self
                .gradients
                .entry((plan.clone(), lengths))
                .or_insert(grad)
                .clone();
        }
        if self.has(RemembersTheFirstUniforms) {
            uniforms = self
                .uniforms
                .entry(plan.clone())
                .or_insert(uniforms)
                .clone();
        }
        let uniform = |k: u8| uniforms[usize::from(k)] as f32;
        let found = carried.clone();
        let count = plan.carried();
        let carried_of = |carried: &[f32], i: usize, k: u8| {
            let i = if self.has(CarriesOfTheFirstTensor) {
                0
            } else {
                i
            };
            carried[i * count + usize::from(k)]
        };

        let mut values = vec![vec![0.0; plan.ops().len()]; theta.len()];
        for (p, pass) in plan.passes().iter().enumerate() {
            let mut contributions = vec![vec![Vec::new(); pass.folds().len()]; theta.len()];
            let lane_ops = plan.lane_ops(p);
            for (i, theta) in theta.iter_mut().enumerate() {
                let values = &mut values[i];
                let lanes = match theta.len() {
                    0 => 0,
                    len if self.has(LeavesTheLastLane) && len > 4 && len % 4 == 1 => len - 1,
                    len => len,
                };
                for l in 0..lanes {
                    let at = ranges[i].start + l;
                    self.eval(plan, &lane_ops, values, |op| match op {
                        Op::Theta(_) => theta[l],
                        Op::Grad(_) => grad[i][l],
                        Op::Slot(_, k) => slots[usize::from(k)][at],
                        Op::Uniform(k) => uniform(k),
                        Op::Carried(k) => carried_of(carried, i, k),
                        op => unreachable!("{op}"),
                    });
                    if let Some(id) = pass.theta() {
                        theta[l] = values[usize::from(id)];
                    }
                    for (k, slot) in slots.iter_mut().enumerate() {
                        if let Some(id) = pass.slot(k) {
                            slot[at] = values[usize::from(id)];
                            if self.has(WritesTheGaps) && l + 1 == lanes {
                                let end = slot.len().min(at.next_multiple_of(64));
                                slot[at + 1..end.max(at + 1)].fill(0.0);
                            }
                        }
                    }
                    for (list, &(_, id)) in contributions[i].iter_mut().zip(pass.folds()) {
                        list.push(values[usize::from(id)]);
                    }
                }
            }

            let mut folded = vec![Vec::new(); theta.len()];
            for (k, (fold, _)) in pass.folds().iter().enumerate() {
                let results: Vec<f32> = contributions
                    .iter()
                    .map(|lists| self.fold(fold.op, &lists[k]))
                    .collect();
                let group = match self.fault {
                    FoldsTheGroupAsOneTensor => {
                        let all: Vec<f32> = contributions
                            .iter()
                            .flat_map(|lists| lists[k].clone())
                            .collect();
                        self.fold(fold.op, &all)
                    }
                    _ => {
                        let mut group = Accumulators::new(fold.op);
                        results.iter().for_each(|&x| group.push(x));
                        group.finish()
                    }
                };
                for (folded, result) in folded.iter_mut().zip(results) {
                    let per_tensor =
                        fold.scope == Scope::Tensor || self.has(FoldsTheGroupPerTensor);
                    folded.push(if per_tensor { result } else { group });
                }
            }

            for (i, values) in values.iter_mut().enumerate() {
                if self.has(SkipsEmptyTensors) && theta[i].is_empty() {
                    continue;
                }
                self.eval(plan, &plan.scalar_ops(p), values, |op| match op {
                    Op::Uniform(k) => uniform(k),
                    Op::Carried(k) if self.has(CarriesTooEarly) => carried_of(carried, i, k),
                    Op::Carried(k) => carried_of(&found, i, k),
                    Op::Folded(_, k) => folded[i][usize::from(k)],
                    op => unreachable!("{op}"),
                });
                for (k, id) in plan.carries(p) {
                    match self.fault {
                        ForgetsCarry if k == 1 => {}
                        // One scalar is written before the next is computed.
                        CarriesTooEarly => {
                            carried[i * count + k] = values[usize::from(id)];
                            self.eval(plan, &plan.scalar_ops(p), values, |op| match op {
                                Op::Uniform(k) => uniform(k),
                                Op::Carried(k) => carried_of(carried, i, k),
                                Op::Folded(_, k) => folded[i][usize::from(k)],
                                op => unreachable!("{op}"),
                            });
                        }
                        _ => carried[i * count + k] = values[usize::from(id)],
                    }
                }
            }
        }
        Ok(())
    }
}

/// For each fault, a check that must fail: the one that its author would look at first.
const NAMED: &[(Fault, &str)] = &[
    (Fault::FailsEveryNinthStep, "rule adam"),
    (Fault::DropsEveryFifthWrite, "memory keeps what is written"),
    (Fault::WritesAtTheBeginning, "memory keeps what is written"),
    (Fault::ReadsAtTheBeginning, "memory keeps what is written"),
    (
        Fault::ReadsPastTheEndAsZeros,
        "memory refuses what does not fit",
    ),
    (
        Fault::PromisesAnyMemory,
        "memory that is not there is refused",
    ),
    (
        Fault::GivesMemoryThatIsNotZero,
        "memory keeps what is written",
    ),
    (Fault::ContractsMultiplyAdd, "rule adarem"),
    (Fault::FlushesSubnormalResults, "op mul"),
    (Fault::FlushesSubnormalOperands, "op neg"),
    (Fault::SwapsMax, "op max"),
    (Fault::LetsNanWinMax, "op max"),
    (Fault::ComparesWithEquality, "op lt"),
    (Fault::DividesByReciprocal, "op div"),
    (Fault::RootsByReciprocal, "op sqrt"),
    (Fault::TakesSignOfZeroAsPlus, "op xor_sign"),
    (Fault::NegatesFromZero, "op neg"),
    (Fault::RoundsLiteralsTwice, "op add with constants"),
    (Fault::MirrorsTheTree, "folds of one tensor"),
    (Fault::HalvesNeighbours, "folds of one tensor"),
    (Fault::CutsOtherChunks, "folds of one tensor"),
    (Fault::AddsPartialsInARow, "folds of one tensor"),
    (Fault::LetsNanWinTheLargest, "folds with one spicy number"),
    (Fault::FoldsTheGroupPerTensor, "folds of a batch"),
    (Fault::FoldsTheGroupAsOneTensor, "folds of a batch"),
    (Fault::ForgetsCarry, "rule adarem_s"),
    (Fault::CarriesTooEarly, "scalar op sub"),
    (Fault::CarriesOfTheFirstTensor, "batch of seven tensors"),
    (Fault::WritesTheGaps, "rule adarem"),
    (Fault::LeavesTheLastLane, "folds of one tensor"),
    (
        Fault::RemembersTheFirstGradients,
        "order of steps over two batches",
    ),
    (Fault::RemembersTheFirstUniforms, "rule adam"),
    (Fault::SkipsEmptyTensors, "folds of a batch"),
];

#[test]
fn without_a_fault_it_conforms() {
    let report = Kit::new("faulty")
        .largest(21_000)
        .check(&mut Faulty::new(Fault::Nothing));
    assert!(report.passed(), "{report}");
}

#[test]
fn every_fault_is_seen_by_the_check_that_names_it() {
    for &(fault, check) in NAMED {
        let report = Kit::new("faulty")
            .only(check)
            .check(&mut Faulty::new(fault));
        let failed = report.failures().any(|outcome| outcome.check == check);
        assert!(failed, "{fault:?} is not seen:\n{report}");
    }
}

#[test]
fn a_report_says_where_to_look_and_how_to_see_it_again() {
    let report = Kit::new("npu")
        .only("op neg")
        .check(&mut Faulty::new(Fault::NegatesFromZero));
    let text = report.to_string();
    assert!(
        text.contains("op neg: FAILED one step, by Step: theta 0, number"),
        "{text}"
    );
    assert!(
        text.contains("must be -0.0 (0x80000000), is 0.0 (0x0), 1 ULP away"),
        "{text}"
    );
    assert!(
        text.contains("Kit::new(\"npu\").seed(0xada0e3).only(\"op neg\")"),
        "{text}"
    );
}

/// Negation as a subtraction from 0, which loses the sign of zero: 1 ULP, as the kit counts them.
fn negation(ulp: u64) -> Tolerance {
    Tolerance {
        device: "npu",
        check: "op neg",
        ulp,
        reason: "the device subtracts from 0",
    }
}

#[test]
fn a_tolerance_covers_what_it_says_and_no_more() {
    let report = |ulp, fault| {
        let kit = Kit::new("npu").only("op neg").tolerate(negation(ulp));
        kit.check(&mut Faulty::new(fault))
    };
    let covered = report(1, Fault::NegatesFromZero);
    assert!(covered.passed(), "{covered}");
    assert!(
        covered
            .to_string()
            .contains("op neg: within 1 ULP (the device subtracts from 0); worst 1")
    );
    let exceeded = report(0, Fault::NegatesFromZero);
    assert!(
        !exceeded.passed() && exceeded.to_string().contains("op neg: FAILED"),
        "{exceeded}"
    );
}

#[test]
fn no_tolerance_covers_a_nan() {
    let line = Tolerance {
        check: "op max",
        ..negation(u64::MAX)
    };
    let kit = Kit::new("npu").only("op max").tolerate(line);
    assert!(!kit.check(&mut Faulty::new(Fault::LetsNanWinMax)).passed());
}

#[test]
fn a_tolerance_that_is_not_needed_fails() {
    let kit = Kit::new("npu").only("op neg").tolerate(negation(4));
    let report = kit.check(&mut Faulty::new(Fault::Nothing));
    assert!(!report.passed());
    assert!(
        report
            .to_string()
            .contains("4 ULP for op neg is not needed: delete its line")
    );
    // Where its check did not run, nothing is known of it.
    let kit = Kit::new("npu").only("op add").tolerate(negation(4));
    assert!(kit.check(&mut Faulty::new(Fault::Nothing)).passed());
}
