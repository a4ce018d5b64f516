//! ConvTranspose.

use super::Build;
use super::conv::{arguments, auto_pad, check_kernel, require_f32};
use super::packed::Packed;
use super::precision::Precision;
use super::residual::Bias;
use crate::attributes::Attributes;
use crate::op::{
    EngineError, Operator, PlanContext, Planned, RowWindow, RunContext, Step, TensorSpec, check_size,
};
use vedette_bfloat16::conv as bfloat16;
use vedette_simd::Isa;
use vedette_tensor::DType;
use vedette_tensor::conv::{TransposeAttributes, TransposePlan, TransposeShape, TransposeWeights};
use vedette_tensor::matmul::Epilogue;

pub(super) const OPERATORS: &[(&str, Build)] = &[("ConvTranspose", conv_transpose)];

struct ConvTranspose {
    attributes: TransposeAttributes,
    kernel: Option<Vec<i64>>,
    groups: i64,
    epilogue: Epilogue,
    precision: Precision,
    weights: Packed<(Isa, Vec<usize>), TransposeWeights>,
    bfloat16_weights: Packed<(Isa, Vec<usize>), bfloat16::TransposeWeights>,
}

/// The window attributes of a transposed convolution.
pub(super) fn transpose_attributes(attributes: &Attributes) -> Result<TransposeAttributes, EngineError> {
    let ints = |name: &str| Ok::<_, EngineError>(attributes.ints(name)?.unwrap_or_default());
    Ok(TransposeAttributes {
        strides: ints("strides")?,
        dilations: ints("dilations")?,
        pads: ints("pads")?,
        output_padding: ints("output_padding")?,
        output_shape: ints("output_shape")?,
        auto_pad: auto_pad(attributes)?,
    })
}

fn conv_transpose(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    Ok(Box::new(ConvTranspose {
        attributes: transpose_attributes(attributes)?,
        kernel: attributes.ints("kernel_shape")?,
        groups: attributes.int_or("group", 1)?,
        epilogue: Epilogue { activation: attributes.activation("activation")? },
        precision: Precision::of(attributes)?,
        weights: Packed::new(),
        bfloat16_weights: Packed::new(),
    }))
}

/// The rows that are read for each row of the output, where that is one input row, whatever the map's size.
pub(super) fn row_window(
    x: &[usize],
    w: &[usize],
    groups: i64,
    attributes: &TransposeAttributes,
) -> Option<RowWindow> {
    let shape = TransposeShape::new(x, w, groups, attributes).ok()?;
    shape.rows_by_row().filter(|_| attributes.output_shape.is_empty()).map(RowWindow::enlarged)
}

impl Operator for ConvTranspose {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        require_f32(context, 0..3)?;
        let (x, w) = (&context.input(0)?.spec, context.input(1)?);
        check_kernel(&self.kernel, &w.spec.shape)?;
        let shape = TransposeShape::new(&x.shape, &w.spec.shape, self.groups, &self.attributes)?;
        let y = shape.output();
        check_size(DType::F32, &y, context.memory_limit)?;
        let plan = self.plan_shape(context, shape)?;
        let mut scratch_bytes = plan.scratch_bytes();
        let bias = Bias::new(context.optional(2), y[1], &mut scratch_bytes)?;
        Ok(Planned::Step {
            in_place: vec![],
            scratch_bytes,
            outputs: vec![TensorSpec::channels_last(DType::F32, &y)],
            step: Box::new(ConvTransposeStep { plan, bias }),
        })
    }

    fn row_window(&self, context: &PlanContext<'_>, _: usize) -> Option<RowWindow> {
        let (x, w) = (context.optional(0)?, context.optional(1)?);
        row_window(&x.spec.shape, &w.spec.shape, self.groups, &self.attributes)
    }

    fn packed_bytes(&self) -> usize {
        self.weights.bytes() + self.bfloat16_weights.bytes()
    }
}

impl ConvTranspose {
    fn plan_shape(&self, context: &PlanContext<'_>, shape: TransposeShape) -> Result<Plan, EngineError> {
        let (x, w) = (&context.input(0)?.spec, context.input(1)?);
        let (isa, threads) = (context.isa, context.threads);
        if let Some(view) = &w.value
            && w.constant
            && self.precision.is_bfloat16(isa)
            && bfloat16::TransposeWeights::supports(&shape)
        {
            let packed = self.bfloat16_weights.get((isa, shape.packing_key()), || {
                let weights = bfloat16::TransposeWeights::new(isa, &shape, view);
                let bytes = weights.bytes();
                Ok::<_, EngineError>(Some((weights, bytes)))
            })?;
            if let Some(weights) = packed {
                let plan = bfloat16::TransposePlan::new(threads, &shape, &x.strides, weights, self.epilogue)?;
                return Ok(Plan::Bfloat16(plan));
            }
        }
        let layout = || TransposeWeights::layout(isa, &shape, &w.spec.strides);
        let packed = if w.constant {
            self.weights.get((isa, shape.packing_key()), || {
                Ok::<_, EngineError>(w.value.as_ref().map(|view| {
                    // SAFETY: the view has the shape and strides of the layout.
                    let weights = unsafe { layout().pack(view.as_ptr_of::<f32>()) };
                    let bytes = weights.bytes();
                    (weights, bytes)
                }))
            })?
        } else {
            None
        };
        let weights = packed.unwrap_or_else(|| layout().into());
        let plan = TransposePlan::new(threads, shape, &x.strides, weights, self.epilogue);
        Ok(Plan::Float32(Box::new(plan)))
    }
}

/// A transposed convolution of either precision.
enum Plan {
    Float32(Box<TransposePlan>),
    Bfloat16(bfloat16::TransposePlan),
}

impl Plan {
    fn scratch_bytes(&self) -> usize {
        match self {
            Plan::Float32(plan) => plan.scratch_bytes(),
            Plan::Bfloat16(plan) => plan.scratch_bytes(),
        }
    }
}

struct ConvTransposeStep {
    plan: Plan,
    bias: Bias,
}

impl Step for ConvTransposeStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let arguments = arguments(context, &self.bias, std::ptr::null());
        // SAFETY: the views are as planned and the output shares no memory.
        unsafe {
            match &self.plan {
                Plan::Float32(plan) => plan.run(&arguments, context.scratch, context.pool),
                Plan::Bfloat16(plan) => plan.run(&arguments, context.scratch, context.pool),
            }
        }
    }

    fn multiply_accumulates(&self) -> u64 {
        match &self.plan {
            Plan::Float32(plan) => plan.shape().work(),
            Plan::Bfloat16(plan) => plan.work(),
        }
    }

    fn precision(&self) -> &'static str {
        match self.plan {
            Plan::Float32(_) => "float32",
            Plan::Bfloat16(_) => "bfloat16",
        }
    }
}
