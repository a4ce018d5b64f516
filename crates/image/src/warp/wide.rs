//! Warps in `f32`, of any elements, and the nearest pixels of any.

use super::Warp;
use crate::{Frame, FrameMut, Sample};
use std::ops::Range;
use vedette_simd::{Isa, dispatch};

/// Fills the rows `range`.
///
/// # Safety
/// No other thread writes these rows.
pub(super) unsafe fn rows<T: Sample>(
    isa: Isa,
    image: &Frame<'_, T>,
    out: &FrameMut<'_, T>,
    warp: &Warp<T>,
    range: Range<usize>,
) {
    let mut target = Vec::new();
    for y in range {
        // SAFETY: granted by the caller.
        unsafe {
            out.write_row(y, &mut target, |row| {
                dispatch!(isa, S => match out.channels() {
                    1 => warp_row::<S, T, 1>(image, warp, y, row),
                    2 => warp_row::<S, T, 2>(image, warp, y, row),
                    3 => warp_row::<S, T, 3>(image, warp, y, row),
                    _ => warp_row::<S, T, 4>(image, warp, y, row),
                });
            });
        }
    }
}

/// Pixels whose places are found together.
const BLOCK: usize = 64;

/// Where the pixels of a block come from.
struct Places {
    u: [f64; BLOCK],
    v: [f64; BLOCK],
    /// Whole parts, where all four corners lie inside.
    left: [i32; BLOCK],
    top: [i32; BLOCK],
    /// What is left of them.
    along: [f32; BLOCK],
    down: [f32; BLOCK],
    inside: [bool; BLOCK],
}

impl Places {
    /// The places of the pixels from `(x, y)` on; those above and left of `bounds` are inside.
    #[inline(always)]
    fn find(&mut self, matrix: &[[f64; 3]; 3], x: usize, y: f64, bounds: [f64; 2]) {
        let affine = matrix[2] == [0.0, 0.0, 1.0];
        for i in 0..BLOCK {
            let x = f64::from((x + i) as u32);
            self.u[i] = matrix[0][0] * x + matrix[0][1] * y + matrix[0][2];
            self.v[i] = matrix[1][0] * x + matrix[1][1] * y + matrix[1][2];
        }
        if !affine {
            for i in 0..BLOCK {
                let x = f64::from((x + i) as u32);
                let w = matrix[2][0] * x + matrix[2][1] * y + matrix[2][2];
                let scale = if w == 0.0 { 0.0 } else { 1.0 / w };
                self.u[i] *= scale;
                self.v[i] *= scale;
            }
        }
        for i in 0..BLOCK {
            let (u, v) = (self.u[i], self.v[i]);
            let (left, top) = (u.floor(), v.floor());
            self.along[i] = (u - left) as f32;
            self.down[i] = (v - top) as f32;
            // NaN compares false, and so counts as outside.
            self.inside[i] = left >= 0.0 && top >= 0.0 && left < bounds[1] && top < bounds[0];
            // SAFETY: `max` passes over NaN, so that these lie within the image.
            unsafe {
                self.left[i] = left.max(0.0).min(bounds[1]).to_int_unchecked();
                self.top[i] = top.max(0.0).min(bounds[0]).to_int_unchecked();
            }
        }
    }
}

#[inline(always)]
fn warp_row<S, T: Sample, const C: usize>(image: &Frame<'_, T>, warp: &Warp<T>, y: usize, out: &mut [T]) {
    let _level = std::marker::PhantomData::<S>;
    let mut places = Places {
        u: [0.0; BLOCK],
        v: [0.0; BLOCK],
        left: [0; BLOCK],
        top: [0; BLOCK],
        along: [0.0; BLOCK],
        down: [0.0; BLOCK],
        inside: [false; BLOCK],
    };
    let limit = |side: usize| (side as f64 - 1.0).clamp(0.0, f64::from(i32::MAX / 2));
    let bounds = [limit(image.height()), limit(image.width())];
    let pixels = out.as_chunks_mut::<C>().0;
    for (block, pixels) in pixels.chunks_mut(BLOCK).enumerate() {
        places.find(&warp.matrix, block * BLOCK, y as f64, bounds);
        for (i, pixel) in pixels.iter_mut().enumerate() {
            let (u, v) = (places.u[i], places.v[i]);
            *pixel = if warp.nearest {
                at(image, v.round(), u.round(), warp.fill)
            } else if places.inside[i] {
                let (y, x) = (places.top[i] as usize, places.left[i] as usize);
                let corners = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(dy, dx)| {
                    // SAFETY: all four corners lie inside.
                    std::array::from_fn(|c| unsafe { image.get_unchecked(y + dy, x + dx, c) })
                });
                mix::<T, C>(&corners, places.along[i], places.down[i])
            } else if u >= -1.0 && v >= -1.0 && u < image.width() as f64 && v < image.height() as f64 {
                // Some corners may lie inside.
                let (left, top) = (u.floor(), v.floor());
                let corners = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]
                    .map(|(dy, dx)| at::<T, C>(image, top + dy, left + dx, warp.fill));
                mix(&corners, places.along[i], places.down[i])
            } else {
                [warp.fill; C]
            };
        }
    }
}

#[inline(always)]
fn mix<T: Sample, const C: usize>([a, b, d, e]: &[[T; C]; 4], along: f32, down: f32) -> [T; C] {
    std::array::from_fn(|c| {
        let [a, b, d, e] = [a, b, d, e].map(|corner| corner[c].to_f32());
        let (above, below) = (a + along * (b - a), d + along * (e - d));
        T::from_f32(above + down * (below - above))
    })
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
