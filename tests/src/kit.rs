//! [`Kit`]: the checks, in their order, and how each is judged.

use core::fmt;
use core::ops::Range;

use adarem::{Backend, Element, Rule};

use crate::direct;
use crate::number::Random;
use crate::report::{Outcome, Report, Verdict};
use crate::state::{Difference, Door, Loaded, State};
use crate::tolerance::{TABLE, Tolerance};
use crate::{batches, checkpoints, contracts, folds, ops, policies, programs, rules};

/// The kit, to be adjusted: for a device that needs a tolerance, or to see one check again.
///
/// ```
/// use adarem_conformance::{Interpreter, Kit};
///
/// let report = Kit::new("interpreter").only("op max").check(&mut Interpreter::<f32>::default());
/// assert!(report.passed(), "{report}");
/// assert_eq!(report.outcomes.len(), 2); // of variables, and with constants
/// ```
#[derive(Clone, Debug)]
pub struct Kit {
    device: String,
    seed: u64,
    only: Option<String>,
    tolerances: Vec<Tolerance>,
    largest: usize,
}

impl Kit {
    /// The kit for the device of this name, with its lines of the tolerance [table](TABLE).
    pub fn new(device: impl Into<String>) -> Self {
        let device = device.into();
        let lines = TABLE.iter().filter(|line| line.device == device);
        Kit {
            tolerances: lines.copied().collect(),
            device,
            seed: 0xada_0e3,
            only: None,
            largest: folds::TWO_LEVELS,
        }
    }

    /// Draws other numbers.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Runs the checks whose names begin so.
    pub fn only(mut self, check: impl Into<String>) -> Self {
        self.only = Some(check.into());
        self
    }

    /// Permits a difference: for a device that is not in this project's own table.
    pub fn tolerate(mut self, line: Tolerance) -> Self {
        self.tolerances.push(line);
        self
    }

    /// Leaves out tensors of more elements, for a device that is a slow imitation. The default reaches
    /// just beyond `CHUNK * WIDTH`, where the partials of one tensor begin to share accumulators.
    pub fn largest(mut self, elements: usize) -> Self {
        self.largest = elements;
        self
    }

    /// Runs all checks.
    pub fn check<B: Backend>(&self, backend: &mut B) -> Report {
        let mut run = Run {
            kit: self,
            backend,
            outcomes: Vec::new(),
            needed: vec![false; self.tolerances.len()],
        };
        contracts::check(&mut run);
        ops::check(&mut run);
        folds::check(&mut run);
        batches::check(&mut run);
        rules::check(&mut run);
        policies::check(&mut run);
        programs::check(&mut run);
        #[cfg(feature = "vectors")]
        run.check("reference vectors", |backend, _, _| {
            crate::vectors::replay_all(backend)?;
            Ok(())
        });
        checkpoints::check(&mut run);

        let Run {
            outcomes, needed, ..
        } = run;
        // A line is judged only where its check ran.
        let judged = |line: &Tolerance| self.runs(line.check);
        let unneeded = self.tolerances.iter().zip(needed);
        let unneeded = unneeded.filter(|(line, needed)| !needed && judged(line));
        Report {
            device: self.device.clone(),
            dtype: B::Elem::DTYPE,
            seed: self.seed,
            outcomes,
            unneeded: unneeded.map(|(line, _)| *line).collect(),
        }
    }

    fn runs(&self, check: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|only| check.starts_with(only.as_str()))
    }
}

/// The kit at work on one backend.
pub(crate) struct Run<'a, B: Backend> {
    kit: &'a Kit,
    pub(crate) backend: &'a mut B,
    outcomes: Vec<Outcome>,
    needed: Vec<bool>,
}

impl<B: Backend> Run<'_, B> {
    /// The largest tensor that is wanted.
    pub(crate) fn largest(&self) -> usize {
        self.kit.largest
    }

    /// Whether a tolerance says that this check need not be exact.
    pub(crate) fn is_inexact(&self, check: &str) -> bool {
        self.kit.tolerances.iter().any(|line| line.check == check)
    }

    /// Runs one check and judges it.
    pub(crate) fn check(
        &mut self,
        check: impl Into<String>,
        body: impl FnOnce(&mut B, &mut Random, &mut Tally) -> Result<(), Stop>,
    ) {
        let check = check.into();
        if !self.kit.runs(&check) {
            return;
        }
        let mut random = Random::about(self.kit.seed, &check);
        let mut tally = Tally::default();
        let ended = body(self.backend, &mut random, &mut tally);
        let verdict = match (ended, tally.worst) {
            (Err(Stop(why)), _) => Verdict::Broken(why),
            (Ok(()), None) => Verdict::Agrees,
            (Ok(()), Some((note, difference))) => self.judge(&check, note, difference),
        };
        self.outcomes.push(Outcome {
            check,
            numbers: tally.numbers,
            verdict,
        });
    }

    fn judge(&mut self, check: &str, note: String, difference: Difference) -> Verdict {
        let lines = self.kit.tolerances.iter().zip(&mut self.needed);
        for (line, needed) in lines {
            if line.check == check {
                *needed = true;
                // A NaN for a number, or the other way round, is never near.
                if difference.ulps <= line.ulp && difference.ulps < u64::MAX {
                    return Verdict::Within(*line, difference);
                }
            }
        }
        Verdict::Differs(note, difference)
    }
}

