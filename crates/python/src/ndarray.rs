//! Python's arrays: any strides, nothing copied, outputs checked before they are written.

use crate::array::dtype_of;
use crate::errors::{INPUT, MEMORY_LIMIT, compute, of_panic};
use numpy::npyffi::flags::{NPY_ARRAY_C_CONTIGUOUS, NPY_ARRAY_WRITEABLE};
use numpy::npyffi::{self, PY_ARRAY_API};
use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use smallvec::SmallVec;
use std::panic::{AssertUnwindSafe, catch_unwind};
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
use vedette_tensor::DType;

/// Elements below which the GIL is kept: a few microseconds of work.
const SHORT: usize = 1 << 13;

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
    pub dtype: DType,
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
        let dtype = dtype_of(&descriptor);
        match dtype {
            Some(dtype) if descriptor.is_native_byteorder() != Some(false) => {
                Ok(Array { object: array, dtype })
            }
            _ => Err(input_error(py, format!("arrays of dtype {descriptor} cannot be used"))),
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
        self.flags() & NPY_ARRAY_C_CONTIGUOUS != 0 && self.pointer().addr().is_multiple_of(self.dtype.size())
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
        (start.wrapping_add_signed(low), start.wrapping_add_signed(high) + self.dtype.size())
    }

    /// Whether, as far as nested strides can tell, two elements share memory.
    fn overlaps_itself(&self) -> bool {
        if self.flags() & NPY_ARRAY_C_CONTIGUOUS != 0 || self.shape().contains(&0) {
            return false;
        }
        let axes = self.shape().iter().zip(self.strides()).filter(|&(&dim, _)| dim > 1);
        let mut axes: SmallVec<[(usize, usize); 6]> =
            axes.map(|(&dim, &stride)| (stride.unsigned_abs(), dim)).collect();
        axes.sort_unstable();
        // Each axis steps over all that the shorter ones reach.
        let mut reach = self.dtype.size();
        axes.into_iter().any(|(stride, dim)| {
            let overlaps = stride < reach;
            reach = reach.saturating_add(stride.saturating_mul(dim - 1));
            overlaps
        })
    }

    /// Whether the same elements lie at the same places.
    fn coincides(&self, other: &Array<'_>) -> bool {
        self.pointer() == other.pointer()
            && self.dtype.size() == other.dtype.size()
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

/// The array over the memory that an object offers for writing; a list offers none.
fn foreign_output<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    let py = object.py();
    let numpy = py.import("numpy")?;
    let array = if object.hasattr("__array_interface__")? {
        numpy.call_method1("asarray", (object,))
    } else if object.hasattr("__dlpack__")? {
        numpy.call_method1("from_dlpack", (object,))
    } else {
        let memory = py.import("builtins")?.call_method1("memoryview", (object,));
        memory.and_then(|memory| numpy.call_method1("asarray", (memory,)))
    };
    let wrong = || {
        let name = object.get_type().name().map_or_else(|_| "something else".into(), |name| name.to_string());
        input_error(
            py,
            format!("expected out to be a NumPy array or another over memory of its own, got {name}"),
        )
    };
    array.map_err(|_| wrong())?.cast_into().map_err(|_| wrong())
}

/// A new array, its elements not set.
pub fn new_array<'py>(py: Python<'py>, dtype: DType, shape: &[usize]) -> PyResult<Array<'py>> {
    let descriptor = match dtype {
        DType::U8 => numpy::dtype::<u8>(py),
        DType::I8 => numpy::dtype::<i8>(py),
        DType::U16 => numpy::dtype::<u16>(py),
        DType::I16 => numpy::dtype::<i16>(py),
        DType::U32 => numpy::dtype::<u32>(py),
        DType::I32 => numpy::dtype::<i32>(py),
        DType::U64 => numpy::dtype::<u64>(py),
        DType::I64 => numpy::dtype::<i64>(py),
        DType::F16 => numpy::dtype::<half::f16>(py),
        DType::F32 => numpy::dtype::<f32>(py),
        DType::F64 => numpy::dtype::<f64>(py),
        DType::BF16 | DType::Bool => {
            return Err(input_error(py, format!("no arrays of {dtype} are made; give an out")));
        }
    };
    let mut dims: SmallVec<[npyffi::npy_intp; 6]> =
        shape.iter().map(|&dim| dim as npyffi::npy_intp).collect();
    // SAFETY: the array takes over the reference to the descriptor; its elements are numbers, any bytes of which are
    // valid, and every operation writes all of them.
    let array = unsafe {
        let array = PY_ARRAY_API.PyArray_NewFromDescr(
            py,
            npyffi::get_type_object(py, npyffi::NpyTypes::PyArray_Type),
            descriptor.into_dtype_ptr(),
            dims.len() as std::ffi::c_int,
            dims.as_mut_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            0,
            std::ptr::null_mut(),
        );
        Bound::from_owned_ptr_or_err(py, array).map(|array| array.cast_into_unchecked::<PyUntypedArray>())
    };
    match array {
        Ok(object) => Ok(Array { object, dtype }),
        Err(_) => Err(MEMORY_LIMIT.error(py, format!("no memory for {dtype} of shape {shape:?}"))),
    }
}

/// Where results go: `out` if it is given, of this type and shape, writable, and apart from the inputs (or, where the
/// operation works in place, one of them); else a new array.
pub fn output<'py>(
    py: Python<'py>,
    out: Option<&Bound<'py, PyAny>>,
    dtype: DType,
    shape: &[usize],
    inputs: &[&Array<'py>],
    in_place: bool,
) -> PyResult<Array<'py>> {
    let Some(object) = out else {
        return new_array(py, dtype, shape);
    };
    let array = match object.cast::<PyUntypedArray>() {
        Ok(array) => array.clone(),
        Err(_) => foreign_output(object)?,
    };
    let out = Array::new(&array)?;
    if out.dtype != dtype || out.shape() != shape {
        return Err(input_error(
            py,
            format!(
                "expected out to be {} of shape {shape:?}, got {} of shape {:?}",
                dtype.name(),
                out.dtype.name(),
                out.shape()
            ),
        ));
    }
    if out.flags() & NPY_ARRAY_WRITEABLE == 0 {
        return Err(input_error(py, "out is read-only"));
    }
    if out.overlaps_itself() {
        return Err(input_error(
            py,
            format!("elements of out overlap each other (strides {:?})", out.strides()),
        ));
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
