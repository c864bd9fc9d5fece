//! What a step asks of the device, and what becomes of it when the device fails. An engine lends its device with
//! some functions replaced by counting or failing ones.

mod support;

use adarem::{AdaRem, Backend, Bf16, Error as _, ErrorKind, Optimizer, Phase};
use adarem_conformance::Random;
use adarem_vulkan::{Choice, Context, Enabled, Error, Vulkan};
use ash::vk::{self, Handle};
use core::{cell::Cell, ffi::c_void};
use std::{path::Path, process::Command};
use support::{
    engine::{Engine, Replacement},
    upload,
};

thread_local! {
    // A test and the Vulkan calls that it makes share a thread.
    static SUBMISSIONS: Cell<u32> = const { Cell::new(0) };
    static WAITS: Cell<u32> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<u32> = const { Cell::new(0) };
    static BUFFERS: Cell<i32> = const { Cell::new(0) };
    static SUBMIT: Cell<vk::Result> = const { Cell::new(vk::Result::SUCCESS) };
    static ALLOCATE: Cell<vk::Result> = const { Cell::new(vk::Result::SUCCESS) };
    static ORIGINALS: Cell<Option<Originals>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct Originals {
    submit: vk::PFN_vkQueueSubmit,
    wait: vk::PFN_vkWaitSemaphores,
    allocate: vk::PFN_vkAllocateMemory,
    create: vk::PFN_vkCreateBuffer,
    destroy: vk::PFN_vkDestroyBuffer,
}

fn originals() -> Originals {
    ORIGINALS.get().unwrap()
}

fn count<T: Copy + core::ops::Add<Output = T>>(
    counter: &'static std::thread::LocalKey<Cell<T>>,
    by: T,
) {
    counter.set(counter.get() + by);
}

unsafe extern "system" fn submit(
    queue: vk::Queue,
    infos: u32,
    info: *const vk::SubmitInfo<'_>,
    fence: vk::Fence,
) -> vk::Result {
    count(&SUBMISSIONS, 1);
    match SUBMIT.get() {
        // SAFETY: the arguments go on as they came.
        vk::Result::SUCCESS => unsafe { (originals().submit)(queue, infos, info, fence) },
        failure => failure,
    }
}

unsafe extern "system" fn wait(
    device: vk::Device,
    info: *const vk::SemaphoreWaitInfo<'_>,
    timeout: u64,
) -> vk::Result {
    count(&WAITS, 1);
    // SAFETY: the arguments go on as they came.
    unsafe { (originals().wait)(device, info, timeout) }
}

unsafe extern "system" fn allocate(
    device: vk::Device,
    info: *const vk::MemoryAllocateInfo<'_>,
    callbacks: *const vk::AllocationCallbacks<'_>,
    memory: *mut vk::DeviceMemory,
) -> vk::Result {
    count(&ALLOCATIONS, 1);
    match ALLOCATE.get() {
        // SAFETY: the arguments go on as they came.
        vk::Result::SUCCESS => unsafe { (originals().allocate)(device, info, callbacks, memory) },
        failure => failure,
    }
}

unsafe extern "system" fn create(
    device: vk::Device,
    info: *const vk::BufferCreateInfo<'_>,
    callbacks: *const vk::AllocationCallbacks<'_>,
    buffer: *mut vk::Buffer,
) -> vk::Result {
    count(&BUFFERS, 1);
    // SAFETY: the arguments go on as they came.
    unsafe { (originals().create)(device, info, callbacks, buffer) }
}

unsafe extern "system" fn destroy(
    device: vk::Device,
    buffer: vk::Buffer,
    callbacks: *const vk::AllocationCallbacks<'_>,
) {
    if !buffer.is_null() {
        count(&BUFFERS, -1);
    }
    // SAFETY: the arguments go on as they came.
    unsafe { (originals().destroy)(device, buffer, callbacks) }
}

/// The device of an engine, with all of the above in place.
fn watched(engine: &Engine) -> Context {
    let original = engine.device.fp_v1_0();
    ORIGINALS.set(Some(Originals {
        submit: original.queue_submit,
        wait: engine.device.fp_v1_2().wait_semaphores,
        allocate: original.allocate_memory,
        create: original.create_buffer,
        destroy: original.destroy_buffer,
    }));
    let replaced: [Replacement; 5] = [
        (
            c"vkQueueSubmit",
            submit as vk::PFN_vkQueueSubmit as *const c_void,
        ),
        (
            c"vkWaitSemaphores",
            wait as vk::PFN_vkWaitSemaphores as *const c_void,
        ),
        (
            c"vkAllocateMemory",
            allocate as vk::PFN_vkAllocateMemory as *const c_void,
        ),
        (
            c"vkCreateBuffer",
            create as vk::PFN_vkCreateBuffer as *const c_void,
        ),
        (
            c"vkDestroyBuffer",
            destroy as vk::PFN_vkDestroyBuffer as *const c_void,
        ),
    ];
    engine.lend_with(&replaced, engine.enabled).unwrap()
}

/// An engine, or a loud skip.
fn engine() -> Option<Engine> {
    support::context()?;
    Engine::new()
}

#[test]
fn a_step_of_a_thousand_tensors_is_one_submission_without_a_wait() {
    let Some(engine) = engine() else { return };
    let context = watched(&engine);
    let mut vulkan = Vulkan::<f32>::new(&context).unwrap();
    let lengths = [33; 1000];
    let [mut theta, grad] =
        [(); 2].map(|()| vulkan.zeros(33 * 1000).unwrap().split(&lengths).unwrap());
    let mut optimizer =
        Optimizer::<_, Vulkan<f32>>::new(AdaRem::default(), &mut vulkan, &lengths).unwrap();
    let mut theta = theta.iter_mut().collect::<Vec<_>>();
    let grad = grad.iter().collect::<Vec<_>>();
    is_one_submission(&mut vulkan, |vulkan| {
        optimizer.step(vulkan, &mut theta, &grad).unwrap();
    });
    // In mixed precision tensors of odd lengths have a number between them.
    let cut = |vulkan: &mut Vulkan<f32>| {
        let parts = vulkan.zeros_of::<Bf16>(34 * 1000).unwrap();
        let parts = parts.split(&[33, 1].repeat(1000)).unwrap();
        Vec::from_iter(parts.into_iter().step_by(2))
    };
    let (mut params, grad) = (cut(&mut vulkan), cut(&mut vulkan));
    let (mut params, grad) = (Vec::from_iter(&mut params), Vec::from_iter(&grad));
    is_one_submission(&mut vulkan, |vulkan| {
        vulkan
            .step_mixed(&mut optimizer, &mut theta, &mut params, &grad)
            .unwrap();
    });
}

/// Also that it waits for nothing and allocates nothing, once it has been taken.
#[track_caller]
fn is_one_submission(vulkan: &mut Vulkan<f32>, mut step: impl FnMut(&mut Vulkan<f32>)) {
    step(vulkan);
    vulkan.flush().unwrap();
    let before = (SUBMISSIONS.get(), WAITS.get(), ALLOCATIONS.get());
    for _ in 0..3 {
        step(vulkan);
    }
    let after = (SUBMISSIONS.get(), WAITS.get(), ALLOCATIONS.get());
    assert_eq!(
        after,
        (before.0 + 3, before.1, before.2),
        "submissions, waits, allocations"
    );
}

#[test]
fn recording_submits_nothing_and_waits_for_nothing() {
    let Some(engine) = engine() else { return };
    let context = watched(&engine);
    let mut vulkan = Vulkan::<f32>::new(&context).unwrap();
    let (mut theta, grad) = (
        upload(&mut vulkan, &[1.0; 9]),
        upload(&mut vulkan, &[0.5; 9]),
    );
    let mut optimizer =
        Optimizer::<_, Vulkan<f32>>::new(AdaRem::default(), &mut vulkan, &[9]).unwrap();
    vulkan.flush().unwrap();
    let before = (SUBMISSIONS.get(), WAITS.get());
    let commands = engine.begin();
    // SAFETY: `commands` is being recorded, and everything stays until `finish` has waited.
    let (stepped, recorded) = unsafe {
        vulkan.record(commands, |vulkan| {
            optimizer.step(vulkan, &mut [&mut theta], &[&grad])
        })
    };
    stepped.unwrap();
    assert_eq!((SUBMISSIONS.get(), WAITS.get()), before);
    engine.finish(commands);
    drop(recorded);
    assert_ne!(
        support::download(&mut vulkan, &theta),
        [1.0; 9],
        "the step was taken"
    );
}

#[test]
fn a_lost_device_is_an_error_of_its_own_and_stays_one() {
    let Some(engine) = engine() else { return };
    let context = watched(&engine);
    let mut vulkan = Vulkan::<f32>::new(&context).unwrap();
    let (mut theta, grad) = (
        upload(&mut vulkan, &[1.0; 9]),
        upload(&mut vulkan, &[0.5; 9]),
    );
    let mut optimizer =
        Optimizer::<_, Vulkan<f32>>::new(AdaRem::default(), &mut vulkan, &[9]).unwrap();
    vulkan.flush().unwrap();

    SUBMIT.set(vk::Result::ERROR_DEVICE_LOST);
    let lost = optimizer
        .step(&mut vulkan, &mut [&mut theta], &[&grad])
        .unwrap_err();
    assert_eq!(
        (&lost, lost.kind()),
        (&Error::DeviceLost, ErrorKind::DeviceLost)
    );
    assert_eq!(optimizer.phase(), Phase::Torn);
    assert!(lost.to_string().contains("restore a checkpoint"), "{lost}");

    // Nothing more is asked of it, whatever it would say.
    SUBMIT.set(vk::Result::SUCCESS);
    let (submissions, waits) = (SUBMISSIONS.get(), WAITS.get());
    let mut numbers = [0.0; 9];
    assert_eq!(vulkan.read(&theta, 0, &mut numbers), Err(Error::DeviceLost));
    assert_eq!(
        vulkan.write(&mut theta, 0, &numbers),
        Err(Error::DeviceLost)
    );
    assert_eq!(vulkan.zeros(9).unwrap_err(), Error::DeviceLost);
    assert_eq!(vulkan.flush(), Err(Error::DeviceLost));
    assert_eq!(Vulkan::<f64>::new(&context).unwrap_err(), Error::DeviceLost);
    drop((optimizer, theta, grad, vulkan, context));
    assert_eq!((SUBMISSIONS.get(), WAITS.get()), (submissions, waits));
    assert_eq!(BUFFERS.get(), 0, "buffers are destroyed all the same");
}

#[test]
fn memory_that_is_refused_is_named_and_leaves_nothing_behind() {
    let Some(engine) = engine() else { return };
    let context = watched(&engine);
    let mut vulkan = Vulkan::<f32>::new(&context).unwrap();
    let tensor = vulkan.zeros(10).unwrap();
    ALLOCATE.set(vk::Result::ERROR_OUT_OF_DEVICE_MEMORY);
    let buffers = BUFFERS.get();
    let refused = vulkan.zeros(1000).unwrap_err();
    assert_eq!(
        (&refused, refused.kind()),
        (&Error::OutOfMemory { bytes: 4000 }, ErrorKind::OutOfMemory)
    );
    assert!(refused.to_string().contains("4000 bytes"), "{refused}");
    assert_eq!(BUFFERS.get(), buffers);
    ALLOCATE.set(vk::Result::SUCCESS);
    assert_eq!(
        support::download(&mut vulkan, &tensor),
        [0.0; 10],
        "the device still works"
    );
    // More than any one allocation may be: refused before the driver is asked.
    let refused = vulkan.zeros(usize::MAX / 16).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::OutOfMemory);
}

