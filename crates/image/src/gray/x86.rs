//! Luma in whole registers.

use super::Weights;
use crate::registers::Registers;
use vedette_simd::{Avx2, Avx512, Isa, Level, call_avx2, call_avx512, prefetch_ahead};

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

/// Permutations of a register of `lanes` lanes: what brings four pixels of three bytes to each (12 bytes, and four that
/// the masks pass over), and what puts results of four registers in order after both packings.
const fn orders(lanes: usize) -> [[i32; 16]; 2] {
    let mut orders = [[0; 16]; 2];
    let mut place = 0;
    while place < 4 * lanes {
        let (lane, within) = (place / 4, place % 4);
        orders[0][place] = (3 * lane + if within < 3 { within } else { 2 }) as i32;
        orders[1][place] = (place % lanes * 4 + place / lanes) as i32;
        place += 1;
    }
    orders
}

/// Weights as pairs for `madd`. A weight of green beyond 15 bits is given in two halves.
fn pairs(weights: Weights, reversed: bool) -> [i32; 2] {
    let [red, green, blue] = weights.rgb.map(|weight| weight as i32);
    let (first, third) = if reversed { (blue, red) } else { (red, blue) };
    [first | third << 16, (green - green / 2) | (green / 2) << 16]
}

/// The luma of `width` pixels of `step` (3 or 4) bytes.
///
/// # Safety
/// `isa` is AVX2 or better. As many bytes as are given with `row` are readable, and they hold at least the colours of every
/// pixel; `out` is writable for `width` bytes. The weights have at most 16 bits.
pub unsafe fn gray(
    isa: Isa,
    row: (*const u8, usize),
    step: usize,
    reversed: bool,
    weights: Weights,
    width: usize,
    out: *mut u8,
) {
    let pairs = pairs(weights, reversed);
    // SAFETY: the level is there, the rest is the caller's promise.
    unsafe {
        match (isa.level(), step) {
            (Level::Avx512, 3) => call_avx512(
                #[inline(always)]
                || rows::<Avx512, 3>(row, pairs, weights, width, out),
            ),
            (Level::Avx512, _) => call_avx512(
                #[inline(always)]
                || rows::<Avx512, 4>(row, pairs, weights, width, out),
            ),
            (_, 3) => call_avx2(
                #[inline(always)]
                || rows::<Avx2, 3>(row, pairs, weights, width, out),
            ),
            (_, _) => call_avx2(
                #[inline(always)]
                || rows::<Avx2, 4>(row, pairs, weights, width, out),
            ),
        }
    }
}

/// Most pixels that are left for a copy: one block, and what is read past three-byte pixels.
const TAIL: usize = 64 + 32;

/// # Safety
/// As [`gray`], reached at the level of `R`.
#[inline(always)]
unsafe fn rows<R: Registers, const STEP: usize>(
    (row, bytes): (*const u8, usize),
    pairs: [i32; 2],
    weights: Weights,
    width: usize,
    out: *mut u8,
) {
    // SAFETY: the readable bytes are the caller's promise; the copies hold whole blocks.
    unsafe {
        let done = blocks::<R, STEP>(row, pairs, weights, width, bytes, out);
        if done == width {
            return;
        }
        let (mut source, mut target) = ([0u8; 4 * TAIL + 64], [0u8; TAIL + 64]);
        let left = width - done;
        std::ptr::copy_nonoverlapping(row.add(done * STEP), source.as_mut_ptr(), bytes - done * STEP);
        let padded = left.next_multiple_of(R::BYTES);
        blocks::<R, STEP>(source.as_ptr(), pairs, weights, padded, source.len(), target.as_mut_ptr());
        std::ptr::copy_nonoverlapping(target.as_ptr(), out.add(done), left);
    }
}

/// The luma of whole blocks of pixels, as far as they can be read from `bytes`; returns how many pixels.
///
/// # Safety
/// As [`gray`], but with `bytes` readable from `row` on.
#[inline(always)]
unsafe fn blocks<R: Registers, const STEP: usize>(
    row: *const u8,
    pairs: [i32; 2],
    weights: Weights,
    width: usize,
    bytes: usize,
    out: *mut u8,
) -> usize {
    let (block, lanes) = (R::BYTES, R::BYTES / 16);
    let masks = const { masks::<STEP>() };
    let (outer_mask, green_mask) = (R::lanes(&masks[0]), R::lanes(&masks[1]));
    let (outer_weights, green_weights) = (R::splat32(pairs[0]), R::splat32(pairs[1]));
    let half = R::splat32(weights.half() as i32);
    let orders = orders(lanes);
    // SAFETY: the tables are a register long, or longer.
    let (spread, order) = unsafe { (R::load(orders[0].as_ptr().cast()), R::load(orders[1].as_ptr().cast())) };
    // Three-byte pixels are read a register at a time of which three quarters are used.
    let beyond = (4 - STEP) * 4 * lanes;
    let mut x = 0;
    while x + block <= width && (x + block) * STEP + beyond <= bytes {
        prefetch_ahead(row.wrapping_add(x * STEP), block * STEP);
        let mut sums = [half; 4];
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the condition above leaves a register from the last of these on.
            let mut pixels = unsafe { R::load(row.add((x + 4 * lanes * i) * STEP)) };
            if STEP == 3 {
                pixels = R::permute32(pixels, spread);
            }
            let outer = R::madd(R::shuffle(pixels, outer_mask), outer_weights);
            let green = R::madd(R::shuffle(pixels, green_mask), green_weights);
            *sum = R::shift32(R::add32(*sum, R::add32(outer, green)), weights.shift);
        }
        let packed = R::pack16(R::pack32(sums[0], sums[1]), R::pack32(sums[2], sums[3]));
        // SAFETY: x + block <= width.
        unsafe { R::store(out.add(x), R::permute32(packed, order)) }
        x += block;
    }
    x
}
