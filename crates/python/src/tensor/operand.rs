//! What callers give: arrays as they lie, and lists and numbers in the type of the arrays they meet.

use crate::errors::INPUT;
use crate::ndarray::{Array, input_error};
use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict, PyFloat, PyInt, PyList, PyTuple};
use vedette_tensor::{DType, Dims, Strides, View};

/// An operand whose elements a view can name.
pub enum Operand<'py> {
    Array(Array<'py>),
    /// One element, its bytes.
    Number(DType, [u64; 1]),
}

impl<'py> Operand<'py> {
    /// An array, or lists and numbers as `plain` elements.
    pub fn new(object: &Bound<'py, PyAny>, plain: DType) -> PyResult<Operand<'py>> {
        if !is_plain(object) {
            return array_operand(object);
        }
        match (plain, number(object)) {
            (DType::F32, Some(value)) => Ok(Operand::Number(plain, [u64::from((value as f32).to_bits())])),
            (DType::F64, Some(value)) => Ok(Operand::Number(plain, [value.to_bits()])),
            _ => plain_operand(object, plain),
        }
    }

    /// Two operands of one type, which plain ones take from the other; `float32` where both are plain.
    pub fn pair(a: &Bound<'py, PyAny>, b: &Bound<'py, PyAny>) -> PyResult<[Operand<'py>; 2]> {
        let (first, second) = if is_plain(a) {
            let second = Operand::new(b, DType::F32)?;
            (Operand::new(a, second.dtype())?, second)
        } else {
            let first = Operand::new(a, DType::F32)?;
            let second = Operand::new(b, first.dtype())?;
            (first, second)
        };
        if first.dtype() != second.dtype() {
            return Err(input_error(
                a.py(),
                format!(
                    "expected operands of one dtype, got {} and {}; convert one of them",
                    first.dtype(),
                    second.dtype()
                ),
            ));
        }
        Ok([first, second])
    }

    pub fn dtype(&self) -> DType {
        match self {
            Operand::Array(array) => array.dtype,
            Operand::Number(dtype, _) => *dtype,
        }
    }

    pub fn shape(&self) -> &[usize] {
        match self {
            Operand::Array(array) => array.shape(),
            Operand::Number(..) => &[],
        }
    }

    /// The array, if it is one.
    pub fn array(&self) -> Option<&Array<'py>> {
        match self {
            Operand::Array(array) => Some(array),
            Operand::Number(..) => None,
        }
    }

    /// A view of the elements.
    pub fn view(&self) -> View<'_> {
        match self {
            // SAFETY: NumPy's shape and strides reach the array's own elements only, which it keeps for as long as it
            // lives; strides and alignment were checked. As everywhere with NumPy, whoever writes meanwhile races.
            Operand::Array(array) => unsafe {
                View::from_raw_parts(
                    array.dtype,
                    Dims::from_slice(array.shape()),
                    strides(array),
                    array.pointer(),
                )
            },
            // SAFETY: one element, aligned for any type.
            Operand::Number(dtype, bytes) => unsafe {
                View::from_raw_parts(*dtype, Dims::new(), Strides::new(), bytes.as_ptr().cast())
            },
        }
    }
}

/// Strides in elements.
pub fn strides(array: &Array<'_>) -> Strides {
    let size = array.dtype.size() as isize;
    array.strides().iter().map(|stride| stride / size).collect()
}

/// Whether a view can name the elements: aligned, and strides of whole ones.
pub fn is_regular(array: &Array<'_>) -> bool {
    let size = array.dtype.size();
    array.pointer().addr().is_multiple_of(size)
        && array.strides().iter().all(|stride| stride.unsigned_abs().is_multiple_of(size))
}

fn is_plain(object: &Bound<'_, PyAny>) -> bool {
    !object.is_instance_of::<PyUntypedArray>()
        && (object.is_instance_of::<PyList>()
            || object.is_instance_of::<PyTuple>()
            || object.is_instance_of::<PyFloat>()
            || object.is_instance_of::<PyInt>())
}

fn number(object: &Bound<'_, PyAny>) -> Option<f64> {
    let is_number = object.is_instance_of::<PyFloat>() || object.is_instance_of::<PyInt>();
    is_number.then(|| object.extract().ok()).flatten()
}

fn array_operand<'py>(object: &Bound<'py, PyAny>) -> PyResult<Operand<'py>> {
    let array = Array::new(object)?;
    if array.dtype == DType::Bool {
        return Err(input_error(object.py(), "expected numbers, got bool; convert with astype"));
    }
    if is_regular(&array) {
        return Ok(Operand::Array(array));
    }
    let options: Bound<'_, PyDict> = [("order", "C")].into_py_dict(object.py())?;
    Ok(Operand::Array(Array::new(&array.object.call_method("copy", (), Some(&options))?)?))
}

/// Nested lists as an array of this type; nothing is cut off on the way.
fn plain_operand<'py>(object: &Bound<'py, PyAny>, dtype: DType) -> PyResult<Operand<'py>> {
    let py = object.py();
    let refused = |error: PyErr| INPUT.error(py, format!("cannot make {dtype} of this: {}", error.value(py)));
    let numpy = py.import("numpy")?;
    let found = numpy.call_method1("asarray", (object,)).map_err(refused)?;
    let kind = found.cast::<PyUntypedArray>().map(|array| numpy::PyArrayDescrMethods::kind(&array.dtype()));
    let fits = match kind {
        Ok(b'i' | b'u') => true,
        Ok(b'f') => dtype.is_float() || found.len().is_ok_and(|len| len == 0),
        _ => false,
    };
    if !fits {
        let kind = found.getattr("dtype")?;
        return Err(input_error(py, format!("expected {dtype} values, got {kind}")));
    }
    let array = numpy.call_method1("asarray", (object, dtype.name())).map_err(refused)?;
    Ok(Operand::Array(Array::new(&array)?))
}
