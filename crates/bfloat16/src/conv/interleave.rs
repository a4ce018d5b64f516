//! Three planes as rounded pixels of four values, the last of them zero.

use vedette_simd::{Isa, bf16_bits};

/// Writes `count` pixels of a value of each plane.
///
/// # Safety
/// The planes are readable for `count` values, `to` is writable for four times as many and lies apart.
pub(crate) unsafe fn interleave(isa: Isa, planes: [*const f32; 3], to: *mut u16, count: usize) {
    #[cfg(target_arch = "x86_64")]
    if isa.has_bf16() {
        // SAFETY: as granted by the caller; the CPU has the level's instructions.
        return unsafe { x86::interleave(planes, to, count) };
    }
    let _ = isa;
    for i in 0..count {
        // SAFETY: pixel i of every plane and of the output.
        unsafe {
            let value = |plane: usize| bf16_bits(*planes[plane].add(i));
            to.add(4 * i).cast::<[u16; 4]>().write_unaligned([value(0), value(1), value(2), 0]);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// # Safety
    /// As for [`super::interleave`], and the CPU has AVX-512 BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    pub(super) unsafe fn interleave(planes: [*const f32; 3], to: *mut u16, count: usize) {
        // Words of the first two planes, then words of the third and zeros, taken in turn.
        let order = |first: i32| -> [i32; 16] {
            std::array::from_fn(|i| first + (i / 2) as i32 + if i % 2 == 1 { 16 } else { 0 })
        };
        // SAFETY: masked lanes are neither read nor written.
        unsafe {
            let low_order = _mm512_loadu_si512(order(0).as_ptr().cast());
            let high_order = _mm512_loadu_si512(order(8).as_ptr().cast());
            for first in (0..count).step_by(16) {
                let left = (count - first).min(16);
                let lanes = ((1u32 << left) - 1) as __mmask16;
                let words = |plane: usize| {
                    let values = _mm512_maskz_loadu_ps(lanes, planes[plane].add(first));
                    let rounded: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(values));
                    _mm512_cvtepu16_epi32(rounded)
                };
                let pairs = _mm512_or_si512(words(0), _mm512_slli_epi32::<16>(words(1)));
                let third = words(2);
                let low = _mm512_permutex2var_epi32(pairs, low_order, third);
                let high = _mm512_permutex2var_epi32(pairs, high_order, third);
                let at = to.add(4 * first).cast::<i32>();
                let mask = |words: usize| ((1u32 << words.min(16)) - 1) as __mmask16;
                _mm512_mask_storeu_epi32(at, mask(2 * left), low);
                if left > 8 {
                    _mm512_mask_storeu_epi32(at.add(16), mask(2 * left - 16), high);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_writes_the_same_pixels_and_no_others() {
        let values: Vec<f32> = (0..120).map(|i| i as f32 * 0.71 - 40.0).collect();
        for isa in Isa::available() {
            for count in [1, 7, 8, 9, 15, 16, 17, 39] {
                let mut found = vec![3u16; 4 * count + 1];
                let planes = [0, 40, 80].map(|start| values[start..].as_ptr());
                // SAFETY: the planes have 40 values, the output room for the pixels.
                unsafe { interleave(isa, planes, found.as_mut_ptr(), count) };
                for i in 0..count {
                    let pixel = [0, 40, 80].map(|start| bf16_bits(values[start + i]));
                    assert_eq!(found[4 * i..][..4], [pixel[0], pixel[1], pixel[2], 0], "{}", isa.name());
                }
                assert_eq!(found[4 * count], 3);
            }
        }
    }
}
