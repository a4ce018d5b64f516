use crate::real::Doubles;
use crate::x86::{Avx2, Avx512};
use std::arch::x86_64::*;

// A window over this table, taken at 4 - n, has its first n lanes set.
static MASKS: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

#[inline(always)]
fn mask4(n: usize) -> __m256i {
    debug_assert!(n <= 4);
    // SAFETY: 4 - n <= 4, so the 4 lanes read end within the 8 of the table; AVX is on inside dispatch.
    unsafe { _mm256_loadu_si256(MASKS.as_ptr().add(4 - n.min(4)).cast()) }
}

// SAFETY (all blocks of both impls): values of these types are only used inside `dispatch!`, which checks the CPU.
impl Doubles for Avx2 {
    type D = __m256d;
    const DOUBLES: usize = 4;

    #[inline(always)]
    fn splat_doubles(x: f64) -> __m256d {
        // SAFETY: see the impl.
        unsafe { _mm256_set1_pd(x) }
    }
    #[inline(always)]
    unsafe fn load_doubles(p: *const f64, n: usize) -> __m256d {
        // SAFETY: see the impl; masked lanes are not read.
        unsafe { if n == 4 { _mm256_loadu_pd(p) } else { _mm256_maskload_pd(p, mask4(n)) } }
    }
    #[inline(always)]
    unsafe fn store_doubles(p: *mut f64, v: __m256d, n: usize) {
        // SAFETY: see the impl; masked lanes are not written.
        unsafe { if n == 4 { _mm256_storeu_pd(p, v) } else { _mm256_maskstore_pd(p, mask4(n), v) } }
    }
    #[inline(always)]
    fn add_doubles(a: __m256d, b: __m256d) -> __m256d {
        // SAFETY: see the impl.
        unsafe { _mm256_add_pd(a, b) }
    }
    #[inline(always)]
    fn mul_add_doubles(a: __m256d, b: __m256d, c: __m256d) -> __m256d {
        // SAFETY: see the impl.
        unsafe { _mm256_fmadd_pd(a, b, c) }
    }
}

#[inline(always)]
fn mask8(n: usize) -> __mmask8 {
    debug_assert!(n <= 8);
    ((1u32 << n) - 1) as __mmask8
}

impl Doubles for Avx512 {
    type D = __m512d;
    const DOUBLES: usize = 8;

    #[inline(always)]
    fn splat_doubles(x: f64) -> __m512d {
        // SAFETY: see the impl.
        unsafe { _mm512_set1_pd(x) }
    }
    #[inline(always)]
    unsafe fn load_doubles(p: *const f64, n: usize) -> __m512d {
        // SAFETY: see the impl; masked lanes are not read.
        unsafe { if n == 8 { _mm512_loadu_pd(p) } else { _mm512_maskz_loadu_pd(mask8(n), p) } }
    }
    #[inline(always)]
    unsafe fn store_doubles(p: *mut f64, v: __m512d, n: usize) {
        // SAFETY: see the impl; masked lanes are not written.
        unsafe { if n == 8 { _mm512_storeu_pd(p, v) } else { _mm512_mask_storeu_pd(p, mask8(n), v) } }
    }
    #[inline(always)]
    fn add_doubles(a: __m512d, b: __m512d) -> __m512d {
        // SAFETY: see the impl.
        unsafe { _mm512_add_pd(a, b) }
    }
    #[inline(always)]
    fn mul_add_doubles(a: __m512d, b: __m512d, c: __m512d) -> __m512d {
        // SAFETY: see the impl.
        unsafe { _mm512_fmadd_pd(a, b, c) }
    }
}
