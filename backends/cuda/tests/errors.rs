//! Every kind of failure, told as what it is.

use adarem::{AdaRem, Backend, Error as _, ErrorKind, Optimizer, Phase};
use adarem_cuda::{Cuda, Error, Tensor};
use adarem_cuda_softdriver::Machine;

fn open(machine: &Machine) -> Cuda<f32> {
    Cuda::open(machine.ordinal()).unwrap()
}

#[test]
fn a_device_that_does_not_exist() {
    let _machine = Machine::claim();
    let error = Cuda::<f32>::open(9999).unwrap_err();
    assert_eq!(
        error,
        Error::NoDevice {
            asked: 9999,
            found: 4096
        }
    );
    assert_eq!(
        error.to_string(),
        "no CUDA device 9999: this machine has 4096"
    );
}

#[test]
fn kernels_that_the_driver_refuses_are_shown_with_its_log() {
    let machine = Machine::claim();
    machine.plant("mul.rn.f32", "mul.rn.f33");
    let mut cuda = open(&machine);
    let (mut theta, grad) = (cuda.zeros(3).unwrap(), cuda.zeros(3).unwrap());
    let mut optimizer = Optimizer::new(AdaRem::default(), &mut cuda, &[3]).unwrap();
    let error = optimizer
        .step(&mut cuda, &mut [&mut theta], &[&grad])
        .unwrap_err();
    let Error::Refused { rule, log } = &error else {
        panic!("{error}")
    };
    assert_eq!(*rule, "adarem");
    assert!(log.contains("218 (CUDA_ERROR_INVALID_PTX)"), "{log}");
    assert!(log.contains("`.f33` is not a type"), "{log}");
}

#[test]
fn more_memory_than_there_is() {
    let machine = Machine::claim();
    let mut cuda = open(&machine);
    let error = cuda.zeros(1 << 40).unwrap_err();
    assert_eq!(error, Error::OutOfMemory { bytes: 1 << 42 });
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert_eq!(
        cuda.zeros(usize::MAX).unwrap_err().kind(),
        ErrorKind::OutOfMemory
    );
    let (free, total) = cuda.memory().unwrap();
    assert_eq!(free, total, "a refused allocation keeps nothing");
}

#[test]
fn a_launch_that_failed_is_told_by_the_next_wait_and_ever_after() {
    let machine = Machine::claim();
    let mut cuda = open(&machine);
    let (mut theta, grad) = (cuda.zeros(3).unwrap(), cuda.zeros(3).unwrap());
    let mut optimizer = Optimizer::new(AdaRem::default(), &mut cuda, &[3]).unwrap();
    optimizer
        .step(&mut cuda, &mut [&mut theta], &[&grad])
        .unwrap();
    machine.fail_next_launch();
    optimizer
        .step(&mut cuda, &mut [&mut theta], &[&grad])
        .expect("a launch is only put into a stream");
    let error = cuda.flush().unwrap_err();
    let Error::Lost { call, code, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((*call, *code), ("cuStreamSynchronize", 719));
    assert_eq!(error.kind(), ErrorKind::DeviceLost);

    let error = optimizer
        .step(&mut cuda, &mut [&mut theta], &[&grad])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeviceLost);
    assert_eq!(optimizer.phase(), Phase::Torn);
    assert_eq!(
        cuda.read(&theta, 0, &mut [0.0]).unwrap_err().kind(),
        ErrorKind::DeviceLost
    );
    assert_eq!(cuda.zeros(1).unwrap_err().kind(), ErrorKind::DeviceLost);
}

#[test]
fn a_wrong_address_of_an_engine_is_found_by_the_device_only() {
    let machine = Machine::claim();
    let mut cuda = open(&machine);
    let grad = cuda.zeros(3).unwrap();
    // SAFETY: none: nothing lies there, which is the test. The software driver guards its memory.
    let mut theta = unsafe { Tensor::from_raw(0x1000, 3) };
    let mut optimizer = Optimizer::new(AdaRem::default(), &mut cuda, &[3]).unwrap();
    optimizer
        .step(&mut cuda, &mut [&mut theta], &[&grad])
        .unwrap();
    let error = cuda.flush().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeviceLost);
    assert!(
        error.to_string().contains("CUDA_ERROR_ILLEGAL_ADDRESS"),
        "{error}"
    );
}

#[test]
fn lengths_that_do_not_fit_are_refused_before_anything_is_written() {
    let machine = Machine::claim();
    let mut cuda = open(&machine);
    let mut three = cuda.zeros(3).unwrap();
    let four = cuda.zeros(4).unwrap();
    let is_length = |error: Error| matches!(error.kind(), ErrorKind::Length(_));
    assert!(is_length(cuda.write(&mut three, 1, &[1.0; 3]).unwrap_err()));
    assert!(is_length(cuda.read(&three, 2, &mut [0.0; 2]).unwrap_err()));
    assert!(is_length(cuda.copy(&mut three, &four).unwrap_err()));
    let mut optimizer = Optimizer::new(AdaRem::default(), &mut cuda, &[3]).unwrap();
    let error = optimizer
        .step(&mut cuda, &mut [&mut three], &[&four])
        .unwrap_err();
    assert!(is_length(error));
    assert_eq!((optimizer.phase(), machine.launches()), (Phase::Ready, 0));
}
