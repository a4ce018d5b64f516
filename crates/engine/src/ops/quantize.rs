//! QuantizeLinear and DequantizeLinear: by tensor, by channel and by blocks.

use super::Build;
use super::planning::{
    axis_of, expect_dtype, input, invalid, known_scalar, layout, no_kernel, operator_by_rows, output_like,
    plan_map, step,
};
use super::scratch::{ScratchPlan, ScratchTensor};
use crate::attributes::Attributes;
use crate::op::{EngineError, PlanContext, PlanInput, Planned, RowWindow, TensorSpec};
use vedette_integer::elementwise as bytes;
use vedette_integer::elementwise::Bytes;
use vedette_simd::Isa;
use vedette_tensor::elementwise::{Kernel, Map, dequantize, quantize};
use vedette_tensor::movement::GridGather;
use vedette_tensor::{DType, Dims, Strides, Tensor, View};

pub(super) const OPERATORS: &[(&str, Build)] = &[
    ("QuantizeLinear", |attributes| {
        let grouping = Grouping::new(attributes)?;
        let given = match attributes.0.get("output_dtype") {
            // ONNX's 0 stands for a type that is not given.
            Some(value) if value.as_i64() != Some(0) && !value.is_null() => {
                Some(attributes.dtype("output_dtype")?)
            }
            _ => None,
        };
        let plan = move |context: &PlanContext<'_>| {
            require_f32(context.input(0)?, "QuantizeLinear")?;
            let to = context.optional(2).map(|zero_point| zero_point.spec.dtype);
            let to = to.or(given).unwrap_or(DType::U8);
            grouping.plan(context, Direction::Quantize, to)
        };
        operator_by_rows(plan, move |context| grouping.row_window(context))
    }),
    ("DequantizeLinear", |attributes| {
        let grouping = Grouping::new(attributes)?;
        let plan = move |context: &PlanContext<'_>| {
            let from = context.input(0)?.spec.dtype;
            grouping.plan(context, Direction::Dequantize, from)
        };
        operator_by_rows(plan, move |context| grouping.row_window(context))
    }),
];