#[test]
fn what_an_engine_did_not_enable_is_named() {
    let Some(engine) = engine() else { return };
    let lend = |enabled| engine.lend_with(&[], enabled);
    let old = lend(Enabled {
        api_version: vk::API_VERSION_1_1,
        ..engine.enabled
    })
    .unwrap_err();
    assert!(
        old.to_string()
            .contains("lacks Vulkan 1.2: ask for API version 1.2"),
        "{old}"
    );
    let timeless = lend(Enabled {
        timeline_semaphore: false,
        ..engine.enabled
    })
    .unwrap_err();
    assert!(
        timeless
            .to_string()
            .contains("lacks timelineSemaphore: enable it"),
        "{timeless}"
    );
    for (enabled, feature) in [
        (
            Enabled {
                shader_float64: false,
                ..engine.enabled
            },
            "shaderFloat64",
        ),
        (
            Enabled {
                shader_int64: false,
                ..engine.enabled
            },
            "shaderInt64",
        ),
    ] {
        let context = lend(enabled).unwrap();
        let refused = Vulkan::<f64>::new(&context).unwrap_err();
        assert!(refused.to_string().contains(feature), "{refused}");
        assert!(Vulkan::<f32>::new(&context).is_ok(), "f32 needs no feature");
    }
}

#[test]
fn a_tensor_of_another_device_is_refused() {
    let (Some(one), Some(other)) = (support::context(), support::context()) else {
        return;
    };
    let [mut one, mut other] = [one, other].map(|context| Vulkan::<f32>::new(&context).unwrap());
    let (mut theta, grad) = (one.zeros(3).unwrap(), other.zeros(3).unwrap());
    let mut optimizer =
        Optimizer::<_, Vulkan<f32>>::new(AdaRem::default(), &mut one, &[3]).unwrap();
    let refused = optimizer
        .step(&mut one, &mut [&mut theta], &[&grad])
        .unwrap_err();
    assert_eq!(refused, Error::Foreign);
    assert_eq!(one.read(&grad, 0, &mut [0.0; 3]), Err(Error::Foreign));
}

