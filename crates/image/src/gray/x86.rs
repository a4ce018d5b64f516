//! Luma on AVX2 and AVX-512 registers.

use super::Weights;
use std::arch::x86_64::*;
use vedette_simd::{Isa, Level};

/// Byte shuffles of a 128-bit lane of four pixels of `STEP` bytes: first and third byte as 16-bit values side by side,
/// and the second byte twice.
const fn masks<const STEP: usize>() -> [[i8; 16]; 2] {
    let mut masks = [[-1i8; 16]; 2];
    let mut pixel = 0;
    while pixel < 4 {
        let byte = (pixel * STEP) as i8;
        masks[0][4 * pixel] = byte;
        masks[0][4 * pixel + 2] = byte + 2;
        masks[1][4 * pixel] = byte + 1;
        masks[1][4 * pixel + 2] = byte + 1;
        pixel += 1;
    }
    masks
}

/// Weights as pairs for `madd`. A weight of green beyond 15 bits is given in two halves.
fn pairs(weights: Weights, reversed: bool) -> [i32; 2] {
    let [red, green, blue] = weights.rgb.map(|weight| weight as i32);
    let (first, third) = if reversed { (blue, red) } else { (red, blue) };
    [first | third << 16, (green - green / 2) | (green / 2) << 16]
}

/// The luma of pixels from `row` on, while whole registers can be read; returns how many.
///
/// # Safety
/// `isa` is AVX2 or better. All but the last of the `width` pixels have `step` (3 or 4) readable bytes, the last has 3;
/// `out` is writable for `width` bytes. The weights have at most 16 bits.
pub unsafe fn gray(
    isa: Isa,
    row: *const u8,
    step: usize,
    reversed: bool,
    weights: Weights,
    width: usize,
    out: *mut u8,
) -> usize {
    let pairs = pairs(weights, reversed);
    // SAFETY: the level is there, the rest is the caller's promise.
    unsafe {
        match (isa.level(), step) {
            (Level::Avx512, 3) => gray_avx512::<3>(row, pairs, weights, width, out),
            (Level::Avx512, _) => gray_avx512::<4>(row, pairs, weights, width, out),
            (_, 3) => gray_avx2::<3>(row, pairs, weights, width, out),
            (_, _) => gray_avx2::<4>(row, pairs, weights, width, out),
        }
    }
}

#[target_feature(enable = "avx2")]
unsafe fn gray_avx2<const STEP: usize>(
    row: *const u8,
    pairs: [i32; 2],
    weights: Weights,
    width: usize,
    out: *mut u8,
) -> usize {
    const BLOCK: usize = 32;
    let table = const { masks::<STEP>() };
    // SAFETY: the masks are 16 bytes each.
    let (outer_mask, green_mask) = unsafe {
        (
            _mm256_broadcastsi128_si256(_mm_loadu_si128(table[0].as_ptr().cast())),
            _mm256_broadcastsi128_si256(_mm_loadu_si128(table[1].as_ptr().cast())),
        )
    };
    let (outer_weights, green_weights) = (_mm256_set1_epi32(pairs[0]), _mm256_set1_epi32(pairs[1]));
    let half = _mm256_set1_epi32(weights.half() as i32);
    let count = _mm_cvtsi32_si128(weights.shift as i32);
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    // Four pixels of three bytes to each lane: 12 bytes, and four that the masks pass over.
    let spread = _mm256_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5);
    let mut x = 0;
    // Three-byte pixels are read 32 bytes at a time of which 24 are used.
    while (x + BLOCK) * STEP + (4 - STEP) * 8 <= width * STEP - (STEP - 3) {
        let mut sums = [half; 4];
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the condition above leaves 32 bytes from the last of these on.
            let mut bytes = unsafe { _mm256_loadu_si256(row.add((x + 8 * i) * STEP).cast()) };
            if STEP == 3 {
                bytes = _mm256_permutevar8x32_epi32(bytes, spread);
            }
            let outer = _mm256_madd_epi16(_mm256_shuffle_epi8(bytes, outer_mask), outer_weights);
            let green = _mm256_madd_epi16(_mm256_shuffle_epi8(bytes, green_mask), green_weights);
            *sum = _mm256_srl_epi32(_mm256_add_epi32(*sum, _mm256_add_epi32(outer, green)), count);
        }
        let low = _mm256_packs_epi32(sums[0], sums[1]);
        let high = _mm256_packs_epi32(sums[2], sums[3]);
        let packed = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order);
        // SAFETY: x + BLOCK <= width.
        unsafe { _mm256_storeu_si256(out.add(x).cast(), packed) }
        x += BLOCK;
    }
    x
}

#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn gray_avx512<const STEP: usize>(
    row: *const u8,
    pairs: [i32; 2],
    weights: Weights,
    width: usize,
    out: *mut u8,
) -> usize {
    const BLOCK: usize = 64;
    let table = const { masks::<STEP>() };
    // SAFETY: the masks are 16 bytes each.
    let (outer_mask, green_mask) = unsafe {
        (
            _mm512_broadcast_i32x4(_mm_loadu_si128(table[0].as_ptr().cast())),
            _mm512_broadcast_i32x4(_mm_loadu_si128(table[1].as_ptr().cast())),
        )
    };
    let (outer_weights, green_weights) = (_mm512_set1_epi32(pairs[0]), _mm512_set1_epi32(pairs[1]));
    let half = _mm512_set1_epi32(weights.half() as i32);
    let count = _mm_cvtsi32_si128(weights.shift as i32);
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let spread = _mm512_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11);
    let mut x = 0;
    // Three-byte pixels are read 64 bytes at a time of which 48 are used.
    while (x + BLOCK) * STEP + (4 - STEP) * 16 <= width * STEP - (STEP - 3) {
        let mut sums = [half; 4];
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the condition above leaves 64 bytes from the last of these on.
            let mut bytes = unsafe { _mm512_loadu_si512(row.add((x + 16 * i) * STEP).cast()) };
            if STEP == 3 {
                bytes = _mm512_permutexvar_epi32(spread, bytes);
            }
            let outer = _mm512_madd_epi16(_mm512_shuffle_epi8(bytes, outer_mask), outer_weights);
            let green = _mm512_madd_epi16(_mm512_shuffle_epi8(bytes, green_mask), green_weights);
            *sum = _mm512_srl_epi32(_mm512_add_epi32(*sum, _mm512_add_epi32(outer, green)), count);
        }
        let low = _mm512_packs_epi32(sums[0], sums[1]);
        let high = _mm512_packs_epi32(sums[2], sums[3]);
        let packed = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high));
        // SAFETY: x + BLOCK <= width.
        unsafe { _mm512_storeu_si512(out.add(x).cast(), packed) }
        x += BLOCK;
    }
    x
}
