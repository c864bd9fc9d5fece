//! An engine that owns its Vulkan device, and can make single Vulkan functions misbehave.
#![allow(dead_code, reason = "each test uses a part")]

use adarem_vulkan::{Context, Enabled};
use ash::vk;
use core::ffi::{CStr, c_void};

/// A Vulkan function to be called in another's place, by the other's name.
pub type Replacement = (&'static CStr, *const c_void);

pub struct Engine {
    _entry: ash::Entry,
    pub instance: ash::Instance,
    pub physical: vk::PhysicalDevice,
    pub device: ash::Device,
    pub queue: vk::Queue,
    pub pool: vk::CommandPool,
    pub enabled: Enabled,
}

impl Engine {
    /// The device that the backend would choose, with everything enabled that it may use.
    pub fn new() -> Option<Self> {
        // SAFETY: the calls of this function keep to the specification: every structure lives through its call,
        // and every handle was made here.
        unsafe {
            let entry = ash::Entry::load().ok()?;
            let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_2);
            let info = vk::InstanceCreateInfo::default().application_info(&app);
            let instance = entry.create_instance(&info, None).ok()?;
            let rank = |&physical: &vk::PhysicalDevice| match instance
                .get_physical_device_properties(physical)
                .device_type
            {
                vk::PhysicalDeviceType::DISCRETE_GPU => 0,
                vk::PhysicalDeviceType::INTEGRATED_GPU => 1,
                _ => 2,
            };
            let physical = instance
                .enumerate_physical_devices()
                .ok()?
                .into_iter()
                .min_by_key(rank)?;
            let queues = [vk::DeviceQueueCreateInfo::default()
                .queue_family_index(0)
                .queue_priorities(&[1.0])];
            let features = vk::PhysicalDeviceFeatures::default()
                .shader_float64(true)
                .shader_int64(true);
            let mut features12 =
                vk::PhysicalDeviceVulkan12Features::default().timeline_semaphore(true);
            let info = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_features(&features)
                .push_next(&mut features12);
            let device = instance.create_device(physical, &info, None).unwrap();
            let queue = device.get_device_queue(0, 0);
            let info = vk::CommandPoolCreateInfo::default();
            let pool = device.create_command_pool(&info, None).unwrap();
            let enabled = Enabled {
                api_version: vk::API_VERSION_1_2,
                timeline_semaphore: true,
                shader_float64: true,
                shader_int64: true,
            };
            Some(Self {
                _entry: entry,
                instance,
                physical,
                device,
                queue,
                pool,
                enabled,
            })
        }
    }

    /// The engine's device, lent.
    pub fn lend(&self) -> Context {
        self.lend_with(&[], self.enabled).unwrap()
    }

    /// The engine's device, lent with some functions replaced, or said to have other features.
    pub fn lend_with(
        &self,
        replaced: &[Replacement],
        enabled: Enabled,
    ) -> Result<Context, adarem_vulkan::Error> {
        let find = |name: &CStr| {
            if let Some(&(_, function)) = replaced.iter().find(|&&(replaced, _)| replaced == name) {
                return function;
            }
            // SAFETY: the device lives; a function pointer may be looked at as a pointer.
            unsafe {
                let get = self.instance.fp_v1_0().get_device_proc_addr;
                get(self.device.handle(), name.as_ptr())
                    .map_or(core::ptr::null(), |f| f as *const c_void)
            }
        };
        // SAFETY: the handles belong together, live until `self` is dropped, and only this thread uses the queue.
        // Replacements have their originals' signatures.
        unsafe {
            let device = ash::Device::load_with(find, self.device.handle());
            Context::from_raw(
                self.instance.clone(),
                self.physical,
                device,
                self.queue,
                0,
                enabled,
            )
        }
    }

    /// A command buffer, begun.
    pub fn begin(&self) -> vk::CommandBuffer {
        let info = vk::CommandBufferAllocateInfo::default()
            .command_pool(self.pool)
            .command_buffer_count(1);
        // SAFETY: the pool is the engine's own, used by this thread.
        unsafe {
            let commands = self.device.allocate_command_buffers(&info).unwrap()[0];
            let info = vk::CommandBufferBeginInfo::default();
            self.device.begin_command_buffer(commands, &info).unwrap();
            commands
        }
    }

    /// Submits a command buffer that was begun here and waits for it.
    pub fn finish(&self, commands: vk::CommandBuffer) {
        // SAFETY: it was begun here, and only this thread uses the queue.
        unsafe {
            self.device.end_command_buffer(commands).unwrap();
            self.submit(commands);
        }
    }

    /// Submits an ended command buffer and waits for it.
    pub fn submit(&self, commands: vk::CommandBuffer) {
        let buffers = [commands];
        let info = vk::SubmitInfo::default().command_buffers(&buffers);
        // SAFETY: only this thread uses the queue.
        unsafe {
            self.device
                .queue_submit(self.queue, &[info], vk::Fence::null())
                .unwrap();
            self.device.queue_wait_idle(self.queue).unwrap();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // SAFETY: all work has been waited for, and what was lent has been dropped.
        unsafe {
            self.device.destroy_command_pool(self.pool, None);
            self.device.destroy_device(None);
            self.instance.destroy_instance(None);
        }
    }
}
