//! Python's arrays as frames: any strides, nothing copied, outputs checked before they are written.

use crate::errors::{INPUT, compute, of_panic};
use numpy::npyffi::flags::{NPY_ARRAY_C_CONTIGUOUS, NPY_ARRAY_WRITEABLE};
use numpy::{
    Element, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use vedette_image::{Frame, FrameMut, Sample};
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

/// Elements below which the GIL is kept: a few microseconds of work.
const SHORT: usize = 1 << 13;

/// An element type of images and of what is made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    U8,
    I8,
    U16,
    F16,
    F32,
}

impl Kind {
    fn of(code: u8, size: usize) -> Option<Kind> {
        Some(match (code, size) {
            (b'u', 1) => Kind::U8,
            (b'i', 1) => Kind::I8,
            (b'u', 2) => Kind::U16,
            (b'f', 2) => Kind::F16,
            (b'f', 4) => Kind::F32,
            _ => return None,
        })
    }

    pub fn size(self) -> usize {
        match self {
            Kind::U8 | Kind::I8 => 1,
            Kind::U16 | Kind::F16 => 2,
            Kind::F32 => 4,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::U8 => "uint8",
            Kind::I8 => "int8",
            Kind::U16 => "uint16",
            Kind::F16 => "float16",
            Kind::F32 => "float32",
        }
    }
}

/// A wrong argument.
pub fn input_error(py: Python<'_>, message: impl Into<String>) -> PyErr {
    INPUT.error(py, message)
}

/// A pool of `count` threads, of the default number where it is 0.
pub fn pool(count: usize) -> ThreadPool {
    ThreadPool::new(if count == 0 { vedette_runtime::num_threads() } else { count })
}

/// The level of that name, the one in use where there is none.
pub fn level(py: Python<'_>, name: Option<&str>) -> PyResult<Isa> {
    let Some(name) = name else {
        return Ok(vedette_simd::isa());
    };
    Isa::from_name(name).ok_or_else(|| input_error(py, format!("this CPU has no level {name:?}")))
}

/// Works on `elements` elements, without the GIL unless that is a matter of microseconds; a panic becomes an error.
pub fn work(py: Python<'_>, elements: usize, f: impl FnOnce() + Send) -> PyResult<()> {
    if elements > SHORT {
        return compute(py, f);
    }
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| of_panic(py, payload.as_ref()))
}

/// An array, with whatever keeps its memory.
#[derive(Clone)]
pub struct Array<'py> {
    pub object: Bound<'py, PyUntypedArray>,
    pub kind: Kind,
}

// The array's own words, read without a call.
impl<'py> Array<'py> {
    /// The array an object is or offers: NumPy's, the array interface, DLPack, or the buffer protocol.
    pub fn new(object: &Bound<'py, PyAny>) -> PyResult<Array<'py>> {
        let py = object.py();
        let array = match object.cast::<PyUntypedArray>() {
            Ok(array) => array.clone(),
            Err(_) => foreign(object)?,
        };
        let descriptor = array.dtype();
        let kind = Kind::of(descriptor.kind(), descriptor.itemsize());
        match kind {
            Some(kind) if descriptor.is_native_byteorder() != Some(false) => {
                Ok(Array { object: array, kind })
            }
            _ => Err(input_error(py, format!("expected uint8, uint16 or float32 values, got {descriptor}"))),
        }
    }

    pub fn pointer(&self) -> *mut u8 {
        // SAFETY: the object is an array, whose struct is readable as long as it lives.
        unsafe { (*self.object.as_array_ptr()).fields.data.cast() }
    }

    pub fn shape(&self) -> &[usize] {
        self.object.shape()
    }

    pub fn strides(&self) -> &[isize] {
        self.object.strides()
    }

    pub fn len(&self) -> usize {
        self.shape().iter().product()
    }

    fn flags(&self) -> i32 {
        // SAFETY: as above.
        unsafe { (*self.object.as_array_ptr()).fields.flags }
    }

    pub fn is_contiguous(&self) -> bool {
        self.flags() & NPY_ARRAY_C_CONTIGUOUS != 0 && self.pointer().addr().is_multiple_of(self.kind.size())
    }

    /// First and last address, exclusive, of the elements.
    fn extent(&self) -> (usize, usize) {
        let start = self.pointer().addr();
        if self.shape().contains(&0) {
            return (start, start);
        }
        let (mut low, mut high) = (0isize, 0isize);
        for (&dim, &stride) in self.shape().iter().zip(self.strides()) {
            let reach = (dim as isize - 1) * stride;
            if reach < 0 { low += reach } else { high += reach }
        }
        (start.wrapping_add_signed(low), start.wrapping_add_signed(high) + self.kind.size())
    }

    /// Whether the same elements lie at the same places.
    fn coincides(&self, other: &Array<'_>) -> bool {
        self.pointer() == other.pointer()
            && self.kind.size() == other.kind.size()
            && self.shape() == other.shape()
            && self.strides() == other.strides()
    }
}

fn foreign<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    let py = object.py();
    let numpy = py.import("numpy")?;
    let convert = if !object.hasattr("__array_interface__")?
        && !object.hasattr("__array__")?
        && object.hasattr("__dlpack__")?
    {
        "from_dlpack"
    } else {
        "asarray"
    };
    let array = numpy.call_method1(convert, (object,))?;
    array.cast_into().map_err(|_| PyTypeError::new_err("expected an array"))
}

