//! Four vertical taps a product: the lines are interleaved once for each column, whatever the kernel's width.

use super::{CHANNELS, DepthwisePlan, Lines, Unit, grouped};
use crate::conv::ConvArguments;
use crate::epilogue::quarters::Quarters;
use std::arch::x86_64::*;

/// Vectors of output pixels whose columns are interleaved together, so that they stay in L1.
fn tile(plan: &DepthwisePlan) -> usize {
    (32 / plan.weights.pixels()).max(VECTORS)
}

/// Vectors of output pixels whose sums are in registers together.
const VECTORS: usize = 8;

/// Bytes of a quad of a column.
pub(super) const QUAD: usize = 4 * CHANNELS;

/// Input columns under so many vectors of output pixels.
fn columns(plan: &DepthwisePlan, vectors: usize) -> usize {
    let width = &plan.axes[2];
    (vectors - 1) * width.stride * plan.weights.pixels() + (width.kernel - 1) * width.dilation + 1
}

/// Bytes of the interleaved columns of a tile.
fn column_bytes(plan: &DepthwisePlan) -> usize {
    columns(plan, tile(plan)) * plan.weights.quads() * QUAD
}

/// Bytes of the interleaved weights of a line.
fn weight_bytes(plan: &DepthwisePlan) -> usize {
    plan.axes[2].kernel * plan.weights.quads() * QUAD
}

pub(super) fn scratch_bytes(plan: &DepthwisePlan) -> usize {
    // The epilogue may read a vector behind the last sum.
    column_bytes(plan).max(grouped::column_bytes(plan))
        + weight_bytes(plan)
        + (VECTORS * CHANNELS + 16) * size_of::<i32>()
}

/// Computes a unit.
///
/// # Safety
/// As for [`DepthwisePlan::run`], where the unit and the scratch memory are the caller's own; the weights are
/// interleaved, which they are only for CPUs with AVX-512 F, BW and VNNI.
pub(super) unsafe fn run(plan: &DepthwisePlan, arguments: &ConvArguments, unit: &Unit, scratch: *mut u8) {
    let [_, height, width] = &plan.axes;
    let quads = plan.weights.quads();
    let image = arguments.x.wrapping_offset(unit.batch as isize * plan.x[0]).wrapping_add(unit.channel);
    let rows: Lines = (0..4 * quads)
        .map(|row| {
            let at = (unit.line * height.stride + row * height.dilation).checked_sub(height.pad_begin);
            match at {
                Some(y) if y < height.input => image.wrapping_offset(y as isize * plan.x[2]),
                _ => std::ptr::null(),
            }
        })
        .collect();
    let room = scratch.wrapping_add(column_bytes(plan).max(grouped::column_bytes(plan)));
    let sums = room.wrapping_add(weight_bytes(plan)).cast::<i32>();
    if let Some(quarters) = &plan.quarters
        && grouped::takes(plan, unit.count)
    {
        // SAFETY: as granted by the caller.
        unsafe { grouped::run(plan, quarters, arguments, unit, &rows, (scratch, room.cast())) };
        return;
    }
    let pixels = plan.weights.pixels();
    for pixel in (0..width.output).step_by(tile(plan) * pixels) {
        let vectors = tile(plan).min((width.output - pixel).div_ceil(pixels));
        // SAFETY: rows of the input; the scratch memory has room for the columns of a tile and the sums of a few vectors.
        unsafe {
            interleave(plan, unit, &rows, pixel, vectors, scratch);
            for line in 0..unit.lines {
                let weights = weights_of(plan, unit.channel / CHANNELS, line, room.cast());
                let place = (unit.line + line, pixel, vectors);
                match &plan.quarters {
                    Some(quarters) => {
                        let out = arguments.out.wrapping_add(plan.output_at(unit, place.0, pixel));
                        to_bytes(plan, quarters, unit, weights, scratch, (pixel, vectors), out);
                    }
                    None => to_sums(plan, arguments, unit, weights, scratch, place, sums),
                }
            }
        }
    }
}

