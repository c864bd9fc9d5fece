//! A tiny engine that owns its Vulkan device, its buffers and its command buffer, and lets adarem record the
//! optimizer's step into it. It learns to read handwritten digits; the same steps are taken on the host beside it,
//! and after every epoch all weights are compared, bit by bit.
//!
//!     cargo run --release -p adarem-vulkan --example own_vulkan_engine
//!
//! The digits are 1,797 real ones of 8 x 8 pixels (E. Alpaydin and C. Kaynak, UCI Machine Learning Repository,
//! CC BY 4.0), which the crate smartcore carries.

use adarem::{AdaRem, Optimizer, backend::ALIGN};
use adarem_cpu::Cpu;
use adarem_vulkan::{Context, Enabled, Tensor, Vulkan};
use ash::vk;
use std::{error::Error, ops::Range};

const PIXELS: usize = 64;
const HIDDEN: usize = 48;
const CLASSES: usize = 10;
const BATCH: usize = 32;
const EPOCHS: usize = 12;

/// The tensors of the network: weights and biases of two layers.
const LENGTHS: [usize; 4] = [HIDDEN * PIXELS, HIDDEN, CLASSES * HIDDEN, CLASSES];
/// Numbers of all tensors, with the gaps between them.
const PARAMETERS: usize = {
    let (mut sum, mut k) = (0, 0);
    while k < LENGTHS.len() {
        sum += LENGTHS[k].next_multiple_of(ALIGN);
        k += 1;
    }
    sum
};

/// Where each tensor lies among all parameters: one behind the other, each from where a device can bind it.
/// Packed closer they work too, but the validation layer, which sees what is bound, takes neighbours for the same.
fn places() -> [Range<usize>; 4] {
    let mut ranges = adarem::backend::ranges(LENGTHS.into_iter());
    std::array::from_fn(|_| ranges.next().expect("a range for each length"))
}

/// What an engine has anyway: a device, a command buffer, and here one buffer that host and GPU both see.
struct Engine {
    _entry: ash::Entry,
    instance: ash::Instance,
    physical: vk::PhysicalDevice,
    device: ash::Device,
    queue: vk::Queue,
    family: u32,
    pool: vk::CommandPool,
    commands: vk::CommandBuffer,
    fence: vk::Fence,
    /// The parameters, then their gradients.
    buffer: vk::Buffer,
    memory: vk::DeviceMemory,
    mapped: *mut f32,
}

