//! QuantizedMatMul and DynamicQuantizedMatMul.

use super::product::{
    Forms, PACKED, PackedProduct, ProductAttributes, Residual, WEIGHTS, pointer_of, require_constant,
    reserve, vector,
};
use crate::attributes::Attributes;
use crate::op::{EngineError, Operator, PlanContext, Planned, RunContext, Step, TensorSpec, check_size};
use crate::ops::Build;
use crate::ops::packed::Packed;
use crate::ops::planning::{expect_dtype, invalid};
use crate::ops::scratch::{ScratchPlan, ScratchTensor};
use std::sync::Arc;
use vedette_integer::PackedColumns;
use vedette_integer::matmul::{
    DynamicArguments, DynamicParameters, DynamicPlan, MatMulArguments, MatMulPlan, pack_columns,
};
use vedette_simd::Isa;
use vedette_tensor::{Activation, DType, Dims};

pub(super) const OPERATORS: &[(&str, Build)] =
    &[("QuantizedMatMul", matmul), ("DynamicQuantizedMatMul", dynamic)];

/// The shape of `A [..., K]` times `B [K, N]`, and N.
fn output_shape(context: &PlanContext<'_>) -> Result<(Dims, usize), EngineError> {
    let (a, b) = (&context.input(0)?.spec.shape, &context.input(WEIGHTS)?.spec.shape);
    let (&[depth, columns], Some((last, rows))) = (&b[..], a.split_last()) else {
        return invalid(format!("a product of shapes {a:?} and {b:?}, expected [..., K] and [K, N]"));
    };
    if *last != depth {
        return invalid(format!("a product of shapes {a:?} and {b:?}: {last} columns against {depth} rows"));
    }
    Ok((rows.iter().copied().chain([columns]).collect(), columns))
}

struct MatMul {
    attributes: ProductAttributes,
    forms: Forms<Isa, PackedColumns>,
}

fn matmul(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    let attributes = ProductAttributes::new(attributes, "a_zero_point")?;
    Ok(Box::new(MatMul { attributes, forms: Forms::new() }))
}

impl Operator for MatMul {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        self.attributes.check(context)?;
        let (shape, columns) = output_shape(context)?;
        let dtype = self.attributes.output_dtype(context.rounded);
        check_size(dtype, &shape, context.memory_limit)?;
        let packed = self.forms.get(context.isa, || {
            let Some(view) = &context.input(WEIGHTS)?.value else { return Ok(None) };
            let weights = pack_columns(context.isa, view, self.attributes.zero_point);
            let epilogue =
                self.attributes.epilogue(context, columns, weights.largest_sum(), 1, context.rounded)?;
            let bytes = weights.bytes() + epilogue.bytes();
            let form = PackedProduct { weights: Arc::new(weights), epilogue: Arc::new(epilogue) };
            Ok::<_, EngineError>(Some((form, bytes)))
        })?;
        let packed = packed.ok_or_else(|| EngineError::Invalid("the weights are not known".to_owned()))?;
        let output = TensorSpec::contiguous(dtype, &shape);
        let a = &context.input(0)?.spec;
        let (weights, epilogue) = (packed.weights.clone(), packed.epilogue.clone());
        let plan = MatMulPlan::new(context.threads, (&a.shape, &a.strides), weights, epilogue);
        let mut scratch = ScratchPlan::default();
        let own_scratch = reserve(&mut scratch, plan.scratch_bytes())?;
        let residual = Residual::new(context, DType::U8, &output, &mut scratch)?;
        Ok(Planned::Step {
            in_place: residual.in_place(DType::U8, &output),
            scratch_bytes: scratch.bytes(),
            outputs: vec![output],
            step: Box::new(MatMulStep { plan, own_scratch, residual }),
        })
    }

    fn released_inputs(&self) -> &[usize] {
        if self.forms.is_made() { PACKED } else { &[] }
    }

    fn packed_bytes(&self) -> usize {
        self.forms.bytes()
    }
}

struct MatMulStep {
    plan: MatMulPlan,
    own_scratch: ScratchTensor,
    residual: Residual,
}

