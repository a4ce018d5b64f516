//! The oracle: what each row kernel computes, in plain code. Every level gives these very bits.

/// `out[x] = (sum over k of rows[k][x] * weights[k]) >> shift`, rounded, for `x` in `columns`.
///
/// # Safety
/// Each row must be readable, and `out` writable, at every column.
pub unsafe fn vertical(
    rows: &[*const u8],
    weights: &[i16],
    shift: u32,
    columns: std::ops::Range<usize>,
    out: *mut i16,
) {
    let half = 1 << (shift - 1);
    for x in columns {
        let mut sum = half;
        for (row, &weight) in rows.iter().zip(weights) {
            // SAFETY: the caller grants the column in every row.
            sum += i32::from(unsafe { *row.add(x) }) * i32::from(weight);
        }
        // SAFETY: the caller grants the column in the output.
        unsafe { *out.wrapping_add(x) = saturate(sum >> shift) }
    }
}

/// An `i32` as the nearest `i16`.
#[inline(always)]
pub fn saturate(value: i32) -> i16 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// Writes channel `c` of pixel `x` to `planes[c * stride + x]`, for the pixels from `start` on.
pub fn deinterleave(row: &[i16], channels: usize, start: usize, planes: &mut [i16], stride: usize) {
    for (x, pixel) in row.chunks_exact(channels).enumerate().skip(start) {
        for (channel, &value) in pixel.iter().enumerate() {
            planes[channel * stride + x] = value;
        }
    }
}

/// Rounds fixed-point values with `fraction` fraction bits to whole levels and interleaves them, from pixel `start` on.
pub fn interleave(
    planes: &[i16],
    stride: usize,
    fraction: u32,
    channels: usize,
    start: usize,
    out: &mut [u8],
) {
    for (x, pixel) in out.chunks_exact_mut(channels).enumerate().skip(start) {
        for (channel, value) in pixel.iter_mut().enumerate() {
            *value = level(planes[channel * stride + x], fraction);
        }
    }
}

/// A fixed-point value as a level of 0 to 255.
#[inline(always)]
pub fn level(value: i16, fraction: u32) -> u8 {
    // The sum saturates as the vector levels' does; such a value is far above 255 anyway.
    (value.saturating_add(1 << (fraction - 1)) >> fraction).clamp(0, 255) as u8
}

/// One output of the horizontal pass: `(sum over k of row[k] * weights[k]) >> 14`, rounded.
#[inline(always)]
pub fn horizontal(row: &[i16], weights: &[i16]) -> i16 {
    let sum: i32 =
        row.iter().zip(weights).map(|(&value, &weight)| i32::from(value) * i32::from(weight)).sum();
    saturate((sum + (1 << 13)) >> 14)
}
