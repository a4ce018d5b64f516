//! Registers of bytes at the x86 levels, for kernels that are the same at each but for the width.

use std::arch::x86_64::*;
use vedette_simd::{Avx2, Avx512};

/// The instructions on whole registers of integers. Where one works on lanes of 128 bits, so does the wider one.
///
/// Every method is `#[inline(always)]` and must be reached from inside [`vedette_simd::call_avx2`] or
/// [`vedette_simd::call_avx512`], whichever the level is.
pub trait Registers {
    /// A register.
    type V: Copy;
    /// Its bytes.
    const BYTES: usize;

    /// # Safety
    /// A register's bytes must be readable.
    unsafe fn load(from: *const u8) -> Self::V;
    /// # Safety
    /// A register's bytes must be writable.
    unsafe fn store(to: *mut u8, value: Self::V);
    /// Sixteen bytes from as many places as there are lanes.
    /// # Safety
    /// They must be readable.
    unsafe fn load_lanes(place: impl Fn(usize) -> *const u8) -> Self::V;
    /// Sixteen bytes in every lane.
    fn lanes(bytes: &[i8; 16]) -> Self::V;
    fn splat16(value: i16) -> Self::V;
    fn splat32(value: i32) -> Self::V;
    fn add16(a: Self::V, b: Self::V) -> Self::V;
    fn add32(a: Self::V, b: Self::V) -> Self::V;
    /// Shifts right, the sign going along.
    fn shift32(a: Self::V, count: u32) -> Self::V;
    /// The high bits of products of 16 bits with 15 of them behind the point, rounded to the nearest.
    fn multiply_high16(a: Self::V, b: Self::V) -> Self::V;
    /// Sums of two neighbouring products of 16 bits.
    fn madd(a: Self::V, b: Self::V) -> Self::V;
    /// Sums of two neighbouring products of an unsigned and a signed byte.
    fn maddubs(a: Self::V, b: Self::V) -> Self::V;
    fn unpack_low8(a: Self::V, b: Self::V) -> Self::V;
    fn unpack_high8(a: Self::V, b: Self::V) -> Self::V;
    fn unpack_low16(a: Self::V, b: Self::V) -> Self::V;
    fn unpack_high16(a: Self::V, b: Self::V) -> Self::V;
    /// 32 bits to 16, saturating.
    fn pack32(a: Self::V, b: Self::V) -> Self::V;
    /// 16 bits to unsigned bytes, saturating.
    fn pack16(a: Self::V, b: Self::V) -> Self::V;
    /// 16 bits to unsigned bytes, saturating, in order.
    fn narrow16(a: Self::V, b: Self::V) -> Self::V;
    /// Bytes of each lane by index; a negative index gives zero.
    fn shuffle(a: Self::V, indices: Self::V) -> Self::V;
    /// Groups of 32 bits from anywhere, by the index in each place.
    fn permute32(a: Self::V, indices: Self::V) -> Self::V;
    fn unpack_low32(a: Self::V, b: Self::V) -> Self::V;
    fn unpack_high32(a: Self::V, b: Self::V) -> Self::V;
    fn unpack_low64(a: Self::V, b: Self::V) -> Self::V;
    fn unpack_high64(a: Self::V, b: Self::V) -> Self::V;
    /// Eight bytes from each of as many places as fit.
    /// # Safety
    /// They must be readable.
    unsafe fn load_groups(place: impl Fn(usize) -> *const u8) -> Self::V;
    /// 32 bits to 16, saturating, in order.
    /// # Safety
    /// Half a register must be writable.
    unsafe fn store_narrow32(to: *mut i16, value: Self::V);
    fn and(a: Self::V, b: Self::V) -> Self::V;
    fn or(a: Self::V, b: Self::V) -> Self::V;
    /// The bits of `a` where the mask has ones, else those of `b`.
    fn select(mask: Self::V, a: Self::V, b: Self::V) -> Self::V;
    /// Of unsigned bytes, saturating.
    fn subtract8(a: Self::V, b: Self::V) -> Self::V;
    /// The low 32 bits of products.
    fn multiply32(a: Self::V, b: Self::V) -> Self::V;
    /// Shifts right, zeros coming in.
    fn shift_zero32(a: Self::V, count: u32) -> Self::V;
    /// The undoing of [`zip_lanes`](Self::zip_lanes).
    fn unzip_lanes(a: Self::V, b: Self::V) -> [Self::V; 2];
    /// Shifts left.
    fn shift_left32(a: Self::V, count: u32) -> Self::V;
    /// Stores the lanes in order, `step` bytes apart.
    /// # Safety
    /// Sixteen bytes must be writable at each place.
    unsafe fn store_lanes_at(to: *mut u8, step: usize, value: Self::V);
    /// Stores the first lane of each register in turn, then the second of each, and so on.
    /// # Safety
    /// `N` registers must be writable.
    #[inline(always)]
    unsafe fn store_lanes<const N: usize>(to: *mut u8, values: [Self::V; N]) {
        for i in 0..N {
            // SAFETY: as the caller grants.
            unsafe { Self::store_lanes_at(to.add(16 * i), 16 * N, values[i]) }
        }
    }
    /// Lanes of both in turn: the first half of `a, b, a, b, ...`, and the second.
    fn zip_lanes(a: Self::V, b: Self::V) -> [Self::V; 2];
}

