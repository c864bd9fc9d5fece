//! An optimizer of one rule and one number type, and where it lies in the caller's memory.

use core::alloc::Layout;
use core::ffi::{c_char, c_void};
use core::ops::Range;
use core::ptr::NonNull;
use core::slice;

use adarem::{Element, Lent, Optimizer as Core, Phase, Scope, Setting, Tunable};

use crate::config::{Config, DTYPE_F32, DTYPE_F64, WithRule, setting_name};
use crate::door::{Door, Optimizer};
use crate::error::Failure;
use crate::pointers::{check, list, most, overlap, span};
use crate::schedule::Schedule;

/// What the address of an optimizer's memory must be a multiple of.
pub const ALIGNMENT: usize = 16;

/// Schedules that one optimizer may have.
pub const MOST_SCHEDULES: usize = 4;

/// Tensors up to which each pair is checked for overlap.
const MOST_PAIRS: usize = 32;

/// An optimizer, as it lies at the beginning of its memory.
#[repr(C)]
struct Group<R: Tunable, T: Element + 'static> {
    head: Optimizer,
    core: Core<R, Lent<'static, T>>,
    lent: Lent<'static, T>,
    lengths: &'static [usize],
    /// Room for the lists of a step, one entry a tensor.
    theta: *mut &'static mut [T],
    grad: *mut &'static [T],
    schedules: [Option<(&'static str, Schedule)>; MOST_SCHEDULES],
    memory: Range<usize>,
}

/// Where the parts of an optimizer lie: the group, then lengths, lists and numbers.
struct Places {
    lengths: usize,
    theta: usize,
    grad: usize,
    numbers: usize,
    elements: usize,
    bytes: usize,
}

impl Places {
    /// For a rule of these settings, or of any that `adarem_set` may give it: a scope that is a group's takes more.
    fn of<R: Tunable + Clone, T: Element>(rule: &R, lengths: &[usize]) -> Result<Places, Failure> {
        let sum = lengths
            .iter()
            .fold(0usize, |sum, &len| sum.saturating_add(len));
        let too_long = Failure::TooLong(sum);
        if sum > most::<T>() {
            return Err(too_long);
        }
        let mut widest = rule.clone();
        widest.settings(&mut |_, setting| {
            if let Setting::Scope(scope) = setting {
                *scope = Scope::Group;
            }
        });
        let elements = Lent::<T>::elements(&widest, lengths).ok_or(too_long)?;
        let places = || {
            let group = Layout::new::<Group<R, T>>();
            let (group, indices) = group
                .extend(Layout::array::<usize>(lengths.len()).ok()?)
                .ok()?;
            let lists = Layout::array::<&mut [T]>(lengths.len()).ok()?;
            let (group, theta) = group.extend(lists).ok()?;
            let (group, grad) = group.extend(lists).ok()?;
            let (group, numbers) = group.extend(Layout::array::<T>(elements).ok()?).ok()?;
            Some(Places {
                lengths: indices,
                theta,
                grad,
                numbers,
                elements,
                bytes: group.pad_to_align().size(),
            })
        };
        places().ok_or(too_long)
    }
}

/// Does something for a number type.
fn with_dtype<O>(
    dtype: u32,
    f32: impl FnOnce() -> Result<O, Failure>,
    f64: impl FnOnce() -> Result<O, Failure>,
) -> Result<O, Failure> {
    match dtype {
        DTYPE_F32 => f32(),
        DTYPE_F64 if cfg!(feature = "f64") => f64(),
        other => Err(Failure::Dtype(other)),
    }
}

/// How many bytes an optimizer takes.
pub(crate) struct Size<'a>(pub(crate) &'a Config);

impl WithRule for Size<'_> {
    type Out = usize;

    fn rule<R: Tunable + Default + Clone + 'static>(&mut self) -> Result<usize, Failure> {
        // SAFETY: the word of the caller of `adarem_size`.
        let (rule, lengths) = unsafe { (self.0.rule::<R>()?, self.0.lengths()?) };
        with_dtype(
            self.0.dtype,
            || Ok(Places::of::<R, f32>(&rule, lengths)?.bytes),
            || Ok(Places::of::<R, f64>(&rule, lengths)?.bytes),
        )
    }
}

/// Creates an optimizer in memory.
pub(crate) struct Create<'a> {
    pub(crate) config: &'a Config,
    pub(crate) memory: *mut c_void,
    pub(crate) bytes: usize,
}

