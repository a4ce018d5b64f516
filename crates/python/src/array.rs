//! NumPy arrays as views, and tensors as NumPy arrays.

use crate::errors;
use crate::spare_outputs::SpareOutputs;
use numpy::npyffi::{self, PY_ARRAY_API};
use numpy::{PyArrayDescr, PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};
use std::sync::{Arc, Weak};
use vedette_tensor::{DType, Dims, Strides, Tensor, View};

/// The element type of an array.
pub fn dtype_of(descriptor: &Bound<'_, PyArrayDescr>) -> Option<DType> {
    match (descriptor.kind(), descriptor.itemsize()) {
        (b'f', 4) => Some(DType::F32),
        (b'f', 8) => Some(DType::F64),
        (b'f', 2) => Some(DType::F16),
        (b'b', 1) => Some(DType::Bool),
        (b'i', 1) => Some(DType::I8),
        (b'i', 2) => Some(DType::I16),
        (b'i', 4) => Some(DType::I32),
        (b'i', 8) => Some(DType::I64),
        (b'u', 1) => Some(DType::U8),
        (b'u', 2) => Some(DType::U16),
        (b'u', 4) => Some(DType::U32),
        (b'u', 8) => Some(DType::U64),
        // The bfloat16 of ml_dtypes is an extension type, known by its name alone.
        (_, 2) => descriptor.typeobj().name().ok().filter(|name| name == "bfloat16").map(|_| DType::BF16),
        _ => None,
    }
}

/// The descriptor of an element type. Looking one up by its name takes longer than running a small network.
fn descriptor_of(py: Python<'_>, dtype: DType) -> PyResult<Bound<'_, PyArrayDescr>> {
    Ok(match dtype {
        DType::F32 => numpy::dtype::<f32>(py),
        DType::U8 => numpy::dtype::<u8>(py),
        DType::I64 => numpy::dtype::<i64>(py),
        DType::BF16 => {
            py.import("ml_dtypes")?;
            PyArrayDescr::new(py, dtype.name())?
        }
        _ => PyArrayDescr::new(py, dtype.name())?,
    })
}

/// Bytes below which a copy costs less than what it would spare.
const LEAST_KEPT_BYTES: usize = 16 * 1024;

/// An array whose elements a view can name: native byte order, aligned, strides of whole elements.
pub struct InputArray<'py> {
    array: Bound<'py, PyUntypedArray>,
    dtype: DType,
    /// Bools brought from outside may have other bytes than 0 and 1.
    bools: Option<Tensor>,
}

impl<'py> InputArray<'py> {
    /// The array, or a copy of it where its elements lie so that no view can name them.
    pub fn new(object: &Bound<'py, PyAny>) -> PyResult<InputArray<'py>> {
        let py = object.py();
        let mut array = match object.cast::<PyUntypedArray>() {
            Ok(array) => array.clone(),
            Err(_) => {
                let kind = object.get_type().name()?.to_string();
                return Err(errors::INPUT.error(py, format!("expected a NumPy array, got {kind}")));
            }
        };
        let Some(dtype) = dtype_of(&array.dtype()) else {
            return Err(errors::INPUT.error(py, format!("arrays of dtype {} cannot be used", array.dtype())));
        };
        let size = dtype.size();
        let regular = array.strides().iter().all(|stride| stride % size as isize == 0)
            && data_of(&array).addr().is_multiple_of(size)
            && array.dtype().is_native_byteorder() != Some(false);
        if !regular {
            let native = array.dtype().call_method1("newbyteorder", ("=",))?;
            let options: Bound<'_, PyDict> = [("order", "C")].into_py_dict(py)?;
            array = array.call_method("astype", (native,), Some(&options))?.cast_into()?;
        }
        let mut input = InputArray { array, dtype, bools: None };
        if dtype == DType::Bool {
            input.bools = Some(input.normalised_bools(py)?);
        }
        Ok(input)
    }

    /// A view of the elements.
    pub fn view(&self) -> View<'_> {
        self.bools.as_ref().map_or_else(|| self.view_as(self.dtype), Tensor::view)
    }