/// Writes outputs that are bytes of `vectors` vectors of pixels from `pixel` of a line on: sums never leave registers.
///
/// # Safety
/// As for [`run`]; the columns are interleaved; `out` is where the first pixel goes.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn to_bytes(
    plan: &DepthwisePlan,
    quarters: &Quarters,
    unit: &Unit,
    weights: *const i8,
    columns: *const u8,
    (pixel, vectors): (usize, usize),
    out: *mut u8,
) {
    let (width, pixels) = (&plan.axes[2], plan.weights.pixels());
    let block = unit.channel / CHANNELS;
    let stride = pixels * plan.channels;
    let each = if pixels == 1 { unit.count } else { stride };
    // The last vector may have fewer pixels.
    let last = (width.output - pixel - (vectors - 1) * pixels).min(pixels) * (each / pixels);
    let quads = plan.weights.quads();
    let first = plan.weights.first_sums(block);
    let step = width.stride * pixels * quads * QUAD;
    let places = (block, vectors);
    let lanes = |count: usize| if count == CHANNELS { u64::MAX } else { (1 << count) - 1 };
    let (each_lanes, last_lanes) = (lanes(each), lanes(last));
    // SAFETY: as granted by the caller; weights and first sums are those of the block.
    unsafe {
        let vector = |at: *const u8, i: usize| _mm512_load_si512(at.add(i * CHANNELS).cast());
        let store = |row: usize, packed: __m512i| {
            let lanes = if row + 1 < vectors { each_lanes } else { last_lanes };
            _mm512_mask_storeu_epi8(out.add(row * stride).cast(), lanes, packed);
        };
        let first: [__m512i; 4] = std::array::from_fn(|i| vector(first.cast(), i));
        if (quads, width.kernel) == (1, 3) {
            let weights: [[__m512i; 4]; 3] =
                std::array::from_fn(|tap| std::array::from_fn(|i| vector(weights.add(tap * QUAD).cast(), i)));
            let tap_step = width.dilation * QUAD;
            let sums = |row: usize| {
                let (at, mut sums) = (columns.add(row * step), first);
                for (tap, weights) in weights.iter().enumerate() {
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm512_dpbusd_epi32(*sum, vector(at.add(tap * tap_step), i), weights[i]);
                    }
                }
                sums
            };
            quarters.write(&plan.epilogue, places, sums, store);
        } else {
            let sums = |row: usize| {
                let (at, mut sums) = (columns.add(row * step), first);
                for tap in 0..width.kernel {
                    for quad in 0..quads {
                        let at = at.add((tap * width.dilation * quads + quad) * QUAD);
                        let weights = weights.add((tap * quads + quad) * QUAD).cast();
                        for (i, sum) in sums.iter_mut().enumerate() {
                            *sum = _mm512_dpbusd_epi32(*sum, vector(at, i), vector(weights, i));
                        }
                    }
                }
                sums
            };
            quarters.write(&plan.epilogue, places, sums, store);
        }
        quarters.look_up(&plan.epilogue, (out, stride), (vectors - 1, each));
        quarters.look_up(&plan.epilogue, (out.add((vectors - 1) * stride), stride), (1, last));
    }
}

/// Computes other outputs of `vectors` vectors of pixels from `pixel` of a line on, through sums in memory.
///
/// # Safety
/// As for [`run`]; the columns are interleaved; there is room for the sums of [`VECTORS`].
unsafe fn to_sums(
    plan: &DepthwisePlan,
    arguments: &ConvArguments,
    unit: &Unit,
    weights: *const i8,
    columns: *const u8,
    (line, pixel, vectors): (usize, usize, usize),
    sums: *mut i32,
) {
    let pixels = plan.weights.pixels();
    for start in (0..vectors).step_by(VECTORS) {
        let count = VECTORS.min(vectors - start);
        let pixel = pixel + start * pixels;
        // SAFETY: as granted by the caller.
        unsafe {
            multiply(plan, unit, weights, (columns, start, count), sums);
            reorder(sums, count);
            if pixels == 1 {
                plan.finish(arguments, unit, (line, pixel, count), sums);
                continue;
            }
            for i in 0..(plan.axes[2].output - pixel).min(count * pixels) {
                let sums = sums.add(i / pixels * CHANNELS + i % pixels * plan.channels);
                plan.finish(arguments, unit, (line, pixel + i, 1), sums);
            }
        }
    }
}

