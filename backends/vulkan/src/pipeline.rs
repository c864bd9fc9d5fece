//! Kernels as the device keeps them: layouts, pipelines, descriptor sets.

use crate::{
    context::Shared,
    error::{Call, Error},
    spirv::{self, Kernel, PUSHED, Places, Stage, piece_params, piece_partials},
};
use adarem::{MAX_SLOTS, Plan};
use ash::vk;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bindings of set 1: scalars, carried scalars, table, partials.
pub(crate) const STEP_BINDINGS: usize = 4;
/// Bindings of set 0, at most: theta, gradient, slots, partials, parameters.
pub(crate) const PIECE_BINDINGS: usize = 4 + MAX_SLOTS;

/// The interface of all kernels of rules with so many slots, in mixed precision or not.
pub(crate) struct Layout {
    shared: Arc<Shared>,
    pub slots: usize,
    /// Whether parameters are bound, too.
    pub mixed: bool,
    /// One piece of one tensor, the step.
    sets: [vk::DescriptorSetLayout; 2],
    /// How to fill a set of each from an array of buffers, in one call and without a heap.
    templates: [vk::DescriptorUpdateTemplate; 2],
    pub pipeline: vk::PipelineLayout,
}

impl Layout {
    fn new(shared: &Arc<Shared>, slots: usize, mixed: bool) -> Result<Self, Error> {
        let bindings = [piece_bindings(slots, mixed), STEP_BINDINGS as u32];
        if bindings.iter().sum::<u32>() > shared.limits.bindings {
            return Err(Error::Missing {
                device: shared.name(),
                what: "storage buffers enough for a rule of so many slots",
                remedy: "choose a rule with less state, or another device",
            });
        }
        // Null handles until each is made: destroying one does nothing, so an error half-way leaks nothing.
        let mut layout = Self {
            shared: shared.clone(),
            slots,
            mixed,
            sets: [vk::DescriptorSetLayout::null(); 2],
            templates: [vk::DescriptorUpdateTemplate::null(); 2],
            pipeline: vk::PipelineLayout::null(),
        };
        let device = &shared.device;
        for (set, count) in layout.sets.iter_mut().zip(bindings) {
            let bindings = (0..count)
                .map(|binding| {
                    vk::DescriptorSetLayoutBinding::default()
                        .binding(binding)
                        .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                        .descriptor_count(1)
                        .stage_flags(vk::ShaderStageFlags::COMPUTE)
                })
                .collect::<Vec<_>>();
            let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            // SAFETY: the device lives as long as `shared`, and `info` through the call.
            *set = unsafe { device.create_descriptor_set_layout(&info, None) }
                .call("vkCreateDescriptorSetLayout")?;
        }
        let pushed = [vk::PushConstantRange::default()
            .stage_flags(vk::ShaderStageFlags::COMPUTE)
            .size(4 * PUSHED as u32)];
        let info = vk::PipelineLayoutCreateInfo::default()
            .set_layouts(&layout.sets)
            .push_constant_ranges(&pushed);
        // SAFETY: as above.
        layout.pipeline =
            unsafe { device.create_pipeline_layout(&info, None) }.call("vkCreatePipelineLayout")?;
        for ((template, &set), count) in layout.templates.iter_mut().zip(&layout.sets).zip(bindings)
        {
            let stride = size_of::<vk::DescriptorBufferInfo>();
            let entries = (0..count)
                .map(|binding| {
                    vk::DescriptorUpdateTemplateEntry::default()
                        .dst_binding(binding)
                        .descriptor_count(1)
                        .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                        .offset(binding as usize * stride)
                        .stride(stride)
                })
                .collect::<Vec<_>>();
            let info = vk::DescriptorUpdateTemplateCreateInfo::default()
                .descriptor_update_entries(&entries)
                .template_type(vk::DescriptorUpdateTemplateType::DESCRIPTOR_SET)
                .descriptor_set_layout(set);
            // SAFETY: as above.
            *template = unsafe { device.create_descriptor_update_template(&info, None) }
                .call("vkCreateDescriptorUpdateTemplate")?;
        }
        Ok(layout)
    }

    /// Points the set of one piece at its buffers.
    ///
    /// # Safety
    ///
    /// The set has this layout, the GPU does not use it, and the ranges lie within living buffers.
    pub unsafe fn point_piece(
        &self,
        set: vk::DescriptorSet,
        buffers: &[vk::DescriptorBufferInfo; PIECE_BINDINGS],
    ) {
        // SAFETY: the template reads `piece_bindings(..) <= PIECE_BINDINGS` entries; the caller vouches for the set
        // and the ranges.
        unsafe {
            let data = buffers.as_ptr().cast();
            self.shared
                .device
                .update_descriptor_set_with_template(set, self.templates[0], data);
        }
    }

