//! A driver that finds no device.

use adarem_cuda::{Cuda, Error};

#[test]
fn opening_a_device_where_there_is_none_is_an_error() {
    adarem_cuda_softdriver::install(0);
    assert_eq!(
        Cuda::<f32>::open(0).unwrap_err(),
        Error::NoDevice { asked: 0, found: 0 }
    );
}
