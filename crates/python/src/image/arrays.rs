//! Arrays as images: one, or a batch of them.

use crate::ndarray::{Array, input_error, output};
use numpy::PyUntypedArray;
use pyo3::prelude::*;
use vedette_image::{Frame, FrameMut, Sample};
use vedette_tensor::DType;

/// The array an object is or offers, of a type that images or what is made of them have.
pub fn image_array<'py>(object: &Bound<'py, PyAny>) -> PyResult<Array<'py>> {
    let array = Array::new(object)?;
    match array.dtype {
        DType::U8 | DType::I8 | DType::U16 | DType::F16 | DType::F32 => Ok(array),
        other => {
            Err(input_error(object.py(), format!("expected uint8, uint16 or float32 values, got {other}")))
        }
    }
}

/// The array that an object is or offers, of any type that kernels know.
#[pyfunction]
pub fn as_array<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    Ok(Array::new(object)?.object)
}

/// One image, or a batch of them along the first axis.
pub struct Images<'py> {
    pub array: Array<'py>,
    pub batch: Option<usize>,
    pub shape: [usize; 3],
    strides: [isize; 3],
    batch_stride: isize,
    /// Whether the channels have an axis of their own.
    pub has_channels: bool,
}

impl<'py> Images<'py> {
    /// `H x W`, `H x W x C` or `N x H x W x C` with 1 to 4 channels.
    pub fn new(object: &Bound<'py, PyAny>) -> PyResult<Images<'py>> {
        let py = object.py();
        Images::of(image_array(object)?).map_err(|message| input_error(py, message))
    }

    /// As [`new`](Self::new), of an array.
    pub fn of(array: Array<'py>) -> Result<Images<'py>, String> {
        let (shape, strides) = (array.shape(), array.strides());
        let (batch, batch_stride, dims, steps, has_channels) = match *shape {
            [h, w] => (None, 0, [h, w, 1], [strides[0], strides[1], 0], false),
            [h, w, c] => (None, 0, [h, w, c], [strides[0], strides[1], strides[2]], true),
            [n, h, w, c] => (Some(n), strides[0], [h, w, c], [strides[1], strides[2], strides[3]], true),
            _ => {
                return Err(format!(
                    "expected shape (height, width), (height, width, channels) or (batch, height, width, channels), \
                     got {shape:?}"
                ));
            }
        };
        if !(1..=4).contains(&dims[2]) {
            let hint = if shape.len() == 3 && dims[2] > 4 {
                "; a batch of gray images is (batch, height, width, 1)"
            } else {
                ""
            };
            return Err(format!("expected 1 to 4 channels, got {} (shape {shape:?}){hint}", dims[2]));
        }
        Ok(Images { array: array.clone(), batch, shape: dims, strides: steps, batch_stride, has_channels })
    }

    pub fn count(&self) -> usize {
        self.batch.unwrap_or(1)
    }

    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Elements of one image.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The full shape of results of this size and channels, with the axes this has.
    pub fn shape_with(&self, size: [usize; 2], channels: Option<usize>) -> Vec<usize> {
        let mut shape: Vec<usize> = self.batch.into_iter().chain(size).collect();
        shape.extend(channels);
        shape
    }

    /// The channels axis, if it has one.
    pub fn channels_axis(&self) -> Option<usize> {
        self.has_channels.then_some(self.shape[2])
    }

    fn start(&self, k: usize) -> *mut u8 {
        self.array.pointer().wrapping_offset(k as isize * self.batch_stride)
    }

    /// Image `k`.
    ///
    /// # Safety
    /// `T` is the array's element type, and the frame is not used after the array is gone.
    pub unsafe fn frame<'a, T: Sample>(&self, k: usize) -> Frame<'a, T> {
        // SAFETY: NumPy vouches for the elements its shape and strides reach.
        unsafe { Frame::from_raw_parts(self.start(k).cast(), self.shape, self.strides) }
    }

    /// Image `k`, for writing.
    ///
    /// # Safety
    /// As [`frame`](Self::frame), and nothing else reaches the elements meanwhile.
    pub unsafe fn frame_mut<'a, T: Sample>(&self, k: usize) -> FrameMut<'a, T> {
        // SAFETY: as above.
        unsafe { FrameMut::from_raw_parts(self.start(k).cast(), self.shape, self.strides) }
    }
}

/// Where images go: as [`output`], then as frames with the axes that the input has.
pub fn output_images<'py>(
    py: Python<'py>,
    out: Option<&Bound<'py, PyAny>>,
    dtype: DType,
    shape: &[usize],
    input: &Images<'py>,
) -> PyResult<Images<'py>> {
    let array = output(py, out, dtype, shape, &[&input.array], false)?;
    if input.has_channels {
        Images::of(array).map_err(|message| input_error(py, message))
    } else {
        Ok(Images::planes(array, input.batch.is_some()))
    }
}

impl<'py> Images<'py> {
    /// Planes of one channel without an axis for it: `H x W`, or `N x H x W` where `batched`.
    ///
    /// # Panics
    /// Where the array has other axes.
    pub fn planes(array: Array<'py>, batched: bool) -> Images<'py> {
        let (shape, strides) = (array.shape(), array.strides());
        let at = usize::from(batched);
        assert_eq!(shape.len(), at + 2);
        Images {
            batch: batched.then(|| shape[0]),
            batch_stride: if batched { strides[0] } else { 0 },
            shape: [shape[at], shape[at + 1], 1],
            strides: [strides[at], strides[at + 1], 0],
            has_channels: false,
            array: array.clone(),
        }
    }
}
