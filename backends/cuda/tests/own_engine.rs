//! The example `own_cuda_engine`, on the software driver.

#[path = "../examples/own_cuda_engine.rs"]
mod own_cuda_engine;

use adarem_cuda_softdriver::Machine;

#[test]
fn an_engine_trains_with_its_own_context_stream_and_memory() {
    let machine = Machine::claim();
    let largest = own_cuda_engine::train(machine.ordinal()).unwrap();
    assert!(largest < 1e-3, "{largest}");
    assert_eq!(machine.take_faults(), [""; 0]);
    assert_eq!(machine.live_allocations(), 0);
}
