//! Calls of the C interface in any order, with any names, numbers, lengths, pointers and bytes: each is done or
//! refused with a text, a refused one changes nothing, and no byte outside of the memory that was given is touched.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{null, null_mut};

use adarem_capi::*;
use adarem_conformance::Bytes;

/// Memory that the optimizer is not given, on either side of what it is.
const GUARD: usize = 64;
/// The most memory that is given.
const MOST: usize = 1 << 20;
const PATTERN: u8 = 0xa5;

pub(crate) fn run(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let rule = rule(&mut bytes);
    let settings: Vec<(CString, f64)> = (0..bytes.below(5))
        .map(|_| (setting(&rule, &mut bytes), bytes.number()))
        .collect();
    let named: Vec<NamedValue> = settings
        .iter()
        .map(|(name, value)| NamedValue {
            name: name.as_ptr(),
            value: *value,
        })
        .collect();
    let lengths: Vec<usize> = (0..bytes.below(5)).map(|_| length(&mut bytes)).collect();
    let config = Config {
        rule: if bytes.below(32) == 31 {
            null()
        } else {
            rule.as_ptr()
        },
        dtype: [DTYPE_F32, DTYPE_F64, 0, u32::MAX][[0, 0, 0, 1, 1, 1, 2, 3][bytes.below(8)]],
        settings: if bytes.below(32) == 31 {
            null()
        } else {
            named.as_ptr()
        },
        settings_count: named.len(),
        lengths: lengths.as_ptr(),
        tensors: lengths.len(),
    };

    let mut needed = 0;
    // SAFETY: lists as long as they are said to be, and C strings.
    let sized = said(|error| unsafe { adarem_size(&config, &mut needed, error) });
    let room = match sized {
        Status::Ok if needed <= MOST => needed,
        _ => MOST.min(1 << bytes.below(12)),
    };
    let short = [0, 0, 0, 1, 16][bytes.below(5)].min(room);
    let shift = [0, 0, 0, 1, 8][bytes.below(5)];
    let (given, mut memory) = (
        room - short,
        vec![Block([PATTERN; 16]); (room + 2 * GUARD) / 16 + 2],
    );
    let start = memory.as_mut_ptr().cast::<u8>();
    // SAFETY: the memory is longer by two guards and a block.
    let place = unsafe { start.add(GUARD + shift) };
    let mut optimizer = null_mut();
    // SAFETY: as above, and so much memory that nothing else uses.
    let created = said(|error| unsafe {
        adarem_create(
            &config,
            place.cast::<c_void>(),
            given,
            &mut optimizer,
            error,
        )
    });
    let fits = needed <= MOST && short == 0 && shift % ALIGNMENT == 0;
    assert_eq!(
        created == Status::Ok,
        sized == Status::Ok && fits,
        "{created:?}"
    );
    // A rule without state can be created for tensors that no machine holds.
    if created == Status::Ok && lengths.iter().all(|&len| len < 64) {
        match config.dtype {
            DTYPE_F32 => calls::<f32>(optimizer, &rule, &lengths, &mut bytes),
            _ => calls::<f64>(optimizer, &rule, &lengths, &mut bytes),
        }
    }
    let whole = size_of_val(&memory[..]);
    for at in (0..GUARD + shift).chain(GUARD + shift + given..whole) {
        // SAFETY: within the memory.
        let byte = unsafe { start.add(at).read() };
        assert_eq!(byte, PATTERN, "byte {at} is not the optimizer's");
    }
}

#[repr(C, align(16))]
#[derive(Clone)]
struct Block([u8; 16]);

/// Numbers that C steps.
trait Number: adarem::Element {
    /// The step of this type.
    const STEP: unsafe extern "C" fn(
        *mut Optimizer,
        *const *mut Self,
        *const *const Self,
        *mut Error,
    ) -> Status;
}

impl Number for f32 {
    const STEP: unsafe extern "C" fn(
        *mut Optimizer,
        *const *mut f32,
        *const *const f32,
        *mut Error,
    ) -> Status = adarem_step_f32;
}

impl Number for f64 {
    const STEP: unsafe extern "C" fn(
        *mut Optimizer,
        *const *mut f64,
        *const *const f64,
        *mut Error,
    ) -> Status = adarem_step_f64;
}

