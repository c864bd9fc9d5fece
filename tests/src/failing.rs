//! [`Failing`]: a backend around a backend whose calls fail when they are told to.

use adarem::{Backend, Batch, ErrorKind, Plan, Rule};

/// What a backend is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`Backend::zeros`].
    Zeros,
    /// [`Backend::write`].
    Write,
    /// [`Backend::read`].
    Read,
    /// [`Backend::flush`].
    Flush,
    /// [`Backend::step`] or [`Backend::run`].
    Step,
}

/// A backend that does what another does, except that a call fails with [`ErrorKind::DeviceLost`] when it
/// was told to: for tests of what happens then, in the kit and in yours.
///
/// ```
/// use adarem::{AdaRem, Optimizer, Phase};
/// use adarem_conformance::{Call, Failing, Interpreter};
///
/// let mut inner = Interpreter::<f32>::default();
/// let mut backend = Failing::new(&mut inner);
/// let mut optimizer = Optimizer::new(AdaRem::default(), &mut backend, &[1])?;
/// backend.fail_next(Call::Step, false);
/// assert!(optimizer.step(&mut backend, &mut [&mut [1.0]], &[&[1.0]]).is_err());
/// assert_eq!(optimizer.phase(), Phase::Torn);
/// # Ok::<(), adarem::ErrorKind>(())
/// ```
#[derive(Debug)]
pub struct Failing<'b, B> {
    inner: &'b mut B,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug)]
struct Fault {
    call: Call,
    /// Calls of this kind that still succeed.
    spared: usize,
    /// Whether the work is done before the error is given.
    done: bool,
}

impl<'b, B: Backend> Failing<'b, B> {
    /// A backend whose calls do not fail yet.
    pub fn new(inner: &'b mut B) -> Self {
        Failing { inner, fault: None }
    }

    /// Lets the next such call fail: before anything is `done`, or after all is.
    pub fn fail_next(&mut self, call: Call, done: bool) {
        self.fail_after(0, call, done);
    }

    /// Lets such a call fail once, after so many that succeed.
    pub fn fail_after(&mut self, spared: usize, call: Call, done: bool) {
        self.fault = Some(Fault { call, spared, done });
    }

    /// Does the work, unless it is this call's turn to fail.
    fn perform<T>(
        &mut self,
        call: Call,
        work: impl FnOnce(&mut B) -> Result<T, B::Error>,
    ) -> Result<T, B::Error> {
        match &mut self.fault {
            Some(fault) if fault.call == call && fault.spared > 0 => fault.spared -= 1,
            Some(fault) if fault.call == call => {
                if fault.done {
                    work(self.inner)?;
                }
                self.fault = None;
                return Err(ErrorKind::DeviceLost.into());
            }
            _ => {}
        }
        work(self.inner)
    }
}

impl<B: Backend> Backend for Failing<'_, B> {
    type Elem = B::Elem;
    type Tensor = B::Tensor;
    type Memory = B::Memory;
    type Error = B::Error;

    const PACKS: bool = B::PACKS;

    fn zeros(&mut self, len: usize) -> Result<B::Memory, B::Error> {
        self.perform(Call::Zeros, |inner| inner.zeros(len))
    }

    fn write(&mut self, to: &mut B::Tensor, at: usize, from: &[B::Elem]) -> Result<(), B::Error> {
        self.perform(Call::Write, |inner| inner.write(to, at, from))
    }

    fn read(&mut self, from: &B::Tensor, at: usize, to: &mut [B::Elem]) -> Result<(), B::Error> {
        self.perform(Call::Read, |inner| inner.read(from, at, to))
    }

    fn flush(&mut self) -> Result<(), B::Error> {
        self.perform(Call::Flush, B::flush)
    }

    fn run(
        &mut self,
        plan: &Plan,
        uniforms: &[f64],
        batch: Batch<'_, '_, Self>,
    ) -> Result<(), B::Error> {
        self.perform(Call::Step, |inner| inner.run(plan, uniforms, inside(batch)))
    }

    fn step<R: Rule>(
        &mut self,
        rule: &R,
        t: u64,
        batch: Batch<'_, '_, Self>,
    ) -> Result<(), B::Error> {
        self.perform(Call::Step, |inner| inner.step(rule, t, inside(batch)))
    }
}

/// The same batch, for the backend inside.
fn inside<'a, 't, B: Backend>(batch: Batch<'a, 't, Failing<'_, B>>) -> Batch<'a, 't, B> {
    let Batch {
        theta,
        grad,
        slots,
        carried,
    } = batch;
    Batch {
        theta,
        grad,
        slots,
        carried,
    }
}
