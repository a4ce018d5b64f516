//! Arrays in few bits.

use crate::ndarray::{input_error, level, pool, work};
use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadwriteArray1};
use pyo3::prelude::*;
use std::sync::Mutex;
use vedette_integer::stored::{
    Rows, Scales, Stored, dequantize, from_bfloat16, quantize, ranges, to_bfloat16,
};
use vedette_runtime::ThreadPool;

/// Elements of half floats that one thread converts at a time.
const SPAN: usize = 1 << 16;

fn rows_of(py: Python<'_>, elements: usize, columns: usize, by_column: bool, count: usize) -> PyResult<Rows> {
    let scales = if by_column { Scales::ByColumn } else { Scales::ByRow };
    let fits = elements.is_multiple_of(columns.max(1)) && count > 0 && (!by_column || count == columns);
    if !fits {
        let said = format!("{elements} elements in rows of {columns} with {count} scales");
        return Err(input_error(py, said));
    }
    Ok(Rows { columns, scales, count })
}

fn stored_of(py: Python<'_>, dtype: &str, columns: usize) -> PyResult<Stored> {
    let stored = match dtype {
        "uint8" => Stored::U8,
        "int8" => Stored::I8,
        "uint4" => Stored::U4,
        "int4" => Stored::I4,
        _ => return Err(input_error(py, format!("no integers are called {dtype:?}"))),
    };
    if !columns.is_multiple_of(stored.per_byte()) {
        return Err(input_error(py, format!("rows of {columns} elements of {dtype}")));
    }
    Ok(stored)
}

/// Least and greatest by scale, or None where the array holds NaN or infinity.
#[pyfunction]
#[pyo3(signature = (x, columns, by_column, count, threads=0, isa=None))]
pub fn array_ranges<'py>(
    py: Python<'py>,
    x: PyReadonlyArray1<'_, f32>,
    columns: usize,
    by_column: bool,
    count: usize,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<Option<[Bound<'py, PyArray1<f32>>; 2]>> {
    let (isa, x, pool) = (level(py, isa)?, x.as_slice()?, pool(threads));
    let rows = rows_of(py, x.len(), columns, by_column, count)?;
    let mut found = None;
    work(py, x.len(), || found = ranges(isa, x, rows, &pool))?;
    Ok(found.map(|(low, high)| [low, high].map(|ends| ends.into_pyarray(py))))
}

/// Rounds an array to integers, two of four bits in a byte.
#[pyfunction]
#[pyo3(signature = (x, columns, by_column, scale, zero_point, dtype, out, threads=0, isa=None))]
pub fn quantize_array(
    py: Python<'_>,
    x: PyReadonlyArray1<'_, f32>,
    columns: usize,
    by_column: bool,
    scale: PyReadonlyArray1<'_, f32>,
    zero_point: PyReadonlyArray1<'_, f32>,
    dtype: &str,
    mut out: PyReadwriteArray1<'_, u8>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<()> {
    let (isa, x, pool) = (level(py, isa)?, x.as_slice()?, pool(threads));
    let (scale, zero_point, out) = (scale.as_slice()?, zero_point.as_slice()?, out.as_slice_mut()?);
    let (rows, stored) =
        (rows_of(py, x.len(), columns, by_column, scale.len())?, stored_of(py, dtype, columns)?);
    if out.len() * stored.per_byte() != x.len() || zero_point.len() != scale.len() {
        return Err(input_error(py, format!("{} bytes for {} elements of {dtype}", out.len(), x.len())));
    }
    work(py, x.len(), || quantize(isa, x, rows, (scale, zero_point), stored, out, &pool))
}

/// The real numbers of integers that lie as `quantize_array` leaves them.
#[pyfunction]
#[pyo3(signature = (q, columns, by_column, scale, zero_point, dtype, out, threads=0, isa=None))]
pub fn dequantize_array(
    py: Python<'_>,
    q: PyReadonlyArray1<'_, u8>,
    columns: usize,
    by_column: bool,
    scale: PyReadonlyArray1<'_, f32>,
    zero_point: PyReadonlyArray1<'_, f32>,
    dtype: &str,
    mut out: PyReadwriteArray1<'_, f32>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<()> {
    let (isa, q, pool) = (level(py, isa)?, q.as_slice()?, pool(threads));
    let (scale, zero_point, out) = (scale.as_slice()?, zero_point.as_slice()?, out.as_slice_mut()?);
    let (rows, stored) =
        (rows_of(py, out.len(), columns, by_column, scale.len())?, stored_of(py, dtype, columns)?);
    if q.len() * stored.per_byte() != out.len() || zero_point.len() != scale.len() {
        return Err(input_error(py, format!("{} bytes for {} elements of {dtype}", q.len(), out.len())));
    }
    work(py, out.len(), || dequantize(isa, q, rows, (scale, zero_point), stored, out, &pool))
}

/// Calls `f` with pieces of both slices, some of them on other threads.
fn in_pieces<A: Sync, B: Send>(pool: &ThreadPool, x: &[A], out: &mut [B], f: impl Fn(&[A], &mut [B]) + Sync) {
    let pieces: Vec<_> = x.chunks(SPAN).zip(out.chunks_mut(SPAN)).map(Mutex::new).collect();
    pool.run(pieces.len(), |at| {
        if let Ok(mut piece) = pieces[at].lock() {
            let (x, out) = &mut *piece;
            f(x, out);
        }
    });
}

fn is_brain(py: Python<'_>, dtype: &str, lengths: [usize; 2]) -> PyResult<bool> {
    if lengths[0] != lengths[1] {
        return Err(input_error(py, format!("{} numbers for {}", lengths[1], lengths[0])));
    }
    match dtype {
        "bfloat16" => Ok(true),
        "float16" => Ok(false),
        _ => Err(input_error(py, format!("no half floats are called {dtype:?}"))),
    }
}

/// Float32 as the bits of half floats.
#[pyfunction]
#[pyo3(signature = (x, dtype, out, threads=0, isa=None))]
pub fn to_halves(
    py: Python<'_>,
    x: PyReadonlyArray1<'_, f32>,
    dtype: &str,
    mut out: PyReadwriteArray1<'_, u16>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<()> {
    let (isa, x, out, pool) = (level(py, isa)?, x.as_slice()?, out.as_slice_mut()?, pool(threads));
    match is_brain(py, dtype, [x.len(), out.len()])? {
        true => work(py, x.len(), || to_bfloat16(isa, x, out, &pool)),
        false => work(py, x.len(), || {
            in_pieces(&pool, x, out, |x, out| out.reinterpret_cast_mut::<f16>().convert_from_f32_slice(x));
        }),
    }
}

/// The float32 of the bits of half floats.
#[pyfunction]
#[pyo3(signature = (bits, dtype, out, threads=0, isa=None))]
pub fn from_halves(
    py: Python<'_>,
    bits: PyReadonlyArray1<'_, u16>,
    dtype: &str,
    mut out: PyReadwriteArray1<'_, f32>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<()> {
    let (isa, x, out, pool) = (level(py, isa)?, bits.as_slice()?, out.as_slice_mut()?, pool(threads));
    match is_brain(py, dtype, [x.len(), out.len()])? {
        true => work(py, x.len(), || from_bfloat16(isa, x, out, &pool)),
        false => work(py, x.len(), || {
            in_pieces(&pool, x, out, |x, out| x.reinterpret_cast::<f16>().convert_to_f32_slice(out));
        }),
    }
}
