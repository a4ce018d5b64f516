//! What vectors of `f32` lanes need beside [`Simd`] to meet bytes and sums.

use vedette_simd::{Scalar, Simd};

/// Conversions between lanes and integers; as for [`Simd`], to be used inside [`vedette_simd::dispatch!`].
pub(crate) trait Lanes: Simd {
    /// `f32(sums[i] - totals[i] * factor)`, where integers wrap.
    ///
    /// # Safety
    /// Both are readable for `LANES` values.
    unsafe fn load_difference(sums: *const i32, totals: *const i32, factor: i32) -> Self::V;

    /// Stores lanes that are integers from 0 to 255.
    ///
    /// # Safety
    /// `to` is writable for `LANES` bytes.
    unsafe fn store_bytes(to: *mut u8, v: Self::V);
}

impl Lanes for Scalar {
    #[inline(always)]
    unsafe fn load_difference(sums: *const i32, totals: *const i32, factor: i32) -> Self::V {
        // SAFETY: as granted by the caller.
        std::array::from_fn(|i| unsafe {
            (*sums.add(i)).wrapping_sub((*totals.add(i)).wrapping_mul(factor)) as f32
        })
    }

    #[inline(always)]
    unsafe fn store_bytes(to: *mut u8, v: Self::V) {
        for (i, lane) in v.into_iter().enumerate() {
            // SAFETY: as granted by the caller.
            unsafe { to.add(i).write(lane as u8) };
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;
    use vedette_simd::{Avx2, Avx512};

    // SAFETY (all blocks of both impls): values of these types are only used inside `dispatch!`, which checks the CPU;
    // the memory is as the caller grants.
    impl Lanes for Avx2 {
        #[inline(always)]
        unsafe fn load_difference(sums: *const i32, totals: *const i32, factor: i32) -> __m256 {
            // SAFETY: see the impl.
            unsafe {
                let (sums, totals) = (_mm256_loadu_si256(sums.cast()), _mm256_loadu_si256(totals.cast()));
                let shift = _mm256_mullo_epi32(totals, _mm256_set1_epi32(factor));
                _mm256_cvtepi32_ps(_mm256_sub_epi32(sums, shift))
            }
        }

        #[inline(always)]
        unsafe fn store_bytes(to: *mut u8, v: __m256) {
            // SAFETY: see the impl.
            unsafe {
                let integers = _mm256_cvtps_epi32(v);
                let (low, high) = (_mm256_castsi256_si128(integers), _mm256_extracti128_si256::<1>(integers));
                let words = _mm_packs_epi32(low, high);
                _mm_storel_epi64(to.cast(), _mm_packus_epi16(words, words));
            }
        }
    }

    impl Lanes for Avx512 {
        #[inline(always)]
        unsafe fn load_difference(sums: *const i32, totals: *const i32, factor: i32) -> __m512 {
            // SAFETY: see the impl.
            unsafe {
                let (sums, totals) = (_mm512_loadu_si512(sums.cast()), _mm512_loadu_si512(totals.cast()));
                let shift = _mm512_mullo_epi32(totals, _mm512_set1_epi32(factor));
                _mm512_cvtepi32_ps(_mm512_sub_epi32(sums, shift))
            }
        }

        #[inline(always)]
        unsafe fn store_bytes(to: *mut u8, v: __m512) {
            // SAFETY: see the impl.
            unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(v))) };
        }
    }
}
