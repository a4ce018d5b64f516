//! Sums along columns and along a row in whole registers.

use super::{BITS, HALF, SIGN};
use crate::registers::Registers;
use vedette_simd::{Avx2, Avx512, Isa, Level, call_avx2, call_avx512};

/// As many elements as whole registers hold; returns how many.
///
/// # Safety
/// From each of `out`'s places on, `padded` has the elements of a window.
pub unsafe fn row(isa: Isa, padded: &[u16], step: usize, weights: &[u16], out: &mut [u8]) -> usize {
    // SAFETY: the level is there; the rest is the caller's promise.
    unsafe {
        match isa.level() {
            Level::Avx512 => call_avx512(
                #[inline(always)]
                || registers::<Avx512>(padded, step, weights, out),
            ),
            Level::Avx2 => call_avx2(
                #[inline(always)]
                || registers::<Avx2>(padded, step, weights, out),
            ),
            _ => 0,
        }
    }
}

/// Two elements of a column and their weights, as bytes of a word. Two products fit 16 bits where the weights sum to 128 at
/// most.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    pub rows: [usize; 2],
    pub weights: i16,
}

/// Most of a weight that a pair takes for one of its elements.
const PIECE: u16 = 64;

/// Weights in pieces, two by two.
pub fn pairs(weights: &[u16]) -> Vec<Pair> {
    let mut pieces = Vec::new();
    for (row, &weight) in weights.iter().enumerate() {
        let mut left = weight;
        while left > 0 {
            let piece = left.min(PIECE);
            pieces.push((row, piece as u8));
            left -= piece;
        }
    }
    let pair = |two: &[(usize, u8)]| {
        let (row, weight) = two[0];
        let (other, second) = two.get(1).copied().unwrap_or((row, 0));
        Pair { rows: [row, other], weights: i16::from_le_bytes([weight, second]) }
    };
    pieces.chunks(2).map(pair).collect()
}

/// The weighted sums of the columns of `rows`, as many as whole registers hold; returns how many.
///
/// # Safety
/// Every row that the pairs name is as long as `out`.
pub unsafe fn columns(isa: Isa, rows: &[&[u8]], pairs: &[Pair], out: &mut [u16]) -> usize {
    // SAFETY: the level is there; the rest is the caller's promise.
    unsafe {
        match isa.level() {
            Level::Avx512 => call_avx512(
                #[inline(always)]
                || column_registers::<Avx512>(rows, pairs, out),
            ),
            Level::Avx2 => call_avx2(
                #[inline(always)]
                || column_registers::<Avx2>(rows, pairs, out),
            ),
            _ => 0,
        }
    }
}

/// # Safety
/// As [`columns`], at the level of `R`.
#[inline(always)]
unsafe fn column_registers<R: Registers>(rows: &[&[u8]], pairs: &[Pair], out: &mut [u16]) -> usize {
    let mut done = 0;
    while done + R::BYTES <= out.len() {
        let [mut low, mut high] = [R::splat16(SIGN.cast_signed()); 2];
        for pair in pairs {
            // SAFETY: `done + R::BYTES <= out.len()`, which the rows have too.
            let (a, b) = unsafe {
                let [a, b] = pair.rows;
                let place = |row: usize| rows.get_unchecked(row).as_ptr().add(done);
                (R::load(place(a)), R::load(place(b)))
            };
            let weights = R::splat16(pair.weights);
            low = R::add16(low, R::maddubs(R::unpack_low8(a, b), weights));
            high = R::add16(high, R::maddubs(R::unpack_high8(a, b), weights));
        }
        let [first, second] = R::zip_lanes(low, high);
        // SAFETY: as above.
        unsafe {
            let to = out.as_mut_ptr().add(done);
            R::store(to.cast(), first);
            R::store(to.add(R::BYTES / 2).cast(), second);
        }
        done += R::BYTES;
    }
    done
}

/// # Safety
/// As [`row`], at the level of `R`.
#[inline(always)]
unsafe fn registers<R: Registers>(padded: &[u16], step: usize, weights: &[u16], out: &mut [u8]) -> usize {
    // What the sign took from every sum comes back with the rounding.
    let start = R::splat32((HALF + (u32::from(SIGN) << BITS)) as i32);
    let words = R::BYTES / 2;
    let mut done = 0;
    while done + R::BYTES <= out.len() {
        let mut sums = [start; 4];
        for (pair, two) in weights.chunks(2).enumerate() {
            let second = two.get(1).copied().unwrap_or(0);
            let weight = R::splat32(i32::from(two[0]) | i32::from(second) << 16);
            // An odd last one takes its own elements once more, times zero.
            let next = if two.len() == 2 { step } else { 0 };
            for half in 0..2 {
                // SAFETY: both windows' elements lie within the padded row.
                let (a, b) = unsafe {
                    let place = padded.as_ptr().add(done + half * words + 2 * pair * step);
                    (R::load(place.cast()), R::load(place.add(next).cast()))
                };
                let [low, high] = [R::unpack_low16(a, b), R::unpack_high16(a, b)];
                sums[2 * half] = R::add32(sums[2 * half], R::madd(low, weight));
                sums[2 * half + 1] = R::add32(sums[2 * half + 1], R::madd(high, weight));
            }
        }
        for sum in &mut sums {
            *sum = R::shift32(*sum, 2 * BITS);
        }
        let bytes = R::narrow16(R::pack32(sums[0], sums[1]), R::pack32(sums[2], sums[3]));
        // SAFETY: `done + R::BYTES <= out.len()`.
        unsafe { R::store(out.as_mut_ptr().add(done), bytes) }
        done += R::BYTES;
    }
    done
}
