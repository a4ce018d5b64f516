//! Convolution and pooling of images, `[N, C, H, W]`.

use super::operand::Operand;
use super::target::write;
use crate::errors::{INPUT, MEMORY_LIMIT};
use crate::ndarray::{Array, input_error, level, new_array, output, pool};
use pyo3::prelude::*;
use vedette_memory::{Lease, default_pool};
use vedette_tensor::conv::{AutoPad, ConvArguments, ConvPlan, ConvShape, MAX_INPUTS, WindowAttributes};
use vedette_tensor::matmul::Epilogue;
use vedette_tensor::pool::{PoolPlan, PoolShape, Reduction};
use vedette_tensor::{DType, channels_last_strides};

fn attributes(
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    ceil_mode: bool,
) -> WindowAttributes {
    let signed = |values: &[usize]| values.iter().map(|&v| i64::try_from(v).unwrap_or(i64::MAX)).collect();
    WindowAttributes {
        strides: signed(&stride),
        dilations: signed(&dilation),
        pads: signed(&[padding, padding].concat()),
        auto_pad: AutoPad::NotSet,
        ceil_mode,
    }
}

fn check_input(py: Python<'_>, name: &str, operand: &Operand<'_>, rank: usize) -> PyResult<()> {
    if operand.dtype() != DType::F32 || operand.shape().len() != rank {
        let (dtype, shape) = (operand.dtype(), operand.shape());
        return Err(input_error(
            py,
            format!("expected {name} as float32 with {rank} axes, got {dtype} of shape {shape:?}"),
        ));
    }
    Ok(())
}

/// The output: as given, else a new one in channels-last memory, which the kernels write.
fn images<'py>(
    py: Python<'py>,
    out: Option<&Bound<'py, PyAny>>,
    shape: &[usize],
    inputs: &[&Array<'py>],
) -> PyResult<Array<'py>> {
    if out.is_some() {
        return output(py, out, DType::F32, shape, inputs, false);
    }
    let made = new_array(py, DType::F32, &[shape[0], shape[2], shape[3], shape[1]])?;
    Array::new(&made.object.call_method1("transpose", ((0, 3, 1, 2),))?)
}

/// Whether these are the strides of channels-last memory, where they are used at all.
fn is_channels_last(shape: &[usize], strides: &[isize]) -> bool {
    let expected = channels_last_strides(shape);
    shape.contains(&0)
        || shape
            .iter()
            .zip(strides)
            .zip(&expected)
            .all(|((&dim, stride), expected)| dim == 1 || stride == expected)
}

fn scratch(py: Python<'_>, bytes: usize) -> PyResult<Lease> {
    default_pool().acquire(bytes).map_err(|error| MEMORY_LIMIT.error(py, error.to_string()))
}

/// Pointers that go to where the GIL is released.
#[derive(Clone, Copy)]
struct Source([*const f32; 3]);

// SAFETY: they are only values here; the arrays they point into outlive the work.
unsafe impl Send for Source {}
// SAFETY: as above.
unsafe impl Sync for Source {}

impl Source {
    fn get(self) -> [*const f32; 3] {
        self.0
    }
}