#[test]
fn a_missing_loader_is_named_with_its_remedy() {
    // SAFETY: no library is loaded: there is none of that name.
    let missing =
        unsafe { Context::open_through(Path::new("/no/such/libvulkan.so.1"), &Choice::Best) };
    let missing = missing.unwrap_err();
    assert!(matches!(missing, Error::NoLoader { .. }));
    let text = missing.to_string();
    assert!(
        text.contains("/no/such/libvulkan.so.1") && text.contains("install libvulkan1"),
        "{text}"
    );
}

#[test]
fn a_missing_driver_is_named_with_its_remedy() {
    const CHILD: &str = "ADAREM_TEST_NO_DRIVER";
    if std::env::var_os(CHILD).is_some() {
        let text = match Context::open(&Choice::Best) {
            Err(error @ (Error::NoDriver | Error::NoDevice { .. })) => error.to_string(),
            other => panic!("a device without a driver: {other:?}"),
        };
        println!("the child heard: {text}");
        return;
    }
    if support::context().is_none() {
        return;
    }
    // The loader reads its list of drivers when the program starts, so another program asks.
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_missing_driver_is_named_with_its_remedy",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .env("VK_DRIVER_FILES", "/no/such/driver.json")
        .env("VK_ICD_FILENAMES", "/no/such/driver.json")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        said.contains("the child heard") && said.contains("install the GPU's driver"),
        "{said}"
    );
}

