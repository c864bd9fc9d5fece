//! The three matrix products of a layer and its gradient.
//!
//! Each inner loop runs over neighbouring numbers, so that the compiler turns it into vector
//! instructions; the order of every sum is fixed by the code, so the bits are the same everywhere.

/// `out = a * b`, where `a` is `rows x inner` and `b` is `inner x columns`.
pub fn product(out: &mut [f32], a: &[f32], b: &[f32], inner: usize, columns: usize) {
    out.fill(0.0);
    add_product(out, a, b, inner, columns);
}

/// `out += a * b`, where `a` is `rows x inner` and `b` is `inner x columns`.
pub fn add_product(out: &mut [f32], a: &[f32], b: &[f32], inner: usize, columns: usize) {
    for (out_row, a_row) in out.chunks_exact_mut(columns).zip(a.chunks_exact(inner)) {
        for (&x, b_row) in a_row.iter().zip(b.chunks_exact(columns)) {
            add_scaled(out_row, x, b_row);
        }
    }
}

/// `out += transposed(a) * b`, where `a` is `rows x outer` and `b` is `rows x columns`: the gradient
/// of a weight from its input and the gradient of its output.
pub fn add_transposed_product(out: &mut [f32], a: &[f32], b: &[f32], outer: usize, columns: usize) {
    for (a_row, b_row) in a.chunks_exact(outer).zip(b.chunks_exact(columns)) {
        for (out_row, &x) in out.chunks_exact_mut(columns).zip(a_row) {
            add_scaled(out_row, x, b_row);
        }
    }
}

/// `out = a * transposed(b)`, where `a` is `rows x inner` and `b` is `columns x inner`: the gradient
/// of a layer's input from the gradient of its output and the weight.
pub fn product_transposed(out: &mut [f32], a: &[f32], b: &[f32], inner: usize, columns: usize) {
    for (out_row, a_row) in out.chunks_exact_mut(columns).zip(a.chunks_exact(inner)) {
        for (y, b_row) in out_row.iter_mut().zip(b.chunks_exact(inner)) {
            *y = dot(a_row, b_row);
        }
    }
}

/// `out = the sum of the rows of a`.
pub fn sum_rows(out: &mut [f32], a: &[f32]) {
    out.fill(0.0);
    for row in a.chunks_exact(out.len()) {
        add_scaled(out, 1.0, row);
    }
}

/// `y += x * row`.
fn add_scaled(y: &mut [f32], x: f32, row: &[f32]) {
    for (y, &r) in y.iter_mut().zip(row) {
        *y += x * r;
    }
}

/// The scalar product, summed in eight interleaved parts: a single running sum would make each
/// addition wait for the one before it.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const PARTS: usize = 8;
    let mut sums = [0.0; PARTS];
    let (a, a_rest) = a.as_chunks::<PARTS>();
    let (b, b_rest) = b.as_chunks::<PARTS>();
    for (a, b) in a.iter().zip(b) {
        for k in 0..PARTS {
            sums[k] += a[k] * b[k];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entry by entry from the definition, in f64.
    fn by_definition(a: impl Fn(usize, usize) -> f32, b: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        let entry = |r, c| {
            (0..INNER)
                .map(|i| f64::from(a(r, i)) * f64::from(b(i, c)))
                .sum::<f64>()
        };
        (0..ROWS * COLUMNS)
            .map(|k| entry(k / COLUMNS, k % COLUMNS) as f32)
            .collect()
    }

    const ROWS: usize = 5;
    const INNER: usize = 11;
    const COLUMNS: usize = 3;

    fn numbers(len: usize, seed: u64) -> Vec<f32> {
        let mut rng = fastrand::Rng::with_seed(seed);
        (0..len).map(|_| rng.f32() - 0.5).collect()
    }

    fn assert_close(got: &[f32], want: &[f32]) {
        assert_eq!(got.len(), want.len());
        for (g, w) in got.iter().zip(want) {
            assert!((g - w).abs() < 1e-6, "{g} is not {w}");
        }
    }

    #[test]
    fn products_match_their_definition() {
        let (a, b) = (numbers(ROWS * INNER, 1), numbers(INNER * COLUMNS, 2));
        let want = by_definition(|r, i| a[r * INNER + i], |i, c| b[i * COLUMNS + c]);
        let mut out = vec![9.0; ROWS * COLUMNS];
        product(&mut out, &a, &b, INNER, COLUMNS);
        assert_close(&out, &want);

        let b_transposed: Vec<f32> = (0..COLUMNS * INNER)
            .map(|k| b[(k % INNER) * COLUMNS + k / INNER])
            .collect();
        product_transposed(&mut out, &a, &b_transposed, INNER, COLUMNS);
        assert_close(&out, &want);

        let a_transposed: Vec<f32> = (0..INNER * ROWS)
            .map(|k| a[(k % ROWS) * INNER + k / ROWS])
            .collect();
        let mut out = vec![0.0; ROWS * COLUMNS];
        add_transposed_product(&mut out, &a_transposed, &b, ROWS, COLUMNS);
        assert_close(&out, &want);
        add_transposed_product(&mut out, &a_transposed, &b, ROWS, COLUMNS);
        assert_close(&out, &want.iter().map(|w| 2.0 * w).collect::<Vec<_>>());
    }

    #[test]
    fn rows_are_summed() {
        let mut out = [7.0; 2];
        sum_rows(&mut out, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(out, [9.0, 12.0]);
    }
}
