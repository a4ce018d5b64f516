//! Warps of bytes between pixels: places and weights in 14 fraction bits, so that every level has the same bits.

use super::Warp;
#[cfg(target_arch = "x86_64")]
use super::x86;
use crate::{Frame, FrameMut};
use std::ops::Range;
use vedette_simd::{Isa, dispatch, prefetch};

/// Fraction bits of places and weights.
const BITS: u32 = 14;
const ONE: i32 = 1 << BITS;
/// How far a mixture of two pixels is shifted: 255 then just fits 15 bits.
pub(super) const ALONG_SHIFT: u32 = BITS - 7;
/// How far a mixture of two of those is.
pub(super) const DOWN_SHIFT: u32 = BITS + 7;

/// Pixels left of and above the image that places are told apart in.
const MARGIN: i32 = 4;
/// Longest side whose places fit.
const MAX_SIDE: usize = (1 << 16) - 8;

/// Whether places and offsets within the image fit 32 bits.
pub(super) fn takes(image: &Frame<'_, u8>) -> bool {
    let (height, width) = (image.height(), image.width());
    let reach = height.saturating_mul(image.strides()[0].unsigned_abs());
    height <= MAX_SIDE && width <= MAX_SIDE && reach < i32::MAX as usize
}

/// Pixels whose places are found together.
pub(super) const BLOCK: usize = 64;

/// How far a pixel is.
pub(super) const EASY: u8 = 1;
pub(super) const DONE: u8 = 2;
const OUTSIDE: u8 = 3;

/// Where the pixels of a block come from.
pub(super) struct Places {
    /// Columns and rows of the upper left corners.
    pub left: [i32; BLOCK],
    pub top: [i32; BLOCK],
    /// Bytes from the first pixel to those corners.
    pub offsets: [i32; BLOCK],
    /// Weights of left and right, and of above and below, each a pair of 16 bits, twice.
    pub along: [u64; BLOCK],
    pub down: [u64; BLOCK],
    /// Whether the corners can be read by whole registers ([`EASY`]), and have been ([`DONE`]), or all lie [`OUTSIDE`].
    pub state: [u8; BLOCK],
}

/// An image, as far as places are concerned.
pub(super) struct Bounds {
    /// The matrix with rows for places in fixed point.
    matrix: [[f64; 3]; 3],
    /// Corners below and right of which whole registers are not read.
    easy: [u32; 2],
    /// Rows and columns, and one more, as corners one row or column outside count too.
    near: [u32; 2],
    row: i32,
    channels: i32,
}

impl Bounds {
    fn new(image: &Frame<'_, u8>, matrix: &[[f64; 3]; 3]) -> Bounds {
        let [u, v, w] = *matrix;
        let scaled = |row: [f64; 3]| row.map(|value| value * f64::from(ONE));
        let channels = image.channels();
        let row = image.width() * channels;
        let packed = image.has_packed_rows();
        // A register takes eight bytes from the left corner on.
        let columns = if packed && row >= 8 { ((row - 8) / channels + 1).min(image.width() - 1) } else { 0 };
        Bounds {
            matrix: [scaled(u), scaled(v), w],
            easy: [image.height() as u32 - 1, columns as u32],
            near: [image.height() as u32 + 1, image.width() as u32 + 1],
            row: image.strides()[0] as i32,
            channels: channels as i32,
        }
    }
}

/// Rows of the result whose places are asked for ahead: processors do not see where they go next.
const AHEAD: f64 = 4.0;
/// Pixels whose corners mostly share their lines of the cache.
const SHARING: usize = 8;

impl Bounds {
    /// Bytes from the corner of pixel `(x, y)` to that of the one [`AHEAD`] rows below, if both lie near the image.
    fn ahead(&self, x: f64, y: f64) -> isize {
        let place = |y: f64| {
            let [u, v, w] =
                [0, 1, 2].map(|row| self.matrix[row][0] * x + self.matrix[row][1] * y + self.matrix[row][2]);
            [u / w, v / w].map(|value| value as i64 >> BITS)
        };
        let ([left, top], [to_left, to_top]) = (place(y), place(y + AHEAD));
        let down = to_top.wrapping_sub(top).wrapping_mul(i64::from(self.row));
        down.wrapping_add(to_left.wrapping_sub(left).wrapping_mul(i64::from(self.channels))) as isize
    }
}

