//! bfloat16: the upper half of a float32, rounded to nearest even.

use crate::Isa;

/// The bits of `x` rounded to the nearest bfloat16, ties to even; NaN stays NaN.
#[inline(always)]
pub fn bf16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        // Quiet, as what is left of the payload may be nothing.
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// The value of a bfloat16.
#[inline(always)]
pub fn bf16_value(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Rounds `n` values to bfloat16.
///
/// A level with bfloat16 units takes subnormal numbers for zero, as its products do; all others keep them.
///
/// # Safety
/// `from` is readable and `to` writable for `n` values.
#[inline]
pub unsafe fn round_to_bf16(isa: Isa, from: *const f32, n: usize, to: *mut u16) {
    #[cfg(target_arch = "x86_64")]
    if isa.has_bf16() {
        // SAFETY: as granted by the caller; the CPU has the level's instructions.
        return unsafe { x86::round(from, n, to) };
    }
    let _ = isa;
    for i in 0..n {
        // SAFETY: i < n.
        unsafe { to.add(i).write(bf16_bits(*from.add(i))) };
    }
}

/// Runs of values that lie apart.
#[derive(Clone, Copy, Debug)]
pub struct Runs {
    /// How many.
    pub count: usize,
    /// Values of each.
    pub len: usize,
    /// Values from the beginning of one run to that of the next where they are read.
    pub from_step: isize,
    /// The same where they are written.
    pub to_step: isize,
}

/// [`round_to_bf16`] of runs of values.
///
/// # Safety
/// Every run is readable from `from` on and writable from `to` on.
#[inline]
pub unsafe fn round_runs_to_bf16(isa: Isa, from: *const f32, to: *mut u16, runs: Runs) {
    #[cfg(target_arch = "x86_64")]
    if isa.has_bf16() {
        // SAFETY: as granted by the caller; the CPU has the level's instructions.
        return unsafe { x86::round_runs(from, to, runs) };
    }
    for i in 0..runs.count as isize {
        // SAFETY: run i.
        unsafe { round_to_bf16(isa, from.offset(i * runs.from_step), runs.len, to.offset(i * runs.to_step)) };
    }
}

/// Copies runs of values of two bytes.
///
/// # Safety
/// Every run is readable from `from` on and writable from `to` on; those read and those written do not overlap.
#[inline]
pub unsafe fn copy_runs(isa: Isa, from: *const u16, to: *mut u16, runs: Runs) {
    #[cfg(target_arch = "x86_64")]
    if isa.has_bf16() && runs.len <= x86::FEW {
        // SAFETY: as granted by the caller; the CPU has the level's instructions.
        return unsafe { x86::copy_runs(from, to, runs) };
    }
    let _ = isa;
    for i in 0..runs.count as isize {
        // SAFETY: run i.
        unsafe {
            let (from, to) = (from.offset(i * runs.from_step), to.offset(i * runs.to_step));
            to.copy_from_nonoverlapping(from, runs.len);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Runs;
    use std::arch::x86_64::*;

    /// Values of a run that is copied sooner than a call of `memcpy` is made.
    pub(super) const FEW: usize = 256;

    /// # Safety
    /// As for [`super::round_runs_to_bf16`], and the CPU has AVX-512 BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub(super) unsafe fn round_runs(from: *const f32, to: *mut u16, runs: Runs) {
        for i in 0..runs.count as isize {
            // SAFETY: run i.
            unsafe { round(from.offset(i * runs.from_step), runs.len, to.offset(i * runs.to_step)) };
        }
    }

    /// # Safety
    /// As for [`super::copy_runs`], and the CPU has AVX-512 BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub(super) unsafe fn copy_runs(from: *const u16, to: *mut u16, runs: Runs) {
        let whole = runs.len / 32 * 32;
        let rest = ((1u64 << (runs.len - whole)) - 1) as __mmask32;
        for i in 0..runs.count as isize {
            // SAFETY: run i; masked values are neither read nor written.
            unsafe {
                let (from, to) = (from.offset(i * runs.from_step), to.offset(i * runs.to_step));
                for at in (0..whole).step_by(32) {
                    _mm512_storeu_si512(to.add(at).cast(), _mm512_loadu_si512(from.add(at).cast()));
                }
                if rest != 0 {
                    let last = _mm512_maskz_loadu_epi16(rest, from.add(whole).cast());
                    _mm512_mask_storeu_epi16(to.add(whole).cast(), rest, last);
                }
            }
        }
    }

    /// # Safety
    /// As for [`super::round_to_bf16`], and the CPU has AVX-512 BF16.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub(super) unsafe fn round(from: *const f32, n: usize, to: *mut u16) {
        let mut i = 0;
        // SAFETY: every access is at i.. with at most n - i values.
        unsafe {
            while i + 32 <= n {
                let (low, high) = (_mm512_loadu_ps(from.add(i)), _mm512_loadu_ps(from.add(i + 16)));
                let both: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
                _mm512_storeu_si512(to.add(i).cast(), both);
                i += 32;
            }
            while i < n {
                let lanes = (n - i).min(16);
                let mask = ((1u32 << lanes) - 1) as __mmask16;
                let values = _mm512_maskz_loadu_ps(mask, from.add(i));
                let rounded: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(values));
                _mm256_mask_storeu_epi16(to.add(i).cast(), mask, rounded);
                i += lanes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By comparing with both neighbours in double precision.
    fn nearest(x: f32) -> u16 {
        let below = (x.to_bits() >> 16) as u16;
        let above = below + 1;
        let distance = |bits: u16| (f64::from(bf16_value(bits)) - f64::from(x)).abs();
        // The value behind the largest is where infinity would stand if there were one more exponent.
        let to_above = match bf16_value(above).is_infinite() {
            true => (2f64.powi(128) - f64::from(x).abs()).abs(),
            false => distance(above),
        };
        let to_below = distance(below);
        if to_below < to_above || (to_below == to_above && below.is_multiple_of(2)) { below } else { above }
    }

    #[test]
    fn rounds_to_nearest_even_at_every_level() {
        let mut values: Vec<f32> = (0..60_000u32)
            .map(|i| f32::from_bits(i.wrapping_mul(2_654_435_761)))
            .filter(|x| x.is_finite())
            .collect();
        // Ties, both ways, and the last that do not become infinite.
        values
            .extend([0x3f80_8000, 0x3f81_8000, 0xbf80_8000, 0x7f7f_7fff, 0x7f7f_8000, 0].map(f32::from_bits));
        for isa in Isa::available() {
            let normal = |x: &&f32| !isa.has_bf16() || !x.is_subnormal();
            let values: Vec<f32> = values.iter().filter(normal).copied().collect();
            for n in [0, 1, 15, 16, 17, 31, 33, values.len()] {
                let mut found = vec![7u16; n + 1];
                // SAFETY: both have n values.
                unsafe { round_to_bf16(isa, values.as_ptr(), n, found.as_mut_ptr()) };
                for (x, y) in values.iter().zip(&found[..n]) {
                    assert_eq!(*y, nearest(*x), "{} {x:e}", isa.name());
                }
                assert_eq!(found[n], 7);
            }
        }
    }

    #[test]
    fn runs_are_rounded_and_copied_and_nothing_between_them() {
        let values: Vec<f32> = (0..4000).map(|i| i as f32 * 0.71 - 40.0).collect();
        let words: Vec<u16> = values.iter().map(|&x| bf16_bits(x)).collect();
        for isa in Isa::available() {
            for len in [0, 1, 15, 16, 31, 32, 33, 48, 96, 300] {
                let runs = Runs { count: 3, len, from_step: len as isize + 5, to_step: len as isize + 2 };
                let mut found = [vec![3u16; 3 * (len + 2)], vec![3u16; 3 * (len + 2)]];
                // SAFETY: room for three runs, on both sides.
                unsafe {
                    round_runs_to_bf16(isa, values.as_ptr(), found[0].as_mut_ptr(), runs);
                    copy_runs(isa, words.as_ptr(), found[1].as_mut_ptr(), runs);
                }
                let expected: Vec<u16> =
                    (0..3).flat_map(|i| [&words[i * (len + 5)..][..len], &[3, 3]].concat()).collect();
                assert_eq!(found, [expected.clone(), expected], "{} {len}", isa.name());
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_so() {
        let values = [
            f32::NAN,
            f32::from_bits(0x7f80_0001),
            f32::from_bits(0xff80_0001),
            f32::INFINITY,
            -f32::INFINITY,
        ];
        for isa in Isa::available() {
            let mut found = [0u16; 5];
            // SAFETY: both have five values.
            unsafe { round_to_bf16(isa, values.as_ptr(), 5, found.as_mut_ptr()) };
            let found = found.map(bf16_value);
            assert!(found[..3].iter().all(|x| x.is_nan()), "{}", isa.name());
            assert_eq!(found[3..], values[3..]);
        }
    }
}
