//! Bytes replaced by what a table of 256 says.

use vedette_simd::Isa;

/// Replaces `n` bytes in place.
///
/// # Safety
/// The bytes are readable and writable.
pub(crate) unsafe fn apply(isa: Isa, table: &[u8; 256], bytes: *mut u8, n: usize) {
    #[cfg(target_arch = "x86_64")]
    if isa.level() >= vedette_simd::Level::Avx512 && vedette_simd::features().avx512_vbmi {
        // SAFETY: as granted by the caller, and the CPU has the instructions.
        unsafe { apply_vbmi(table, bytes, n) };
        return;
    }
    let _ = isa;
    for i in 0..n {
        // SAFETY: byte i of the n.
        unsafe { *bytes.add(i) = table[usize::from(*bytes.add(i))] };
    }
}

/// # Safety
/// As for [`apply`], and the CPU has AVX-512 F, BW and VBMI.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
unsafe fn apply_vbmi(table: &[u8; 256], bytes: *mut u8, n: usize) {
    use std::arch::x86_64::*;
    // SAFETY: four quarters of 64 bytes are the table; the bytes are touched only below n.
    unsafe {
        let quarter = |i: usize| _mm512_loadu_si512(table.as_ptr().add(64 * i).cast());
        let [a, b, c, d] = [quarter(0), quarter(1), quarter(2), quarter(3)];
        let mut i = 0;
        while i < n {
            let lanes = if n - i >= 64 { !0 } else { (1u64 << (n - i)) - 1 };
            let index = _mm512_maskz_loadu_epi8(lanes, bytes.add(i).cast());
            // The instruction looks at seven bits; the eighth chooses the half.
            let low = _mm512_permutex2var_epi8(a, index, b);
            let high = _mm512_permutex2var_epi8(c, index, d);
            let value = _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
            _mm512_mask_storeu_epi8(bytes.add(i).cast(), lanes, value);
            i += 64;
        }
    }
}
