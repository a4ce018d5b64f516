pub mod arrays;
pub mod blur;
pub mod change;
pub mod elements;
pub mod operations;
pub mod preprocess;

use crate::errors::{IMAGE, INPUT, MEMORY_LIMIT, compute};
use crate::memory::leased;
use numpy::ndarray::{Array1, Array3};
use numpy::{
    IntoPyArray, PyArray1, PyArray3, PyReadonlyArray2, PyReadonlyArray3, PyReadwriteArray4,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::path::PathBuf;
use vedette_image::codec::{self, Background, Format, Pixels, Shrink};
use vedette_image::crop::{Quad, crop_lines as crop};
use vedette_image::text::{BoxOptions, find_text_boxes as find};
use vedette_image::{ImageError, ImageView, Normalization};
use vedette_runtime::ThreadPool;
use vedette_simd::isa;

fn image_error(py: Python<'_>, error: &ImageError) -> PyErr {
    let class = if matches!(error, ImageError::Memory { .. }) { &MEMORY_LIMIT } else { &IMAGE };
    class.error(py, error.to_string())
}

fn input_error(py: Python<'_>, message: String) -> PyErr {
    INPUT.error(py, message)
}

/// A colour, or `None` for white or black, whichever contrasts with what is visible.
type BackgroundArgument = Option<[u8; 3]>;

fn background(color: BackgroundArgument) -> Background {
    color.map_or(Background::Contrast, Background::Color)
}

fn threads(count: usize) -> ThreadPool {
    ThreadPool::new(if count == 0 { vedette_runtime::num_threads() } else { count })
}

/// An array of `(height, width, 3)` as a view, whatever its strides.
fn view<'a>(py: Python<'_>, image: &'a PyReadonlyArray3<'_, u8>) -> PyResult<ImageView<'a>> {
    let array = image.as_array();
    let (height, width, channels) = array.dim();
    if channels != 3 {
        return Err(input_error(
            py,
            format!("expected an image of shape (height, width, 3), got ({height}, {width}, {channels})"),
        ));
    }
    let strides = array.strides();
    // SAFETY: NumPy vouches for every element of its array, which the borrow keeps alive and unwritten.
    Ok(unsafe {
        ImageView::from_raw_parts(array.as_ptr(), height, width, [strides[0], strides[1], strides[2]])
    })
}

fn to_python(py: Python<'_>, decoded: PyResult<Result<Pixels, ImageError>>) -> PyResult<Bound<'_, PyAny>> {
    let Pixels { height, width, data } = decoded?.map_err(|error| image_error(py, &error))?;
    let dims = [height, width, 3].map(|dim| dim as numpy::npyffi::npy_intp);
    leased(py, data, numpy::dtype::<u8>(py), dims.to_vec())
}

fn shrink_by(py: Python<'_>, divisor: u32) -> PyResult<Shrink> {
    Shrink::new(divisor).ok_or_else(|| {
        input_error(py, format!("an image is decoded at 1, 1/2, 1/4 or 1/8, not at 1/{divisor}"))
    })
}

/// Decodes bytes.
#[pyfunction]
#[pyo3(signature = (data, background_color, shrink))]
pub fn decode_image<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyBytes>,
    background_color: BackgroundArgument,
    shrink: u32,
) -> PyResult<Bound<'py, PyAny>> {
    let (bytes, shrink) = (data.as_bytes(), shrink_by(py, shrink)?);
    to_python(py, compute(py, || codec::decode(bytes, background(background_color), shrink)))
}

/// Decodes a file.
#[pyfunction]
#[pyo3(signature = (path, background_color, shrink))]
pub fn decode_image_file(
    py: Python<'_>,
    path: PathBuf,
    background_color: BackgroundArgument,
    shrink: u32,
) -> PyResult<Bound<'_, PyAny>> {
    let shrink = shrink_by(py, shrink)?;
    to_python(py, compute(py, || codec::decode_file(&path, background(background_color), shrink)))
}

/// Lays RGBA over a background.
#[pyfunction]
#[pyo3(signature = (rgba, background_color))]
pub fn composite<'py>(
    py: Python<'py>,
    rgba: PyReadonlyArray3<'py, u8>,
    background_color: BackgroundArgument,
) -> PyResult<Bound<'py, PyAny>> {
    let array = rgba.as_array();
    let (height, width, channels) = array.dim();
    if channels != 4 {
        return Err(input_error(
            py,
            format!("expected an image of shape (height, width, 4), got ({height}, {width}, {channels})"),
        ));
    }
    let pixels = compute(py, || {
        let packed = array.as_standard_layout();
        let data = codec::composite(packed.as_slice().unwrap_or_default(), background(background_color));
        Pixels::new(height, width, |to| {
            to.copy_from_slice(&data);
            Ok(())
        })
    });
    to_python(py, pixels)
}

