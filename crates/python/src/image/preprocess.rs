//! The one-pass preparation of frames for networks.

use super::arrays::image_array;
use super::operations::sampling;
use crate::errors::{compute, of_panic};
use crate::ndarray::{Array, input_error, level, output, pool};
use pyo3::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use vedette_image::Frame;
use vedette_image::preprocess::{Element, Fit, Preprocess as Native, Slot, Source, SourceFrame};
use vedette_image::resample::PlanCache;
use vedette_tensor::DType;

/// See `vedette.image.Preprocess`.
#[pyclass(frozen, module = "vedette._native")]
pub struct Preprocess {
    native: Native,
    source: Source,
    source_name: String,
    dtype: DType,
}

#[pymethods]
impl Preprocess {
    #[new]
    #[pyo3(signature = (size, fit, filter, antialias, profile, scale, offset, fill, planar, dtype, source))]
    fn new(
        py: Python<'_>,
        size: [usize; 2],
        fit: &str,
        filter: &str,
        antialias: bool,
        profile: &str,
        scale: Vec<f32>,
        offset: Vec<f32>,
        fill: f32,
        planar: bool,
        dtype: &str,
        source: &str,
    ) -> PyResult<Preprocess> {
        let fit = match fit {
            "stretch" => Fit::Stretch,
            "letterbox" => Fit::Letterbox,
            "crop" => Fit::Crop,
            _ => {
                return Err(input_error(py, format!("fit is {fit:?}; it can be stretch, letterbox or crop")));
            }
        };
        let dtype = match dtype {
            "float32" => DType::F32,
            "float16" => DType::F16,
            "uint8" => DType::U8,
            "int8" => DType::I8,
            _ => {
                return Err(input_error(
                    py,
                    format!("dtype is {dtype:?}; it can be float32, float16, uint8 or int8"),
                ));
            }
        };
        let Some(format) = Source::from_name(source) else {
            return Err(input_error(
                py,
                format!("source is {source:?}; it can be rgb, bgr, rgba, bgra, gray, nv12, i420 or yuyv"),
            ));
        };
        if scale.len() != format.channels() || offset.len() != format.channels() || size.contains(&0) {
            return Err(input_error(
                py,
                format!(
                    "expected a size with pixels and {} scales and offsets, got {size:?}, {} and {}",
                    format.channels(),
                    scale.len(),
                    offset.len()
                ),
            ));
        }
        let sampling = sampling(py, filter, antialias, profile)?;
        let native = Native { size, fit, sampling, scale, offset, fill, planar, plans: PlanCache::new() };
        Ok(Preprocess { native, source: format, source_name: source.to_owned(), dtype })
    }

    /// Prepares frames into a batch, one slot each.
    #[pyo3(signature = (frames, out=None, threads=0, isa=None))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        frames: Vec<Bound<'py, PyAny>>,
        out: Option<&Bound<'py, PyAny>>,
        threads: usize,
        isa: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let isa = level(py, isa)?;
        let arrays = frames.iter().map(image_array).collect::<PyResult<Vec<_>>>()?;
        let sources =
            arrays.iter().map(|array| self.source_frame(py, array)).collect::<PyResult<Vec<_>>>()?;
        let [height, width] = self.native.size;
        let channels = self.native.channels();
        let shape = if self.native.planar {
            [arrays.len(), channels, height, width]
        } else {
            [arrays.len(), height, width, channels]
        };
        let inputs: Vec<&Array<'_>> = arrays.iter().collect();
        let result = output(py, out, self.dtype, &shape, &inputs, false)?;
        if !result.is_contiguous() {
            return Err(input_error(py, "expected out to be C-contiguous"));
        }
        let start = result.pointer();
        match self.dtype {
            DType::F32 => self.store::<f32>(py, &sources, start, threads, isa)?,
            DType::F16 => self.store::<half::f16>(py, &sources, start, threads, isa)?,
            DType::I8 => self.store::<i8>(py, &sources, start, threads, isa)?,
            _ => self.store::<u8>(py, &sources, start, threads, isa)?,
        }
        Ok(result.object.into_any())
    }

    /// Scale and shift of rows and of columns, for frames of this height and width.
    fn transform(&self, size: [usize; 2]) -> [[f64; 2]; 2] {
        self.native.placement(size.map(|side| side.max(1))).transform()
    }
}

impl Preprocess {
    fn source_frame<'a>(&self, py: Python<'_>, array: &'a Array<'_>) -> PyResult<SourceFrame<'a>> {
        let wrong = |expected: &str| {
            input_error(
                py,
                format!(
                    "expected {} frames as uint8 of {expected}, got {} of shape {:?}",
                    self.source_name,
                    array.dtype.name(),
                    array.shape()
                ),
            )
        };
        let (shape, strides) = (array.shape(), array.strides());
        let (shape, strides) = match *shape {
            [h, w] => ([h, w, 1], [strides[0], strides[1], 1]),
            [h, w, c] => ([h, w, c], [strides[0], strides[1], strides[2]]),
            _ => return Err(wrong("two or three axes")),
        };
        if array.dtype != DType::U8 {
            return Err(wrong("any size"));
        }
        // SAFETY: NumPy vouches for the elements its shape and strides reach, for as long as the array lives.
        let frame = unsafe { Frame::from_raw_parts(array.pointer().cast_const(), shape, strides) };
        SourceFrame::new(frame, self.source).map_err(wrong)
    }

    fn store<T: Element>(
        &self,
        py: Python<'_>,
        frames: &[SourceFrame<'_>],
        start: *mut u8,
        threads: usize,
        isa: vedette_simd::Isa,
    ) -> PyResult<()> {
        let [height, width] = self.native.size;
        let slot = self.native.channels() * height * width;
        let start = start.cast::<T>();
        let jobs: Vec<(SourceFrame<'_>, Slot<T>)> = frames
            .iter()
            .enumerate()
            // SAFETY: the output holds a slot for each frame, apart from all inputs.
            .map(|(k, frame)| (*frame, unsafe { Slot::new(start.wrapping_add(k * slot)) }))
            .collect();
        let pool = pool(threads);
        // Frames of a few pixels are done before the GIL could be handed over.
        if frames.len() == 1 && slot < 1 << 10 {
            let run = AssertUnwindSafe(|| self.native.run(isa, &jobs, &pool));
            return catch_unwind(run).map_err(|payload| of_panic(py, payload.as_ref()));
        }
        compute(py, || self.native.run(isa, &jobs, &pool))
    }
}
