//! The proof that no panic is reachable in `adarem`: this program links.
//!
//! It calls everything that the library does without a heap, for every rule and both number types, on
//! numbers that the compiler does not know. Its panic handler calls a function that does not exist, so the
//! link fails as soon as one panic survives optimization: an index, a division by zero, an `unwrap`.
//!
//! It is built with `--cfg panic_proof`, under which the library prints `?` for a float: the standard
//! library's own printing of floats asserts its inner workings, and is left out.
#![no_std]
#![no_main]

use core::fmt::{Display, Write};
use core::hint::black_box;

use adarem::plan::MAX_OPS;
use adarem::projection::{Ball, HalfSpace, Interval, Projected, Simplex};
use adarem::rules::{EachRule, for_each};
use adarem::trace::trace;
use adarem::{
    Accumulators, AdaRem, AdaRem8, AdaRemS, Backend, Batch, Bf16, Element, ErrorKind, F16, Fold,
    FoldOp, Half, Host, Lane, Lanes, Lent, MAX_CARRIED, MAX_SLOTS, Optimizer, Plan, Rule, SgdM,
    Stored, Tunable,
};

unsafe extern "C" {
    safe fn a_panic_is_reachable() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    a_panic_is_reachable()
}

/// Where the linker begins. The program is never run.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    if cfg!(feature = "planted") {
        black_box([1, 2, 3][black_box(2)]);
    } else {
        everything();
    }
    loop {}
}

fn everything() {
    lanes_and_folds::<f32>();
    lanes_and_folds::<f64>();
    optimized::<AdaRem, f64>(&AdaRem::default());
    for_each(&mut Calls);
    Calls.rule::<Projected<AdaRem, Interval>>();
    Calls.rule::<Projected<AdaRem, Ball>>();
    Calls.rule::<Projected<SgdM, HalfSpace>>();
    Calls.rule::<Projected<AdaRem, Simplex>>();
    in_bytes();
    mixed::<f32, Bf16, Bf16>(black_box(Half::Bf16));
    mixed::<f32, f32, F16>(black_box(Half::F16));
    mixed::<f64, F16, Bf16>(black_box(Half::F16));
}

struct Calls;

impl EachRule for Calls {
    fn rule<R: Tunable + Default + Clone>(&mut self) {
        let mut rule: R = R::default();
        rule.settings(&mut |_, setting| setting.set(black_box(0.5)));
        rule.set(black_box("lr"), black_box(0.5));
        black_box(rule.get(black_box("beta")));
        say(rule.check());
        black_box((rule.slot(black_box(1)), rule.carried(black_box(1))));
        on_host::<R, f32>(&rule);
        on_host::<R, f64>(&rule);
        optimized::<R, f32>(&rule);
        traced(&rule);
    }
}

/// As many numbers as `black_box` says, none of which the compiler knows.
fn unknown<T: Element>(memory: &mut [T]) -> &mut [T] {
    for x in memory.iter_mut() {
        *x = T::from_le(black_box(1));
    }
    let len = black_box(memory.len());
    memory.get_mut(..len).unwrap_or_default()
}

fn lanes_and_folds<T: Element>() {
    let (mut theta, mut grad, mut slot) = ([T::zero(); 64], [T::zero(); 64], [T::zero(); 64]);
    let lanes = Lanes::new(
        unknown(&mut theta),
        unknown(&mut grad),
        [unknown(&mut slot)],
    );
    let rewrite = |x: Lane<T, 1>| (x, [x.theta, x.grad, x.slot[0]]);
    let folds = [Fold::SUM, Fold::MAX_ABS, Fold::SUM.over_group()];
    match lanes {
        Ok(mut lanes) => {
            lanes
                .take(black_box(7))
                .chunks(folds, &rewrite, |partials| {
                    black_box(partials);
                });
            black_box(lanes.pass(folds, &rewrite));
        }
        Err(mismatch) => print(mismatch),
    }
    for op in [FoldOp::Sum, FoldOp::MaxAbs] {
        let mut acc = Accumulators::new(op);
        for x in theta {
            acc.push(x);
        }
        black_box(acc.finish());
    }
}

fn in_bytes() {
    let (mut theta, mut grad, mut q) = ([0.0f32; 64], [0.0f32; 64], [0; 64]);
    match AdaRem8::resume(AdaRem::default(), &mut q, black_box(1.0)) {
        Ok(mut optimizer) => say(optimizer.step(unknown(&mut theta), unknown(&mut grad))),
        Err(error) => print(error),
    }
}

