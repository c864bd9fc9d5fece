//! Checkpoints: the state of an [`Optimizer`] as bytes.
//!
//! ```text
//! 8  magic         "adarem\0" and the version of this layout, 1
//! 1  dtype         4 for f32, 8 for f64
//! 8  steps         steps taken
//! 8  tensors       how many tensors
//! 8  elements      elements of one slot, all tensors with their padding
//! 8  fingerprint   FNV-1a of the tensors' lengths, each 8 bytes
//!    names         the rule's, each slot's, each carried scalar's: a length byte, then the bytes
//!    state         each slot's elements, then the carried scalars, tensor by tensor
//! 8  checksum      FNV-1a of all bytes before
//! ```
//!
//! All numbers are little-endian; elements keep their type and bits, and are written one by one, however the backend packs
//! them. Neither hyper-parameters (the
//! caller's, and often a schedule's) nor parameters (the caller's) are in it. A checkpoint saved on one
//! backend is restored on any other.

use core::fmt;

use crate::backend::Backend;
use crate::error::ErrorKind;
use crate::optimizer::{Fnv, Optimizer, Phase};
use crate::real::Element;
use crate::rule::Rule;

/// The version of the layout that [`Optimizer::save`] writes.
pub const VERSION: u8 = 1;

const MAGIC: &[u8; 7] = b"adarem\0";

/// Elements that travel at a time.
const BLOCK: usize = 256;

/// Why bytes are not a checkpoint of this optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unreadable {
    /// They do not begin as a checkpoint does.
    NotACheckpoint,
    /// They were written by a newer release, as this version.
    Newer(u8),
    /// They end too early, go on too long, or were altered.
    Damaged,
    /// They belong to another optimizer: this differs.
    Foreign(&'static str),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::NotACheckpoint => f.write_str("the bytes are not a checkpoint"),
            Unreadable::Newer(version) => {
                write!(
                    f,
                    "the checkpoint has version {version}, this release reads up to {VERSION}"
                )
            }
            Unreadable::Damaged => {
                f.write_str("the checkpoint is damaged: its length or checksum is wrong")
            }
            Unreadable::Foreign(what) => write!(
                f,
                "the checkpoint belongs to another optimizer: its {what} differs"
            ),
        }
    }
}

impl core::error::Error for Unreadable {}

impl From<Unreadable> for ErrorKind {
    fn from(unreadable: Unreadable) -> Self {
        ErrorKind::Checkpoint(unreadable)
    }
}

impl<R: Rule, B: Backend> Optimizer<R, B> {
    /// Hands the state as bytes to `sink`, piece by piece, in the [layout](self) of checkpoints.
    ///
    /// # Errors
    /// [`ErrorKind::Torn`] where parameters and state do not belong together; what reading the backend gives.
    pub fn save(&self, backend: &mut B, mut sink: impl FnMut(&[u8])) -> Result<(), B::Error> {
        if self.phase() == Phase::Torn {
            return Err(ErrorKind::Torn.into());
        }
        let mut sum = Fnv::new();
        let mut summed = |bytes: &[u8]| {
            sum.write(bytes);
            sink(bytes);
        };
        self.head(self.steps(), &mut summed);
        let size = B::Elem::DTYPE.bytes();
        let mut write = |x: B::Elem| {
            summed(x.to_le().to_le_bytes().get(..size).unwrap_or_default());
        };
        let mut block = [<B::Elem as num_traits::Zero>::zero(); BLOCK];
        for (half, tensor) in self.state() {
            let len = crate::Tensor::len(tensor);
            for at in (0..len).step_by(BLOCK) {
                let part = block.get_mut(..BLOCK.min(len - at)).unwrap_or_default();
                backend.read(tensor, at, part)?;
                for &mut x in part {
                    match half {
                        Some(half) => half.unpack(x).into_iter().for_each(&mut write),
                        None => write(x),
                    }
                }
            }
        }
        sink(&sum.0.to_le_bytes());
        Ok(())
    }

