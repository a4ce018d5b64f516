//! The change gate: what differs from the frame processed last.

use super::arrays::Images;
use crate::errors::compute;
use crate::ndarray::{input_error, level, work};
use numpy::ndarray::{Array2, Array3};
use numpy::{IntoPyArray, PyArray2, PyArray3};
use pyo3::prelude::*;
use std::sync::{Mutex, MutexGuard, PoisonError};
use vedette_image::Frame;
use vedette_image::change::{ChangeGate as Gate, Comparison, Rectangle, tile_hashes as hashes};
use vedette_simd::Isa;
use vedette_tensor::DType;

/// Keeps the frame processed last.
#[pyclass(frozen, module = "vedette._native")]
pub struct ChangeGate {
    gate: Mutex<Gate>,
    isa: Isa,
}

/// One image of bytes.
fn image<'py>(object: &Bound<'py, PyAny>) -> PyResult<Images<'py>> {
    let images = Images::new(object)?;
    if images.array.dtype != DType::U8 || images.batch.is_some() || images.is_empty() {
        return Err(input_error(
            object.py(),
            format!(
                "expected one uint8 image, got {} of shape {:?}",
                images.array.dtype.name(),
                images.array.shape()
            ),
        ));
    }
    Ok(images)
}

/// The image as a frame.
fn frame<'a>(images: &'a Images<'_>) -> Frame<'a, u8> {
    // SAFETY: the kind was checked, and the array outlives the borrow.
    unsafe { images.frame(0) }
}

impl ChangeGate {
    fn lock(&self) -> MutexGuard<'_, Gate> {
        // A panic while comparing leaves the mask half done, which the next comparison starts anew.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl ChangeGate {
    #[new]
    #[pyo3(signature = (tile, luma, isa=None))]
    fn new(py: Python<'_>, tile: usize, luma: bool, isa: Option<&str>) -> PyResult<ChangeGate> {
        if !(1..=256).contains(&tile) {
            return Err(input_error(py, format!("expected tiles of 1 to 256 pixels, got {tile}")));
        }
        let comparison = if luma { Comparison::Luma } else { Comparison::Exact };
        Ok(ChangeGate { gate: Mutex::new(Gate::new(tile, comparison)), isa: level(py, isa)? })
    }

    fn compare(&self, py: Python<'_>, image: &Bound<'_, PyAny>) -> PyResult<usize> {
        let images = self::image(image)?;
        let frame = frame(&images);
        let mut changed = 0;
        work(py, images.len(), || changed = self.lock().compare(self.isa, frame))?;
        Ok(changed)
    }

    fn accept(&self, py: Python<'_>, image: &Bound<'_, PyAny>) -> PyResult<()> {
        let images = self::image(image)?;
        let frame = frame(&images);
        let mut fits = true;
        work(py, images.len(), || {
            let mut gate = self.lock();
            fits = gate.shape() == [frame.height(), frame.width(), frame.channels()];
            if fits {
                gate.accept(self.isa, frame);
            }
        })?;
        if fits { Ok(()) } else { Err(input_error(py, "this is not of the size that was compared last")) }
    }

    fn mask<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<bool>>> {
        let gate = self.lock();
        let [rows, columns] = gate.grid();
        let marks = gate.mask().iter().map(|&mark| mark != 0).collect();
        match Array2::from_shape_vec((rows, columns), marks) {
            Ok(mask) => Ok(mask.into_pyarray(py)),
            Err(error) => Err(input_error(py, error.to_string())),
        }
    }

    fn equals(
        &self,
        py: Python<'_>,
        image: &Bound<'_, PyAny>,
        rectangles: Vec<[isize; 4]>,
        offset: [isize; 2],
    ) -> PyResult<Vec<bool>> {
        let images = self::image(image)?;
        let frame = frame(&images);
        compute(py, || {
            let mut gate = self.lock();
            rectangles
                .into_iter()
                .map(|rectangle| {
                    let [Ok(top), Ok(left), Ok(bottom), Ok(right)] = rectangle.map(usize::try_from) else {
                        return false;
                    };
                    gate.equals(frame, Rectangle { top, left, bottom, right }, offset)
                })
                .collect()
        })
    }

    fn moves(&self, py: Python<'_>, image: &Bound<'_, PyAny>) -> PyResult<Vec<(isize, isize, usize)>> {
        let images = self::image(image)?;
        let frame = frame(&images);
        let found = compute(py, || self.lock().moves(frame))?;
        Ok(found.into_iter().map(|found| (found.offset[0], found.offset[1], found.votes)).collect())
    }

    fn reset(&self) {
        self.lock().reset();
    }

    #[getter]
    fn noise(&self) -> f32 {
        self.lock().noise()
    }

    #[getter]
    fn nbytes(&self) -> usize {
        self.lock().bytes()
    }
}

/// 128 bits for each tile.
#[pyfunction]
pub fn tile_hashes<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    tile: usize,
) -> PyResult<Bound<'py, PyArray3<u64>>> {
    let images = self::image(image)?;
    if tile == 0 {
        return Err(input_error(py, "expected tiles of at least 1 pixel, got 0"));
    }
    let frame = frame(&images);
    let found = compute(py, || {
        let mut found = Vec::new();
        hashes(frame, tile, &mut found);
        found
    })?;
    let shape = (frame.height().div_ceil(tile), frame.width().div_ceil(tile), 2);
    match Array3::from_shape_vec(shape, found.into_iter().flatten().collect()) {
        Ok(array) => Ok(array.into_pyarray(py)),
        Err(error) => Err(input_error(py, error.to_string())),
    }
}
