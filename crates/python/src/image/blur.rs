//! Blurs, and thresholds by them.

use super::arrays::{Images, output_images};
use super::operations::{dtype_error, each};
use crate::ndarray::{input_error, level, pool};
use pyo3::prelude::*;
use vedette_image::blur::{Blur, Blurred, Border, Kernel, blur as blur_image};
use vedette_tensor::DType;

/// Most neighbours a blur takes along an axis.
const MAX_BLUR: usize = 255;

fn check_blur(py: Python<'_>, size: [usize; 2]) -> PyResult<()> {
    if size.iter().all(|&side| side % 2 == 1 && side <= MAX_BLUR) {
        return Ok(());
    }
    Err(input_error(py, format!("expected odd sizes of 1 to {MAX_BLUR}, got {size:?}")))
}

/// Box blur, or Gaussian where `sigma` is given.
#[pyfunction]
#[pyo3(signature = (image, size, sigma=None, replicate=false, out=None, threads=0, isa=None))]
pub fn blur<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyAny>,
    size: [usize; 2],
    sigma: Option<[f64; 2]>,
    replicate: bool,
    out: Option<&Bound<'py, PyAny>>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    let images = Images::new(image)?;
    check_blur(py, size)?;
    let (isa, pool) = (level(py, isa)?, pool(threads));
    let dtype = images.array.dtype;
    let shape = images.array.shape().to_vec();
    let result = output_images(py, out, dtype, &shape, &images)?;
    let filter = match sigma {
        Some([down, along]) => {
            Blur::Weighted([Kernel::gaussian(size[0], down), Kernel::gaussian(size[1], along)])
        }
        None => Blur::Mean(size),
    };
    let border = if replicate { Border::Replicate } else { Border::Reflect };
    fn run<T: Blurred>(
        py: Python<'_>,
        images: &Images<'_>,
        out: &Images<'_>,
        isa: vedette_simd::Isa,
        (filter, border): (&Blur, Border),
        pool: &vedette_runtime::ThreadPool,
    ) -> PyResult<()> {
        each::<T, T>(py, images, out, |image, out| blur_image(isa, image, out, filter, border, pool))
    }
    match dtype {
        DType::U8 => run::<u8>(py, &images, &result, isa, (&filter, border), &pool)?,
        DType::U16 => run::<u16>(py, &images, &result, isa, (&filter, border), &pool)?,
        DType::F32 => run::<f32>(py, &images, &result, isa, (&filter, border), &pool)?,
        _ => return Err(dtype_error(py, dtype, "uint8, uint16 or float32")),
    }
    Ok(result.array.object.into_any())
}

/// `maximum` where a pixel is greater than the mean around it less `offset`, else zero.
#[pyfunction]
#[pyo3(signature = (gray, size, gaussian, offset, maximum, out=None, threads=0, isa=None))]
pub fn threshold_adaptive<'py>(
    py: Python<'py>,
    gray: &Bound<'py, PyAny>,
    size: usize,
    gaussian: bool,
    offset: f64,
    maximum: u8,
    out: Option<&Bound<'py, PyAny>>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    let sigma = gaussian.then_some([0.0; 2]);
    let images = Images::new(gray)?;
    if images.shape[2] != 1 {
        let shape = images.array.shape();
        return Err(input_error(py, format!("expected a gray image, got shape {shape:?}")));
    }
    if images.array.dtype != DType::U8 {
        return Err(dtype_error(py, images.array.dtype, "uint8"));
    }
    let result = blur(py, gray, [size; 2], sigma, true, out, threads, isa)?;
    let means = Images::new(&result)?;
    // A level is above `mean - offset` where it is above that less the whole part of the offset, rounded up.
    let drop = offset.ceil().clamp(-256.0, 256.0) as i32;
    each::<u8, u8>(py, &images, &means, |image, out| {
        let (mut scratch, mut gathered, mut target, mut means) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for y in 0..image.height() {
            let row = image.row(y, &mut scratch);
            means.clear();
            means.extend_from_slice(out.as_frame().row(y, &mut gathered));
            // SAFETY: this thread alone writes.
            unsafe {
                out.write_row(y, &mut target, |results| {
                    for ((result, &value), &mean) in results.iter_mut().zip(row).zip(&means) {
                        *result = if i32::from(value) - i32::from(mean) > -drop { maximum } else { 0 };
                    }
                });
            }
        }
    })?;
    Ok(result)
}
