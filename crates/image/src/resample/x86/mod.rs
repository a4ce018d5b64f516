//! The row kernels on AVX2 and AVX-512 registers.

pub mod joint;
pub mod sparse;
mod vertical;

pub use vertical::vertical;

use super::plan::{GROUP, HorizontalPlan, WINDOW_GROUP, Windows};
use crate::interleaved::join_masks;
use crate::registers::Registers;
use std::arch::x86_64::*;

/// Byte shuffles that bring the `i16` elements of a register of interleaved pixels to their plane:
/// `[plane][register]`, eight pixels in `C` registers of eight elements.
const fn split_masks<const C: usize>() -> [[[i8; 16]; C]; C] {
    let mut masks = [[[-1i8; 16]; C]; C];
    let mut plane = 0;
    while plane < C {
        let mut x = 0;
        while x < 8 {
            let element = x * C + plane;
            let byte = (element % 8 * 2) as i8;
            masks[plane][element / 8][2 * x] = byte;
            masks[plane][element / 8][2 * x + 1] = byte + 1;
            x += 1;
        }
        plane += 1;
    }
    masks
}

/// [`scalar::deinterleave`](super::scalar::deinterleave), 16 pixels at a time; returns how many pixels it did.
///
/// # Safety
/// Needs AVX2; `row` readable for `C * width` values, `planes` writable for `width` values at each stride.
#[target_feature(enable = "avx2")]
pub unsafe fn deinterleave_avx2<const C: usize>(
    row: *const i16,
    width: usize,
    planes: *mut i16,
    stride: usize,
) -> usize {
    let table = const { split_masks::<C>() };
    let mut masks = [[_mm256_setzero_si256(); C]; C];
    for (masks, table) in masks.as_flattened_mut().iter_mut().zip(table.as_flattened()) {
        // SAFETY: each mask is 16 bytes.
        *masks = unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast())) };
    }
    let mut x = 0;
    while x + 16 <= width {
        let mut registers = [_mm256_setzero_si256(); C];
        for (i, register) in registers.iter_mut().enumerate() {
            // The low lane holds a part of the first eight pixels, the high lane the same part of the next eight.
            // SAFETY: 16 pixels from x on are 16 * C readable values.
            *register = unsafe {
                _mm256_loadu2_m128i(row.add((x + 8) * C + 8 * i).cast(), row.add(x * C + 8 * i).cast())
            };
        }
        for plane in 0..C {
            let mut values = _mm256_shuffle_epi8(registers[0], masks[plane][0]);
            for i in 1..C {
                values = _mm256_or_si256(values, _mm256_shuffle_epi8(registers[i], masks[plane][i]));
            }
            // SAFETY: x + 16 <= width.
            unsafe { _mm256_storeu_si256(planes.add(plane * stride + x).cast(), values) }
        }
        x += 16;
    }
    x
}

/// Indices of two-source permutations that collect a plane from `C` registers of 32 interleaved elements: step `s` of
/// a plane takes what came before (0-31) and register `s + 1` (32-63).
const fn split_indices<const C: usize>() -> [[[i16; 32]; C]; C] {
    let mut indices = [[[0i16; 32]; C]; C];
    let mut plane = 0;
    while plane < C {
        let mut step = 0;
        while step + 1 < C {
            let mut x = 0;
            while x < 32 {
                let element = x * C + plane;
                indices[plane][step][x] = if element / 32 == step + 1 {
                    32 + (element % 32) as i16
                } else if step == 0 {
                    (element % 32) as i16
                } else {
                    x as i16
                };
                x += 1;
            }
            step += 1;
        }
        plane += 1;
    }
    indices
}