    /// Restores what [`save`](Self::save) wrote, also on another backend. The caller restores the
    /// parameters of the same moment.
    ///
    /// # Errors
    /// [`ErrorKind::Checkpoint`]: refused, nothing was changed. Any other: the backend failed while it was
    /// written, and the optimizer is torn.
    pub fn restore(&mut self, backend: &mut B, bytes: &[u8]) -> Result<(), B::Error> {
        let (steps, mut elements) = self.examine(bytes)?;
        self.set(steps, Phase::Torn);
        let size = B::Elem::DTYPE.bytes();
        let mut block = [<B::Elem as num_traits::Zero>::zero(); BLOCK];
        let mut read = || {
            let (head, rest) = elements.split_at_checked(size).unwrap_or_default();
            elements = rest;
            let bits = head
                .iter()
                .rev()
                .fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
            B::Elem::from_le(bits)
        };
        for (half, tensor) in self.state_mut() {
            let len = crate::Tensor::len(tensor);
            for at in (0..len).step_by(BLOCK) {
                let part = block.get_mut(..BLOCK.min(len - at)).unwrap_or_default();
                for x in part.iter_mut() {
                    *x = match half {
                        Some(half) => half.pack([read(), read()]),
                        None => read(),
                    };
                }
                backend.write(tensor, at, part)?;
            }
        }
        self.set(steps, Phase::Ready);
        Ok(())
    }

    /// What precedes the state, for a checkpoint of this optimizer after so many steps.
    fn head(&self, steps: u64, sink: &mut impl FnMut(&[u8])) {
        let layout = self.layout();
        sink(MAGIC);
        sink(&[VERSION, B::Elem::DTYPE.bytes() as u8]);
        for number in [
            steps,
            layout.tensors as u64,
            layout.elements as u64,
            layout.fingerprint,
        ] {
            sink(&number.to_le_bytes());
        }
        let slots = (0..R::SLOTS).map(|k| self.rule().slot(k).name);
        let carried = (0..R::CARRIED).map(|k| self.rule().carried(k).name);
        for name in core::iter::once(R::NAME).chain(slots).chain(carried) {
            let name = name.as_bytes().get(..255).unwrap_or(name.as_bytes());
            sink(&[name.len() as u8]);
            sink(name);
        }
    }

