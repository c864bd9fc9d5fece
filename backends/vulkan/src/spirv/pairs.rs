//! State of 16 bits, [packed](adarem::backend::packing): two neighbouring lanes in a word.
//!
//! A word has one owner, the invocation that works on both of its lanes, so words of 32 bits are all that is ever loaded
//! or stored, and no device needs a feature for less. Numbers are widened and narrowed on their bits; both ways are exact,
//! because a rule that has [`HALF`](adarem::Rule::HALF) leaves rounded numbers only.

use super::{Binding, Emitter, OWNED, Pushed, Tree, Values, slot};
use crate::asm::{class, op};
use adarem::{
    Half, Plan,
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

/// A packed state vector in one pass.
pub(super) struct Slot {
    binding: Binding,
    /// The op that is its number.
    read: Option<Id>,
    /// What it becomes, where it changes.
    written: Option<Id>,
}

impl Slot {
    /// Those that a pass of these ops reads or writes.
    pub(super) fn all(plan: &Plan, pass: &Pass, ops: &OpSet) -> Vec<Self> {
        let reads =
            |id: &Id, slot| matches!(plan.op(*id), Op::Slot(_, k) if usize::from(k) == slot);
        (0..plan.slots())
            .map(|k| Self {
                binding: slot(k),
                read: ops.iter().find(|id| reads(id, k)),
                written: pass.slot(k),
            })
            .filter(|slot| slot.read.is_some() || slot.written.is_some())
            .collect()
    }

    /// Its binding, if the pass writes it.
    pub(super) fn written(&self) -> Option<Binding> {
        self.written.map(|_| self.binding)
    }
}

/// A word that an invocation owns in this round.
#[derive(Clone, Copy)]
struct Place {
    /// Where it lies.
    at: u32,
    /// Whether its first lane is one of the tensor's.
    first: u32,
    /// Whether its second is.
    second: u32,
    /// Whether only its first is.
    alone: u32,
}

/// The words that an invocation owns in this round, and of each slot what they held.
pub(super) struct Words<'s> {
    half: Half,
    slots: &'s [Slot],
    places: [Place; WORDS],
    held: Vec<[u32; WORDS]>,
}

impl Emitter<'_> {
    /// Loads the words of the lanes at hand, whose numbers become values. What is only written is loaded just where a
    /// word's second lane is not one of the tensor's and must keep what it held.
    pub(super) fn load_pairs<'s>(
        &mut self,
        half: Half,
        slots: &'s [Slot],
        tree: &Tree,
        count: u32,
        values: &mut Values<OWNED>,
    ) -> Words<'s> {
        let start = self.pushed(Pushed::State);
        let places = core::array::from_fn(|w| {
            let [(lane, first), (next, second)] =
                [tree.lanes[LANES * w], tree.lanes[LANES * w + 1]];
            let at = self.bits_op(op::SHIFT_RIGHT_LOGICAL, lane, 1);
            Place {
                at: self.index(op::I_ADD, start, at),
                first,
                second,
                alone: self.m.test(op::I_EQUAL, next, count),
            }
        });
        let (word, nothing) = (self.m.u32(), self.m.word(0));
        let held: Vec<[u32; WORDS]> = slots
            .iter()
            .map(|slot| {
                places.map(|place| {
                    let wanted = slot.read.map_or(place.alone, |_| place.first);
                    let there = self.m.begin_if(wanted);
                    let held = self.load_word(slot.binding, place.at);
                    self.m.end_if_with(there, word, &[held], nothing)[0]
                })
            })
            .collect();
        for (slot, held) in slots.iter().zip(&held) {
            if let Some(id) = slot.read {
                let [one, two] = held.map(|word| self.unpack(half, word));
                values.set(id, [one[0], one[1], two[0], two[1]]);
            }
        }
        Words {
            half,
            slots,
            places,
            held,
        }
    }

    /// Stores what the slots become.
    pub(super) fn store_pairs(&mut self, words: &Words<'_>, values: &Values<OWNED>) {
        let u32 = self.m.u32();
        for (w, place) in words.places.iter().enumerate() {
            let there = self.m.begin_if(place.first);
            for (slot, held) in words.slots.iter().zip(&words.held) {
                let Some(id) = slot.written else { continue };
                let lanes = values.get(id);
                let [low, high] = self.pack(words.half, [lanes[LANES * w], lanes[LANES * w + 1]]);
                let kept = self.bits_op(op::BITWISE_AND, held[w], UPPER);
                let high = self.m.op(op::SELECT, u32, &[place.second, high, kept]);
                let word = self.index(op::BITWISE_OR, low, high);
                let (variable, zero) = (self.buffer(slot.binding, u32, 4), self.m.word(0));
                let path = [zero, place.at];
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

    /// The halves of the word that holds two numbers, each where it lies in it.
    fn pack(&mut self, half: Half, numbers: [u32; LANES]) -> [u32; LANES] {
        match half {
            Half::Bf16 => {
                let [low, high] = numbers.map(|x| self.cut(x));
                [
                    self.bits_op(op::SHIFT_RIGHT_LOGICAL, low, 16),
                    self.bits_op(op::BITWISE_AND, high, UPPER),
                ]
            }
            Half::F16 => {
                let [low, high] = numbers.map(|x| self.narrowed(x));
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

    /// The bits of an `f16` of this value.
    fn narrowed(&mut self, x: u32) -> u32 {
        let sign = self.bits(x);
        let sign = self.bits_op(op::SHIFT_RIGHT_LOGICAL, sign, 16);
        let sign = self.bits_op(op::BITWISE_AND, sign, 0x8000);
        let magnitude = self.magnitude(x);
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
        let finite = self.m.op(op::SELECT, u32, &[is_normal, normal, subnormal]);
        let is_infinite = self.above(magnitude, 65504f32.to_bits());
        let number = self.chosen(is_infinite, 0x7c00, finite);
        let is_nan = self.above(magnitude, f32::INFINITY.to_bits());
        let all = self.chosen(is_nan, 0x7e00, number);
        self.index(op::BITWISE_OR, all, sign)
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