/// A new array, its elements not set.
fn new_array<'py>(py: Python<'py>, kind: Kind, shape: &[usize]) -> Array<'py> {
    fn of<'py, T: Element>(py: Python<'py>, shape: &[usize]) -> Bound<'py, PyUntypedArray> {
        // SAFETY: the elements are numbers, any bytes of which are valid, and every operation writes all of them.
        unsafe { PyArrayDyn::<T>::new(py, shape, false) }.as_untyped().clone()
    }
    let object = match kind {
        Kind::U8 => of::<u8>(py, shape),
        Kind::I8 => of::<i8>(py, shape),
        Kind::U16 => of::<u16>(py, shape),
        Kind::F16 => of::<half::f16>(py, shape),
        Kind::F32 => of::<f32>(py, shape),
    };
    Array { object, kind }
}

/// Where results go: `out` if it is given, of this type and shape, writable, and apart from the inputs (or, where the
/// operation works in place, one of them); else a new array.
pub fn output<'py>(
    py: Python<'py>,
    out: Option<&Bound<'py, PyAny>>,
    kind: Kind,
    shape: &[usize],
    inputs: &[&Array<'py>],
    in_place: bool,
) -> PyResult<Array<'py>> {
    let Some(object) = out else {
        return Ok(new_array(py, kind, shape));
    };
    let Ok(array) = object.cast::<PyUntypedArray>() else {
        let name = object.get_type().name()?;
        return Err(input_error(py, format!("expected out to be a NumPy array, got {name}")));
    };
    let out = Array::new(array)?;
    if out.kind != kind || out.shape() != shape {
        return Err(input_error(
            py,
            format!(
                "expected out to be {} of shape {shape:?}, got {} of shape {:?}",
                kind.name(),
                out.kind.name(),
                out.shape()
            ),
        ));
    }
    if out.flags() & NPY_ARRAY_WRITEABLE == 0 {
        return Err(input_error(py, "out is read-only"));
    }
    let repeats = out.shape().iter().zip(out.strides()).any(|(&dim, &stride)| dim > 1 && stride == 0);
    if repeats {
        return Err(input_error(py, "the elements of out overlap each other (a stride of 0)"));
    }
    let (start, end) = out.extent();
    for input in inputs {
        let (first, last) = input.extent();
        if start < last && first < end && !(in_place && out.coincides(input)) {
            return Err(input_error(py, "out overlaps an input; give it memory of its own"));
        }
    }
    Ok(out)
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
        let array = Array::new(object)?;
        let py = object.py();
        Images::of(array).map_err(|message| input_error(py, message))
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
            return Err(format!("expected 1 to 4 channels, got {} (shape {shape:?})", dims[2]));
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

/// Where images go: as [`output`], then as frames.
pub fn output_images<'py>(
    py: Python<'py>,
    out: Option<&Bound<'py, PyAny>>,
    kind: Kind,
    shape: &[usize],
    channels: usize,
    inputs: &[&Array<'py>],
) -> PyResult<Images<'py>> {
    let array = output(py, out, kind, shape, inputs, false)?;
    // An output without an axis of channels may be a batch of gray images: three axes that look like one image.
    let (shape, strides) = (array.shape(), array.strides());
    let has_channels = shape.last() == Some(&channels) && shape.len() > 2;
    let mut dims: Vec<usize> = shape.to_vec();
    let mut steps: Vec<isize> = strides.to_vec();
    if !has_channels {
        dims.push(1);
        steps.push(0);
    }
    let batched = dims.len() == 4;
    let at = usize::from(batched);
    Ok(Images {
        batch: batched.then(|| dims[0]),
        batch_stride: if batched { steps[0] } else { 0 },
        shape: [dims[at], dims[at + 1], dims[at + 2]],
        strides: [steps[at], steps[at + 1], steps[at + 2]],
        has_channels,
        array: array.clone(),
    })
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
