//! ScaledDotProductAttention: what the compiler makes of two matrix products with a softmax between them.

use super::Build;
use super::conv::require_f32;
use super::matmul::output_strides;
use super::planning::step;
use super::precision::{Precision, values_of};
use super::scratch::{ScratchPlan, ScratchTensor};
use crate::attributes::Attributes;
use crate::op::{
    EngineError, Operator, PlanContext, Planned, ReadInput, RunContext, Step, TensorSpec, check_size,
};
use std::ptr::null;
use vedette_bfloat16::attention::{AttentionArguments, AttentionOperands, AttentionPlan};
use vedette_tensor::elementwise::Layout;
use vedette_tensor::matmul::{Epilogue, MatMulArguments, MatMulOperands, MatMulPlan, matmul_shape};
use vedette_tensor::movement::fill;
use vedette_tensor::softmax::Softmax;
use vedette_tensor::{DType, Tensor};

pub(super) const OPERATORS: &[(&str, Build)] = &[("ScaledDotProductAttention", attention)];

/// `softmax(alpha Q x K) x V` of queries `[..., N, D]`, keys `[..., D, M]` and values `[..., M, E]`.
struct Attention {
    alpha: f32,
    precision: Precision,
}

fn attention(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    let alpha = attributes.float_or("alpha", 1.0)?;
    Ok(Box::new(Attention { alpha, precision: Precision::of(attributes)? }))
}

impl Operator for Attention {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        let is_bfloat16 = self.precision.is_bfloat16(context.isa);
        if !is_bfloat16 {
            require_f32(context, 0..3)?;
        }
        let specs = [&context.input(0)?.spec, &context.input(1)?.spec, &context.input(2)?.spec];
        let [q, k, v] = specs.map(|spec| (&spec.shape[..], &spec.strides[..]));
        let operands = AttentionOperands { q, k, v };
        let shape = operands.output()?;
        check_size(DType::F32, &shape, context.memory_limit)?;
        let strides = output_strides(&shape, context.preferred_order);
        let keys = k.0.last().copied().unwrap_or(0);
        let dtype = if is_bfloat16 && context.rounded { DType::BF16 } else { DType::F32 };
        let output = TensorSpec { dtype, shape, strides };
        let (scratch_bytes, run): (usize, Box<dyn Step>) = if !is_bfloat16 {
            let steps = Steps::new(context, specs, &output, self.alpha)?;
            (steps.scratch_bytes, Box::new(steps))
        } else if keys == 0 {
            // Sums of nothing.
            let zero = Tensor::zeros(dtype, &[]).map_err(|error| EngineError::Memory(error.0))?;
            (0, step(move |context| fill(&mut context.outputs[0], &zero.view())))
        } else {
            let values = specs.map(|spec| values_of(spec.dtype));
            let ([Some(q), Some(k), Some(v)], Some(out)) = (values, values_of(dtype)) else {
                let types = specs.map(|spec| spec.dtype.name()).join(", ");
                return Err(EngineError::Unsupported(format!("attention in bfloat16 of {types}")));
            };
            let (isa, threads) = (context.isa, context.threads);
            let plan = AttentionPlan::new(isa, threads, &operands, &output.strides, self.alpha)?;
            let plan = plan.with_values([q, k, v], out);
            (plan.scratch_bytes(), Box::new(Fused(plan)))
        };
        Ok(Planned::Step { outputs: vec![output], in_place: vec![], scratch_bytes, step: run })
    }

    fn rounds_input(&self, input: &ReadInput<'_>) -> bool {
        self.precision.is_bfloat16(input.isa)
    }
}

fn pointer(context: &RunContext<'_, '_>, i: usize) -> *const f32 {
    super::planning::input(context.inputs, i).as_ptr_of()
}

struct Fused(AttentionPlan);

impl Step for Fused {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let input = |i| super::planning::input(context.inputs, i).as_ptr();
        let (q, k, v) = (input(0), input(1), input(2));
        let arguments = AttentionArguments { q, k, v, out: context.outputs[0].as_mut_ptr() };
        // SAFETY: the views are as planned, and the output shares no memory with them.
        unsafe { self.0.run(&arguments, context.scratch, context.pool) };
    }

    fn multiply_accumulates(&self) -> u64 {
        self.0.work()
    }

    fn precision(&self) -> &'static str {
        "bfloat16"
    }
}

fn operands<'a>(a: &'a TensorSpec, b: &'a TensorSpec) -> MatMulOperands<'a> {
    MatMulOperands {
        a_shape: &a.shape,
        a_strides: &a.strides,
        trans_a: false,
        b_shape: &b.shape,
        b_strides: &b.strides,
        trans_b: false,
    }
}

/// In float32, one product after the other.
struct Steps {
    scores: ScratchTensor,
    to_scores: MatMulPlan,
    softmax: Softmax,
    to_out: MatMulPlan,
    scratch_bytes: usize,
}

impl Steps {
    fn new(
        context: &PlanContext<'_>,
        [q, k, v]: [&TensorSpec; 3],
        output: &TensorSpec,
        alpha: f32,
    ) -> Result<Steps, EngineError> {
        let scores = TensorSpec::contiguous(DType::F32, &matmul_shape(&operands(q, k))?);
        check_size(DType::F32, &scores.shape, context.memory_limit)?;
        let product = |a: &TensorSpec, b: &TensorSpec, out: &TensorSpec, alpha: f32| {
            let (isa, threads) = (context.isa, context.threads);
            MatMulPlan::new(isa, threads, &operands(a, b), &out.strides, alpha, None, Epilogue::default())
        };
        let layout = Layout { dtype: DType::F32, shape: &scores.shape, strides: &scores.strides };
        let softmax = Softmax::new(layout, scores.shape.len() - 1, layout, false, context.isa)?;
        let (to_scores, to_out) = (product(q, k, &scores, alpha)?, product(&scores, v, output, 1.0)?);
        let mut scratch = ScratchPlan::default();
        let scores = scratch.tensor(&scores)?;
        let scratch_bytes = scratch.bytes() + to_scores.scratch_bytes().max(to_out.scratch_bytes());
        Ok(Steps { scores, to_scores, softmax, to_out, scratch_bytes })
    }
}

impl Step for Steps {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let (q, k, v) = (pointer(context, 0), pointer(context, 1), pointer(context, 2));
        let products_from = self.scores.bytes().end.next_multiple_of(64);
        let scores = self.scores.view_mut(context.scratch).as_mut_ptr_of::<f32>();
        let arguments = |a: *const f32, b: *const f32, out: *mut f32| MatMulArguments {
            a,
            b,
            bias: null(),
            residual: null(),
            out,
        };
        let pool = context.pool;
        // SAFETY: the views are as planned; scores, what products need besides, and the output are memory of their own.
        unsafe {
            self.to_scores.run(&arguments(q, k, scores), &mut context.scratch[products_from..], pool);
            let seen =
                self.scores.view(std::slice::from_raw_parts(context.scratch.as_ptr(), context.scratch.len()));
            self.softmax.run(&seen, &mut self.scores.view_mut(context.scratch), pool);
            let out = context.outputs[0].as_mut_ptr_of::<f32>();
            self.to_out.run(&arguments(scores, v, out), &mut context.scratch[products_from..], pool);
        }
    }

    fn multiply_accumulates(&self) -> u64 {
        self.to_scores.work() + self.to_out.work()
    }

    fn precision(&self) -> &'static str {
        "float32"
    }
}
