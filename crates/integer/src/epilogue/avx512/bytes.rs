//! Outputs of 8 bits.

use super::{LANES, Rows, lanes_of};
use crate::epilogue::{BOUND, Epilogue, Strides, SumBlock, Target, Writer};
use crate::table::Table;
use crate::table::x86::InRegisters;
use std::arch::x86_64::*;

/// What writes outputs of 8 bits, looked up in registers where `TABLE`. Its functions are for CPUs with AVX-512 F, BW, DQ
/// and VL, as is what they are inlined into.
pub(super) struct ToBytes<'a, const RESIDUAL: bool, const BOUNDED: bool, const TABLE: bool> {
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

impl<const RESIDUAL: bool, const BOUNDED: bool, const TABLE: bool> Writer<Epilogue>
    for ToBytes<'_, RESIDUAL, BOUNDED, TABLE>
{
    type Rows = Rows<u8>;

    // Those of one vector of columns fill a vector of bytes.
    const FEWEST_ROWS: usize = 4;

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
    fn begin(&self, block: &SumBlock, _: usize) -> Rows<u8> {
        Rows::of(block, 0)
    }

    #[inline(always)]
    unsafe fn write(&self, rows: &mut Rows<u8>, count: usize, strides: &Strides) {
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
    pub(super) unsafe fn write_any(&self, block: &SumBlock) {
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
        rows: &Rows<u8>,
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
    unsafe fn write_one(&self, left: &mut Rows<u8>, count: usize, strides: &Strides) {
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
    unsafe fn write_two(&self, left: &mut Rows<u8>, count: usize, strides: &Strides) {
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
