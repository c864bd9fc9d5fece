//! What one step costs on a Cortex-M4F: instructions a parameter, and stack.
//!
//! The step is chosen by a feature, so that the image holds one optimizer, as a product would. QEMU runs
//! it with `-icount shift=0`: an instruction takes a nanosecond of its time.
#![no_std]
#![no_main]

#[path = "../board.rs"]
mod board;

use core::fmt::Write;
use core::hint::black_box;

use adarem::{AdaRem, AdaRem8, AdaRemS, AdamW, Host, Rule, Scope, SgdM};
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::entry;
use cortex_m_semihosting::hio;

const LANES: usize = 512;
const STEPS: usize = 20;

const RULE: AdaRem = AdaRem {
    lr: 0.3,
    beta: 0.9,
    lambda: 0.999,
    eps: 0.0,
    weight_decay: 0.0,
    scope: Scope::Tensor,
};

type Lanes = [f32; LANES];

/// The step of a product whose hyper-parameters are fixed when it is built.
#[inline(never)]
fn step_fixed(theta: &mut Lanes, grad: &Lanes, m: &mut Lanes, carried: &mut [f32; 1]) {
    if let Ok(mut host) = Host::new(theta, grad, [m], carried) {
        RULE.step(0, &mut host);
    }
}

/// The step with all hyper-parameters and all options chosen at run time.
#[inline(never)]
fn step_tuned(
    rule: &AdaRem,
    theta: &mut Lanes,
    grad: &Lanes,
    m: &mut Lanes,
    carried: &mut [f32; 1],
) {
    if let Ok(mut host) = Host::new(theta, grad, [m], carried) {
        rule.step(0, &mut host);
    }
}

/// The step of another rule, with its defaults.
#[inline(never)]
fn step_default<R: Rule + Default, const S: usize, const C: usize>(
    t: u64,
    theta: &mut Lanes,
    grad: &Lanes,
    slots: [&mut Lanes; S],
    carried: &mut [f32; C],
) {
    let slots = slots.map(|slot| slot.as_mut_slice());
    if let Ok(mut host) = Host::new(theta, grad, slots, carried) {
        R::default().step(t, &mut host);
    }
}

/// The step with a byte of state a parameter.
#[inline(never)]
fn step_bytes(optimizer: &mut AdaRem8<'_>, theta: &mut Lanes, grad: &Lanes) -> bool {
    optimizer.step(theta, grad).is_ok()
}

#[entry]
fn main() -> ! {
    let (Ok(mut out), Some(mut peripherals)) = (hio::hstdout(), cortex_m::Peripherals::take())
    else {
        board::fail()
    };
    let timer = &mut peripherals.SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(0x00ff_ffff);
    timer.clear_current();
    timer.enable_counter();

    let (mut theta, mut m, mut carried) = ([1.0; LANES], [0.5; LANES], [1.0]);
    let grad = core::array::from_fn(|i| i as f32 * 0.01 - 2.0);
    let mut m_in_bytes = [3; LANES];
    let Ok(mut optimizer) = AdaRem8::resume(RULE, &mut m_in_bytes, 0.01) else {
        board::fail()
    };
    let before = SYST::get_current();
    let (mut v, mut carried_s) = ([0.5; LANES], [0.0, 1.0, 0.0]);
    for t in 0..STEPS as u64 {
        if cfg!(feature = "bytes") {
            step_bytes(&mut optimizer, &mut theta, &grad);
        } else if cfg!(feature = "tuned") {
            step_tuned(&black_box(RULE), &mut theta, &grad, &mut m, &mut carried);
        } else if cfg!(feature = "sgdm") {
            step_default::<SgdM, 1, 0>(t, &mut theta, &grad, [&mut m], &mut []);
        } else if cfg!(feature = "adamw") {
            step_default::<AdamW, 2, 0>(t, &mut theta, &grad, [&mut m, &mut v], &mut []);
        } else if cfg!(feature = "adarem_s") {
            step_default::<AdaRemS, 1, 3>(t, &mut theta, &grad, [&mut m], &mut carried_s);
        } else {
            step_fixed(&mut theta, &grad, &mut m, &mut carried);
        }
    }
    let cycles = before.wrapping_sub(SYST::get_current()) & 0x00ff_ffff;
    // The timer counts cycles of 168 MHz.
    let cost = cycles as f32 / (STEPS * LANES) as f32 / 0.168;
    let tenths = (cost * 10.0 + 0.5) as u32;
    if writeln!(
        out,
        "instructions a parameter: {}.{}",
        tenths / 10,
        tenths % 10
    )
    .is_err()
    {
        board::fail();
    }
    board::succeed()
}
