//! Blocks of 16 or 32 channels: a vector holds several output pixels. Columns are interleaved as in blocks of 64, but every
//! quarter has memory of its own, so that a vector may begin at any pixel.

use super::vnni::{QUAD, weights_of};
use super::{CHANNELS, DepthwisePlan, Unit};
use crate::conv::ConvArguments;
use crate::epilogue::quarters::Quarters;
use std::arch::x86_64::*;

/// Vectors of output pixels whose columns are interleaved together.
const VECTORS: usize = 16;

/// Whether a block of so many channels is computed here.
pub(super) fn takes(plan: &DepthwisePlan, count: usize) -> bool {
    matches!(count, 16 | 32) && plan.weights.quads() == 1 && plan.axes[2].kernel <= 3
}

/// Pixels of a quarter's memory: one in every `stride` columns under a tile, whole vectors of them.
fn slots(plan: &DepthwisePlan, count: usize) -> usize {
    let (width, pixels) = (&plan.axes[2], CHANNELS / count);
    (VECTORS * pixels + (width.kernel - 1) * width.dilation / width.stride).next_multiple_of(pixels)
}

/// Bytes of the interleaved columns of a tile.
pub(super) fn column_bytes(plan: &DepthwisePlan) -> usize {
    let bytes = |count: usize| 4 * plan.axes[2].stride * slots(plan, count) * count;
    if plan.axes[2].kernel == 0 { 0 } else { bytes(16).max(bytes(32)).next_multiple_of(CHANNELS) }
}

/// Computes a unit whose block has 16 or 32 channels.
///
/// # Safety
/// As for [`super::vnni::run`], with room for columns and for the weights of a line.
pub(super) unsafe fn run(
    plan: &DepthwisePlan,
    quarters: &Quarters,
    arguments: &ConvArguments,
    unit: &Unit,
    rows: &[*const u8],
    (columns, room): (*mut u8, *mut i8),
) {
    let output = plan.axes[2].output;
    let at_once = VECTORS * (CHANNELS / unit.count);
    for pixel in (0..output).step_by(at_once) {
        let count = at_once.min(output - pixel);
        // SAFETY: as granted by the caller.
        unsafe {
            match unit.count {
                16 => interleave::<16>(plan, rows, (pixel, count), columns),
                _ => interleave::<32>(plan, rows, (pixel, count), columns),
            }
            for line in 0..unit.lines {
                let weights = weights_of(plan, unit.channel / CHANNELS, line, room);
                let out = arguments.out.wrapping_add(plan.output_at(unit, unit.line + line, pixel));
                match unit.count {
                    16 => multiply::<16>(plan, quarters, unit, weights, columns, count, out),
                    _ => multiply::<32>(plan, quarters, unit, weights, columns, count, out),
                }
            }
        }
    }
}

/// Writes the input columns under `count` output pixels, of every quarter and residue of the stride one after the other.
///
/// # Safety
/// As for [`run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn interleave<const COUNT: usize>(
    plan: &DepthwisePlan,
    rows: &[*const u8],
    (pixel, count): (usize, usize),
    to: *mut u8,
) {
    let width = &plan.axes[2];
    let (pixels, slots) = (CHANNELS / COUNT, slots(plan, COUNT));
    let outside = [_mm512_set1_epi8(plan.zero_point as i8)];
    let outside = outside.as_ptr().cast::<u8>();
    let first = (pixel * width.stride) as isize - width.pad_begin as isize;
    let wanted = count.next_multiple_of(pixels) + (width.kernel - 1) * width.dilation / width.stride;
    let dense = width.stride == 1 && plan.x[3] == COUNT as isize;
    for residue in 0..width.stride {
        let to = to.wrapping_add(4 * residue * slots * COUNT);
        for slot in (0..wanted).step_by(pixels) {
            let column = |i: usize| first + ((slot + i) * width.stride + residue) as isize;
            let inside = column(0) >= 0 && column(pixels - 1) < width.input as isize;
            // SAFETY: of the input only channels of pixels that exist are read; vectors of the scratch memory.
            unsafe {
                let load = |row: *const u8| {
                    if row.is_null() {
                        return _mm512_loadu_si512(outside.cast());
                    }
                    if inside && dense {
                        return _mm512_loadu_si512(row.offset(column(0) * plan.x[3]).cast());
                    }
                    let at = |i: usize| match column(i) {
                        x if x >= 0 && x < width.input as isize => row.offset(x * plan.x[3]),
                        _ => outside,
                    };
                    if COUNT == 32 {
                        let low = _mm512_castsi256_si512(_mm256_loadu_si256(at(0).cast()));
                        return _mm512_inserti64x4::<1>(low, _mm256_loadu_si256(at(1).cast()));
                    }
                    let quarter = |i: usize| _mm_loadu_si128(at(i).cast());
                    let low = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(quarter(0)), quarter(1));
                    let high = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(quarter(2)), quarter(3));
                    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
                };
                let [a, b, c, d] = [load(rows[0]), load(rows[1]), load(rows[2]), load(rows[3])];
                let (ab_low, ab_high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
                let (cd_low, cd_high) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
                let to = |quarter: usize| to.add((quarter * slots + slot) * COUNT).cast();
                _mm512_storeu_si512(to(0), _mm512_unpacklo_epi16(ab_low, cd_low));
                _mm512_storeu_si512(to(1), _mm512_unpackhi_epi16(ab_low, cd_low));
                _mm512_storeu_si512(to(2), _mm512_unpacklo_epi16(ab_high, cd_high));
                _mm512_storeu_si512(to(3), _mm512_unpackhi_epi16(ab_high, cd_high));
            }
        }
    }
}

