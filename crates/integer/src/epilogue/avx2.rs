//! Eight sums a vector.

use super::{BOUND, Epilogue, SumBlock, Target, scalar};
use std::arch::x86_64::*;

const LANES: usize = 8;

/// Writes the outputs of a block.
///
/// # Safety
/// As for [`Epilogue::run`], and the CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run(epilogue: &Epilogue, block: &SumBlock) {
    let multiplier = epilogue.multiplier().wrapping_add(block.channel);
    let bias = epilogue.bias().wrapping_add(block.channel);
    let residual = epilogue.residual.as_ref();
    let residual_zero = _mm256_set1_epi32(residual.map_or(0, |r| r.zero_point.into()));
    let residual_scale = _mm256_set1_ps(residual.map_or(0.0, |r| r.scale));
    let whole = block.columns / LANES * LANES;
    for row in 0..block.rows {
        let sums = block.sums.wrapping_add(row * block.sums_stride);
        let out_at = row * block.out_stride;
        let residuals = block.residual.wrapping_add(row * block.residual_stride);
        let real = |column: usize| {
            // SAFETY: eight columns of the block, whose residuals are there if the epilogue has one.
            unsafe {
                let sum = _mm256_cvtepi32_ps(_mm256_loadu_si256(sums.add(column).cast()));
                let multiplier = _mm256_loadu_ps(multiplier.add(column));
                let f = _mm256_fmadd_ps(sum, multiplier, _mm256_loadu_ps(bias.add(column)));
                if residual.is_none() {
                    return f;
                }
                let r = _mm256_cvtepu8_epi32(_mm_loadl_epi64(residuals.add(column).cast()));
                let r = _mm256_cvtepi32_ps(_mm256_sub_epi32(r, residual_zero));
                _mm256_fmadd_ps(r, residual_scale, f)
            }
        };
        match &epilogue.target {
            Target::Float { low, high, .. } => {
                let (low, high) = (_mm256_set1_ps(*low), _mm256_set1_ps(*high));
                for column in (0..whole).step_by(LANES) {
                    let f = _mm256_min_ps(_mm256_max_ps(real(column), low), high);
                    // SAFETY: eight outputs of the block.
                    unsafe { _mm256_storeu_ps(block.out.cast::<f32>().add(out_at + column), f) };
                }
            }
            Target::Bytes(bytes) => {
                let zero = _mm_set1_epi16(bytes.zero_point.into());
                let (low, high) = (_mm_set1_epi8(bytes.low as i8), _mm_set1_epi8(bytes.high as i8));
                for column in (0..whole).step_by(LANES) {
                    // The first operand is taken only where it is greater or less: NaN gives the bound.
                    let v = _mm256_max_ps(real(column), _mm256_set1_ps(-BOUND));
                    let q = _mm256_cvtps_epi32(_mm256_min_ps(v, _mm256_set1_ps(BOUND)));
                    let q = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256::<1>(q));
                    let q = _mm_packus_epi16(_mm_adds_epi16(q, zero), _mm_setzero_si128());
                    let q = _mm_min_epu8(_mm_max_epu8(q, low), high);
                    // SAFETY: eight outputs of the block.
                    unsafe { _mm_storel_epi64(block.out.add(out_at + column).cast(), q) };
                }
                if let Some(table) = &bytes.table {
                    let out = block.out.wrapping_add(out_at);
                    // SAFETY: the outputs just written.
                    unsafe { table.apply(out, out, whole) };
                }
            }
        }
    }
    if whole < block.columns {
        // Floats are rounded later.
        let bytes = match epilogue.target {
            Target::Float { .. } => size_of::<f32>(),
            Target::Bytes(_) => 1,
        };
        let rest = SumBlock {
            sums: block.sums.wrapping_add(whole),
            channel: block.channel + whole,
            columns: block.columns - whole,
            out: block.out.wrapping_add(whole * bytes),
            residual: block.residual.wrapping_add(whole),
            ..*block
        };
        // SAFETY: the columns left of the block.
        unsafe { scalar::run(epilogue, &rest) };
    }
}
