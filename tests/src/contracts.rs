//! Checks of what a backend promises besides numbers: memory, lengths, errors by kind, order and flush.

use core::borrow::{Borrow, BorrowMut};

use adarem::{AdaRem, Backend, CHUNK, Error, ErrorKind, Optimizer, Phase, Tensor};

use crate::checkpoints::Training;
use crate::direct;
use crate::failing::{Call, Failing};
use crate::kit::{Run, Stop, Tally, ensure};
use crate::number::{Random, spicy, ulps};
use crate::state::{Door, Loaded, State};

pub(crate) fn check<B: Backend>(run: &mut Run<'_, B>) {
    run.check("memory keeps what is written", |backend, random, _| {
        memory(backend, random)
    });
    run.check("memory refuses what does not fit", |backend, _, _| {
        lengths(backend)
    });
    run.check("memory that is not there is refused", |backend, _, _| {
        // 2^60 elements are more bytes than any machine can address.
        match backend.zeros(1 << 60).map_err(|error| error.kind()) {
            Err(ErrorKind::OutOfMemory) => Ok(()),
            Err(other) => Err(format!("2^60 elements gave {other:?}, not OutOfMemory").into()),
            Ok(_) => Err("2^60 elements were granted".into()),
        }
    });
    run.check("flush at any time", flush);
    run.check("order of steps over two batches", order);
    run.check("one gradient for two tensors", shared_gradient);
    run.check("optimizer refuses and changes nothing", refusals);
    run.check("optimizer is torn by a failing call", torn);
}

fn memory<B: Backend>(backend: &mut B, random: &mut Random) -> Result<(), Stop> {
    for len in [0, 1, 2, 63, 64, 65, 1000, CHUNK + 1] {
        let mut memory = backend.zeros(len)?;
        let tensor: &B::Tensor = memory.borrow();
        ensure(
            tensor.len() == len,
            format!("{len} zeros say they are {}", tensor.len()),
        )?;
        let mut want = vec![num_traits::zero::<B::Elem>(); len];
        same(backend, &memory, &want, "zeros")?;

        want.iter_mut().for_each(|x| *x = random.any());
        backend.write(memory.borrow_mut(), 0, &want)?;
        same(backend, &memory, &want, "what was written")?;

        // A part in the middle, and none at the end.
        let at = random.below(len + 1);
        let part: Vec<B::Elem> = spicy().into_iter().take(len - at).collect();
        backend.write(memory.borrow_mut(), at, &part)?;
        want[at..at + part.len()].copy_from_slice(&part);
        same(backend, &memory, &want, "a part that was written")?;
        backend.write(memory.borrow_mut(), len, &[])?;
        let mut read = part.clone();
        read.fill(num_traits::one());
        backend.read(memory.borrow(), at, &mut read)?;
        let same = read.iter().zip(&part).all(|(a, b)| ulps(*a, *b) == 0);
        ensure(
            same,
            format!("a part read at {at} of {len} is not what was written there"),
        )?;
        backend.read(memory.borrow(), len, &mut [])?;
    }
    Ok(())
}

fn same<B: Backend>(
    backend: &mut B,
    memory: &B::Memory,
    want: &[B::Elem],
    what: &str,
) -> Result<(), Stop> {
    let mut got = vec![num_traits::one::<B::Elem>(); want.len()];
    backend.read(memory.borrow(), 0, &mut got)?;
    let differs = want.iter().zip(&got).position(|(a, b)| ulps(*a, *b) != 0);
    match differs {
        None => Ok(()),
        Some(i) => Err(format!(
            "{what}, {} numbers: number {i} must be {:?}, is {:?}",
            want.len(),
            want[i],
            got[i]
        )
        .into()),
    }
}

fn lengths<B: Backend>(backend: &mut B) -> Result<(), Stop> {
    let one = num_traits::one::<B::Elem>();
    for (len, at, count) in [
        (0, 0, 1),
        (0, 1, 0),
        (5, 0, 6),
        (5, 5, 1),
        (5, 6, 0),
        (5, 3, 3),
        (5, usize::MAX, 2),
    ] {
        let mut memory = backend.zeros(len)?;
        let mut numbers = vec![one; count];
        let wrote = backend
            .write(memory.borrow_mut(), at, &numbers)
            .map_err(|e| e.kind());
        let read = backend
            .read(memory.borrow(), at, &mut numbers)
            .map_err(|e| e.kind());
        for (door, result) in [("written to", wrote), ("read from", read)] {
            ensure(
                matches!(result, Err(ErrorKind::Length(_))),
                format!("{count} numbers {door} {len} at {at} gave {result:?}, not Length"),
            )?;
        }
        same(
            backend,
            &memory,
            &vec![num_traits::zero(); len],
            "after a refused write",
        )?;
    }
    Ok(())
}

fn flush<B: Backend>(backend: &mut B, random: &mut Random, tally: &mut Tally) -> Result<(), Stop> {
    backend.flush()?;
    let rule = AdaRem::default();
    let mut state = State::start(&rule, &[3000, 5], || random.ordinary());
    let mut loaded = Loaded::new(backend, &state)?;
    backend.flush()?;
    for t in 0..3 {
        direct::step(&rule, t, &mut state);
        loaded.step(backend, &rule, t, Door::Step)?;
        backend.flush()?;
        backend.flush()?;
    }
    let got = loaded.read(backend, &state)?;
    tally.compare(&state, &got, || "three flushed steps".into());
    Ok(())
}

