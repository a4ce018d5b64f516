//! MatMulSoftmax and MatMulBestClass: what the compiler makes of a product with a column for each of many classes, and
//! the softmax or the best class of its rows.

use super::Build;
use super::conv::require_f32;
use super::matmul::{matmul, pack_columns, pays};
use super::packed::Packed;
use super::planning::{input, layout};
use super::precision::Precision;
use super::residual::Bias;
use super::scratch::{ScratchPlan, ScratchTensor};
use crate::attributes::Attributes;
use crate::op::{EngineError, Operator, PlanContext, Planned, RunContext, Step, TensorSpec, check_size};
use vedette_bfloat16::PackedColumns;
use vedette_bfloat16::classes::{Answers, ClassesArguments, ClassesPlan, Wanted};
use vedette_simd::Isa;
use vedette_tensor::matmul::{MatMulOperands, matmul_shape};
use vedette_tensor::softmax::{BestClass, Softmax};
use vedette_tensor::{DType, ViewMut};

pub(super) const OPERATORS: &[(&str, Build)] = &[
    ("MatMulSoftmax", |attributes| classes(attributes, Answer::Softmax)),
    ("MatMulBestClass", |attributes| classes(attributes, Answer::Best)),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Softmax,
    Best,
}

impl Answer {
    fn wanted(self) -> Wanted {
        match self {
            Answer::Softmax => Wanted::Shares,
            Answer::Best => Wanted::Best,
        }
    }
}

/// `softmax(alpha A x B + bias)` with constant `B [K, classes]`, or of each row the largest share and its index.
struct Classes {
    /// The product by itself, for levels that gain nothing.
    product: Box<dyn Operator>,
    answer: Answer,
    alpha: f32,
    trans_b: bool,
    precision: Precision,
    columns: Packed<Isa, PackedColumns>,
}

fn classes(attributes: &Attributes, answer: Answer) -> Result<Box<dyn Operator>, EngineError> {
    Ok(Box::new(Classes {
        product: matmul(attributes)?,
        answer,
        alpha: attributes.float_or("alpha", 1.0)?,
        trans_b: attributes.flag_or("trans_b", false)?,
        precision: Precision::of(attributes)?,
        columns: Packed::new(),
    }))
}

impl Operator for Classes {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        require_f32(context, 0..2)?;
        let (a, b) = (&context.input(0)?.spec, context.input(1)?);
        if b.spec.shape.len() != 2 || !b.constant || context.optional(3).is_some() {
            let shape = &b.spec.shape[..];
            return Err(EngineError::Invalid(format!("classes by weights of shape {shape:?} or a residual")));
        }
        let operands = MatMulOperands {
            a_shape: &a.shape,
            a_strides: &a.strides,
            trans_a: false,
            b_shape: &b.spec.shape,
            b_strides: &b.spec.strides,
            trans_b: self.trans_b,
        };
        let scores = TensorSpec::contiguous(DType::F32, &matmul_shape(&operands)?);
        check_size(DType::F32, &scores.shape, context.memory_limit)?;
        if scores.is_empty() || !self.precision.is_bfloat16(context.isa) || !pays(&operands) {
            return self.plan_steps(context, scores);
        }
        let packed = pack_columns(&self.columns, context.isa, &operands, self.alpha, b)?;
        let Some(packed) = packed else {
            return Err(EngineError::Invalid("the weights of classes are gone".into()));
        };
        let plan = ClassesPlan::new(context.threads, (&a.shape, &a.strides), packed, self.answer.wanted())?;
        let mut scratch_bytes = plan.scratch_bytes();
        let bias = Bias::new(context.optional(2), scores.shape[scores.shape.len() - 1], &mut scratch_bytes)?;
        let outputs = self.outputs(scores);
        Ok(Planned::Step {
            outputs,
            in_place: vec![],
            scratch_bytes,
            step: Box::new(Fused { plan, bias, answer: self.answer }),
        })
    }

    fn released_inputs(&self) -> &[usize] {
        if self.columns.is_made() { &[1] } else { self.product.released_inputs() }
    }

    fn packed_bytes(&self) -> usize {
        self.columns.bytes() + self.product.packed_bytes()
    }
}

impl Classes {
    fn outputs(&self, scores: TensorSpec) -> Vec<TensorSpec> {
        let outer = &scores.shape[..scores.shape.len() - 1];
        match self.answer {
            Answer::Best => {
                vec![TensorSpec::contiguous(DType::F32, outer), TensorSpec::contiguous(DType::I64, outer)]
            }
            Answer::Softmax => vec![scores],
        }
    }

