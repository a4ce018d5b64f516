//! Bilinear resizing of 8-bit RGB into planar, normalised `f32`: what networks take.

use crate::{ImageView, Normalization};
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, Simd, dispatch};

/// Rows below which another thread costs more than it saves.
const ROWS_PER_PART: usize = 32;

/// Three planes of `f32` for writing, as one slot of an NCHW batch.
#[derive(Clone, Copy, Debug)]
pub struct Planes {
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
    pub unsafe fn from_raw_parts(
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
    pub(crate) unsafe fn row(&self, channel: usize, y: usize, columns: std::ops::Range<usize>) -> &mut [f32] {
        assert!(channel < 3 && y < self.height && columns.start <= columns.end && columns.end <= self.width);
        let offset = channel * self.plane_stride + y * self.row_stride + columns.start;
        // SAFETY: within the planes, which the constructor's caller lends exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(offset), columns.len()) }
    }
}

/// Where each output position of one axis samples its input: `input[first] * (1 - weight) + input[second] * weight`.
pub(crate) struct Axis {
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
    pub(crate) fn new(positions: usize, origin: f64, step: f64, input: usize) -> Axis {
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

/// Resizes to the size of `out`, bilinear, and writes `value * scale + offset` channel by channel.
///
/// # Panics
/// Where the image is empty and `out` is not.
pub fn resize_normalize(
    isa: Isa,
    image: ImageView<'_>,
    out: Planes,
    normalization: Normalization,
    pool: &ThreadPool,
) {
    if out.height == 0 || out.width == 0 {
        return;
    }
    assert!(!image.is_empty(), "an image without pixels cannot be resized");
    let rows = Axis::new(out.height, 0.0, image.height() as f64 / out.height as f64, image.height());
    let columns = Axis::new(out.width, 0.0, image.width() as f64 / out.width as f64, image.width());
    pool.run_ranges(out.height, ROWS_PER_PART, 1, |range| {
        // SAFETY: the ranges are disjoint, so each row is written by one thread.
        unsafe { resample_rows(isa, image, out, normalization, &rows, &columns, range) }
    });
}

/// Resamples the rows `range` of `out`; its columns past those of `columns` stay as they are.
///
/// # Safety
/// Nobody else may write these rows at the same time.
pub(crate) unsafe fn resample_rows(
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

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(height: usize, width: usize) -> Vec<u8> {
        (0..height * width * 3).map(|i| ((i * 2654435761) >> 13) as u8).collect()
    }

    fn at(
        pixels: &[u8],
        height: usize,
        width: usize,
        (out_height, out_width): (usize, usize),
        (channel, y, x): (usize, usize, usize),
    ) -> f64 {
        let place = |i: usize, input: usize, output: usize| {
            let at = ((i as f64 + 0.5) * input as f64 / output as f64 - 0.5).clamp(0.0, input as f64 - 1.0);
            (at as usize, (at as usize + 1).min(input - 1), at.fract())
        };
        let (top, bottom, down) = place(y, height, out_height);
        let (left, right, along) = place(x, width, out_width);
        let value = |y: usize, x: usize| f64::from(pixels[(y * width + x) * 3 + channel]);
        let above = value(top, left) * (1.0 - along) + value(top, right) * along;
        let below = value(bottom, left) * (1.0 - along) + value(bottom, right) * along;
        above * (1.0 - down) + below * down
    }

    #[test]
    fn equals_the_definition_at_every_level_and_thread_count() {
        let normalization = Normalization::new([0.5, 0.4, 0.3], [0.5, 0.25, 0.2]);
        for (height, width, out_height, out_width) in
            [(1, 1, 3, 5), (7, 5, 7, 5), (33, 21, 96, 64), (90, 70, 32, 31), (64, 48, 65, 48)]
        {
            let pixels = picture(height, width);
            for isa in Isa::available() {
                for threads in [1, 2] {
                    let mut out = vec![f32::NAN; 3 * out_height * out_width];
                    // SAFETY: the planes cover exactly the vector.
                    let planes = unsafe {
                        Planes::from_raw_parts(
                            out.as_mut_ptr(),
                            out_height,
                            out_width,
                            out_width,
                            out_height * out_width,
                        )
                    };
                    let image = ImageView::packed(&pixels, height, width);
                    resize_normalize(isa, image, planes, normalization, &ThreadPool::new(threads));
                    for channel in 0..3 {
                        for y in 0..out_height {
                            for x in 0..out_width {
                                let size = (out_height, out_width);
                                let value = at(&pixels, height, width, size, (channel, y, x));
                                let expected = value * f64::from(normalization.scale[channel])
                                    + f64::from(normalization.offset[channel]);
                                let got = f64::from(out[(channel * out_height + y) * out_width + x]);
                                // Weights are f32, so values up to 255 keep about 2e-5, divided by 255 * 0.2.
                                assert!((got - expected).abs() < 1e-5, "{got} for {expected} at {isa:?}");
                            }
                        }
                    }
                }
            }
        }
    }
}
