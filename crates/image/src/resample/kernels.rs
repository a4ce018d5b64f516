//! The row kernels, each at the level asked for.

use super::aligned::Aligned;
use super::plan::{HorizontalPlan, RowWeights};
use super::scalar;
use std::ops::Range;
use vedette_simd::{Isa, Level};

#[cfg(target_arch = "x86_64")]
use super::x86;
#[cfg(target_arch = "x86_64")]
use vedette_simd::{Avx2, Avx512, call_avx2, call_avx512};

/// The weighted sum of `rows` (an even number of them, the missing one repeated) for `out.len()` columns from `start` on.
///
/// # Safety
/// Each row must be readable for these bytes.
pub unsafe fn vertical(isa: Isa, rows: &[*const u8], weights: RowWeights<'_>, start: usize, out: &mut [i16]) {
    assert!(rows.len() == weights.single.len().next_multiple_of(2));
    let columns = start..start + out.len();
    let target = out.as_mut_ptr().wrapping_sub(start);
    // SAFETY: the level is there; rows and output have the columns.
    let done = unsafe {
        match isa.level() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => call_avx512(
                #[inline(always)]
                || x86::vertical::<Avx512>(rows, weights, columns.clone(), target),
            ),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => call_avx2(
                #[inline(always)]
                || x86::vertical::<Avx2>(rows, weights, columns.clone(), target),
            ),
            _ => start,
        }
    };
    // SAFETY: the columns lie in every row and in the output.
    unsafe { scalar::vertical(rows, weights.single, weights.shift, done..columns.end, target) }
}

/// Spreads `width` interleaved pixels over planes `stride` apart.
pub fn deinterleave(isa: Isa, row: &[i16], channels: usize, width: usize, planes: &mut [i16], stride: usize) {
    assert!(row.len() >= width * channels && planes.len() >= (channels - 1) * stride + width);
    if channels == 1 {
        planes[..width].copy_from_slice(&row[..width]);
        return;
    }
    #[allow(unused_variables, reason = "only vector levels use the pointers")]
    let (source, target) = (row.as_ptr(), planes.as_mut_ptr());
    // SAFETY: the level is there, and the lengths were checked above.
    let done = unsafe {
        match (isa.level(), channels) {
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, 2) => x86::deinterleave_avx512::<2>(source, width, target, stride),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, 3) => x86::deinterleave_avx512::<3>(source, width, target, stride),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, 4) => x86::deinterleave_avx512::<4>(source, width, target, stride),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, 2) => x86::deinterleave_avx2::<2>(source, width, target, stride),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, 3) => x86::deinterleave_avx2::<3>(source, width, target, stride),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, 4) => x86::deinterleave_avx2::<4>(source, width, target, stride),
            _ => 0,
        }
    };
    scalar::deinterleave(&row[..width * channels], channels, done, planes, stride);
}

/// Whether [`sparse`] does rows of pixels of so many bytes.
#[cfg(target_arch = "x86_64")]
pub fn takes_sparse(isa: Isa, step: usize) -> bool {
    isa.level() >= Level::Avx2 && (2..=4).contains(&step)
}

/// Both passes for outputs of two pixels in each of two rows, the results of channel `c` going to `out[planes[c]]`,
/// planes `stride` apart.
///
/// # Safety
/// Two pixels from each start on lie within the readable bytes of both rows.
///
/// # Panics
/// Where lengths do not fit, or the level does not [take them](takes_sparse).
#[cfg(target_arch = "x86_64")]
pub unsafe fn sparse(
    isa: Isa,
    input: &x86::sparse::Sparse<'_>,
    planes: &[Option<usize>; 4],
    (out, stride): (&mut [i16], usize),
) {
    let padded = input.starts.len().next_multiple_of(16);
    assert!(takes_sparse(isa, input.step) && stride >= padded && input.horizontal.len() >= padded);
    assert!(planes.iter().flatten().all(|plane| out.len() >= (plane + 1) * stride));
    let out = (out.as_mut_ptr(), stride);
    // SAFETY: the level is there, lengths were just checked, and the rest is the caller's promise.
    unsafe {
        if isa.level() == Level::Avx2 {
            call_avx2(
                #[inline(always)]
                || x86::sparse::sparse::<Avx2>(input, planes, out),
            );
        } else {
            call_avx512(
                #[inline(always)]
                || x86::sparse::sparse::<Avx512>(input, planes, out),
            );
        }
    }
}

/// Rows that [`joint`] takes at once where pixels are so many bytes apart; one where it takes none.
pub fn joint_rows(isa: Isa, plan: &HorizontalPlan, step: usize) -> usize {
    match isa.level() {
        _ if plan.identity || step < 3 => 1,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::Avx512 => x86::joint::ROWS,
        _ => 1,
    }
}

