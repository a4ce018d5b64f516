//! Operations on whole images: resizing, colour, geometry.

use super::arrays::{Images, output_images};
use crate::ndarray::{input_error, level, output, pool, work};
use numpy::PyArray1;
use pyo3::prelude::*;
use vedette_image::color::{Conversion, convert, decode_yuv};
use vedette_image::gray::{Luma, Weights, to_gray as gray};
use vedette_image::histogram::{histogram as count, otsu};
use vedette_image::preprocess::{Source, letterbox as fit};
use vedette_image::resample::{Edge, Filter, Pixel, Sampling, resize};
use vedette_image::warp::{Warp, inverse, warp as warp_image};
use vedette_image::{Frame, FrameMut, Sample};
use vedette_tensor::DType;

/// The convention of a filter's name and a profile's.
pub fn sampling(py: Python<'_>, filter: &str, antialias: bool, profile: &str) -> PyResult<Sampling> {
    let chosen = match filter {
        "nearest" => Filter::Nearest,
        "bilinear" => Filter::Bilinear,
        "bicubic" => Filter::Bicubic,
        "lanczos3" => Filter::Lanczos3,
        "area" => Filter::Area,
        _ => {
            return Err(input_error(
                py,
                format!("filter is {filter:?}; it can be nearest, bilinear, bicubic, lanczos3 or area"),
            ));
        }
    };
    let plain = Sampling::new(chosen, antialias);
    let opencv = Sampling { edge: Edge::Repeat, sharp_cubic: true, nearest_floor: true, ..plain };
    match profile {
        "pillow" => Ok(plain),
        "opencv" | "ultralytics" => Ok(opencv),
        // torch has Pillow's filters with antialiasing, OpenCV's without.
        "torchvision" if antialias && chosen != Filter::Nearest => Ok(plain),
        "torchvision" => Ok(opencv),
        _ => Err(profile_error(py, profile)),
    }
}

fn profile_error(py: Python<'_>, profile: &str) -> PyErr {
    input_error(py, format!("profile is {profile:?}; it can be opencv, pillow, torchvision or ultralytics"))
}

pub(super) fn dtype_error(py: Python<'_>, dtype: DType, expected: &str) -> PyErr {
    input_error(py, format!("expected {expected} values, got {}", dtype.name()))
}

/// Calls `f` with each image and its output.
pub(super) fn each<T: Sample, U: Sample>(
    py: Python<'_>,
    images: &Images<'_>,
    out: &Images<'_>,
    f: impl Fn(Frame<'_, T>, FrameMut<'_, U>) + Send + Sync,
) -> PyResult<()> {
    // SAFETY: the callers choose T and U by the arrays' types, and the arrays outlive the work.
    let pairs: Vec<(Frame<'_, T>, FrameMut<'_, U>)> =
        (0..images.count()).map(|k| unsafe { (images.frame(k), out.frame_mut(k)) }).collect();
    work(py, (images.len() + out.len()) * images.count(), || {
        for (image, out) in pairs {
            f(image, out);
        }
    })
}

fn not_empty(py: Python<'_>, images: &Images<'_>) -> PyResult<()> {
    if images.is_empty() {
        return Err(input_error(py, format!("an image without pixels: shape {:?}", images.array.shape())));
    }
    Ok(())
}

/// Resizes.
#[pyfunction]
#[pyo3(signature = (image, size, filter, antialias, profile, out=None, threads=0, isa=None))]
pub fn resize_image<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    size: [usize; 2],
    filter: &str,
    antialias: bool,
    profile: &str,
    out: Option<&Bound<'py, PyAny>>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    let images = Images::new(image)?;
    not_empty(py, &images)?;
    let sampling = sampling(py, filter, antialias, profile)?;
    let (isa, pool) = (level(py, isa)?, pool(threads));
    let shape = images.shape_with(size, images.channels_axis());
    let dtype = images.array.dtype;
    let result = output_images(py, out, dtype, &shape, &images)?;
    match dtype {
        DType::U8 => each::<u8, u8>(py, &images, &result, |i, o| resize_one(isa, i, o, sampling, &pool))?,
        DType::U16 => each::<u16, u16>(py, &images, &result, |i, o| resize_one(isa, i, o, sampling, &pool))?,
        DType::F32 => each::<f32, f32>(py, &images, &result, |i, o| resize_one(isa, i, o, sampling, &pool))?,
        _ => return Err(dtype_error(py, dtype, "uint8, uint16 or float32")),
    }
    Ok(result.array.object.into_any())
}

