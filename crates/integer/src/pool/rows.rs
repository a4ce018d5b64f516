//! Rows of bytes combined: plain loops over slices, which the compiler makes vector code of.

use vedette_simd::prefetch_ahead;

/// `a[i] = max(a[i], b[i])`
#[inline(always)]
pub(super) fn max<T: Copy + PartialOrd>(a: &mut [T], b: &[T]) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a = if *a > b { *a } else { b };
    }
}

/// `to[i] = max(a[i], b[i])`
#[inline(always)]
pub(super) fn max_of<T: Copy + PartialOrd>(to: &mut [T], a: &[T], b: &[T]) {
    for ((to, &a), &b) in to.iter_mut().zip(a).zip(b) {
        *to = if a > b { a } else { b };
    }
}

/// `sums[i] += x[i]`
#[inline(always)]
pub(super) fn add_bytes(sums: &mut [i32], x: &[u8]) {
    for (sum, &x) in sums.iter_mut().zip(x) {
        *sum += i32::from(x);
    }
}

/// `sums[i] += x[i]`
#[inline(always)]
pub(super) fn add(sums: &mut [i32], x: &[i32]) {
    for (sum, &x) in sums.iter_mut().zip(x) {
        *sum += x;
    }
}

/// Rows that 16 bits hold the sum of.
const SHORT: usize = 256;

/// Columns combined at once.
const COLUMNS: usize = 64;

/// Bytes of a row of several pixels that are best combined with the next row: pixels of few channels make a long row,
/// and whole vectors.
pub(super) fn period(channels: usize) -> usize {
    const LEAST: usize = 192;
    const MOST: usize = 1024;
    let channels = channels.max(1);
    let whole = channels * (COLUMNS >> channels.trailing_zeros().min(COLUMNS.trailing_zeros()));
    match whole {
        ..LEAST => LEAST.div_ceil(whole) * whole,
        LEAST..=MOST => whole,
        _ => LEAST.div_ceil(channels) * channels,
    }
}

/// Adds the columns of `x`, `[rows][period]` (the last row may be shorter), to `sums`.
#[inline(always)]
pub(super) fn add_columns(x: &[u8], period: usize, sums: &mut [u64]) {
    for start in (0..period).step_by(COLUMNS) {
        let width = COLUMNS.min(period - start);
        for block in x.chunks(SHORT * period) {
            let mut short = [0u16; COLUMNS];
            if width == COLUMNS {
                let mut rows = block.chunks_exact(period);
                for row in &mut rows {
                    if start == 0 {
                        prefetch_ahead(row.as_ptr(), period);
                    }
                    if let Some(row) = row[start..].first_chunk::<COLUMNS>() {
                        for (sum, &x) in short.iter_mut().zip(row) {
                            *sum += u16::from(x);
                        }
                    }
                }
                let rest = rows.remainder();
                for (sum, &x) in short.iter_mut().zip(&rest[start.min(rest.len())..]) {
                    *sum += u16::from(x);
                }
            } else {
                for row in block.chunks(period) {
                    let row = &row[start.min(row.len())..];
                    for (sum, &x) in short[..width].iter_mut().zip(row) {
                        *sum += u16::from(x);
                    }
                }
            }
            for (sum, short) in sums[start..start + width].iter_mut().zip(short) {
                *sum += u64::from(short);
            }
        }
    }
}
