//! The functions of the header.

use core::ffi::{c_char, c_void};

use adarem::Tunable;
use adarem::rules::EachRule;

use crate::config::{Config, DTYPE_F32, DTYPE_F64, WithRule, for_each, with_rule};
use crate::door::{Door, Optimizer};
use crate::error::{Error, Failure, Status, report};
use crate::group::{Create, Size};
use crate::pointers::{check, list, overlap, span};
use crate::schedule::Schedule;

/// Copies the name of rule number `index`, in the order of the alphabet, into `name`, with a NUL; false where
/// there is no such rule, or the name does not fit.
///
/// # Safety
/// `name` is null or has room for `capacity` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn adarem_rule_name(
    index: usize,
    name: *mut c_char,
    capacity: usize,
) -> bool {
    struct Nth {
        left: usize,
        found: Option<&'static str>,
    }
    impl EachRule for Nth {
        fn rule<R: Tunable>(&mut self) {
            if self.left == 0 && self.found.is_none() {
                self.found = Some(R::NAME);
            }
            self.left = self.left.saturating_sub(1);
        }
    }
    let mut nth = Nth {
        left: index,
        found: None,
    };
    for_each(&mut nth);
    // SAFETY: the caller's word.
    nth.found
        .is_some_and(|found| unsafe { copy(found, name, capacity) })
}

/// Copies the name of setting number `index` of a rule into `name`, with a NUL, and its default into
/// `value`; false where there is no such rule or setting, or the name does not fit.
///
/// # Safety
/// `rule` is null or a C string; `name` is null or has room for `capacity` bytes; `value` is null or may be
/// written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn adarem_setting_name(
    rule: *const c_char,
    index: usize,
    name: *mut c_char,
    capacity: usize,
    value: *mut f64,
) -> bool {
    struct Nth(usize);
    impl WithRule for Nth {
        type Out = Option<(&'static str, f64)>;

        fn rule<R: Tunable + Default>(&mut self) -> Result<Self::Out, Failure> {
            let (mut left, mut found) = (self.0, None);
            R::default().settings(&mut |field, setting| {
                if left == 0 && found.is_none() {
                    found = Some((field, setting.get()));
                }
                left = left.saturating_sub(1);
            });
            Ok(found)
        }
    }
    // SAFETY: the caller's word.
    let Ok(Some((found, default))) = (unsafe { with_rule(rule, Nth(index)) }) else {
        return false;
    };
    if check(value, "value").is_ok() {
        // SAFETY: neither null nor misaligned, so it may be written.
        unsafe { value.write(default) };
    }
    // SAFETY: the caller's word.
    unsafe { copy(found, name, capacity) }
}

/// # Safety
/// `to` is null or has room for `capacity` bytes.
unsafe fn copy(text: &str, to: *mut c_char, capacity: usize) -> bool {
    if to.is_null() || capacity <= text.len() {
        return false;
    }
    for (i, byte) in text.bytes().chain([0]).enumerate() {
        // SAFETY: `text` and a NUL are at most `capacity` bytes.
        unsafe { to.add(i).write(byte as c_char) };
    }
    true
}

/// How many bytes of memory `adarem_create` needs for this configuration.
///
/// # Safety
/// As for `adarem_create`; `bytes` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn adarem_size(
    config: *const Config,
    bytes: *mut usize,
    error: *mut Error,
) -> Status {
    let size = || {
        check(config, "config")?;
        check(bytes, "bytes")?;
        // SAFETY: neither null nor misaligned.
        let config = unsafe { &*config };
        // SAFETY: the caller's word; `bytes` is neither null nor misaligned.
        unsafe { bytes.write(with_rule(config.rule, Size(config))?) };
        Ok(())
    };
    // SAFETY: the caller's word.
    unsafe { report(size(), error) }
}

/// Creates an optimizer at step 0 in `memory`, of which it needs as many bytes as `adarem_size` says, at an
/// address that is a multiple of ADAREM_ALIGNMENT.
///
/// The optimizer lies in that memory: do not move or change it while the optimizer is used. There is nothing
/// to destroy; the memory may be used for something else when the optimizer is not needed any more. What `config`
/// points to is not needed after the call.
///
/// # Safety
/// Pointers in `config` are null or point to what they say, strings end with a NUL; `memory` has `bytes`
/// bytes that nothing else uses; `optimizer` and `error` are null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn adarem_create(
    config: *const Config,
    memory: *mut c_void,
    bytes: usize,
    optimizer: *mut *mut Optimizer,
    error: *mut Error,
) -> Status {
    let create = || {
        check(config, "config")?;
        check(optimizer, "optimizer")?;
        // SAFETY: neither null nor misaligned.
        let config = unsafe { &*config };
        let create = Create {
            config,
            memory,
            bytes,
        };
        // SAFETY: the caller's word; `optimizer` is neither null nor misaligned.
        unsafe { optimizer.write(with_rule(config.rule, create)?) };
        Ok(())
    };
    // SAFETY: the caller's word.
    unsafe { report(create(), error) }
}

