//! Resizing of whole images, of every element type.

use super::layer::is_mirrored;
use super::{Filter, Geometry, Layers, PlanCache, Sampling, float, interleave, nearest, resample};
use crate::{Frame, FrameMut, Sample};
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

static PLANS: PlanCache = PlanCache::new();

/// Multiplications below which another thread costs more than it saves.
const WORK_PER_PART: usize = 1 << 19;

/// An element type that images are resized in.
pub trait Pixel: Sample {
    /// Resizes by weighted sums.
    #[doc(hidden)]
    fn filtered(
        isa: Isa,
        image: Frame<'_, Self>,
        out: FrameMut<'_, Self>,
        sampling: Sampling,
        pool: &ThreadPool,
    );
}

impl Pixel for u8 {
    fn filtered(
        isa: Isa,
        image: Frame<'_, u8>,
        out: FrameMut<'_, u8>,
        sampling: Sampling,
        pool: &ThreadPool,
    ) {
        let mirrored = is_mirrored(&image);
        let geometry =
            Geometry::whole([image.height(), image.width()], [out.height(), out.width()], sampling);
        let plan = PLANS.get(Geometry { mirrored, ..geometry });
        let channels = image.channels();
        let planes = [Some(0), Some(1), Some(2), Some(3)];
        let layers = Layers::new(image, &plan, &planes[..channels]);
        let fraction = plan.fraction();
        split_rows(&image, &out, pool, |range| {
            let mut scratch = Vec::new();
            layers.with(|layers| {
                resample(isa, layers, range, |y, rows| {
                    // SAFETY: the ranges are disjoint, so this row is this thread's alone.
                    unsafe {
                        out.write_row(y, &mut scratch, |row| {
                            interleave(isa, rows.data, rows.stride, fraction, channels, row);
                        });
                    }
                });
            });
        });
    }
}

impl Pixel for u16 {
    fn filtered(
        isa: Isa,
        image: Frame<'_, u16>,
        out: FrameMut<'_, u16>,
        sampling: Sampling,
        pool: &ThreadPool,
    ) {
        float::filtered(isa, image, out, sampling, pool);
    }
}

impl Pixel for f32 {
    fn filtered(
        isa: Isa,
        image: Frame<'_, f32>,
        out: FrameMut<'_, f32>,
        sampling: Sampling,
        pool: &ThreadPool,
    ) {
        float::filtered(isa, image, out, sampling, pool);
    }
}

/// Calls `f` with ranges of output rows, each worth a thread.
pub(super) fn split_rows<T: Sample>(
    image: &Frame<'_, T>,
    out: &FrameMut<'_, T>,
    pool: &ThreadPool,
    f: impl Fn(std::ops::Range<usize>) + Sync,
) {
    let rows_per_output = image.height().div_ceil(out.height()) + 1;
    let work = (rows_per_output * image.row_len() + out.row_len() * 8).max(1);
    pool.run_ranges(out.height(), (WORK_PER_PART / work).max(1), 1, f);
}

