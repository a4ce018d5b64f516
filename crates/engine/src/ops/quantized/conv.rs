//! QuantizedConv: every kind of it is chosen in [`Method::new`].

use super::product::{
    Forms, PACKED, PackedProduct, ProductAttributes, RESIDUAL, Residual, WEIGHTS, pointer_of, reserve,
};
use crate::attributes::Attributes;
use crate::op::{
    EngineError, Operator, PlanContext, Planned, RowWindow, RunContext, Step, TensorSpec, check_size,
};
use crate::ops::Build;
use crate::ops::conv::{check_kernel, conv_shape, row_window, window};
use crate::ops::scratch::{ScratchPlan, ScratchTensor};
use std::sync::Arc;
use vedette_integer::conv::{ConvArguments, ConvPlan, ConvWeights};
use vedette_integer::depthwise::{DepthwisePlan, DepthwiseWeights};
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
use vedette_tensor::View;
use vedette_tensor::conv::{ConvShape, WindowAttributes};

pub(super) const OPERATORS: &[(&str, Build)] = &[("QuantizedConv", conv)];

/// Weights in the form of the kernel that reads them; which one that is follows from the weights' shape alone.
enum Weights {
    Dense(Arc<ConvWeights>),
    Depthwise(Arc<DepthwiseWeights>),
}

impl Weights {
    fn new(isa: Isa, shape: &ConvShape, w: &View<'_>, zero_point: u8) -> Weights {
        if shape.groups == shape.in_channels && shape.out_channels == shape.in_channels {
            return Weights::Depthwise(Arc::new(DepthwiseWeights::new(isa, shape, w, zero_point)));
        }
        Weights::Dense(Arc::new(ConvWeights::new(isa, shape, w, zero_point)))
    }

    fn largest_sum(&self) -> u32 {
        match self {
            Weights::Dense(weights) => weights.largest_sum(),
            Weights::Depthwise(weights) => weights.largest_sum(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Weights::Dense(weights) => weights.bytes(),
            Weights::Depthwise(weights) => weights.bytes(),
        }
    }
}

/// The kernel of a planned convolution.
enum Method {
    Dense(Box<ConvPlan>),
    Depthwise(Box<DepthwisePlan>),
}

impl Method {
    /// The place where a convolution's kernel is chosen.
    fn new(
        threads: usize,
        shape: &ConvShape,
        x: &TensorSpec,
        zero_point: u8,
        packed: &PackedProduct<Weights>,
    ) -> Result<Method, EngineError> {
        let epilogue = packed.epilogue.clone();
        match &*packed.weights {
            Weights::Dense(weights) => {
                let weights = weights.clone();
                let plan = ConvPlan::new(threads, shape, &x.strides, zero_point, weights, epilogue)?;
                Ok(Method::Dense(Box::new(plan)))
            }
            Weights::Depthwise(weights) => {
                let (weights, strides) = (weights.clone(), &x.strides);
                let plan = DepthwisePlan::new(threads, shape, strides, zero_point, weights, epilogue)?;
                Ok(Method::Depthwise(Box::new(plan)))
            }
        }
    }

    fn scratch_bytes(&self) -> usize {
        match self {
            Method::Dense(plan) => plan.scratch_bytes(),
            Method::Depthwise(plan) => plan.scratch_bytes(),
        }
    }

    /// # Safety
    /// As for [`ConvPlan::run`].
    unsafe fn run(&self, arguments: &ConvArguments, scratch: &mut [u8], pool: &ThreadPool) {
        match self {
            // SAFETY: as granted by the caller.
            Method::Dense(plan) => unsafe { plan.run(arguments, scratch, pool) },
            // SAFETY: as above.
            Method::Depthwise(plan) => unsafe { plan.run(arguments, scratch, pool) },
        }
    }
}

struct Conv {
    window: WindowAttributes,
    kernel: Option<Vec<i64>>,
    groups: i64,
    attributes: ProductAttributes,
    forms: Forms<Isa, Weights>,
}

fn conv(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    Ok(Box::new(Conv {
        window: window(attributes)?,
        kernel: attributes.ints("kernel_shape")?,
        groups: attributes.int_or("group", 1)?,
        attributes: ProductAttributes::new(attributes, "x_zero_point")?,
        forms: Forms::new(),
    }))
}

impl Operator for Conv {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        self.attributes.check(context)?;
        let (x, w) = (&context.input(0)?.spec, context.input(WEIGHTS)?);
        check_kernel(&self.kernel, &w.spec.shape)?;
        let shape = conv_shape(context, &x.shape, &w.spec.shape, self.groups, &self.window)?;
        let y = shape.output();
        let dtype = self.attributes.output_dtype(context.rounded);
        check_size(dtype, &y, context.memory_limit)?;
        let zero_point = self.attributes.zero_point;
        let packed = self.forms.get(context.isa, || {
            let Some(view) = &w.value else { return Ok(None) };
            let weights = Weights::new(context.isa, &shape, view, zero_point);
            let epilogue =
                self.attributes.epilogue(context, y[1], weights.largest_sum(), 1, context.rounded)?;
            let bytes = weights.bytes() + epilogue.bytes();
            let form = PackedProduct { weights: Arc::new(weights), epilogue: Arc::new(epilogue) };
            Ok::<_, EngineError>(Some((form, bytes)))
        })?;
        let packed = packed.ok_or_else(|| EngineError::Invalid("the weights are not known".to_owned()))?;
        let output = TensorSpec::channels_last(dtype, &y);
        let work = shape.work();
        let method = Method::new(context.threads, &shape, x, zero_point, &packed)?;
        let mut scratch = ScratchPlan::default();
        let own_scratch = reserve(&mut scratch, method.scratch_bytes())?;
        let residual = Residual::new(context, vedette_tensor::DType::U8, &output, &mut scratch)?;
        Ok(Planned::Step {
            in_place: residual.in_place(vedette_tensor::DType::U8, &output),
            scratch_bytes: scratch.bytes(),
            outputs: vec![output],
            step: Box::new(ConvStep { method, own_scratch, residual, work }),
        })
    }

    fn row_window(&self, context: &PlanContext<'_>, input: usize) -> Option<RowWindow> {
        if input == RESIDUAL {
            return Some(RowWindow::SAME);
        }
        let (x, w) = (context.optional(0)?, context.optional(WEIGHTS)?);
        let shape = ConvShape::new(&x.spec.shape, &w.spec.shape, self.groups, &self.window).ok()?;
        Some(row_window(&shape.axes[1]))
    }

    fn released_inputs(&self) -> &[usize] {
        if self.forms.is_made() { PACKED } else { &[] }
    }

    fn packed_bytes(&self) -> usize {
        self.forms.bytes()
    }
}

struct ConvStep {
    method: Method,
    own_scratch: ScratchTensor,
    residual: Residual,
    work: u64,
}

impl Step for ConvStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let arguments = ConvArguments {
            x: pointer_of(context.inputs, 0),
            residual: self.residual.pointer(context),
            out: context.outputs[0].as_mut_ptr(),
        };
        let scratch = &mut context.scratch[self.own_scratch.bytes()];
        // SAFETY: the views are as planned, and of all of them only the residual may share the output's memory.
        unsafe { self.method.run(&arguments, scratch, context.pool) };
    }

    fn multiply_accumulates(&self) -> u64 {
        self.work
    }
}
