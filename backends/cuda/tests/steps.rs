//! What a step costs, and in whose stream and context it happens.

use adarem::{AdaRem, AdaRemS, Backend, Element, Optimizer, Rule, Scope, Sgd};
use adarem_cuda::{Cuda, Error, Memory, Tensor};
use adarem_cuda_softdriver::Machine;
use cust::context::{Context, ContextHandle, CurrentContext};
use cust::stream::{Stream, StreamFlags};
use cust::sys;

const LENGTHS: [usize; 4] = [5000, 0, 3, 4096];

/// Parameters of 1 and gradients of 1/2.
struct Model<T> {
    thetas: Vec<Memory<T>>,
    grads: Vec<Memory<T>>,
}

impl<T: Element> Model<T> {
    fn new(cuda: &mut Cuda<T>) -> Self {
        let mut filled = |x: f64| -> Vec<Memory<T>> {
            let filled = LENGTHS.iter().map(|len| {
                let mut memory = cuda.zeros(*len).unwrap();
                cuda.write(&mut memory, 0, &vec![adarem::Real::lit(x); *len])
                    .unwrap();
                memory
            });
            filled.collect()
        };
        Self {
            thetas: filled(1.0),
            grads: filled(0.5),
        }
    }

    fn step<R: Rule>(
        &mut self,
        cuda: &mut Cuda<T>,
        optimizer: &mut Optimizer<R, Cuda<T>>,
    ) -> Result<(), Error> {
        let mut theta: Vec<&mut Tensor<T>> = self.thetas.iter_mut().map(|it| &mut **it).collect();
        let grad: Vec<&Tensor<T>> = self.grads.iter().map(|it| &**it).collect();
        optimizer.step(cuda, &mut theta, &grad)
    }

    fn numbers(&self, cuda: &mut Cuda<T>) -> Vec<Vec<T>> {
        let read = self.thetas.iter().zip(LENGTHS).map(|(theta, len)| {
            let mut numbers = vec![T::zero(); len];
            cuda.read(theta, 0, &mut numbers).unwrap();
            numbers
        });
        read.collect()
    }
}

/// The driver's calls in a step that was taken before.
fn calls<R: Rule>(rule: R) -> Vec<&'static str> {
    let machine = Machine::claim();
    let mut cuda = Cuda::<f32>::open(machine.ordinal()).unwrap();
    let mut model = Model::new(&mut cuda);
    let mut optimizer = Optimizer::new(rule, &mut cuda, &LENGTHS).unwrap();
    for _ in 0..2 {
        // AdaRem-S has another plan in its first step.
        model.step(&mut cuda, &mut optimizer).unwrap();
    }
    machine.take_calls();
    model.step(&mut cuda, &mut optimizer).unwrap();
    machine.take_calls()
}

#[test]
fn a_step_is_one_launch_for_all_tensors_and_nothing_else() {
    assert_eq!(calls(Sgd::default()), ["cuLaunchKernel"]);
    assert_eq!(calls(AdaRem::default()), ["cuLaunchKernel"]);
    assert_eq!(
        calls(AdaRem {
            scope: Scope::Group,
            ..AdaRem::default()
        }),
        ["cuLaunchKernel"]
    );
}

#[test]
fn adarem_s_is_two_launches() {
    assert_eq!(calls(AdaRemS::default()), ["cuLaunchKernel"; 2]);
    let joint = AdaRemS {
        scope: Scope::Group,
        sphere: Scope::Group,
        ..AdaRemS::default()
    };
    assert_eq!(calls(joint), ["cuLaunchKernel"; 2]);
}

#[test]
fn a_batch_of_no_tensors_is_no_launch() {
    let machine = Machine::claim();
    let mut cuda = Cuda::<f32>::open(machine.ordinal()).unwrap();
    let mut optimizer = Optimizer::new(AdaRem::default(), &mut cuda, &[]).unwrap();
    optimizer.step(&mut cuda, &mut [], &[]).unwrap();
    assert_eq!(machine.launches(), 0);
}

#[test]
fn gradients_that_move_are_followed_without_a_wait() {
    let machine = Machine::claim();
    let mut cuda = Cuda::<f32>::open(machine.ordinal()).unwrap();
    let mut theta = cuda.zeros(10).unwrap();
    let mut grads: Vec<Memory<f32>> = Vec::new();
    for x in 0..5_u8 {
        let mut grad = cuda.zeros(10).unwrap();
        cuda.write(&mut grad, 0, &[f32::from(x); 10]).unwrap();
        grads.push(grad);
    }
    let rule = Sgd {
        lr: 1.0,
        ..Sgd::default()
    };
    let mut optimizer = Optimizer::new(rule, &mut cuda, &[10]).unwrap();
    optimizer
        .step(&mut cuda, &mut [&mut theta], &[&grads[0]])
        .unwrap();
    machine.take_calls();
    // More steps than addresses can be under way: those still needed must not be overwritten.
    for step in 0..20 {
        optimizer
            .step(&mut cuda, &mut [&mut theta], &[&grads[step % 5]])
            .unwrap();
    }
    let calls = machine.take_calls();
    assert!(
        !calls
            .iter()
            .any(|call| call.contains("Alloc") || *call == "cuStreamSynchronize")
    );
    let mut numbers = [0.0; 10];
    cuda.read(&theta, 0, &mut numbers).unwrap();
    assert_eq!(numbers, [-40.0; 10]);
}

