//! adarem optimizers on NVIDIA GPUs: any rule as PTX, one launch a pass for the whole model, the host's bits.
//!
//! A step costs one trip over the device's memory (two where the rule has two passes), whatever the number of tensors.
//! Nothing but NVIDIA's driver is needed where the program runs, and not even that where it is built: the driver is looked
//! for when [`Cuda::open`] is called, and its absence is an [`Error::NoDriver`].
//!
//! # To train with memory of this crate
//! ```
//! use adarem::{AdaRem, Backend, Optimizer};
//! use adarem_cuda::Cuda;
//!
//! # fn main() -> Result<(), adarem_cuda::Error> {
//! # adarem_cuda_softdriver::install(1);
//! let mut cuda = Cuda::<f32>::open(0)?;
//! let (mut theta, mut grad) = (cuda.zeros(3)?, cuda.zeros(3)?);
//! cuda.write(&mut theta, 0, &[1.0, 2.0, 3.0])?;
//! cuda.write(&mut grad, 0, &[1.0, 0.0, -1.0])?;
//!
//! let mut optimizer = Optimizer::new(AdaRem::default(), &mut cuda, &[3])?;
//! optimizer.step(&mut cuda, &mut [&mut theta], &[&grad])?;
//!
//! let mut numbers = [0.0; 3];
//! cuda.read(&theta, 0, &mut numbers)?;
//! assert_eq!(numbers, [0.9, 2.0, 3.1]);
//! # Ok(())
//! # }
//! ```
//!
//! # To step the memory of an engine
//! An engine that has a context, a stream and device pointers lends them: [`Cuda::from_engine`], and
//! [`Tensor::from_raw`] for each pointer. Steps are put into the engine's stream behind its gradients; nothing waits.
//!
//! # To train in mixed precision
//! [`Cuda::step_mixed`] takes parameters and gradients of 16 bits beside a master copy in `f32`, in as many launches. They
//! are an engine's, or memory of this crate: [`Cuda::zeros_of`].
//!
//! # What a step does
//! The first step with a rule compiles its kernels; the first with a list of tensors uploads a table. From then on a step
//! only launches: it allocates nothing, on device or host, copies nothing unless the gradients have moved, or the
//! parameters of 16 bits, and waits for nothing. It can be captured in a CUDA graph once it has been taken outside of
//! one; a replay repeats the host scalars of the step that was captured, so a rule whose scalars depend on the step
//! (Adam's bias correction, any schedule) must be captured anew, or the graph updated.
//!
//! # Bits
//! Results equal the host's in every bit, in `f32`, `f64` and mixed precision: see [`ptx`] for how. Hardware has not been
//! asked yet: this crate was tested by running its kernels on a driver written in software, and by assembling them with
//! NVIDIA's compiler for `sm_70` to `sm_100`.

mod backend;
mod device;
mod error;
pub mod ptx;
mod tables;
mod tensor;

pub use backend::Cuda;
pub use error::Error;
pub use tensor::{Memory, Tensor};
