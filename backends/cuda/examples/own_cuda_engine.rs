//! An engine with its own CUDA context, stream and memory, whose parameters adarem steps.
//!
//! The engine below knows nothing of adarem: it makes a context and a stream, allocates device memory and has kernels that
//! leave gradients in it (here a toy: the gradient of a sum of squares, by a kernel of its own). All it lends is its
//! context, its stream, and a pointer and a length for each parameter and gradient. Steps go into its stream behind its
//! kernels; neither side waits for the other.
//!
//! ```text
//! cargo run -p adarem-cuda --example own_cuda_engine
//! ```
//!
//! On a machine without CUDA it says so and ends well.

use adarem::{AdaRem, Optimizer};
use adarem_cuda::{Cuda, Error, Tensor};
use cust::context::{Context, ContextHandle, CurrentContext};
use cust::device::Device;
use cust::memory::{CopyDestination, DeviceBuffer};
use cust::module::Module;
use cust::stream::{Stream, StreamFlags};

/// The engine's layers.
const LENGTHS: [usize; 3] = [10_000, 64, 4097];
const STEPS: usize = 60;

/// grad[i] = theta[i], the gradient of half the sum of squares.
const KERNEL: &str = "
.version 6.0
.target sm_70
.address_size 64
.visible .entry backward(.param .u64 theta, .param .u64 grad, .param .u32 count)
.maxntid 128
{
    .reg .pred %p<1>; .reg .b32 %r<4>; .reg .b64 %d<5>; .reg .f32 %f<1>;
    ld.param.u64 %d0, [theta]; cvta.to.global.u64 %d0, %d0;
    ld.param.u64 %d1, [grad]; cvta.to.global.u64 %d1, %d1;
    ld.param.u32 %r0, [count];
    mov.u32 %r1, %ctaid.x; mov.u32 %r2, %tid.x; mul.lo.u32 %r1, %r1, 128; add.u32 %r1, %r1, %r2;
    setp.ge.u32 %p0, %r1, %r0;
    @%p0 bra END;
    mul.wide.u32 %d2, %r1, 4; add.u64 %d3, %d0, %d2; add.u64 %d4, %d1, %d2;
    ld.global.f32 %f0, [%d3];
    st.global.f32 [%d4], %f0;
END:
    ret;
}
";

/// A layer's memory, the engine's own.
struct Layer {
    theta: DeviceBuffer<f32>,
    grad: DeviceBuffer<f32>,
}

/// The engine. Fields drop in order: the context is the last.
struct Engine {
    layers: Vec<Layer>,
    module: Module,
    stream: Stream,
    context: Context,
}

impl Engine {
    fn new(ordinal: u32) -> Result<Self, Box<dyn std::error::Error>> {
        let context = Context::new(Device::get_device(ordinal)?)?;
        CurrentContext::set_current(&context)?;
        let stream = Stream::new(StreamFlags::NON_BLOCKING, None)?;
        let module = Module::from_ptx(KERNEL, &[])?;
        let layers = LENGTHS.map(|len| {
            Ok(Layer {
                theta: DeviceBuffer::from_slice(&vec![1.0; len])?,
                grad: DeviceBuffer::from_slice(&vec![0.0; len])?,
            })
        });
        let layers = layers
            .into_iter()
            .collect::<Result<_, cust::error::CudaError>>()?;
        Ok(Self {
            layers,
            module,
            stream,
            context,
        })
    }

    /// Puts the kernels that compute the gradients into the stream.
    fn backward(&self) -> Result<(), Box<dyn std::error::Error>> {
        let function = self.module.get_function("backward")?;
        for layer in &self.layers {
            let mut theta = layer.theta.as_device_ptr();
            let mut grad = layer.grad.as_device_ptr();
            let mut count = u32::try_from(layer.theta.len())?;
            let arguments = [
                (&raw mut theta).cast(),
                (&raw mut grad).cast(),
                (&raw mut count).cast(),
            ];
            // SAFETY: three parameters of these types; both buffers have `count` numbers.
            unsafe {
                self.stream
                    .launch(&function, count.div_ceil(128), 128, 0, &arguments)?
            };
        }
        Ok(())
    }
}

/// Trains on a device, and returns the largest parameter that is left.
pub fn train(ordinal: u32) -> Result<f32, Box<dyn std::error::Error>> {
    cust::init(cust::CudaFlags::empty())?;
    let engine = Engine::new(ordinal)?;

    // The engine lends its context and its stream ..
    let (context, stream) = (engine.context.get_inner(), engine.stream.as_inner());
    // SAFETY: `engine` outlives `cuda` and the optimizer, which are dropped before it.
    let mut cuda = unsafe { Cuda::<f32>::from_engine(context.cast(), stream.cast())? };
    // .. and where its parameters and gradients lie.
    let lend = |buffer: &DeviceBuffer<f32>| {
        // SAFETY: the buffer has so many numbers, all set, lives as long as the engine, and is used in its stream only.
        unsafe { Tensor::from_raw(buffer.as_device_ptr().as_raw(), buffer.len()) }
    };
    let mut thetas: Vec<_> = engine
        .layers
        .iter()
        .map(|layer| lend(&layer.theta))
        .collect();
    let grads: Vec<_> = engine
        .layers
        .iter()
        .map(|layer| lend(&layer.grad))
        .collect();
    let mut thetas: Vec<_> = thetas.iter_mut().collect();
    let grads: Vec<_> = grads.iter().collect();

    let mut optimizer = Optimizer::new(AdaRem::default(), &mut cuda, &LENGTHS)?;
    for _ in 0..STEPS {
        engine.backward()?;
        optimizer.step(&mut cuda, &mut thetas, &grads)?;
    }

    engine.stream.synchronize()?;
    let mut largest = 0.0_f32;
    for layer in &engine.layers {
        let mut numbers = vec![0.0; layer.theta.len()];
        layer.theta.copy_to(&mut numbers)?;
        largest = numbers
            .iter()
            .fold(largest, |largest, x| largest.max(x.abs()));
    }
    Ok(largest)
}

// A test includes this file for `train`.
#[allow(dead_code)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Cuda::<f32>::open(0) {
        Err(error @ (Error::NoDriver(_) | Error::NoDevice { .. })) => {
            println!("Nothing was trained. {error}.");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
        Ok(cuda) => println!("on {}", cuda.name()?),
    }
    println!(
        "largest parameter after {STEPS} steps: {:e}, before: 1",
        train(0)?
    );
    Ok(())
}
