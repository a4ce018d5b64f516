//! Operations on each element alone, over arrays of any shape and strides.

use super::arrays::image_array;
use crate::ndarray::{Array, input_error, level, output, pool, work};
use pyo3::prelude::*;
use vedette_image::Sample;
use vedette_image::pointwise::{ChannelScale, Distance, absolute_difference, threshold as above};
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
use vedette_tensor::DType;

/// Elements a thread takes at least.
const GRAIN: usize = 1 << 18;
/// Elements set aside at once where an operation works in place.
const BLOCK: usize = 1 << 11;

/// A typed pointer that threads share, each for elements of its own.
#[derive(Clone, Copy)]
struct Shared<T>(*mut T);

// SAFETY: threads are given disjoint elements.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn get(self) -> *mut T {
        self.0
    }
}

/// Places of the elements of the last two axes, for arrays that have gaps.
#[derive(Clone)]
struct Layout {
    pointer: Shared<u8>,
    strides: Vec<isize>,
}

impl Layout {
    fn new(array: &Array<'_>) -> Layout {
        Layout { pointer: Shared(array.pointer()), strides: array.strides().to_vec() }
    }

    /// Address of each element of run `index`, in order.
    fn places(&self, shape: &[usize], mut index: usize) -> impl Iterator<Item = *mut u8> + use<> {
        let inner = shape.len().saturating_sub(2);
        let mut offset = 0;
        for axis in (0..inner).rev() {
            offset += (index % shape[axis]) as isize * self.strides[axis];
            index /= shape[axis];
        }
        let at = |axis: usize| -> (usize, isize) {
            match shape.len().checked_sub(axis) {
                Some(axis) => (shape[axis], self.strides[axis]),
                None => (1, 0),
            }
        };
        let ((rows, row), (columns, column)) = (at(2), at(1));
        let start = self.pointer.get().wrapping_offset(offset);
        (0..rows).flat_map(move |y| {
            (0..columns).map(move |x| start.wrapping_offset(y as isize * row + x as isize * column))
        })
    }
}

/// Runs `kernel` over one array: whole where both lie without gaps, else gathered two axes at a time.
fn unary<T: Sample, U: Sample>(
    input: &Array<'_>,
    out: &Array<'_>,
    multiple: usize,
    pool: &ThreadPool,
    kernel: impl Fn(&[T], &mut [U]) + Send + Sync,
) -> PyResult<()> {
    let py = input.object.py();
    let len = out.len();
    if len == 0 {
        return Ok(());
    }
    if input.is_contiguous() && out.is_contiguous() {
        let (source, target) = (Shared(input.pointer().cast::<T>()), Shared(out.pointer().cast::<U>()));
        if input.pointer() == out.pointer() {
            return work(py, len, || {
                pool.run_ranges(len, GRAIN, multiple, |range| {
                    // A block that stays in the cache is set aside, so that no memory is read and written at once.
                    let mut block = vec![T::default(); (BLOCK / multiple).max(1) * multiple];
                    for start in range.clone().step_by(block.len()) {
                        let count = block.len().min(range.end - start);
                        // SAFETY: in place both types are equally large; the array holds `len` elements in order, and
                        // the ranges are disjoint.
                        let results = unsafe {
                            std::ptr::copy_nonoverlapping(source.get().add(start), block.as_mut_ptr(), count);
                            std::slice::from_raw_parts_mut(target.get().add(start), count)
                        };
                        kernel(&block[..count], results);
                    }
                });
            });
        }
        return work(py, len, || {
            pool.run_ranges(len, GRAIN, multiple, |range| {
                // SAFETY: both arrays hold `len` elements in order, apart from each other, and the ranges are disjoint.
                unsafe {
                    let values = std::slice::from_raw_parts(source.get().add(range.start), range.len());
                    kernel(
                        values,
                        std::slice::from_raw_parts_mut(target.get().add(range.start), range.len()),
                    );
                }
            });
        });
    }
    let shape = out.shape().to_vec();
    let (source, target) = (Layout::new(input), Layout::new(out));
    let run: usize = shape.iter().rev().take(2).product();
    work(py, len, move || {
        pool.run_ranges(len / run, GRAIN / run + 1, 1, |range| {
            let (mut values, mut results) = (vec![T::default(); run], vec![U::default(); run]);
            for index in range {
                for (value, place) in values.iter_mut().zip(source.places(&shape, index)) {
                    // SAFETY: NumPy vouches for the elements its shape and strides reach.
                    *value = unsafe { place.cast::<T>().read_unaligned() };
                }
                kernel(&values, &mut results);
                for (&result, place) in results.iter().zip(target.places(&shape, index)) {
                    // SAFETY: as above, and runs are disjoint.
                    unsafe { place.cast::<U>().write_unaligned(result) }
                }
            }
        });
    })
}

