//! One output line: the taps of a kernel line in registers, several output pixels at a time.

use crate::conv::Axis;
use std::ops::Range;
use vedette_simd::{Isa, Simd, prefetch};

/// An output line and what it is computed from.
pub(super) struct Line {
    /// Pixel 0 of the first input line that counts.
    pub x: *const f32,
    pub line_step: isize,
    pub pixel_step: isize,
    /// Kernel lines within the input.
    pub taps: usize,
    /// `[taps][kernel width][tap_step]`
    pub weights: *const f32,
    pub tap_step: usize,
    pub bias: *const f32,
    pub residual: *const f32,
    pub out: *mut f32,
    pub channels: usize,
    pub width: Axis,
    /// Output pixels to compute.
    pub columns: Range<usize>,
    pub clamp: Option<(f32, f32)>,
}

pub(super) type LineFn = unsafe fn(&Line);

/// The kernel for lines of windows of this width.
pub(super) fn line_kernel(isa: Isa, width: usize, stride: usize, dilation: usize) -> LineFn {
    macro_rules! entry {
        ($kernel:ident $(, $parameter:literal)*) => {{
            match isa.level() {
                #[cfg(target_arch = "x86_64")]
                vedette_simd::Level::Avx512 => {
                    unsafe fn entry(line: &Line) {
                        // SAFETY: chosen for an `Isa` of this level; the rest is the caller's promise.
                        unsafe {
                            vedette_simd::call_avx512(
                                #[inline(always)]
                                || $kernel::<vedette_simd::Avx512 $(, $parameter)*>(line),
                            )
                        }
                    }
                    entry
                }
                #[cfg(target_arch = "x86_64")]
                vedette_simd::Level::Avx2 => {
                    unsafe fn entry(line: &Line) {
                        // SAFETY: as above.
                        unsafe {
                            vedette_simd::call_avx2(
                                #[inline(always)]
                                || $kernel::<vedette_simd::Avx2 $(, $parameter)*>(line),
                            )
                        }
                    }
                    entry
                }
                _ => {
                    unsafe fn entry(line: &Line) {
                        // SAFETY: the caller's promise.
                        unsafe { $kernel::<vedette_simd::Scalar $(, $parameter)*>(line) }
                    }
                    entry
                }
            }
        }};
    }
    match (width, stride, dilation) {
        (3, 1, 1) => entry!(run_line, 3, 1),
        (3, 2, 1) => entry!(run_line, 3, 2),
        (5, 1, 1) => entry!(run_line, 5, 1),
        (5, 2, 1) => entry!(run_line, 5, 2),
        (7, 1, 1) => entry!(run_line, 7, 1),
        _ => entry!(run_any),
    }
}

/// # Safety
/// `line` must describe readable and writable memory.
#[inline(always)]
unsafe fn run_line<S: Simd, const KW: usize, const SW: usize>(line: &Line) {
    let width = &line.width;
    // Output pixels whose window is wholly within the input.
    let inner = width.pad_begin.div_ceil(SW)..match (width.input + width.pad_begin).checked_sub(KW) {
        Some(last) => last / SW + 1,
        None => 0,
    };
    let mut x = line.columns.start;
    while x < line.columns.end {
        let left = line.columns.end - x;
        // SAFETY: the tile's pixels are within the columns.
        unsafe {
            if left >= 8 {
                tile::<S, KW, SW, 8>(line, x, inner.contains(&x) && x + 8 <= inner.end);
                x += 8;
            } else if left >= 4 {
                tile::<S, KW, SW, 4>(line, x, inner.contains(&x) && x + 4 <= inner.end);
                x += 4;
            } else if left >= 2 {
                tile::<S, KW, SW, 2>(line, x, inner.contains(&x) && x + 2 <= inner.end);
                x += 2;
            } else {
                tile::<S, KW, SW, 1>(line, x, inner.contains(&x));
                x += 1;
            }
        }
    }
}

/// # Safety
/// As for [`run_line`]; pixels `x..x + NX` are within the columns, and their windows within the input where `inner`.
#[inline(always)]
unsafe fn tile<S: Simd, const KW: usize, const SW: usize, const NX: usize>(
    line: &Line,
    x: usize,
    inner: bool,
) {
    let mut channel = 0;
    // SAFETY: lanes are within the channels.
    unsafe {
        if inner {
            while channel + S::LANES <= line.channels {
                block::<S, KW, SW, NX, false>(line, x, channel, S::LANES);
                channel += S::LANES;
            }
        }
        while channel < line.channels {
            let lanes = S::LANES.min(line.channels - channel);
            block::<S, KW, SW, NX, true>(line, x, channel, lanes);
            channel += lanes;
        }
    }
}

/// Output pixels from those computed to those whose memory is fetched meanwhile.
const AHEAD: usize = 32;