/// Both weights of a fraction, twice.
#[inline(always)]
fn weights(fraction: i32) -> u64 {
    let pair = (ONE - fraction) as u32 | (fraction as u32) << 16;
    u64::from(pair) | u64::from(pair) << 32
}

impl Places {
    pub fn new() -> Places {
        Places {
            left: [0; BLOCK],
            top: [0; BLOCK],
            offsets: [0; BLOCK],
            along: [0; BLOCK],
            down: [0; BLOCK],
            state: [0; BLOCK],
        }
    }

    /// The places of the pixels from `(x, y)` on.
    #[inline(always)]
    fn find<S>(&mut self, bounds: &Bounds, x: usize, y: f64) {
        let _level = std::marker::PhantomData::<S>;
        let m = &bounds.matrix;
        let affine = m[2] == [0.0, 0.0, 1.0];
        let [du, dv, dw] = [0, 1, 2].map(|row| m[row][1] * y + m[row][2]);
        let (mut us, mut vs) = ([0.0; BLOCK], [0.0; BLOCK]);
        for i in 0..BLOCK {
            let x = f64::from((x + i) as u32);
            us[i] = m[0][0] * x + du;
            vs[i] = m[1][0] * x + dv;
        }
        if !affine {
            for i in 0..BLOCK {
                let w = m[2][0] * f64::from((x + i) as u32) + dw;
                let scale = if w == 0.0 { 0.0 } else { 1.0 / w };
                us[i] *= scale;
                vs[i] *= scale;
            }
        }
        let shift = f64::from(MARGIN * ONE) + 0.5;
        // Truncation of what is not negative is the floor; `max` passes over NaN, which lands outside.
        let fixed = |value: f64| -> i32 {
            let place = (value + shift).max(0.0).min(f64::from(i32::MAX / 2));
            // SAFETY: within the bounds just set.
            unsafe { place.to_int_unchecked() }
        };
        for i in 0..BLOCK {
            let (u, v) = (fixed(us[i]), fixed(vs[i]));
            let (left, top) = ((u >> BITS) - MARGIN, (v >> BITS) - MARGIN);
            self.left[i] = left;
            self.top[i] = top;
            self.offsets[i] = top.wrapping_mul(bounds.row).wrapping_add(left.wrapping_mul(bounds.channels));
            let inside = (left as u32) < bounds.easy[1] && (top as u32) < bounds.easy[0];
            let near = ((left + 1) as u32) < bounds.near[1] && ((top + 1) as u32) < bounds.near[0];
            let farther = if near { 0 } else { OUTSIDE };
            self.state[i] = if inside { EASY } else { farther };
            self.along[i] = weights(u & (ONE - 1));
            self.down[i] = weights(v & (ONE - 1));
        }
    }
}

/// Fills the rows `range`.
///
/// # Safety
/// No other thread writes these rows, and the image is one that this [takes].
pub(super) unsafe fn rows(
    isa: Isa,
    image: &Frame<'_, u8>,
    out: &FrameMut<'_, u8>,
    warp: &Warp<u8>,
    range: Range<usize>,
) {
    if image.is_empty() {
        // SAFETY: granted by the caller.
        range.for_each(|y| unsafe { out.write_row(y, &mut Vec::new(), |row| row.fill(warp.fill)) });
        return;
    }
    let bounds = Bounds::new(image, &warp.matrix);
    // SAFETY: granted by the caller.
    unsafe {
        match image.channels() {
            1 => tiles::<1>(isa, image, out, warp, &bounds, range),
            2 => tiles::<2>(isa, image, out, warp, &bounds, range),
            3 => tiles::<3>(isa, image, out, warp, &bounds, range),
            _ => tiles::<4>(isa, image, out, warp, &bounds, range),
        }
    }
}

/// Rows and columns of a tile. A row of the result crosses hundreds of the image's where it is turned a little, each in a
/// page of its own: those of a tile stay in the caches, and so do their addresses.
const TILE: [usize; 2] = [32, 4 * BLOCK];

