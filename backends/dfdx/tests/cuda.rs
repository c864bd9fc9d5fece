//! dfdx's Cuda device: that its models can be stepped is a matter of types, which `cuda,ci-check` checks
//! without nvcc.
#![cfg(feature = "cuda")]

use adarem_dfdx::{AdaRemS, AdaRemSConfig, Groups};
use dfdx::nn::modules::Linear;
use dfdx::optim::Optimizer;
use dfdx::tensor::Cuda;

type Model<E> = Linear<3, 2, E, Cuda>;
type Group<E> = AdaRemS<Model<E>, E, Cuda>;

fn is_an_optimizer<E: dfdx::dtypes::Dtype, O: Optimizer<Model<E>, Cuda, E>>() {}

#[test]
fn models_on_cuda_are_stepped_in_both_types() {
    is_an_optimizer::<f32, Group<f32>>();
    is_an_optimizer::<f64, Groups<Group<f64>, Group<f64>>>();
    let _: fn(&Model<f32>, AdaRemSConfig) -> Group<f32> = Group::new;
}