/// # Safety
/// As for [`tile`]; `CAREFUL` unless all lanes and all windows are whole.
#[inline(always)]
unsafe fn block<S: Simd, const KW: usize, const SW: usize, const NX: usize, const CAREFUL: bool>(
    line: &Line,
    x: usize,
    channel: usize,
    lanes: usize,
) {
    #[inline(always)]
    unsafe fn load<S: Simd, const CAREFUL: bool>(p: *const f32, lanes: usize) -> S::V {
        // SAFETY: the caller's lanes are within the channels of a pixel.
        unsafe { if CAREFUL { S::load_partial(p, lanes) } else { S::load(p) } }
    }
    let at = x * line.channels + channel;
    let mut sums = [S::splat(0.0); NX];
    if !line.bias.is_null() {
        // SAFETY: a bias for each channel.
        let bias = unsafe { load::<S, CAREFUL>(line.bias.wrapping_add(channel), lanes) };
        sums = [bias; NX];
    }
    let first = (x * SW) as isize - line.width.pad_begin as isize;
    let mut pixels = line.x.wrapping_add(channel).wrapping_offset(first * line.pixel_step);
    let mut weights = line.weights.wrapping_add(channel);
    if !CAREFUL {
        for n in 0..NX {
            prefetch(line.out.wrapping_add(at + (AHEAD + n) * line.channels).cast());
        }
    }
    for left in (0..line.taps).rev() {
        if !CAREFUL && left == 0 {
            // The lines above are in cache from the output line before.
            for i in 0..NX * SW {
                prefetch(pixels.wrapping_offset((AHEAD * SW + i) as isize * line.pixel_step).cast());
            }
        }
        let mut w = [S::splat(0.0); KW];
        for (tap, w) in w.iter_mut().enumerate() {
            // SAFETY: the packed weights are padded to whole vectors.
            *w = unsafe { S::load(weights.wrapping_add(tap * line.tap_step)) };
        }
        for i in 0..(NX - 1) * SW + KW {
            if CAREFUL && (first + i as isize) as usize >= line.width.input {
                continue;
            }
            // SAFETY: pixel `first + i` is within the line.
            let value =
                unsafe { load::<S, CAREFUL>(pixels.wrapping_offset(i as isize * line.pixel_step), lanes) };
            for tap in 0..KW {
                if i >= tap && (i - tap) % SW == 0 && (i - tap) / SW < NX {
                    let n = (i - tap) / SW;
                    sums[n] = S::mul_add(value, w[tap], sums[n]);
                }
            }
        }
        pixels = pixels.wrapping_offset(line.line_step);
        weights = weights.wrapping_add(KW * line.tap_step);
    }
    for (n, sum) in sums.iter_mut().enumerate() {
        let at = at + n * line.channels;
        let mut y = *sum;
        if !line.residual.is_null() {
            // SAFETY: the residual lies as the output.
            y = S::add(y, unsafe { load::<S, CAREFUL>(line.residual.wrapping_add(at), lanes) });
        }
        if let Some((low, high)) = line.clamp {
            y = S::min(S::splat(high), S::max(S::splat(low), y));
        }
        let out = line.out.wrapping_add(at);
        // SAFETY: lanes of a pixel of the output.
        unsafe { if CAREFUL { S::store_partial(out, y, lanes) } else { S::store(out, y) } }
    }
}

/// Any width, stride and dilation, a pixel at a time.
///
/// # Safety
/// As for [`run_line`].
#[inline(always)]
unsafe fn run_any<S: Simd>(line: &Line) {
    let width = &line.width;
    for x in line.columns.clone() {
        let taps = width.taps_within(x);
        let first = (x * width.stride + taps.start * width.dilation).saturating_sub(width.pad_begin);
        let mut channel = 0;
        while channel < line.channels {
            let lanes = S::LANES.min(line.channels - channel);
            let at = x * line.channels + channel;
            // SAFETY: the taps are within the line, the lanes within the channels.
            unsafe {
                let mut sum = S::splat(0.0);
                if !line.bias.is_null() {
                    sum = S::load_partial(line.bias.add(channel), lanes);
                }
                for y in 0..line.taps {
                    let mut pixel = line
                        .x
                        .wrapping_offset(y as isize * line.line_step + first as isize * line.pixel_step)
                        .wrapping_add(channel);
                    let weights = line.weights.wrapping_add(y * width.kernel * line.tap_step + channel);
                    for tap in taps.clone() {
                        let w = S::load(weights.wrapping_add(tap * line.tap_step));
                        sum = S::mul_add(S::load_partial(pixel, lanes), w, sum);
                        pixel = pixel.wrapping_offset(width.dilation as isize * line.pixel_step);
                    }
                }
                if !line.residual.is_null() {
                    sum = S::add(sum, S::load_partial(line.residual.add(at), lanes));
                }
                if let Some((low, high)) = line.clamp {
                    sum = S::min(S::splat(high), S::max(S::splat(low), sum));
                }
                S::store_partial(line.out.add(at), sum, lanes);
            }
            channel += lanes;
        }
    }
}
