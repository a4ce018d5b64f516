//! Affine and perspective warps.

use crate::{Frame, FrameMut, Sample};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, Scalar, dispatch};

/// Rows a thread warps at least.
const ROWS_PER_PART: usize = 16;

/// Fills each pixel `(x, y)` of `out` with the image at `(u / w, v / w)`, where `(u, v, w)` is `matrix` times
/// `(x, y, 1)`, pixel centres at whole numbers. Bilinear or nearest; outside the image stands `fill`.
///
/// # Panics
/// Where channels differ or are more than four.
pub fn warp<T: Sample>(
    isa: Isa,
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
                out.write_row(y, &mut target, |row| {
                    dispatch!(isa, S => match out.channels() {
                        1 => warp_row::<S, T, 1>(&image, &matrix, y, nearest, fill, row),
                        2 => warp_row::<S, T, 2>(&image, &matrix, y, nearest, fill, row),
                        3 => warp_row::<S, T, 3>(&image, &matrix, y, nearest, fill, row),
                        _ => warp_row::<S, T, 4>(&image, &matrix, y, nearest, fill, row),
                    });
                });
            }
        }
    });
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
fn warp_row<S: Mixing, T: Sample, const C: usize>(
    image: &Frame<'_, T>,
    matrix: &[[f64; 3]; 3],
    y: usize,
    nearest: bool,
    fill: T,
    out: &mut [T],
) {
    let mut places = Places {
        u: [0.0; BLOCK],
        v: [0.0; BLOCK],
        left: [0; BLOCK],
        top: [0; BLOCK],
        along: [0.0; BLOCK],
        down: [0.0; BLOCK],
        inside: [false; BLOCK],
    };
    let size = size_of::<T>() as isize;
    let [row, pixel_step, _] = image.strides();
    // Pixels of three elements are read with the first of the next one, so they must have one.
    let wide = C >= 3 && image.strides()[1..] == [size * C as isize, size];
    let beyond = if wide && C == 3 { 2.0 } else { 1.0 };
    let limit = |side: usize, beyond: f64| (side as f64 - beyond).clamp(0.0, f64::from(i32::MAX / 2));
    let bounds = [limit(image.height(), 1.0), limit(image.width(), beyond)];
    let pixels = out.as_chunks_mut::<C>().0;
    for (block, pixels) in pixels.chunks_mut(BLOCK).enumerate() {
        places.find(matrix, block * BLOCK, y as f64, bounds);
        for (i, pixel) in pixels.iter_mut().enumerate() {
            let (u, v) = (places.u[i], places.v[i]);
            *pixel = if nearest {
                at(image, v.round(), u.round(), fill)
            } else if places.inside[i] {
                // SAFETY: the corners lie inside, and for three elements a further pixel does.
                unsafe {
                    let (y, x) = (places.top[i] as usize, places.left[i] as usize);
                    if wide && size_of::<T>() == 1 {
                        let first =
                            image.row_ptr(0).cast::<u8>().offset(y as isize * row + x as isize * pixel_step);
                        let mixed = S::mix_bytes(first, row, C, places.along[i], places.down[i]);
                        // T is as large as a byte, and so is none but `u8`.
                        std::array::from_fn(|c| std::mem::transmute_copy(&mixed[c]))
                    } else {
                        let corners: Corners = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(dy, dx)| {
                            std::array::from_fn(|c| {
                                if c < C { image.get_unchecked(y + dy, x + dx, c).to_f32() } else { 0.0 }
                            })
                        });
                        let mixed = mix(&corners, places.along[i], places.down[i]);
                        std::array::from_fn(|c| T::from_f32(mixed[c]))
                    }
                }
            } else if u >= -1.0 && v >= -1.0 && u < image.width() as f64 && v < image.height() as f64 {
                // Some corners may lie inside.
                let (left, top) = (u.floor(), v.floor());
                let corners = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)].map(|(dy, dx)| {
                    let corner = at::<T, C>(image, top + dy, left + dx, fill);
                    std::array::from_fn(|c| corner.get(c).map_or(0.0, |value: &T| value.to_f32()))
                });
                let mixed = mix(&corners, places.along[i], places.down[i]);
                std::array::from_fn(|c| T::from_f32(mixed[c]))
            } else {
                [fill; C]
            };
        }
    }
}

/// Four corners, each of as many elements as fit a register, those beyond `C` of no meaning.
type Corners = [[f32; 4]; 4];