/// As [`deinterleave_avx2`], 32 pixels at a time.
///
/// # Safety
/// Needs AVX-512 BW; as [`deinterleave_avx2`] otherwise.
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn deinterleave_avx512<const C: usize>(
    row: *const i16,
    width: usize,
    planes: *mut i16,
    stride: usize,
) -> usize {
    let table = const { split_indices::<C>() };
    let mut indices = [[_mm512_setzero_si512(); C]; C];
    for (indices, table) in indices.as_flattened_mut().iter_mut().zip(table.as_flattened()) {
        // SAFETY: each row of the table is 64 bytes.
        *indices = unsafe { _mm512_loadu_si512(table.as_ptr().cast()) };
    }
    let mut x = 0;
    while x + 32 <= width {
        let mut registers = [_mm512_setzero_si512(); C];
        for (i, register) in registers.iter_mut().enumerate() {
            // SAFETY: 32 pixels from x on are 32 * C readable values.
            *register = unsafe { _mm512_loadu_si512(row.add(x * C + 32 * i).cast()) };
        }
        for plane in 0..C {
            let mut values = registers[0];
            for step in 0..C - 1 {
                values = _mm512_permutex2var_epi16(values, indices[plane][step], registers[step + 1]);
            }
            // SAFETY: x + 32 <= width.
            unsafe { _mm512_storeu_si512(planes.add(plane * stride + x).cast(), values) }
        }
        x += 32;
    }
    x
}

/// [`scalar::interleave`](super::scalar::interleave), a register of bytes at a time; returns how many pixels it did.
///
/// # Safety
/// Reached at the level of `R`; `planes` readable for `width` values at each stride, `out` writable for `channels * width`
/// bytes.
#[inline(always)]
pub unsafe fn interleave<R: Registers>(
    channels: usize,
    planes: *const i16,
    stride: usize,
    fraction: u32,
    width: usize,
    out: *mut u8,
) -> usize {
    // SAFETY: as the caller grants.
    unsafe {
        match channels {
            1 => interleave_channels::<R, 1>(planes, stride, fraction, width, out),
            2 => interleave_channels::<R, 2>(planes, stride, fraction, width, out),
            3 => interleave_channels::<R, 3>(planes, stride, fraction, width, out),
            4 => interleave_channels::<R, 4>(planes, stride, fraction, width, out),
            _ => 0,
        }
    }
}

/// [`interleave`] for `C` channels.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn interleave_channels<R: Registers, const C: usize>(
    planes: *const i16,
    stride: usize,
    fraction: u32,
    width: usize,
    out: *mut u8,
) -> usize {
    if width < R::BYTES {
        return 0;
    }
    let masks = const { &join_masks::<C>() };
    let shift = R::splat16(rounding_shift(fraction));
    let mut x = 0;
    while x < width {
        // The last block overlaps the one before it.
        x = x.min(width - R::BYTES);
        let mut levels = [shift; C];
        for (plane, level) in levels.iter_mut().enumerate() {
            // SAFETY: a register of pixels from x on lies within the width.
            *level = unsafe {
                let from = planes.add(plane * stride + x);
                let (low, high) = (R::load(from.cast()), R::load(from.add(R::BYTES / 2).cast()));
                R::narrow16(R::multiply_high16(low, shift), R::multiply_high16(high, shift))
            };
        }
        let mut bytes = [shift; C];
        for (register, bytes) in bytes.iter_mut().enumerate() {
            *bytes = R::shuffle(levels[0], R::lanes(&masks[register][0]));
            for plane in 1..C {
                *bytes = R::or(*bytes, R::shuffle(levels[plane], R::lanes(&masks[register][plane])));
            }
        }
        // SAFETY: as above.
        unsafe { R::store_lanes(out.add(x * C), bytes) }
        x += R::BYTES;
    }
    width
}

/// The factor that makes [`Registers::multiply_high16`] a shift to the right, rounded to the nearest.
pub const fn rounding_shift(count: u32) -> i16 {
    1 << (15 - count)
}

/// The horizontal pass over one plane, in groups of eight outputs.
///
/// # Safety
/// Needs AVX2; `row` readable for `plan.padded_input` values, `out` writable for `plan.padded_output`.
#[target_feature(enable = "avx2")]
pub unsafe fn horizontal_avx2(plan: &HorizontalPlan, row: *const i16, out: *mut i16) {
    // SAFETY: as the caller grants.
    unsafe {
        match (plan.chunk, plan.chunks) {
            (4, _) => groups_avx2::<0>(plan, row, out),
            (_, 1) => groups_avx2::<1>(plan, row, out),
            (_, 2) => groups_avx2::<2>(plan, row, out),
            (_, 3) => groups_avx2::<3>(plan, row, out),
            (_, 4) => groups_avx2::<4>(plan, row, out),
            _ => groups_avx2::<{ usize::MAX }>(plan, row, out),
        }
    }
}