/// Encodes RGB pixels in the format of a file extension, as an array of bytes.
#[pyfunction]
pub fn encode_image<'py>(
    py: Python<'py>,
    image: PyReadonlyArray3<'py, u8>,
    extension: &str,
    quality: u8,
) -> PyResult<Bound<'py, PyAny>> {
    view(py, &image)?;
    let Some(format) = Format::from_extension(extension, quality) else {
        return Err(image_error(
            py,
            &ImageError::Encoding {
                format: "an image",
                reason: format!("{extension:?} names no known format"),
            },
        ));
    };
    let array = image.as_array();
    let (height, width, _) = array.dim();
    let encoded = compute(py, || {
        let packed = array.as_standard_layout();
        codec::encode(packed.as_slice().unwrap_or_default(), height, width, format)
    })?
    .map_err(|error| image_error(py, &error))?;
    let (block, len) = encoded.into_parts();
    leased(py, block, numpy::dtype::<u8>(py), vec![len as numpy::npyffi::npy_intp])
}

fn oriented(image: ImageView<'_>, bgr: bool) -> ImageView<'_> {
    if bgr { image.channels_reversed() } else { image }
}

fn contiguous<'a>(py: Python<'_>, slice: Option<&'a mut [f32]>) -> PyResult<&'a mut [f32]> {
    slice.ok_or_else(|| input_error(py, "expected a C-contiguous output".to_owned()))
}

/// Cuts lines out of an image into the slots of a batch.
#[pyfunction]
pub fn crop_lines<'py>(
    py: Python<'py>,
    image: PyReadonlyArray3<'py, u8>,
    quads: PyReadonlyArray3<'py, f32>,
    widths: Vec<usize>,
    mut out: PyReadwriteArray4<'py, f32>,
    mean: [f32; 3],
    deviation: [f32; 3],
    bgr: bool,
    threads: usize,
) -> PyResult<()> {
    let source = oriented(view(py, &image)?, bgr);
    let corners: Vec<Quad> = {
        let array = quads.as_array();
        if array.dim().1 != 4 || array.dim().2 != 2 {
            return Err(input_error(
                py,
                format!("expected corners of shape (lines, 4, 2), got {:?}", array.dim()),
            ));
        }
        array.outer_iter().map(|quad| std::array::from_fn(|i| [quad[[i, 0]], quad[[i, 1]]])).collect()
    };
    let [slots, planes, height, width] = [0, 1, 2, 3].map(|axis| out.shape()[axis]);
    let fits = slots == corners.len()
        && widths.len() == corners.len()
        && planes == 3
        && widths.iter().all(|&line| (1..=width).contains(&line))
        && (corners.is_empty() || !source.is_empty());
    if !fits {
        return Err(input_error(
            py,
            format!(
                "expected as many corners, widths and slots of shape (3, height, width), no line wider than its \
                 slot: got {} corners, {} widths up to {}, slots {:?}",
                corners.len(),
                widths.len(),
                widths.iter().max().unwrap_or(&0),
                out.shape()
            ),
        ));
    }
    let batch = contiguous(py, out.as_slice_mut().ok())?;
    let pool = self::threads(threads);
    compute(py, || {
        let normalization = Normalization::new(mean, deviation);
        crop(isa(), source, &corners, &widths, batch, (height, width), normalization, &pool);
    })
}

/// The text boxes of a probability map.
#[pyfunction]
#[allow(clippy::type_complexity, reason = "a pair of arrays")]
pub fn find_text_boxes<'py>(
    py: Python<'py>,
    map: PyReadonlyArray2<'py, f32>,
    threshold: f32,
    box_threshold: f32,
    unclip_ratio: f64,
    min_side: f64,
    max_candidates: usize,
    dilate: bool,
) -> PyResult<(Bound<'py, PyArray3<f32>>, Bound<'py, PyArray1<f32>>)> {
    let options = BoxOptions { threshold, box_threshold, unclip_ratio, min_side, max_candidates, dilate };
    let array = map.as_array();
    let height = array.dim().0;
    let boxes = compute(py, || {
        let packed = array.as_standard_layout();
        find(packed.as_slice().unwrap_or_default(), height, &options)
    })?;
    let corners =
        Array3::from_shape_fn((boxes.len(), 4, 2), |(i, corner, axis)| boxes[i].corners[corner][axis] as f32);
    let scores = Array1::from_iter(boxes.iter().map(|text_box| text_box.score));
    Ok((corners.into_pyarray(py), scores.into_pyarray(py)))
}
