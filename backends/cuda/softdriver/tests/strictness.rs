//! What the software driver refuses, and what it lets pass: each rule of it seen broken once.

use adarem_cuda_softdriver::{Machine, Order};
use cust::context::{Context, CurrentContext};
use cust::device::Device;
use cust::error::CudaError;
use cust::memory::{CopyDestination, DeviceBuffer};
use cust::module::Module;
use cust::stream::{Stream, StreamFlags};
use std::ffi::c_void;

/// A device with a context current on this thread.
fn open() -> (Machine, Context) {
    let machine = Machine::claim();
    cust::init(cust::CudaFlags::empty()).unwrap();
    let context = Context::new(Device::get_device(machine.ordinal()).unwrap()).unwrap();
    CurrentContext::set_current(&context).unwrap();
    (machine, context)
}

/// A kernel with its parameters read: %rd0 the data, %r0 the thread, %r1 the block.
fn kernel(body: &str) -> String {
    format!(
        ".version 6.0\n.target sm_70\n.address_size 64\n\
         .visible .entry k(.param .u64 data)\n.maxntid 64\n{{\n\
         .reg .pred %p<4>; .reg .b16 %h<4>; .reg .b32 %r<8>; .reg .b64 %rd<8>; .reg .f32 %f<8>; .reg .f64 %fd<8>;\n\
         .shared .align 16 .b8 pool[256];\n\
         ld.param.u64 %rd0, [data]; cvta.to.global.u64 %rd0, %rd0;\n\
         mov.u32 %r0, %tid.x; mov.u32 %r1, %ctaid.x;\n{body}\nret;\n}}"
    )
}

const START: [u32; 64] = [0; 64];

/// Runs the kernel on 64 zeroed words. What went wrong, or the words.
fn outcome(body: &str, blocks: u32, threads: u32, order: Order) -> Result<Vec<u32>, String> {
    let (machine, _context) = open();
    machine.set_order(order);
    let describe = |error: CudaError| format!("{error:?}: {}", machine.take_faults().join("; "));
    let module = Module::from_ptx(kernel(body), &[]).map_err(describe)?;
    let function = module.get_function("k").map_err(describe)?;
    let stream = Stream::new(StreamFlags::NON_BLOCKING, None).unwrap();
    let data = DeviceBuffer::from_slice(&START).unwrap();
    let mut pointer = data.as_device_ptr();
    let arguments = [(&raw mut pointer).cast::<c_void>()];
    // SAFETY: one parameter, a pointer to 64 words; what the kernel does with it is the test.
    unsafe { stream.launch(&function, blocks, threads, 0, &arguments) }.map_err(describe)?;
    stream.synchronize().map_err(describe)?;
    let mut words = START.to_vec();
    data.copy_to(&mut words).map_err(describe)?;
    Ok(words)
}

#[track_caller]
fn faults(body: &str, threads: u32, expected: &str) {
    for order in [Order::Forward, Order::Backward] {
        let text = outcome(body, 2, threads, order).expect_err("it was let pass");
        assert!(text.contains(expected), "{text}");
    }
}

#[track_caller]
fn gives(body: &str, expected: impl Fn(u32) -> u32) {
    let words = outcome(body, 1, 64, Order::Forward).unwrap();
    for (index, word) in (0..).zip(words) {
        assert_eq!(word, expected(index), "word {index}");
    }
}

/// Each thread writes `value` (in %r7) to its own word.
const STORE: &str =
    "mul.wide.u32 %rd1, %r0, 4; add.u64 %rd1, %rd0, %rd1; st.global.u32 [%rd1], %r7;";

#[test]
fn what_could_change_bits_is_refused() {
    faults(
        "mov.f32 %f0, 0f3F800000; add.f32 %f1, %f0, %f0;",
        32,
        "without .rn",
    );
    faults(
        "mov.f64 %fd0, 0d0000000000000000; sqrt.f64 %fd1, %fd0;",
        32,
        "without .rn",
    );
    faults(
        "mov.f32 %f0, 0f3F800000; mul.rn.ftz.f32 %f1, %f0, %f0;",
        32,
        "changes bits",
    );
    faults(
        "mov.f32 %f0, 0f3F800000; fma.rn.f32 %f1, %f0, %f0, %f0;",
        32,
        "unknown instruction",
    );
    faults(
        "mov.f32 %f0, 0f3F800000; div.approx.f32 %f1, %f0, %f0;",
        32,
        "changes bits",
    );
}

#[test]
fn text_that_means_nothing_is_refused_with_its_line() {
    faults("mov.u32 %r9, 0;", 32, "no register `%r9`");
    faults("mov.u32 %f0, 0;", 32, "the instruction is U32");
    faults("bra NOWHERE;", 32, "no label");
    let text = outcome("bra NOWHERE;", 1, 32, Order::Forward).expect_err("it was let pass");
    assert!(text.contains("line 11"), "{text}");
}