fn context_on(machine: &Machine) -> Context {
    cust::init(cust::CudaFlags::empty()).unwrap();
    Context::new(cust::device::Device::get_device(machine.ordinal()).unwrap()).unwrap()
}

#[track_caller]
fn succeeds(answer: sys::CUresult) {
    assert_eq!(answer, sys::CUresult::CUDA_SUCCESS);
}

/// What `work` puts into the stream, as a graph.
fn capture(stream: &Stream, work: impl FnOnce()) -> sys::CUgraph {
    let mode = sys::CUstreamCaptureMode_enum::CU_STREAM_CAPTURE_MODE_GLOBAL;
    let mut graph = core::ptr::null_mut();
    // SAFETY: the stream is alive, the result can be written.
    unsafe {
        succeeds(sys::cuStreamBeginCapture_v2(stream.as_inner(), mode));
        work();
        succeeds(sys::cuStreamEndCapture(stream.as_inner(), &mut graph));
    }
    graph
}

#[test]
fn a_step_can_be_captured_once_it_was_taken() {
    let machine = Machine::claim();
    let context = context_on(&machine);
    CurrentContext::set_current(&context).unwrap();
    let stream = Stream::new(StreamFlags::NON_BLOCKING, None).unwrap();
    // SAFETY: both outlive the backend and its memory, which are dropped first.
    let cuda =
        unsafe { Cuda::<f32>::from_engine(context.get_inner().cast(), stream.as_inner().cast()) };
    let mut cuda = cuda.unwrap();
    let (mut model, mut twin) = (Model::new(&mut cuda), Model::new(&mut cuda));
    let mut of_twin = Optimizer::new(AdaRem::default(), &mut cuda, &LENGTHS).unwrap();

    // Not the first step, which compiles and uploads.
    let mut optimizer = Optimizer::new(AdaRem::default(), &mut cuda, &LENGTHS).unwrap();
    capture(&stream, || {
        assert_eq!(model.step(&mut cuda, &mut optimizer), Err(Error::Capturing));
    });

    let mut optimizer = Optimizer::new(AdaRem::default(), &mut cuda, &LENGTHS).unwrap();
    model.step(&mut cuda, &mut optimizer).unwrap();
    let graph = capture(&stream, || model.step(&mut cuda, &mut optimizer).unwrap());
    let (mut executable, none) = (core::ptr::null_mut(), core::ptr::null_mut());
    // SAFETY: the graph was captured, the result can be written, and all that it uses is alive.
    unsafe {
        let log = core::ptr::null_mut();
        succeeds(sys::cuGraphInstantiate_v2(
            &mut executable,
            graph,
            none,
            log,
            0,
        ));
        for _ in 0..3 {
            succeeds(sys::cuGraphLaunch(executable, stream.as_inner()));
        }
    }
    // One step taken, and one captured and replayed three times: four.
    for _ in 0..4 {
        twin.step(&mut cuda, &mut of_twin).unwrap();
    }
    assert_eq!(model.numbers(&mut cuda), twin.numbers(&mut cuda));
}

#[test]
fn an_engine_keeps_its_current_context() {
    let (machine, other) = (Machine::claim(), Machine::claim());
    let engine = context_on(&other);
    CurrentContext::set_current(&engine).unwrap();
    let mut cuda = Cuda::<f32>::open(machine.ordinal()).unwrap();
    let mut model = Model::new(&mut cuda);
    let mut optimizer = Optimizer::new(AdaRem::default(), &mut cuda, &LENGTHS).unwrap();
    model.step(&mut cuda, &mut optimizer).unwrap();
    assert_eq!(machine.launches(), 1);
    let mut current = core::ptr::null_mut();
    // SAFETY: the result can be written.
    succeeds(unsafe { sys::cuCtxGetCurrent(&mut current) });
    assert_eq!(current, engine.get_inner());
}

#[test]
fn a_backend_may_move_to_another_thread() {
    let machine = Machine::claim();
    let mut cuda = Cuda::<f64>::open(machine.ordinal()).unwrap();
    let mut model = Model::new(&mut cuda);
    let mut optimizer = Optimizer::new(AdaRem::default(), &mut cuda, &LENGTHS).unwrap();
    model.step(&mut cuda, &mut optimizer).unwrap();
    let there = std::thread::spawn(move || {
        model.step(&mut cuda, &mut optimizer).unwrap();
        model.numbers(&mut cuda)
    });
    let numbers = there.join().unwrap();
    // 1 - 0.1 * 0.5, then - 0.1 * (1 + 0.999) * 0.5.
    assert!(
        numbers[3].iter().all(|x| (x - 0.85005).abs() < 1e-12),
        "{}",
        numbers[3][0]
    );
}

#[test]
fn everything_is_freed() {
    let machine = Machine::claim();
    {
        let mut cuda = Cuda::<f32>::open(machine.ordinal()).unwrap();
        let mut model = Model::new(&mut cuda);
        let mut optimizer = Optimizer::new(AdaRemS::default(), &mut cuda, &LENGTHS).unwrap();
        for _ in 0..3 {
            model.step(&mut cuda, &mut optimizer).unwrap();
        }
        assert!(machine.live_allocations() > 0);
    }
    assert_eq!(machine.live_allocations(), 0);
    assert_eq!(machine.take_faults(), [""; 0]);
}
