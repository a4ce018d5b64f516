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
    let end = columns.end;
    // SAFETY: as the caller grants.
    unsafe {
        match weights.bytes.map_or(0, <[_]>::len) {
            1 => narrow::<R, 1>(rows, weights, columns, out),
            2 => narrow::<R, 2>(rows, weights, columns, out),
            3 => narrow::<R, 3>(rows, weights, columns, out),
            4 => narrow::<R, 4>(rows, weights, columns, out),
            5 => narrow::<R, 5>(rows, weights, columns, out),
            6 => narrow::<R, 6>(rows, weights, columns, out),
            7 => narrow::<R, 7>(rows, weights, columns, out),
            8 => narrow::<R, 8>(rows, weights, columns, out),
            _ => blocks::<R>(
                columns,
                out,
                #[inline(always)]
                |x| wide::<R>(rows, weights, x),
            ),
        }
    }
    end
}

/// Stores what `each` makes of a register of columns: columns 0-7 and 16-23 of each 32, and the others.
///
/// # Safety
/// As [`vertical`].
#[inline(always)]
unsafe fn blocks<R: Registers>(columns: Range<usize>, out: *mut i16, each: impl Fn(usize) -> [R::V; 2]) {
    let mut x = columns.start;
    while x < columns.end {
        // The last block overlaps the one before it.
        x = x.min(columns.end - R::BYTES);
        let [even, odd] = each(x);
        let [first, second] = R::zip_lanes(even, odd);
        // SAFETY: a register from x on lies within the columns.
        unsafe {
            R::store(out.wrapping_add(x).cast(), first);
            R::store(out.wrapping_add(x + R::BYTES / 2).cast(), second);
        }
        x += R::BYTES;
    }
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

/// [`vertical`] in sums of 16 bits, of `PAIRS` pairs of rows: their weights stay in registers.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn narrow<R: Registers, const PAIRS: usize>(
    rows: &[*const u8],
    weights: RowWeights<'_>,
    columns: Range<usize>,
    out: *mut i16,
) {
    let bytes = weights.bytes.and_then(<[_]>::first_chunk::<PAIRS>);
    let (Some(bytes), Some(&rows)) = (bytes, rows.as_chunks::<2>().0.first_chunk::<PAIRS>()) else { return };
    let shift = R::splat16(rounding_shift(weights.shift));
    let mut weights = [[shift; 2]; PAIRS];
    for (weights, bytes) in weights.iter_mut().zip(bytes) {
        *weights = [R::splat32(bytes[0]), R::splat32(bytes[1])];
    }
    // SAFETY: as the caller grants.
    unsafe {
        blocks::<R>(
            columns,
            out,
            #[inline(always)]
            |x| {
                let mut sums = products::<R>(rows[0], weights[0], x);
                for pair in 1..PAIRS {
                    let products = products::<R>(rows[pair], weights[pair], x);
                    for (sum, product) in sums.iter_mut().zip(products) {
                        *sum = R::add16(*sum, product);
                    }
                }
                let [even, odd, even_low, odd_low] = sums;
                [
                    R::add16(even, R::multiply_high16(even_low, shift)),
                    R::add16(odd, R::multiply_high16(odd_low, shift)),
                ]
            },
        )
    }
}

/// Two rows times the high bytes of their weights, and times the low bytes.
///
/// # Safety
/// As [`wide`].
#[inline(always)]
unsafe fn products<R: Registers>(rows: [*const u8; 2], [high, low]: [R::V; 2], x: usize) -> [R::V; 4] {
    // SAFETY: as the caller grants.
    let (first, second) = unsafe { (R::load(rows[0].add(x)), R::load(rows[1].add(x))) };
    let (even, odd) = (R::unpack_low8(first, second), R::unpack_high8(first, second));
    [R::maddubs(even, high), R::maddubs(odd, high), R::maddubs(even, low), R::maddubs(odd, low)]
}