/// Both passes for `rows` rows, at most [`joint_rows`], columns after columns. `vertical` makes some columns of a row of what
/// lies between the passes; results are `pitch` apart from row to row, those of channel `c` at `out[planes[c]..]`.
///
/// # Panics
/// Where results do not fit, or the level takes no rows.
#[cfg(target_arch = "x86_64")]
pub fn joint(
    isa: Isa,
    plan: &HorizontalPlan,
    rows: usize,
    columns: x86::joint::Columns,
    vertical: impl Fn(Range<usize>, usize, &mut [i16]),
    (combined, pairs): (&mut Aligned, &mut Aligned),
    planes: [Option<usize>; 4],
    (out, pitch): (&mut [i16], usize),
) {
    let at_once = joint_rows(isa, plan, columns.channels());
    assert!(at_once > 1 && rows <= at_once && (3..=4).contains(&columns.channels()));
    let combined = combined.grown(x86::joint::ROWS_ROOM).as_mut_ptr();
    let mut make = |columns: Range<usize>| {
        for row in 0..rows {
            let place = combined.wrapping_add(x86::joint::row_place(row));
            // SAFETY: there is room for so many columns of each row, which nothing else refers to meanwhile.
            let out = unsafe { std::slice::from_raw_parts_mut(place, columns.len()) };
            vertical(columns.clone(), row, out);
        }
    };
    let planes = planes.map(|plane| {
        plane.map(|plane| out[plane..][..(at_once - 1) * pitch + plan.padded_output()].as_mut_ptr())
    });
    let pairs = pairs.grown(x86::joint::pairs_room(&plan.pairs)).as_mut_ptr();
    let places = x86::joint::Places { rows: combined, pairs, planes, pitch };
    // SAFETY: the level is there, and so is the room everywhere.
    unsafe {
        match (isa.level(), columns.channels()) {
            (Level::Avx512, 3) => call_avx512(
                #[inline(always)]
                || x86::joint::joint::<Avx512, 3, 1>(&plan.pairs, columns, places, &mut make),
            ),
            (Level::Avx512, _) => call_avx512(
                #[inline(always)]
                || x86::joint::joint::<Avx512, 4, 1>(&plan.pairs, columns, places, &mut make),
            ),
            (_, 3) => call_avx2(
                #[inline(always)]
                || x86::joint::joint::<Avx2, 3, 2>(&plan.pairs, columns, places, &mut make),
            ),
            _ => call_avx2(
                #[inline(always)]
                || x86::joint::joint::<Avx2, 4, 2>(&plan.pairs, columns, places, &mut make),
            ),
        }
    }
}

/// The horizontal pass over one plane.
pub fn horizontal(isa: Isa, plan: &HorizontalPlan, row: &[i16], out: &mut [i16]) {
    assert!(row.len() >= plan.padded_input && out.len() >= plan.padded_output());
    if plan.identity {
        out[..plan.output].copy_from_slice(&row[..plan.output]);
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if isa.level() >= Level::Avx512
        && let Some(windows) = &plan.windows
    {
        // SAFETY: the level is there, and the lengths were checked above.
        unsafe { x86::horizontal_windows(windows, row.as_ptr(), out.as_mut_ptr()) };
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if isa.level() >= Level::Avx2 {
        // SAFETY: the level is there, and the lengths were checked above.
        unsafe { x86::horizontal_avx2(plan, row.as_ptr(), out.as_mut_ptr()) };
        return;
    }
    let taps = plan.chunk * plan.chunks;
    for ((value, weights), &start) in out.iter_mut().zip(plan.plain.chunks_exact(taps)).zip(&plan.starts) {
        *value = scalar::horizontal(&row[start as usize..][..taps], weights);
    }
}

/// Rounds fixed-point planes to levels and interleaves them into `out`.
pub fn interleave(isa: Isa, planes: &[i16], stride: usize, fraction: u32, channels: usize, out: &mut [u8]) {
    let width = out.len() / channels;
    assert!(planes.len() >= (channels - 1) * stride + width && out.len() == width * channels);
    #[allow(unused_variables, reason = "only vector levels use the pointers")]
    let (source, target) = (planes.as_ptr(), out.as_mut_ptr());
    // SAFETY: the level is there, and the lengths were checked above.
    let done = unsafe {
        match isa.level() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => call_avx512(
                #[inline(always)]
                || x86::interleave::<Avx512>(channels, source, stride, fraction, width, target),
            ),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => call_avx2(
                #[inline(always)]
                || x86::interleave::<Avx2>(channels, source, stride, fraction, width, target),
            ),
            _ => 0,
        }
    };
    scalar::interleave(planes, stride, fraction, channels, done, out);
}
