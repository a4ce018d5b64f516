//! MatMul, with what the compiler fuses into it.

use super::Build;
use super::packed::Packed;
use super::precision::{Precision, values_of};
use super::residual::{Bias, Residual};
use crate::attributes::Attributes;
use crate::op::{
    EngineError, Operator, PlanContext, PlanInput, Planned, ReadInput, RunContext, Step, TensorSpec,
    check_size,
};
use std::sync::Arc;
use vedette_bfloat16::matmul::{MatMulArguments as Bfloat16Arguments, MatMulPlan as Bfloat16Plan};
use vedette_bfloat16::{LEAST_DEPTH, PackedColumns, Values};
use vedette_simd::Isa;
use vedette_tensor::matmul::{
    Epilogue, MatMulArguments, MatMulOperands, MatMulPlan, PackedMatrix, matmul_shape, multiply_generic,
};
use vedette_tensor::{DType, Strides, contiguous_strides};

pub(super) const OPERATORS: &[(&str, Build)] = &[("MatMul", matmul)];

struct MatMul {
    alpha: f32,
    trans_a: bool,
    trans_b: bool,
    epilogue: Epilogue,
    precision: Precision,
    weights: Packed<Isa, PackedMatrix>,
    bfloat16_weights: Packed<Isa, PackedColumns>,
}

pub(super) fn matmul(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    Ok(Box::new(MatMul {
        alpha: attributes.float_or("alpha", 1.0)?,
        trans_a: attributes.flag_or("trans_a", false)?,
        trans_b: attributes.flag_or("trans_b", false)?,
        epilogue: Epilogue { activation: attributes.activation("activation")? },
        precision: Precision::of(attributes)?,
        weights: Packed::new(),
        bfloat16_weights: Packed::new(),
    }))
}

/// Strides of an output whose columns have unit stride, in the order its readers like where that is such a one.
pub(super) fn output_strides(shape: &[usize], preferred: Option<&[usize]>) -> Strides {
    let mut strides = contiguous_strides(shape);
    if let Some(order) = preferred
        && order.len() == shape.len()
        && order.last() == Some(&(shape.len().wrapping_sub(1)))
    {
        let mut step = 1;
        for &axis in order.iter().rev() {
            strides[axis] = step;
            step *= shape[axis].max(1) as isize;
        }
    }
    strides
}

impl Operator for MatMul {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        let (a, b) = (&context.input(0)?.spec, context.input(1)?);
        let operands = MatMulOperands {
            a_shape: &a.shape,
            a_strides: &a.strides,
            trans_a: self.trans_a,
            b_shape: &b.spec.shape,
            b_strides: &b.spec.strides,
            trans_b: self.trans_b,
        };
        let shape = matmul_shape(&operands)?;
        // What is rounded already is multiplied as what is yet to be.
        let is_bfloat16 = self.precision.is_bfloat16(context.isa);
        let is_rounded = is_bfloat16 && a.dtype == DType::BF16;
        let dtype = if is_rounded { DType::F32 } else { a.dtype };
        for i in [1, 2, 3] {
            if let Some(input) = context.optional(i)
                && input.spec.dtype != dtype
            {
                let message = format!("input {i} is {}, input 0 is {}", input.spec.dtype, a.dtype);
                return Err(EngineError::Invalid(message));
            }
        }
        check_size(dtype, &shape, context.memory_limit)?;
        if dtype != DType::F32 {
            return self.plan_generic(context, &shape);
        }
        let columns = if b.spec.shape.len() > 1 { shape[shape.len() - 1] } else { 1 };
        let preferred = if b.spec.shape.len() > 1 { context.preferred_order } else { None };
        let strides = output_strides(&shape, preferred);
        let mut output = TensorSpec { dtype: DType::F32, shape, strides };
        let residual = Residual::new(context.optional(3), &output)?;
        let plan = if is_rounded || (is_bfloat16 && pays(&operands)) {
            if context.rounded && context.optional(3).is_none() {
                output.dtype = DType::BF16;
            }
            let plan = self.plan_bfloat16(context, &operands, &output.strides)?;
            let [a, out] = [a.dtype, output.dtype].map(|dtype| values_of(dtype).unwrap_or(Values::Float32));
            Plan::Bfloat16(plan.with_values(a, out))
        } else {
            Plan::Float32(self.plan_float32(context, &operands, &output.strides)?)
        };
        let mut scratch_bytes = plan.scratch_bytes();
        let bias = Bias::new(context.optional(2), columns, &mut scratch_bytes)?;
        Ok(Planned::Step {
            in_place: if residual.is_in_place() { vec![3] } else { vec![] },
            scratch_bytes,
            outputs: vec![output],
            step: Box::new(MatMulStep { plan, residual, bias }),
        })
    }

    fn rounds_input(&self, input: &ReadInput<'_>) -> bool {
        input.position == 0 && self.precision.is_bfloat16(input.isa)
    }

    fn released_inputs(&self) -> &[usize] {
        if self.weights.is_made() || self.bfloat16_weights.is_made() { &[1] } else { &[] }
    }

    fn packed_bytes(&self) -> usize {
        self.weights.bytes() + self.bfloat16_weights.bytes()
    }
}

/// Whether bfloat16 is faster, which may not depend on the rows: weights are packed for one kind of product.
pub(super) fn pays(operands: &MatMulOperands<'_>) -> bool {
    operands.matrices().is_ok_and(|(_, b)| b.rows >= LEAST_DEPTH)
}