fn dtype_error(py: Python<'_>, array: &Array<'_>) -> PyErr {
    input_error(py, format!("expected uint8, uint16 or float32 values, got {}", array.dtype.name()))
}

/// `maximum` where an element is greater than `value`, else zero.
#[pyfunction]
#[pyo3(signature = (gray, value, maximum, out=None, threads=0, isa=None))]
pub fn threshold<'py>(
    py: Python<'py>,
    gray: &Bound<'py, PyAny>,
    value: f64,
    maximum: f64,
    out: Option<&Bound<'py, PyAny>>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    let input = image_array(gray)?;
    let isa = level(py, isa)?;
    let result = output(py, out, input.dtype, input.shape(), &[&input], true)?;
    let pool = pool(threads);
    // Levels are whole: those above a value are those above its floor.
    let (floor, top) = (value.floor(), maximum.round_ties_even());
    match input.dtype {
        DType::U8 => run_threshold::<u8>(isa, &input, &result, floor, 255.0, top as u8, &pool)?,
        DType::U16 => run_threshold::<u16>(isa, &input, &result, floor, 65535.0, top as u16, &pool)?,
        DType::F32 => {
            let (value, maximum) = (value as f32, maximum as f32);
            unary(&input, &result, 64, &pool, |values, out| above(isa, values, value, maximum, out))?;
        }
        _ => return Err(dtype_error(py, &input)),
    }
    Ok(result.object.into_any())
}

/// A level, as wide as its type.
trait Level: Sample + PartialOrd {
    fn from_f64(value: f64) -> Self;
}

impl Level for u8 {
    fn from_f64(value: f64) -> u8 {
        value as u8
    }
}

impl Level for u16 {
    fn from_f64(value: f64) -> u16 {
        value as u16
    }
}

fn run_threshold<T: Level>(
    isa: Isa,
    input: &Array<'_>,
    out: &Array<'_>,
    value: f64,
    highest: f64,
    maximum: T,
    pool: &ThreadPool,
) -> PyResult<()> {
    if value < 0.0 {
        return unary(input, out, 64, pool, |_: &[T], out: &mut [T]| out.fill(maximum));
    }
    let value = T::from_f64(value.min(highest));
    unary(input, out, 64, pool, |values, out| above(isa, values, value, maximum, out))
}

/// `(x - mean) / std` for each channel, the last axis.
#[pyfunction]
#[pyo3(signature = (x, mean, std, out=None, threads=0, isa=None))]
pub fn normalize<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    mean: Vec<f32>,
    std: Vec<f32>,
    out: Option<&Bound<'py, PyAny>>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    let input = image_array(x)?;
    let isa = level(py, isa)?;
    let channels = mean.len().max(std.len());
    let spread = |values: Vec<f32>| if values.len() == 1 { vec![values[0]; channels] } else { values };
    let (mean, std) = (spread(mean), spread(std));
    let fits = channels == 1 || input.shape().last() == Some(&channels);
    if channels == 0 || mean.len() != std.len() || !fits {
        return Err(input_error(
            py,
            format!(
                "expected one mean and deviation, or one for each of the last axis, got {} and {} for shape {:?}",
                mean.len(),
                std.len(),
                input.shape()
            ),
        ));
    }
    if !std.iter().all(|deviation| deviation.abs() > 0.0) {
        return Err(input_error(py, format!("deviations must not be zero, got {std:?}")));
    }
    let result = output(py, out, DType::F32, input.shape(), &[&input], true)?;
    let scale = ChannelScale::new(&mean, &std);
    let pool = pool(threads);
    let multiple = 16 * channels;
    match input.dtype {
        DType::F32 => unary(&input, &result, multiple, &pool, |v: &[f32], o| scale.apply(isa, v, o))?,
        DType::U8 => unary(&input, &result, multiple, &pool, |v: &[u8], o| scale.apply(isa, v, o))?,
        DType::U16 => unary(&input, &result, multiple, &pool, |v: &[u16], o| scale.apply(isa, v, o))?,
        _ => return Err(dtype_error(py, &input)),
    }
    Ok(result.object.into_any())
}

