//! The Khronos validation layer, with synchronisation checks, finds nothing to say; and it does find what is
//! planted. The layer is switched on by the loader's environment, so the work is done by a child process: this
//! test's own program, asked for one of the tests below that do nothing by themselves.

mod support;

use adarem::{AdaRem, AdaRemS, Adam, Backend, Bf16, Element, F16, Optimizer, Rule, Scope};
use adarem_adapters::HalfState;
use adarem_conformance::Random;
use adarem_vulkan::{Choice, Context, Division, Vulkan};
use ash::vk::{self, Handle};
use core::sync::atomic::{AtomicU32, Ordering};
use std::process::Command;
use support::{compare_mixed, engine::Engine, upload};

const LAYER: &str = "VK_LAYER_KHRONOS_validation";
/// Names the barriers that the child leaves out.
const DROPPED: &str = "ADAREM_TEST_DROPPED_BARRIERS";
const CHILD: &str = "ADAREM_TEST_CHILD";
/// Before a step, after its updates, between its kernels (of which there are five, then three), after it.
const BARRIERS_OF_TWO_STEPS: u32 = (3 + 4) + (3 + 2);

/// Whether the layer is installed, or a loud skip.
fn has_layer() -> bool {
    // SAFETY: loading the system's loader.
    let Ok(entry) = (unsafe { ash::Entry::load() }) else {
        support::skip("there is no Vulkan loader");
        return false;
    };
    // SAFETY: the call only reads.
    let layers = unsafe { entry.enumerate_instance_layer_properties() }.unwrap();
    let named = |l: &vk::LayerProperties| {
        l.layer_name_as_c_str()
            .is_ok_and(|n| n.to_str() == Ok(LAYER))
    };
    let found = layers.iter().any(named);
    if !found {
        support::skip("there is no validation layer: install vulkan-validationlayers");
    }
    found
}

/// Switches the layer on for a program to be run.
fn watched(command: &mut Command) -> &mut Command {
    command.env("VK_INSTANCE_LAYERS", LAYER).env(
        "VK_LAYER_ENABLES",
        "VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT",
    )
}

/// What the layer says of one of the children below.
fn under_layers(child: &str, dropped: Option<u32>) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", child, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1");
    watched(&mut command);
    if let Some(dropped) = dropped {
        command.env(DROPPED, dropped.to_string());
    }
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr]
        .map(|s| String::from_utf8_lossy(&s).into_owned())
        .concat();
    assert!(output.status.success(), "{child} failed:\n{said}");
    assert!(
        said.contains("1 passed"),
        "{child} is no test of this program:\n{said}"
    );
    said
}

fn complaints(said: &str) -> Vec<&str> {
    said.lines()
        .filter(|line| line.contains("Validation") || line.contains("VUID"))
        .collect()
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

#[test]
fn layers_have_nothing_to_say() {
    if !has_layer() || support::context().is_none() {
        return;
    }
    for child in [
        "child_steps_on_its_own_device",
        "child_records_for_an_engine",
    ] {
        let said = under_layers(child, None);
        assert!(complaints(&said).is_empty(), "{child}:\n{said}");
    }
}

/// The example, as a user runs it, with the layers looking on.
#[test]
fn own_vulkan_engine_agrees_with_the_host() {
    if !has_layer() || support::context().is_none() {
        return;
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "run",
        "--quiet",
        "-p",
        "adarem-vulkan",
        "--example",
        "own_vulkan_engine",
    ]);
    let output = watched(&mut cargo).output().unwrap();
    let said = [output.stdout, output.stderr]
        .map(|s| String::from_utf8_lossy(&s).into_owned())
        .concat();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("differ in 0 of 3610 weights"), "{said}");
    assert!(
        said.ends_with("host and device agree in every bit\n"),
        "{said}"
    );
    assert!(complaints(&said).is_empty(), "{said}");
}

#[test]
fn layers_see_a_leak() {
    if !has_layer() || support::context().is_none() {
        return;
    }
    let said = under_layers("child_leaks_a_buffer", None);
    assert!(said.contains("has not been destroyed"), "{said}");
}

