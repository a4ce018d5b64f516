//! Vectors of float32 on their way to memory: as they are, or rounded to bfloat16.

use crate::bf16::bf16_bits;
use crate::vector::Simd;

/// How results are written.
pub trait Store: Copy {
    /// Bytes of a value.
    const BYTES: usize;

    /// Writes the first `n` lanes, at most all, to the `at`th value and those behind.
    ///
    /// # Safety
    /// These values are writable; the CPU has what this way needs.
    unsafe fn store<S: Simd>(to: *mut u8, at: usize, v: S::V, n: usize);

    /// Writes two whole vectors, one behind the other.
    ///
    /// # Safety
    /// As for [`store`](Self::store).
    #[inline(always)]
    unsafe fn store_pair<S: Simd>(to: *mut u8, at: usize, [low, high]: [S::V; 2]) {
        // SAFETY: as granted by the caller.
        unsafe {
            Self::store::<S>(to, at, low, S::LANES);
            Self::store::<S>(to, at + S::LANES, high, S::LANES);
        }
    }
}

/// As they are.
#[derive(Clone, Copy, Debug)]
pub struct AsFloat32;

impl Store for AsFloat32 {
    const BYTES: usize = size_of::<f32>();

    #[inline(always)]
    unsafe fn store<S: Simd>(to: *mut u8, at: usize, v: S::V, n: usize) {
        let to = to.cast::<f32>().wrapping_add(at);
        // SAFETY: as granted by the caller.
        unsafe { if n == S::LANES { S::store(to, v) } else { S::store_partial(to, v, n) } }
    }
}

/// Rounded to bfloat16 one by one.
#[derive(Clone, Copy, Debug)]
pub struct AsBfloat16;

impl Store for AsBfloat16 {
    const BYTES: usize = size_of::<u16>();

    #[inline(always)]
    unsafe fn store<S: Simd>(to: *mut u8, at: usize, v: S::V, n: usize) {
        let mut lanes = [0.0f32; 16];
        // SAFETY: no vector has more lanes; the rest is granted by the caller.
        unsafe {
            S::store(lanes.as_mut_ptr(), v);
            for (i, &x) in lanes.iter().enumerate().take(n) {
                to.cast::<u16>().add(at + i).write(bf16_bits(x));
            }
        }
    }
}

/// Rounded to bfloat16 by the units for it, of vectors of AVX-512 alone; subnormal numbers become zero.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub struct ByUnits;

#[cfg(target_arch = "x86_64")]
impl Store for ByUnits {
    const BYTES: usize = size_of::<u16>();

    #[inline(always)]
    unsafe fn store<S: Simd>(to: *mut u8, at: usize, v: S::V, n: usize) {
        use std::arch::x86_64::*;
        const { assert!(size_of::<S::V>() == size_of::<__m512>() || S::LANES < 16) };
        let to = to.cast::<u16>().wrapping_add(at);
        // SAFETY: a vector of 16 lanes is of that type; the rest is granted by the caller.
        unsafe {
            let v: __m512 = std::mem::transmute_copy(&v);
            let rounded: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(v));
            if n == S::LANES {
                _mm256_storeu_si256(to.cast(), rounded);
            } else {
                _mm256_mask_storeu_epi16(to.cast(), (1 << n) - 1, rounded);
            }
        }
    }

    #[inline(always)]
    unsafe fn store_pair<S: Simd>(to: *mut u8, at: usize, [low, high]: [S::V; 2]) {
        use std::arch::x86_64::*;
        let to = to.cast::<u16>().wrapping_add(at);
        // SAFETY: as above.
        unsafe {
            let (low, high): (__m512, __m512) =
                (std::mem::transmute_copy(&low), std::mem::transmute_copy(&high));
            let rounded: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
            _mm512_storeu_si512(to.cast(), rounded);
        }
    }
}

/// Runs code at a level as [`dispatch!`](crate::dispatch) does, with a way to round results to bfloat16.
#[macro_export]
macro_rules! dispatch_rounding {
    ($isa:expr, $simd:ident, $store:ident => $body:expr) => {{
        let isa = $isa;
        #[cfg(target_arch = "x86_64")]
        let has_units = isa.has_bf16();
        #[cfg(not(target_arch = "x86_64"))]
        let has_units = false;
        if has_units {
            #[cfg(target_arch = "x86_64")]
            {
                type $simd = $crate::Avx512;
                type $store = $crate::ByUnits;
                let body = $crate::called_once(
                    #[inline(always)]
                    || $body,
                );
                // SAFETY: the level has the instructions, as was asked.
                unsafe { $crate::call_avx512_bf16(body) }
            }
            #[cfg(not(target_arch = "x86_64"))]
            unreachable!()
        } else {
            type $store = $crate::AsBfloat16;
            $crate::dispatch!(isa, $simd => $body)
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, bf16_value, dispatch};

    #[test]
    fn lanes_are_rounded_and_no_others_written() {
        let values: [f32; 16] = std::array::from_fn(|i| 1.0 + i as f32 * 0.0123);
        for isa in Isa::available() {
            for n in 1..=16 {
                let (mut rounded, mut plain) = ([7u16; 17], [7.0f32; 17]);
                let to = rounded.as_mut_ptr().cast::<u8>();
                dispatch_rounding!(isa, S, O => for i in (0..n).step_by(S::LANES) {
                    // SAFETY: sixteen values are whole vectors; n of them are written.
                    unsafe { O::store::<S>(to, i, S::load(values.as_ptr().add(i)), S::LANES.min(n - i)) };
                });
                let to = plain.as_mut_ptr().cast::<u8>();
                dispatch!(isa, S => for i in (0..n).step_by(S::LANES) {
                    // SAFETY: as above.
                    unsafe { AsFloat32::store::<S>(to, i, S::load(values.as_ptr().add(i)), S::LANES.min(n - i)) };
                });
                let (mut pair, mut rounded_pair) = ([7.0f32; 32], [7u16; 32]);
                let (to, to_rounded) = (pair.as_mut_ptr().cast(), rounded_pair.as_mut_ptr().cast());
                dispatch_rounding!(isa, S, O => {
                    // SAFETY: room for two vectors at every level.
                    unsafe {
                        let v = S::load(values.as_ptr());
                        AsFloat32::store_pair::<S>(to, 0, [v, S::add(v, v)]);
                        O::store_pair::<S>(to_rounded, 0, [v, S::add(v, v)]);
                        assert!(pair[0] == values[0] && pair[S::LANES] == 2.0 * values[0]);
                        assert!(pair[2 * S::LANES..].iter().all(|&x| x == 7.0));
                    }
                });
                for (x, y) in pair.iter().zip(rounded_pair) {
                    assert!(y == bf16_bits(*x) || (y == 7 && *x == 7.0));
                }
                for (i, x) in values.iter().enumerate().take(n) {
                    assert_eq!(bf16_value(rounded[i]), bf16_value(bf16_bits(*x)), "{}", isa.name());
                    assert_eq!(plain[i], *x);
                }
                assert!(rounded[n..].iter().all(|&x| x == 7) && plain[n..].iter().all(|&x| x == 7.0));
            }
        }
    }
}
