//! Sixteen sums a vector, four vectors at once where there are as many.

use super::{BOUND, Epilogue, Kernel, SumBlock, Target};
use crate::table::Table;
use crate::table::x86::InRegisters;
use std::arch::x86_64::*;

const LANES: usize = 16;

/// What writes outputs of such a target, after a residual or none. It takes a CPU with AVX-512 F, BW, DQ and VL.
pub(super) fn kernel(target: &Target, residual: bool, bounded: bool) -> Kernel {
    let Target::Bytes(bytes) = target else {
        return if residual { to_floats } else { to_wide_or_narrow_floats };
    };
    let in_registers = bytes.table.as_ref().is_some_and(Table::fits_registers);
    match (residual, bounded, in_registers) {
        (false, false, false) => to_bytes::<false, false, false>,
        (false, false, true) => to_bytes::<false, false, true>,
        (false, true, false) => to_bytes::<false, true, false>,
        (false, true, true) => to_bytes::<false, true, true>,
        (true, false, false) => to_bytes::<true, false, false>,
        (true, false, true) => to_bytes::<true, false, true>,
        (true, true, false) => to_bytes::<true, true, false>,
        (true, true, true) => to_bytes::<true, true, true>,
    }
}

/// `f32(sum) * multiplier + bias + residual` of the lanes in `lanes`.
///
/// # Safety
/// The sums are readable; the residuals where `RESIDUAL`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn real<const RESIDUAL: bool>(
    sums: *const i32,
    parameters: (__m512, __m512),
    residual: (*const u8, __m512i, __m512),
    lanes: __mmask16,
) -> __m512 {
    // SAFETY: as granted by the caller.
    unsafe {
        let sum = _mm512_cvtepi32_ps(_mm512_loadu_si512(sums.cast()));
        let f = _mm512_add_ps(_mm512_mul_ps(sum, parameters.0), parameters.1);
        if !RESIDUAL {
            return f;
        }
        let (at, zero_point, scale) = residual;
        let r = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes, at.cast()));
        let r = _mm512_cvtepi32_ps(_mm512_sub_epi32(r, zero_point));
        _mm512_add_ps(f, _mm512_mul_ps(r, scale))
    }
}

fn lanes_of(columns: usize) -> __mmask16 {
    if columns >= LANES { !0 } else { (1 << columns) - 1 }
}