/// # Safety
/// As [`rows`], for images of `C` channels.
unsafe fn tiles<const C: usize>(
    isa: Isa,
    image: &Frame<'_, u8>,
    out: &FrameMut<'_, u8>,
    warp: &Warp<u8>,
    bounds: &Bounds,
    range: Range<usize>,
) {
    let mut places = Places::new();
    let mut block = |y: usize, x: usize, row: &mut [u8]| {
        let pixels = &mut row.as_chunks_mut::<C>().0[x..];
        warp_block::<C>(isa, image, warp, bounds, [y, x], &mut places, pixels);
    };
    let mut target = Vec::new();
    if !out.has_packed_rows() {
        for y in range {
            let blocks = (0..out.width()).step_by(BLOCK);
            // SAFETY: granted by the caller.
            unsafe { out.write_row(y, &mut target, |row| blocks.for_each(|x| block(y, x, row))) }
        }
        return;
    }
    for top in range.clone().step_by(TILE[0]) {
        for left in (0..out.width()).step_by(TILE[1]) {
            for y in top..(top + TILE[0]).min(range.end) {
                let blocks = (left..(left + TILE[1]).min(out.width())).step_by(BLOCK);
                // SAFETY: granted by the caller.
                unsafe { out.write_row(y, &mut target, |row| blocks.for_each(|x| block(y, x, row))) }
            }
        }
    }
}

/// Fills the first [`BLOCK`] of the pixels of a row from `x` on; what stands behind them may be overwritten.
fn warp_block<const C: usize>(
    isa: Isa,
    image: &Frame<'_, u8>,
    warp: &Warp<u8>,
    bounds: &Bounds,
    [y, x]: [usize; 2],
    places: &mut Places,
    pixels: &mut [[u8; C]],
) {
    dispatch!(isa, S => places.find::<S>(bounds, x, y as f64));
    let count = pixels.len().min(BLOCK);
    if places.state[..count].iter().all(|&state| state == OUTSIDE) {
        pixels[..count].as_flattened_mut().fill(warp.fill);
        return;
    }
    let ahead = bounds.ahead((x + BLOCK / 2) as f64, y as f64);
    for &offset in places.offsets[..count].iter().step_by(SHARING) {
        let place = image.row_ptr(0).wrapping_offset(ahead.wrapping_add(offset as isize));
        prefetch(place);
        prefetch(place.wrapping_offset(bounds.row as isize));
    }
    #[cfg(target_arch = "x86_64")]
    // SAFETY: easy places are read from packed rows, eight bytes from each corner on.
    let done = unsafe { x86::mix::<C>(isa, image.row_ptr(0), image.strides()[0], places, count, pixels) };
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    if done == count {
        return;
    }
    for (i, pixel) in pixels[..count].iter_mut().enumerate() {
        match places.state[i] {
            DONE => (),
            OUTSIDE => *pixel = [warp.fill; C],
            _ => *pixel = between(image, warp.fill, places, i),
        }
    }
}

/// A pixel by itself, some of whose corners may lie outside.
#[inline(always)]
fn between<const C: usize>(image: &Frame<'_, u8>, fill: u8, places: &Places, i: usize) -> [u8; C] {
    let (top, left) = (places.top[i], places.left[i]);
    let (height, width) = (image.height() as i32, image.width() as i32);
    let mut corners = [[[fill; C]; 2]; 2];
    for (dy, row) in corners.iter_mut().enumerate() {
        for (dx, corner) in row.iter_mut().enumerate() {
            let (y, x) = (top + dy as i32, left + dx as i32);
            if y >= 0 && x >= 0 && y < height && x < width {
                for (c, value) in corner.iter_mut().enumerate() {
                    // SAFETY: just checked, and C is the number of channels.
                    *value = unsafe { image.get_unchecked(y as usize, x as usize, c) };
                }
            }
        }
    }
    let (along, down) = (places.along[i], places.down[i]);
    let mixed = |first: i32, second: i32, weights: u64, shift: u32| {
        let sum = first * (weights & 0xffff) as i32 + second * (weights >> 16 & 0xffff) as i32;
        (sum + (1 << (shift - 1))) >> shift
    };
    let mut pixel = [0; C];
    for (c, value) in pixel.iter_mut().enumerate() {
        let [[a, b], [d, e]] = corners;
        let above = mixed(i32::from(a[c]), i32::from(b[c]), along, ALONG_SHIFT);
        let below = mixed(i32::from(d[c]), i32::from(e[c]), along, ALONG_SHIFT);
        *value = mixed(above, below, down, DOWN_SHIFT) as u8;
    }
    pixel
}
