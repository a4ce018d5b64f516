//! Float32 outputs that are rounded to bfloat16, without a residual.

use super::{LANES, Rows};
use crate::epilogue::{Epilogue, Strides, SumBlock, Target, Writer};
use std::arch::asm;
use std::arch::x86_64::*;
use vedette_simd::Avx512;
use vedette_tensor::activation::approximate_gelu;

/// What writes them, after GELU or no activation. Its functions are for CPUs with AVX-512 F, BW, DQ, VL and BF16, as is
/// what they are inlined into but for the last.
pub(super) struct ToRounded<const GELU: bool> {
    multiplier: *const f32,
    bias: *const f32,
    low: __m512,
    high: __m512,
}

impl<const GELU: bool> Writer<Epilogue> for ToRounded<GELU> {
    type Rows = Rows<u16>;

    const FEWEST_ROWS: usize = 2;

    #[inline(always)]
    unsafe fn new(epilogue: *const Epilogue) -> Self {
        // SAFETY: as granted by the caller: the epilogue is there, and the CPU has AVX-512.
        unsafe {
            let epilogue = &*epilogue;
            let Target::Float { low, high, .. } = epilogue.target else { unreachable!("a writer of floats") };
            ToRounded {
                multiplier: epilogue.multiplier(),
                bias: epilogue.bias(),
                low: _mm512_set1_ps(low),
                high: _mm512_set1_ps(high),
            }
        }
    }

    #[inline(always)]
    fn begin(&self, block: &SumBlock, _: usize) -> Rows<u16> {
        Rows::of(block, 0)
    }

    #[inline(always)]
    unsafe fn write(&self, left: &mut Rows<u16>, count: usize, strides: &Strides) {
        let (mut rows, count) = (*left, count.min(left.count));
        // SAFETY: the sums of two whole vectors are readable, and these parameters; outputs are written within the columns.
        unsafe {
            // Parameters are there for the vectors that have columns: without a second one the first stands in for it.
            let second = if rows.columns > LANES { LANES } else { 0 };
            let parameters = |from: *const f32| {
                let from = from.add(rows.channel);
                (_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(second)))
            };
            let (multiplier, bias) = (parameters(self.multiplier), parameters(self.bias));
            for _ in 0..count {
                let first = self.result(rows.sums, multiplier.0, bias.0);
                let second = self.result(rows.sums.add(LANES), multiplier.1, bias.1);
                _mm512_mask_storeu_epi16(rows.out.cast(), rows.lanes, rounded(first, second));
                rows.advance(1, strides);
            }
        }
        *left = rows;
    }
}

impl<const GELU: bool> ToRounded<GELU> {
    #[inline(always)]
    unsafe fn result(&self, sums: *const i32, multiplier: __m512, bias: __m512) -> __m512 {
        // SAFETY: the sums of a vector.
        unsafe {
            let f = _mm512_cvtepi32_ps(_mm512_loadu_si512(sums.cast()));
            let f = _mm512_fmadd_ps(f, multiplier, bias);
            let f = _mm512_min_ps(_mm512_max_ps(f, self.low), self.high);
            if GELU { approximate_gelu::<Avx512>(f) } else { f }
        }
    }
}

/// Two vectors of bfloat16, one behind the other. As an intrinsic the instruction could not be inlined into functions of
/// CPUs that lack it.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn rounded(first: __m512, second: __m512) -> __m512i {
    let both: __m512i;
    // SAFETY: the caller's CPU has the instruction, which touches registers only.
    unsafe {
        asm!(
            "vcvtne2ps2bf16 {both}, {second}, {first}",
            both = lateout(zmm_reg) both, first = in(zmm_reg) first, second = in(zmm_reg) second,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    both
}
