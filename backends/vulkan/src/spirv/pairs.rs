//! Numbers of 16 bits: two neighbouring lanes in a word. They are state, [packed](adarem::backend::packing), and in
//! [mixed precision](super::Target::mixed) gradients, and parameters that become what theta becomes.
//!
//! A word has one owner, the invocation that works on both of its lanes, so words of 32 bits are all that is ever loaded
//! or stored, and no device needs a feature for less. Numbers are widened and narrowed on their bits. Both ways are exact
//! for state, because a rule that has [`HALF`](adarem::Rule::HALF) leaves rounded numbers only. Parameters are rounded
//! here, to what [`Stored::store`](adarem::Stored::store) makes of theta: by integers, so that neither the rounding nor
//! the subnormal numbers of a device show.

use super::{Binding, Emitter, GRAD, OWNED, PUSHED, Pushed, Tree, Values, piece_params, slot};
use crate::asm::{class, op};
use adarem::{
    Half,
    plan::{Id, Op, OpSet, Pass},
};

/// Lanes of a word.
pub(super) const LANES: usize = 2;
/// Words that an invocation owns in a round.
const WORDS: usize = OWNED / LANES;

/// The half of a word that holds the second lane.
const UPPER: u32 = 0xffff_0000;
/// What the exponent of an `f32` is larger by than that of an `f16`.
const REBIAS: u32 = 112 << 23;

/// A vector of such numbers in one pass.
pub(super) struct Vector {
    binding: Binding,
    half: Half,
    /// Where its first word lies within the binding.
    start: Pushed,
    /// The op that is its number.
    read: Option<Id>,
    /// What it becomes, where it changes.
    written: Option<Id>,
    /// Whether what it becomes may have more places than the type, and is rounded.
    rounds: bool,
}

impl Vector {
    /// Its binding, if the pass writes it.
    pub(super) fn written(&self) -> Option<Binding> {
        self.written.map(|_| self.binding)
    }
}

/// A word that an invocation owns in this round.
#[derive(Clone, Copy)]
struct Place {
    /// Where it lies within a binding, for each place at which a vector may start.
    at: [u32; PUSHED],
    /// Whether its first lane is one of the tensor's.
    first: u32,
    /// Whether its second is.
    second: u32,
    /// Whether only its first is.
    alone: u32,
}

impl Place {
    /// Where the word of a vector lies.
    fn of(&self, vector: &Vector) -> u32 {
        self.at[vector.start as usize]
    }
}

/// The words that an invocation owns in this round, and of each vector what they held.
pub(super) struct Words<'v> {
    vectors: &'v [Vector],
    places: [Place; WORDS],
    held: Vec<[u32; WORDS]>,
}

