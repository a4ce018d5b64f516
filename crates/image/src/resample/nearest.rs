//! Nearest sampling: pixels are copied, whatever they hold.

use super::image::split_rows;
use super::{Sampling, Taps};
use crate::{Frame, FrameMut, Sample};
use vedette_runtime::ThreadPool;

/// Copies the nearest pixel to each place of `out`.
pub fn nearest<T: Sample>(image: Frame<'_, T>, out: FrameMut<'_, T>, sampling: Sampling, pool: &ThreadPool) {
    let starts = |input: usize, output: usize| -> Vec<usize> {
        let taps = Taps::new(input, output, 0.0, input as f64, sampling);
        (0..output).map(|i| taps.position(i).0).collect()
    };
    if image.height() == out.height() && image.width() == out.width() {
        return copy(image, out, pool);
    }
    let (rows, columns) = (starts(image.height(), out.height()), starts(image.width(), out.width()));
    let channels = image.channels();
    split_rows(&image, &out, pool, |range| {
        let (mut scratch, mut target) = (Vec::new(), Vec::new());
        for y in range {
            let source = image.row(rows[y], &mut scratch);
            // SAFETY: the ranges are disjoint, so this row is this thread's alone.
            unsafe {
                out.write_row(y, &mut target, |row| match channels {
                    1 => pick::<T, 1>(source, &columns, row),
                    2 => pick::<T, 2>(source, &columns, row),
                    3 => pick::<T, 3>(source, &columns, row),
                    _ => pick::<T, 4>(source, &columns, row),
                });
            }
        }
    });
}

fn pick<T: Sample, const C: usize>(source: &[T], columns: &[usize], out: &mut [T]) {
    let (source, out) = (source.as_chunks::<C>().0, out.as_chunks_mut::<C>().0);
    for (pixel, &column) in out.iter_mut().zip(columns) {
        *pixel = source[column];
    }
}

/// Copies an image to one of the same shape.
fn copy<T: Sample>(image: Frame<'_, T>, out: FrameMut<'_, T>, pool: &ThreadPool) {
    let [row, pixel, channel] = image.strides();
    let transposed = row.unsigned_abs() < pixel.unsigned_abs() && channel == size_of::<T>() as isize;
    split_rows(&image, &out, pool, |range| {
        if transposed && out.has_packed_rows() {
            // SAFETY: the ranges are disjoint, so these rows are this thread's alone.
            unsafe {
                match image.channels() {
                    1 => copy_tiles::<T, 1>(&image, &out, range),
                    2 => copy_tiles::<T, 2>(&image, &out, range),
                    3 => copy_tiles::<T, 3>(&image, &out, range),
                    _ => copy_tiles::<T, 4>(&image, &out, range),
                }
            }
            return;
        }
        let (mut scratch, mut target) = (Vec::new(), Vec::new());
        for y in range {
            let source = image.row(y, &mut scratch);
            // SAFETY: as above.
            unsafe { out.write_row(y, &mut target, |row| row.copy_from_slice(source)) }
        }
    });
}

/// Rows and columns of a square that stays in the first cache on both sides.
const TILE: usize = 32;

/// Copies rows of an image whose columns lie together, square by square.
///
/// # Safety
/// Pixels of `C` elements, without gaps in the image's and in the rows of `out`, which no other thread writes.
unsafe fn copy_tiles<T: Sample, const C: usize>(
    image: &Frame<'_, T>,
    out: &FrameMut<'_, T>,
    range: std::ops::Range<usize>,
) {
    let [_, step, _] = image.strides();
    for top in range.clone().step_by(TILE) {
        for left in (0..image.width()).step_by(TILE) {
            for y in top..(top + TILE).min(range.end) {
                let (from, to) = (image.row_ptr(y).cast::<u8>(), out.row_ptr(y));
                for x in left..(left + TILE).min(image.width()) {
                    // SAFETY: within both images, whose pixels are whole.
                    unsafe {
                        let pixel = from.offset(x as isize * step).cast::<[T; C]>().read_unaligned();
                        to.add(x * C).cast::<[T; C]>().write_unaligned(pixel);
                    }
                }
            }
        }
    }
}