    fn view_as(&self, dtype: DType) -> View<'_> {
        let size = dtype.size() as isize;
        let shape: Dims = self.array.shape().into();
        let strides: Strides = self.array.strides().iter().map(|stride| stride / size).collect();
        // SAFETY: NumPy's shape and strides reach the array's own elements only, which it keeps for as long as it lives;
        // alignment was checked. As everywhere with NumPy, whoever writes to an array that is being read races.
        unsafe { View::from_raw_parts(dtype, shape, strides, data_of(&self.array)) }
    }

    fn normalised_bools(&self, py: Python<'_>) -> PyResult<Tensor> {
        let bytes: Vec<bool> =
            self.view_as(DType::U8).to_vec::<u8>().into_iter().map(|byte| byte != 0).collect();
        let mut tensor = Tensor::zeros(DType::Bool, self.array.shape())
            .map_err(|error| errors::MEMORY_LIMIT.error(py, error.to_string()))?;
        if let Some(target) = tensor.view_mut().slice_mut::<bool>() {
            target.copy_from_slice(&bytes);
        }
        Ok(tensor)
    }

    /// A tensor of the elements where they are, if they are many, nobody can write them through this array, and they
    /// lie in C order; else a copy. Whoever asks vouches that nobody writes them in another way.
    pub fn to_kept_tensor(&self) -> PyResult<Tensor> {
        let view = self.view();
        // SAFETY: the object is an array.
        let flags = unsafe { (*self.array.as_array_ptr()).fields.flags };
        let bytes = view.len() * self.dtype.size();
        let is_kept =
            self.bools.is_none() && flags & npyffi::NPY_ARRAY_WRITEABLE == 0 && view.is_contiguous();
        if !is_kept || bytes < LEAST_KEPT_BYTES {
            return self.to_tensor();
        }
        let owner = Arc::new(self.array.clone().unbind());
        // SAFETY: the array keeps its memory, and as the caller vouches nobody writes it.
        Ok(unsafe { Tensor::kept_by(owner, &view) })
    }

    /// A tensor with the same elements.
    pub fn to_tensor(&self) -> PyResult<Tensor> {
        let py = self.array.py();
        Tensor::copy_of(&self.view()).map_err(|error| errors::MEMORY_LIMIT.error(py, error.to_string()))
    }
}

fn data_of(array: &Bound<'_, PyUntypedArray>) -> *const u8 {
    // SAFETY: the object is an array, and the struct begins with the pointer to its data.
    unsafe { (*array.as_array_ptr()).fields.data.cast::<u8>().cast_const() }
}

/// What keeps the memory of an array that shows a tensor.
#[pyclass(frozen, module = "vedette._native")]
struct TensorOwner {
    tensor: Option<Tensor>,
    /// Where it goes when the last array over it is gone, and as which output.
    home: (Weak<SpareOutputs>, usize),
}

impl Drop for TensorOwner {
    fn drop(&mut self) {
        if let (Some(tensor), Some(spare)) = (self.tensor.take(), self.home.0.upgrade()) {
            spare.give(self.home.1, tensor);
        }
    }
}

/// The tensor as an array, without a copy; its memory becomes that of a later output of this number.
pub fn into_array<'py>(
    py: Python<'py>,
    mut tensor: Tensor,
    spare: &Arc<SpareOutputs>,
    number: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let descriptor = descriptor_of(py, tensor.dtype())?;
    let dims: Vec<npyffi::npy_intp> = tensor.shape().iter().map(|&dim| dim as npyffi::npy_intp).collect();
    let data = tensor.as_mut_ptr();
    let owner = TensorOwner { tensor: Some(tensor), home: (Arc::downgrade(spare), number) };
    let owner = Bound::new(py, owner)?;
    // SAFETY: the data holds the shape's elements in C order and lives in `owner`. The pointer of an owned tensor stays
    // when the tensor moves into its owner.
    unsafe { over(descriptor, dims, data, npyffi::NPY_ARRAY_WRITEABLE, owner.into_any()) }
}

/// An array over memory that `owner`, its base, keeps.
///
/// # Safety
/// The data holds `dims` elements in C order for as long as `owner` lives, free to be written where `flags` say so.
pub unsafe fn over<'py>(
    descriptor: Bound<'py, PyArrayDescr>,
    mut dims: Vec<npyffi::npy_intp>,
    data: *mut u8,
    flags: std::ffi::c_int,
    owner: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = owner.py();
    // SAFETY: the array takes over the references to the descriptor and to its base, which keeps the data.
    unsafe {
        let array = PY_ARRAY_API.PyArray_NewFromDescr(
            py,
            npyffi::get_type_object(py, npyffi::NpyTypes::PyArray_Type),
            descriptor.into_dtype_ptr(),
            dims.len() as std::ffi::c_int,
            dims.as_mut_ptr(),
            std::ptr::null_mut(),
            data.cast(),
            flags,
            std::ptr::null_mut(),
        );
        let array = Bound::from_owned_ptr_or_err(py, array)?;
        if PY_ARRAY_API.PyArray_SetBaseObject(py, array.as_ptr().cast(), owner.into_ptr()) < 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(array)
    }
}