/// One step of an optimizer for `float`: rewrites every `theta[i]` by `grad[i]`, whose lengths `adarem_create`
/// was told. A pointer of an empty tensor is not looked at.
///
/// Refused where a pointer is null or misaligned, where a parameter overlaps the optimizer's memory, its
/// gradient or, as far as it is seen, another tensor: all pairs of up to 32 tensors are compared, of more only
/// neighbours. A refused step changes nothing.
///
/// # Safety
/// `optimizer` is null or of `adarem_create`, and used by no other thread; both lists hold a pointer for each
/// tensor, to as many numbers as its length says, which nothing else uses during the call; `error` is null or may be
/// written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn adarem_step_f32(
    optimizer: *mut Optimizer,
    theta: *const *mut f32,
    grad: *const *const f32,
    error: *mut Error,
) -> Status {
    // SAFETY: the caller's word.
    unsafe { step(optimizer, DTYPE_F32, theta.cast(), grad.cast(), error) }
}

/// As `adarem_step_f32`, for `double`.
///
/// # Safety
/// As `adarem_step_f32`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn adarem_step_f64(
    optimizer: *mut Optimizer,
    theta: *const *mut f64,
    grad: *const *const f64,
    error: *mut Error,
) -> Status {
    // SAFETY: the caller's word.
    unsafe { step(optimizer, DTYPE_F64, theta.cast(), grad.cast(), error) }
}

/// # Safety
/// As `adarem_step_f32`.
unsafe fn step(
    optimizer: *mut Optimizer,
    dtype: u32,
    theta: *const *mut c_void,
    grad: *const *const c_void,
    error: *mut Error,
) -> Status {
    let step = |door: &mut dyn Door| {
        if door.dtype() != dtype {
            let has = if dtype == DTYPE_F32 {
                "double"
            } else {
                "float"
            };
            return Err(Failure::WrongDtype(has));
        }
        // SAFETY: the caller's word, and the number type is the optimizer's.
        unsafe { door.step(theta, grad) }
    };
    // SAFETY: the caller's word.
    unsafe { with(optimizer, error, step) }
}

/// How many steps were taken; the next one is this, counted from 0.
///
/// # Safety
/// `optimizer` is null or of `adarem_create`; `steps` and `error` are null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn adarem_steps(
    optimizer: *const Optimizer,
    steps: *mut u64,
    error: *mut Error,
) -> Status {
    let count = |door: &mut dyn Door| {
        check(steps, "steps")?;
        // SAFETY: neither null nor misaligned.
        unsafe { steps.write(door.steps()) };
        Ok(())
    };
    // SAFETY: the caller's word.
    unsafe { with(optimizer.cast_mut(), error, count) }
}

/// Sets a hyper-parameter by name, for the steps to come. One that is out of its range is refused.
///
/// # Safety
/// `optimizer` is null or of `adarem_create`, and used by no other thread; `name` is null or a C string;
/// `error` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn adarem_set(
    optimizer: *mut Optimizer,
    name: *const c_char,
    value: f64,
    error: *mut Error,
) -> Status {
    // SAFETY: the caller's word.
    unsafe { with(optimizer, error, |door| door.set(name, value)) }
}

/// Reads a hyper-parameter by name. One that has a schedule is as the last step left it.
///
/// # Safety
/// `optimizer` is null or of `adarem_create`, and used by no other thread; `name` is null or a C string;
/// `value` and `error` are null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn adarem_get(
    optimizer: *const Optimizer,
    name: *const c_char,
    value: *mut f64,
    error: *mut Error,
) -> Status {
    let get = |door: &mut dyn Door| {
        check(value, "value")?;
        // SAFETY: the caller's word; `value` is neither null nor misaligned.
        unsafe { value.write(door.get(name)?) };
        Ok(())
    };
    // SAFETY: the caller's word.
    unsafe { with(optimizer.cast_mut(), error, get) }
}