/// What a check has seen so far.
#[derive(Default)]
pub(crate) struct Tally {
    numbers: u64,
    worst: Option<(String, Difference)>,
}

impl Tally {
    /// Compares what the backend made with what the host made.
    pub(crate) fn compare<T: Element>(
        &mut self,
        want: &State<T>,
        got: &State<T>,
        note: impl FnOnce() -> String,
    ) {
        self.numbers += want.numbers();
        if let Some(difference) = want.worst(got) {
            let worst = self.worst.as_ref().map_or(0, |(_, worst)| worst.ulps);
            if difference.ulps > worst {
                self.worst = Some((note(), difference));
            }
        }
    }
}

/// Why a check could not go on: a broken contract, or an error of the backend.
pub(crate) struct Stop(String);

impl<E: fmt::Display> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop(error.to_string())
    }
}

/// Stops the check unless a contract `holds`.
pub(crate) fn ensure(holds: bool, broken: impl Into<String>) -> Result<(), Stop> {
    if holds {
        Ok(())
    } else {
        Err(Stop(broken.into()))
    }
}

/// One step of `rule` on both sides from `state`, through both doors; compares everything.
pub(crate) fn one_step<B: Backend, R: Rule>(
    backend: &mut B,
    tally: &mut Tally,
    rule: &R,
    t: u64,
    state: &State<B::Elem>,
    note: &str,
) -> Result<(), Stop> {
    let mut want = state.clone();
    direct::step(rule, t, &mut want);
    for door in Door::BOTH {
        let mut loaded = Loaded::new(backend, state)?;
        loaded.step(backend, rule, t, door)?;
        let got = loaded.read(backend, state)?;
        tally.compare(&want, &got, || format!("{note}, by {door:?}"));
    }
    Ok(())
}

/// Steps `t` of `rule` on both sides from `state`, each with new gradients: once through
/// [`Backend::step`], comparing everything after every step, and once through [`Backend::run`], reading
/// nothing before the end.
pub(crate) fn several_steps<B: Backend, R: Rule>(
    backend: &mut B,
    tally: &mut Tally,
    rule: &R,
    state: State<B::Elem>,
    steps: Range<u64>,
    gradient: &mut dyn FnMut(u64) -> B::Elem,
    note: &str,
) -> Result<(), Stop> {
    let mut want = state;
    let mut stepped = Loaded::new(backend, &want)?;
    let mut ran = Loaded::new(backend, &want)?;
    for t in steps {
        want.draw_gradients(|| gradient(t));
        for loaded in [&mut stepped, &mut ran] {
            loaded.write_gradients(backend, &want)?;
        }
        direct::step(rule, t, &mut want);
        stepped.step(backend, rule, t, Door::Step)?;
        ran.step(backend, rule, t, Door::Run)?;
        let got = stepped.read(backend, &want)?;
        tally.compare(&want, &got, || format!("after step {t}, {note}"));
    }
    let got = ran.read(backend, &want)?;
    tally.compare(&want, &got, || format!("at the end, run as a plan, {note}"));
    Ok(())
}

/// Steps `t` of `rule` over tensors of these `lengths`, on `backend` and directly, from parameters and
/// gradients that `numbers` gives, and from state of any numbers; compares every number after every step.
///
/// ```
/// use adarem::AdaRem;
/// use adarem_conformance::{Interpreter, agree, programs::Program};
///
/// let backend = &mut Interpreter::<f32>::default();
/// agree(backend, &AdaRem::default(), &[5, 0, 700], 0..3, &mut || 0.5)?;
/// agree(backend, &Program::decode(b"any bytes"), &[3], 0..1, &mut || f32::NAN)?;
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// The number that lies farthest off, or the backend's error, in words.
pub fn agree<B: Backend, R: Rule>(
    backend: &mut B,
    rule: &R,
    lengths: &[usize],
    steps: Range<u64>,
    numbers: &mut dyn FnMut() -> B::Elem,
) -> Result<(), String> {
    let mut tally = Tally::default();
    let state = State::of_any(rule, lengths, &mut *numbers);
    let ended = several_steps(
        backend,
        &mut tally,
        rule,
        state,
        steps,
        &mut |_| numbers(),
        "",
    );
    match (ended, tally.worst) {
        (Err(Stop(why)), _) => Err(why),
        (
            Ok(()),
            Some((
                note,
                Difference {
                    place, want, got, ..
                },
            )),
        ) => Err(format!("{note}{place} must be {want}, is {got}")),
        (Ok(()), None) => Ok(()),
    }
}