/// Eight bytes from each of two places.
///
/// # Safety
/// They must be readable.
#[inline(always)]
unsafe fn two_groups(low: *const u8, high: *const u8) -> __m128i {
    // SAFETY: as the caller grants; neither load minds alignment.
    unsafe {
        let low = _mm_castsi128_pd(_mm_loadl_epi64(low.cast()));
        _mm_castpd_si128(_mm_loadh_pd(low, high.cast()))
    }
}

/// Methods that are one intrinsic each.
macro_rules! intrinsics {
    ($vector:ty: $($name:ident($($argument:ident),+) = $intrinsic:ident;)*) => {
        $(
            #[inline(always)]
            fn $name($($argument: $vector),+) -> $vector {
                // SAFETY: reached only where the level is there, as the trait demands.
                unsafe { $intrinsic($($argument),+) }
            }
        )*
    };
}

impl Registers for Avx2 {
    type V = __m256i;
    const BYTES: usize = 32;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> __m256i {
        // SAFETY: as the caller grants.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut u8, value: __m256i) {
        // SAFETY: as the caller grants.
        unsafe { _mm256_storeu_si256(to.cast(), value) }
    }
    #[inline(always)]
    unsafe fn load_lanes(place: impl Fn(usize) -> *const u8) -> __m256i {
        // SAFETY: as the caller grants.
        unsafe {
            let first = _mm256_castsi128_si256(_mm_loadu_si128(place(0).cast()));
            _mm256_inserti128_si256::<1>(first, _mm_loadu_si128(place(1).cast()))
        }
    }
    #[inline(always)]
    fn lanes(bytes: &[i8; 16]) -> __m256i {
        // SAFETY: 16 bytes are read.
        unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes.as_ptr().cast())) }
    }
    #[inline(always)]
    fn splat16(value: i16) -> __m256i {
        // SAFETY: reached only where the level is there.
        unsafe { _mm256_set1_epi16(value) }
    }
    #[inline(always)]
    fn splat32(value: i32) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_set1_epi32(value) }
    }
    #[inline(always)]
    fn shift32(a: __m256i, count: u32) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_sra_epi32(a, _mm_cvtsi32_si128(count as i32)) }
    }
    #[inline(always)]
    fn permute32(a: __m256i, indices: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_permutevar8x32_epi32(a, indices) }
    }
    #[inline(always)]
    fn zip_lanes(a: __m256i, b: __m256i) -> [__m256i; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_permute2x128_si256::<0x20>(a, b), _mm256_permute2x128_si256::<0x31>(a, b)] }
    }
    #[inline(always)]
    unsafe fn load_groups(place: impl Fn(usize) -> *const u8) -> __m256i {
        // SAFETY: as the caller grants.
        unsafe { _mm256_set_m128i(two_groups(place(2), place(3)), two_groups(place(0), place(1))) }
    }
    #[inline(always)]
    unsafe fn store_narrow32(to: *mut i16, value: __m256i) {
        // SAFETY: as the caller grants.
        unsafe {
            let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packs_epi32(value, value));
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(packed));
        }
    }
    #[inline(always)]
    fn select(mask: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_or_si256(_mm256_and_si256(mask, a), _mm256_andnot_si256(mask, b)) }
    }
    #[inline(always)]
    fn narrow16(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_permute4x64_epi64::<0b11_01_10_00>(Self::pack16(a, b)) }
    }
    #[inline(always)]
    fn shift_zero32(a: __m256i, count: u32) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_srl_epi32(a, _mm_cvtsi32_si128(count as i32)) }
    }
    #[inline(always)]
    fn unzip_lanes(a: __m256i, b: __m256i) -> [__m256i; 2] {
        // Two lanes each: the same as zipping.
        Self::zip_lanes(a, b)
    }
    #[inline(always)]
    fn shift_left32(a: __m256i, count: u32) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_sll_epi32(a, _mm_cvtsi32_si128(count as i32)) }
    }
    #[inline(always)]
    unsafe fn store_lanes_at(to: *mut u8, step: usize, value: __m256i) {
        // SAFETY: as the caller grants.
        unsafe {
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(value));
            _mm_storeu_si128(to.add(step).cast(), _mm256_extracti128_si256::<1>(value));
        }
    }
    intrinsics! { __m256i:
        unpack_low32(a, b) = _mm256_unpacklo_epi32;
        unpack_high32(a, b) = _mm256_unpackhi_epi32;
        unpack_low64(a, b) = _mm256_unpacklo_epi64;
        unpack_high64(a, b) = _mm256_unpackhi_epi64;
        add16(a, b) = _mm256_add_epi16;
        add32(a, b) = _mm256_add_epi32;
        multiply_high16(a, b) = _mm256_mulhrs_epi16;
        madd(a, b) = _mm256_madd_epi16;
        maddubs(a, b) = _mm256_maddubs_epi16;
        unpack_low8(a, b) = _mm256_unpacklo_epi8;
        unpack_high8(a, b) = _mm256_unpackhi_epi8;
        unpack_low16(a, b) = _mm256_unpacklo_epi16;
        and(a, b) = _mm256_and_si256;
        or(a, b) = _mm256_or_si256;
        subtract8(a, b) = _mm256_subs_epu8;
        multiply32(a, b) = _mm256_mullo_epi32;
        unpack_high16(a, b) = _mm256_unpackhi_epi16;
        pack32(a, b) = _mm256_packs_epi32;
        pack16(a, b) = _mm256_packus_epi16;
        shuffle(a, indices) = _mm256_shuffle_epi8;
    }
}

