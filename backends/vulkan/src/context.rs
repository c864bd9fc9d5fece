//! The device that everything runs on: opened here, or lent by an engine that has its own.

use crate::error::{Call, Error};
use ash::vk;
use std::{
    ffi::{CStr, c_char},
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Which physical device to open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// A discrete GPU if there is one, else an integrated one, a virtual one, a software device.
    #[default]
    Best,
    /// The first device whose name contains this text, case ignored.
    Named(String),
    /// The first device of this type.
    Type(vk::PhysicalDeviceType),
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Best => write!(f, "able to compute"),
            Self::Named(name) => write!(f, "named {name:?}"),
            Self::Type(ty) => write!(f, "of type {ty:?}"),
        }
    }
}

/// What an engine enabled when it created its device: a `VkDevice` cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enabled {
    /// `VkApplicationInfo::apiVersion` of the engine's instance: 1.2 or later.
    pub api_version: u32,
    /// `VkPhysicalDeviceVulkan12Features::timelineSemaphore`. Needed.
    pub timeline_semaphore: bool,
    /// `VkPhysicalDeviceFeatures::shaderFloat64`. Needed for `f64`.
    pub shader_float64: bool,
    /// `VkPhysicalDeviceFeatures::shaderInt64`. Needed for `f64`.
    pub shader_int64: bool,
}

/// Limits of the device that decide how work is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that one binding can reach: `maxStorageBufferRange`.
    pub binding_bytes: u64,
    /// Workgroups of one dispatch: `maxComputeWorkGroupCount[0]`.
    pub groups: u32,
    /// What the offset of a binding must be a multiple of: `minStorageBufferOffsetAlignment`.
    pub offset_alignment: u64,
    /// Storage buffers of one kernel: `maxPerStageDescriptorStorageBuffers`.
    pub bindings: u32,
}

/// What the device says of its floats: declared in a kernel exactly when the device has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Floats {
    /// Subnormal numbers are kept.
    pub denorm_preserve: bool,
    /// Signed zeros, infinities and NaNs are kept.
    pub signed_zero_inf_nan_preserve: bool,
    /// Results are rounded to the nearest, ties to even.
    pub rounding_rte: bool,
}

/// A Vulkan device with one compute queue. Cloning is cheap: clones share the device.
#[derive(Clone)]
pub struct Context(Arc<Shared>);

/// What the clones of a context, and everything allocated from it, share.
pub(crate) struct Shared {
    /// Keeps the loader's library open; an engine keeps its own.
    _entry: Option<ash::Entry>,
    instance: ash::Instance,
    owned: bool,
    pub device: ash::Device,
    pub family: u32,
    queue: Mutex<Queue>,
    semaphore: vk::Semaphore,
    lost: AtomicBool,
    memory: vk::PhysicalDeviceMemoryProperties,
    pub max_allocation: u64,
    name: String,
    device_type: vk::PhysicalDeviceType,
    pub limits: Limits,
    floats: [Floats; 2],
    enabled: Enabled,
}

struct Queue {
    queue: vk::Queue,
    /// The value that the semaphore takes when everything submitted has finished.
    submitted: u64,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("name", &self.0.name)
            .field("device_type", &self.0.device_type)
            .field("owned", &self.0.owned)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// Opens a device of its own.
    ///
    /// # Errors
    ///
    /// [`Error::NoLoader`], [`Error::NoDriver`], [`Error::NoDevice`], [`Error::OutOfMemory`], or
    /// [`Error::Vulkan`] with the driver's word.
    ///
    /// ```no_run
    /// use adarem_vulkan::{Choice, Context};
    ///
    /// let best = Context::open(&Choice::Best)?;
    /// let named = Context::open(&Choice::Named("radeon".into()))?;
    /// println!("{} and {}", best.name(), named.name());
    /// # Ok::<(), adarem_vulkan::Error>(())
    /// ```
    pub fn open(choice: &Choice) -> Result<Self, Error> {
        // SAFETY: loading the system's Vulkan loader runs its initialisers, which the platform vouches for.
        let entry = unsafe { ash::Entry::load() };
        Self::open_with(entry, choice)
    }