/// [`horizontal_avx2`] for outputs of `CHUNKS` times eight taps, four taps where it is 0, any number at its maximum.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn groups_avx2<const CHUNKS: usize>(plan: &HorizontalPlan, row: *const i16, out: *mut i16) {
    let chunks = if CHUNKS == usize::MAX { plan.chunks } else { CHUNKS };
    let half = _mm256_set1_epi32(1 << 13);
    let mut weights = plan.weights.as_ptr();
    for (group, starts) in plan.starts.as_chunks::<GROUP>().0.iter().enumerate() {
        // SAFETY: the plan pads starts, weights, input and output so that every access of a group stays inside.
        unsafe {
            let sums = if CHUNKS == 0 {
                let a = four_by_four(row, [starts[0], starts[1], starts[4], starts[5]]);
                let b = four_by_four(row, [starts[2], starts[3], starts[6], starts[7]]);
                let a = _mm256_madd_epi16(a, _mm256_loadu_si256(weights.cast()));
                let b = _mm256_madd_epi16(b, _mm256_loadu_si256(weights.add(16).cast()));
                weights = weights.add(32);
                _mm256_hadd_epi32(a, b)
            } else {
                let mut sums = [_mm256_setzero_si256(); 4];
                for (i, sum) in sums.iter_mut().enumerate() {
                    let (low, high) = (row.add(starts[i] as usize), row.add(starts[i + 4] as usize));
                    for k in 0..chunks {
                        let values = _mm256_loadu2_m128i(high.add(8 * k).cast(), low.add(8 * k).cast());
                        let weight = _mm256_loadu_si256(weights.add(16 * k).cast());
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(values, weight));
                    }
                    weights = weights.add(16 * chunks);
                }
                let [a, b, c, d] = sums;
                _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d))
            };
            let rounded = _mm256_srai_epi32::<14>(_mm256_add_epi32(sums, half));
            let packed =
                _mm_packs_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256::<1>(rounded));
            _mm_storeu_si128(out.add(group * GROUP).cast(), packed);
        }
    }
}

/// Four values from each of four places.
///
/// # Safety
/// Needs AVX2; four values must be readable at each place.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn four_by_four(row: *const i16, places: [u32; 4]) -> __m256i {
    // SAFETY: as the caller grants.
    unsafe {
        let a = _mm_loadl_epi64(row.add(places[0] as usize).cast());
        let b = _mm_loadl_epi64(row.add(places[1] as usize).cast());
        let c = _mm_loadl_epi64(row.add(places[2] as usize).cast());
        let d = _mm_loadl_epi64(row.add(places[3] as usize).cast());
        _mm256_set_m128i(_mm_unpacklo_epi64(c, d), _mm_unpacklo_epi64(a, b))
    }
}

/// The horizontal pass over one plane where the samples of 16 neighbouring outputs fit two registers: a permutation
/// brings each output its next two samples, so the sums never cross lanes.
///
/// # Safety
/// Needs AVX-512 BW; `row` readable for a window from each start, `out` writable for whole groups.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub unsafe fn horizontal_windows(windows: &Windows, row: *const i16, out: *mut i16) {
    let half = _mm512_set1_epi32(1 << 13);
    let two = _mm512_set1_epi16(2);
    let weights = windows.weights.chunks_exact(windows.pairs.max(1));
    for (group, ((&start, places), weights)) in
        windows.starts.iter().zip(&windows.places).zip(weights).enumerate()
    {
        // SAFETY: the plan pads rows so that a window from any start is readable, and outputs to whole groups.
        unsafe {
            let source = row.add(start as usize);
            let low = _mm512_loadu_si512(source.cast());
            let high = _mm512_loadu_si512(source.add(32).cast());
            let mut places = _mm512_loadu_si512(places.as_ptr().cast());
            let mut sums = half;
            for weights in weights {
                let samples = _mm512_permutex2var_epi16(low, places, high);
                let products = _mm512_madd_epi16(samples, _mm512_loadu_si512(weights.as_ptr().cast()));
                sums = _mm512_add_epi32(sums, products);
                places = _mm512_add_epi16(places, two);
            }
            let packed = _mm512_cvtsepi32_epi16(_mm512_srai_epi32::<14>(sums));
            _mm256_storeu_si256(out.add(group * WINDOW_GROUP).cast(), packed);
        }
    }
}
