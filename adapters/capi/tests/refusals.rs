//! What C may do wrong, and what it is told: a status, a text with name and value, and nothing changed.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{null, null_mut};

use adarem_capi::*;

#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Block([u8; ALIGNMENT]);

/// An optimizer of `f32`, its memory and its tensors.
struct Owned {
    memory: Vec<Block>,
    optimizer: *mut Optimizer,
    theta: Vec<Vec<f32>>,
    grad: Vec<Vec<f32>>,
}

impl Owned {
    fn new(rule: &str, lengths: &[usize]) -> Owned {
        let rule = CString::new(rule).unwrap();
        let config = config(&rule, lengths);
        let (mut bytes, mut optimizer) = (0, null_mut());
        assert_eq!(size(&config, &mut bytes), DONE);
        let mut memory = vec![Block([0xa5; ALIGNMENT]); bytes.div_ceil(ALIGNMENT)];
        assert_eq!(create(&config, &mut memory, &mut optimizer), DONE);
        Owned {
            memory,
            optimizer,
            theta: lengths.iter().map(|&len| vec![1.0; len]).collect(),
            grad: lengths.iter().map(|&len| vec![0.5; len]).collect(),
        }
    }

    fn pointers(&mut self) -> (Vec<*mut f32>, Vec<*const f32>) {
        let theta = self.theta.iter_mut().map(|x| x.as_mut_ptr()).collect();
        (theta, self.grad.iter().map(|x| x.as_ptr()).collect())
    }

    fn step(&mut self) -> (Status, String) {
        let (theta, grad) = self.pointers();
        self.step_on(&theta, &grad)
    }

    fn step_on(&mut self, theta: &[*mut f32], grad: &[*const f32]) -> (Status, String) {
        // SAFETY: pointers that are used are those of tensors; the others must be refused.
        said(|error| unsafe {
            adarem_step_f32(self.optimizer, theta.as_ptr(), grad.as_ptr(), error)
        })
    }

    fn set(&mut self, name: &str, value: f64) -> (Status, String) {
        let name = CString::new(name).unwrap();
        // SAFETY: an optimizer and a C string.
        said(|error| unsafe { adarem_set(self.optimizer, name.as_ptr(), value, error) })
    }

    fn schedule(&mut self, name: &str, schedule: Schedule) -> (Status, String) {
        let name = CString::new(name).unwrap();
        // SAFETY: an optimizer, a C string and a schedule.
        said(|error| unsafe { adarem_schedule(self.optimizer, name.as_ptr(), &schedule, error) })
    }

    fn save(&mut self) -> Vec<u8> {
        let mut count = 0;
        // SAFETY: an optimizer and a number.
        let status = said(|error| unsafe { adarem_saved_size(self.optimizer, &mut count, error) });
        assert_eq!(status, DONE);
        let mut bytes = vec![0; count];
        assert_eq!(self.save_to(&mut bytes), DONE);
        bytes
    }

    fn save_to(&mut self, bytes: &mut [u8]) -> (Status, String) {
        let (start, len) = (bytes.as_mut_ptr(), bytes.len());
        // SAFETY: an optimizer, and as many bytes as are said.
        said(|error| unsafe { adarem_save(self.optimizer, start, len, error) })
    }

    fn restore(&mut self, bytes: &[u8]) -> (Status, String) {
        // SAFETY: an optimizer, and as many bytes as are said.
        said(|error| unsafe { adarem_restore(self.optimizer, bytes.as_ptr(), bytes.len(), error) })
    }
}

const DONE: (Status, String) = (Status::Ok, String::new());

/// The status of a call and its text.
fn said(call: impl FnOnce(*mut Error) -> Status) -> (Status, String) {
    let mut error = Error {
        status: Status::Internal,
        text: [b'x' as c_char; ERROR_TEXT],
    };
    let status = call(&mut error);
    assert_eq!(status, error.status);
    let bytes = error.text.map(|byte| byte as u8);
    let text = CStr::from_bytes_until_nul(&bytes).unwrap();
    (status, text.to_str().unwrap().to_string())
}

fn refused(status: Status, text: &str) -> (Status, String) {
    (status, text.to_string())
}

