//! QuantizedConvTranspose.

use super::product::{Forms, PackedProduct, ProductAttributes, RESIDUAL, WEIGHTS, pointer_of};
use crate::attributes::Attributes;
use crate::op::{
    EngineError, Operator, PlanContext, Planned, RowWindow, RunContext, Step, TensorSpec, check_size,
};
use crate::ops::Build;
use crate::ops::conv::check_kernel;
use crate::ops::conv_transpose::{row_window, transpose_attributes};
use std::sync::Arc;
use vedette_integer::conv::{ConvArguments, TransposePlan, TransposeWeights};
use vedette_simd::Isa;
use vedette_tensor::conv::{TransposeAttributes, TransposeShape};

pub(super) const OPERATORS: &[(&str, Build)] = &[("QuantizedConvTranspose", conv_transpose)];

struct ConvTranspose {
    window: TransposeAttributes,
    kernel: Option<Vec<i64>>,
    groups: i64,
    attributes: ProductAttributes,
    forms: Forms<(Isa, Vec<usize>), TransposeWeights>,
}

fn conv_transpose(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    Ok(Box::new(ConvTranspose {
        window: transpose_attributes(attributes)?,
        kernel: attributes.ints("kernel_shape")?,
        groups: attributes.int_or("group", 1)?,
        attributes: ProductAttributes::new(attributes, "x_zero_point")?,
        forms: Forms::new(),
    }))
}

impl Operator for ConvTranspose {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        self.attributes.check(context)?;
        if context.optional(RESIDUAL).is_some() {
            return Err(EngineError::Unsupported("a transposed convolution with a residual".to_owned()));
        }
        let (x, w) = (&context.input(0)?.spec, context.input(WEIGHTS)?);
        check_kernel(&self.kernel, &w.spec.shape)?;
        let shape = TransposeShape::new(&x.shape, &w.spec.shape, self.groups, &self.window)?;
        let y = shape.output();
        let dtype = self.attributes.output_dtype(context.rounded);
        check_size(dtype, &y, context.memory_limit)?;
        TransposePlan::check(&shape)?;
        let zero_point = self.attributes.zero_point;
        let packed = self.forms.get((context.isa, shape.packing_key()), || {
            let Some(view) = &w.value else { return Ok(None) };
            let weights = TransposeWeights::new(context.isa, &shape, view, zero_point);
            let repeats = TransposeWeights::repeats(&shape);
            let epilogue =
                self.attributes.epilogue(context, y[1], weights.largest_sum(), repeats, context.rounded)?;
            let bytes = weights.bytes() + epilogue.bytes();
            let form = PackedProduct { weights: Arc::new(weights), epilogue: Arc::new(epilogue) };
            Ok::<_, EngineError>(Some((form, bytes)))
        })?;
        let packed = packed.ok_or_else(|| EngineError::Invalid("the weights are not known".to_owned()))?;
        let (weights, epilogue) = (packed.weights.clone(), packed.epilogue.clone());
        let plan = TransposePlan::new(context.threads, &shape, &x.strides, zero_point, weights, epilogue)?;
        Ok(Planned::Step {
            in_place: vec![],
            scratch_bytes: plan.scratch_bytes(),
            outputs: vec![TensorSpec::channels_last(dtype, &y)],
            step: Box::new(ConvTransposeStep { plan, work: shape.work() }),
        })
    }

    fn row_window(&self, context: &PlanContext<'_>, _: usize) -> Option<RowWindow> {
        let (x, w) = (context.optional(0)?, context.optional(WEIGHTS)?);
        row_window(&x.spec.shape, &w.spec.shape, self.groups, &self.window)
    }

    fn packed_bytes(&self) -> usize {
        self.forms.bytes()
    }
}

struct ConvTransposeStep {
    plan: TransposePlan,
    work: u64,
}

impl Step for ConvTransposeStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let arguments = ConvArguments {
            x: pointer_of(context.inputs, 0),
            residual: std::ptr::null(),
            out: context.outputs[0].as_mut_ptr(),
        };
        // SAFETY: the views are as planned and the output shares no memory.
        unsafe { self.plan.run(&arguments, context.scratch, context.pool) };
    }

    fn multiply_accumulates(&self) -> u64 {
        self.work
    }
}