/// Writes the outputs of `count` pixels of a line.
///
/// # Safety
/// As for [`run`]; the columns are interleaved; `out` is where the first pixel goes.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn multiply<const COUNT: usize>(
    plan: &DepthwisePlan,
    quarters: &Quarters,
    unit: &Unit,
    weights: *const i8,
    columns: *const u8,
    count: usize,
    out: *mut u8,
) {
    let width = &plan.axes[2];
    let (pixels, slots) = (CHANNELS / COUNT, slots(plan, COUNT));
    let block = unit.channel / CHANNELS;
    let first = plan.weights.first_sums(block);
    // SAFETY: as granted by the caller; weights and first sums are those of the block.
    unsafe {
        let first: [__m512i; 4] = std::array::from_fn(|i| _mm512_load_si512(first.add(i * 16).cast()));
        // Taps that there are none of have no weights.
        let weights: [[__m512i; 4]; 3] = std::array::from_fn(|tap| {
            std::array::from_fn(|i| match tap < width.kernel {
                true => _mm512_load_si512(weights.add(tap * QUAD + i * CHANNELS).cast()),
                false => _mm512_setzero_si512(),
            })
        });
        let taps: [*const u8; 3] = std::array::from_fn(|tap| {
            let at = tap.min(width.kernel - 1) * width.dilation;
            columns.add((4 * (at % width.stride) * slots + at / width.stride) * COUNT)
        });
        let sums = |vector: usize| {
            let mut sums = first;
            for (at, weights) in taps.into_iter().zip(&weights) {
                let at = at.add(vector * CHANNELS);
                for (i, sum) in sums.iter_mut().enumerate() {
                    let column = _mm512_loadu_si512(at.add(i * slots * COUNT).cast());
                    *sum = _mm512_dpbusd_epi32(*sum, column, weights[i]);
                }
            }
            sums
        };
        let stride = plan.channels;
        let store = |vector: usize, packed: __m512i| {
            let (out, left) = (out.add(vector * pixels * stride), count - vector * pixels);
            if stride == COUNT {
                let lanes = u64::MAX >> (CHANNELS - left.min(pixels) * COUNT);
                _mm512_mask_storeu_epi8(out.cast(), lanes, packed);
            } else if COUNT == 32 {
                _mm256_storeu_si256(out.cast(), _mm512_castsi512_si256(packed));
                if left > 1 {
                    let high = _mm512_extracti64x4_epi64::<1>(packed);
                    _mm256_storeu_si256(out.add(stride).cast(), high);
                }
            } else {
                let quarters = [
                    _mm512_castsi512_si128(packed),
                    _mm512_extracti32x4_epi32::<1>(packed),
                    _mm512_extracti32x4_epi32::<2>(packed),
                    _mm512_extracti32x4_epi32::<3>(packed),
                ];
                for (i, quarter) in quarters.into_iter().enumerate().take(left) {
                    _mm_storeu_si128(out.add(i * stride).cast(), quarter);
                }
            }
        };
        quarters.write(&plan.epilogue, (block, count.div_ceil(pixels)), sums, store);
        quarters.look_up(&plan.epilogue, (out, stride), (count, COUNT));
    }
}
