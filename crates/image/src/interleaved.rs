//! Blocks of interleaved bytes taken apart into planes, and put together again.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
#[cfg(target_arch = "x86_64")]
use vedette_simd::{Avx2, Avx512, Level};
use vedette_simd::{Isa, Scalar};

/// Pixels of a block: a register of bytes at the widest level.
pub const BLOCK: usize = 64;

/// One channel of a block.
pub type Plane = [u8; BLOCK];

/// A level, as far as blocks are concerned. Reached from inside [`vedette_simd::dispatch!`] alone.
pub trait Interleaved {
    /// Takes `BLOCK` pixels of `C` bytes apart.
    fn split<const C: usize>(pixels: &[[u8; C]; BLOCK], planes: &mut [Plane; C]);
    /// Puts them together.
    fn join<const C: usize>(planes: &[Plane; C], pixels: &mut [[u8; C]; BLOCK]);
}

impl Interleaved for Scalar {
    #[inline(always)]
    fn split<const C: usize>(pixels: &[[u8; C]; BLOCK], planes: &mut [Plane; C]) {
        for (x, pixel) in pixels.iter().enumerate() {
            for (plane, &value) in planes.iter_mut().zip(pixel) {
                plane[x] = value;
            }
        }
    }

    #[inline(always)]
    fn join<const C: usize>(planes: &[Plane; C], pixels: &mut [[u8; C]; BLOCK]) {
        for (x, pixel) in pixels.iter_mut().enumerate() {
            for (plane, value) in planes.iter().zip(pixel) {
                *value = plane[x];
            }
        }
    }
}

/// Byte shuffles that collect 16 values of each plane from `C` registers: `[plane][register]`.
#[cfg(target_arch = "x86_64")]
const fn split_masks<const C: usize>() -> [[[i8; 16]; C]; C] {
    let mut masks = [[[-1i8; 16]; C]; C];
    let mut byte = 0;
    while byte < 16 * C {
        masks[byte % C][byte / 16][byte / C] = (byte % 16) as i8;
        byte += 1;
    }
    masks
}

/// Byte shuffles that interleave 16 values of `C` planes: `[register][plane]`.
#[cfg(target_arch = "x86_64")]
pub const fn join_masks<const C: usize>() -> [[[i8; 16]; C]; C] {
    let mut masks = [[[-1i8; 16]; C]; C];
    let mut byte = 0;
    while byte < 16 * C {
        masks[byte / 16][byte % C][byte % 16] = (byte / C) as i8;
        byte += 1;
    }
    masks
}

/// Byte shuffles that turn 16 pixels in `C` registers round: `[result][source]`.
#[cfg(target_arch = "x86_64")]
const fn turn_masks<const C: usize>() -> [[[i8; 16]; C]; C] {
    let mut masks = [[[-1i8; 16]; C]; C];
    let mut byte = 0;
    while byte < 16 * C {
        let from = (15 - byte / C) * C + byte % C;
        masks[byte / 16][from / 16][byte % 16] = (from % 16) as i8;
        byte += 1;
    }
    masks
}

/// Copies pixels of `C` bytes in the opposite order.
///
/// # Panics
/// Where the numbers of pixels differ.
pub fn reversed<const C: usize>(isa: Isa, pixels: &[[u8; C]], out: &mut [[u8; C]]) {
    assert_eq!(pixels.len(), out.len());
    #[allow(unused_mut, reason = "only vector levels move on")]
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if isa.level() >= Level::Avx2 {
        // SAFETY: the level is there.
        done = unsafe { turn(pixels, out) };
    }
    let _ = isa;
    for (target, pixel) in out[done..].iter_mut().zip(pixels[..pixels.len() - done].iter().rev()) {
        *target = *pixel;
    }
}

/// [`reversed`], 16 pixels at a time; returns how many pixels of `out` it did.
///
/// # Safety
/// Needs SSSE3, and equally many pixels.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "ssse3")]
unsafe fn turn<const C: usize>(pixels: &[[u8; C]], out: &mut [[u8; C]]) -> usize {
    let (from, to) = (pixels.as_flattened().as_ptr(), out.as_flattened_mut().as_mut_ptr());
    let mut done = 0;
    while done + 16 <= pixels.len() {
        let place = pixels.len() - done - 16;
        // SAFETY: both places are the first of 16 pixels.
        unsafe { shuffle(const { &turn_masks::<C>() }, (from.add(place * C), 16), (to.add(done * C), 16)) }
        done += 16;
    }
    done
}