/// Resizes `image` to the size of `out`.
///
/// # Panics
/// Where the channels differ or are more than four, or the image is empty and `out` is not.
pub fn resize<T: Pixel>(
    isa: Isa,
    image: Frame<'_, T>,
    out: FrameMut<'_, T>,
    sampling: Sampling,
    pool: &ThreadPool,
) {
    if out.is_empty() {
        return;
    }
    assert!(!image.is_empty(), "an image without pixels cannot be resized");
    assert!(image.channels() == out.channels() && image.channels() <= 4);
    let same_size = image.height() == out.height() && image.width() == out.width();
    // The nearest sample of an image of the same size is the sample itself: a copy.
    if sampling.filter == Filter::Nearest || same_size {
        nearest::nearest(image, out, sampling, pool);
    } else {
        T::filtered(isa, image, out, sampling, pool);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Edge, Taps};
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i.wrapping_mul(2654435761) >> 13) as u8 ^ (i >> 3) as u8).collect()
    }

    fn exact(image: &Frame<'_, u8>, (height, width): (usize, usize), sampling: Sampling) -> Vec<f64> {
        let rows = Taps::new(image.height(), height, 0.0, image.height() as f64, sampling);
        let columns = Taps::new(image.width(), width, 0.0, image.width() as f64, sampling);
        let mut out = Vec::new();
        for y in 0..height {
            for x in 0..width {
                for c in 0..image.channels() {
                    let (top, down) = rows.position(y);
                    let (left, along) = columns.position(x);
                    let mut sum = 0.0;
                    for (i, wy) in down.iter().enumerate() {
                        for (j, wx) in along.iter().enumerate() {
                            sum += wy * wx * f64::from(image.get(top + i, left + j, c));
                        }
                    }
                    out.push(sum);
                }
            }
        }
        out
    }

    #[test]
    fn stays_within_a_level_of_the_definition_and_is_the_same_at_every_level() {
        for channels in [1, 2, 3, 4] {
            for (input, output) in [
                ([1, 1], [3, 5]),
                ([37, 61], [11, 13]),
                ([20, 90], [41, 33]),
                ([9, 130], [9, 17]),
                ([40, 333], [9, 37]),
                ([40, 1333], [9, 75]),
                ([64, 64], [64, 64]),
            ] {
                let pixels = noise(input[0] * input[1] * channels);
                let image = Frame::packed(&pixels, [input[0], input[1], channels]);
                for filter in
                    [Filter::Nearest, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos3, Filter::Area]
                {
                    for antialias in [false, true] {
                        for edge in [Edge::Renormalize, Edge::Repeat] {
                            let sampling = Sampling { edge, ..Sampling::new(filter, antialias) };
                            let expected = exact(&image, (output[0], output[1]), sampling);
                            let mut first = None;
                            for isa in Isa::available() {
                                for threads in [1, 2] {
                                    let shape = [output[0], output[1], channels];
                                    let mut result = vec![0u8; expected.len()];
                                    let out = FrameMut::packed(&mut result, shape);
                                    resize(isa, image, out, sampling, &ThreadPool::new(threads));
                                    for (value, exact) in result.iter().zip(&expected) {
                                        let exact = exact.clamp(0.0, 255.0);
                                        assert!(
                                            (f64::from(*value) - exact).abs() < 0.6,
                                            "{value} for {exact}"
                                        );
                                    }
                                    assert_eq!(
                                        first.get_or_insert_with(|| result.clone()),
                                        &result,
                                        "{isa:?}"
                                    );
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn white_stays_white() {
        // The largest sums there are: none may overflow at any level.
        for (height, width) in (1..60).map(|i| (i, 3 * i + 7)) {
            for (out_height, out_width) in [(71, 47), (77, 30), (17, 90), (height * 2 + 1, 33)] {
                for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos3, Filter::Area] {
                    for isa in Isa::available() {
                        let pixels = vec![255u8; height * width * 3];
                        let mut out = vec![0; out_height * out_width * 3];
                        let image = Frame::packed(&pixels, [height, width, 3]);
                        let target = FrameMut::packed(&mut out, [out_height, out_width, 3]);
                        resize(isa, image, target, Sampling::new(filter, true), &ThreadPool::new(1));
                        assert!(out.iter().all(|&value| value == 255), "{filter:?} {height} to {out_height}");
                    }
                }
            }
        }
    }

    #[test]
    fn strides_of_every_kind_are_read_in_place() {
        for width in [40, 700] {
            reads_strides_in_place(23, width);
        }
    }

    fn reads_strides_in_place(height: usize, width: usize) {
        let pixels = noise(height * width * 4);
        let pool = ThreadPool::new(1);
        let sampling = Sampling::new(Filter::Bilinear, true);
        let row = width as isize * 4;
        // Offset, channels, strides.
        let views: [(isize, usize, [isize; 3]); 9] = [
            (0, 3, [row, 4, 1]),
            (2, 3, [row, 4, -1]),
            (row - 4, 4, [row, -4, 1]),
            (row - 1, 3, [row, -4, -1]),
            (22 * row, 4, [-row, 4, 1]),
            (1, 1, [row, 2, 1]),
            (0, 3, [row, 1, row]),
            (0, 3, [row, 8, 3]),
            (0, 2, [4, row, 1]),
        ];
        for (offset, channels, strides) in views {
            let shape = match strides {
                [4, ..] => [width, height, channels],
                [_, 8, _] => [height, width / 2, channels],
                [_, _, channel] if channel == row => [height - 2, width, channels],
                _ => [height, width, channels],
            };
            // SAFETY: every view above stays within the pixels.
            let view =
                unsafe { Frame::packed(&pixels, [height, width, 4]).reinterpret(offset, shape, strides) };
            let mut packed = vec![0; shape.iter().product()];
            for y in 0..shape[0] {
                let len = shape[1] * channels;
                view.gather_row(y, 0, &mut packed[y * len..][..len]);
            }
            let target = [15, 17, channels];
            for isa in Isa::available() {
                let (mut got, mut expected) = (vec![0; 15 * 17 * channels], vec![1; 15 * 17 * channels]);
                resize(isa, view, FrameMut::packed(&mut got, target), sampling, &pool);
                let image = Frame::packed(&packed, shape);
                resize(isa, image, FrameMut::packed(&mut expected, target), sampling, &pool);
                assert_eq!(got, expected, "{strides:?}");
            }
        }
    }
}
