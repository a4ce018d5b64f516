//! Pixels in whole registers.

use super::row::{BITS, LUMA, Order};
use crate::interleaved::join_masks;
use crate::registers::Registers;
use vedette_simd::{Avx2, Avx512, Isa, Level, call_avx2, call_avx512};

/// As many pixels as whole registers hold; returns how many.
///
/// # Safety
/// There is a part of chroma for every two of `luma`, and `out` has as many pixels.
pub unsafe fn decode(isa: Isa, luma: &[u8], parts: [&[i32]; 3], order: Order, out: &mut [u8]) -> usize {
    // SAFETY: the level is there; the rest is the caller's promise.
    unsafe {
        match (isa.level(), order.channels) {
            (Level::Avx512, 3) => call_avx512(
                #[inline(always)]
                || registers::<Avx512, 3>(luma, parts, order.reversed, out),
            ),
            (Level::Avx512, _) => call_avx512(
                #[inline(always)]
                || registers::<Avx512, 4>(luma, parts, order.reversed, out),
            ),
            (Level::Avx2, 3) => call_avx2(
                #[inline(always)]
                || registers::<Avx2, 3>(luma, parts, order.reversed, out),
            ),
            (Level::Avx2, _) => call_avx2(
                #[inline(always)]
                || registers::<Avx2, 4>(luma, parts, order.reversed, out),
            ),
            _ => 0,
        }
    }
}

/// # Safety
/// As [`decode`], at the level of `R`, for pixels of `C` bytes.
#[inline(always)]
unsafe fn registers<R: Registers, const C: usize>(
    luma: &[u8],
    parts: [&[i32]; 3],
    reversed: bool,
    out: &mut [u8],
) -> usize {
    let masks = const { join_masks::<C>() };
    let (zero, dark, factor) = (R::splat16(0), R::splat16(0x1010), R::splat32(LUMA));
    let low_word = R::splat32(0xffff);
    let mut done = 0;
    while done + R::BYTES <= luma.len() {
        // SAFETY: a register of luma, and half as many parts of each chroma.
        let levels = R::subtract8(unsafe { R::load(luma.as_ptr().add(done)) }, dark);
        // 16 bits each: of every two pixels that share their chroma, the first in the low half of 32 bits.
        let (low, high) = (R::unpack_low8(levels, zero), R::unpack_high8(levels, zero));
        let low_even = R::multiply32(R::and(low, low_word), factor);
        let low_odd = R::multiply32(R::shift_zero32(low, 16), factor);
        let high_even = R::multiply32(R::and(high, low_word), factor);
        let high_odd = R::multiply32(R::shift_zero32(high, 16), factor);
        let mut planes = [R::splat16(-1); 4];
        for channel in 0..3 {
            // SAFETY: as above.
            let [first, second] = unsafe {
                let from = parts[channel].as_ptr().add(done / 2);
                R::unzip_lanes(R::load(from.cast()), R::load(from.add(R::BYTES / 4).cast()))
            };
            let low = pairs::<R>(low_even, low_odd, first, low_word);
            let high = pairs::<R>(high_even, high_odd, second, low_word);
            planes[channel] = R::pack16(low, high);
        }
        if reversed {
            planes.swap(0, 2);
        }
        let mut lanes = [zero; C];
        for lane in 0..C {
            lanes[lane] = R::shuffle(planes[0], R::lanes(&masks[lane][0]));
            for channel in 1..C {
                let bytes = R::shuffle(planes[channel], R::lanes(&masks[lane][channel]));
                lanes[lane] = R::or(lanes[lane], bytes);
            }
        }
        // SAFETY: the pixels of a register lie within the output.
        unsafe { R::store_lanes(out.as_mut_ptr().add(done * C), lanes) }
        done += R::BYTES;
    }
    done
}

/// A colour of every two pixels, 16 bits each, out of their luma and the chroma they share.
#[inline(always)]
fn pairs<R: Registers>(even: R::V, odd: R::V, chroma: R::V, low_word: R::V) -> R::V {
    let even = R::shift32(R::add32(even, chroma), BITS);
    // Shifted so that the whole part stands in the upper half.
    let odd = R::shift32(R::add32(odd, chroma), BITS - 16);
    R::select(low_word, even, odd)
}