#[inline(always)]
fn mix([a, b, d, e]: &Corners, along: f32, down: f32) -> [f32; 4] {
    let mut mixed = [0.0; 4];
    for c in 0..4 {
        let (above, below) = (a[c] + along * (b[c] - a[c]), d[c] + along * (e[c] - d[c]));
        mixed[c] = above + down * (below - above);
    }
    mixed
}

/// A level, as far as mixing is concerned. Reached from inside [`dispatch!`] alone.
trait Mixing {
    /// Mixes the pixel of `step` bytes at `first`, its right neighbour and the two `row` bytes behind, four bytes of each.
    ///
    /// # Safety
    /// These bytes must be readable.
    unsafe fn mix_bytes(first: *const u8, row: isize, step: usize, along: f32, down: f32) -> [u8; 4];
}

impl Mixing for Scalar {
    #[inline(always)]
    unsafe fn mix_bytes(first: *const u8, row: isize, step: usize, along: f32, down: f32) -> [u8; 4] {
        // SAFETY: as the caller grants.
        let corner = |place: *const u8| unsafe { *place.cast::<[u8; 4]>() }.map(f32::from);
        let below = first.wrapping_offset(row);
        let corners = [
            corner(first),
            corner(first.wrapping_add(step)),
            corner(below),
            corner(below.wrapping_add(step)),
        ];
        mix(&corners, along, down).map(u8::from_f32)
    }
}

/// Four bytes as numbers.
///
/// # Safety
/// Needs SSE 4.1; the bytes must be readable.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn corner(place: *const u8) -> __m128 {
    // SAFETY: as the caller grants.
    unsafe { _mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(place.cast::<i32>().read_unaligned()))) }
}

#[cfg(target_arch = "x86_64")]
macro_rules! mixing {
    ($level:ty) => {
        impl Mixing for $level {
            #[inline(always)]
            unsafe fn mix_bytes(first: *const u8, row: isize, step: usize, along: f32, down: f32) -> [u8; 4] {
                // SAFETY: the level is there, the bytes are the caller's promise.
                unsafe {
                    let (along, down) = (_mm_set1_ps(along), _mm_set1_ps(down));
                    let next = first.offset(row);
                    let (a, b) = (corner(first), corner(first.add(step)));
                    let (d, e) = (corner(next), corner(next.add(step)));
                    let above = _mm_add_ps(a, _mm_mul_ps(along, _mm_sub_ps(b, a)));
                    let below = _mm_add_ps(d, _mm_mul_ps(along, _mm_sub_ps(e, d)));
                    let mixed = _mm_add_ps(above, _mm_mul_ps(down, _mm_sub_ps(below, above)));
                    // Between 0 and 255, and so never saturating.
                    let levels = _mm_cvtps_epi32(mixed);
                    let words = _mm_packus_epi32(levels, levels);
                    _mm_cvtsi128_si32(_mm_packus_epi16(words, words)).to_ne_bytes()
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mixing!(vedette_simd::Avx2);
#[cfg(target_arch = "x86_64")]
mixing!(vedette_simd::Avx512);

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

    fn warp(
        image: Frame<'_, u8>,
        out: FrameMut<'_, u8>,
        matrix: [[f64; 3]; 3],
        nearest: bool,
        fill: u8,
        pool: &ThreadPool,
    ) {
        super::warp(vedette_simd::isa(), image, out, matrix, nearest, fill, pool);
    }

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

    #[test]
    fn every_level_gives_the_same_bits() {
        let pixels: Vec<u8> =
            (0..40 * 90 * 4).map(|i: usize| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let matrices = [
            [[0.9, 0.2, -3.5], [-0.15, 1.1, 7.25], [0.0, 0.0, 1.0]],
            [[1.3, 0.1, 0.5], [0.2, 0.8, -2.0], [1e-3, -2e-3, 1.0]],
        ];
        for channels in 1..=4 {
            let image = Frame::packed(&pixels[..40 * 90 * channels], [40, 90, channels]);
            for matrix in matrices {
                for nearest in [false, true] {
                    let mut first: Option<Vec<u8>> = None;
                    for isa in Isa::available() {
                        let mut out = vec![0; 33 * 101 * channels];
                        let target = FrameMut::packed(&mut out, [33, 101, channels]);
                        super::warp(isa, image, target, matrix, nearest, 7, &ThreadPool::new(2));
                        assert_eq!(first.get_or_insert_with(|| out.clone()), &out, "{}", isa.name());
                    }
                }
            }
        }
    }
}