/// `|a - b|`
#[pyfunction]
#[pyo3(signature = (a, b, out=None, threads=0, isa=None))]
pub fn absdiff<'py>(
    py: Python<'py>,
    a: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    out: Option<&Bound<'py, PyAny>>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    let (first, second) = (image_array(a)?, image_array(b)?);
    let isa = level(py, isa)?;
    if first.dtype != second.dtype || first.shape() != second.shape() {
        return Err(input_error(
            py,
            format!(
                "expected two arrays of one type and shape, got {} of shape {:?} and {} of shape {:?}",
                first.dtype.name(),
                first.shape(),
                second.dtype.name(),
                second.shape()
            ),
        ));
    }
    let result = output(py, out, first.dtype, first.shape(), &[&first, &second], true)?;
    let pool = pool(threads);
    match first.dtype {
        DType::U8 => difference::<u8>(isa, &first, &second, &result, &pool)?,
        DType::U16 => difference::<u16>(isa, &first, &second, &result, &pool)?,
        DType::F32 => difference::<f32>(isa, &first, &second, &result, &pool)?,
        _ => return Err(dtype_error(py, &first)),
    }
    Ok(result.object.into_any())
}

fn difference<T: Distance>(
    isa: Isa,
    first: &Array<'_>,
    second: &Array<'_>,
    out: &Array<'_>,
    pool: &ThreadPool,
) -> PyResult<()> {
    let py = first.object.py();
    let len = out.len();
    if first.is_contiguous() && second.is_contiguous() && out.is_contiguous() {
        let [a, b, target] = [first, second, out].map(|array| Shared(array.pointer().cast::<T>()));
        let in_place = [first, second].iter().any(|array| array.pointer() == out.pointer());
        return work(py, len, || {
            pool.run_ranges(len, GRAIN, 64, |range| {
                // Where it works in place, blocks that stay in the cache are set aside.
                let step = if in_place { BLOCK } else { range.len() };
                let mut held = [T::default(); BLOCK];
                for start in range.clone().step_by(step.max(1)) {
                    let count = step.min(range.end - start);
                    // SAFETY: the arrays hold `len` elements in order, the ranges are disjoint, and the output is apart
                    // from the inputs or, in place, is written when what lay there has been set aside.
                    unsafe {
                        let slice =
                            |from: Shared<T>| std::slice::from_raw_parts(from.get().add(start), count);
                        let target = target.get().add(start);
                        if in_place {
                            absolute_difference(isa, slice(a), slice(b), &mut held[..count]);
                            std::ptr::copy_nonoverlapping(held.as_ptr(), target, count);
                        } else {
                            let target = std::slice::from_raw_parts_mut(target, count);
                            absolute_difference(isa, slice(a), slice(b), target);
                        }
                    }
                }
            });
        });
    }
    let shape = out.shape().to_vec();
    let [a, b, target] = [first, second, out].map(Layout::new);
    let run: usize = shape.iter().rev().take(2).product();
    if len == 0 {
        return Ok(());
    }
    work(py, len, move || {
        for index in 0..len / run {
            let places =
                a.places(&shape, index).zip(b.places(&shape, index)).zip(target.places(&shape, index));
            for ((a, b), place) in places {
                // SAFETY: NumPy vouches for the elements its shape and strides reach.
                unsafe {
                    let (a, b) = (a.cast::<T>().read_unaligned(), b.cast::<T>().read_unaligned());
                    place.cast::<T>().write_unaligned(a.distance(b));
                }
            }
        }
    })
}