    /// The steps and the state's bytes of a checkpoint that is this optimizer's.
    fn examine<'b>(&self, bytes: &'b [u8]) -> Result<(u64, &'b [u8]), ErrorKind> {
        let (magic, rest) = bytes
            .split_at_checked(MAGIC.len())
            .ok_or(Unreadable::NotACheckpoint)?;
        if magic != MAGIC {
            return Err(Unreadable::NotACheckpoint.into());
        }
        match rest.first() {
            Some(&VERSION) => {}
            Some(&version) if version > VERSION => return Err(Unreadable::Newer(version).into()),
            _ => return Err(Unreadable::NotACheckpoint.into()),
        }
        let (body, sum) = bytes.split_last_chunk::<8>().ok_or(Unreadable::Damaged)?;
        let mut hash = Fnv::new();
        hash.write(body);
        if hash.0 != u64::from_le_bytes(*sum) {
            return Err(Unreadable::Damaged.into());
        }
        let steps = body
            .get(9..)
            .and_then(|rest| rest.first_chunk())
            .ok_or(Unreadable::Damaged)?;
        let steps = u64::from_le_bytes(*steps);

        // The head must be the one that this optimizer would write after as many steps.
        let (mut rest, mut same) = (body, Ok(()));
        let mut field = 0;
        self.head(steps, &mut |expected| {
            const FIELDS: [&str; 6] = [
                "magic",
                "dtype",
                "step count",
                "number of tensors",
                "size",
                "list of lengths",
            ];
            let found = rest.split_at_checked(expected.len());
            if same.is_ok() && found.is_none_or(|(found, _)| found != expected) {
                same = Err(Unreadable::Foreign(
                    FIELDS.get(field).copied().unwrap_or("rule or state"),
                ));
            }
            rest = found.map_or(&[], |(_, rest)| rest);
            field += 1;
        });
        same?;
        let elements: usize = self
            .state()
            .map(|(half, tensor)| crate::Tensor::len(tensor) * if half.is_some() { 2 } else { 1 })
            .sum();
        if rest.len() != elements * B::Elem::DTYPE.bytes() {
            return Err(Unreadable::Damaged.into());
        }
        Ok((steps, rest))
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use super::Unreadable;
    use crate::optimizer::tests::{LENGTHS, Training};
    use crate::optimizer::{Fnv, Optimizer, Phase};
    use crate::{Backend, Batch, Engine, ErrorKind, Half, Invalid, Lane, Lent, Plan};
    use crate::{Rule, Sgd, Slot};

    fn saved<R: Rule, B: Backend>(optimizer: &Optimizer<R, B>, backend: &mut B) -> Vec<u8> {
        let mut bytes = Vec::new();
        optimizer
            .save(backend, |piece| bytes.extend_from_slice(piece))
            .unwrap();
        bytes
    }

    /// After two steps.
    fn trained(memory: &mut [f32]) -> (Training<'_>, Vec<u8>) {
        let mut training = Training::new(memory);
        training.step().unwrap();
        training.step().unwrap();
        let bytes = saved(&training.optimizer, &mut training.backend);
        (training, bytes)
    }

    /// The bytes with the last 8 of them made to fit the others.
    fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let body = bytes.len() - 8;
        let mut sum = Fnv::new();
        sum.write(&bytes[..body]);
        bytes[body..].copy_from_slice(&sum.0.to_le_bytes());
        bytes
    }

    #[test]
    fn the_bytes_are_laid_out_as_the_text_says() {
        let mut memory = [0.0; 1000];
        let (training, bytes) = trained(&mut memory);
        let mut lengths = Fnv::new();
        for len in LENGTHS {
            lengths.write(&(len as u64).to_le_bytes());
        }
        let mut want = b"adarem\0\x01\x04".to_vec();
        for number in [2, 3, 448, lengths.0] {
            want.extend(u64::to_le_bytes(number));
        }
        want.extend(b"\x08counting\x04last\x05count\x05first\x03sum\x05third");
        let optimizer = &training.optimizer;
        for numbers in [
            optimizer.slot(0).unwrap(),
            optimizer.slot(1).unwrap(),
            optimizer.carried(),
        ] {
            want.extend(numbers.iter().flat_map(|x| x.to_bits().to_le_bytes()));
        }
        want.extend([0; 8]);
        assert_eq!(bytes, sealed(want));
    }

    #[test]
    fn training_goes_on_as_if_nothing_had_happened() {
        let (mut memory, mut other) = ([0.0; 1000], [0.0; 1000]);
        let (mut training, bytes) = trained(&mut memory);
        let mut resumed = Training::new(&mut other);
        resumed.theta = training.theta.clone();
        resumed
            .optimizer
            .restore(&mut resumed.backend, &bytes)
            .unwrap();
        assert_eq!(resumed.optimizer.steps(), 2);
        assert_eq!(saved(&resumed.optimizer, &mut resumed.backend), bytes);
        training.step().unwrap();
        resumed.step().unwrap();
        assert_eq!(resumed.theta, training.theta);
        assert_eq!(
            saved(&resumed.optimizer, &mut resumed.backend),
            saved(&training.optimizer, &mut training.backend)
        );
    }

    #[test]
    fn every_bit_of_a_number_comes_back() {
        let rule = crate::SgdM::default();
        let (mut memory, mut other) = ([0.0f64; 66], [0.0f64; 66]);
        let mut lent = Lent::new(&mut memory);
        let mut optimizer = Optimizer::new(rule, &mut lent, &[2]).unwrap();
        let (mut theta, grad) = ([0.0; 2], [0.1, -1e-310]);
        optimizer
            .step(&mut lent, &mut [&mut theta], &[&grad])
            .unwrap();
        let bytes = saved(&optimizer, &mut lent);
        let mut lent = Lent::new(&mut other);
        let mut resumed = Optimizer::new(rule, &mut lent, &[2]).unwrap();
        resumed.restore(&mut lent, &bytes).unwrap();
        assert_eq!(resumed.slot(0).unwrap()[..2], grad);
    }

    #[test]
    fn what_is_not_this_optimizers_is_refused_and_nothing_is_changed() {
        let (mut memory, mut other) = ([0.0; 1000], [0.0; 1000]);
        let (_, bytes) = trained(&mut memory);
        let mut fresh = Training::new(&mut other);
        let before = saved(&fresh.optimizer, &mut fresh.backend);
        let mut refused = |bytes: &[u8]| {
            let refused = fresh.optimizer.restore(&mut fresh.backend, bytes);
            assert_eq!(fresh.optimizer.phase(), Phase::Ready);
            assert_eq!(saved(&fresh.optimizer, &mut fresh.backend), before);
            match refused {
                Err(ErrorKind::Checkpoint(why)) => why,
                other => panic!("{other:?}"),
            }
        };
        let with = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            bytes
        };
        for len in 0..8 {
            assert_eq!(refused(&bytes[..len]), Unreadable::NotACheckpoint);
        }
        for len in [8, 9, 15, 16, 17, 40, 100, bytes.len() - 1] {
            assert_eq!(refused(&bytes[..len]), Unreadable::Damaged);
        }
        // Whole by its checksum, but without the count of steps.
        let short = sealed(bytes[..16].to_vec());
        assert_eq!(refused(&short), Unreadable::Damaged);
        assert_eq!(refused(&with(0, b'b')), Unreadable::NotACheckpoint);
        assert_eq!(refused(&with(7, 0)), Unreadable::NotACheckpoint);
        assert_eq!(refused(&with(7, 2)), Unreadable::Newer(2));
        assert_eq!(refused(&with(300, 77)), Unreadable::Damaged);
        for (at, what) in [
            (8, "dtype"),
            (17, "number of tensors"),
            (25, "size"),
            (33, "list of lengths"),
            (42, "rule or state"),
            (60, "rule or state"),
        ] {
            let other = sealed(with(at, bytes[at] ^ 1));
            assert_eq!(refused(&other), Unreadable::Foreign(what));
        }
        let mut longer = bytes.clone();
        longer.extend([0; 4]);
        assert_eq!(refused(&sealed(longer)), Unreadable::Damaged);
        let mut lent = Lent::new(&mut memory);
        let optimizer = Optimizer::new(Sgd::default(), &mut lent, &LENGTHS).unwrap();
        assert_eq!(
            refused(&saved(&optimizer, &mut lent)),
            Unreadable::Foreign("rule or state")
        );
    }

    /// Leaves half floats only.
    struct Halved;

    impl Rule for Halved {
        const NAME: &'static str = "halved";
        const SLOTS: usize = 2;
        const CARRIED: usize = 1;
        const HALF: Option<Half> = Some(Half::Bf16);

        fn slot(&self, k: usize) -> Slot {
            let one = Slot {
                name: "one",
                start: 1.0,
            };
            [Slot::zero("zero"), one][k]
        }

        fn check(&self) -> Result<(), Invalid> {
            Ok(())
        }

        fn step<E: Engine>(&self, _: u64, e: &mut E) {
            let half = e.uniform(0.5);
            e.map(|x: Lane<E::Real, 2>| Lane {
                slot: [x.slot[1] * half, x.slot[0] - half],
                ..x
            });
        }
    }

    /// Keeps half floats packed, and never steps.
    struct Packing<'m>(Lent<'m, f32>);

    impl<'m> Backend for Packing<'m> {
        type Elem = f32;
        type Tensor = [f32];
        type Memory = &'m mut [f32];
        type Error = ErrorKind;
        const PACKS: bool = true;

        fn zeros(&mut self, len: usize) -> Result<&'m mut [f32], ErrorKind> {
            self.0.zeros(len)
        }

        fn write(&mut self, to: &mut [f32], at: usize, from: &[f32]) -> Result<(), ErrorKind> {
            self.0.write(to, at, from)
        }

        fn read(&mut self, from: &[f32], at: usize, to: &mut [f32]) -> Result<(), ErrorKind> {
            self.0.read(from, at, to)
        }

        fn flush(&mut self) -> Result<(), ErrorKind> {
            self.0.flush()
        }

        fn run(&mut self, _: &Plan, _: &[f64], _: Batch<'_, '_, Self>) -> Result<(), ErrorKind> {
            Err(ErrorKind::Other)
        }
    }

    #[test]
    fn state_that_a_backend_packs_is_written_number_by_number() {
        let (mut memory, mut other) = ([0.0f32; 1000], [0.0; 1000]);
        let (mut lent, mut packing) = (Lent::new(&mut memory), Packing(Lent::new(&mut other)));
        let mut plain = Optimizer::new(Halved, &mut lent, &[300, 5]).unwrap();
        let mut packed = Optimizer::new(Halved, &mut packing, &[300, 5]).unwrap();
        let traced = crate::trace::trace(&Halved, 0).unwrap();
        assert_eq!(traced.plan.half(), Some(Half::Bf16));
        let elements = 320 + 64;
        assert_eq!(plain.state_bytes(), (2 * elements + 2) * 4);
        assert_eq!(packed.state_bytes(), (elements + 2) * 4);
        assert_eq!(packed.slot(0).unwrap(), std::vec![0.0; elements / 2]);
        // Two ones of 16 bits.
        let ones = f32::from_bits(0x3f80_3f80);
        assert_eq!(packed.slot(1).unwrap(), std::vec![ones; elements / 2]);
        assert_eq!(saved(&packed, &mut packing), saved(&plain, &mut lent));

        let (mut a, mut b) = ([0.0; 300], [0.0; 5]);
        let grad = [&[0.0; 300][..], &[0.0; 5]];
        plain.step(&mut lent, &mut [&mut a, &mut b], &grad).unwrap();
        let bytes = saved(&plain, &mut lent);
        packed.restore(&mut packing, &bytes).unwrap();
        assert_eq!(packed.slot(0).unwrap()[149], f32::from_bits(0x3f00_3f00));
        assert_eq!(saved(&packed, &mut packing), bytes);
        plain.restore(&mut lent, &bytes).unwrap();
        assert_eq!(saved(&plain, &mut lent), bytes);
    }

    #[test]
    fn a_backend_that_fails_half_way_leaves_the_optimizer_torn() {
        let mut memory = [0.0; 1000];
        let (mut training, bytes) = trained(&mut memory);
        let Training {
            backend, optimizer, ..
        } = &mut training;
        backend.fault = Some(ErrorKind::DeviceLost);
        assert_eq!(optimizer.save(backend, |_| {}), Err(ErrorKind::DeviceLost));
        assert_eq!(optimizer.phase(), Phase::Ready);
        let lost = optimizer.restore(backend, &bytes);
        assert_eq!(lost, Err(ErrorKind::DeviceLost));
        assert_eq!(optimizer.phase(), Phase::Torn);
        backend.fault = None;
        assert_eq!(optimizer.save(backend, |_| {}), Err(ErrorKind::Torn));
        assert_eq!(optimizer.restore(backend, &bytes), Ok(()));
        assert_eq!(optimizer.phase(), Phase::Ready);
    }

    #[test]
    fn a_refusal_says_why() {
        let text = |why: Unreadable| ErrorKind::from(why).to_string();
        assert_eq!(
            text(Unreadable::NotACheckpoint),
            "the bytes are not a checkpoint"
        );
        assert!(text(Unreadable::Newer(7)).contains("version 7"));
        assert!(text(Unreadable::Damaged).contains("damaged"));
        assert!(text(Unreadable::Foreign("dtype")).contains("its dtype differs"));
    }
}