impl Step for MatMulStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let arguments = MatMulArguments {
            a: pointer_of(context.inputs, 0),
            residual: self.residual.pointer(context),
            out: context.outputs[0].as_mut_ptr(),
        };
        let scratch = &mut context.scratch[self.own_scratch.bytes()];
        // SAFETY: the views are as planned, and of all of them only the residual may share the output's memory.
        unsafe { self.plan.run(&arguments, scratch, context.pool) };
    }

    fn multiply_accumulates(&self) -> u64 {
        self.plan.work()
    }
}

struct DynamicForm {
    columns: Arc<PackedColumns>,
    parameters: Arc<DynamicParameters>,
}

struct DynamicMatMul {
    activation: Option<Activation>,
    forms: Packed<Isa, DynamicForm>,
}

fn dynamic(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    Ok(Box::new(DynamicMatMul { activation: attributes.activation("activation")?, forms: Packed::new() }))
}

/// The scales of the columns, the bias.
const SCALES: usize = 2;
const BIAS: usize = 3;

impl Operator for DynamicMatMul {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        expect_dtype(context.input(0)?, DType::F32)?;
        expect_dtype(context.input(WEIGHTS)?, DType::I8)?;
        for i in [WEIGHTS, SCALES, BIAS] {
            require_constant(context, i)?;
        }
        context.input(SCALES)?;
        let (shape, columns) = output_shape(context)?;
        check_size(DType::F32, &shape, context.memory_limit)?;
        let packed = self.forms.get(context.isa, || {
            let Some(view) = &context.input(WEIGHTS)?.value else { return Ok(None) };
            let (scales, bias) = (vector(context, SCALES, columns)?, vector(context, BIAS, columns)?);
            let weights = pack_columns(context.isa, view, 0);
            let bytes = weights.bytes() + 2 * columns * size_of::<f32>();
            let scales = scales.unwrap_or_default();
            let parameters = DynamicParameters::new(context.isa, &scales, bias.as_deref(), self.activation);
            let form = DynamicForm { columns: Arc::new(weights), parameters: Arc::new(parameters) };
            Ok::<_, EngineError>(Some((form, bytes)))
        })?;
        let packed = packed.ok_or_else(|| EngineError::Invalid("the weights are not known".to_owned()))?;
        let output = TensorSpec::contiguous(DType::F32, &shape);
        let a = &context.input(0)?.spec;
        let (columns, parameters) = (packed.columns.clone(), packed.parameters.clone());
        let plan = DynamicPlan::new(context.threads, (&a.shape, &a.strides), columns, parameters);
        let mut scratch = ScratchPlan::default();
        let own_scratch = reserve(&mut scratch, plan.scratch_bytes())?;
        let residual = Residual::new(context, DType::F32, &output, &mut scratch)?;
        Ok(Planned::Step {
            in_place: residual.in_place(DType::F32, &output),
            scratch_bytes: scratch.bytes(),
            outputs: vec![output],
            step: Box::new(DynamicStep { plan, own_scratch, residual }),
        })
    }

    fn released_inputs(&self) -> &[usize] {
        if self.forms.is_made() { &[WEIGHTS, SCALES, BIAS] } else { &[] }
    }

    fn packed_bytes(&self) -> usize {
        self.forms.bytes()
    }
}

struct DynamicStep {
    plan: DynamicPlan,
    own_scratch: ScratchTensor,
    residual: Residual,
}

impl Step for DynamicStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let arguments = DynamicArguments {
            a: pointer_of(context.inputs, 0).cast(),
            residual: self.residual.pointer(context).cast(),
            out: context.outputs[0].as_mut_ptr_of::<f32>(),
        };
        let scratch = &mut context.scratch[self.own_scratch.bytes()];
        // SAFETY: the views are as planned, and of all of them only the residual may share the output's memory.
        unsafe { self.plan.run(&arguments, scratch, context.pool) };
    }

    fn multiply_accumulates(&self) -> u64 {
        self.plan.work()
    }
}