    /// Points the set of the step at its buffers.
    ///
    /// # Safety
    ///
    /// As [`point_piece`](Self::point_piece).
    pub unsafe fn point_step(
        &self,
        set: vk::DescriptorSet,
        buffers: &[vk::DescriptorBufferInfo; STEP_BINDINGS],
    ) {
        // SAFETY: the template reads `STEP_BINDINGS` entries; the caller vouches for the rest.
        unsafe {
            let data = buffers.as_ptr().cast();
            self.shared
                .device
                .update_descriptor_set_with_template(set, self.templates[1], data);
        }
    }
}

/// Bindings of set 0 for rules with so many slots.
fn piece_bindings(slots: usize, mixed: bool) -> u32 {
    match mixed {
        true => piece_params(slots) + 1,
        false => piece_partials(slots) + 1,
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        let device = &self.shared.device;
        // SAFETY: the owner of pipelines and sets of this layout (`Compiled`, `Sets`) has seen the GPU finish.
        unsafe {
            for template in self.templates {
                device.destroy_descriptor_update_template(template, None);
            }
            device.destroy_pipeline_layout(self.pipeline, None);
            for set in self.sets {
                device.destroy_descriptor_set_layout(set, None);
            }
        }
    }
}

/// The kernels of a plan, ready to run.
pub(crate) struct Compiled {
    plan: Plan,
    target: spirv::Target,
    pub places: Places,
    pub layout: Arc<Layout>,
    /// Each with what it is dispatched over, in order.
    pub kernels: Vec<(Stage, vk::Pipeline)>,
}

impl Drop for Compiled {
    fn drop(&mut self) {
        for &(_, pipeline) in &self.kernels {
            // SAFETY: the backend, the only owner, has seen the GPU finish.
            unsafe { self.layout.shared.device.destroy_pipeline(pipeline, None) };
        }
    }
}

/// A look at, or a change of, each kernel before the device compiles it.
pub(crate) type Through = Box<dyn FnMut(&mut Kernel) + Send>;

/// Every plan met so far, compiled.
pub(crate) struct Pipelines {
    shared: Arc<Shared>,
    cache: vk::PipelineCache,
    compiled: Vec<Compiled>,
    layouts: Vec<Arc<Layout>>,
    pub through: Option<Through>,
}

impl Pipelines {
    pub fn new(shared: &Arc<Shared>) -> Result<Self, Error> {
        Ok(Self {
            cache: new_cache(shared, &[])?,
            shared: shared.clone(),
            compiled: Vec::new(),
            layouts: Vec::new(),
            through: None,
        })
    }

    /// Compiles from now on with the help of saved code.
    pub fn load(&mut self, saved: &[u8]) -> Result<(), Error> {
        let cache = new_cache(&self.shared, saved)?;
        let old = core::mem::replace(&mut self.cache, cache);
        // SAFETY: pipelines do not need the cache that they were made with.
        unsafe { self.shared.device.destroy_pipeline_cache(old, None) };
        Ok(())
    }

    /// The driver's compiled code, to be kept for the next start.
    pub fn saved(&self) -> Result<Vec<u8>, Error> {
        // SAFETY: the cache lives.
        unsafe { self.shared.device.get_pipeline_cache_data(self.cache) }
            .call("vkGetPipelineCacheData")
    }

    /// The place of a plan's kernels, which are compiled when it is first met.
    pub fn find(&mut self, plan: &Plan, target: spirv::Target) -> Result<usize, Error> {
        let same = |compiled: &Compiled| compiled.target == target && compiled.plan == *plan;
        if let Some(at) = self.compiled.iter().position(same) {
            return Ok(at);
        }
        let compiled = self.compile(plan, target)?;
        self.compiled.push(compiled);
        Ok(self.compiled.len() - 1)
    }

    /// The kernels at a place.
    pub fn get(&self, at: usize) -> &Compiled {
        &self.compiled[at]
    }

    fn compile(&mut self, plan: &Plan, target: spirv::Target) -> Result<Compiled, Error> {
        let mut compiled = Compiled {
            plan: plan.clone(),
            target,
            places: Places::of(plan),
            layout: self.layout(plan.slots(), target.mixed.is_some())?,
            kernels: Vec::new(),
        };
        for mut kernel in spirv::kernels(plan, target) {
            if let Some(through) = &mut self.through {
                through(&mut kernel);
            }
            let pipeline = self.pipeline(&kernel.words, compiled.layout.pipeline)?;
            compiled.kernels.push((kernel.stage, pipeline));
        }
        Ok(compiled)
    }

    fn layout(&mut self, slots: usize, mixed: bool) -> Result<Arc<Layout>, Error> {
        let same = |layout: &&Arc<Layout>| (layout.slots, layout.mixed) == (slots, mixed);
        if let Some(layout) = self.layouts.iter().find(same) {
            return Ok(layout.clone());
        }
        let layout = Arc::new(Layout::new(&self.shared, slots, mixed)?);
        self.layouts.push(layout.clone());
        Ok(layout)
    }