/// Lets a schedule set a hyper-parameter in each step; null ends it, and the last value stays. A schedule is
/// a pure function of the step: it is not part of a checkpoint, so set it again after `adarem_create`.
///
/// # Safety
/// `optimizer` is null or of `adarem_create`, and used by no other thread; `name` is null or a C string;
/// `schedule` is null or points to one; `error` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn adarem_schedule(
    optimizer: *mut Optimizer,
    name: *const c_char,
    schedule: *const Schedule,
    error: *mut Error,
) -> Status {
    let attach = |door: &mut dyn Door| {
        let schedule = if schedule.is_null() {
            None
        } else {
            check(schedule, "schedule")?;
            // SAFETY: neither null nor misaligned.
            Some(unsafe { *schedule })
        };
        // SAFETY: the caller's word.
        unsafe { door.schedule(name, schedule) }
    };
    // SAFETY: the caller's word.
    unsafe { with(optimizer, error, attach) }
}

/// How many bytes `adarem_save` writes.
///
/// # Safety
/// `optimizer` is null or of `adarem_create`, and used by no other thread; `bytes` and `error` are null or
/// may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn adarem_saved_size(
    optimizer: *mut Optimizer,
    bytes: *mut usize,
    error: *mut Error,
) -> Status {
    let count = |door: &mut dyn Door| {
        check(bytes, "bytes")?;
        // SAFETY: neither null nor misaligned.
        unsafe { bytes.write(saved_size(door)?) };
        Ok(())
    };
    // SAFETY: the caller's word.
    unsafe { with(optimizer, error, count) }
}

fn saved_size(door: &mut dyn Door) -> Result<usize, Failure> {
    let mut size = 0usize;
    door.save(&mut |part| size = size.saturating_add(part.len()))?;
    Ok(size)
}

/// Writes the optimizer's state, without hyper-parameters and parameters, to `bytes`: a checkpoint, which
/// every optimizer of the same rule and tensors can restore, on any machine.
///
/// # Safety
/// `optimizer` is null or of `adarem_create`, and used by no other thread; `bytes` is null or has room for
/// `capacity` bytes; `error` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn adarem_save(
    optimizer: *mut Optimizer,
    bytes: *mut u8,
    capacity: usize,
    error: *mut Error,
) -> Status {
    let save = |door: &mut dyn Door| {
        check(bytes, "bytes")?;
        let needed = saved_size(door)?;
        if capacity < needed {
            return Err(Failure::TooSmall {
                what: "bytes",
                needed,
                given: capacity,
            });
        }
        if overlap(&span(bytes, needed), &door.memory()) {
            return Err(Failure::Overlap("bytes", 0));
        }
        let mut at = 0usize;
        door.save(&mut |part| {
            // SAFETY: all parts together are `needed` bytes, for which there is room, apart from the optimizer.
            unsafe {
                bytes
                    .add(at)
                    .copy_from_nonoverlapping(part.as_ptr(), part.len())
            };
            at = at.saturating_add(part.len());
        })
    };
    // SAFETY: the caller's word.
    unsafe { with(optimizer, error, save) }
}

/// Restores what `adarem_save` wrote. Bytes that are damaged, or of another optimizer, are refused, and
/// nothing is changed. The parameters of the same moment are the caller's to restore.
///
/// # Safety
/// `optimizer` is null or of `adarem_create`, and used by no other thread; `bytes` is null or has `count`
/// bytes; `error` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn adarem_restore(
    optimizer: *mut Optimizer,
    bytes: *const u8,
    count: usize,
    error: *mut Error,
) -> Status {
    let restore = |door: &mut dyn Door| {
        check(bytes, "bytes")?;
        if overlap(&span(bytes, count), &door.memory()) {
            return Err(Failure::Overlap("bytes", 0));
        }
        // SAFETY: the caller's word.
        door.restore(unsafe { list(bytes, count, "bytes") }?)
    };
    // SAFETY: the caller's word.
    unsafe { with(optimizer, error, restore) }
}

/// Does something with an optimizer, and reports what came of it.
///
/// # Safety
/// `optimizer` is null or of `adarem_create`, and nothing else uses it during the call; `error` is null or
/// may be written.
unsafe fn with(
    optimizer: *mut Optimizer,
    error: *mut Error,
    f: impl FnOnce(&mut dyn Door) -> Result<(), Failure>,
) -> Status {
    // SAFETY: the caller's word.
    unsafe { report(Optimizer::open(optimizer).and_then(f), error) }
}