/// Each barrier of a step is needed, and the layer says so when it is missing. Two steps of AdaRem-S are recorded:
/// the first has five kernels (it measures the sphere), the second three.
#[test]
fn layers_see_every_missing_barrier() {
    if !has_layer() || support::context().is_none() {
        return;
    }
    let hazard = |dropped: u32| {
        under_layers("child_records_for_an_engine", Some(dropped)).contains("SYNC-HAZARD")
    };
    // The barrier after the first step and the one before the second follow each other: either suffices. What comes
    // before the first step here are copies, for which the barrier after its updates suffices.
    let (before_first, after_first, before_second) = (0, 6, 7);
    for barrier in 0..BARRIERS_OF_TWO_STEPS {
        let spare = [before_first, after_first, before_second].contains(&barrier);
        assert_eq!(hazard(1 << barrier), !spare, "without barrier {barrier}");
    }
    assert!(
        hazard(1 << after_first | 1 << before_second),
        "without both between the steps"
    );
    assert!(hazard(u32::MAX), "without any barrier");
}

/// Steps of several rules in both types and in mixed precision, copies, tensors cut from one allocation.
#[test]
fn child_steps_on_its_own_device() {
    if !is_child() {
        return;
    }
    fn steps<E: Element, R: Rule + Clone>(vulkan: &mut Vulkan<E>, rule: R) {
        support::compare(vulkan, &rule, &[5000, 0, 1, 4096], 3, Random::mild).unwrap();
    }
    fn rules<E: Element>(context: &Context) {
        let mut vulkan = Vulkan::<E>::new(context).unwrap();
        steps(&mut vulkan, AdaRem::default());
        steps(&mut vulkan, AdaRemS::default());
        steps(
            &mut vulkan,
            AdaRemS {
                sphere: Scope::Group,
                ..AdaRemS::default()
            },
        );
        steps(&mut vulkan, Adam::default());
        steps(&mut vulkan, HalfState::bf16(AdaRemS::default()));
        steps(&mut vulkan, HalfState::f16(AdaRem::default()));
        let cache = vulkan.pipeline_cache().unwrap();
        let native = Vulkan::<E>::new(context)
            .unwrap()
            .with_division(Division::Native);
        let mut native = native.with_pipeline_cache(&cache).unwrap();
        let parts = native.zeros(300).unwrap().split(&[100, 200]).unwrap();
        let mut optimizer =
            Optimizer::<_, Vulkan<E>>::new(Adam::default(), &mut native, &[100]).unwrap();
        let [mut theta, grad] = <[_; 2]>::try_from(parts).unwrap();
        let [grad, _rest] = <[_; 2]>::try_from(grad.split(&[100, 100]).unwrap()).unwrap();
        optimizer
            .step(&mut native, &mut [&mut theta], &[&grad])
            .unwrap();
    }
    let context = Context::open(&Choice::Best).unwrap();
    rules::<f32>(&context);
    rules::<f64>(&context);
    let (mut vulkan, lengths) = (Vulkan::<f32>::new(&context).unwrap(), [5000, 0, 1, 4096]);
    let (full, packed) = (AdaRem::default(), HalfState::bf16(AdaRemS::default()));
    // The layer sees what is bound, so tensors lie where a binding may begin.
    compare_mixed::<Bf16, _>(&mut vulkan, &full, &lengths, 512, Random::mild).unwrap();
    compare_mixed::<F16, _>(&mut vulkan, &packed, &lengths, 512, Random::mild).unwrap();
}

static BARRIERS: AtomicU32 = AtomicU32::new(0);
/// Those to leave out, one bit each.
static LEFT_OUT: AtomicU32 = AtomicU32::new(0);
static ORIGINAL: std::sync::OnceLock<vk::PFN_vkCmdPipelineBarrier> = std::sync::OnceLock::new();