impl WithRule for Create<'_> {
    type Out = *mut Optimizer;

    fn rule<R: Tunable + Default + Clone + 'static>(&mut self) -> Result<*mut Optimizer, Failure> {
        // SAFETY: the word of the caller of `adarem_create`.
        let (rule, lengths) = unsafe { (self.config.rule::<R>()?, self.config.lengths()?) };
        let (memory, bytes) = (self.memory, self.bytes);
        with_dtype(
            self.config.dtype,
            // SAFETY: the word of the caller of `adarem_create`.
            || unsafe { create::<R, f32>(rule.clone(), lengths, memory, bytes) },
            // SAFETY: the word of the caller of `adarem_create`.
            || unsafe { create::<R, f64>(rule.clone(), lengths, memory, bytes) },
        )
    }
}

/// # Safety
/// As `adarem_create`.
unsafe fn create<R: Tunable + Default + Clone + 'static, T: Element>(
    rule: R,
    lengths: &[usize],
    memory: *mut c_void,
    bytes: usize,
) -> Result<*mut Optimizer, Failure> {
    const { assert!(align_of::<Group<R, T>>() <= ALIGNMENT) };
    let places = Places::of::<R, T>(&rule, lengths)?;
    check(memory, "memory")?;
    if !memory.addr().is_multiple_of(ALIGNMENT) {
        return Err(Failure::Misaligned("memory"));
    }
    if bytes < places.bytes {
        return Err(Failure::TooSmall {
            what: "memory",
            needed: places.bytes,
            given: bytes,
        });
    }
    let taken = span(memory.cast::<u8>(), places.bytes);
    if overlap(&span(lengths.as_ptr(), lengths.len()), &taken) {
        return Err(Failure::Overlap("lengths", 0));
    }
    let base = memory.cast::<u8>();
    // SAFETY: `memory` has at least `places.bytes` bytes, which are the optimizer's alone until its caller ends its
    // use; each part lies where its layout says, aligned, and apart from the others. Numbers are zeroed and
    // lengths copied before they are read; the lists are written by each step before it reads them.
    unsafe {
        let kept = base.add(places.lengths).cast::<usize>();
        kept.copy_from_nonoverlapping(lengths.as_ptr(), lengths.len());
        let lengths = slice::from_raw_parts(kept, lengths.len());
        let numbers = base.add(places.numbers).cast::<T>();
        numbers.write_bytes(0, places.elements);
        let mut lent = Lent::new(slice::from_raw_parts_mut(numbers, places.elements));
        let core = Core::new(rule, &mut lent, lengths)?;
        let group = base.cast::<Group<R, T>>();
        let head = base.cast::<Optimizer>();
        group.write(Group {
            head: Optimizer::new(head, group),
            core,
            lent,
            lengths,
            theta: base.add(places.theta).cast(),
            grad: base.add(places.grad).cast(),
            schedules: [None; MOST_SCHEDULES],
            memory: taken,
        });
        Ok(head)
    }
}

/// Tensors of C: a pointer for each.
struct Tensors<'a, T> {
    pointers: &'a [*const T],
    lengths: &'a [usize],
    what: &'static str,
}

impl<T> Tensors<'_, T> {
    /// Refuses null and misaligned pointers. That of an empty tensor is not looked at.
    fn check(&self) -> Result<(), Failure> {
        for (i, pointer) in self.pointers.iter().enumerate() {
            if self.lengths.get(i) == Some(&0) {
                continue;
            }
            if pointer.is_null() {
                return Err(Failure::NullTensor(self.what, i));
            }
            if !pointer.is_aligned() {
                return Err(Failure::MisalignedTensor(self.what, i));
            }
        }
        Ok(())
    }

    /// The addresses of tensor `i`.
    fn span(&self, i: usize) -> Range<usize> {
        let (pointer, len) = self.start(i);
        span(pointer, len)
    }

    /// The tensor, or an empty one where its length is 0.
    fn start(&self, i: usize) -> (*const T, usize) {
        match (self.pointers.get(i), self.lengths.get(i)) {
            (Some(&pointer), Some(&len)) if len > 0 => (pointer, len),
            _ => (NonNull::dangling().as_ptr(), 0),
        }
    }
}

impl<R: Tunable + Default + Clone, T: Element> Group<R, T> {
    /// Refuses a parameter that overlaps the optimizer, its gradient or another parameter.
    fn check_overlap(&self, theta: &Tensors<'_, T>, grad: &Tensors<'_, T>) -> Result<(), Failure> {
        for i in 0..self.lengths.len() {
            let (theta_i, grad_i) = (theta.span(i), grad.span(i));
            if overlap(&theta_i, &self.memory) {
                return Err(Failure::Overlap("theta", i));
            }
            if overlap(&grad_i, &self.memory) {
                return Err(Failure::Overlap("grad", i));
            }
            // Of many tensors only neighbours are compared: all pairs would take longer than the step.
            let others = if self.lengths.len() <= MOST_PAIRS {
                0..self.lengths.len()
            } else {
                i.saturating_sub(1)..i.saturating_add(2).min(self.lengths.len())
            };
            for other in others {
                let (theta_other, grad_other) = (theta.span(other), grad.span(other));
                if (other != i && overlap(&theta_i, &theta_other)) || overlap(&theta_i, &grad_other)
                {
                    return Err(Failure::Overlap("theta", i));
                }
            }
        }
        Ok(())
    }