#[test]
fn memory_is_guarded() {
    faults("ld.global.u32 %r2, [%rd0+256];", 32, "no allocation");
    faults("ld.global.u32 %r2, [%rd0-4];", 32, "no allocation");
    faults(
        "ld.global.v4.u32 {%r2,%r3,%r4,%r5}, [%rd0+4];",
        32,
        "not aligned",
    );
    faults(
        "ld.shared.u32 %r2, [pool+256];",
        32,
        "of 256 bytes of shared memory",
    );
    faults(
        "ld.shared.u32 %r2, [pool];",
        32,
        "shared memory is read that was never set",
    );
    faults(
        "add.u32 %r2, %r3, 1;",
        32,
        "a register is read that was never set",
    );
}

#[test]
fn barriers_and_shuffles_want_everyone() {
    let part = "setp.lt.u32 %p0, %r0, 16; @%p0 bra L; bar.sync 0; L:";
    faults(part, 32, "others have left");
    let two = "setp.lt.u32 %p0, %r0, 16; @%p0 bra L; bar.sync 0; bra M; L: bar.sync 0; M:";
    faults(two, 32, "different barriers");
    let miss =
        "setp.lt.u32 %p0, %r0, 16; @%p0 bra L; shfl.sync.down.b32 %r2, %r0, 1, 31, 0xffffffff; L:";
    faults(miss, 32, "are there");
}

#[test]
fn halves_of_words_are_memory_of_their_own() {
    let neighbours = "mul.wide.u32 %rd1, %r0, 2; add.u64 %rd1, %rd0, %rd1; mov.b32 {%h0, %h1}, %r0; \
                      st.global.b16 [%rd1], %h0;";
    gives(neighbours, |index| {
        if index < 32 {
            (2 * index) | ((2 * index + 1) << 16)
        } else {
            0
        }
    });
    faults("mov.b16 %h0, 7; st.global.b16 [%rd0+2], %h0;", 64, "race");
    faults("ld.global.b16 %h0, [%rd0+1];", 32, "not aligned");
    faults("ld.global.b16 %h0, [%rd0+256];", 32, "no allocation");
    faults("ld.shared.b16 %h0, [pool];", 32, "unknown instruction");
    faults("mov.b16 %r2, 0;", 32, "the instruction is B16");
    gives(
        &(String::from("mov.b32 {%h0, %h1}, %r0; mov.b32 %r7, {%h1, %h0};") + STORE),
        |index| index << 16,
    );
}

#[test]
fn halves_of_floats_are_rounded_to_the_nearest() {
    let place = |exponent| 2.0_f32.powi(exponent);
    for (x, bits) in [
        (0.0, 0),
        (-2.0, 0xc000),
        (0.1, 0x2e66),
        (65504.0, 0x7bff),
        (65520.0_f32.next_down(), 0x7bff),
        (65520.0, 0x7c00),
        (f32::MAX, 0x7c00),
        (f32::NEG_INFINITY, 0xfc00),
        (f32::NAN, 0x7fff),
        // Ties go to the even one.
        (1.0 + place(-11), 0x3c00),
        (1.0 + 3.0 * place(-11), 0x3c02),
        (place(-14), 0x0400),
        (place(-14).next_down(), 0x0400),
        (place(-24), 1),
        (place(-25), 0),
        (place(-25).next_up(), 1),
        (-1.5 * place(-24), 0x8002),
        (f32::from_bits(1), 0),
    ] {
        let set = format!(
            "mov.f32 %f0, 0f{:08X}; cvt.rn.f16.f32 %h0, %f0;",
            x.to_bits()
        );
        gives(
            &format!("{set} mov.b16 %h1, 0; mov.b32 %r7, {{%h0, %h1}}; {STORE}"),
            |_| bits,
        );
    }
    for (bits, x) in [
        (0x8000, -0.0),
        (0x3c01, 1.0 + place(-10)),
        (0x7bff, 65504.0),
        (0xfc00, f32::NEG_INFINITY),
        (0x0001, place(-24)),
        (0x83ff, -1023.0 * place(-24)),
    ] {
        let set = format!("mov.b16 %h0, {bits}; cvt.f32.f16 %f0, %h0;");
        gives(&format!("{set} mov.b32 %r7, %f0; {STORE}"), |_| x.to_bits());
    }
}