/// Two batches of the same lengths and rule, stepped in turn, with gradients rewritten behind every step
/// and nothing read before the end: what a backend caches by plan or by lengths must not mix them up.
fn order<B: Backend>(backend: &mut B, random: &mut Random, tally: &mut Tally) -> Result<(), Stop> {
    let rule = AdaRem::default();
    let shapes = [[900, 0, 64], [900, 0, 64], [64, 0, 900]];
    let mut states = shapes.map(|shape| State::start(&rule, &shape, || random.ordinary()));
    let mut loaded = Vec::new();
    for state in &states {
        loaded.push(Loaded::new(backend, state)?);
    }
    for t in 0..4 {
        for (state, loaded) in states.iter_mut().zip(&mut loaded) {
            direct::step(&rule, t, state);
            loaded.step(backend, &rule, t, Door::Step)?;
            state.draw_gradients(|| random.ordinary());
            loaded.write_gradients(backend, state)?;
        }
    }
    for (i, (state, loaded)) in states.iter().zip(&loaded).enumerate() {
        let got = loaded.read(backend, state)?;
        tally.compare(state, &got, || {
            format!("batch {i} of three, after four steps")
        });
    }
    Ok(())
}

fn shared_gradient<B: Backend>(
    backend: &mut B,
    random: &mut Random,
    tally: &mut Tally,
) -> Result<(), Stop> {
    let rule = AdaRem::default();
    let mut state = State::start(&rule, &[130, 130], || random.ordinary());
    state.grad[1] = state.grad[0].clone();
    let mut loaded = Loaded::new(backend, &state)?;
    for t in 0..2 {
        direct::step(&rule, t, &mut state);
        loaded.step_by_one_gradient(backend, &rule, t)?;
    }
    let got = loaded.read(backend, &state)?;
    tally.compare(&state, &got, || "two steps".into());
    Ok(())
}

/// A step that is refused, for each reason there is: of the right kind, and without a trace.
fn refusals<B: Backend>(
    backend: &mut B,
    random: &mut Random,
    tally: &mut Tally,
) -> Result<(), Stop> {
    let invalid = AdaRem {
        beta: 1.0,
        ..AdaRem::default()
    };
    let refused = Optimizer::new(invalid, backend, &[3])
        .map(|_| ())
        .map_err(|e| e.kind());
    ensure(
        matches!(refused, Err(ErrorKind::Config(_))),
        format!("beta = 1 gave {refused:?}, not Config"),
    )?;

    let rule = AdaRem::default();
    let mut state = State::start(&rule, &[70, 3], || random.ordinary());
    state.clear_gaps();
    let mut training = Training::new(backend, &rule, &state)?;
    training.step(backend, &mut state, random)?;

    training.optimizer.rule_mut().lr = f64::NAN;
    let refused = training.bare_step(backend).map_err(|e| e.kind());
    ensure(
        matches!(refused, Err(ErrorKind::Config(_))),
        format!("lr = NaN gave {refused:?}, not Config"),
    )?;
    training.optimizer.rule_mut().lr = rule.lr;

    for wrong in [vec![70, 4], vec![3, 70], vec![70], vec![70, 3, 0], vec![]] {
        let other = State::start(&rule, &wrong, || random.ordinary());
        let mut other = Training::new(backend, &rule, &other)?;
        core::mem::swap(&mut other.theta, &mut training.theta);
        core::mem::swap(&mut other.grad, &mut training.grad);
        let refused = training.bare_step(backend).map_err(|e| e.kind());
        ensure(
            matches!(refused, Err(ErrorKind::Length(_))),
            format!("tensors of lengths {wrong:?} for [70, 3] gave {refused:?}, not Length"),
        )?;
        core::mem::swap(&mut other.theta, &mut training.theta);
        core::mem::swap(&mut other.grad, &mut training.grad);
    }
    training.step(backend, &mut state, random)?;
    training.compare(backend, &state, tally, "the step after the refusals")
}

/// A call that fails tears the optimizer; only a checkpoint mends it, and then nothing is left of the tear.
fn torn<B: Backend>(backend: &mut B, random: &mut Random, tally: &mut Tally) -> Result<(), Stop> {
    let rule = AdaRem::default();
    let mut state = State::start(&rule, &[5000, 7], || random.ordinary());
    state.clear_gaps();
    for done in [false, true] {
        let mut failing = Failing::new(&mut *backend);
        let mut training = Training::new(&mut failing, &rule, &state)?;
        training.step(&mut failing, &mut state, random)?;
        let saved = training.save(&mut failing)?;

        failing.fail_next(Call::Step, done);
        let failed = training.bare_step(&mut failing).map_err(|e| e.kind());
        ensure(
            failed == Err(ErrorKind::DeviceLost),
            format!("a lost device gave {failed:?}"),
        )?;
        ensure(
            training.optimizer.phase() == Phase::Torn,
            "a failed step left the optimizer ready",
        )?;
        let refused = training.bare_step(&mut failing).map_err(|e| e.kind());
        ensure(
            refused == Err(ErrorKind::Torn),
            format!("a torn optimizer gave {refused:?}"),
        )?;
        let refused = training
            .optimizer
            .save(&mut failing, |_| {})
            .map_err(|e| e.kind());
        ensure(
            refused == Err(ErrorKind::Torn),
            format!("saving what is torn gave {refused:?}"),
        )?;

        training.optimizer.restore(&mut failing, &saved)?;
        training.write_theta(&mut failing, &state)?;
        training.step(&mut failing, &mut state, random)?;
        training.compare(
            &mut failing,
            &state,
            tally,
            "the step after a restored checkpoint",
        )?;

        // For the next round, the state that its new optimizer begins with.
        let theta = state.theta;
        state = State::start(&rule, &[5000, 7], || random.ordinary());
        state.theta = theta;
        state.clear_gaps();
    }
    Ok(())
}