/// An error unless the input is float32: other real numbers are sound, but there is no kernel for them.
fn require_f32(input: &PlanInput<'_>, name: &str) -> Result<(), EngineError> {
    match input.spec.dtype {
        DType::F16 | DType::BF16 | DType::F64 => Err(no_kernel(name, input.spec.dtype)),
        _ => expect_dtype(input, DType::F32),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Quantize,
    Dequantize,
}

impl Direction {
    /// The kernel where every element has the same parameters.
    fn kernel_of_one(self, isa: Isa, integer: Bytes, scale: f32, zero_point: u8) -> Kernel<2> {
        match self {
            Direction::Quantize => bytes::quantize(isa, integer, scale, zero_point),
            Direction::Dequantize => bytes::dequantize(isa, integer, scale, zero_point),
        }
    }

    /// The kernel that reads parameters with every element.
    fn kernel(self, isa: Isa, integer: DType) -> Result<Kernel<4>, EngineError> {
        let kernel = match (self, Bytes::new(integer)) {
            (Direction::Quantize, Some(integer)) => Some(bytes::quantize_by(isa, integer)),
            (Direction::Dequantize, Some(integer)) => Some(bytes::dequantize_by(isa, integer)),
            (Direction::Quantize, None) => quantize(integer),
            (Direction::Dequantize, None) => dequantize(integer),
        };
        let name = match self {
            Direction::Quantize => "QuantizeLinear",
            Direction::Dequantize => "DequantizeLinear",
        };
        kernel.ok_or_else(|| no_kernel(name, integer))
    }
}

/// Which elements share their parameters.
#[derive(Clone, Copy)]
struct Grouping {
    axis: i64,
    /// Neighbours along the axis that share them; 0 where there is one for each index of the axis.
    block: usize,
}

/// How the parameters of a node lie beside its data.
enum Parameter {
    /// Seen from the data: one value, or one for each index of an axis.
    Seen(Dims, Strides),
    /// Repeated along the axis of the blocks, to the shape of the data.
    Repeated(Box<GridGather>, ScratchTensor),
}

impl Parameter {
    fn spec(&self, dtype: DType, repeated: &TensorSpec) -> TensorSpec {
        match self {
            Parameter::Seen(shape, strides) => {
                TensorSpec { dtype, shape: shape.clone(), strides: strides.clone() }
            }
            Parameter::Repeated(..) => TensorSpec { dtype, ..repeated.clone() },
        }
    }
}

impl Grouping {
    fn new(attributes: &Attributes) -> Result<Grouping, EngineError> {
        let block = attributes.int_or("block_size", 0)?;
        let Ok(block) = usize::try_from(block) else {
            return invalid(format!("attribute `block_size` is {block}"));
        };
        Ok(Grouping { axis: attributes.int_or("axis", 1)?, block })
    }

    /// Row by row, where rows do not differ in their parameters.
    fn row_window(self, context: &PlanContext<'_>) -> Option<RowWindow> {
        let mut parameters = context.inputs.iter().skip(1).flatten();
        let alike = [1, -3].contains(&self.axis) && self.block == 0;
        (alike || parameters.all(|input| input.spec.len() == 1)).then_some(RowWindow::SAME)
    }

    fn plan(
        self,
        context: &PlanContext<'_>,
        direction: Direction,
        integer: DType,
    ) -> Result<Planned, EngineError> {
        require_f32(context.input(1)?, "quantization with scales")?;
        if let Some(zero_point) = context.optional(2) {
            expect_dtype(zero_point, integer)?;
        }
        if let Some(integer) = Bytes::new(integer)
            && let Some(scale) = one_value::<f32>(context.optional(1))?
            && let Some(zero_point) = zero_point_of_all(context, integer)?
        {
            return plan_map(
                context,
                direction.kernel_of_one(context.isa, integer, scale, zero_point),
                [0, 0],
            );
        }
        let kernel = direction.kernel(context.isa, integer)?;
        let spec = &context.input(0)?.spec;
        let output = output_like(kernel.output_dtype(), spec);
        let repeated = TensorSpec { dtype: DType::F32, ..output.clone() };
        let mut scratch = ScratchPlan::default();
        let scale = self.parameter(context, 1, &repeated, &mut scratch)?;
        let zero_point = match context.optional(2) {
            Some(_) => Some(self.parameter(context, 2, &repeated, &mut scratch)?),
            None => None,
        };
        let scales = scale.spec(DType::F32, &repeated);
        let zeros = match &zero_point {
            Some(zero_point) => zero_point.spec(integer, &repeated),
            None => TensorSpec::contiguous(integer, &[]),
        };
        let map = Map::new(kernel, [layout(&output), layout(spec), layout(&scales), layout(&zeros)])?;
        let zero = Tensor::zeros(integer, &[]).map_err(|error| EngineError::Memory(error.0))?;
        let scratch_bytes = scratch.bytes();
        let step = step(move |context| {
            for (i, parameter) in [(1, Some(&scale)), (2, zero_point.as_ref())] {
                if let Some(Parameter::Repeated(gather, to)) = parameter {
                    gather.run(
                        input(context.inputs, i),
                        &mut to.view_mut(&mut *context.scratch),
                        context.pool,
                    );
                }
            }
            let scratch = &*context.scratch;
            let view = |i: usize, parameter: &Parameter| -> View<'_> {
                match parameter {
                    // SAFETY: the parameter's own elements, seen along one axis of several.
                    Parameter::Seen(shape, strides) => unsafe {
                        input(context.inputs, i).reinterpret(shape.clone(), strides.clone(), 0)
                    },
                    Parameter::Repeated(_, tensor) => tensor.view(scratch),
                }
            };
            let scale = view(1, &scale);
            let zero_point = zero_point.as_ref().map_or_else(|| zero.view(), |parameter| view(2, parameter));
            map.run(&[input(context.inputs, 0), &scale, &zero_point], &mut context.outputs[0], context.pool);
        });
        Ok(Planned::Step { outputs: vec![output], in_place: Vec::new(), scratch_bytes, step })
    }

    /// How parameter `i` is read beside data of the shape and memory order of `like`.
    fn parameter(
        self,
        context: &PlanContext<'_>,
        i: usize,
        like: &TensorSpec,
        scratch: &mut ScratchPlan,
    ) -> Result<Parameter, EngineError> {
        let data = &context.input(0)?.spec;
        let spec = &context.input(i)?.spec;
        if spec.len() == 1 && self.block == 0 {
            return Ok(Parameter::Seen(Dims::new(), Strides::new()));
        }
        let axis = axis_of(self.axis, data.shape.len())?;
        let size = data.shape[axis];
        if self.block == 0 {
            if spec.shape[..] != [size] {
                let found = &spec.shape[..];
                return invalid(format!("input {i} has shape {found:?}, expected one value or {size}"));
            }
            let mut shape = Dims::from_elem(1, data.shape.len() - axis);
            let mut strides = Strides::from_elem(0, data.shape.len() - axis);
            (shape[0], strides[0]) = (size, spec.strides[0]);
            return Ok(Parameter::Seen(shape, strides));
        }
        let mut expected = data.shape.clone();
        expected[axis] = size.div_ceil(self.block);
        if spec.shape != expected {
            let (found, expected) = (&spec.shape[..], &expected[..]);
            return invalid(format!("input {i} has shape {found:?}, expected {expected:?} for these blocks"));
        }
        let to = TensorSpec { dtype: spec.dtype, ..like.clone() };
        let indices: Vec<Vec<usize>> = data
            .shape
            .iter()
            .enumerate()
            .map(|(own, &dim)| (0..dim).map(|i| if own == axis { i / self.block } else { i }).collect())
            .collect();
        let gather = GridGather::new(layout(spec), &indices, layout(&to))?;
        Ok(Parameter::Repeated(Box::new(gather), scratch.tensor(&to)?))
    }
}

/// The value of a constant of one element.
fn one_value<T: vedette_tensor::Element>(input: Option<&PlanInput<'_>>) -> Result<Option<T>, EngineError> {
    match input {
        Some(input) if input.constant && input.spec.len() == 1 => known_scalar::<T>(input),
        _ => Ok(None),
    }
}

/// The bits of the zero point, where it is a constant of one element or absent.
fn zero_point_of_all(context: &PlanContext<'_>, integer: Bytes) -> Result<Option<u8>, EngineError> {
    let Some(input) = context.optional(2) else { return Ok(Some(0)) };
    match integer {
        Bytes::U8 => one_value::<u8>(Some(input)),
        Bytes::I8 => Ok(one_value::<i8>(Some(input))?.map(|zero_point| zero_point as u8)),
    }
}