/// A constant right side packed for bfloat16 products, unless its values are gone and it has not been before.
pub(super) fn pack_columns(
    columns: &Packed<Isa, PackedColumns>,
    isa: Isa,
    operands: &MatMulOperands<'_>,
    alpha: f32,
    b: &PlanInput<'_>,
) -> Result<Option<Arc<PackedColumns>>, EngineError> {
    columns.get(isa, || match &b.value {
        None => Ok(None),
        Some(view) => {
            // SAFETY: the view has the shape and strides of the operands.
            let packed = unsafe { Bfloat16Plan::pack(isa, operands, alpha, view.as_ptr_of::<f32>()) }?;
            let bytes = packed.bytes();
            Ok(Some((packed, bytes)))
        }
    })
}

impl MatMul {
    fn plan_float32(
        &self,
        context: &PlanContext<'_>,
        operands: &MatMulOperands<'_>,
        strides: &[isize],
    ) -> Result<MatMulPlan, EngineError> {
        let (isa, b) = (context.isa, context.input(1)?);
        let packed = if b.constant {
            self.weights.get(isa, || match &b.value {
                None => Ok(None),
                Some(view) => {
                    // SAFETY: the view has the shape and strides of the operands.
                    let packed =
                        unsafe { MatMulPlan::pack(isa, operands, self.alpha, view.as_ptr_of::<f32>()) }?;
                    let bytes = packed.bytes();
                    Ok::<_, EngineError>(Some((packed, bytes)))
                }
            })?
        } else {
            None
        };
        Ok(MatMulPlan::new(isa, context.threads, operands, strides, self.alpha, packed, self.epilogue)?)
    }

    fn plan_bfloat16(
        &self,
        context: &PlanContext<'_>,
        operands: &MatMulOperands<'_>,
        strides: &[isize],
    ) -> Result<Bfloat16Plan, EngineError> {
        let (isa, b) = (context.isa, context.input(1)?);
        let packed = match b.constant {
            true => pack_columns(&self.bfloat16_weights, isa, operands, self.alpha, b)?,
            false => None,
        };
        Ok(Bfloat16Plan::new(isa, context.threads, operands, strides, self.alpha, packed, self.epilogue)?)
    }
}

/// A product of either precision.
enum Plan {
    Float32(MatMulPlan),
    Bfloat16(Bfloat16Plan),
}

impl Plan {
    fn scratch_bytes(&self) -> usize {
        match self {
            Plan::Float32(plan) => plan.scratch_bytes(),
            Plan::Bfloat16(plan) => plan.scratch_bytes(),
        }
    }

    fn work(&self) -> u64 {
        match self {
            Plan::Float32(plan) => plan.work(),
            Plan::Bfloat16(plan) => plan.work(),
        }
    }
}

struct MatMulStep {
    plan: Plan,
    residual: Residual,
    bias: Bias,
}

impl Step for MatMulStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let residual = self.residual.pointer(context.inputs.get(3), &mut context.outputs[0], context.pool);
        let input = |i: usize| match context.inputs.get(i).and_then(Option::as_ref) {
            Some(view) => view.as_ptr_of::<f32>(),
            None => std::ptr::null(),
        };
        let bias = self.bias.pointer(context.inputs.get(2), context.scratch);
        let (scratch, pool) = (&mut *context.scratch, context.pool);
        // SAFETY: the views are as planned, and of all of them only the residual may share the output's memory.
        unsafe {
            match &self.plan {
                Plan::Float32(plan) => {
                    let (a, b, out) = (input(0), input(1), context.outputs[0].as_mut_ptr_of::<f32>());
                    plan.run(&MatMulArguments { a, b, bias, residual, out }, scratch, pool);
                }
                Plan::Bfloat16(plan) => {
                    let a = super::planning::input(context.inputs, 0).as_ptr();
                    let (b, out) = (input(1), context.outputs[0].as_mut_ptr());
                    plan.run(&Bfloat16Arguments { a, b, bias, residual, out }, scratch, pool);
                }
            }
        }
    }

    fn multiply_accumulates(&self) -> u64 {
        self.plan.work()
    }

    fn precision(&self) -> &'static str {
        match self.plan {
            Plan::Float32(_) => "float32",
            Plan::Bfloat16(_) => "bfloat16",
        }
    }
}

impl MatMul {
    fn plan_generic(&self, context: &PlanContext<'_>, shape: &[usize]) -> Result<Planned, EngineError> {
        let dtype = context.input(0)?.spec.dtype;
        let numbers = !matches!(dtype, DType::F16 | DType::BF16 | DType::Bool);
        let plain = self.epilogue.activation.is_none()
            && self.alpha == 1.0
            && context.optional(2).is_none()
            && context.optional(3).is_none();
        if !numbers || !plain {
            let fused = if plain { "" } else { " with a fused epilogue" };
            return Err(EngineError::Unsupported(format!("a matrix product of {dtype}{fused}")));
        }
        Ok(Planned::Step {
            in_place: vec![],
            scratch_bytes: 0,
            outputs: vec![TensorSpec::contiguous(dtype, shape)],
            step: Box::new(GenericStep { trans_a: self.trans_a, trans_b: self.trans_b }),
        })
    }
}

struct GenericStep {
    trans_a: bool,
    trans_b: bool,
}

impl Step for GenericStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        if let [Some(a), Some(b), ..] = context.inputs {
            multiply_generic((a, self.trans_a), (b, self.trans_b), &mut context.outputs[0]);
        }
    }
}