    /// The product, then what follows it.
    fn plan_steps(&self, context: &PlanContext<'_>, scores: TensorSpec) -> Result<Planned, EngineError> {
        let context = PlanContext {
            inputs: context.inputs,
            outputs: 1,
            preferred_order: None,
            rounded: false,
            ..*context
        };
        let Planned::Step { scratch_bytes, step, .. } = self.product.plan(&context)? else {
            return Err(EngineError::Invalid("the product of classes is no step".into()));
        };
        let unsupported = |error: vedette_tensor::TensorError| EngineError::Unsupported(error.0);
        let mut scratch = ScratchPlan::default();
        let follow = match self.answer {
            Answer::Softmax => {
                let (lies, axis) = (layout(&scores), scores.shape.len() - 1);
                let softmax = Softmax::new(lies, axis, lies, false, context.isa).map_err(unsupported)?;
                Follow::Softmax(Box::new(softmax))
            }
            Answer::Best => {
                let best = BestClass::new(layout(&scores), context.isa).map_err(unsupported)?;
                Follow::Best(best, scratch.tensor(&scores)?)
            }
        };
        Ok(Planned::Step {
            outputs: self.outputs(scores),
            in_place: vec![],
            scratch_bytes: scratch.bytes() + scratch_bytes,
            step: Box::new(Steps { product: step, own_bytes: scratch.bytes(), follow }),
        })
    }
}

/// Answers without writing the product.
struct Fused {
    plan: ClassesPlan,
    bias: Bias,
    answer: Answer,
}

impl Step for Fused {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let bias = self.bias.pointer(context.inputs.get(2), context.scratch);
        let answers = match (self.answer, &mut context.outputs[..]) {
            (Answer::Best, [shares, classes]) => {
                Answers::Best(shares.as_mut_ptr_of::<f32>(), classes.as_mut_ptr_of::<i64>())
            }
            (_, outputs) => Answers::Shares(outputs[0].as_mut_ptr_of::<f32>()),
        };
        let arguments = ClassesArguments { a: input(context.inputs, 0).as_ptr_of::<f32>(), bias, answers };
        // SAFETY: the views are as planned, and outputs share no memory with inputs.
        unsafe { self.plan.run(&arguments, context.scratch, context.pool) };
    }

    fn multiply_accumulates(&self) -> u64 {
        self.plan.work()
    }

    fn precision(&self) -> &'static str {
        "bfloat16"
    }
}

enum Follow {
    /// In place.
    Softmax(Box<Softmax>),
    /// Of scores in scratch.
    Best(BestClass, ScratchTensor),
}

struct Steps {
    product: Box<dyn Step>,
    /// Bytes of scratch before those of the product.
    own_bytes: usize,
    follow: Follow,
}

impl Step for Steps {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let (own, rest) = context.scratch.split_at_mut(self.own_bytes);
        let pool = context.pool;
        let multiply = |scores: ViewMut<'_>, scratch: &mut [u8]| {
            let mut outputs = [scores];
            self.product.run(&mut RunContext {
                inputs: context.inputs,
                outputs: &mut outputs,
                scratch,
                pool,
            });
        };
        match (&self.follow, &mut context.outputs[..]) {
            (Follow::Best(best, scores), [shares, classes]) => {
                multiply(scores.view_mut(own), rest);
                best.run(&scores.view(own), shares, classes, pool);
            }
            (Follow::Softmax(softmax), [output]) => {
                let whole = |output: &mut ViewMut<'_>| {
                    let (shape, strides) = (output.shape().into(), output.strides().into());
                    // SAFETY: the output itself, which one of the two writes at a time.
                    unsafe { ViewMut::from_raw_parts(DType::F32, shape, strides, output.as_mut_ptr()) }
                };
                multiply(whole(output), rest);
                let mut written = whole(output);
                // SAFETY: the same memory, which softmax may read and write.
                let scores = unsafe {
                    let (shape, strides) = (output.shape().into(), output.strides().into());
                    vedette_tensor::View::from_raw_parts(DType::F32, shape, strides, written.as_mut_ptr())
                };
                softmax.run(&scores, &mut written, pool);
            }
            _ => unreachable!("as many outputs as planned"),
        }
    }

    fn multiply_accumulates(&self) -> u64 {
        self.product.multiply_accumulates()
    }

    fn precision(&self) -> &'static str {
        self.product.precision()
    }
}