/// Outputs of 8 bits, looked up in registers where `TABLE`.
///
/// # Safety
/// As for [`Epilogue::run`], with the CPU's features, and where `TABLE` a table that fits registers.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn to_bytes<const RESIDUAL: bool, const BOUNDED: bool, const TABLE: bool>(
    epilogue: &Epilogue,
    block: &SumBlock,
) {
    let Target::Bytes(bytes) = &epilogue.target else { return };
    let multiplier = epilogue.multiplier().wrapping_add(block.channel);
    let bias = epilogue.bias().wrapping_add(block.channel);
    let inverse = _mm512_set1_ps(bytes.inverse);
    let (residual_zero, residual_scale) = match &epilogue.residual {
        Some(r) => (_mm512_set1_epi32(r.zero_point().into()), _mm512_set1_ps(r.scale())),
        None => (_mm512_setzero_si512(), _mm512_setzero_ps()),
    };
    let zero16 = _mm512_set1_epi16(bytes.zero_point.into());
    let (low, high) = (bytes.low as i8, bytes.high as i8);
    // Packing has these bounds by itself.
    let clamps = (bytes.low, bytes.high) != (0, 255);
    // After packing, a 128-bit quarter holds four values of each of the four vectors.
    let order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    // SAFETY: the CPU has AVX-512.
    let table = unsafe { InRegisters::of(bytes.table.as_ref()) };
    let integers = |f: __m512| {
        let mut v = _mm512_mul_ps(f, inverse);
        if !BOUNDED {
            // The first operand is taken only where it is greater or less: NaN gives the bound.
            v = _mm512_max_ps(v, _mm512_set1_ps(-BOUND));
            v = _mm512_min_ps(v, _mm512_set1_ps(BOUND));
        }
        _mm512_cvtps_epi32(v)
    };
    // SAFETY: the parameters of whole vectors are readable.
    let parameters = |column: usize| unsafe {
        (_mm512_loadu_ps(multiplier.wrapping_add(column)), _mm512_loadu_ps(bias.wrapping_add(column)))
    };
    // The sums of 16 columns of a row, of which `columns` are left, as integers in steps of the output.
    let part = |row: usize, column: usize, parameters: (__m512, __m512)| {
        let lanes = lanes_of(block.columns - column);
        // SAFETY: the sums of whole vectors are readable, the residuals within the columns.
        unsafe {
            integers(real::<RESIDUAL>(
                block.sums.add(row * block.sums_stride + column),
                parameters,
                (
                    block.residual.wrapping_add(row * block.residual_stride + column),
                    residual_zero,
                    residual_scale,
                ),
                lanes,
            ))
        }
    };
    let pack = |[a, b, c, d]: [__m512i; 4]| {
        let low_half = _mm512_adds_epi16(_mm512_packs_epi32(a, b), zero16);
        let high_half = _mm512_adds_epi16(_mm512_packs_epi32(c, d), zero16);
        let mut packed = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low_half, high_half));
        if clamps {
            packed = _mm512_max_epu8(packed, _mm512_set1_epi8(low));
            packed = _mm512_min_epu8(packed, _mm512_set1_epi8(high));
        }
        if TABLE {
            // SAFETY: the caller's CPU looks up in registers.
            packed = unsafe { table.take(packed) };
        }
        packed
    };
    let zero = _mm512_setzero_si512();
    let out = |row: usize, column: usize| block.out.wrapping_add(row * block.out_stride + column);
    let whole = block.columns / (4 * LANES) * (4 * LANES);
    let rest = block.columns - whole;
    // SAFETY: outputs are written within rows and columns only.
    unsafe {
        let wide_rows = if whole > 0 || rest > 2 * LANES { block.rows } else { 0 };
        for row in 0..wide_rows {
            for column in (0..whole).step_by(4 * LANES) {
                let at = |i: usize| part(row, column + i * LANES, parameters(column + i * LANES));
                _mm512_storeu_si512(out(row, column).cast(), pack([at(0), at(1), at(2), at(3)]));
            }
            if rest > 2 * LANES {
                let at = |i: usize| part(row, whole + i * LANES, parameters(whole + i * LANES));
                let last = if rest > 3 * LANES { at(3) } else { zero };
                let packed = pack([at(0), at(1), at(2), last]);
                _mm512_mask_storeu_epi8(out(row, whole).cast(), (1 << rest) - 1, packed);
            }
        }
        // What is left of several rows fills the vectors, and the last row stands in for those that are not there.
        let last = block.rows.saturating_sub(1);
        if (1..=LANES).contains(&rest) {
            let parameters = parameters(whole);
            for row in (0..block.rows).step_by(4) {
                let at = |i: usize| part((row + i).min(last), whole, parameters);
                let packed = pack([at(0), at(1), at(2), at(3)]);
                let quarters = [
                    _mm512_castsi512_si128(packed),
                    _mm512_extracti32x4_epi32::<1>(packed),
                    _mm512_extracti32x4_epi32::<2>(packed),
                    _mm512_extracti32x4_epi32::<3>(packed),
                ];
                for (i, quarter) in quarters.into_iter().enumerate().take(block.rows - row) {
                    _mm_mask_storeu_epi8(out(row + i, whole).cast(), lanes_of(rest), quarter);
                }
            }
        } else if (LANES + 1..=2 * LANES).contains(&rest) {
            let mask = if rest == 2 * LANES { !0 } else { (1 << rest) - 1 };
            let (first, second) = (parameters(whole), parameters(whole + LANES));
            for row in (0..block.rows).step_by(2) {
                let next = (row + 1).min(last);
                let packed = pack([
                    part(row, whole, first),
                    part(row, whole + LANES, second),
                    part(next, whole, first),
                    part(next, whole + LANES, second),
                ]);
                _mm256_mask_storeu_epi8(out(row, whole).cast(), mask, _mm512_castsi512_si256(packed));
                let upper = _mm512_extracti64x4_epi64::<1>(packed);
                if row + 1 < block.rows {
                    _mm256_mask_storeu_epi8(out(row + 1, whole).cast(), mask, upper);
                }
            }
        }
        if !TABLE && let Some(table) = &bytes.table {
            if block.out_stride == block.columns {
                table.apply(block.out, block.out, block.rows * block.columns);
            } else {
                for row in 0..block.rows {
                    table.apply(out(row, 0), out(row, 0), block.columns);
                }
            }
        }
    }
}

