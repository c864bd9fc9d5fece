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
