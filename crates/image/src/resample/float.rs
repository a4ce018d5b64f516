//! Resampling of 16-bit and float images in `f32`.

use super::image::split_rows;
use super::{Sampling, Taps};
use crate::{Frame, FrameMut, Sample};
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, Simd, dispatch};

/// Resizes `image` to the size of `out`: rows are combined first, then columns.
pub fn filtered<T: Sample>(
    isa: Isa,
    image: Frame<'_, T>,
    out: FrameMut<'_, T>,
    sampling: Sampling,
    pool: &ThreadPool,
) {
    let axis =
        |input: usize, output: usize| Axis::new(&Taps::new(input, output, 0.0, input as f64, sampling));
    let (rows, columns) = (axis(image.height(), out.height()), axis(image.width(), out.width()));
    split_rows(&image, &out, pool, |range| {
        dispatch!(isa, S => filter_rows::<S, T>(&image, &out, &rows, &columns, range.clone()));
    });
}

struct Axis {
    places: Vec<(usize, usize, usize)>,
    weights: Vec<f32>,
}

impl Axis {
    fn new(taps: &Taps) -> Axis {
        let mut axis = Axis { places: Vec::new(), weights: Vec::new() };
        for i in 0..taps.len() {
            let (start, weights) = taps.position(i);
            axis.places.push((start, axis.weights.len(), weights.len()));
            axis.weights.extend(weights.iter().map(|&weight| weight as f32));
        }
        axis
    }

    #[inline(always)]
    fn at(&self, i: usize) -> (usize, &[f32]) {
        let (start, first, count) = self.places[i];
        (start, &self.weights[first..first + count])
    }
}

#[inline(always)]
fn filter_rows<S: Simd, T: Sample>(
    image: &Frame<'_, T>,
    out: &FrameMut<'_, T>,
    rows: &Axis,
    columns: &Axis,
    range: std::ops::Range<usize>,
) {
    let len = image.row_len();
    let (mut scratch, mut target) = (Vec::new(), Vec::new());
    let (mut values, mut combined) = (vec![0f32; len], vec![0f32; len]);
    for y in range {
        let (start, weights) = rows.at(y);
        for (k, &weight) in weights.iter().enumerate() {
            let source = image.row(start + k, &mut scratch);
            for (value, &sample) in values.iter_mut().zip(source) {
                *value = sample.to_f32();
            }
            if k == 0 {
                scale::<S>(&values, weight, &mut combined)
            } else {
                add_scaled::<S>(&values, weight, &mut combined)
            }
        }
        // SAFETY: the ranges are disjoint, so this row is this thread's alone.
        unsafe {
            out.write_row(y, &mut target, |row| match image.channels() {
                1 => combine_columns::<T, 1>(&combined, columns, row),
                2 => combine_columns::<T, 2>(&combined, columns, row),
                3 => combine_columns::<T, 3>(&combined, columns, row),
                _ => combine_columns::<T, 4>(&combined, columns, row),
            });
        }
    }
}

#[inline(always)]
fn scale<S: Simd>(values: &[f32], weight: f32, out: &mut [f32]) {
    over::<S>(
        values,
        out,
        #[inline(always)]
        |value, _| S::mul(value, S::splat(weight)),
    );
}

#[inline(always)]
fn add_scaled<S: Simd>(values: &[f32], weight: f32, out: &mut [f32]) {
    over::<S>(
        values,
        out,
        #[inline(always)]
        |value, sum| S::mul_add(value, S::splat(weight), sum),
    );
}

#[inline(always)]
fn over<S: Simd>(values: &[f32], out: &mut [f32], f: impl Fn(S::V, S::V) -> S::V) {
    assert_eq!(values.len(), out.len());
    let mut i = 0;
    while i < out.len() {
        let lanes = S::LANES.min(out.len() - i);
        // SAFETY: `lanes` values from `i` on lie in both slices.
        unsafe {
            let (value, sum) =
                (S::load_partial(values.as_ptr().add(i), lanes), S::load_partial(out.as_ptr().add(i), lanes));
            S::store_partial(out.as_mut_ptr().add(i), f(value, sum), lanes);
        }
        i += lanes;
    }
}

#[inline(always)]
fn combine_columns<T: Sample, const C: usize>(row: &[f32], columns: &Axis, out: &mut [T]) {
    let pixels = row.as_chunks::<C>().0;
    for (x, pixel) in out.as_chunks_mut::<C>().0.iter_mut().enumerate() {
        let (start, weights) = columns.at(x);
        let mut sums = [0f32; C];
        for (values, &weight) in pixels[start..].iter().zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(values) {
                *sum += weight * value;
            }
        }
        *pixel = sums.map(T::from_f32);
    }
}
