//! The oracle.

/// `a x b` of row-major `[m, k]` and `[k, n]`, summed in double precision.
pub fn matmul(a: &[f32], b: &[f32], (m, k, n): (usize, usize, usize)) -> Vec<f32> {
    let mut out = Vec::with_capacity(m * n);
    for i in 0..m {
        for j in 0..n {
            let sum: f64 = (0..k).map(|l| f64::from(a[i * k + l]) * f64::from(b[l * n + j])).sum();
            out.push(sum as f32);
        }
    }
    out
}