/// The weights of a block for a line of outputs, in `room` where they are another line's shifted: once for all columns.
///
/// # Safety
/// As for [`run`]; the room is one line's.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn weights_of(plan: &DepthwisePlan, block: usize, line: usize, room: *mut i8) -> *const i8 {
    let (weights, shift) = plan.weights.line(block, line);
    if shift == 0 {
        return weights;
    }
    let shift = _mm_cvtsi32_si128(shift as i32);
    for at in (0..weight_bytes(plan)).step_by(CHANNELS) {
        // SAFETY: whole vectors of the weights of a line, and of the room.
        unsafe {
            let words = _mm512_load_si512(weights.add(at).cast());
            _mm512_store_si512(room.add(at).cast(), _mm512_sll_epi32(words, shift));
        }
    }
    room
}

/// Writes the input columns under `vectors` vectors of output pixels, four lines of each interleaved.
///
/// # Safety
/// As for [`run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn interleave(
    plan: &DepthwisePlan,
    unit: &Unit,
    rows: &[*const u8],
    pixel: usize,
    vectors: usize,
    to: *mut u8,
) {
    let width = &plan.axes[2];
    let (pixels, count) = (plan.weights.pixels() as isize, columns(plan, vectors) as isize);
    let zero = _mm512_set1_epi8(plan.zero_point as i8);
    let first = (pixel * width.stride) as isize - width.pad_begin as isize;
    let quads = plan.weights.quads();
    let lanes_below = |pixels: isize| match pixels as usize * unit.count {
        CHANNELS => u64::MAX,
        lanes => (1 << lanes) - 1,
    };
    let all = lanes_below(pixels);
    // Columns whose pixels all exist, and what the others have of them.
    let begin = (-first).clamp(0, count);
    let end = (width.input as isize - pixels + 1 - first).clamp(begin, count);
    let lanes_at = |x: isize| {
        let (begin, end) = ((-x).max(0), (width.input as isize - x).min(pixels));
        if begin < end { lanes_below(end) & !lanes_below(begin) } else { 0 }
    };
    let outside = [zero; 1];
    for (quad, rows) in rows.chunks_exact(4).enumerate() {
        let to = to.wrapping_add(quad * QUAD);
        // Lines outside are read as one vector of zeros again and again.
        let line = |i: usize| match rows[i].is_null() {
            true => (outside.as_ptr().cast::<u8>(), 0),
            false => (rows[i], plan.x[3]),
        };
        let lines: [(*const u8, isize); 4] = std::array::from_fn(line);
        let column = |column: isize, lanes: u64| {
            let x = first + column;
            // SAFETY: of the input only channels of pixels that exist are read; a column of the scratch memory.
            unsafe {
                let load = |(at, step): (*const u8, isize)| {
                    _mm512_mask_loadu_epi8(zero, lanes, at.wrapping_offset(x * step).cast())
                };
                let [a, b, c, d] = lines.map(load);
                // Of each quarter with channels 0..16, bytes ab of channels 0..8 and 8..16, then abcd of four.
                let (ab_low, ab_high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
                let (cd_low, cd_high) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
                let to = to.add(column as usize * quads * QUAD).cast::<__m512i>();
                _mm512_store_si512(to, _mm512_unpacklo_epi16(ab_low, cd_low));
                _mm512_store_si512(to.add(1), _mm512_unpackhi_epi16(ab_low, cd_low));
                _mm512_store_si512(to.add(2), _mm512_unpacklo_epi16(ab_high, cd_high));
                _mm512_store_si512(to.add(3), _mm512_unpackhi_epi16(ab_high, cd_high));
            }
        };
        for at in (0..begin).chain(end..count) {
            column(at, lanes_at(first + at));
        }
        for at in begin..end {
            column(at, all);
        }
    }
}

/// Writes the sums of `count` vectors of output pixels from `start` of the tile on, in the order of the interleaved bytes.
///
/// # Safety
/// As for [`run`]; the columns are interleaved.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn multiply(
    plan: &DepthwisePlan,
    unit: &Unit,
    weights: *const i8,
    (columns, start, count): (*const u8, usize, usize),
    sums: *mut i32,
) {
    let width = &plan.axes[2];
    let quads = plan.weights.quads();
    let first = plan.weights.first_sums(unit.channel / CHANNELS);
    let step = width.stride * plan.weights.pixels() * quads * QUAD;
    // SAFETY: columns of the tile, weights and first sums of the block, and room for the sums.
    unsafe {
        for vector in 0..4 {
            let first = _mm512_load_si512(first.add(vector * 16).cast());
            let at = columns.add(start * step + vector * CHANNELS);
            let weights = weights.add(vector * CHANNELS);
            let to = sums.add(vector * 16);
            match count {
                VECTORS => {
                    sum::<VECTORS>(width.kernel, width.dilation, quads, (first, at, step, weights), to)
                }
                _ => {
                    for i in 0..count {
                        let from = (first, at.add(i * step), step, weights);
                        sum::<1>(width.kernel, width.dilation, quads, from, to.add(i * CHANNELS));
                    }
                }
            }
        }
    }
}