/// `vkCmdPipelineBarrier`, but some are left out.
unsafe extern "system" fn some_barriers(
    commands: vk::CommandBuffer,
    from: vk::PipelineStageFlags,
    to: vk::PipelineStageFlags,
    flags: vk::DependencyFlags,
    memories: u32,
    memory: *const vk::MemoryBarrier<'_>,
    buffers: u32,
    buffer: *const vk::BufferMemoryBarrier<'_>,
    images: u32,
    image: *const vk::ImageMemoryBarrier<'_>,
) {
    let this = BARRIERS.fetch_add(1, Ordering::Relaxed);
    if LEFT_OUT.load(Ordering::Relaxed) >> (this % 32) & 1 == 1 {
        return;
    }
    let original = ORIGINAL.get().unwrap();
    // SAFETY: the arguments go on as they came.
    unsafe {
        original(
            commands, from, to, flags, memories, memory, buffers, buffer, images, image,
        );
    }
}

/// Two steps of AdaRem-S in one command buffer of an engine, between commands of its own, submitted twice.
#[test]
fn child_records_for_an_engine() {
    if !is_child() {
        return;
    }
    let engine = Engine::new().unwrap();
    let dropped = std::env::var(DROPPED)
        .ok()
        .map(|text| text.parse::<u32>().unwrap());
    let replaced: &[support::engine::Replacement] = match dropped {
        None => &[],
        Some(_) => {
            ORIGINAL.get_or_init(|| engine.device.fp_v1_0().cmd_pipeline_barrier);
            let replacement: vk::PFN_vkCmdPipelineBarrier = some_barriers;
            &[(
                c"vkCmdPipelineBarrier",
                replacement as *const core::ffi::c_void,
            )]
        }
    };
    let context = engine.lend_with(replaced, engine.enabled).unwrap();
    let mut vulkan = Vulkan::<f32>::new(&context).unwrap();
    let mut random = Random::new(1);
    let lengths = [5000, 100];
    let [mut theta, grad] = [(); 2]
        .map(|()| lengths.map(|len| upload(&mut vulkan, &random.many(len, Random::mild::<f32>))));
    let mut optimizer =
        Optimizer::<_, Vulkan<f32>>::new(AdaRemS::default(), &mut vulkan, &lengths).unwrap();
    let out = upload(&mut vulkan, &[0f32; 100]);
    vulkan.flush().unwrap();
    BARRIERS.store(0, Ordering::Relaxed);
    LEFT_OUT.store(dropped.unwrap_or(0), Ordering::Relaxed);
    let commands = engine.begin();
    // The engine's own commands before and after have no barrier: `record` promises that none is needed.
    let region = [vk::BufferCopy::default().size(out.bytes().end)];
    // SAFETY: `commands` is being recorded, and the buffers hold that much.
    unsafe {
        engine
            .device
            .cmd_fill_buffer(commands, grad[1].buffer(), 0, vk::WHOLE_SIZE, 0)
    };
    // SAFETY: `commands` is being recorded, and everything stays until it has finished.
    let (stepped, recorded) = unsafe {
        vulkan.record(commands, |vulkan| {
            for _ in 0..2 {
                let mut theta = theta.iter_mut().collect::<Vec<_>>();
                optimizer.step(vulkan, &mut theta, &grad.iter().collect::<Vec<_>>())?;
            }
            Ok::<_, adarem_vulkan::Error>(())
        })
    };
    stepped.unwrap();
    // SAFETY: as above.
    unsafe {
        engine
            .device
            .cmd_copy_buffer(commands, theta[1].buffer(), out.buffer(), &region)
    };
    if !replaced.is_empty() {
        assert_eq!(BARRIERS.load(Ordering::Relaxed), BARRIERS_OF_TWO_STEPS);
    }
    engine.finish(commands);
    engine.submit(commands);
    drop(recorded);
    LEFT_OUT.store(0, Ordering::Relaxed);
    assert_eq!(support::download(&mut vulkan, &theta[0]).len(), 5000);
}

#[test]
fn child_leaks_a_buffer() {
    if !is_child() {
        return;
    }
    let engine = Engine::new().unwrap();
    let info = vk::BufferCreateInfo::default()
        .size(64)
        .usage(vk::BufferUsageFlags::STORAGE_BUFFER);
    // SAFETY: the structure is complete; that the buffer is never destroyed is the point.
    let leaked = unsafe { engine.device.create_buffer(&info, None) }.unwrap();
    assert!(!leaked.is_null());
}