#[test]
fn races_within_a_block_are_faults_under_every_schedule() {
    let exchange = |between: &str| {
        format!(
            "shl.b32 %r2, %r0, 2; mov.u32 %r3, pool; add.u32 %r2, %r2, %r3; st.shared.u32 [%r2], %r0; {between} \
             xor.b32 %r4, %r2, 4; ld.shared.u32 %r7, [%r4];"
        )
    };
    faults(&exchange(""), 64, "race");
    gives(&(exchange("bar.sync 0;") + STORE), |index| index ^ 1);
    faults("st.shared.u32 [pool], %r0;", 64, "race");
    faults("st.global.u32 [%rd0], %r0;", 64, "race");
}

#[test]
fn what_one_block_reads_of_another_must_have_been_published() {
    // Every block writes its word; the last to raise the ticket reads the words of all.
    let last_block = |release: &str, acquire: &str| {
        format!(
            "setp.ne.u32 %p0, %r0, 0; @%p0 bra END; \
             mul.wide.u32 %rd1, %r1, 4; add.u64 %rd1, %rd0, %rd1; st.global.u32 [%rd1+8], %r1; {release} \
             atom.global.inc.u32 %r2, [%rd0], 1; setp.ne.u32 %p0, %r2, 1; @%p0 bra END; {acquire} \
             ld.global.u32 %r3, [%rd0+8]; ld.global.u32 %r4, [%rd0+12]; add.u32 %r3, %r3, %r4; \
             add.u32 %r3, %r3, 7; st.global.u32 [%rd0+16], %r3; END:"
        )
    };
    for order in [Order::Forward, Order::Backward, Order::Shuffled(3)] {
        let words = outcome(&last_block("membar.gl;", "membar.gl;"), 2, 32, order).unwrap();
        assert_eq!(
            words[..5],
            [0, 0, 0, 1, 8],
            "the ticket is back at zero, the sum is right"
        );
    }
    faults(&last_block("", "membar.gl;"), 32, "race");
    faults(&last_block("membar.gl;", ""), 32, "race");
}

#[test]
fn threads_that_part_meet_again() {
    let branch = "and.b32 %r2, %r0, 1; setp.eq.u32 %p0, %r2, 0; mov.u32 %r7, 5; @%p0 bra EVEN; mov.u32 %r7, 6; \
                  bra.uni JOIN; EVEN: add.u32 %r7, %r7, 4; JOIN: shfl.sync.bfly.b32 %r7, %r7, 1, 31, 0xffffffff;";
    gives(&(branch.to_owned() + STORE), |index| {
        if index % 2 == 0 { 6 } else { 9 }
    });
    let count =
        "mov.u32 %r7, 0; LOOP: add.u32 %r7, %r7, 2; setp.lt.u32 %p0, %r7, %r0; @%p0 bra LOOP;";
    gives(&(count.to_owned() + STORE), |index| {
        index.next_multiple_of(2).max(2)
    });
}

#[test]
fn floats_are_rounded_as_on_the_host() {
    let body = |operation: &str| {
        format!(
            "mov.f32 %f0, 0f3DCCCCCD; mov.f32 %f1, 0f40490FDB; mov.f32 %f2, 0f00000003; {operation} mov.b32 %r7, %f3;{STORE}"
        )
    };
    let (a, b, tiny) = (0.1_f32, core::f32::consts::PI, f32::from_bits(3));
    for (operation, expected) in [
        ("add.rn.f32 %f3, %f0, %f1;", a + b),
        ("sub.rn.f32 %f3, %f0, %f1;", a - b),
        ("mul.rn.f32 %f3, %f0, %f1;", a * b),
        ("div.rn.f32 %f3, %f0, %f1;", a / b),
        ("sqrt.rn.f32 %f3, %f1;", b.sqrt()),
        ("div.rn.f32 %f3, %f2, %f1;", tiny / b),
        ("max.f32 %f3, %f0, %f1;", b),
        ("neg.f32 %f3, %f0;", -a),
        ("neg.f32 %f3, %f0; abs.f32 %f3, %f3;", a),
    ] {
        gives(&body(operation), |_| expected.to_bits());
    }
}

#[test]
fn a_failed_kernel_is_told_by_the_next_wait_and_by_every_call_after() {
    let (machine, _context) = open();
    let module = Module::from_ptx(kernel("ld.global.u32 %r2, [%rd0+4096];"), &[]).unwrap();
    let function = module.get_function("k").unwrap();
    let stream = Stream::new(StreamFlags::NON_BLOCKING, None).unwrap();
    let data = DeviceBuffer::from_slice(&START).unwrap();
    let mut pointer = data.as_device_ptr();
    let arguments = [(&raw mut pointer).cast::<c_void>()];
    // SAFETY: one parameter, a pointer; the kernel reads beyond it, which is the test.
    unsafe { stream.launch(&function, 1, 32, 0, &arguments) }.expect("a launch tells nothing yet");
    assert!(stream.synchronize().is_err());
    assert!(DeviceBuffer::from_slice(&START).is_err());
    assert_eq!(machine.take_faults().len(), 1);
}