fn resize_one<T: Pixel>(
    isa: vedette_simd::Isa,
    image: Frame<'_, T>,
    out: FrameMut<'_, T>,
    sampling: Sampling,
    pool: &vedette_runtime::ThreadPool,
) {
    resize(isa, image, out, sampling, pool);
}

/// Resizes into the middle of a filled image; also returns scale and shift of rows and of columns.
#[pyfunction]
#[pyo3(signature = (image, size, filter, antialias, profile, fill, out=None, threads=0, isa=None))]
pub fn letterbox_image<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    size: [usize; 2],
    filter: &str,
    antialias: bool,
    profile: &str,
    fill: f64,
    out: Option<&Bound<'py, PyAny>>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<(Bound<'py, PyAny>, [[f64; 2]; 2])> {
    let images = Images::new(image)?;
    not_empty(py, &images)?;
    let sampling = sampling(py, filter, antialias, profile)?;
    let (isa, pool) = (level(py, isa)?, pool(threads));
    if size.contains(&0) {
        return Err(input_error(py, format!("a size without pixels: {size:?}")));
    }
    let shape = images.shape_with(size, images.channels_axis());
    let dtype = images.array.dtype;
    let result = output_images(py, out, dtype, &shape, &images)?;
    let fill = fill as f32;
    match dtype {
        DType::U8 => each::<u8, u8>(py, &images, &result, |image, out| {
            fit(isa, image, out, sampling, Sample::from_f32(fill), &pool);
        })?,
        DType::U16 => each::<u16, u16>(py, &images, &result, |image, out| {
            fit(isa, image, out, sampling, Sample::from_f32(fill), &pool);
        })?,
        DType::F32 => each::<f32, f32>(py, &images, &result, |image, out| {
            fit(isa, image, out, sampling, fill, &pool);
        })?,
        _ => return Err(dtype_error(py, dtype, "uint8, uint16 or float32")),
    }
    let [height, width, _] = images.shape;
    let placement = vedette_image::preprocess::Placement::new(
        [height, width],
        size,
        vedette_image::preprocess::Fit::Letterbox,
    );
    Ok((result.array.object.into_any(), placement.transform()))
}

/// Luma.
#[pyfunction]
#[pyo3(signature = (image, profile, out=None, threads=0, isa=None))]
pub fn to_gray<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    profile: &str,
    out: Option<&Bound<'py, PyAny>>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    let images = Images::new(image)?;
    let weights = match profile {
        "opencv" | "ultralytics" => Weights::OPENCV,
        "pillow" => Weights::PILLOW,
        "torchvision" => Weights::TORCHVISION,
        _ => return Err(profile_error(py, profile)),
    };
    let [height, width, channels] = images.shape;
    if channels == 2 {
        let shape = images.array.shape();
        return Err(input_error(py, format!("expected 1, 3 or 4 channels, got 2 (shape {shape:?})")));
    }
    let (isa, pool) = (level(py, isa)?, pool(threads));
    let shape = images.shape_with([height, width], None);
    let dtype = images.array.dtype;
    let array = output(py, out, dtype, &shape, &[&images.array], false)?;
    let result = Images::planes(array, images.batch.is_some());
    fn run<T: Luma>(
        py: Python<'_>,
        images: &Images<'_>,
        out: &Images<'_>,
        isa: vedette_simd::Isa,
        weights: Weights,
        pool: &vedette_runtime::ThreadPool,
    ) -> PyResult<()> {
        each::<T, T>(py, images, out, |image, out| gray(isa, image, out, weights, pool))
    }
    match dtype {
        DType::U8 => run::<u8>(py, &images, &result, isa, weights, &pool)?,
        DType::U16 => run::<u16>(py, &images, &result, isa, weights, &pool)?,
        DType::F32 => run::<f32>(py, &images, &result, isa, weights, &pool)?,
        _ => return Err(dtype_error(py, dtype, "uint8, uint16 or float32")),
    }
    Ok(result.array.object.into_any())
}

