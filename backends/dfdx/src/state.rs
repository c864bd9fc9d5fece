//! State dictionaries: what a group remembers, as named tensors in the safetensors format.
//!
//! ```text
//! 0.weight.m               slot m of parameter 0.weight, in its shape
//! 0.weight.inverse_max_m   a carried scalar of it, without dimensions
//! steps                    u64, without dimensions: steps taken
//! metadata  rule           the rule's name
//! ```
//!
//! The numbers are those of the core's [checkpoint](adarem::checkpoint), which says how they lie in one
//! another's wake; here they get their names.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;
use std::collections::HashMap;

use adarem::backend::{ALIGN, ranges};
use adarem::{Element, Rule};
use dfdx::dtypes::Dtype as Number;
use dfdx::nn::tensor_collection::TensorCollection;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::error::Error;
use crate::group::Group;
use crate::place::Place;

const STEPS: &str = "steps";
const RULE: &str = "rule";

/// Where the step count lies in a checkpoint.
const STEPS_AT: Range<usize> = 9..17;
/// The checkpoint's checksum, its last bytes.
const CHECKSUM: usize = 8;

impl<R, M, E, D> Group<R, M, E, D>
where
    R: Rule + Clone,
    M: TensorCollection<E, D>,
    E: Element + Number,
    D: Place<E>,
{
    /// The state as a safetensors file: every slot and carried scalar by its parameter's dotted name and its own,
    /// as `0.weight.m`.
    ///
    /// Hyper-parameters are not in it. Save the model beside it; a model and an optimizer that are loaded
    /// go on with the bits of those that were saved.
    ///
    /// ```
    /// use adarem_dfdx::{AdaRem, AdaRemConfig};
    /// use dfdx::prelude::*;
    ///
    /// let mut model = Cpu::default().build_module::<Linear<3, 2>, f32>();
    /// let mut opt = AdaRem::new(&model, AdaRemConfig::default());
    /// let mut grads = model.alloc_grads();
    /// opt.update(&mut model, &grads)?;
    /// let file = opt.state_dict()?;
    ///
    /// let mut resumed = AdaRem::new(&model, AdaRemConfig::default());
    /// resumed.load_state_dict(&file)?;
    /// assert_eq!(resumed.steps(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What the device gives; a step that failed half-way.
    pub fn state_dict(&mut self) -> Result<Vec<u8>, Error<D::Err>> {
        let checkpoint = self.checkpoint()?;
        let mut tensors = BTreeMap::new();
        let steps = checkpoint.get(STEPS_AT).unwrap_or_default();
        let scalar = |data| TensorView::new(Dtype::U64, Vec::new(), data);
        tensors.insert(STEPS.to_string(), scalar(steps).map_err(foreign)?);
        for entry in self.entries(&checkpoint) {
            let data = checkpoint.get(entry.bytes).unwrap_or_default();
            let view = TensorView::new(dtype::<E>(), entry.shape, data).map_err(foreign)?;
            tensors.insert(entry.name, view);
        }
        let metadata = HashMap::from([(RULE.to_string(), R::NAME.to_string())]);
        safetensors::serialize(tensors, Some(metadata)).map_err(foreign)
    }

    /// Restores what [`state_dict`](Self::state_dict) gave, on this device or another.
    ///
    /// # Errors
    /// [`Error::Foreign`] where the file is damaged or belongs to another rule, model or number type: nothing was
    /// changed. What the device gives.
    pub fn load_state_dict(&mut self, file: &[u8]) -> Result<(), Error<D::Err>> {
        let (_, metadata) = SafeTensors::read_metadata(file).map_err(foreign)?;
        let rule = metadata
            .metadata()
            .as_ref()
            .and_then(|metadata| metadata.get(RULE));
        if rule.map(String::as_str) != Some(R::NAME) {
            let rule = rule.map_or("none", String::as_str);
            return Err(Error::Foreign(format!(
                "its rule is {rule}, not {}",
                R::NAME
            )));
        }
        let tensors = SafeTensors::deserialize(file).map_err(foreign)?;
        // This optimizer's own checkpoint, with the file's numbers in it: what does not fit, the core refuses.
        let mut checkpoint = self.checkpoint()?;
        let entries = self.entries(&checkpoint);
        if tensors.len() != entries.len() + 1 {
            let (got, expected) = (tensors.len(), entries.len() + 1);
            return Err(Error::Foreign(format!(
                "it holds {got} tensors, not {expected}"
            )));
        }
        let steps = Entry {
            name: STEPS.to_string(),
            shape: Vec::new(),
            bytes: STEPS_AT,
        };
        let numbers = entries.into_iter().map(|entry| (dtype::<E>(), entry));
        for (dtype, entry) in numbers.chain([(Dtype::U64, steps)]) {
            let Entry { name, shape, bytes } = entry;
            let found = tensors.tensor(&name).map_err(foreign)?;
            if found.dtype() != dtype || found.shape() != shape {
                let (got, size) = (found.dtype(), found.shape());
                let message = format!("{name} is {got:?} {size:?}, not {dtype:?} {shape:?}");
                return Err(Error::Foreign(message));
            }
            if let Some(place) = checkpoint.get_mut(bytes) {
                place.copy_from_slice(found.data());
            }
        }
        if let Some((body, sum)) = checkpoint.split_last_chunk_mut::<CHECKSUM>() {
            *sum = fnv(body).to_le_bytes();
        }
        self.state
            .restore(&mut self.backend, &checkpoint)
            .map_err(Into::into)
    }

    fn checkpoint(&mut self) -> Result<Vec<u8>, Error<D::Err>> {
        let mut bytes = Vec::new();
        let saved = self
            .state
            .save(&mut self.backend, |part| bytes.extend_from_slice(part));
        saved.map_err(Into::into).map(|()| bytes)
    }

    /// Every slot and carried scalar of every parameter, and where it lies in a checkpoint.
    fn entries(&self, checkpoint: &[u8]) -> Vec<Entry> {
        let size = E::DTYPE.bytes();
        let ranges: Vec<_> = ranges(self.params().iter().map(|param| param.len)).collect();
        // A checkpoint holds every number in full, however a backend packs them.
        let slot_len = ranges
            .last()
            .map_or(0, |range| range.end.next_multiple_of(ALIGN));
        let numbers = R::SLOTS * slot_len + self.params().len() * R::CARRIED;
        let state = checkpoint.len() - CHECKSUM - numbers * size;
        let bytes = |from: usize, len| state + from * size..state + (from + len) * size;
        let mut entries = Vec::new();
        for (i, (param, range)) in self.params().iter().zip(ranges).enumerate() {
            for k in 0..R::SLOTS {
                entries.push(Entry {
                    name: join(&param.name, self.cfg.slot(k).name),
                    shape: param.shape.clone(),
                    bytes: bytes(k * slot_len + range.start, param.len),
                });
            }
            for k in 0..R::CARRIED {
                entries.push(Entry {
                    name: join(&param.name, self.cfg.carried(k).name),
                    shape: Vec::new(),
                    bytes: bytes(R::SLOTS * slot_len + i * R::CARRIED + k, 1),
                });
            }
        }
        entries
    }
}

/// A named tensor of the state.
struct Entry {
    name: String,
    shape: Vec<usize>,
    bytes: Range<usize>,
}

/// The name of something in the state of `param`, whose name is empty where a model is one tensor.
fn join(param: &str, name: &str) -> String {
    if param.is_empty() {
        name.to_string()
    } else {
        format!("{param}.{name}")
    }
}

fn dtype<E: Element>() -> Dtype {
    match E::DTYPE.bytes() {
        8 => Dtype::F64,
        _ => Dtype::F32,
    }
}

/// The checksum of a checkpoint: FNV-1a, 64 bits.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn foreign<D>(error: safetensors::SafeTensorError) -> Error<D> {
    Error::Foreign(error.to_string())
}
