//! Sixteen sums a vector, four vectors at once where there are as many.

use super::{BOUND, Called, Epilogue, Kernel, Strides, SumBlock, Target, WithWriter, Writer};
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

/// Does the work with what writes outputs of this epilogue.
///
/// # Safety
/// As for [`Finish::choose`](super::Finish::choose).
pub(super) unsafe fn choose(epilogue: &Epilogue, work: &impl WithWriter<Epilogue>) {
    let table = match &epilogue.target {
        Target::Bytes(bytes) => bytes.table.as_ref(),
        Target::Float { .. } => None,
    };
    let in_registers = table.is_some_and(Table::fits_registers);
    if matches!(epilogue.target, Target::Float { .. }) || table.is_some() && !in_registers {
        // SAFETY: as granted by the caller.
        return unsafe { work.run::<Called<'_, Epilogue>>() };
    }
    // SAFETY: as granted by the caller; the writer is that of the epilogue.
    unsafe {
        match (epilogue.residual.is_some(), epilogue.bounded, in_registers) {
            (false, false, false) => work.run::<ToBytes<'_, false, false, false>>(),
            (false, false, true) => work.run::<ToBytes<'_, false, false, true>>(),
            (false, true, false) => work.run::<ToBytes<'_, false, true, false>>(),
            (false, true, true) => work.run::<ToBytes<'_, false, true, true>>(),
            (true, false, false) => work.run::<ToBytes<'_, true, false, false>>(),
            (true, false, true) => work.run::<ToBytes<'_, true, false, true>>(),
            (true, true, false) => work.run::<ToBytes<'_, true, true, false>>(),
            (true, true, true) => work.run::<ToBytes<'_, true, true, true>>(),
        }
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

/// What writes outputs of 8 bits, looked up in registers where `TABLE`. Its functions are for CPUs with AVX-512 F, BW, DQ
/// and VL, as is what they are inlined into.
struct ToBytes<'a, const RESIDUAL: bool, const BOUNDED: bool, const TABLE: bool> {
    multiplier: *const f32,
    bias: *const f32,
    residual_zero: __m512i,
    residual_scale: __m512,
    zero_point: __m512i,
    low: __m512i,
    high: __m512i,
    order: __m512i,
    in_registers: InRegisters,
    /// Where what is written is looked up afterwards.
    table: Option<&'a Table>,
}

/// Rows of up to two vectors of columns that are left to write.
#[derive(Clone, Copy)]
struct Rows {
    count: usize,
    sums: *const i32,
    out: *mut u8,
    residual: *const u8,
    channel: usize,
    columns: usize,
    /// A bit a column.
    lanes: u32,
}

impl<const RESIDUAL: bool, const BOUNDED: bool, const TABLE: bool> Writer<Epilogue>
    for ToBytes<'_, RESIDUAL, BOUNDED, TABLE>
{
    type Rows = Rows;

    #[inline(always)]
    unsafe fn new(epilogue: *const Epilogue) -> Self {
        // SAFETY: as granted by the caller: the epilogue is there, and the CPU has AVX-512.
        unsafe {
            let epilogue = &*epilogue;
            let Target::Bytes(bytes) = &epilogue.target else { unreachable!("a writer of bytes") };
            let (zero, scale) = epilogue.residual.map_or((0, 0.0), |r| (r.zero_point, r.scale));
            ToBytes {
                multiplier: epilogue.multiplier(),
                bias: epilogue.bias(),
                residual_zero: _mm512_set1_epi32(zero.into()),
                residual_scale: _mm512_set1_ps(scale),
                zero_point: _mm512_set1_epi16(bytes.zero_point.into()),
                low: _mm512_set1_epi8(bytes.low as i8),
                high: _mm512_set1_epi8(bytes.high as i8),
                // After packing, a 128-bit quarter holds four values of each of the four vectors.
                order: _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0),
                in_registers: InRegisters::of(if TABLE { bytes.table.as_ref() } else { None }),
                table: if TABLE { None } else { bytes.table.as_ref() },
            }
        }
    }

    #[inline(always)]
    fn begin(&self, block: &SumBlock, _: usize) -> Rows {
        Rows::of(block, 0)
    }

    #[inline(always)]
    unsafe fn write(&self, rows: &mut Rows, count: usize, strides: &Strides) {
        let count = count.min(rows.count);
        // SAFETY: as granted by the caller.
        unsafe {
            match rows.columns > LANES {
                true => self.write_two(rows, count, strides),
                false => self.write_one(rows, count, strides),
            }
        }
    }
}

impl Rows {
    /// The rows of a block from a column on.
    #[inline(always)]
    fn of(block: &SumBlock, first: usize) -> Rows {
        let columns = block.columns - first;
        Rows {
            count: block.rows,
            sums: block.sums.wrapping_add(first),
            out: block.out.wrapping_add(first),
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

impl<const RESIDUAL: bool, const BOUNDED: bool, const TABLE: bool> ToBytes<'_, RESIDUAL, BOUNDED, TABLE> {
    /// The multipliers and biases of a vector of channels.
    #[inline(always)]
    unsafe fn parameters(&self, channel: usize) -> (__m512, __m512) {
        // SAFETY: the parameters of whole vectors are readable.
        unsafe { (_mm512_loadu_ps(self.multiplier.add(channel)), _mm512_loadu_ps(self.bias.add(channel))) }
    }

    /// `f32(sum) * multiplier + bias + residual` of a vector of columns, as integers in steps of the output.
    #[inline(always)]
    unsafe fn steps(
        &self,
        sums: *const i32,
        (multiplier, bias): (__m512, __m512),
        residual: *const u8,
        lanes: __mmask16,
    ) -> __m512i {
        // SAFETY: the sums of whole vectors are readable, the residuals of these lanes.
        unsafe {
            let sum = _mm512_cvtepi32_ps(_mm512_loadu_si512(sums.cast()));
            let mut f = _mm512_fmadd_ps(sum, multiplier, bias);
            if RESIDUAL {
                let r = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes, residual.cast()));
                let r = _mm512_cvtepi32_ps(_mm512_sub_epi32(r, self.residual_zero));
                f = _mm512_fmadd_ps(r, self.residual_scale, f);
            }
            if !BOUNDED {
                // The first operand is taken only where it is greater or less: NaN gives the bound.
                f = _mm512_max_ps(f, _mm512_set1_ps(-BOUND));
                f = _mm512_min_ps(f, _mm512_set1_ps(BOUND));
            }
            _mm512_cvtps_epi32(f)
        }
    }

    /// Bytes of four vectors, one after the other.
    #[inline(always)]
    unsafe fn pack(&self, [a, b, c, d]: [__m512i; 4]) -> __m512i {
        // SAFETY: the CPU has AVX-512, and looks up in registers where `TABLE`.
        unsafe {
            let low_half = _mm512_adds_epi16(_mm512_packs_epi32(a, b), self.zero_point);
            let high_half = _mm512_adds_epi16(_mm512_packs_epi32(c, d), self.zero_point);
            let packed = _mm512_permutexvar_epi32(self.order, _mm512_packus_epi16(low_half, high_half));
            let packed = _mm512_min_epu8(_mm512_max_epu8(packed, self.low), self.high);
            if TABLE { self.in_registers.take(packed) } else { packed }
        }
    }

    /// Writes all columns of a block.
    #[inline(always)]
    unsafe fn write_any(&self, block: &SumBlock) {
        let whole = block.columns / (4 * LANES) * (4 * LANES);
        let rest = block.columns - whole;
        let strides =
            Strides { sums: block.sums_stride, out: block.out_stride, residual: block.residual_stride };
        // SAFETY: as granted by the caller.
        unsafe {
            if whole > 0 || rest > 2 * LANES {
                for row in 0..block.rows {
                    self.write_wide(block, row, whole);
                }
            }
            if (1..=LANES).contains(&rest) {
                self.write_one(&mut Rows::of(block, whole), block.rows, &strides);
            } else if (1..=2 * LANES).contains(&rest) {
                self.write_two(&mut Rows::of(block, whole), block.rows, &strides);
            }
            if block.out_stride == block.columns {
                self.look_up(block.out, block.rows * block.columns);
            } else {
                for row in 0..block.rows {
                    self.look_up(block.out.wrapping_add(row * block.out_stride), block.columns);
                }
            }
        }
    }

    /// Writes the first `whole` columns of a row, and what follows them if that is more than two vectors.
    #[inline(always)]
    unsafe fn write_wide(&self, block: &SumBlock, row: usize, whole: usize) {
        let rest = block.columns - whole;
        let sums = block.sums.wrapping_add(row * block.sums_stride);
        let out = block.out.wrapping_add(row * block.out_stride);
        let residual = block.residual.wrapping_add(row * block.residual_stride);
        // SAFETY: outputs are written within the columns of the row only.
        unsafe {
            let part = |column: usize| {
                let lanes = lanes_of(block.columns - column);
                let parameters = self.parameters(block.channel + column);
                self.steps(sums.add(column), parameters, residual.wrapping_add(column), lanes)
            };
            for column in (0..whole).step_by(4 * LANES) {
                let packed = self.pack(std::array::from_fn(|i| part(column + i * LANES)));
                _mm512_storeu_si512(out.add(column).cast(), packed);
            }
            if rest > 2 * LANES {
                let last = if rest > 3 * LANES { part(whole + 3 * LANES) } else { _mm512_setzero_si512() };
                let packed = self.pack([part(whole), part(whole + LANES), part(whole + 2 * LANES), last]);
                _mm512_mask_storeu_epi8(out.add(whole).cast(), (1 << rest) - 1, packed);
            }
        }
    }

    /// The steps of a row from a vector of columns on.
    #[inline(always)]
    unsafe fn steps_of(
        &self,
        rows: &Rows,
        row: usize,
        column: usize,
        parameters: (__m512, __m512),
        strides: &Strides,
    ) -> __m512i {
        let residual = rows.residual.wrapping_add(row * strides.residual + column);
        // SAFETY: the sums of whole vectors are readable, the residuals within the columns.
        unsafe {
            let sums = rows.sums.add(row * strides.sums + column);
            self.steps(sums, parameters, residual, (rows.lanes >> column) as __mmask16)
        }
    }

    /// Writes rows of up to one vector of columns: four of them fill a vector of bytes, and the last one stands in for
    /// those that are not there.
    #[inline(always)]
    unsafe fn write_one(&self, left: &mut Rows, count: usize, strides: &Strides) {
        let mut rows = *left;
        let lanes = rows.lanes as __mmask16;
        // SAFETY: outputs are written within rows and columns only.
        unsafe {
            let parameters = self.parameters(rows.channel);
            for row in (0..count).step_by(4) {
                let here = 4.min(count - row);
                let packed = self.pack([
                    self.steps_of(&rows, 0, 0, parameters, strides),
                    self.steps_of(&rows, 1.min(here - 1), 0, parameters, strides),
                    self.steps_of(&rows, 2.min(here - 1), 0, parameters, strides),
                    self.steps_of(&rows, here - 1, 0, parameters, strides),
                ]);
                let quarters = [
                    _mm512_castsi512_si128(packed),
                    _mm512_extracti32x4_epi32::<1>(packed),
                    _mm512_extracti32x4_epi32::<2>(packed),
                    _mm512_extracti32x4_epi32::<3>(packed),
                ];
                for (i, quarter) in quarters.into_iter().enumerate().take(here) {
                    _mm_mask_storeu_epi8(rows.out.add(i * strides.out).cast(), lanes, quarter);
                }
                rows.advance(here, strides);
            }
        }
        *left = rows;
    }

    /// The same of two vectors, of which the second may lack columns, and two rows.
    #[inline(always)]
    unsafe fn write_two(&self, left: &mut Rows, count: usize, strides: &Strides) {
        let mut rows = *left;
        // SAFETY: outputs are written within rows and columns only.
        unsafe {
            let (first, second) = (self.parameters(rows.channel), self.parameters(rows.channel + LANES));
            for _ in 0..count / 2 {
                let packed = self.pack([
                    self.steps_of(&rows, 0, 0, first, strides),
                    self.steps_of(&rows, 0, LANES, second, strides),
                    self.steps_of(&rows, 1, 0, first, strides),
                    self.steps_of(&rows, 1, LANES, second, strides),
                ]);
                let upper = _mm512_extracti64x4_epi64::<1>(packed);
                _mm256_mask_storeu_epi8(rows.out.cast(), rows.lanes, _mm512_castsi512_si256(packed));
                _mm256_mask_storeu_epi8(rows.out.add(strides.out).cast(), rows.lanes, upper);
                rows.advance(2, strides);
            }
            if count % 2 == 1 {
                let a = self.steps_of(&rows, 0, 0, first, strides);
                let b = self.steps_of(&rows, 0, LANES, second, strides);
                let packed = _mm512_castsi512_si256(self.pack([a, b, a, b]));
                _mm256_mask_storeu_epi8(rows.out.cast(), rows.lanes, packed);
                rows.advance(1, strides);
            }
        }
        *left = rows;
    }

    /// Looks `n` written outputs up where that is not done in registers.
    #[inline(always)]
    unsafe fn look_up(&self, out: *mut u8, n: usize) {
        if let Some(table) = self.table {
            // SAFETY: outputs that were written.
            unsafe { table.apply(out, out, n) };
        }
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
