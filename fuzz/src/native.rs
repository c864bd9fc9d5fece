//! The core's [`Host`] as a backend of one tensor, which is also its own group.

use adarem::{Backend, Batch, ErrorKind, Host, MAX_CARRIED, MAX_SLOTS, Plan, Rule};
use adarem_conformance::Interpreter;

/// Steps natively; a plan is interpreted.
pub(crate) struct Native;

impl Backend for Native {
    type Elem = f32;
    type Tensor = [f32];
    type Memory = Vec<f32>;
    type Error = ErrorKind;

    fn zeros(&mut self, len: usize) -> Result<Vec<f32>, ErrorKind> {
        Interpreter::default().zeros(len)
    }

    fn write(&mut self, to: &mut [f32], at: usize, from: &[f32]) -> Result<(), ErrorKind> {
        Interpreter::default().write(to, at, from)
    }

    fn read(&mut self, from: &[f32], at: usize, to: &mut [f32]) -> Result<(), ErrorKind> {
        Interpreter::default().read(from, at, to)
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
        let Batch {
            theta,
            grad,
            slots,
            carried,
        } = batch;
        let batch = Batch {
            theta,
            grad,
            slots,
            carried,
        };
        Interpreter::default().run(plan, uniforms, batch)
    }

    fn step<R: Rule>(
        &mut self,
        rule: &R,
        t: u64,
        batch: Batch<'_, '_, Self>,
    ) -> Result<(), ErrorKind> {
        let Batch {
            theta,
            grad,
            slots,
            carried,
        } = batch;
        let (Some(theta), Some(grad)) = (theta.first_mut(), grad.first()) else {
            return Ok(());
        };
        // A host of any rule: it has all slots and carried scalars that a rule may have.
        let mut unused: [Vec<f32>; MAX_SLOTS] = core::array::from_fn(|_| vec![0.0; theta.len()]);
        let mut used = slots.iter_mut();
        let all = unused.each_mut().map(|unused| match used.next() {
            Some(slot) => &mut slot[..theta.len()],
            None => unused.as_mut_slice(),
        });
        let mut scalars = [0.0; MAX_CARRIED];
        scalars[..R::CARRIED].copy_from_slice(carried);
        rule.step(t, &mut Host::new(theta, grad, all, &mut scalars)?);
        carried.copy_from_slice(&scalars[..R::CARRIED]);
        Ok(())
    }
}