impl Engine {
    fn new() -> Result<Self, Box<dyn Error>> {
        // SAFETY: every structure lives through its call, every handle was made here, and what is asked for (a
        // compute queue, timeline semaphores, coherent memory) every device of Vulkan 1.2 has.
        unsafe {
            let entry = ash::Entry::load()?;
            let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_2);
            let info = vk::InstanceCreateInfo::default().application_info(&application);
            let instance = entry.create_instance(&info, None)?;
            let physical = instance.enumerate_physical_devices()?[0];
            let families = instance.get_physical_device_queue_family_properties(physical);
            let computes =
                |f: &vk::QueueFamilyProperties| f.queue_flags.contains(vk::QueueFlags::COMPUTE);
            let family = families
                .iter()
                .position(computes)
                .ok_or("no compute queue")? as u32;
            let queues = [vk::DeviceQueueCreateInfo::default()
                .queue_family_index(family)
                .queue_priorities(&[1.0])];
            let mut features =
                vk::PhysicalDeviceVulkan12Features::default().timeline_semaphore(true);
            let info = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .push_next(&mut features);
            let device = instance.create_device(physical, &info, None)?;
            let queue = device.get_device_queue(family, 0);
            let info = vk::CommandPoolCreateInfo::default()
                .queue_family_index(family)
                .flags(vk::CommandPoolCreateFlags::RESET_COMMAND_BUFFER);
            let pool = device.create_command_pool(&info, None)?;
            let info = vk::CommandBufferAllocateInfo::default()
                .command_pool(pool)
                .command_buffer_count(1);
            let commands = device.allocate_command_buffers(&info)?[0];
            let fence = device.create_fence(&vk::FenceCreateInfo::default(), None)?;

            let info = vk::BufferCreateInfo::default()
                .size((2 * PARAMETERS * size_of::<f32>()) as u64)
                .usage(vk::BufferUsageFlags::STORAGE_BUFFER);
            let buffer = device.create_buffer(&info, None)?;
            let needs = device.get_buffer_memory_requirements(buffer);
            let types = instance.get_physical_device_memory_properties(physical);
            let both =
                vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_COHERENT;
            let ty = (0..types.memory_type_count)
                .find(|&i| {
                    needs.memory_type_bits >> i & 1 == 1
                        && types.memory_types[i as usize].property_flags.contains(both)
                })
                .ok_or("no memory that host and device share")?;
            let info = vk::MemoryAllocateInfo::default()
                .allocation_size(needs.size)
                .memory_type_index(ty);
            let memory = device.allocate_memory(&info, None)?;
            device.bind_buffer_memory(buffer, memory, 0)?;
            let mapped = device
                .map_memory(memory, 0, vk::WHOLE_SIZE, vk::MemoryMapFlags::empty())?
                .cast();
            Ok(Self {
                _entry: entry,
                instance,
                physical,
                device,
                queue,
                family,
                pool,
                commands,
                fence,
                buffer,
                memory,
                mapped,
            })
        }
    }

    /// What the optimizer needs to know of the device.
    fn lend(&self) -> Result<Context, adarem_vulkan::Error> {
        let enabled = Enabled {
            api_version: vk::API_VERSION_1_2,
            timeline_semaphore: true,
            shader_float64: false,
            shader_int64: false,
        };
        // SAFETY: the handles belong together and outlive the context (`main` made the engine first, so it is dropped last), `enabled` is
        // what `new` enabled, and the engine has one thread.
        unsafe {
            Context::from_raw(
                self.instance.clone(),
                self.physical,
                self.device.clone(),
                self.queue,
                self.family,
                enabled,
            )
        }
    }

    /// The parameters (0) or their gradients (1), as the optimizer takes them.
    fn tensors(&self, half: usize) -> [Tensor<f32>; 4] {
        places().map(|place| {
            let first = half * PARAMETERS + place.start;
            // SAFETY: a storage buffer of this device with that many numbers, which outlives the tensor; no two
            // tensors overlap.
            unsafe { Tensor::from_raw(self.buffer, (first * size_of::<f32>()) as u64, place.len()) }
        })
    }

    fn write(&mut self, half: usize, numbers: &[f32]) {
        assert!(numbers.len() <= PARAMETERS);
        // SAFETY: the mapped memory holds two halves of `PARAMETERS` numbers, and `frame` has waited for the GPU.
        unsafe {
            let to = self.mapped.add(half * PARAMETERS);
            to.copy_from_nonoverlapping(numbers.as_ptr(), numbers.len());
        }
    }

    fn parameters(&self) -> Vec<f32> {
        // SAFETY: as for `write`.
        unsafe { std::slice::from_raw_parts(self.mapped, PARAMETERS) }.to_vec()
    }

    /// One frame: whatever `record` puts into the command buffer, submitted, and waited for.
    fn frame<T>(
        &mut self,
        record: impl FnOnce(vk::CommandBuffer) -> Result<T, adarem_vulkan::Error>,
    ) -> Result<(), Box<dyn Error>> {
        // SAFETY: the command buffer, the fence and the queue are used by this function only, and free when it
        // begins. What `record` returns is kept until the GPU has finished.
        unsafe {
            let once = vk::CommandBufferUsageFlags::ONE_TIME_SUBMIT;
            let info = vk::CommandBufferBeginInfo::default().flags(once);
            self.device.begin_command_buffer(self.commands, &info)?;
            // An engine's own work for the frame would stand here: the forward and the backward pass.
            let kept = record(self.commands)?;
            self.device.end_command_buffer(self.commands)?;
            let commands = [self.commands];
            let info = vk::SubmitInfo::default().command_buffers(&commands);
            self.device.queue_submit(self.queue, &[info], self.fence)?;
            self.device.wait_for_fences(&[self.fence], true, u64::MAX)?;
            self.device.reset_fences(&[self.fence])?;
            drop(kept);
        }
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // SAFETY: every frame was waited for, and what was lent has been dropped.
        unsafe {
            self.device.destroy_buffer(self.buffer, None);
            self.device.free_memory(self.memory, None);
            self.device.destroy_fence(self.fence, None);
            self.device.destroy_command_pool(self.pool, None);
            self.device.destroy_device(None);
            self.instance.destroy_instance(None);
        }
    }
}

/// What the network makes of one image: its hidden units, and the probability of each class.
fn look(theta: &[f32], image: &[f32]) -> ([f32; HIDDEN], [f32; CLASSES]) {
    let [w1, b1, w2, b2] = places().map(|place| &theta[place]);
    let dot = |w: &[f32], x: &[f32]| w.iter().zip(x).map(|(w, x)| w * x).sum::<f32>();
    let hidden: [f32; HIDDEN] =
        std::array::from_fn(|j| (b1[j] + dot(&w1[j * PIXELS..][..PIXELS], image)).max(0.0));
    let scores: [f32; CLASSES] =
        std::array::from_fn(|c| b2[c] + dot(&w2[c * HIDDEN..][..HIDDEN], &hidden));
    let highest = scores.into_iter().fold(f32::MIN, f32::max);
    let odds = scores.map(|score| (score - highest).exp());
    let sum = odds.iter().sum::<f32>();
    (hidden, odds.map(|odd| odd / sum))
}