fn mixed<T: Element, M: Stored<T>, P: Stored<T>>(half: Half) {
    let (mut master, mut params) = ([T::zero(); 64], [P::default(); 64]);
    let (grad, mut m) = (black_box([P::default(); 64]), [M::default(); 64]);
    let mut carried = [T::one(); AdaRemS::CARRIED];
    let [params_len, grad_len, m_len] = black_box([64; 3]);
    let host = Host::mixed(
        unknown(&mut master),
        params.get_mut(..params_len).unwrap_or_default(),
        grad.get(..grad_len).unwrap_or_default(),
        [m.get_mut(..m_len).unwrap_or_default()],
        &mut carried,
    );
    match host {
        Ok(mut host) => AdaRemS::default().step(black_box(1), &mut host),
        Err(error) => print(error),
    }
    black_box((master, params, m));
    let packed = half.pack(black_box([T::one(); 2]));
    black_box(half.unpack(half.round(packed)));
}

fn on_host<R: Rule, T: Element>(rule: &R) {
    let (mut theta, mut grad) = ([T::zero(); 64], [T::zero(); 64]);
    let mut slots = [[T::zero(); 64]; MAX_SLOTS];
    let mut carried = [T::one(); MAX_CARRIED];
    let host = Host::new(
        unknown(&mut theta),
        unknown(&mut grad),
        slots.each_mut().map(|slot| unknown(slot)),
        &mut carried,
    );
    match host {
        Ok(mut host) => rule.step(black_box(1), &mut host),
        Err(error) => print(error),
    }
    black_box((theta, carried));
}

fn optimized<R: Rule + Clone, T: Element>(rule: &R) {
    let lengths = black_box([3usize, 5]);
    black_box(Lent::<T>::elements(rule, &lengths));
    let mut memory = [T::zero(); 2048];
    let mut lent = Lent::new(unknown(&mut memory));
    let mut optimizer = match Optimizer::new(rule.clone(), &mut lent, &lengths) {
        Ok(optimizer) => optimizer,
        Err(error) => return print(error),
    };
    let (mut a, mut b, mut c, mut d) = (
        [T::zero(); 3],
        [T::zero(); 5],
        [T::zero(); 3],
        [T::one(); 5],
    );
    let (theta, grad) = (
        &mut [unknown(&mut a), unknown(&mut b)],
        &[&*unknown(&mut c), unknown(&mut d)],
    );
    say(optimizer.step(&mut lent, theta, grad));
    black_box((
        optimizer.steps(),
        optimizer.phase(),
        optimizer.state_bytes(),
    ));
    black_box((
        optimizer.slot(black_box(0)),
        optimizer.carried(),
        optimizer.rule().check(),
    ));

    let mut bytes = [0u8; 4096];
    let mut len = 0;
    say(optimizer.save(&mut lent, |part| {
        for byte in part {
            if let Some(place) = bytes.get_mut(len) {
                *place = *byte;
            }
            len = len.wrapping_add(1);
        }
    }));
    let saved = bytes.get(..black_box(len)).unwrap_or_default();
    say(optimizer.restore(&mut lent, saved));
}

fn traced<R: Rule>(rule: &R) {
    match trace(rule, black_box(0)) {
        Ok(traced) => {
            print(&traced.plan);
            walk(&traced.plan, traced.uniforms());
            black_box(traced.plan.has_group_folds());
        }
        Err(misfit) => print(misfit),
    }
}

fn walk(plan: &Plan, uniforms: &[f64]) {
    for p in 0..plan.passes().len() {
        let sets = [
            plan.lane_inputs(p),
            plan.newly_handed(p),
            plan.handed(p),
            plan.lanes(),
        ];
        black_box(sets.map(|set| (set.len(), set.is_empty(), set.contains(black_box(3)))));
        let mut values = [0.0f64; MAX_OPS];
        plan.eval(&plan.lane_ops(p), &mut values, |_| black_box(1.0));
        black_box(values);
    }
    let mut memory = [0.0f32; 64];
    let mut lent = Lent::new(unknown(&mut memory));
    let (Ok(mut carried), Ok(slot)) = (lent.zeros(black_box(1)), lent.zeros(black_box(64))) else {
        return print(ErrorKind::OutOfMemory);
    };
    let (mut theta, mut grad) = ([0.0f32; 3], [0.0f32; 3]);
    let batch = Batch {
        theta: &mut [unknown(&mut theta)],
        grad: &[&*unknown(&mut grad)],
        slots: &mut [slot],
        carried: &mut carried,
    };
    say(lent.run(plan, uniforms, batch));
}

fn say<T, E: Display>(result: Result<T, E>) {
    if let Err(error) = result {
        print(error);
    }
}

fn print(what: impl Display) {
    black_box(write!(Sink, "{what}").is_ok());
}

/// Where text goes.
struct Sink;

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        if black_box(text).is_empty() {
            return Err(core::fmt::Error);
        }
        Ok(())
    }
}
