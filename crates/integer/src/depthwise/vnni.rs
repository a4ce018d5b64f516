//! Four vertical taps a product: the lines are interleaved once for each column, whatever the kernel's width.

use super::{CHANNELS, DepthwiseArguments, DepthwisePlan, Lines, Unit};
use std::arch::x86_64::*;

/// Output pixels whose columns are interleaved together, so that they stay in L1.
const TILE: usize = 32;

/// Output pixels whose sums are in registers together.
const PIXELS: usize = 8;

/// Bytes of a quad of a column.
const QUAD: usize = 4 * CHANNELS;

/// Input columns under a tile, rounded up to whole groups of pixels.
fn columns(plan: &DepthwisePlan) -> usize {
    let width = &plan.axes[2];
    (TILE - 1) * width.stride + (width.kernel - 1) * width.dilation + 1
}

pub(super) fn scratch_bytes(plan: &DepthwisePlan) -> usize {
    columns(plan) * plan.weights.quads() * QUAD + PIXELS * CHANNELS * size_of::<i32>()
}

/// Computes a unit.
///
/// # Safety
/// As for [`DepthwisePlan::run`], where the unit and the scratch memory are the caller's own; the weights are
/// interleaved, which they are only for CPUs with AVX-512 F, BW and VNNI.
pub(super) unsafe fn run(
    plan: &DepthwisePlan,
    arguments: &DepthwiseArguments,
    unit: &Unit,
    scratch: *mut u8,
) {
    let [_, height, width] = &plan.axes;
    let quads = plan.weights.quads();
    let image = arguments.x.wrapping_offset(unit.batch as isize * plan.x[0]).wrapping_add(unit.channel);
    let rows: Lines = (0..4 * quads)
        .map(|row| {
            let at = (unit.line * height.stride + row * height.dilation).checked_sub(height.pad_begin);
            match at {
                Some(y) if y < height.input => image.wrapping_offset(y as isize * plan.x[2]),
                _ => std::ptr::null(),
            }
        })
        .collect();
    let sums = scratch.wrapping_add(columns(plan) * quads * QUAD).cast::<i32>();
    for pixel in (0..width.output).step_by(TILE) {
        let pixels = TILE.min(width.output - pixel);
        // SAFETY: rows of the input; the scratch memory has room for the columns of a tile and the sums of a few pixels.
        unsafe {
            interleave(plan, unit, &rows, pixel, pixels, scratch);
            for line in 0..unit.lines {
                for start in (0..pixels).step_by(PIXELS) {
                    let count = PIXELS.min(pixels - start);
                    multiply(plan, unit, line, (scratch, start, count), sums);
                    plan.finish(arguments, unit, (unit.line + line, pixel + start, count), sums);
                }
            }
        }
    }
}

