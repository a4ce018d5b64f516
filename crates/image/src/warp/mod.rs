//! Affine and perspective warps: bytes in fixed point, wider elements in `f32`.

mod bytes;
mod wide;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::{Frame, FrameMut, Sample};
use std::ops::Range;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

/// Rows a thread warps at least.
const ROWS_PER_PART: usize = 16;

/// Which pixel of an image each of another comes from.
#[derive(Clone, Copy, Debug)]
pub struct Warp<T> {
    /// From `(x, y, 1)` of the result to `(u, v, w)`; the place is `(u / w, v / w)`, pixel centres at whole numbers.
    pub matrix: [[f64; 3]; 3],
    /// The nearest pixel, instead of what lies between four.
    pub nearest: bool,
    /// What stands outside the image.
    pub fill: T,
}

/// An element type that images are warped in.
pub trait Warped: Sample {
    /// Fills the rows `range`.
    ///
    /// # Safety
    /// No other thread writes these rows.
    #[doc(hidden)]
    unsafe fn warp(
        isa: Isa,
        image: &Frame<'_, Self>,
        out: &FrameMut<'_, Self>,
        warp: &Warp<Self>,
        range: Range<usize>,
    );
}

macro_rules! wide {
    ($type:ty) => {
        impl Warped for $type {
            unsafe fn warp(
                isa: Isa,
                image: &Frame<'_, $type>,
                out: &FrameMut<'_, $type>,
                warp: &Warp<$type>,
                range: Range<usize>,
            ) {
                // SAFETY: granted by the caller.
                unsafe { wide::rows(isa, image, out, warp, range) }
            }
        }
    };
}

wide!(u16);
wide!(f32);

impl Warped for u8 {
    unsafe fn warp(
        isa: Isa,
        image: &Frame<'_, u8>,
        out: &FrameMut<'_, u8>,
        warp: &Warp<u8>,
        range: Range<usize>,
    ) {
        // SAFETY: granted by the caller.
        unsafe {
            if warp.nearest || !bytes::takes(image) {
                wide::rows(isa, image, out, warp, range);
            } else {
                bytes::rows(isa, image, out, warp, range);
            }
        }
    }
}

/// Fills each pixel of `out`.
///
/// # Panics
/// Where channels differ or are more than four.
pub fn warp<T: Warped>(
    isa: Isa,
    image: Frame<'_, T>,
    out: FrameMut<'_, T>,
    warp: &Warp<T>,
    pool: &ThreadPool,
) {
    assert!(image.channels() == out.channels() && out.channels() <= 4);
    if out.is_empty() {
        return;
    }
    pool.run_ranges(out.height(), ROWS_PER_PART, 1, |range| {
        // SAFETY: the ranges are disjoint.
        unsafe { T::warp(isa, &image, &out, warp, range) }
    });
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
mod tests;