#[test]
fn a_device_is_chosen_by_name_or_type() {
    let Some(best) = support::context() else {
        return;
    };
    let name = best.name().to_owned();
    let named = Context::open(&Choice::Named(name.to_uppercase())).unwrap();
    assert_eq!(named.name(), name);
    let refused = Context::open(&Choice::Named("no such device".into())).unwrap_err();
    assert!(
        matches!(&refused, Error::NoDevice { found, .. } if found.iter().any(|f| f.contains(&name)))
    );
    assert!(
        refused.to_string().contains("named \"no such device\""),
        "{refused}"
    );
    if best.is_software() {
        let software = Context::open(&Choice::Type(vk::PhysicalDeviceType::CPU)).unwrap();
        assert!(software.is_software());
    }
}

#[test]
fn saved_pipelines_are_taken_again() {
    let Some(context) = support::context() else {
        return;
    };
    let run = |vulkan: &mut Vulkan<f32>| {
        support::compare(vulkan, &AdaRem::default(), &[100], 1, Random::mild).unwrap();
        vulkan.pipeline_cache().unwrap()
    };
    let saved = run(&mut Vulkan::new(&context).unwrap());
    assert!(saved.len() >= 32, "a header, at least");
    let mut again = Vulkan::<f32>::new(&context)
        .unwrap()
        .with_pipeline_cache(&saved)
        .unwrap();
    assert_eq!(run(&mut again).len(), saved.len());
    let nonsense = vec![0xaa; 100];
    run(&mut Vulkan::new(&context)
        .unwrap()
        .with_pipeline_cache(&nonsense)
        .unwrap());
}

