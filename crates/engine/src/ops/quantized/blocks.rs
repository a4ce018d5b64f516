//! BlockQuantizedMatMul: float32 activations with weights of four or eight bits.

use crate::attributes::Attributes;
use crate::op::{EngineError, Operator, PlanContext, Planned, RunContext, Step, TensorSpec, check_size};
use crate::ops::Build;
use crate::ops::packed::Packed;
use crate::ops::planning::{expect_dtype, input, invalid};
use crate::ops::residual::Bias;
use crate::ops::scratch::{ScratchPlan, ScratchTensor};
use std::sync::Arc;
use vedette_integer::blocks::{BlockMatMulPlan, BlockWeights};
use vedette_tensor::movement::Copy;
use vedette_tensor::{Activation, DType};

pub(super) const OPERATORS: &[(&str, Build)] = &[("BlockQuantizedMatMul", block_matmul)];

struct BlockMatMul {
    bits: usize,
    group: usize,
    activation: Option<Activation>,
    weights: Packed<(), BlockWeights>,
}

fn block_matmul(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    let size = |name: &str| match usize::try_from(attributes.int(name)?) {
        Ok(size) => Ok(size),
        Err(_) => invalid(format!("attribute `{name}` is negative")),
    };
    Ok(Box::new(BlockMatMul {
        bits: size("bits")?,
        group: size("group_size")?,
        activation: attributes.activation("activation")?,
        weights: Packed::new(),
    }))
}

impl BlockMatMul {
    fn weights(&self, context: &PlanContext<'_>) -> Result<Arc<BlockWeights>, EngineError> {
        let zero_points = context.optional(3);
        let (b, scales) = (context.input(1)?, context.input(2)?);
        let constant = b.constant && scales.constant && zero_points.is_none_or(|input| input.constant);
        let packed = self.weights.get((), || {
            let zero_points = zero_points.map(|input| input.value.as_ref());
            let (true, Some(b), Some(scales)) = (constant, &b.value, &scales.value) else { return Ok(None) };
            if matches!(zero_points, Some(None)) {
                return Ok(None);
            }
            let weights = BlockWeights::new(self.bits, self.group, b, scales, zero_points.flatten())?;
            let bytes = weights.bytes();
            Ok::<_, EngineError>(Some((weights, bytes)))
        })?;
        packed.ok_or_else(|| EngineError::Unsupported("weights by blocks that are no constants".to_owned()))
    }
}

impl Operator for BlockMatMul {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        let a = context.input(0)?;
        expect_dtype(a, DType::F32)?;
        let weights = self.weights(context)?;
        if a.spec.shape.last() != Some(&weights.depth()) {
            let (shape, depth) = (&a.spec.shape[..], weights.depth());
            return invalid(format!("activations of shape {shape:?} with weights of depth {depth}"));
        }
        let mut shape = a.spec.shape.clone();
        let rows: usize = shape[..shape.len() - 1].iter().product();
        if let Some(last) = shape.last_mut() {
            *last = weights.columns();
        }
        check_size(DType::F32, &shape, context.memory_limit)?;
        let output = TensorSpec::contiguous(DType::F32, &shape);
        let plain = TensorSpec::contiguous(DType::F32, &a.spec.shape);
        let mut scratch = ScratchPlan::default();
        let copy = match a.spec == plain {
            true => None,
            false => {
                let copy = Copy::new(&plain.shape, &a.spec.strides, &plain.strides, 4);
                Some((copy, scratch.tensor(&plain)?))
            }
        };
        let columns = weights.columns();
        let plan = BlockMatMulPlan::new(context.isa, context.threads, rows, weights);
        let work = TensorSpec::contiguous(DType::U8, &[plan.scratch_bytes()]);
        scratch.tensor(&work)?;
        let copied = copy.as_ref().map_or(0, |_| scratch.bytes() - plan.scratch_bytes().next_multiple_of(64));
        let mut scratch_bytes = scratch.bytes();
        if let Some(bias) = context.optional(4) {
            expect_dtype(bias, DType::F32)?;
        }
        let bias = Bias::new(context.optional(4), columns, &mut scratch_bytes)?;
        let step = BlockMatMulStep {
            plan,
            copy,
            copied,
            bias,
            columns,
            activation: self.activation,
            isa: context.isa,
        };
        Ok(Planned::Step { outputs: vec![output], in_place: Vec::new(), scratch_bytes, step: Box::new(step) })
    }

    fn released_inputs(&self) -> &[usize] {
        if self.weights.is_made() { &[1, 2, 3] } else { &[] }
    }

    fn packed_bytes(&self) -> usize {
        self.weights.bytes()
    }
}

struct BlockMatMulStep {
    plan: BlockMatMulPlan,
    /// Of activations in another memory order.
    copy: Option<(Copy, ScratchTensor)>,
    /// Bytes of scratch memory that the copy takes.
    copied: usize,
    bias: Bias,
    columns: usize,
    activation: Option<Activation>,
    isa: vedette_simd::Isa,
}

impl Step for BlockMatMulStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let view = input(context.inputs, 0);
        let bias = self.bias.pointer(context.inputs.get(4), context.scratch);
        let (own, work) = context.scratch.split_at_mut(self.copied);
        let a = match &self.copy {
            None => view.as_ptr_of::<f32>(),
            Some((copy, tensor)) => {
                copy.run(view, &mut tensor.view_mut(own), context.pool);
                own.as_ptr().cast()
            }
        };
        let Some(out) = context.outputs[0].slice_mut::<f32>() else { return };
        // SAFETY: the views and the scratch memory are as planned.
        unsafe { self.plan.run(a, out.as_mut_ptr(), work, context.pool) };
        if !bias.is_null() {
            // SAFETY: a value for each column, in the inputs or at the end of the scratch memory.
            let bias = unsafe { std::slice::from_raw_parts(bias, self.columns) };
            for row in out.chunks_exact_mut(self.columns) {
                row.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
            }
        }
        if let Some(activation) = self.activation {
            activation.apply(self.isa, out);
        }
    }

    fn multiply_accumulates(&self) -> u64 {
        self.plan.work()
    }
}
