//! The vertical pass in whole registers.

use super::super::plan::RowWeights;
use crate::registers::Registers;

/// [`scalar::vertical`](super::super::scalar::vertical) for the columns `0..len`, in the form the weights allow; returns
/// how many it did from the left.
///
/// # Safety
/// Reached at the level of `R`; rows readable and `out` writable for `len` values.
#[inline(always)]
pub unsafe fn vertical<R: Registers>(
    rows: &[*const u8],
    weights: RowWeights<'_>,
    len: usize,
    out: *mut i16,
) -> usize {
    if len < R::BYTES {
        return 0;
    }
    let mut x = 0;
    while x < len {
        // The last block overlaps the one before it.
        x = x.min(len - R::BYTES);
        // SAFETY: a register from x on lies within `len`.
        unsafe {
            let [even, odd] = match weights.bytes {
                Some(bytes) => narrow::<R>(rows, bytes, weights.shift, x),
                None => wide::<R>(rows, weights, x),
            };
            // In each 32 columns `even` holds columns 0-7 and 16-23, `odd` the others.
            let [first, second] = R::zip_lanes(even, odd);
            R::store(out.add(x).cast(), first);
            R::store(out.add(x + R::BYTES / 2).cast(), second);
        }
        x += R::BYTES;
    }
    len
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
unsafe fn narrow<R: Registers>(rows: &[*const u8], bytes: &[[i16; 2]], shift: u32, x: usize) -> [R::V; 2] {
    let (mut high, mut low) = ([R::splat16(0); 2], [R::splat16(1 << (shift - 1)); 2]);
    for (weights, rows) in bytes.iter().zip(rows.chunks_exact(2)) {
        // SAFETY: as the caller grants.
        let (first, second) = unsafe { (R::load(rows[0].add(x)), R::load(rows[1].add(x))) };
        let columns = [R::unpack_low8(first, second), R::unpack_high8(first, second)];
        let (high_weights, low_weights) = (R::splat16(weights[0]), R::splat16(weights[1]));
        for i in 0..2 {
            high[i] = R::add16(high[i], R::maddubs(columns[i], high_weights));
            low[i] = R::add16(low[i], R::maddubs(columns[i], low_weights));
        }
    }
    [R::add16(high[0], R::shift16(low[0], shift)), R::add16(high[1], R::shift16(low[1], shift))]
}