impl Registers for Avx512 {
    type V = __m512i;
    const BYTES: usize = 64;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> __m512i {
        // SAFETY: as the caller grants.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut u8, value: __m512i) {
        // SAFETY: as the caller grants.
        unsafe { _mm512_storeu_si512(to.cast(), value) }
    }
    #[inline(always)]
    unsafe fn load_lanes(place: impl Fn(usize) -> *const u8) -> __m512i {
        // SAFETY: as the caller grants. Lanes are put in one by one, as that takes no shuffle where they come from memory.
        unsafe {
            let lanes = _mm512_castsi256_si512(<Avx2 as Registers>::load_lanes(&place));
            let lanes = _mm512_inserti32x4::<2>(lanes, _mm_loadu_si128(place(2).cast()));
            _mm512_inserti32x4::<3>(lanes, _mm_loadu_si128(place(3).cast()))
        }
    }
    #[inline(always)]
    fn lanes(bytes: &[i8; 16]) -> __m512i {
        // SAFETY: 16 bytes are read.
        unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(bytes.as_ptr().cast())) }
    }
    #[inline(always)]
    fn splat16(value: i16) -> __m512i {
        // SAFETY: reached only where the level is there.
        unsafe { _mm512_set1_epi16(value) }
    }
    #[inline(always)]
    fn splat32(value: i32) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_set1_epi32(value) }
    }
    #[inline(always)]
    fn shift32(a: __m512i, count: u32) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_sra_epi32(a, _mm_cvtsi32_si128(count as i32)) }
    }
    #[inline(always)]
    fn permute32(a: __m512i, indices: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_permutexvar_epi32(indices, a) }
    }
    #[inline(always)]
    fn zip_lanes(a: __m512i, b: __m512i) -> [__m512i; 2] {
        // SAFETY: as above.
        unsafe {
            [
                _mm512_permutex2var_epi64(a, _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0), b),
                _mm512_permutex2var_epi64(a, _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4), b),
            ]
        }
    }
    #[inline(always)]
    unsafe fn load_groups(place: impl Fn(usize) -> *const u8) -> __m512i {
        // SAFETY: as the caller grants.
        unsafe {
            let low = <Avx2 as Registers>::load_groups(&place);
            let high = <Avx2 as Registers>::load_groups(|group| place(4 + group));
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
        }
    }
    #[inline(always)]
    unsafe fn store_narrow32(to: *mut i16, value: __m512i) {
        // SAFETY: as the caller grants.
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtsepi32_epi16(value)) }
    }
    #[inline(always)]
    fn select(mask: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above. The table of the instruction: its first operand chooses between the others.
        unsafe { _mm512_ternarylogic_epi32::<0b1100_1010>(mask, a, b) }
    }
    #[inline(always)]
    fn narrow16(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_permutexvar_epi64(_mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0), Self::pack16(a, b)) }
    }
    #[inline(always)]
    fn shift_zero32(a: __m512i, count: u32) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_srl_epi32(a, _mm_cvtsi32_si128(count as i32)) }
    }
    #[inline(always)]
    fn unzip_lanes(a: __m512i, b: __m512i) -> [__m512i; 2] {
        // SAFETY: as above.
        unsafe { [_mm512_shuffle_i32x4::<0b10_00_10_00>(a, b), _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b)] }
    }
    #[inline(always)]
    fn shift_left32(a: __m512i, count: u32) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_sll_epi32(a, _mm_cvtsi32_si128(count as i32)) }
    }
    #[inline(always)]
    unsafe fn store_lanes_at(to: *mut u8, step: usize, value: __m512i) {
        // SAFETY: as the caller grants.
        unsafe {
            _mm_storeu_si128(to.cast(), _mm512_castsi512_si128(value));
            _mm_storeu_si128(to.add(step).cast(), _mm512_extracti32x4_epi32::<1>(value));
            _mm_storeu_si128(to.add(2 * step).cast(), _mm512_extracti32x4_epi32::<2>(value));
            _mm_storeu_si128(to.add(3 * step).cast(), _mm512_extracti32x4_epi32::<3>(value));
        }
    }
    intrinsics! { __m512i:
        unpack_low32(a, b) = _mm512_unpacklo_epi32;
        unpack_high32(a, b) = _mm512_unpackhi_epi32;
        unpack_low64(a, b) = _mm512_unpacklo_epi64;
        unpack_high64(a, b) = _mm512_unpackhi_epi64;
        add16(a, b) = _mm512_add_epi16;
        add32(a, b) = _mm512_add_epi32;
        multiply_high16(a, b) = _mm512_mulhrs_epi16;
        madd(a, b) = _mm512_madd_epi16;
        maddubs(a, b) = _mm512_maddubs_epi16;
        unpack_low8(a, b) = _mm512_unpacklo_epi8;
        unpack_high8(a, b) = _mm512_unpackhi_epi8;
        unpack_low16(a, b) = _mm512_unpacklo_epi16;
        and(a, b) = _mm512_and_si512;
        or(a, b) = _mm512_or_si512;
        subtract8(a, b) = _mm512_subs_epu8;
        multiply32(a, b) = _mm512_mullo_epi32;
        unpack_high16(a, b) = _mm512_unpackhi_epi16;
        pack32(a, b) = _mm512_packs_epi32;
        pack16(a, b) = _mm512_packus_epi16;
        shuffle(a, indices) = _mm512_shuffle_epi8;
    }
}
