//! The vertical pass in whole registers.

use super::super::plan::RowWeights;
use super::rounding_shift;
use crate::registers::Registers;
use std::ops::Range;

/// [`scalar::vertical`](super::super::scalar::vertical), in the form the weights allow; returns the end of the columns it did.
///
/// # Safety
/// Reached at the level of `R`; rows readable and `out` writable for the columns.
#[inline(always)]
pub unsafe fn vertical<R: Registers>(
    rows: &[*const u8],
    weights: RowWeights<'_>,
    columns: Range<usize>,
    out: *mut i16,
) -> usize {
    if columns.len() < R::BYTES {
        return columns.start;
    }
    let mut x = columns.start;
    while x < columns.end {
        // The last block overlaps the one before it.
        x = x.min(columns.end - R::BYTES);
        // SAFETY: a register from x on lies within the columns.
        unsafe {
            let [even, odd] = match weights.bytes {
                Some(bytes) => narrow::<R>(rows, bytes, weights.shift, x),
                None => wide::<R>(rows, weights, x),
            };
            // In each 32 columns `even` holds columns 0-7 and 16-23, `odd` the others.
            let [first, second] = R::zip_lanes(even, odd);
            R::store(out.wrapping_add(x).cast(), first);
            R::store(out.wrapping_add(x + R::BYTES / 2).cast(), second);
        }
        x += R::BYTES;
    }
    columns.end
}

/// Sums of 32 bits.
///
/// # Safety
/// As [`vertical`], for a register of columns from `x` on.
#[inline(always)]
unsafe fn wide<R: Registers>(rows: &[*const u8], weights: RowWeights<'_>, x: usize) -> [R::V; 2] {
    let zero = R::splat32(0);
    let mut sums = [R::splat32(1 << (weights.shift - 1)); 4];
    for (pair, rows) in weights.pairs.iter().zip(rows.chunks_exact(2)) {
        // SAFETY: as the caller grants.
        let (first, second) = unsafe { (R::load(rows[0].add(x)), R::load(rows[1].add(x))) };
        let weight = R::splat32(*pair);
        let (low, high) = (R::unpack_low8(first, second), R::unpack_high8(first, second));
        let columns = [
            R::unpack_low8(low, zero),
            R::unpack_high8(low, zero),
            R::unpack_low8(high, zero),
            R::unpack_high8(high, zero),
        ];
        for (sum, values) in sums.iter_mut().zip(columns) {
            *sum = R::add32(*sum, R::madd(values, weight));
        }
    }
    for sum in &mut sums {
        *sum = R::shift32(*sum, weights.shift);
    }
    [R::pack32(sums[0], sums[1]), R::pack32(sums[2], sums[3])]
}

/// Sums of 16 bits.
///
/// # Safety
/// As [`wide`], `bytes` those of a narrow plan.
#[inline(always)]
unsafe fn narrow<R: Registers>(rows: &[*const u8], bytes: &[[i32; 2]], shift: u32, x: usize) -> [R::V; 2] {
    let mut pairs = bytes.iter().zip(rows.chunks_exact(2));
    let Some((weights, rows)) = pairs.next() else { return [R::splat16(0); 2] };
    // SAFETY: as the caller grants.
    let mut sums = unsafe { products::<R>(rows, weights, x) };
    for (weights, rows) in pairs {
        // SAFETY: as above.
        let products = unsafe { products::<R>(rows, weights, x) };
        for i in 0..4 {
            sums[i] = R::add16(sums[i], products[i]);
        }
    }
    let shift = R::splat16(rounding_shift(shift));
    let [even, odd, even_low, odd_low] = sums;
    [R::add16(even, R::multiply_high16(even_low, shift)), R::add16(odd, R::multiply_high16(odd_low, shift))]
}

/// Two rows times the high bytes of their weights, and times the low bytes.
///
/// # Safety
/// As [`wide`].
#[inline(always)]
unsafe fn products<R: Registers>(rows: &[*const u8], weights: &[i32; 2], x: usize) -> [R::V; 4] {
    // SAFETY: as the caller grants.
    let (first, second) = unsafe { (R::load(rows[0].add(x)), R::load(rows[1].add(x))) };
    let (even, odd) = (R::unpack_low8(first, second), R::unpack_high8(first, second));
    let (high, low) = (R::splat32(weights[0]), R::splat32(weights[1]));
    [R::maddubs(even, high), R::maddubs(odd, high), R::maddubs(even, low), R::maddubs(odd, low)]
}