/// Float32 outputs without a residual.
///
/// # Safety
/// As for [`Epilogue::run`], with the CPU's features.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn to_wide_or_narrow_floats(epilogue: &Epilogue, block: &SumBlock) {
    // Whether whole rows, one after the other, fill vectors of outputs.
    let columns = block.columns;
    let narrow = columns < LANES && LANES.is_multiple_of(columns) && block.out_stride == columns;
    // SAFETY: as granted by the caller.
    unsafe {
        match narrow {
            true => to_narrow_floats(epilogue, block),
            false => to_floats(epilogue, block),
        }
    }
}

/// # Safety
/// As for [`Epilogue::run`], with the CPU's features.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn to_floats(epilogue: &Epilogue, block: &SumBlock) {
    let Target::Float { low, high, .. } = epilogue.target else { return };
    let multiplier = epilogue.multiplier().wrapping_add(block.channel);
    let bias = epilogue.bias().wrapping_add(block.channel);
    let (low, high) = (_mm512_set1_ps(low), _mm512_set1_ps(high));
    let residual = epilogue.residual.as_ref();
    let zero = _mm512_set1_epi32(residual.map_or(0, |r| r.zero_point().into()));
    let scale = _mm512_set1_ps(residual.map_or(0.0, |r| r.scale()));
    for row in 0..block.rows {
        let sums = block.sums.wrapping_add(row * block.sums_stride);
        let out = block.out.cast::<f32>().wrapping_add(row * block.out_stride);
        let residuals = block.residual.wrapping_add(row * block.residual_stride);
        for column in (0..block.columns).step_by(LANES) {
            let lanes = lanes_of(block.columns - column);
            // SAFETY: as in `to_bytes`.
            unsafe {
                let parameters = (_mm512_loadu_ps(multiplier.add(column)), _mm512_loadu_ps(bias.add(column)));
                let f = match residual {
                    Some(_) => real::<true>(
                        sums.add(column),
                        parameters,
                        (residuals.wrapping_add(column), zero, scale),
                        lanes,
                    ),
                    None => real::<false>(sums.add(column), parameters, (residuals, zero, scale), lanes),
                };
                let f = _mm512_min_ps(_mm512_max_ps(f, low), high);
                _mm512_mask_storeu_ps(out.add(column), lanes, f);
            }
        }
    }
}

/// Outputs of rows of 1, 2, 4 or 8 columns without gaps between them.
///
/// # Safety
/// As for [`to_wide_or_narrow_floats`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn to_narrow_floats(epilogue: &Epilogue, block: &SumBlock) {
    let Target::Float { low, high, .. } = epilogue.target else { return };
    let columns = block.columns;
    let rows_at_once = LANES >> columns.trailing_zeros();
    // SAFETY: the parameters of whole vectors are readable; lanes stand for rows and columns of the block only.
    unsafe {
        // Columns are a power of two: blocks are so small that dividing would take longer than the rest.
        let lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        let repeated = _mm512_and_si512(lanes, _mm512_set1_epi32(columns as i32 - 1));
        let rows = _mm512_srlv_epi32(lanes, _mm512_set1_epi32(columns.trailing_zeros() as i32));
        let strides = _mm512_mullo_epi32(rows, _mm512_set1_epi32(block.sums_stride as i32));
        let sums_at = _mm512_add_epi32(strides, repeated);
        let parameter =
            |from: *const f32| _mm512_permutexvar_ps(repeated, _mm512_loadu_ps(from.add(block.channel)));
        let (multiplier, bias) = (parameter(epilogue.multiplier()), parameter(epilogue.bias()));
        let (low, high) = (_mm512_set1_ps(low), _mm512_set1_ps(high));
        for row in (0..block.rows).step_by(rows_at_once) {
            let lanes = lanes_of((block.rows - row) * columns);
            let sums = block.sums.add(row * block.sums_stride);
            let sums = _mm512_mask_i32gather_epi32::<4>(_mm512_setzero_si512(), lanes, sums_at, sums.cast());
            let f = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), multiplier), bias);
            let f = _mm512_min_ps(_mm512_max_ps(f, low), high);
            _mm512_mask_storeu_ps(block.out.cast::<f32>().add(row * columns), lanes, f);
        }
    }
}
