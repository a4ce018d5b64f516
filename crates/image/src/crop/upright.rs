//! Rectangles whose corners lie between pixels, as the corners of text lines do, resampled in `f32`: their places differ
//! from line to line, so there is no plan to keep, and rounding to 16 bits would cost more than it saves.

use crate::{ImageView, Normalization};
use vedette_simd::{Isa, Simd, dispatch};

/// Three planes of `f32` for writing, as one slot of an NCHW batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planes {
    pointer: *mut f32,
    height: usize,
    width: usize,
    row_stride: usize,
    plane_stride: usize,
}

// SAFETY: a Planes is an exclusive borrow by the contract of its constructor; users write disjoint rows from threads.
unsafe impl Send for Planes {}
// SAFETY: as above.
unsafe impl Sync for Planes {}

impl Planes {
    /// Planes of `height` rows of `width` values, rows and planes apart by their strides.
    ///
    /// # Safety
    /// Every value reached must be writable, and reached by nothing else, while the planes are in use.
    pub(super) unsafe fn from_raw_parts(
        pointer: *mut f32,
        height: usize,
        width: usize,
        row_stride: usize,
        plane_stride: usize,
    ) -> Planes {
        Planes { pointer, height, width, row_stride, plane_stride }
    }

    /// The values `start..end` of a row.
    ///
    /// # Safety
    /// No two slices of the same row may live at once.
    ///
    /// # Panics
    /// Outside the planes.
    #[allow(clippy::mut_from_ref, reason = "the rows are disjoint, see the contract")]
    pub(super) unsafe fn row(&self, channel: usize, y: usize, columns: std::ops::Range<usize>) -> &mut [f32] {
        assert!(channel < 3 && y < self.height && columns.start <= columns.end && columns.end <= self.width);
        let offset = channel * self.plane_stride + y * self.row_stride + columns.start;
        // SAFETY: within the planes, which the constructor's caller lends exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(offset), columns.len()) }
    }
}

/// Where each output position of one axis samples its input: `input[first] * (1 - weight) + input[second] * weight`.
pub(super) struct Axis {
    taps: Vec<Tap>,
    identity: bool,
}

#[derive(Clone, Copy)]
struct Tap {
    first: u32,
    second: u32,
    weight: f32,
}

impl Axis {
    /// Position `i` samples at `origin + (i + 0.5) * step - 0.5`, the border repeated outside (OpenCV's
    /// `INTER_LINEAR`: pixel centres at half steps, no antialiasing).
    pub(super) fn new(positions: usize, origin: f64, step: f64, input: usize) -> Axis {
        let last = input - 1;
        let taps: Vec<Tap> = (0..positions)
            .map(|i| {
                let at = (origin + (i as f64 + 0.5) * step - 0.5).clamp(0.0, last as f64);
                let first = at as usize;
                let second = (first + 1).min(last);
                Tap { first: first as u32, second: second as u32, weight: (at - first as f64) as f32 }
            })
            .collect();
        let identity = positions == input
            && taps.iter().enumerate().all(|(i, tap)| tap.first as usize == i && tap.weight == 0.0);
        Axis { taps, identity }
    }
}

/// Resamples the rows `range` of `out`; its columns past those of `columns` stay as they are.
///
/// # Safety
/// Nobody else may write these rows at the same time.
pub(super) unsafe fn resample_rows(
    isa: Isa,
    image: ImageView<'_>,
    out: Planes,
    normalization: Normalization,
    rows: &Axis,
    columns: &Axis,
    range: std::ops::Range<usize>,
) {
    let width = columns.taps.len();
    // Neighbouring output rows share their input rows, so the last two are kept, horizontally resampled.
    let mut kept = [(u32::MAX, vec![0f32; 3 * width]), (u32::MAX, vec![0f32; 3 * width])];
    for y in range {
        let Tap { first, second, weight } = rows.taps[y];
        if kept[0].0 != first {
            kept.swap(0, 1);
            fill(isa, image, columns, first, &mut kept[0]);
        }
        if weight != 0.0 {
            fill(isa, image, columns, second, &mut kept[1]);
        }
        for channel in 0..3 {
            let span = channel * width..(channel + 1) * width;
            let above = &kept[0].1[span.clone()];
            let below = if weight != 0.0 { &kept[1].1[span] } else { above };
            // SAFETY: the caller owns these rows; the slice ends with this iteration.
            let target = unsafe { out.row(channel, y, 0..width) };
            let (scale, offset) = (normalization.scale[channel], normalization.offset[channel]);
            dispatch!(isa, S => blend::<S>(above, below, weight, scale, offset, target));
        }
    }
}

fn fill(isa: Isa, image: ImageView<'_>, columns: &Axis, y: u32, kept: &mut (u32, Vec<f32>)) {
    if kept.0 == y {
        return;
    }
    kept.0 = y;
    let row = &mut kept.1[..];
    dispatch!(isa, _S => resample_columns(image, columns, y as usize, row));
}

#[inline(always)]
fn resample_columns(image: ImageView<'_>, columns: &Axis, y: usize, out: &mut [f32]) {
    assert!(y < image.height());
    let (red, rest) = out.split_at_mut(columns.taps.len());
    let (green, blue) = rest.split_at_mut(columns.taps.len());
    if columns.identity {
        for (x, ((red, green), blue)) in red.iter_mut().zip(green).zip(blue).enumerate() {
            // SAFETY: an identity axis has as many positions as the image has columns.
            let pixel = unsafe { image.pixel_unchecked(y, x) };
            [*red, *green, *blue] = pixel.map(f32::from);
        }
        return;
    }
    for (tap, ((red, green), blue)) in columns.taps.iter().zip(red.iter_mut().zip(green).zip(blue)) {
        // SAFETY: taps are clamped to the columns of the image.
        let (left, right) = unsafe {
            (image.pixel_unchecked(y, tap.first as usize), image.pixel_unchecked(y, tap.second as usize))
        };
        let mix = |channel: usize| {
            let start = f32::from(left[channel]);
            start + tap.weight * (f32::from(right[channel]) - start)
        };
        [*red, *green, *blue] = [mix(0), mix(1), mix(2)];
    }
}

#[inline(always)]
fn blend<S: Simd>(above: &[f32], below: &[f32], weight: f32, scale: f32, offset: f32, out: &mut [f32]) {
    assert!(above.len() == out.len() && below.len() == out.len());
    let (weight, scale, offset) = (S::splat(weight), S::splat(scale), S::splat(offset));
    let mut i = 0;
    while i < out.len() {
        let lanes = S::LANES.min(out.len() - i);
        // SAFETY: the three slices are equally long, and at most their remaining values are touched.
        unsafe {
            let start = S::load_partial(above.as_ptr().add(i), lanes);
            let end = S::load_partial(below.as_ptr().add(i), lanes);
            let value = S::mul_add(S::sub(end, start), weight, start);
            S::store_partial(out.as_mut_ptr().add(i), S::mul_add(value, scale, offset), lanes);
        }
        i += lanes;
    }
}
