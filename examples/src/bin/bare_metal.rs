//! An adaptive filter, as a microcontroller or an audio plug-in would run it: no heap, no threads, no
//! operating system, a step of AdaRem for every sample.
//!
//! A loudspeaker's sound reaches a microphone through a room. The filter learns the room's echo from what
//! is played and what is heard, and takes it away from what is heard. All of it happens in arrays whose
//! sizes are known when the program is compiled; only the printing needs `std`.
//!
//! `cargo run --release --bin bare_metal`

use adarem::{AdaRem, ErrorKind, Host, Rule};

/// How many past samples the filter looks at.
const TAPS: usize = 32;

/// All the memory there is: three numbers for each tap, one of them AdaRem's.
struct Canceller {
    rule: AdaRem,
    taps: [f32; TAPS],
    past: [f32; TAPS],
    m: [f32; TAPS],
    carried: [f32; AdaRem::CARRIED],
    samples: u64,
}

impl Canceller {
    const fn new(rule: AdaRem) -> Self {
        Self {
            rule,
            taps: [0.0; TAPS],
            past: [0.0; TAPS],
            m: [0.0; TAPS],
            carried: [0.0; AdaRem::CARRIED],
            samples: 0,
        }
    }

    /// Takes a played and a heard sample, gives what is heard without the echo, and learns from it.
    fn sample(&mut self, played: f32, heard: f32) -> Result<f32, ErrorKind> {
        self.past.rotate_right(1);
        self.past[0] = played;
        let rest = heard - dot(&self.taps, &self.past);
        // The loss is half the square of the rest; its gradient by tap k is -rest * past[k].
        let grad = self.past.map(|x| -rest * x);
        let mut host = Host::new(&mut self.taps, &grad, [&mut self.m], &mut self.carried)?;
        self.rule.step(self.samples, &mut host);
        self.samples += 1;
        Ok(rest)
    }
}

fn dot(a: &[f32; TAPS], b: &[f32; TAPS]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn main() -> Result<(), ErrorKind> {
    let rule = AdaRem {
        lr: 0.05,
        ..Default::default()
    };
    rule.check()?;
    let mut canceller = Canceller::new(rule);
    // The room: the sound itself after 3 samples, and ever weaker echoes of it.
    let room: [f32; TAPS] = core::array::from_fn(|k| match k {
        0..3 => 0.0,
        k => 0.6 * 0.8_f32.powi(k as i32 - 3) * if k % 2 == 0 { -1.0 } else { 1.0 },
    });
    let mut noise = Noise(1);
    let mut past = [0.0; TAPS];
    println!(
        "An echo canceller of {TAPS} taps; {} bytes in all.",
        size_of::<Canceller>()
    );
    println!("samples   echo left");
    let (mut heard_power, mut left_power) = (0.0, 0.0);
    for sample in 1..=8000 {
        let played = noise.next();
        past.rotate_right(1);
        past[0] = played;
        let heard = dot(&room, &past);
        let left = canceller.sample(played, heard)?;
        heard_power += heard * heard;
        left_power += left * left;
        if sample % 1000 == 0 {
            println!(
                "{sample:7}   {:6.1} dB",
                10.0 * (left_power / heard_power).log10()
            );
            (heard_power, left_power) = (0.0, 0.0);
        }
    }
    Ok(())
}

/// White noise from -1 to 1: Marsaglia's xorshift of 32 bits.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as f32 / 2_147_483_648.0 - 1.0
    }
}