    /// Sets every scheduled setting for step `t`.
    fn follow_schedules(&mut self, t: u64) -> Result<(), Failure> {
        for (name, schedule) in self.schedules.iter().flatten() {
            let value = schedule.at(t)?;
            self.core.rule_mut().set(name, value);
        }
        Ok(())
    }
}

impl<R: Tunable + Default + Clone, T: Element> Door for Group<R, T> {
    fn dtype(&self) -> u32 {
        T::DTYPE.bytes() as u32
    }

    fn memory(&self) -> Range<usize> {
        self.memory.clone()
    }

    unsafe fn step(
        &mut self,
        theta: *const *mut c_void,
        grad: *const *const c_void,
    ) -> Result<(), Failure> {
        let count = self.lengths.len();
        // SAFETY: the caller's word: both lists hold a pointer for each tensor.
        let (theta, grad) = unsafe {
            (
                list(theta.cast::<*const T>(), count, "theta")?,
                list(grad.cast::<*const T>(), count, "grad")?,
            )
        };
        let tensors = |pointers, what| Tensors {
            pointers,
            lengths: self.lengths,
            what,
        };
        let (theta, grad) = (tensors(theta, "theta"), tensors(grad, "grad"));
        theta.check()?;
        grad.check()?;
        self.check_overlap(&theta, &grad)?;
        if self.core.phase() == Phase::Ready {
            self.follow_schedules(self.core.steps())?;
        }
        for i in 0..count {
            let ((theta, len), (grad, _)) = (theta.start(i), grad.start(i));
            // SAFETY: the caller's word: each tensor has its length, and nothing else uses theta, nor writes
            // grad, during the call. The lists have room for `count` entries, which only this call reads.
            unsafe {
                let theta = slice::from_raw_parts_mut(theta.cast_mut(), len);
                self.theta.add(i).write(theta);
                self.grad.add(i).write(slice::from_raw_parts(grad, len));
            }
        }
        // SAFETY: all entries have just been written.
        let (theta, grad) = unsafe {
            (
                slice::from_raw_parts_mut(self.theta, count),
                slice::from_raw_parts(self.grad, count),
            )
        };
        Ok(self.core.step(&mut self.lent, theta, grad)?)
    }

    fn steps(&self) -> u64 {
        self.core.steps()
    }

    unsafe fn set(&mut self, name: *const c_char, value: f64) -> Result<(), Failure> {
        // SAFETY: the caller's word.
        let name = unsafe { setting_name(self.core.rule(), name) }?;
        let mut rule = self.core.rule().clone();
        rule.set(name, value);
        rule.check()?;
        *self.core.rule_mut() = rule;
        Ok(())
    }

    unsafe fn get(&self, name: *const c_char) -> Result<f64, Failure> {
        // SAFETY: the caller's word.
        let name = unsafe { setting_name(self.core.rule(), name) }?;
        // Never absent: it is the rule's own word.
        Ok(self.core.rule().get(name).unwrap_or(f64::NAN))
    }

    unsafe fn schedule(
        &mut self,
        name: *const c_char,
        schedule: Option<Schedule>,
    ) -> Result<(), Failure> {
        // SAFETY: the caller's word.
        let name = unsafe { setting_name(self.core.rule(), name) }?;
        if let Some(schedule) = schedule {
            let mut rule = self.core.rule().clone();
            rule.set(name, schedule.at(self.core.steps())?);
            rule.check()?;
        }
        let here = |place: &Option<(&str, Schedule)>| matches!(place, Some((of, _)) if *of == name);
        let place = match self.schedules.iter().position(here) {
            Some(place) => Some(place),
            None => self.schedules.iter().position(Option::is_none),
        };
        match place.and_then(|place| self.schedules.get_mut(place)) {
            Some(place) => {
                *place = schedule.map(|schedule| (name, schedule));
                Ok(())
            }
            None if schedule.is_none() => Ok(()),
            None => Err(Failure::TooManySchedules(MOST_SCHEDULES)),
        }
    }

    fn save(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<(), Failure> {
        Ok(self.core.save(&mut self.lent, sink)?)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.core.restore(&mut self.lent, bytes)?)
    }
}