/// Calls on an optimizer, until the bytes are used up.
fn calls<T: Number>(
    optimizer: *mut Optimizer,
    rule: &CStr,
    lengths: &[usize],
    bytes: &mut Bytes<'_>,
) {
    let mut theta: Vec<Vec<T>> = lengths.iter().map(|&len| vec![T::one(); len]).collect();
    let mut grad = theta.clone();
    let mut state = save(optimizer);
    while !bytes.are_used_up() {
        let kept = (theta.clone(), state.clone());
        let status = match bytes.below(6) {
            0 | 1 => {
                for x in grad.iter_mut().flatten() {
                    *x = bytes.number();
                }
                let theta: Vec<*mut T> = theta.iter_mut().map(|x| x.as_mut_ptr()).collect();
                let mut grad: Vec<*const T> = grad.iter().map(|x| x.as_ptr()).collect();
                if let (Some(first), 0) = (grad.first_mut(), bytes.below(16)) {
                    *first = if lengths[0] == 0 { *first } else { null() };
                }
                // SAFETY: a tensor of each length, or null, which is refused.
                said(|error| unsafe { T::STEP(optimizer, theta.as_ptr(), grad.as_ptr(), error) })
            }
            2 => {
                let (name, value) = (setting(rule, bytes), bytes.number());
                // SAFETY: an optimizer and a C string.
                said(|error| unsafe { adarem_set(optimizer, name.as_ptr(), value, error) })
            }
            3 => {
                let name = setting(rule, bytes);
                let schedule = Schedule {
                    kind: bytes.below(9) as u32,
                    from: bytes.number(),
                    to: bytes.number(),
                    steps: bytes.bits() >> bytes.below(64),
                    factor: bytes.number(),
                    warmup: bytes.bits() >> bytes.below(64),
                };
                // SAFETY: an optimizer, a C string and a schedule.
                said(|error| unsafe { adarem_schedule(optimizer, name.as_ptr(), &schedule, error) })
            }
            4 => {
                let mut damaged = state.clone();
                let at = bytes.bits() as usize % (damaged.len() + 1);
                damaged.truncate(if bytes.below(2) == 0 {
                    at
                } else {
                    damaged.len()
                });
                if let Some(byte) = damaged.get_mut(at) {
                    *byte ^= bytes.byte();
                }
                // SAFETY: an optimizer, and as many bytes as are said.
                let status = said(|error| unsafe {
                    adarem_restore(optimizer, damaged.as_ptr(), damaged.len(), error)
                });
                assert_eq!(status == Status::Ok, damaged == state, "{status:?}");
                status
            }
            _ => {
                let mut small = vec![0; bytes.below(64)];
                // SAFETY: an optimizer, and as many bytes as are said.
                let status = said(|error| unsafe {
                    adarem_save(optimizer, small.as_mut_ptr(), small.len(), error)
                });
                assert_eq!(
                    status == Status::Ok,
                    small.len() >= state.len(),
                    "{status:?}"
                );
                status
            }
        };
        state = save(optimizer);
        if status != Status::Ok {
            assert!(same(&theta, &kept.0), "a refusal changed a parameter");
            assert_eq!(state, kept.1, "a refusal changed the state");
        }
    }
}

/// Whether all bits are the same.
fn same<T: Number>(a: &[Vec<T>], b: &[Vec<T>]) -> bool {
    let bits = |x: &[Vec<T>]| -> Vec<u64> { x.iter().flatten().map(|x| x.to_le()).collect() };
    bits(a) == bits(b)
}

/// What the optimizer saves.
fn save(optimizer: *mut Optimizer) -> Vec<u8> {
    let mut count = 0;
    // SAFETY: an optimizer and a number.
    let status = said(|error| unsafe { adarem_saved_size(optimizer, &mut count, error) });
    assert_eq!(status, Status::Ok);
    let mut bytes = vec![0; count];
    // SAFETY: an optimizer, and as many bytes as are said.
    let status = said(|error| unsafe { adarem_save(optimizer, bytes.as_mut_ptr(), count, error) });
    assert_eq!(status, Status::Ok);
    bytes
}

/// The status of a call, whose text must be empty exactly if it was done.
fn said(call: impl FnOnce(*mut Error) -> Status) -> Status {
    let mut error = Error {
        status: Status::Internal,
        text: [b'x' as c_char; ERROR_TEXT],
    };
    let status = call(&mut error);
    assert_eq!(status, error.status);
    let bytes = error.text.map(|byte| byte as u8);
    let text = CStr::from_bytes_until_nul(&bytes).expect("the text ends");
    assert_eq!(
        text.is_empty(),
        status == Status::Ok,
        "{status:?}: {text:?}"
    );
    assert_ne!(status, Status::Internal, "{text:?}");
    status
}

/// The name of a rule, or something else.
fn rule(bytes: &mut Bytes<'_>) -> CString {
    let mut name = [0 as c_char; 64];
    // SAFETY: so much room.
    let found = unsafe { adarem_rule_name(bytes.below(40), name.as_mut_ptr(), name.len()) };
    text(found, name, bytes)
}

/// The name of a setting of this rule, or something else.
fn setting(rule: &CStr, bytes: &mut Bytes<'_>) -> CString {
    let (mut name, index) = ([0 as c_char; 64], bytes.below(12));
    // SAFETY: a C string, and so much room.
    let found = unsafe {
        adarem_setting_name(
            rule.as_ptr(),
            index,
            name.as_mut_ptr(),
            name.len(),
            null_mut(),
        )
    };
    text(found, name, bytes)
}

fn text(found: bool, name: [c_char; 64], bytes: &mut Bytes<'_>) -> CString {
    if found {
        let name = name.map(|byte| byte as u8);
        return CStr::from_bytes_until_nul(&name)
            .expect("the name ends")
            .to_owned();
    }
    let letters = (0..bytes.below(200)).map(|_| bytes.byte().max(1));
    CString::new(letters.collect::<Vec<u8>>()).expect("there is no NUL in it")
}

/// A short length, or one beyond any memory.
fn length(bytes: &mut Bytes<'_>) -> usize {
    match bytes.below(64) {
        63 => usize::MAX >> bytes.below(24),
        short => short,
    }
}