/// A batch of one's own making is checked before a kernel trusts it.
#[test]
fn a_batch_that_does_not_fit_is_refused() {
    let Some(context) = support::context() else {
        return;
    };
    let mut vulkan = Vulkan::<f32>::new(&context).unwrap();
    let traced = adarem::trace::trace(&AdaRem::default(), 0).unwrap();
    let mut run = |theta: usize, grad: usize, slot: usize, carried: usize, uniforms: &[f64]| {
        let [mut theta, grad] = [theta, grad].map(|len| vulkan.zeros(len).unwrap());
        let (mut slots, mut carried) = (
            [vulkan.zeros(slot).unwrap()],
            vulkan.zeros(carried).unwrap(),
        );
        let batch = adarem::Batch {
            theta: &mut [&mut theta],
            grad: &[&grad],
            slots: &mut slots,
            carried: &mut carried,
        };
        vulkan
            .run(&traced.plan, uniforms, batch)
            .map_err(|error| error.to_string())
    };
    let uniforms = traced.uniforms();
    assert_eq!(run(9, 9, 9, 1, uniforms), Ok(()));
    let refused = |outcome: Result<(), String>, text: &str| assert_eq!(outcome.unwrap_err(), text);
    refused(
        run(9, 8, 9, 1, uniforms),
        "grad of tensor 0 must have length 9, got 8",
    );
    refused(
        run(9, 9, 8, 1, uniforms),
        "a slot of tensor 0 must have length 9, got 8",
    );
    refused(
        run(9, 9, 9, 0, uniforms),
        "carried of tensor 0 must have length 1, got 0",
    );
    assert!(
        run(9, 9, 9, 1, &[])
            .unwrap_err()
            .starts_with("the list of uniforms")
    );

    let parts = vulkan.zeros(20).unwrap().split(&[1, 19]).unwrap();
    let [_, slot] = <[_; 2]>::try_from(parts).unwrap();
    let (mut theta, grad, mut carried) = (
        vulkan.zeros(9).unwrap(),
        vulkan.zeros(9).unwrap(),
        vulkan.zeros(1).unwrap(),
    );
    let batch = adarem::Batch {
        theta: &mut [&mut theta],
        grad: &[&grad],
        slots: &mut [slot],
        carried: &mut carried,
    };
    let alignment = context.limits().offset_alignment;
    let misaligned = Error::Misaligned {
        alignment,
        offset: 4,
    };
    assert_eq!(vulkan.run(&traced.plan, uniforms, batch), Err(misaligned));
}

/// A panic within `record` ends it: the next step goes to the backend's own queue again.
#[test]
fn a_panic_ends_a_recording() {
    let Some(engine) = engine() else { return };
    let context = engine.lend();
    let mut vulkan = Vulkan::<f32>::new(&context).unwrap();
    let (mut theta, grad) = (
        upload(&mut vulkan, &[1.0; 9]),
        upload(&mut vulkan, &[0.5; 9]),
    );
    let mut optimizer =
        Optimizer::<_, Vulkan<f32>>::new(AdaRem::default(), &mut vulkan, &[9]).unwrap();
    let commands = engine.begin();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        // SAFETY: `commands` is being recorded and never submitted.
        let ((), _recorded) = unsafe { vulkan.record(commands, |_| panic!("the engine's own")) };
    }));
    assert!(caught.is_err());
    optimizer
        .step(&mut vulkan, &mut [&mut theta], &[&grad])
        .unwrap();
    assert_ne!(support::download(&mut vulkan, &theta), [1.0; 9]);
}

/// A division chosen later is not answered with kernels of the one before.
#[test]
fn kernels_are_kept_for_each_division() {
    let Some(context) = support::context() else {
        return;
    };
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = seen.clone();
    let vulkan = Vulkan::<f32>::new(&context).unwrap();
    let mut vulkan = vulkan.with_kernels(move |_| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let kernels = |vulkan: &mut Vulkan<f32>| {
        support::compare(vulkan, &adarem::Adam::default(), &[100], 2, Random::mild).unwrap();
        seen.swap(0, std::sync::atomic::Ordering::Relaxed)
    };
    let exact = kernels(&mut vulkan);
    assert!(exact > 0);
    assert_eq!(kernels(&mut vulkan), 0, "compiled once");
    let mut vulkan = vulkan.with_division(adarem_vulkan::Division::Native);
    // Whatever the numbers are: on a GPU they may differ.
    let mut theta = vulkan.zeros(3).unwrap();
    let grad = vulkan.zeros(3).unwrap();
    let mut optimizer =
        Optimizer::<_, Vulkan<f32>>::new(adarem::Adam::default(), &mut vulkan, &[3]).unwrap();
    optimizer
        .step(&mut vulkan, &mut [&mut theta], &[&grad])
        .unwrap();
    assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), exact);
}