/// Otsu's threshold of a gray image.
#[pyfunction]
#[pyo3(signature = (gray, threads=0))]
pub fn otsu_threshold(py: Python<'_>, gray: &Bound<'_, PyAny>, threads: usize) -> PyResult<u8> {
    let counts = channel_counts(py, gray, 0, threads)?;
    Ok(otsu(&counts))
}

/// How often each level occurs in a channel.
#[pyfunction]
#[pyo3(signature = (image, channel, threads=0))]
pub fn histogram<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    channel: usize,
    threads: usize,
) -> PyResult<Bound<'py, PyArray1<u64>>> {
    let counts = channel_counts(py, image, channel, threads)?;
    Ok(PyArray1::from_slice(py, &counts))
}

fn channel_counts(
    py: Python<'_>,
    image: &Bound<'_, PyAny>,
    channel: usize,
    threads: usize,
) -> PyResult<[u64; 256]> {
    let images = Images::new(image)?;
    if images.array.dtype != DType::U8 {
        return Err(dtype_error(py, images.array.dtype, "uint8"));
    }
    if channel >= images.shape[2] {
        return Err(input_error(py, format!("no channel {channel} in shape {:?}", images.array.shape())));
    }
    let pool = pool(threads);
    // SAFETY: the array is uint8 and outlives the work.
    let frames: Vec<Frame<'_, u8>> = (0..images.count()).map(|k| unsafe { images.frame(k) }).collect();
    let mut counts = [0; 256];
    work(py, images.array.len(), || {
        for frame in frames {
            for (sum, own) in counts.iter_mut().zip(count(frame, channel, &pool)) {
                *sum += own;
            }
        }
    })?;
    Ok(counts)
}

/// Between colour spaces, and from camera formats to RGB or BGR.
#[pyfunction]
#[pyo3(signature = (image, source, target, out=None, threads=0, isa=None))]
pub fn convert_color<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    source: &str,
    target: &str,
    out: Option<&Bound<'py, PyAny>>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    let images = Images::new(image)?;
    let (isa, pool) = (level(py, isa)?, pool(threads));
    let camera =
        Source::from_name(source).filter(|s| matches!(s, Source::Nv12 | Source::I420 | Source::Yuyv));
    if let (Some(format), "rgb" | "bgr" | "rgba" | "bgra" | "gray") = (camera, target) {
        let result = camera_output(py, &images, format, (source, target), out)?;
        each::<u8, u8>(py, &images, &result, |image, out| {
            decode_yuv(isa, image, format, out, target.starts_with('b'), &pool);
        })?;
        return Ok(result.array.object.into_any());
    }
    let Some(conversion) = Conversion::from_names(source, target) else {
        return Err(input_error(
            py,
            format!(
                "cannot convert {source:?} to {target:?}: rgb, bgr, rgba, bgra, gray, hsv and yuv go both ways, nv12, \
                 i420 and yuyv to rgb, bgr, rgba, bgra and gray"
            ),
        ));
    };
    let [height, width, channels] = images.shape;
    if channels != conversion.from_channels() {
        return Err(input_error(
            py,
            format!(
                "expected {} channels for {source}, got {channels} (shape {:?})",
                conversion.from_channels(),
                images.array.shape()
            ),
        ));
    }
    let gray = conversion.to_channels() == 1;
    let dtype = images.array.dtype;
    let shape = images.shape_with([height, width], (!gray).then(|| conversion.to_channels()));
    let array = output(py, out, dtype, &shape, &[&images.array], true)?;
    let result = if gray {
        Images::planes(array, images.batch.is_some())
    } else {
        Images::of(array).map_err(|m| input_error(py, m))?
    };
    match (dtype, conversion.is_plain()) {
        (DType::U8, _) => {
            each::<u8, u8>(py, &images, &result, |i, o| convert(isa, i, o, conversion, &pool))?;
        }
        (DType::U16, true) => {
            each::<u16, u16>(py, &images, &result, |i, o| convert(isa, i, o, conversion, &pool))?;
        }
        (DType::F32, true) => {
            each::<f32, f32>(py, &images, &result, |i, o| convert(isa, i, o, conversion, &pool))?;
        }
        (_, true) => return Err(dtype_error(py, dtype, "uint8, uint16 or float32")),
        _ => return Err(dtype_error(py, dtype, "uint8")),
    }
    Ok(result.array.object.into_any())
}

