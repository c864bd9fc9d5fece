//! The op probe: every operation on a million pairs of bit patterns, host against device.

mod support;

use adarem::{Element, Engine, Invalid, Lane, Optimizer, Real, Rule};
use adarem_conformance::Random;
use adarem_vulkan::{Division, Vulkan};
use support::{compare, download, probe::Probe, same, upload};

/// Where a device may leave the host's bits, by how much, and why. All else is exact, everywhere.
struct Tolerance {
    probe: Probe,
    /// Units in the last place of an `f32`, for results and operands that are normal numbers.
    ulp: u64,
    reason: &'static str,
}

const DIVISION: &str =
    "OpFDiv: 2.5 ULP where |divisor| lies in [2^-126, 2^126] (Vulkan, precision of operations)";
const ROOT: &str = "Sqrt is inherited from 1.0 / inversesqrt(x): 2 ULP, then a division of 2.5 ULP";

/// Only for `Division::Native`, and only for `f32`: for `f64` Vulkan promises no more than for `f32`.
const NATIVE: &[Tolerance] = &[
    Tolerance {
        probe: Probe::Div,
        ulp: 3,
        reason: DIVISION,
    },
    Tolerance {
        probe: Probe::OneOver,
        ulp: 3,
        reason: DIVISION,
    },
    Tolerance {
        probe: Probe::MulDiv,
        ulp: 3,
        reason: DIVISION,
    },
    Tolerance {
        probe: Probe::Sqrt,
        ulp: 5,
        reason: ROOT,
    },
];

const MILLION: usize = 1 << 20;

/// Pairs that find mistakes: all pairs of special numbers, pairs of any bits, quotients around 1, around the
/// smallest numbers and around ties.
fn pairs<E: Element>() -> [Vec<E>; 2] {
    let wide = E::DTYPE.bytes() == 8;
    let (fraction, sign) = if wide {
        (52, 1u64 << 63)
    } else {
        (23, 1 << 31)
    };
    let one = E::one().to_le();
    let infinity = E::infinity().to_le();
    let specials = [
        0,
        1,
        2,
        3,
        (1 << fraction) - 1,
        1 << fraction,
        (1 << fraction) + 1,
        one - 1,
        one,
        one + 1,
        one + (1 << fraction),
        infinity - 1,
        infinity,
        infinity | 1 << (fraction - 1),
        E::epsilon().to_le(),
        (infinity >> 1) & infinity,
    ];
    let specials = specials.map(|bits| [bits, bits | sign]).concat();
    let mut a = Vec::with_capacity(MILLION);
    let mut b = Vec::with_capacity(MILLION);
    for &x in &specials {
        for &y in &specials {
            a.push(E::from_le(x));
            b.push(E::from_le(y));
        }
    }
    let mut random = Random::new(42);
    let (exponent, significand) = (infinity, (1u64 << fraction) - 1);
    while a.len() < MILLION {
        let (x, y) = (random.bits(), random.bits());
        let y = match a.len() % 8 {
            // Of the same exponent, of an exponent near, of few bits, subnormal, a divisor near one.
            1 => (y & !exponent) | (x & exponent),
            2 => (y & !exponent) | ((x & exponent).wrapping_add((y % 5) << fraction) & exponent),
            3 => y & !(significand >> 8),
            4 => y & !exponent,
            5 => one ^ (y & (sign | significand)),
            6 => x ^ sign,
            _ => y,
        };
        let x = if a.len().is_multiple_of(16) {
            x & !exponent
        } else {
            x
        };
        a.push(E::from_le(x));
        b.push(E::from_le(y));
    }
    [a, b]
}

/// What the device makes of each pair.
fn on_device<E: Element>(vulkan: &mut Vulkan<E>, probe: Probe, a: &[E], b: &[E]) -> Vec<E> {
    let (mut theta, grad) = (upload(vulkan, a), upload(vulkan, b));
    let mut optimizer = Optimizer::<_, Vulkan<E>>::new(probe, vulkan, &[a.len()]).unwrap();
    optimizer.step(vulkan, &mut [&mut theta], &[&grad]).unwrap();
    download(vulkan, &theta)
}

