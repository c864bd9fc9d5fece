//! Loops written by hand: the speed of memory, and AdaRem with intrinsics.

use adarem_cpu::Simd;

/// Reads theta, grad and `S` state vectors and writes theta and the state vectors: the least that a rule with
/// so many of them must move, with next to no arithmetic.
pub fn stream<T: adarem::Element, const S: usize>(
    simd: Simd,
    theta: &mut [T],
    grad: &[T],
    state: [&mut [T]; S],
) {
    match simd {
        // SAFETY: the caller was given `simd` by the detection.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 => unsafe { stream_avx512(theta, grad, state) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => unsafe { stream_avx2(theta, grad, state) },
        _ => stream_plain(theta, grad, state),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq")]
fn stream_avx512<T: adarem::Element, const S: usize>(
    theta: &mut [T],
    grad: &[T],
    state: [&mut [T]; S],
) {
    stream_plain(theta, grad, state);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn stream_avx2<T: adarem::Element, const S: usize>(
    theta: &mut [T],
    grad: &[T],
    state: [&mut [T]; S],
) {
    stream_plain(theta, grad, state);
}

#[inline(always)]
fn stream_plain<T: adarem::Element, const S: usize>(
    theta: &mut [T],
    grad: &[T],
    mut state: [&mut [T]; S],
) {
    let len = theta.len();
    assert!(grad.len() == len && state.iter().all(|s| s.len() == len));
    for i in 0..len {
        // Every stream is read and every output depends on a read, so nothing can be left out.
        let mut x = theta[i] - grad[i];
        for s in &mut state {
            (x, s[i]) = (s[i], x);
        }
        theta[i] = x;
    }
}

/// The hyper-parameters of the AdaRem that is written by hand.
pub struct ByHand {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the past average.
    pub beta: f32,
    /// How strongly agreement counts.
    pub lambda: f32,
}

impl ByHand {
    /// One step of AdaRem with `inverse` = 1 / max|m|; returns the new max|m|. What does not fill a vector is left.
    pub fn step(
        &self,
        simd: Simd,
        inverse: f32,
        theta: &mut [f32],
        grad: &[f32],
        m: &mut [f32],
    ) -> f32 {
        assert!(grad.len() == theta.len() && m.len() == theta.len());
        match simd {
            // SAFETY: the caller was given `simd` by the detection.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => unsafe { self.avx512(inverse, theta, grad, m) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => unsafe { self.avx2(inverse, theta, grad, m) },
            _ => self.plain(inverse, theta, grad, m),
        }
    }

    fn plain(&self, inverse: f32, theta: &mut [f32], grad: &[f32], m: &mut [f32]) -> f32 {
        let mut largest = [0.0f32; 16];
        let rows = theta
            .as_chunks_mut::<16>()
            .0
            .iter_mut()
            .zip(grad.as_chunks::<16>().0);
        for ((theta, grad), m) in rows.zip(m.as_chunks_mut::<16>().0) {
            let (mut t, g, mut n) = (*theta, *grad, *m);
            for l in 0..16 {
                let sign = f32::from_bits(n[l].to_bits() ^ (g[l].to_bits() & 0x8000_0000));
                let a = 1.0 + self.lambda * (sign * inverse);
                t[l] -= self.lr * (a * g[l]);
                n[l] = self.beta * n[l] + (1.0 - self.beta) * g[l];
                largest[l] = if largest[l] < n[l].abs() {
                    n[l].abs()
                } else {
                    largest[l]
                };
            }
            (*theta, *m) = (t, n);
        }
        largest.into_iter().fold(0.0, f32::max)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512dq")]
    fn avx512(&self, inverse: f32, theta: &mut [f32], grad: &[f32], m: &mut [f32]) -> f32 {
        use std::arch::x86_64::*;
        let [lr, lambda, beta, rest, inverse, one, sign] = [
            self.lr,
            self.lambda,
            self.beta,
            1.0 - self.beta,
            inverse,
            1.0,
            -0.0,
        ]
        .map(|x| _mm512_set1_ps(x));
        let mut largest = _mm512_setzero_ps();
        for i in (0..theta.len() / 16 * 16).step_by(16) {
            // SAFETY: 16 elements from i lie within all three, which are of one length.
            unsafe {
                let t = _mm512_loadu_ps(theta.as_ptr().add(i));
                let g = _mm512_loadu_ps(grad.as_ptr().add(i));
                let n = _mm512_loadu_ps(m.as_ptr().add(i));
                let b = _mm512_mul_ps(_mm512_xor_ps(n, _mm512_and_ps(g, sign)), inverse);
                let a = _mm512_add_ps(one, _mm512_mul_ps(lambda, b));
                let t = _mm512_sub_ps(t, _mm512_mul_ps(lr, _mm512_mul_ps(a, g)));
                let n = _mm512_add_ps(_mm512_mul_ps(beta, n), _mm512_mul_ps(rest, g));
                _mm512_storeu_ps(theta.as_mut_ptr().add(i), t);
                _mm512_storeu_ps(m.as_mut_ptr().add(i), n);
                largest = _mm512_max_ps(_mm512_abs_ps(n), largest);
            }
        }
        _mm512_reduce_max_ps(largest)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn avx2(&self, inverse: f32, theta: &mut [f32], grad: &[f32], m: &mut [f32]) -> f32 {
        use std::arch::x86_64::*;
        let [lr, lambda, beta, rest, inverse, one, sign] = [
            self.lr,
            self.lambda,
            self.beta,
            1.0 - self.beta,
            inverse,
            1.0,
            -0.0,
        ]
        .map(|x| _mm256_set1_ps(x));
        let mut largest = _mm256_setzero_ps();
        for i in (0..theta.len() / 8 * 8).step_by(8) {
            // SAFETY: 8 elements from i lie within all three, which are of one length.
            unsafe {
                let t = _mm256_loadu_ps(theta.as_ptr().add(i));
                let g = _mm256_loadu_ps(grad.as_ptr().add(i));
                let n = _mm256_loadu_ps(m.as_ptr().add(i));
                let b = _mm256_mul_ps(_mm256_xor_ps(n, _mm256_and_ps(g, sign)), inverse);
                let a = _mm256_add_ps(one, _mm256_mul_ps(lambda, b));
                let t = _mm256_sub_ps(t, _mm256_mul_ps(lr, _mm256_mul_ps(a, g)));
                let n = _mm256_add_ps(_mm256_mul_ps(beta, n), _mm256_mul_ps(rest, g));
                _mm256_storeu_ps(theta.as_mut_ptr().add(i), t);
                _mm256_storeu_ps(m.as_mut_ptr().add(i), n);
                largest = _mm256_max_ps(_mm256_andnot_ps(sign, n), largest);
            }
        }
        let mut lanes = [0.0; 8];
        // SAFETY: the array holds 8 elements.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), largest) };
        lanes.into_iter().fold(0.0, f32::max)
    }
}