/// Cross-correlation, as networks' convolutions.
#[pyfunction]
#[pyo3(signature = (x, weight, bias, stride, padding, dilation, groups, out=None, threads=0, isa=None))]
pub fn conv2d<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    weight: &Bound<'py, PyAny>,
    bias: Option<&Bound<'py, PyAny>>,
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    groups: usize,
    out: Option<&Bound<'py, PyAny>>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    let isa = level(py, isa)?;
    let (x, w) = (Operand::new(x, DType::F32)?, Operand::new(weight, DType::F32)?);
    check_input(py, "x", &x, 4)?;
    check_input(py, "weight", &w, 4)?;
    let window = attributes(stride, padding, dilation, false);
    let refused = |error: vedette_tensor::TensorError| INPUT.error(py, error.0);
    let groups = i64::try_from(groups).unwrap_or(i64::MAX);
    let shape = ConvShape::new(x.shape(), w.shape(), groups, &window).map_err(refused)?;
    let sizes = shape.output();
    let bias = bias.map(|bias| Operand::new(bias, DType::F32)).transpose()?;
    if let Some(bias) = &bias {
        check_input(py, "bias", bias, 1)?;
        if bias.shape()[0] != sizes[1] {
            let (got, channels) = (bias.shape()[0], sizes[1]);
            return Err(input_error(
                py,
                format!("expected a bias for each of {channels} channels, got {got}"),
            ));
        }
    }
    let bias = bias.map(|bias| bias.view().to_vec::<f32>());
    let inputs: Vec<&Array<'_>> = [x.array(), w.array()].into_iter().flatten().collect();
    let result = images(py, out, &sizes, &inputs)?;
    if result.len() == 0 {
        return Ok(result.object.into_any());
    }
    let pool = pool(threads);
    let cost = usize::try_from(shape.work() / 8).unwrap_or(usize::MAX);
    let (x, w) = (x.view(), w.view());
    let plan = ConvPlan::new(isa, pool.threads(), shape, x.strides(), w.strides(), None, Epilogue::default());
    let mut scratch = scratch(py, plan.scratch_bytes())?;
    let bias = bias.as_ref().map_or(std::ptr::null(), |bias| bias.as_ptr());
    let source = Source([x.as_ptr_of(), w.as_ptr_of(), bias]);
    write(
        py,
        &result,
        |strides| is_channels_last(&sizes, strides),
        channels_last_strides,
        cost,
        &pool,
        |to| {
            let [x, w, bias] = source.get();
            let out = to.as_mut_ptr_of();
            let further = [std::ptr::null(); MAX_INPUTS - 1];
            let arguments = ConvArguments { x, further, w, bias, residual: std::ptr::null(), out };
            // SAFETY: the views are as planned, the output channels-last and apart from them.
            unsafe { plan.run(&arguments, &mut scratch, &pool) };
        },
    )?;
    Ok(result.object.into_any())
}

/// The largest or the mean under each window.
#[pyfunction]
#[pyo3(signature = (x, average, kernel, stride, padding, dilation, ceil_mode, count_padding, out=None, threads=0, isa=None))]
pub fn pool2d<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    average: bool,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    ceil_mode: bool,
    count_padding: bool,
    out: Option<&Bound<'py, PyAny>>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    let isa = level(py, isa)?;
    let x = Operand::new(x, DType::F32)?;
    check_input(py, "x", &x, 4)?;
    // A window wholly within the padding would have nothing to take the largest of.
    if padding.iter().zip(kernel).any(|(&padding, kernel)| padding > kernel / 2) {
        return Err(input_error(
            py,
            format!("expected a padding of at most half the kernel {kernel:?}, got {padding:?}"),
        ));
    }
    let window = attributes(stride, padding, dilation, ceil_mode);
    let shape = PoolShape::new(x.shape(), &kernel, &window).map_err(|error| INPUT.error(py, error.0))?;
    let sizes = shape.output();
    let inputs: Vec<&Array<'_>> = x.array().into_iter().collect();
    let result = images(py, out, &sizes, &inputs)?;
    if result.len() == 0 {
        return Ok(result.object.into_any());
    }
    let pool = pool(threads);
    let x = x.view();
    let reduction = if average { Reduction::Average { include_pad: count_padding } } else { Reduction::Max };
    let plan = PoolPlan::new(isa, pool.threads(), shape, reduction, x.strides());
    let mut scratch = scratch(py, plan.scratch_bytes())?;
    let cost = result.len().saturating_mul(kernel[0] * kernel[1]);
    let source = Source([x.as_ptr_of(), std::ptr::null(), std::ptr::null()]);
    write(
        py,
        &result,
        |strides| is_channels_last(&sizes, strides),
        channels_last_strides,
        cost,
        &pool,
        |to| {
            // SAFETY: the input is as planned, the output channels-last and apart from it.
            unsafe { plan.run(source.get()[0], to.as_mut_ptr_of(), &mut scratch, &pool) };
        },
    )?;
    Ok(result.object.into_any())
}