/// Each of `C` results is all sources, shuffled by its own masks and laid over each other.
///
/// # Safety
/// Needs SSSE3; 16 bytes must be readable `i * from.1` behind the first pointer and writable `i * to.1` behind the second
/// for every `i` below `C`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn shuffle<const C: usize>(
    masks: &[[[i8; 16]; C]; C],
    from: (*const u8, usize),
    to: (*mut u8, usize),
) {
    // SAFETY: as the caller grants.
    unsafe {
        let mut sources = [_mm_setzero_si128(); C];
        for i in 0..C {
            sources[i] = _mm_loadu_si128(from.0.add(i * from.1).cast());
        }
        for result in 0..C {
            let mut bytes = _mm_setzero_si128();
            for i in 0..C {
                let mask = _mm_loadu_si128(masks[result][i].as_ptr().cast());
                bytes = _mm_or_si128(bytes, _mm_shuffle_epi8(sources[i], mask));
            }
            _mm_storeu_si128(to.0.add(result * to.1).cast(), bytes);
        }
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! by_shuffles {
    ($level:ty) => {
        impl Interleaved for $level {
            #[inline(always)]
            fn split<const C: usize>(pixels: &[[u8; C]; BLOCK], planes: &mut [Plane; C]) {
                let (from, to) = (pixels.as_flattened().as_ptr(), planes.as_flattened_mut().as_mut_ptr());
                for x in (0..BLOCK).step_by(16) {
                    // SAFETY: the level is there; 16 pixels from x on lie within the block.
                    unsafe {
                        shuffle(const { &split_masks::<C>() }, (from.add(x * C), 16), (to.add(x), BLOCK))
                    }
                }
            }

            #[inline(always)]
            fn join<const C: usize>(planes: &[Plane; C], pixels: &mut [[u8; C]; BLOCK]) {
                let (from, to) = (planes.as_flattened().as_ptr(), pixels.as_flattened_mut().as_mut_ptr());
                for x in (0..BLOCK).step_by(16) {
                    // SAFETY: as above.
                    unsafe {
                        shuffle(const { &join_masks::<C>() }, (from.add(x), BLOCK), (to.add(x * C), 16))
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
by_shuffles!(Avx2);
#[cfg(target_arch = "x86_64")]
by_shuffles!(Avx512);

/// Calls `f` with the planes of each block of `row`, and writes the planes it fills to `out`.
///
/// # Panics
/// Where the rows do not hold equally many pixels.
#[inline(always)]
pub fn each_block<S: Interleaved, const A: usize, const B: usize>(
    row: &[u8],
    out: &mut [u8],
    mut f: impl FnMut(&[Plane; A], &mut [Plane; B]),
) {
    let (row, out) = (row.as_chunks::<A>().0, out.as_chunks_mut::<B>().0);
    assert_eq!(row.len(), out.len());
    let (mut planes, mut results) = ([[0; BLOCK]; A], [[0; BLOCK]; B]);
    let (blocks, last) = row.as_chunks::<BLOCK>();
    let (targets, rest) = out.as_chunks_mut::<BLOCK>();
    for (block, target) in blocks.iter().zip(targets) {
        S::split(block, &mut planes);
        f(&planes, &mut results);
        S::join(&results, target);
    }
    if !last.is_empty() {
        let (mut block, mut target) = ([[0; A]; BLOCK], [[0; B]; BLOCK]);
        block[..last.len()].copy_from_slice(last);
        S::split(&block, &mut planes);
        f(&planes, &mut results);
        S::join(&results, &mut target);
        rest.copy_from_slice(&target[..last.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<const C: usize>() {
        for len in [0, 1, 15, 16, 17, 64, 101] {
            let bytes: Vec<u8> =
                (0..len * C).map(|i: usize| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
            let pixels = bytes.as_chunks::<C>().0;
            for isa in Isa::available() {
                let mut out = vec![[0; C]; len];
                reversed(isa, pixels, &mut out);
                assert!(out.iter().eq(pixels.iter().rev()), "{len} pixels of {C} at {}", isa.name());
            }
        }
    }

    #[test]
    fn pixels_are_turned_round_whole() {
        check::<1>();
        check::<2>();
        check::<3>();
        check::<4>();
    }
}
