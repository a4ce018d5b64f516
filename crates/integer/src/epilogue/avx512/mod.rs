//! Sixteen sums a vector, four vectors at once where there are as many.

mod bytes;
mod rounded;

use super::{Called, Epilogue, Kernel, Strides, SumBlock, Target, WithWriter, Writer};
use crate::table::Table;
use bytes::ToBytes;
use rounded::ToRounded;
use std::arch::x86_64::*;
use vedette_tensor::Activation;

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

/// Does the work with what writes outputs of this epilogue.
///
/// # Safety
/// As for [`Finish::choose`](super::Finish::choose).
pub(super) unsafe fn choose(epilogue: &Epilogue, work: &impl WithWriter<Epilogue>) {
    // SAFETY: as granted by the caller; the writer is that of the epilogue.
    unsafe {
        match (&epilogue.target, epilogue.residual.is_some()) {
            (Target::Bytes(bytes), residual) => {
                let in_registers = bytes.table.as_ref().map(Table::fits_registers);
                match (residual, epilogue.bounded, in_registers) {
                    (_, _, Some(false)) => work.run::<Called<'_, Epilogue>>(),
                    (false, false, None) => work.run::<ToBytes<'_, false, false, false>>(),
                    (false, false, Some(true)) => work.run::<ToBytes<'_, false, false, true>>(),
                    (false, true, None) => work.run::<ToBytes<'_, false, true, false>>(),
                    (false, true, Some(true)) => work.run::<ToBytes<'_, false, true, true>>(),
                    (true, false, None) => work.run::<ToBytes<'_, true, false, false>>(),
                    (true, false, Some(true)) => work.run::<ToBytes<'_, true, false, true>>(),
                    (true, true, None) => work.run::<ToBytes<'_, true, true, false>>(),
                    (true, true, Some(true)) => work.run::<ToBytes<'_, true, true, true>>(),
                }
            }
            (&Target::Float { rounded: true, activation, .. }, false) if epilogue.isa.has_bf16() => {
                match activation {
                    None => work.run::<ToRounded<false>>(),
                    Some(Activation::Gelu) => work.run::<ToRounded<true>>(),
                    Some(_) => work.run::<Called<'_, Epilogue>>(),
                }
            }
            (Target::Float { .. }, _) => work.run::<Called<'_, Epilogue>>(),
        }
    }
}

/// Rows of up to two vectors of columns that are left to write.
#[derive(Clone, Copy)]
pub(super) struct Rows<T> {
    count: usize,
    sums: *const i32,
    out: *mut T,
    residual: *const u8,
    channel: usize,
    columns: usize,
    /// A bit a column.
    lanes: u32,
}

impl<T> Rows<T> {
    /// The rows of a block from a column on.
    #[inline(always)]
    fn of(block: &SumBlock, first: usize) -> Rows<T> {
        let columns = block.columns - first;
        Rows {
            count: block.rows,
            sums: block.sums.wrapping_add(first),
            out: block.out.cast::<T>().wrapping_add(first),
            residual: block.residual.wrapping_add(first),
            channel: block.channel + first,
            columns,
            lanes: if columns >= 2 * LANES { !0 } else { (1 << columns) - 1 },
        }
    }

    #[inline(always)]
    fn advance(&mut self, rows: usize, strides: &Strides) {
        self.count -= rows;
        self.sums = self.sums.wrapping_add(rows * strides.sums);
        self.out = self.out.wrapping_add(rows * strides.out);
        self.residual = self.residual.wrapping_add(rows * strides.residual);
    }
}

fn lanes_of(columns: usize) -> __mmask16 {
    if columns >= LANES { !0 } else { (1 << columns) - 1 }
}

/// Outputs of 8 bits.
///
/// # Safety
/// As for [`Epilogue::run`], with the CPU's features, and where `TABLE` a table that fits registers.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn to_bytes<const RESIDUAL: bool, const BOUNDED: bool, const TABLE: bool>(
    epilogue: &Epilogue,
    block: &SumBlock,
) {
    // SAFETY: as granted by the caller.
    unsafe { ToBytes::<RESIDUAL, BOUNDED, TABLE>::new(epilogue).write_any(block) };
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
        let f = _mm512_fmadd_ps(sum, parameters.0, parameters.1);
        if !RESIDUAL {
            return f;
        }
        let (at, zero_point, scale) = residual;
        let r = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes, at.cast()));
        let r = _mm512_cvtepi32_ps(_mm512_sub_epi32(r, zero_point));
        _mm512_fmadd_ps(r, scale, f)
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
    let zero = _mm512_set1_epi32(residual.map_or(0, |r| r.zero_point.into()));
    let scale = _mm512_set1_ps(residual.map_or(0.0, |r| r.scale));
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
            let f = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), multiplier, bias);
            let f = _mm512_min_ps(_mm512_max_ps(f, low), high);
            _mm512_mask_storeu_ps(block.out.cast::<f32>().add(row * columns), lanes, f);
        }
    }
}
