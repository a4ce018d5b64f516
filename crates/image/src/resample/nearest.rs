//! Nearest sampling: pixels are copied, whatever they hold.

use super::image::split_rows;
use super::{Sampling, Taps, turned};
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
    let turned = turned::is_turned(&image) && out.has_packed_rows();
    split_rows(&image, &out, pool, |range| {
        if turned {
            // SAFETY: the ranges are disjoint, so these rows are this thread's alone.
            unsafe { turned::copy(&image, &out, range) }
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