/// Every operation, to the bit.
fn exact<E: Element>() {
    let Some(context) = support::context() else {
        return;
    };
    let mut vulkan = Vulkan::<E>::new(&context).unwrap();
    let [a, b] = pairs::<E>();
    for probe in Probe::ALL {
        let device = on_device(&mut vulkan, probe, &a, &b);
        let wrong = |i: &usize| !same(probe.of(a[*i], b[*i]), device[*i]);
        if let Some(i) = (0..MILLION).find(wrong) {
            let (x, y, got) = (a[i], b[i], device[i]);
            let (host, count) = (probe.of(x, y), (0..MILLION).filter(wrong).count());
            panic!(
                "{probe:?}({x:?}, {y:?}): host {host:?}, device {got:?}; {count} of {MILLION} are wrong"
            );
        }
    }
}

#[test]
fn a_million_pairs_are_exact_in_f32() {
    exact::<f32>();
}

#[test]
fn a_million_pairs_are_exact_in_f64() {
    exact::<f64>();
}

/// With constants that `f64` tells from zero and `f32` does not.
#[derive(Clone)]
struct Tiny;

impl Rule for Tiny {
    const NAME: &'static str = "tiny";
    const SLOTS: usize = 1;
    const CARRIED: usize = 0;

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    fn step<E: Engine>(&self, _: u64, engine: &mut E) {
        let [positive, negative] = [1e-60, -1e-60].map(E::Real::lit);
        engine.map(|x: Lane<E::Real, 1>| Lane {
            theta: x.grad * positive,
            slot: [x.theta + negative],
            ..x
        });
    }
}

#[test]
fn a_constant_is_rounded_once_to_the_number_type() {
    let Some(context) = support::context() else {
        return;
    };
    let mut single = Vulkan::<f32>::new(&context).unwrap();
    compare(&mut single, &Tiny, &[600], 2, Random::any).unwrap();
    let mut double = Vulkan::<f64>::new(&context).unwrap();
    compare(&mut double, &Tiny, &[600], 2, Random::mild).unwrap();
}

/// Reads nothing.
#[derive(Clone)]
struct Fill;

impl Rule for Fill {
    const NAME: &'static str = "fill";
    const SLOTS: usize = 0;
    const CARRIED: usize = 0;

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    fn step<E: Engine>(&self, _: u64, engine: &mut E) {
        let theta = E::Real::lit(2.5);
        engine.map(|x: Lane<_, 0>| Lane { theta, ..x });
    }
}

#[test]
fn a_kernel_may_write_what_it_never_reads() {
    let Some(context) = support::context() else {
        return;
    };
    let mut single = Vulkan::<f32>::new(&context).unwrap();
    compare(&mut single, &Fill, &[600, 5], 1, Random::mild).unwrap();
    let mut double = Vulkan::<f64>::new(&context).unwrap();
    compare(&mut double, &Fill, &[600, 5], 1, Random::mild).unwrap();
}

/// Distance in units in the last place, for numbers of one sign or near zero.
fn distance(a: f32, b: f32) -> u64 {
    let ordered = |x: f32| {
        let magnitude = i64::from(x.to_bits() & 0x7fff_ffff);
        if x.is_sign_negative() {
            -magnitude
        } else {
            magnitude
        }
    };
    ordered(a).abs_diff(ordered(b))
}

#[test]
fn the_devices_own_division_keeps_to_the_table() {
    let Some(context) = support::context() else {
        return;
    };
    let mut vulkan = Vulkan::<f32>::new(&context)
        .unwrap()
        .with_division(Division::Native);
    let [a, b] = pairs::<f32>();
    // Where the specification promises an accuracy at all.
    let normal = |x: f32| x.is_normal() && (1e-37..1e37).contains(&x.abs());
    for probe in Probe::ALL {
        let device = on_device(&mut vulkan, probe, &a, &b);
        let line = NATIVE.iter().find(|line| line.probe == probe);
        assert_eq!(line.is_some(), probe.divides(), "{probe:?}");
        let mut worst = 0;
        for ((&x, &y), &got) in a.iter().zip(&b).zip(&device) {
            let host = probe.of(x, y);
            match line {
                None => assert!(
                    same(host, got),
                    "{probe:?}({x:?}, {y:?}): host {host:?}, device {got:?}"
                ),
                Some(_) if normal(x) && normal(y) && normal(host) && normal(x * y) => {
                    worst = worst.max(distance(host, got));
                }
                Some(_) => {}
            }
        }
        if let Some(Tolerance { ulp, reason, .. }) = line {
            println!(
                "{probe:?} on {}: worst {worst} ULP of {ulp} allowed: {reason}",
                context.name()
            );
            assert!(
                worst <= *ulp,
                "{probe:?}: {worst} ULP, {ulp} allowed: {reason}"
            );
        }
    }
}