impl Emitter<'_> {
    /// The vectors of 16 bits that a pass of these ops reads or writes.
    pub(super) fn vectors(&self, pass: &Pass, ops: &OpSet) -> Vec<Vector> {
        let plan = self.plan;
        let read = |wanted: &dyn Fn(Op) -> bool| ops.iter().find(|&id| wanted(plan.op(id)));
        let state = self.packed.into_iter().flat_map(|half| {
            (0..plan.slots()).map(move |k| Vector {
                binding: slot(k),
                half,
                start: Pushed::State,
                read: read(&|op| matches!(op, Op::Slot(_, j) if usize::from(j) == k)),
                written: pass.slot(k),
                rounds: false,
            })
        });
        let lent = self.mixed.into_iter().flat_map(|half| {
            let grad = Vector {
                binding: GRAD,
                half,
                start: Pushed::Grad,
                read: read(&|op| matches!(op, Op::Grad(_))),
                written: None,
                rounds: false,
            };
            let params = Vector {
                binding: Binding(0, piece_params(plan.slots())),
                half,
                start: Pushed::Params,
                read: None,
                written: pass.theta(),
                rounds: true,
            };
            [grad, params]
        });
        state
            .chain(lent)
            .filter(|vector| vector.read.is_some() || vector.written.is_some())
            .collect()
    }

    /// Loads the words of the lanes at hand, whose numbers become values. What is only written is loaded just where a
    /// word's second lane is not one of the tensor's and must keep what it held.
    pub(super) fn load_pairs<'v>(
        &mut self,
        vectors: &'v [Vector],
        tree: &Tree,
        count: u32,
        values: &mut Values<OWNED>,
    ) -> Words<'v> {
        let mut starts: Vec<(Pushed, u32)> = Vec::new();
        for vector in vectors {
            if starts.iter().all(|&(known, _)| known != vector.start) {
                starts.push((vector.start, self.pushed(vector.start)));
            }
        }
        let places = core::array::from_fn(|w| {
            let [(lane, first), (next, second)] =
                [tree.lanes[LANES * w], tree.lanes[LANES * w + 1]];
            let word = self.bits_op(op::SHIFT_RIGHT_LOGICAL, lane, 1);
            let mut at = [0; PUSHED];
            for &(pushed, start) in &starts {
                at[pushed as usize] = self.index(op::I_ADD, start, word);
            }
            Place {
                at,
                first,
                second,
                alone: self.m.test(op::I_EQUAL, next, count),
            }
        });
        let (word, nothing) = (self.m.u32(), self.m.word(0));
        let held: Vec<[u32; WORDS]> = vectors
            .iter()
            .map(|vector| {
                places.map(|place| {
                    let wanted = vector.read.map_or(place.alone, |_| place.first);
                    let there = self.m.begin_if(wanted);
                    let held = self.load_word(vector.binding, place.of(vector));
                    self.m.end_if_with(there, word, &[held], nothing)[0]
                })
            })
            .collect();
        for (vector, held) in vectors.iter().zip(&held) {
            if let Some(id) = vector.read {
                let [one, two] = held.map(|word| self.unpack(vector.half, word));
                values.set(id, [one[0], one[1], two[0], two[1]]);
            }
        }
        Words {
            vectors,
            places,
            held,
        }
    }

    /// Stores what the vectors become.
    pub(super) fn store_pairs(&mut self, words: &Words<'_>, values: &Values<OWNED>) {
        let u32 = self.m.u32();
        for (w, place) in words.places.iter().enumerate() {
            let there = self.m.begin_if(place.first);
            for (vector, held) in words.vectors.iter().zip(&words.held) {
                let Some(id) = vector.written else { continue };
                let lanes = values.get(id);
                let [low, high] = self.pack(vector, [lanes[LANES * w], lanes[LANES * w + 1]]);
                let kept = self.bits_op(op::BITWISE_AND, held[w], UPPER);
                let high = self.m.op(op::SELECT, u32, &[place.second, high, kept]);
                let word = self.index(op::BITWISE_OR, low, high);
                let (variable, zero) = (self.buffer(vector.binding, u32, 4), self.m.word(0));
                let path = [zero, place.of(vector)];
                let storage = class::STORAGE_BUFFER;
                self.m.store(storage, u32, variable, &path, word);
            }
            self.m.end_if(there);
        }
    }

    /// The two numbers of a word, in the order of their lanes.
    fn unpack(&mut self, half: Half, word: u32) -> [u32; LANES] {
        let bits = match half {
            Half::Bf16 => [
                self.bits_op(op::SHIFT_LEFT_LOGICAL, word, 16),
                self.bits_op(op::BITWISE_AND, word, UPPER),
            ],
            Half::F16 => [
                self.bits_op(op::BITWISE_AND, word, !UPPER),
                self.bits_op(op::SHIFT_RIGHT_LOGICAL, word, 16),
            ]
            .map(|bits| self.widened(bits)),
        };
        bits.map(|bits| self.m.op(op::BITCAST, self.real, &[bits]))
    }

    /// The halves of a vector's word that holds two numbers, each where it lies in it.
    fn pack(&mut self, vector: &Vector, numbers: [u32; LANES]) -> [u32; LANES] {
        match vector.half {
            Half::Bf16 => {
                let [low, high] = numbers.map(|x| match vector.rounds {
                    true => self.rounded(x),
                    false => self.cut(x),
                });
                [
                    self.bits_op(op::SHIFT_RIGHT_LOGICAL, low, 16),
                    self.bits_op(op::BITWISE_AND, high, UPPER),
                ]
            }
            Half::F16 => {
                let [low, high] = numbers.map(|x| self.narrowed(x, vector.rounds));
                [low, self.bits_op(op::SHIFT_LEFT_LOGICAL, high, 16)]
            }
        }
    }

    /// The bits of a number that is to lose the lower half of them. What tells a NaN from infinity may lie there.
    fn cut(&mut self, x: u32) -> u32 {
        let (bits, magnitude) = (self.bits(x), self.magnitude(x));
        let is_nan = self.above(magnitude, f32::INFINITY.to_bits());
        self.chosen(is_nan, 0x7fc0_0000, bits)
    }

    /// The same, but what is left are the bits of the nearest number. A NaN keeps its sign and what fits of the rest.
    fn rounded(&mut self, x: u32) -> u32 {
        let (bits, magnitude) = (self.bits(x), self.magnitude(x));
        let kept = self.bits_op(op::SHIFT_RIGHT_LOGICAL, bits, 16);
        let below_half = self.m.word(0x7fff);
        let nearest = self.moved_to_nearest(bits, kept, below_half);
        let nan = self.bits_op(op::BITWISE_OR, bits, 0x0040_0000);
        let is_nan = self.above(magnitude, f32::INFINITY.to_bits());
        let u32 = self.m.u32();
        self.m.op(op::SELECT, u32, &[is_nan, nan, nearest])
    }

    /// Bits that are about to lose their last places, moved so that `kept`, which is what they keep as they are, becomes
    /// the nearest; of two the even one. The largest loss of less than half a place is `below_half`.
    fn moved_to_nearest(&mut self, bits: u32, kept: u32, below_half: u32) -> u32 {
        let odd = self.bits_op(op::BITWISE_AND, kept, 1);
        let by = self.index(op::I_ADD, below_half, odd);
        self.index(op::I_ADD, bits, by)
    }

    /// The bits of an `f32` from those of the `f16` of its value.
    fn widened(&mut self, bits: u32) -> u32 {
        let sign = self.bits_op(op::BITWISE_AND, bits, 0x8000);
        let sign = self.bits_op(op::SHIFT_LEFT_LOGICAL, sign, 16);
        let magnitude = self.bits_op(op::BITWISE_AND, bits, 0x7fff);
        let shifted = self.bits_op(op::SHIFT_LEFT_LOGICAL, magnitude, 13);
        let normal = self.bits_op(op::I_ADD, shifted, REBIAS);
        let special = self.bits_op(op::BITWISE_OR, shifted, f32::INFINITY.to_bits());
        // A subnormal number counts units of 2^-24: as a float it is normal, and its exponent goes down by 24.
        let float = self.m.op(op::CONVERT_U_TO_F, self.real, &[magnitude]);
        let float = self.bits(float);
        let subnormal = self.bits_op(op::I_SUB, float, 24 << 23);
        let u32 = self.m.u32();
        let is_normal = self.above(magnitude, 0x3ff);
        let finite = self.m.op(op::SELECT, u32, &[is_normal, normal, subnormal]);
        let is_special = self.above(magnitude, 0x7bff);
        let all = self.m.op(op::SELECT, u32, &[is_special, special, finite]);
        let nothing = self.m.word(0);
        let is_zero = self.m.test(op::I_EQUAL, magnitude, nothing);
        let all = self.chosen(is_zero, 0, all);
        self.index(op::BITWISE_OR, all, sign)
    }

    /// The bits of an `f16`: of this value, or where it `rounds`, of the nearest.
    fn narrowed(&mut self, x: u32, rounds: bool) -> u32 {
        let sign = self.bits(x);
        let sign = self.bits_op(op::SHIFT_RIGHT_LOGICAL, sign, 16);
        let sign = self.bits_op(op::BITWISE_AND, sign, 0x8000);
        let magnitude = self.magnitude(x);
        let (finite, largest) = match rounds {
            // Half a place above the largest number lies the first that rounds to infinity.
            true => (self.nearest(magnitude), 65520f32.to_bits() - 1),
            false => (self.equal(magnitude), 65504f32.to_bits()),
        };
        let is_infinite = self.above(magnitude, largest);
        let number = self.chosen(is_infinite, 0x7c00, finite);
        let is_nan = self.above(magnitude, f32::INFINITY.to_bits());
        let all = self.chosen(is_nan, 0x7e00, number);
        self.index(op::BITWISE_OR, all, sign)
    }

    /// The bits of the `f16` that is equal to an `f32` of this magnitude.
    fn equal(&mut self, magnitude: u32) -> u32 {
        let normal = self.bits_op(op::I_SUB, magnitude, REBIAS);
        let normal = self.bits_op(op::SHIFT_RIGHT_LOGICAL, normal, 13);
        // Beside 1/2 an f32 has just the places of a subnormal, so the sum is exact; none of the three is subnormal.
        let (positive, half) = (
            self.m.op(op::BITCAST, self.real, &[magnitude]),
            self.literal(0.5),
        );
        let beside = self.m.float(op::F_ADD, self.real, &[positive, half]);
        let beside = self.bits(beside);
        let subnormal = self.bits_op(op::I_SUB, beside, 0.5f32.to_bits());
        let u32 = self.m.u32();
        let is_normal = self.above(magnitude, (113 << 23) - 1);
        self.m.op(op::SELECT, u32, &[is_normal, normal, subnormal])
    }

    /// The bits of the `f16` that is nearest to an `f32` of this magnitude, if that is finite.
    fn nearest(&mut self, magnitude: u32) -> u32 {
        let exponent = self.bits_op(op::SHIFT_RIGHT_LOGICAL, magnitude, 23);
        let fraction = self.bits_op(op::BITWISE_AND, magnitude, 0x007f_ffff);
        let fraction = self.bits_op(op::BITWISE_OR, fraction, 0x0080_0000);
        // From an exponent of 113 on the f16 is normal and loses 13 of 24 places. Below, it loses one more for each, up to
        // 25, where no fraction leaves anything: nor does that of a subnormal f32, which has no leading 1.
        let is_higher = self.above(exponent, 113);
        let at_most = self.chosen(is_higher, 113, exponent);
        let is_near = self.above(at_most, 101);
        let (u32, least) = (self.m.u32(), self.m.word(101));
        let clamped = self.m.op(op::SELECT, u32, &[is_near, at_most, least]);
        let last = self.m.word(126);
        let lost = self.index(op::I_SUB, last, clamped);
        let kept = self.index(op::SHIFT_RIGHT_LOGICAL, fraction, lost);
        // So many ones are one fewer than are lost.
        let (ones, others) = (self.m.word(u32::MAX), self.bits_op(op::I_SUB, clamped, 93));
        let below_half = self.index(op::SHIFT_RIGHT_LOGICAL, ones, others);
        let rounded = self.moved_to_nearest(fraction, kept, below_half);
        let rounded = self.index(op::SHIFT_RIGHT_LOGICAL, rounded, lost);
        // The leading 1 counts as the first exponent of a normal f16, so only what lies above that is added. A fraction
        // that was rounded up to 2 carries over into the exponent.
        let further = self.index(op::I_SUB, exponent, at_most);
        let further = self.bits_op(op::SHIFT_LEFT_LOGICAL, further, 10);
        self.index(op::I_ADD, further, rounded)
    }

    fn magnitude(&mut self, x: u32) -> u32 {
        self.masked(op::BITWISE_AND, x, self.format.sign() - 1)
    }

    fn bits_op(&mut self, op: u32, bits: u32, by: u32) -> u32 {
        let by = self.m.word(by);
        self.index(op, bits, by)
    }

    /// Whether bits are above these.
    fn above(&mut self, bits: u32, limit: u32) -> u32 {
        let limit = self.m.word(limit);
        self.m.test(op::U_GREATER_THAN, bits, limit)
    }

    /// These bits where the condition holds, else the others.
    fn chosen(&mut self, condition: u32, bits: u32, otherwise: u32) -> u32 {
        let (u32, bits) = (self.m.u32(), self.m.word(bits));
        self.m.op(op::SELECT, u32, &[condition, bits, otherwise])
    }
}
