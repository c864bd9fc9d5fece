//! What a rule is tried on, drawn from bytes: the same generators serve property tests, which shrink the bytes, and
//! fuzzers, which mutate them.
//!
//! Of rules there are more in [`programs`](crate::programs).

use core::fmt::Debug;

use adarem::projection::Interval;
use adarem::rules::EachRule;
use adarem::{AdaRem, Element, Optimizer, Tunable};
use proptest::strategy::Strategy;

use crate::number::{Bytes, Random};
use crate::reference::Interpreter;

/// Bytes for property tests: shrinking shortens them, and makes them zeros.
pub fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(proptest::num::u8::ANY, 0..400)
}

/// A few tensors, none or some of them empty.
pub fn lengths(bytes: &mut Bytes<'_>) -> Vec<usize> {
    (0..bytes.below(4)).map(|_| bytes.below(70)).collect()
}

/// The numbers that the rest of these bytes are; when they are used up, random ones.
pub fn numbers<'b, T: Element>(bytes: &Bytes<'b>) -> impl FnMut() -> T + use<'b, T> {
    let mut bytes = bytes.clone();
    let seed = bytes
        .clone()
        .rest()
        .iter()
        .fold(1u64, |seed, &b| seed.wrapping_mul(257) + u64::from(b));
    let mut random = Random::new(seed);
    move || {
        if bytes.are_used_up() {
            random.any()
        } else {
            bytes.number()
        }
    }
}

/// Shows `each` one rule, of the library or of the adapters, by its number; none where it is too large.
pub fn rule(number: u8, each: &mut impl EachRule) {
    let mut pick = Pick {
        number: number.into(),
        seen: 0,
        each,
    };
    adarem::rules::for_each(&mut pick);
    adarem_adapters::for_each(&mut pick);
}

struct Pick<'e, E> {
    number: usize,
    seen: usize,
    each: &'e mut E,
}

impl<E: EachRule> EachRule for Pick<'_, E> {
    fn rule<R: Tunable + Default + Clone + PartialEq + Debug + Send + 'static>(&mut self) {
        if self.seen == self.number {
            self.each.rule::<R>();
        }
        self.seen += 1;
    }
}

/// A rule with hyper-parameters of any bits, and a step that it may be asked for.
#[derive(Clone, Debug)]
pub struct Tuned<R> {
    /// With those that it takes.
    pub rule: R,
    /// With one each that it refuses.
    pub refused: Vec<R>,
    /// The step's number.
    pub t: u64,
}

impl<R: Tunable + Default + Clone> Tuned<R> {
    /// That which the next bytes are.
    pub fn read(bytes: &mut Bytes<'_>) -> Self {
        let t = if bytes.byte().is_multiple_of(2) {
            0
        } else {
            bytes.bits()
        };
        let (mut rule, mut refused) = (R::default(), Vec::new());
        let mut names = Vec::new();
        rule.settings(&mut |name, _| names.push(name));
        for name in names {
            if bytes.byte().is_multiple_of(2) {
                continue;
            }
            let mut changed = rule.clone();
            changed.set(name, bytes.number());
            match changed.check() {
                Ok(()) => rule = changed,
                Err(_) => refused.push(changed),
            }
        }
        Tuned { rule, refused, t }
    }

    /// Asks for an optimizer with each of them.
    ///
    /// # Panics
    /// Where one is refused that should not be, or the other way round, or without a text.
    pub fn check(&self)
    where
        R: Debug,
    {
        let open =
            |rule: &R| Optimizer::new(rule.clone(), &mut Interpreter::<f32>::default(), &[1]);
        let made = open(&self.rule);
        assert!(made.is_ok(), "{:?}: {:?}", self.rule, made.err());
        for rule in &self.refused {
            let error = open(rule).err();
            assert!(
                error.is_some_and(|error| !error.to_string().is_empty()),
                "{rule:?}"
            );
        }
    }
}

/// AdaRem with hyper-parameters as people choose them, and finite gradients of some steps of one tensor.
#[derive(Clone, Debug)]
pub struct Training {
    /// Without decay, and with a rate above 0.
    pub rule: AdaRem,
    /// A weight decay.
    pub decay: f64,
    /// A box around 0.
    pub region: Interval,
    /// Of each step, for 1 to 19 lanes; of any magnitude, subnormal ones and both zeros among them.
    pub gradients: Vec<Vec<f32>>,
    /// A lane or a step, to do something at, or a power of two.
    pub place: usize,
}

impl Training {
    /// That which these bytes are.
    pub fn decode(bytes: &[u8]) -> Self {
        let bytes = &mut Bytes::new(bytes);
        let (lanes, steps, place) = (1 + bytes.below(19), 1 + bytes.below(7), bytes.below(40));
        let lr = match bytes.below(8) {
            0 => 1e-30,
            _ => (14.0 * bytes.unit() - 12.0).exp2(),
        };
        let eps = match bytes.below(3) {
            0 => 0.0,
            1 => 1e-8,
            _ => bytes.unit(),
        };
        let rule = AdaRem {
            lr,
            beta: bytes.unit(),
            lambda: bytes.unit(),
            eps,
            ..AdaRem::default()
        };
        let decay = 0.5 * bytes.unit();
        let low = -2.0 * bytes.unit();
        let high = low + 3.0 * bytes.unit();
        let mut finite = core::iter::repeat_with(numbers::<f32>(bytes)).filter(|x| x.is_finite());
        Training {
            rule,
            decay,
            region: Interval { low, high },
            gradients: (0..steps)
                .map(|_| finite.by_ref().take(lanes).collect())
                .collect(),
            place,
        }
    }

    /// The same with gradients as training meets them: none is 0, and all magnitudes lie between 2^-6 and 2^4.
    #[must_use]
    pub fn ordinary(&self) -> Self {
        let mut training = self.clone();
        for x in training.gradients.iter_mut().flatten() {
            let exponent = x.to_bits() >> 23 & 0xff;
            *x = f32::from_bits(x.to_bits() & !(0xff << 23) | (121 + exponent % 10) << 23);
        }
        training
    }
}
