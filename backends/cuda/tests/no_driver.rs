//! A machine without CUDA: everything builds, links and starts, and opening a device says what is missing.

use adarem::{Error as _, ErrorKind};
use adarem_cuda::{Cuda, Error};

#[test]
fn opening_a_device_without_a_driver_is_an_error_in_words() {
    match Cuda::<f32>::open(0) {
        Err(error @ Error::NoDriver(_)) => {
            assert_eq!(error.kind(), ErrorKind::Other);
            assert!(error.to_string().starts_with("no CUDA driver: "), "{error}");
        }
        // A driver that finds no GPU, in a container or with the GPU hidden.
        Err(error @ (Error::NoDevice { .. } | Error::Driver { .. })) => {
            println!("a driver says: {error}")
        }
        Err(error) => panic!("{error}"),
        Ok(cuda) => println!("not tried: this machine has {}", cuda.name().unwrap()),
    }
}