/// The gradient of a batch's mean cross entropy.
fn gradient(theta: &[f32], batch: &[(&[f32], usize)]) -> Vec<f32> {
    let mut grad = vec![0.0; PARAMETERS];
    let [w1, b1, w2, b2] = places();
    for &(image, class) in batch {
        let (hidden, mut error) = look(theta, image);
        error[class] -= 1.0;
        let error = error.map(|e| e / batch.len() as f32);
        for (c, &e) in error.iter().enumerate() {
            grad[b2.start + c] += e;
            for (j, &h) in hidden.iter().enumerate() {
                grad[w2.start + c * HIDDEN + j] += e * h;
            }
        }
        for (j, _) in hidden.iter().enumerate().filter(|&(_, &h)| h > 0.0) {
            let back = (0..CLASSES)
                .map(|c| error[c] * theta[w2.start + c * HIDDEN + j])
                .sum::<f32>();
            grad[b1.start + j] += back;
            for (i, &x) in image.iter().enumerate() {
                grad[w1.start + j * PIXELS + i] += back * x;
            }
        }
    }
    grad
}

fn main() -> Result<(), Box<dyn Error>> {
    let data = smartcore::dataset::digits::load_dataset();
    let images = data
        .data
        .iter()
        .map(|&dark| dark / 16.0)
        .collect::<Vec<f32>>();
    let classes = data.target.iter().map(|&class| class as usize);
    let examples = images.chunks_exact(PIXELS).zip(classes).collect::<Vec<_>>();
    let (test, train) = examples.split_at(examples.len() / 5);

    let mut engine = Engine::new()?;
    let context = engine.lend()?;
    println!(
        "device: {}{}",
        context.name(),
        if context.is_software() {
            " (a software device)"
        } else {
            ""
        }
    );
    let mut vulkan = Vulkan::<f32>::new(&context)?;
    let mut cpu = Cpu::<f32>::new();
    let rule = AdaRem {
        lr: 0.1,
        ..AdaRem::default()
    };
    let mut on_device = Optimizer::<_, Vulkan<f32>>::new(rule, &mut vulkan, &LENGTHS)?;
    let mut on_host = Optimizer::<_, Cpu<f32>>::new(rule, &mut cpu, &LENGTHS)?;

    // A start without a pattern, from a linear congruential generator.
    let mut state = 1u32;
    let mut start = |spread: f32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 * spread - spread
    };
    let [w1, _, w2, _] = places();
    let mut host = vec![0.0f32; PARAMETERS];
    host[w1].fill_with(|| start(0.2));
    host[w2].fill_with(|| start(0.2));
    engine.write(0, &host);
    let (mut theta, grad) = (engine.tensors(0), engine.tensors(1));

    let mut steps = 0;
    for epoch in 1..=EPOCHS {
        for batch in train.chunks_exact(BATCH) {
            let numbers = gradient(&engine.parameters(), batch);
            engine.write(1, &numbers);
            engine.frame(|commands| {
                let mut theta = theta.each_mut();
                // SAFETY: `frame` is recording `commands`, and keeps what comes back until the GPU has finished.
                let (stepped, recorded) = unsafe {
                    vulkan.record(commands, |vulkan| {
                        on_device.step(vulkan, &mut theta, &grad.each_ref())
                    })
                };
                stepped.map(|()| recorded)
            })?;

            let mut tensors = host.get_disjoint_mut(places())?;
            on_host.step(
                &mut cpu,
                &mut tensors,
                &places().map(|place| &numbers[place]),
            )?;
            steps += 1;
        }
        let device = engine.parameters();
        let differ = host
            .iter()
            .zip(&device)
            .filter(|(a, b)| a.to_bits() != b.to_bits())
            .count();
        let right = test.iter().filter(|&&(image, class)| {
            let (_, odds) = look(&device, image);
            (0..CLASSES).max_by(|&a, &b| odds[a].total_cmp(&odds[b])) == Some(class)
        });
        println!(
            "epoch {epoch:2}: {:5.1} % of {} unseen digits read right; after {steps} steps host and device differ in \
             {differ} of {} weights",
            100.0 * right.count() as f64 / test.len() as f64,
            test.len(),
            LENGTHS.iter().sum::<usize>(),
        );
        if differ > 0 {
            return Err("host and device differ".into());
        }
    }
    println!("host and device agree in every bit");
    Ok(())
}