/// Brings the sums of `count` vectors of pixels in the order of their channels.
///
/// # Safety
/// The sums of as many vectors are there; the CPU has AVX-512 F.
#[target_feature(enable = "avx512f")]
unsafe fn reorder(sums: *mut i32, count: usize) {
    for i in 0..count {
        // The vectors' quarters hold channels 0..4, 4..8, 8..12 and 12..16 of each sixteen: transposed, they are in order.
        // SAFETY: the four quarters of its sums.
        unsafe {
            let at = sums.add(i * CHANNELS).cast::<__m512i>();
            let [a, b, c, d] = [at, at.add(1), at.add(2), at.add(3)].map(|at| _mm512_load_si512(at));
            let (ab_low, ab_high) = (_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0xee>(a, b));
            let (cd_low, cd_high) = (_mm512_shuffle_i32x4::<0x44>(c, d), _mm512_shuffle_i32x4::<0xee>(c, d));
            _mm512_store_si512(at, _mm512_shuffle_i32x4::<0x88>(ab_low, cd_low));
            _mm512_store_si512(at.add(1), _mm512_shuffle_i32x4::<0xdd>(ab_low, cd_low));
            _mm512_store_si512(at.add(2), _mm512_shuffle_i32x4::<0x88>(ab_high, cd_high));
            _mm512_store_si512(at.add(3), _mm512_shuffle_i32x4::<0xdd>(ab_high, cd_high));
        }
    }
}

/// A quarter of the sums of `N` vectors of pixels.
///
/// # Safety
/// As for [`multiply`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn sum<const N: usize>(
    kernel: usize,
    dilation: usize,
    quads: usize,
    (first, columns, step, weights): (__m512i, *const u8, usize, *const i8),
    to: *mut i32,
) {
    let mut sums = [first; N];
    // SAFETY: as granted by the caller.
    unsafe {
        for kx in 0..kernel {
            for quad in 0..quads {
                let w = _mm512_load_si512(weights.add((kx * quads + quad) * QUAD).cast());
                let at = columns.add((kx * dilation * quads + quad) * QUAD);
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_dpbusd_epi32(*sum, _mm512_load_si512(at.add(i * step).cast()), w);
                }
            }
        }
        for (i, sum) in sums.into_iter().enumerate() {
            _mm512_store_si512(to.add(i * CHANNELS).cast(), sum);
        }
    }
}