/// Writes the input columns under `pixels` output pixels, four lines of each interleaved.
///
/// # Safety
/// As for [`run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn interleave(
    plan: &DepthwisePlan,
    unit: &Unit,
    rows: &[*const u8],
    pixel: usize,
    pixels: usize,
    to: *mut u8,
) {
    let width = &plan.axes[2];
    let lanes = if unit.count == CHANNELS { u64::MAX } else { (1 << unit.count) - 1 };
    let zero = _mm512_set1_epi8(plan.zero_point as i8);
    let first = (pixel * width.stride) as isize - width.pad_begin as isize;
    let count = (pixels - 1) * width.stride + (width.kernel - 1) * width.dilation + 1;
    let quads = plan.weights.quads();
    for (quad, rows) in rows.chunks_exact(4).enumerate() {
        for column in 0..count {
            let x = first + column as isize;
            let inside = (x as usize) < width.input;
            // SAFETY: a pixel of the input, of which only channels that exist are read; a column of the scratch memory.
            unsafe {
                let load = |row: *const u8| {
                    if inside && !row.is_null() {
                        _mm512_maskz_loadu_epi8(lanes, row.wrapping_offset(x * plan.x[3]).cast())
                    } else {
                        zero
                    }
                };
                let [a, b, c, d] = [load(rows[0]), load(rows[1]), load(rows[2]), load(rows[3])];
                // Of each quarter with channels 0..16, bytes ab of channels 0..8 and 8..16, then abcd of four.
                let (ab_low, ab_high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
                let (cd_low, cd_high) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
                let to = to.add((column * quads + quad) * QUAD).cast::<__m512i>();
                _mm512_store_si512(to, _mm512_unpacklo_epi16(ab_low, cd_low));
                _mm512_store_si512(to.add(1), _mm512_unpackhi_epi16(ab_low, cd_low));
                _mm512_store_si512(to.add(2), _mm512_unpacklo_epi16(ab_high, cd_high));
                _mm512_store_si512(to.add(3), _mm512_unpackhi_epi16(ab_high, cd_high));
            }
        }
    }
}

/// Writes the sums of `count` output pixels from `start` of the tile on, channels in order.
///
/// # Safety
/// As for [`run`]; the columns are interleaved.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn multiply(
    plan: &DepthwisePlan,
    unit: &Unit,
    line: usize,
    (columns, start, count): (*const u8, usize, usize),
    sums: *mut i32,
) {
    let width = &plan.axes[2];
    let quads = plan.weights.quads();
    let (first, weights) = plan.weights.block(unit.channel / CHANNELS, line);
    let step = width.stride * quads * QUAD;
    // SAFETY: columns of the tile, weights and first sums of the block, and room for the sums.
    unsafe {
        for vector in 0..4 {
            let first = _mm512_load_si512(first.add(vector * 16).cast());
            let at = columns.add(start * step + vector * CHANNELS);
            let weights = weights.add(vector * CHANNELS);
            let to = sums.add(vector * 16);
            match count {
                PIXELS => {
                    pixels::<PIXELS>(width.kernel, width.dilation, quads, (first, at, step, weights), to)
                }
                _ => {
                    for i in 0..count {
                        let from = (first, at.add(i * step), step, weights);
                        pixels::<1>(width.kernel, width.dilation, quads, from, to.add(i * CHANNELS));
                    }
                }
            }
        }
        for i in 0..count {
            // The vectors' quarters hold channels 0..4, 4..8, 8..12 and 12..16 of each sixteen: transposed, they are in
            // order.
            let at = sums.add(i * CHANNELS).cast::<__m512i>();
            let [a, b, c, d] = [at, at.add(1), at.add(2), at.add(3)].map(|at| _mm512_load_si512(at));
            let (ab_low, ab_high) = (_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0xee>(a, b));
            let (cd_low, cd_high) = (_mm512_shuffle_i32x4::<0x44>(c, d), _mm512_shuffle_i32x4::<0xee>(c, d));
            _mm512_store_si512(at, _mm512_shuffle_i32x4::<0x88>(ab_low, cd_low));
            _mm512_store_si512(at.add(1), _mm512_shuffle_i32x4::<0xdd>(ab_low, cd_low));
            _mm512_store_si512(at.add(2), _mm512_shuffle_i32x4::<0x88>(ab_high, cd_high));
            _mm512_store_si512(at.add(3), _mm512_shuffle_i32x4::<0xdd>(ab_high, cd_high));
        }
    }
}

/// One vector of the sums of `N` pixels.
///
/// # Safety
/// As for [`multiply`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn pixels<const N: usize>(
    kernel: usize,
    dilation: usize,
    quads: usize,
    (first, columns, step, weights): (__m512i, *const u8, usize, *const i8),
    to: *mut i32,
) {
    let mut sums = [first; N];
    // SAFETY: as granted by the caller.
    unsafe {
        for kx in 0..kernel {
            for quad in 0..quads {
                let w = _mm512_load_si512(weights.add((kx * quads + quad) * QUAD).cast());
                let at = columns.add((kx * dilation * quads + quad) * QUAD);
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_dpbusd_epi32(*sum, _mm512_load_si512(at.add(i * step).cast()), w);
                }
            }
        }
        for (i, sum) in sums.into_iter().enumerate() {
            _mm512_store_si512(to.add(i * CHANNELS).cast(), sum);
        }
    }
}