fn config(rule: &CStr, lengths: &[usize]) -> Config {
    Config {
        rule: rule.as_ptr(),
        dtype: DTYPE_F32,
        settings: null(),
        settings_count: 0,
        lengths: lengths.as_ptr(),
        tensors: lengths.len(),
    }
}

fn size(config: &Config, bytes: &mut usize) -> (Status, String) {
    // SAFETY: a configuration of live lists.
    said(|error| unsafe { adarem_size(config, bytes, error) })
}

fn create(config: &Config, memory: &mut [Block], to: &mut *mut Optimizer) -> (Status, String) {
    let (start, bytes) = (memory.as_mut_ptr(), size_of_val(memory));
    // SAFETY: a configuration of live lists, and as much memory as is said.
    said(|error| unsafe { adarem_create(config, start.cast(), bytes, to, error) })
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_by_name_and_value() {
    use Status::*;
    let lengths = [3, 5];
    let good = config(c"adarem", &lengths);
    let lr = |value| NamedValue {
        name: c"lr".as_ptr(),
        value,
    };
    let (negative, nameless, misspelt) = (
        [lr(-1.0)],
        [NamedValue {
            name: null(),
            value: 1.0,
        }],
        [NamedValue {
            name: c"Lr".as_ptr(),
            value: 1.0,
        }],
    );
    let set = |settings: &[NamedValue]| Config {
        settings: settings.as_ptr(),
        settings_count: settings.len(),
        ..good
    };
    let rule = |rule: &CStr| Config {
        rule: rule.as_ptr(),
        ..good
    };
    let endless = [usize::MAX, 1];
    let half = [usize::MAX / 8, usize::MAX / 8];
    let cases = [
        (
            Config {
                rule: null(),
                ..good
            },
            Null,
            "rule is null",
        ),
        (
            rule(c""),
            UnknownRule,
            "there is no rule \"\": adarem_rule_name lists them",
        ),
        (
            rule(c"adare"),
            UnknownRule,
            "there is no rule \"adare\": adarem_rule_name lists them",
        ),
        (
            rule(c"a name that is much longer than any"),
            UnknownRule,
            "there is no rule \"a name that is much longer than \": adarem_rule_name lists them",
        ),
        (
            rule(c"\xff\"\n"),
            UnknownRule,
            "there is no rule \"\\xff\\\"\\n\": adarem_rule_name lists them",
        ),
        (
            Config { dtype: 2, ..good },
            Invalid,
            "dtype must be ADAREM_DTYPE_F32 or ADAREM_DTYPE_F64, got 2",
        ),
        (
            set(&negative),
            Invalid,
            "lr must be at least 0 and finite, got -1",
        ),
        (set(&nameless), Null, "name is null"),
        (
            set(&misspelt),
            UnknownSetting,
            "adarem has no setting \"Lr\": adarem_setting_name lists them",
        ),
        (
            Config {
                settings_count: 1,
                ..good
            },
            Null,
            "settings is null",
        ),
        (
            Config {
                settings_count: 1,
                settings: 1 as _,
                ..good
            },
            Misaligned,
            "settings is not aligned",
        ),
        (
            Config {
                settings_count: usize::MAX,
                ..set(&negative)
            },
            TooLong,
            "settings must fit a memory, got 18446744073709551615 entries",
        ),
        (
            Config {
                lengths: null(),
                ..good
            },
            Null,
            "lengths is null",
        ),
        (
            Config {
                lengths: 3 as _,
                ..good
            },
            Misaligned,
            "lengths is not aligned",
        ),
        (
            Config {
                tensors: usize::MAX,
                ..good
            },
            TooLong,
            "lengths must fit a memory, got 18446744073709551615 entries",
        ),
        (
            config(c"adarem", &endless),
            TooLong,
            "lengths must fit a memory, got 18446744073709551615 numbers",
        ),
        (
            config(c"adarem", &half),
            TooLong,
            "lengths must fit a memory, got 4611686018427387902 numbers",
        ),
    ];
    for (config, status, text) in cases {
        let (mut bytes, mut optimizer) = (7, null_mut());
        assert_eq!(size(&config, &mut bytes), refused(status, text));
        let mut memory = vec![Block([0xa5; ALIGNMENT]); 64];
        let said = create(&config, &mut memory, &mut optimizer);
        assert_eq!(said, refused(status, text));
        assert_eq!(
            (bytes, optimizer),
            (7, null_mut()),
            "{text}: nothing is written"
        );
        assert!(
            memory.iter().all(|block| block.0 == [0xa5; ALIGNMENT]),
            "{text}"
        );
    }
}

#[test]
fn a_text_that_is_too_long_is_cut() {
    let name = CString::new([0xff; 40]).unwrap();
    let (status, text) = size(&config(&name, &[3]), &mut 0);
    assert_eq!((status, text.len()), (Status::UnknownRule, ERROR_TEXT - 1));
    assert!(text.starts_with(r#"there is no rule "\xff\xff"#), "{text}");
}

#[test]
fn memory_that_is_null_misaligned_or_small_is_refused() {
    let lengths = [3, 5];
    let config = config(c"adarem", &lengths);
    let (mut bytes, mut optimizer) = (0, null_mut());
    assert_eq!(size(&config, &mut bytes), DONE);
    let mut memory = vec![Block([0; ALIGNMENT]); bytes.div_ceil(ALIGNMENT) + 1];
    let start = memory.as_mut_ptr().cast::<u8>();
    let mut create = |at: *mut u8, bytes| {
        // SAFETY: live lists; memory that is used is `memory`.
        said(|error| unsafe { adarem_create(&config, at.cast(), bytes, &mut optimizer, error) })
    };
    assert_eq!(
        create(null_mut(), bytes),
        refused(Status::Null, "memory is null")
    );
    let misaligned = refused(Status::Misaligned, "memory is not aligned");
    assert_eq!(create(start.wrapping_add(8), bytes), misaligned);
    let small = format!("memory must have {bytes} bytes, got {}", bytes - 1);
    assert_eq!(create(start, bytes - 1), refused(Status::TooSmall, &small));
    assert_eq!(create(start, bytes), DONE);
    // SAFETY: null is allowed everywhere, and refused.
    unsafe {
        let (config, memory) = (&raw const config, start.cast::<c_void>());
        assert_eq!(adarem_size(config, null_mut(), null_mut()), Status::Null);
        let created = adarem_create(config, memory, bytes, null_mut(), null_mut());
        assert_eq!(created, Status::Null);
        let created = adarem_create(null(), memory, bytes, &mut optimizer, null_mut());
        assert_eq!(created, Status::Null);
    }
}

#[test]
fn a_step_on_wrong_pointers_changes_no_bit() {
    use Status::*;
    let mut owned = Owned::new("adarem", &[3, 0, 5]);
    assert_eq!(owned.step(), DONE);
    let (theta, grad) = owned.pointers();
    let memory = owned.memory.as_mut_ptr().cast::<f32>();
    let with = |i: usize, pointer| {
        let mut theta = theta.clone();
        theta[i] = pointer;
        theta
    };
    let grad_with = |i: usize, pointer| {
        let mut grad = grad.clone();
        grad[i] = pointer;
        grad
    };
    let misaligned = theta[0].cast::<u8>().wrapping_add(1).cast::<f32>();
    let cases = [
        (with(2, null_mut()), grad.clone(), Null, "theta[2] is null"),
        (theta.clone(), grad_with(0, null()), Null, "grad[0] is null"),
        (
            with(0, misaligned),
            grad.clone(),
            Misaligned,
            "theta[0] is not aligned",
        ),
        (
            theta.clone(),
            grad_with(2, misaligned),
            Misaligned,
            "grad[2] is not aligned",
        ),
        (
            with(2, theta[0].wrapping_add(2)),
            grad.clone(),
            Overlap,
            "theta[0] overlaps other memory of this call",
        ),
        (
            theta.clone(),
            grad_with(2, theta[0].cast_const()),
            Overlap,
            "theta[0] overlaps other memory of this call",
        ),
        (
            with(2, memory.wrapping_add(20)),
            grad.clone(),
            Overlap,
            "theta[2] overlaps other memory of this call",
        ),
        (
            theta.clone(),
            grad_with(0, memory.cast_const()),
            Overlap,
            "grad[0] overlaps other memory of this call",
        ),
    ];
    let state = owned.save();
    let numbers = owned.theta.clone();
    for (theta, grad, status, text) in &cases {
        assert_eq!(owned.step_on(theta, grad), refused(*status, text));
        assert_eq!((&owned.save(), &owned.theta), (&state, &numbers), "{text}");
    }
    // SAFETY: the optimizer is one of floats, and null lists are refused.
    unsafe {
        let none = null();
        let step = said(|error| adarem_step_f32(owned.optimizer, none, grad.as_ptr(), error));
        assert_eq!(step, refused(Null, "theta is null"));
        let step = said(|error| adarem_step_f64(owned.optimizer, null(), null(), error));
        assert_eq!(
            step,
            refused(WrongDtype, "the optimizer steps tensors of float")
        );
    }
    // The pointers of an empty tensor are not looked at.
    let empty = (with(1, null_mut()), grad_with(1, null()));
    assert_eq!(owned.step_on(&empty.0, &empty.1), DONE);
}

#[test]
fn what_is_no_optimizer_is_refused() {
    let mut owned = Owned::new("adarem", &[3]);
    let mut moved = owned.memory.clone();
    let steps = |optimizer: *const Optimizer| {
        let mut steps = 7;
        // SAFETY: null, misaligned or readable.
        let said = said(|error| unsafe { adarem_steps(optimizer, &mut steps, error) });
        (said, steps)
    };
    assert_eq!(steps(owned.optimizer), (DONE, 0));
    assert_eq!(
        steps(null()),
        (refused(Status::Null, "optimizer is null"), 7)
    );
    let odd = owned.optimizer.cast::<u8>().wrapping_add(1).cast();
    let text = "optimizer is not aligned";
    assert_eq!(steps(odd), (refused(Status::Misaligned, text), 7));
    let text = "this is no optimizer of adarem_create, or its memory was moved or overwritten";
    let no_optimizer = (refused(Status::NotAnOptimizer, text), 7);
    assert_eq!(steps(moved.as_mut_ptr().cast()), no_optimizer);
    owned.memory.fill(Block([0xff; ALIGNMENT]));
    assert_eq!(steps(owned.memory.as_ptr().cast()), no_optimizer);
}

#[test]
fn a_setting_is_read_as_it_was_set_and_kept_where_it_is_refused() {
    let mut owned = Owned::new("adarem", &[3]);
    let get = |owned: &Owned, name: &CStr| {
        let mut value = 7.0;
        // SAFETY: an optimizer, a C string and a number.
        let said =
            said(|error| unsafe { adarem_get(owned.optimizer, name.as_ptr(), &mut value, error) });
        (said, value)
    };
    assert_eq!(owned.set("beta", 0.5), DONE);
    let text = "beta must lie in [0, 1), got 1.5";
    assert_eq!(owned.set("beta", 1.5), refused(Status::Invalid, text));
    assert_eq!(get(&owned, c"beta"), (DONE, 0.5));
    let text = "adarem has no setting \"betas\": adarem_setting_name lists them";
    let unknown = refused(Status::UnknownSetting, text);
    assert_eq!(owned.set("betas", 0.5), unknown);
    assert_eq!(get(&owned, c"betas"), (unknown, 7.0));
}

#[test]
fn a_schedule_sets_its_setting_in_each_step() {
    let mut owned = Owned::new("sgd", &[1]);
    let linear = Schedule {
        kind: SCHEDULE_LINEAR,
        from: 0.5,
        to: 0.25,
        steps: 2,
        factor: 0.0,
        warmup: 0,
    };
    assert_eq!(owned.schedule("lr", linear), DONE);
    for theta in [0.75, 0.5625, 0.4375, 0.3125] {
        assert_eq!(owned.step(), DONE);
        assert_eq!(owned.theta, [[theta]]);
    }
    let text = "kind must be one of ADAREM_SCHEDULE_.., got 9";
    let wrong = Schedule { kind: 9, ..linear };
    assert_eq!(owned.schedule("lr", wrong), refused(Status::Invalid, text));
    let endless = Schedule { steps: 0, ..linear };
    let (status, text) = owned.schedule("lr", endless);
    assert_eq!(status, Status::Invalid);
    assert!(text.starts_with("steps must"), "{text}");
    let falling = Schedule {
        from: -1.0,
        to: -1.0,
        ..linear
    };
    let text = "lr must be at least 0 and finite, got -1";
    assert_eq!(
        owned.schedule("lr", falling),
        refused(Status::Invalid, text)
    );
}

#[test]
fn a_rate_may_end_at_0() {
    let mut owned = Owned::new("adarem", &[1]);
    let linear = Schedule {
        kind: SCHEDULE_LINEAR,
        from: 0.5,
        to: 0.0,
        steps: 2,
        factor: 0.0,
        warmup: 0,
    };
    assert_eq!(owned.schedule("lr", linear), DONE);
    let mut walk = Vec::new();
    for _ in 0..5 {
        assert_eq!(owned.step(), DONE);
        walk.push(owned.theta[0][0]);
    }
    assert!(walk[0] > walk[1] && walk[1..] == [walk[1]; 4], "{walk:?}");
}

#[test]
fn every_kind_of_schedule_is_that_of_the_adapters() {
    use adarem_adapters::schedule::{self as adapters, Schedule as _};
    let (from, to, steps, factor) = (0.5, 0.125, 4, 0.5);
    let linear = adapters::Linear { from, to, steps };
    let cosine = adapters::Cosine { from, to, steps };
    let polynomial = adapters::Polynomial {
        from,
        to,
        steps,
        power: factor,
    };
    let exponential = adapters::Exponential {
        start: from,
        factor,
    };
    let falls = adapters::StepDecay {
        start: from,
        factor,
        every: steps,
    };
    let inverse_sqrt = adapters::InverseSqrt { start: from };
    let expected = |kind, t| match kind {
        SCHEDULE_CONSTANT => from,
        SCHEDULE_LINEAR => linear.at(t),
        SCHEDULE_COSINE => cosine.at(t),
        SCHEDULE_POLYNOMIAL => polynomial.at(t),
        SCHEDULE_EXPONENTIAL => exponential.at(t),
        SCHEDULE_STEPS => falls.at(t),
        SCHEDULE_INVERSE_SQRT => inverse_sqrt.at(t),
        _ => unreachable!("the kinds below"),
    };
    for kind in SCHEDULE_CONSTANT..=SCHEDULE_INVERSE_SQRT {
        let mut owned = Owned::new("sgd", &[1]);
        let schedule = Schedule {
            kind,
            from,
            to,
            steps,
            factor,
            warmup: 0,
        };
        assert_eq!(owned.schedule("lr", schedule), DONE);
        for t in 0..10 {
            assert_eq!(owned.step(), DONE);
            let mut lr = 0.0;
            // SAFETY: an optimizer, a C string and a number.
            let status =
                unsafe { adarem_get(owned.optimizer, c"lr".as_ptr(), &mut lr, null_mut()) };
            assert_eq!(
                (status, lr),
                (Status::Ok, expected(kind, t)),
                "kind {kind}, step {t}"
            );
        }
    }
}

#[test]
fn more_schedules_than_there_is_room_for_are_refused() {
    let mut owned = Owned::new("adabound", &[1]);
    let constant = Schedule {
        kind: SCHEDULE_CONSTANT,
        from: 0.5,
        to: 0.0,
        steps: 1,
        factor: 1.0,
        warmup: 0,
    };
    let names = ["lr", "beta1", "beta2", "eps", "final_lr"];
    for name in &names[..MOST_SCHEDULES] {
        assert_eq!(owned.schedule(name, constant), DONE, "{name}");
    }
    let text = "an optimizer has at most 4 schedules";
    let full = refused(Status::Invalid, text);
    assert_eq!(owned.schedule(names[4], constant), full);
    assert_eq!(
        owned.schedule("lr", constant),
        DONE,
        "in the place of the other"
    );
    // SAFETY: an optimizer, a C string, and null, which ends a schedule.
    let ended = unsafe { adarem_schedule(owned.optimizer, c"lr".as_ptr(), null(), null_mut()) };
    assert_eq!(ended, Status::Ok);
    assert_eq!(owned.schedule(names[4], constant), DONE);
}

#[test]
fn a_checkpoint_goes_on_elsewhere_and_damage_is_refused() {
    let mut owned = Owned::new("adarem", &[3, 5]);
    for _ in 0..3 {
        assert_eq!(owned.step(), DONE);
    }
    let bytes = owned.save();
    let mut other = Owned::new("adarem", &[3, 5]);
    other.theta.clone_from(&owned.theta);
    let fresh = other.save();
    for len in 0..bytes.len() {
        let (status, text) = other.restore(&bytes[..len]);
        assert_eq!(
            (status, text.is_empty()),
            (Status::Checkpoint, false),
            "{len} bytes"
        );
        let mut damaged = bytes.clone();
        damaged[len] ^= 0x10;
        assert_eq!(other.restore(&damaged).0, Status::Checkpoint, "byte {len}");
    }
    assert_eq!(other.save(), fresh, "nothing was changed");
    let mut longer = Owned::new("adarem", &[3, 6]);
    assert_eq!(longer.restore(&bytes).0, Status::Checkpoint);
    let mut small = vec![0; bytes.len() - 1];
    let text = format!("bytes must have {} bytes, got {}", bytes.len(), small.len());
    assert_eq!(owned.save_to(&mut small), refused(Status::TooSmall, &text));
    assert!(small.iter().all(|&byte| byte == 0));

    assert_eq!(other.restore(&bytes), DONE);
    for _ in 0..3 {
        assert_eq!((owned.step(), other.step()), (DONE, DONE));
    }
    assert_eq!((owned.save(), &owned.theta), (other.save(), &other.theta));
}

/// Names of rules, or of the settings of a rule.
fn names(mut name: impl FnMut(usize, *mut c_char, usize) -> bool) -> Vec<CString> {
    let mut room = [0u8; 64];
    let mut names = Vec::new();
    while name(names.len(), room.as_mut_ptr().cast(), room.len()) {
        names.push(CStr::from_bytes_until_nul(&room).unwrap().to_owned());
    }
    names
}

#[test]
fn every_setting_of_every_rule_takes_or_refuses_any_number() {
    // SAFETY: room for as many bytes as is said.
    let rules = names(|i, name, room| unsafe { adarem_rule_name(i, name, room) });
    assert!(rules.len() > 30 && rules.is_sorted());
    let numbers = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        1e-320,
        1e300,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    let gradients = [0.0, 1e-45, -3e38, f32::INFINITY, f32::NAN];
    for rule in &rules {
        let settings = names(|i, name, room| {
            // SAFETY: a C string, and room for as many bytes as is said.
            unsafe { adarem_setting_name(rule.as_ptr(), i, name, room, null_mut()) }
        });
        assert!(settings.contains(&c"lr".to_owned()), "{rule:?}");
        for (setting, value) in settings
            .iter()
            .flat_map(|s| numbers.map(|value| (s, value)))
        {
            let mut owned = Owned::new(rule.to_str().unwrap(), &[5]);
            owned.grad[0].copy_from_slice(&gradients);
            let (status, text) = owned.set(setting.to_str().unwrap(), value);
            match status {
                Status::Ok => assert_eq!(owned.step(), DONE, "{rule:?} {setting:?} {value}"),
                Status::Invalid => assert!(text.contains("must"), "{rule:?}: {text}"),
                other => panic!("{rule:?} {setting:?} {value}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_name_that_does_not_fit_is_not_copied() {
    let mut room = [b'x' as c_char; 8];
    // SAFETY: at most as much room as there is is said.
    unsafe {
        assert!(!adarem_rule_name(0, room.as_mut_ptr(), "adabound".len()));
        assert!(!adarem_rule_name(0, null_mut(), 64));
        assert!(!adarem_rule_name(usize::MAX, room.as_mut_ptr(), 8));
        let none = adarem_setting_name(c"none".as_ptr(), 0, room.as_mut_ptr(), 8, null_mut());
        assert!(!none);
        assert_eq!(room, [b'x' as c_char; 8]);
        let mut lr = 0.0;
        assert!(adarem_setting_name(
            c"adarem".as_ptr(),
            0,
            room.as_mut_ptr(),
            8,
            &mut lr
        ));
        assert_eq!((CStr::from_ptr(room.as_ptr()), lr), (c"lr", 0.1));
    }
}
