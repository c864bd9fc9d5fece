//! The choice of vector instructions, made at run time.

/// Vector instructions, from narrow to wide.
///
/// ```
/// use adarem_cpu::Simd;
///
/// assert!(Simd::widest() >= Simd::Baseline);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Simd {
    /// What every processor of the target has: SSE2 on x86-64, NEON on 64-bit Arm.
    Baseline,
    /// 256 bits, on x86-64.
    Avx2,
    /// 512 bits, on x86-64.
    Avx512,
}

impl Simd {
    /// The widest that this processor has.
    pub fn widest() -> Simd {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
            {
                return Simd::Avx512;
            }
            if is_x86_feature_detected!("avx2") {
                return Simd::Avx2;
            }
        }
        Simd::Baseline
    }

    /// Runs `job` compiled for these instructions.
    ///
    /// The job must be `#[inline(always)]` all the way down, or its loops keep the baseline's instructions.
    #[inline(always)]
    pub(crate) fn run<J: Job>(self, job: J) {
        match self {
            // SAFETY: `widest` found the features, and no wider value can be made than it returned.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => unsafe { avx512(job) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => unsafe { avx2(job) },
            _ => job.run::<128>(),
        }
    }
}

/// Work to be compiled once for each kind of vector instructions.
pub(crate) trait Job {
    /// Does it with vectors of `BITS` bits.
    ///
    /// The width must be part of the type of the loops within: then each has a single caller, and even a long
    /// one is inlined into it, where alone it gets the wide instructions.
    fn run<const BITS: usize>(self);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq")]
fn avx512<J: Job>(job: J) {
    job.run::<512>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2<J: Job>(job: J) {
    job.run::<256>()
}