    /// Opens a device of its own through the loader, or the driver, in this library.
    ///
    /// # Safety
    ///
    /// `loader` must be a Vulkan loader or driver.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub unsafe fn open_through(loader: &Path, choice: &Choice) -> Result<Self, Error> {
        // SAFETY: the caller vouches for the library.
        let entry = unsafe { ash::Entry::load_from(loader) };
        Self::open_with(entry, choice)
    }

    fn open_with(
        entry: Result<ash::Entry, ash::LoadingError>,
        choice: &Choice,
    ) -> Result<Self, Error> {
        let entry = entry.map_err(|reason| Error::NoLoader {
            reason: reason.to_string(),
        })?;
        let instance = create_instance(&entry)?;
        // Until the context owns the instance, an error must destroy it here.
        Self::on_instance(&entry, &instance, choice).inspect_err(|_| {
            // SAFETY: the instance was created above and nothing made from it is left.
            unsafe { instance.destroy_instance(None) }
        })
    }

    fn on_instance(
        entry: &ash::Entry,
        instance: &ash::Instance,
        choice: &Choice,
    ) -> Result<Self, Error> {
        let (physical, family) = choose(instance, choice)?;
        // SAFETY: `physical` is a device of `instance`, which lives.
        let features = unsafe { instance.get_physical_device_features(physical) };
        let enabled = Enabled {
            api_version: vk::API_VERSION_1_2,
            timeline_semaphore: true,
            shader_float64: features.shader_float64 != 0,
            shader_int64: features.shader_int64 != 0,
        };
        let device = create_device(instance, physical, family, enabled)?;
        // SAFETY: queue 0 of `family` was asked for when the device was created.
        let queue = unsafe { device.get_device_queue(family, 0) };
        Shared::new(
            Some(entry.clone()),
            instance.clone(),
            physical,
            device.clone(),
            queue,
            family,
            enabled,
        )
        .map(|shared| Self(Arc::new(shared)))
        .inspect_err(|_| {
            // SAFETY: the device was created above and nothing made from it is left.
            unsafe { device.destroy_device(None) }
        })
    }

    /// Works on an engine's device. Nothing that the engine lends is ever destroyed.
    ///
    /// # Safety
    ///
    /// - The handles belong together and outlive the context, its clones and everything allocated from it.
    /// - `queue` belongs to `family`, which can compute, and was asked for when the device was created.
    /// - `enabled` is what the engine enabled on `device`.
    /// - Nobody else uses `queue` while a method of this crate runs (Vulkan wants a queue used by one thread at a
    ///   time). Recording alone does not use it.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the engine did not enable what is needed, or [`Error::OutOfMemory`].
    pub unsafe fn from_raw(
        instance: ash::Instance,
        physical: vk::PhysicalDevice,
        device: ash::Device,
        queue: vk::Queue,
        family: u32,
        enabled: Enabled,
    ) -> Result<Self, Error> {
        Shared::new(None, instance, physical, device, queue, family, enabled)
            .map(|shared| Self(Arc::new(shared)))
    }

    /// The same device with narrower limits, or a coarser alignment, to see how tensors are cut and bound elsewhere. Where
    /// one is wider than the device's, or finer, the device's stays.
    ///
    /// # Panics
    ///
    /// If the context was cloned, or anything was allocated from it; if the alignment is no power of two.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        assert!(
            limits.offset_alignment.is_power_of_two(),
            "an alignment is a power of two, got {}",
            limits.offset_alignment
        );
        let shared =
            Arc::get_mut(&mut self.0).expect("limits are set before the context is shared");
        let device = shared.limits;
        shared.limits = Limits {
            binding_bytes: limits.binding_bytes.min(device.binding_bytes),
            groups: limits.groups.clamp(1, device.groups),
            offset_alignment: limits.offset_alignment.max(device.offset_alignment),
            bindings: limits.bindings.min(device.bindings),
        };
        self
    }

    /// The device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether the device is a processor that plays a GPU: right for tests, not for speed.
    #[must_use]
    pub fn is_software(&self) -> bool {
        self.0.device_type == vk::PhysicalDeviceType::CPU
    }

    /// The limits that decide how work is cut.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.0.limits
    }

    /// What the device says of its floats of 32 or 64 bits.
    #[must_use]
    pub fn floats(&self, width: u32) -> Floats {
        self.0.floats[usize::from(width == 64)]
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

fn create_instance(entry: &ash::Entry) -> Result<ash::Instance, Error> {
    let application = vk::ApplicationInfo::default()
        .application_name(c"adarem")
        .api_version(vk::API_VERSION_1_2);
    // A translation layer (MoltenVK) is listed only to those who say that they know of it.
    // SAFETY: no layer is named; the call only reads.
    let known = unsafe { entry.enumerate_instance_extension_properties(None) }
        .call("vkEnumerateInstanceExtensionProperties")?;
    let portable = has(&known, ash::khr::portability_enumeration::NAME);
    let extensions: &[*const c_char] = if portable {
        &[ash::khr::portability_enumeration::NAME.as_ptr()]
    } else {
        &[]
    };
    let flags = if portable {
        vk::InstanceCreateFlags::ENUMERATE_PORTABILITY_KHR
    } else {
        vk::InstanceCreateFlags::empty()
    };
    let info = vk::InstanceCreateInfo::default()
        .application_info(&application)
        .enabled_extension_names(extensions)
        .flags(flags);
    // SAFETY: `info` and what it points to live through the call.
    unsafe { entry.create_instance(&info, None) }.map_err(|result| match result {
        vk::Result::ERROR_INCOMPATIBLE_DRIVER => Error::NoDriver,
        result => Error::of("vkCreateInstance", result),
    })
}

fn has(known: &[vk::ExtensionProperties], name: &CStr) -> bool {
    known
        .iter()
        .any(|extension| extension.extension_name_as_c_str() == Ok(name))
}

/// The device asked for and a queue family of it that can compute.
fn choose(instance: &ash::Instance, choice: &Choice) -> Result<(vk::PhysicalDevice, u32), Error> {
    // SAFETY: the instance lives.
    let devices =
        unsafe { instance.enumerate_physical_devices() }.call("vkEnumeratePhysicalDevices")?;
    let mut best = None;
    let mut found = Vec::new();
    for physical in devices {
        // SAFETY: `physical` was just listed by `instance`.
        let (properties, families) = unsafe {
            (
                instance.get_physical_device_properties(physical),
                instance.get_physical_device_queue_family_properties(physical),
            )
        };
        let name = name_of(&properties);
        let family = families
            .iter()
            .position(|f| f.queue_flags.contains(vk::QueueFlags::COMPUTE));
        let (Some(family), true) = (family, properties.api_version >= vk::API_VERSION_1_2) else {
            found.push(format!(
                "{name} (no compute queue, or older than Vulkan 1.2)"
            ));
            continue;
        };
        let wanted = match choice {
            Choice::Best => true,
            Choice::Named(part) => name.to_lowercase().contains(&part.to_lowercase()),
            Choice::Type(ty) => properties.device_type == *ty,
        };
        let rank = rank(properties.device_type);
        if wanted && best.is_none_or(|(highest, _, _)| rank > highest) {
            best = Some((rank, physical, family as u32));
        }
        found.push(format!("{name} ({:?})", properties.device_type));
    }
    match best {
        Some((_, physical, family)) => Ok((physical, family)),
        None => Err(Error::NoDevice {
            wanted: choice.to_string(),
            found,
        }),
    }
}

fn rank(ty: vk::PhysicalDeviceType) -> u32 {
    match ty {
        vk::PhysicalDeviceType::DISCRETE_GPU => 4,
        vk::PhysicalDeviceType::INTEGRATED_GPU => 3,
        vk::PhysicalDeviceType::VIRTUAL_GPU => 2,
        vk::PhysicalDeviceType::OTHER => 1,
        _ => 0,
    }
}

fn name_of(properties: &vk::PhysicalDeviceProperties) -> String {
    properties
        .device_name_as_c_str()
        .unwrap_or(c"a device without a name")
        .to_string_lossy()
        .into_owned()
}

fn create_device(
    instance: &ash::Instance,
    physical: vk::PhysicalDevice,
    family: u32,
    enabled: Enabled,
) -> Result<ash::Device, Error> {
    // SAFETY: `physical` is a device of `instance`, which lives.
    let known = unsafe { instance.enumerate_device_extension_properties(physical) }
        .call("vkEnumerateDeviceExtensionProperties")?;
    // A translation layer insists that its subset is asked for.
    let extensions: &[*const c_char] = if has(&known, ash::khr::portability_subset::NAME) {
        &[ash::khr::portability_subset::NAME.as_ptr()]
    } else {
        &[]
    };
    let queues = [vk::DeviceQueueCreateInfo::default()
        .queue_family_index(family)
        .queue_priorities(&[1.0])];
    let features = vk::PhysicalDeviceFeatures::default()
        .shader_float64(enabled.shader_float64)
        .shader_int64(enabled.shader_int64);
    // Every device of Vulkan 1.2 has timeline semaphores.
    let mut timeline =
        vk::PhysicalDeviceTimelineSemaphoreFeatures::default().timeline_semaphore(true);
    let info = vk::DeviceCreateInfo::default()
        .queue_create_infos(&queues)
        .enabled_extension_names(extensions)
        .enabled_features(&features)
        .push_next(&mut timeline);
    // SAFETY: `info` and what it points to live through the call.
    unsafe { instance.create_device(physical, &info, None) }.call("vkCreateDevice")
}

impl Shared {
    fn new(
        entry: Option<ash::Entry>,
        instance: ash::Instance,
        physical: vk::PhysicalDevice,
        device: ash::Device,
        queue: vk::Queue,
        family: u32,
        enabled: Enabled,
    ) -> Result<Self, Error> {
        let mut controls = vk::PhysicalDeviceFloatControlsProperties::default();
        let mut maintenance = vk::PhysicalDeviceMaintenance3Properties::default();
        let mut properties = vk::PhysicalDeviceProperties2::default()
            .push_next(&mut controls)
            .push_next(&mut maintenance);
        // SAFETY: `physical` is a device of `instance`, which lives (the caller of `from_raw` vouches).
        let memory = unsafe {
            instance.get_physical_device_properties2(physical, &mut properties);
            instance.get_physical_device_memory_properties(physical)
        };
        let properties = properties.properties;
        let name = name_of(&properties);
        let missing = |what, remedy| {
            Err(Error::Missing {
                device: name.clone(),
                what,
                remedy,
            })
        };
        if enabled.api_version < vk::API_VERSION_1_2 || properties.api_version < vk::API_VERSION_1_2
        {
            return missing(
                "Vulkan 1.2",
                "ask for API version 1.2 or later, or update the driver",
            );
        }
        if !enabled.timeline_semaphore {
            return missing(
                "timelineSemaphore",
                "enable it in VkPhysicalDeviceVulkan12Features",
            );
        }
        let on = |flag: vk::Bool32| flag != 0;
        let floats = [
            Floats {
                denorm_preserve: on(controls.shader_denorm_preserve_float32),
                signed_zero_inf_nan_preserve: on(
                    controls.shader_signed_zero_inf_nan_preserve_float32
                ),
                rounding_rte: on(controls.shader_rounding_mode_rte_float32),
            },
            Floats {
                denorm_preserve: on(controls.shader_denorm_preserve_float64),
                signed_zero_inf_nan_preserve: on(
                    controls.shader_signed_zero_inf_nan_preserve_float64
                ),
                rounding_rte: on(controls.shader_rounding_mode_rte_float64),
            },
        ];
        let limits = Limits {
            binding_bytes: properties.limits.max_storage_buffer_range.into(),
            groups: properties.limits.max_compute_work_group_count[0],
            offset_alignment: properties.limits.min_storage_buffer_offset_alignment,
            bindings: properties.limits.max_per_stage_descriptor_storage_buffers,
        };
        let mut ty =
            vk::SemaphoreTypeCreateInfo::default().semaphore_type(vk::SemaphoreType::TIMELINE);
        let info = vk::SemaphoreCreateInfo::default().push_next(&mut ty);
        // SAFETY: the device lives and has timeline semaphores, as checked above.
        let semaphore =
            unsafe { device.create_semaphore(&info, None) }.call("vkCreateSemaphore")?;
        Ok(Self {
            owned: entry.is_some(),
            _entry: entry,
            instance,
            device,
            family,
            queue: Mutex::new(Queue {
                queue,
                submitted: 0,
            }),
            semaphore,
            lost: AtomicBool::new(false),
            memory,
            max_allocation: maintenance.max_memory_allocation_size,
            name,
            device_type: properties.device_type,
            limits,
            floats,
            enabled,
        })
    }

    /// Refuses `f64` where the device, or what the engine enabled, has none.
    pub fn check_width(&self, width: u32) -> Result<(), Error> {
        let feature = match (
            width,
            self.enabled.shader_float64,
            self.enabled.shader_int64,
        ) {
            (32, ..) | (64, true, true) => return Ok(()),
            (_, false, _) => "shaderFloat64",
            _ => "shaderInt64",
        };
        Err(Error::NoFloat64 {
            device: self.name.clone(),
            feature,
        })
    }

    /// The name, for errors.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// The first memory type among `allowed` (bits) that has all of the first wishes that any type has.
    pub fn memory_type(&self, allowed: u32, wishes: &[vk::MemoryPropertyFlags]) -> Option<u32> {
        let types = &self.memory.memory_types[..self.memory.memory_type_count as usize];
        wishes.iter().find_map(|&wish| {
            let fits = |(i, ty): (usize, &vk::MemoryType)| {
                (allowed >> i & 1 == 1 && ty.property_flags.contains(wish)).then_some(i as u32)
            };
            types.iter().enumerate().find_map(fits)
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A number and a handle: nothing that a panic elsewhere could leave half-written.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses work on a lost device.
    pub fn check_lost(&self) -> Result<(), Error> {
        if self.lost.load(Ordering::Relaxed) {
            Err(Error::DeviceLost)
        } else {
            Ok(())
        }
    }

    /// Remembers a lost device: from then on everything is refused.
    fn watch<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(Error::DeviceLost) = result {
            self.lost.store(true, Ordering::Relaxed);
        }
        result
    }

    /// Submits a finished command buffer; the number to [`wait`](Self::wait) for comes back.
    ///
    /// # Safety
    ///
    /// `commands` is recorded for this device and queue family and stays, with all it uses, until it has finished.
    pub unsafe fn submit(&self, commands: vk::CommandBuffer) -> Result<u64, Error> {
        self.check_lost()?;
        let mut queue = self.queue();
        let (commands, semaphores, values) = ([commands], [self.semaphore], [queue.submitted + 1]);
        let mut timeline =
            vk::TimelineSemaphoreSubmitInfo::default().signal_semaphore_values(&values);
        let info = vk::SubmitInfo::default()
            .command_buffers(&commands)
            .signal_semaphores(&semaphores)
            .push_next(&mut timeline);
        // SAFETY: the lock makes this thread the queue's only user within this crate, the contract of `from_raw`
        // the only one at all; the caller vouches for `commands`.
        let result = unsafe {
            self.device
                .queue_submit(queue.queue, &[info], vk::Fence::null())
        };
        self.watch(result.call("vkQueueSubmit"))?;
        queue.submitted += 1;
        Ok(queue.submitted)
    }

    /// The number of the newest submission.
    pub fn submitted(&self) -> u64 {
        self.queue().submitted
    }

    /// The number of the newest submission that has finished.
    pub fn finished(&self) -> Result<u64, Error> {
        self.check_lost()?;
        // SAFETY: the semaphore is a timeline semaphore of this device.
        let result = unsafe { self.device.get_semaphore_counter_value(self.semaphore) };
        self.watch(result.call("vkGetSemaphoreCounterValue"))
    }

    /// Waits until a submission has finished.
    pub fn wait(&self, submission: u64) -> Result<(), Error> {
        self.check_lost()?;
        let (semaphores, values) = ([self.semaphore], [submission]);
        let info = vk::SemaphoreWaitInfo::default()
            .semaphores(&semaphores)
            .values(&values);
        // SAFETY: the semaphore is a timeline semaphore of this device, and the value was submitted.
        let result = unsafe { self.device.wait_semaphores(&info, u64::MAX) };
        self.watch(result.call("vkWaitSemaphores"))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // A lost device finishes nothing, and its objects may be destroyed at once. An error leaves no better course.
        let _ = self.wait(self.submitted());
        // SAFETY: everything made from the device is gone (it held this struct alive), and the GPU has finished with
        // the semaphore. What an engine lent is left alone.
        unsafe {
            self.device.destroy_semaphore(self.semaphore, None);
            if self.owned {
                self.device.destroy_device(None);
                self.instance.destroy_instance(None);
            }
        }
    }
}