/// Where the picture of a camera's frames goes.
fn camera_output<'py>(
    py: Python<'py>,
    images: &Images<'py>,
    format: Source,
    (source, target): (&str, &str),
    out: Option<&Bound<'py, PyAny>>,
) -> PyResult<Images<'py>> {
    if images.array.dtype != DType::U8 {
        return Err(dtype_error(py, images.array.dtype, "uint8"));
    }
    let [height, width, channels] = images.shape;
    let planar = format != Source::Yuyv;
    let even = width % 2 == 0 && (!planar || height % 3 == 0 && height / 3 * 2 % 2 == 0);
    if channels != if planar { 1 } else { 2 } || !even {
        return Err(input_error(
            py,
            format!("no {source} frame of even sides has shape {:?}", images.array.shape()),
        ));
    }
    let size = [if planar { height / 3 * 2 } else { height }, width];
    let channels = match target {
        "gray" => None,
        "rgb" | "bgr" => Some(3),
        _ => Some(4),
    };
    let array = output(py, out, DType::U8, &images.shape_with(size, channels), &[&images.array], false)?;
    match channels {
        None => Ok(Images::planes(array, images.batch.is_some())),
        Some(_) => Images::of(array).map_err(|m| input_error(py, m)),
    }
}

/// A packed copy of a view.
#[pyfunction]
#[pyo3(signature = (image, out=None, threads=0))]
pub fn copy_image<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    out: Option<&Bound<'py, PyAny>>,
    threads: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let images = Images::new(image)?;
    let [height, width, _] = images.shape;
    resize_image(py, image, [height, width], "nearest", false, "pillow", out, threads, None)
}

/// Warps by a 3 x 3 matrix from output to input, or, if `forward`, from input to output.
#[pyfunction]
#[pyo3(signature = (image, matrix, size, nearest, fill, forward, out=None, threads=0, isa=None))]
pub fn warp<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    matrix: [[f64; 3]; 3],
    size: [usize; 2],
    nearest: bool,
    fill: f64,
    forward: bool,
    out: Option<&Bound<'py, PyAny>>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    let images = Images::new(image)?;
    let matrix = if forward {
        inverse(matrix).ok_or_else(|| input_error(py, format!("the matrix has no inverse: {matrix:?}")))?
    } else {
        matrix
    };
    let (isa, pool) = (level(py, isa)?, pool(threads));
    let shape = images.shape_with(size, images.channels_axis());
    let dtype = images.array.dtype;
    let result = output_images(py, out, dtype, &shape, &images)?;
    let fill = fill as f32;
    match dtype {
        DType::U8 => each::<u8, u8>(py, &images, &result, |image, out| {
            warp_image(isa, image, out, &Warp { matrix, nearest, fill: Sample::from_f32(fill) }, &pool);
        })?,
        DType::U16 => each::<u16, u16>(py, &images, &result, |image, out| {
            warp_image(isa, image, out, &Warp { matrix, nearest, fill: Sample::from_f32(fill) }, &pool);
        })?,
        DType::F32 => each::<f32, f32>(py, &images, &result, |image, out| {
            warp_image(isa, image, out, &Warp { matrix, nearest, fill }, &pool);
        })?,
        _ => return Err(dtype_error(py, dtype, "uint8, uint16 or float32")),
    }
    Ok(result.array.object.into_any())
}
