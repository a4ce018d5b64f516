//! Affine and perspective warps.

use crate::{Frame, FrameMut, Sample};
use vedette_runtime::ThreadPool;

/// Rows a thread warps at least.
const ROWS_PER_PART: usize = 16;

/// Fills each pixel `(x, y)` of `out` with the image at `(u / w, v / w)`, where `(u, v, w)` is `matrix` times
/// `(x, y, 1)`, pixel centres at whole numbers. Bilinear or nearest; outside the image stands `fill`.
///
/// # Panics
/// Where channels differ or are more than four.
pub fn warp<T: Sample>(
    image: Frame<'_, T>,
    out: FrameMut<'_, T>,
    matrix: [[f64; 3]; 3],
    nearest: bool,
    fill: T,
    pool: &ThreadPool,
) {
    assert!(image.channels() == out.channels() && out.channels() <= 4);
    if out.is_empty() {
        return;
    }
    pool.run_ranges(out.height(), ROWS_PER_PART, 1, |range| {
        let mut target = Vec::new();
        for y in range {
            // SAFETY: the ranges are disjoint, so this row is this thread's alone.
            unsafe {
                out.write_row(y, &mut target, |row| match out.channels() {
                    1 => warp_row::<T, 1>(&image, &matrix, y, nearest, fill, row),
                    2 => warp_row::<T, 2>(&image, &matrix, y, nearest, fill, row),
                    3 => warp_row::<T, 3>(&image, &matrix, y, nearest, fill, row),
                    _ => warp_row::<T, 4>(&image, &matrix, y, nearest, fill, row),
                });
            }
        }
    });
}

fn warp_row<T: Sample, const C: usize>(
    image: &Frame<'_, T>,
    matrix: &[[f64; 3]; 3],
    y: usize,
    nearest: bool,
    fill: T,
    out: &mut [T],
) {
    let y = y as f64;
    for (x, pixel) in out.as_chunks_mut::<C>().0.iter_mut().enumerate() {
        let x = x as f64;
        let [u, v, w] = [0, 1, 2].map(|i| matrix[i][0] * x + matrix[i][1] * y + matrix[i][2]);
        let scale = if w == 0.0 { 0.0 } else { 1.0 / w };
        let (u, v) = (u * scale, v * scale);
        *pixel = if !(u.is_finite() && v.is_finite()) {
            [fill; C]
        } else if nearest {
            at(image, v.round(), u.round(), fill)
        } else {
            let (left, top) = (u.floor(), v.floor());
            let (along, down) = ((u - left) as f32, (v - top) as f32);
            let corners = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]
                .map(|(dy, dx)| at::<T, C>(image, top + dy, left + dx, fill));
            std::array::from_fn(|c| {
                let [a, b, d, e] = corners.map(|corner| corner[c].to_f32());
                let (above, below) = (a + along * (b - a), d + along * (e - d));
                T::from_f32(above + down * (below - above))
            })
        };
    }
}

#[inline(always)]
fn at<T: Sample, const C: usize>(image: &Frame<'_, T>, y: f64, x: f64, fill: T) -> [T; C] {
    // NaN compares false, and so counts as outside.
    if y >= 0.0 && x >= 0.0 && y < image.height() as f64 && x < image.width() as f64 {
        // SAFETY: just checked, and C is the number of channels.
        std::array::from_fn(|c| unsafe { image.get_unchecked(y as usize, x as usize, c) })
    } else {
        [fill; C]
    }
}

/// The matrix that undoes another, if there is one.
pub fn inverse(m: [[f64; 3]; 3]) -> Option<[[f64; 3]; 3]> {
    let minor = |r: usize, c: usize| {
        let [r0, r1] = [(r + 1) % 3, (r + 2) % 3];
        let [c0, c1] = [(c + 1) % 3, (c + 2) % 3];
        m[r0][c0] * m[r1][c1] - m[r0][c1] * m[r1][c0]
    };
    let determinant: f64 = (0..3).map(|c| m[0][c] * minor(0, c)).sum();
    let result = [0, 1, 2].map(|r| [0, 1, 2].map(|c| minor(c, r) / determinant));
    result.iter().flatten().all(|value| value.is_finite()).then_some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_steps_move_pixels_and_halves_mix_them() {
        let pixels: Vec<u8> = (0..12).map(|i| i * 20).collect();
        let image = Frame::packed(&pixels, [3, 4, 1]);
        let mut out = vec![0; 12];
        let shift = [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        warp(image, FrameMut::packed(&mut out, [3, 4, 1]), shift, false, 7, &ThreadPool::new(1));
        assert_eq!(out, [20, 40, 60, 7, 100, 120, 140, 7, 180, 200, 220, 7]);
        let half = [[1.0, 0.0, 0.5], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        warp(image, FrameMut::packed(&mut out, [3, 4, 1]), half, false, 0, &ThreadPool::new(1));
        assert_eq!(out[..4], [10, 30, 50, 30]);
        let undone = inverse(inverse(half).unwrap()).unwrap();
        assert!(undone.iter().flatten().zip(half.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-12));
        assert_eq!(inverse([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [0.0, 0.0, 1.0]]), None);
        warp(image, FrameMut::packed(&mut out, [3, 4, 1]), [[f64::NAN; 3]; 3], false, 9, &ThreadPool::new(1));
        assert_eq!(out, [9; 12]);
    }
}