    fn pipeline(&self, words: &[u32], layout: vk::PipelineLayout) -> Result<vk::Pipeline, Error> {
        let device = &self.shared.device;
        let info = vk::ShaderModuleCreateInfo::default().code(words);
        // SAFETY: the words are a valid module (tested with spirv-val) that keeps to `layout`; the module is
        // destroyed once the pipeline is made, as the specification allows.
        unsafe {
            let module = device
                .create_shader_module(&info, None)
                .call("vkCreateShaderModule")?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(c"main");
            let info = vk::ComputePipelineCreateInfo::default()
                .stage(stage)
                .layout(layout);
            let made = device.create_compute_pipelines(self.cache, &[info], None);
            device.destroy_shader_module(module, None);
            let pipelines = made
                .map_err(|(_, result)| result)
                .call("vkCreateComputePipelines")?;
            Ok(pipelines[0])
        }
    }
}

/// A cache with compiled code of an earlier run. Code of another driver or device is ignored by the driver: its
/// header says whose it is.
fn new_cache(shared: &Shared, saved: &[u8]) -> Result<vk::PipelineCache, Error> {
    let info = vk::PipelineCacheCreateInfo::default().initial_data(saved);
    // SAFETY: the device lives as long as `shared`, the data through the call.
    unsafe { shared.device.create_pipeline_cache(&info, None) }.call("vkCreatePipelineCache")
}

impl Drop for Pipelines {
    fn drop(&mut self) {
        // SAFETY: nothing but this struct uses the cache.
        unsafe { self.shared.device.destroy_pipeline_cache(self.cache, None) };
    }
}

/// Descriptor sets of one layout: one for the step, the others for pieces.
pub(crate) struct Sets {
    layout: Arc<Layout>,
    pool: vk::DescriptorPool,
    /// The step's first.
    sets: Vec<vk::DescriptorSet>,
}

impl Sets {
    fn new(layout: &Arc<Layout>, pieces: usize) -> Result<Self, Error> {
        let device = &layout.shared.device;
        let of_a_piece = piece_bindings(layout.slots, layout.mixed) as usize;
        let bindings = pieces * of_a_piece + STEP_BINDINGS;
        let sizes = [vk::DescriptorPoolSize::default()
            .ty(vk::DescriptorType::STORAGE_BUFFER)
            .descriptor_count(bindings as u32)];
        let info = vk::DescriptorPoolCreateInfo::default()
            .max_sets(pieces as u32 + 1)
            .pool_sizes(&sizes);
        // SAFETY: the device lives as long as the layout.
        let pool =
            unsafe { device.create_descriptor_pool(&info, None) }.call("vkCreateDescriptorPool")?;
        let mut made = Self {
            layout: layout.clone(),
            pool,
            sets: Vec::new(),
        };
        let mut layouts = vec![layout.sets[0]; pieces + 1];
        layouts[0] = layout.sets[1];
        let info = vk::DescriptorSetAllocateInfo::default()
            .descriptor_pool(pool)
            .set_layouts(&layouts);
        // SAFETY: the pool was made for just these sets.
        made.sets =
            unsafe { device.allocate_descriptor_sets(&info) }.call("vkAllocateDescriptorSets")?;
        Ok(made)
    }

    /// The set of the step.
    pub fn step(&self) -> vk::DescriptorSet {
        self.sets[0]
    }

    /// The sets of the pieces.
    pub fn pieces(&self) -> &[vk::DescriptorSet] {
        &self.sets[1..]
    }

    fn serves(&self, layout: &Arc<Layout>, pieces: usize) -> bool {
        Arc::ptr_eq(&self.layout, layout) && self.pieces().len() >= pieces
    }
}

impl Drop for Sets {
    fn drop(&mut self) {
        // SAFETY: whoever drops sets vouches that no unfinished command buffer uses them: the backend waits, an
        // engine keeps its `Recorded`.
        unsafe {
            self.layout
                .shared
                .device
                .destroy_descriptor_pool(self.pool, None)
        };
    }
}

/// Sets that no unfinished command buffer uses, to be taken again.
#[derive(Clone, Default)]
pub(crate) struct FreeSets(Arc<Mutex<Vec<Sets>>>);

impl FreeSets {
    fn list(&self) -> MutexGuard<'_, Vec<Sets>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes free sets for so many pieces, or makes them.
    pub fn take(&self, layout: &Arc<Layout>, pieces: usize) -> Result<Sets, Error> {
        let mut list = self.list();
        match list.iter().position(|sets| sets.serves(layout, pieces)) {
            Some(at) => Ok(list.swap_remove(at)),
            None => Sets::new(layout, pieces),
        }
    }

    /// Gives sets back.
    pub fn give(&self, sets: &mut Vec<Sets>) {
        self.list().append(sets);
    }
}
