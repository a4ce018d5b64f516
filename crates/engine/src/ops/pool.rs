//! Pooling over windows and whole images, and SqueezeExcite.

use super::Build;
use super::conv::{require_f32, row_window, window};
use crate::attributes::Attributes;
use crate::op::{
    EngineError, Operator, PlanContext, Planned, ReadInput, RowWindow, RunContext, Step, TensorSpec,
    check_size,
};
use vedette_tensor::conv::WindowAttributes;
use vedette_tensor::pool::{
    GlobalPoolPlan, GlobalReduction, PoolPlan, PoolShape, Reduction, SqueezeExciteArguments,
    SqueezeExcitePlan, max_pool,
};
use vedette_tensor::{Activation, DType, View};

pub(super) const OPERATORS: &[(&str, Build)] = &[
    ("MaxPool", |attributes| pool(attributes, Reduction::Max)),
    ("AveragePool", |attributes| {
        pool(attributes, Reduction::Average { include_pad: attributes.flag_or("count_include_pad", false)? })
    }),
    ("LpPool", |attributes| pool(attributes, Reduction::Lp { p: order(attributes)? })),
    ("GlobalAveragePool", |_| Ok(Box::new(GlobalPool(GlobalReduction::Average)))),
    ("GlobalMaxPool", |_| Ok(Box::new(GlobalPool(GlobalReduction::Max)))),
    ("GlobalLpPool", |attributes| Ok(Box::new(GlobalPool(GlobalReduction::Lp { p: order(attributes)? })))),
    ("SqueezeExcite", squeeze_excite),
];

fn order(attributes: &Attributes) -> Result<u32, EngineError> {
    let p = attributes.int_or("p", 2)?;
    match u32::try_from(p) {
        Ok(p) if p > 0 => Ok(p),
        _ => Err(EngineError::Invalid(format!("a norm of order p = {p}"))),
    }
}

struct Pool {
    window: WindowAttributes,
    kernel: Vec<usize>,
    reduction: Reduction,
    column_major: bool,
}

fn pool(attributes: &Attributes, reduction: Reduction) -> Result<Box<dyn Operator>, EngineError> {
    let kernel = attributes.ints("kernel_shape")?.unwrap_or_default();
    let sizes: Option<Vec<usize>> = kernel.iter().map(|&size| usize::try_from(size).ok()).collect();
    let Some(kernel) = sizes else {
        return Err(EngineError::Invalid(format!("kernel_shape is {kernel:?}")));
    };
    Ok(Box::new(Pool {
        window: window(attributes)?,
        kernel,
        reduction,
        column_major: attributes.flag_or("storage_order", false)?,
    }))
}

/// The shape of a pooling of whole maps, or of the strips that the context says.
pub(super) fn pool_shape(
    context: &PlanContext<'_>,
    kernel: &[usize],
    window: &WindowAttributes,
) -> Result<PoolShape, EngineError> {
    let shape = PoolShape::new(&context.input(0)?.spec.shape, kernel, window)?;
    Ok(match context.row_padding {
        Some(padding) => shape.with_row_padding(padding),
        None => shape,
    })
}

/// The rows that a pooling reads.
pub(super) fn pool_rows(
    context: &PlanContext<'_>,
    kernel: &[usize],
    window: &WindowAttributes,
) -> Option<RowWindow> {
    let shape = PoolShape::new(&context.optional(0)?.spec.shape, kernel, window).ok()?;
    // A last, partial window counts elements as no other does.
    (!window.ceil_mode).then(|| row_window(&shape.axes[1]))
}

impl Operator for Pool {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        let x = &context.input(0)?.spec;
        let shape = pool_shape(context, &self.kernel, &self.window)?;
        let y = shape.output();
        check_size(DType::I64, &y, context.memory_limit)?;
        let output = TensorSpec::channels_last(x.dtype, &y);
        if x.dtype == DType::F32 && context.outputs == 1 {
            let plan = PoolPlan::new(context.isa, context.threads, shape, self.reduction, &x.strides);
            return Ok(Planned::Step {
                outputs: vec![output],
                in_place: vec![],
                scratch_bytes: plan.scratch_bytes(),
                step: Box::new(PoolStep(plan)),
            });
        }
        if self.reduction == Reduction::Max
            && matches!(x.dtype, DType::U8 | DType::I8 | DType::BF16)
            && context.outputs == 1
        {
            return super::quantized::max_pool(context, shape);
        }
        let max_pool: MaxPoolFn = match (self.reduction, x.dtype) {
            (Reduction::Max, DType::F32) => max_pool::<f32>,
            (Reduction::Max, DType::F64) => max_pool::<f64>,
            (Reduction::Max, DType::F16) => max_pool::<vedette_tensor::f16>,
            (Reduction::Max, DType::BF16) => max_pool::<vedette_tensor::bf16>,
            (Reduction::Max, DType::I8) => max_pool::<i8>,
            (Reduction::Max, DType::U8) => max_pool::<u8>,
            (_, dtype) => return Err(EngineError::Unsupported(format!("this pooling of {dtype}"))),
        };
        let mut outputs = vec![output];
        outputs.extend((context.outputs > 1).then(|| TensorSpec::channels_last(DType::I64, &y)));
        Ok(Planned::Step {
            outputs,
            in_place: vec![],
            scratch_bytes: 0,
            step: Box::new(MaxPoolStep { shape, column_major: self.column_major, max_pool }),
        })
    }

    fn rounds_input(&self, input: &ReadInput<'_>) -> bool {
        // The largest of rounded values is the largest value, rounded.
        input.rounded && self.reduction == Reduction::Max
    }

    fn row_window(&self, context: &PlanContext<'_>, _: usize) -> Option<RowWindow> {
        // Indices of a strip are none of the map.
        pool_rows(context, &self.kernel, &self.window).filter(|_| context.outputs == 1)
    }
}

struct PoolStep(PoolPlan);

impl Step for PoolStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let Some(Some(x)) = context.inputs.first() else { return };
        let (x, out) = (x.as_ptr_of::<f32>(), context.outputs[0].as_mut_ptr_of::<f32>());
        // SAFETY: the views are as planned.
        unsafe { self.0.run(x, out, context.scratch, context.pool) };
    }
}

type MaxPoolFn = fn(
    &PoolShape,
    bool,
    &View<'_>,
    &mut vedette_tensor::ViewMut<'_>,
    Option<&mut vedette_tensor::ViewMut<'_>>,
);

struct MaxPoolStep {
    shape: PoolShape,
    column_major: bool,
    max_pool: MaxPoolFn,
}

impl Step for MaxPoolStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let (Some(Some(x)), Some((y, indices))) = (context.inputs.first(), context.outputs.split_first_mut())
        else {
            return;
        };
        (self.max_pool)(&self.shape, self.column_major, x, y, indices.first_mut());
    }
}

struct GlobalPool(GlobalReduction);

impl Operator for GlobalPool {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        require_f32(context, 0..1)?;
        let x = &context.input(0)?.spec;
        if !(3..=5).contains(&x.shape.len()) {
            return Err(EngineError::Unsupported(format!(
                "global pooling of an input of shape {:?}",
                x.shape
            )));
        }
        let mut y = x.shape.clone();
        y[2..].fill(1);
        let plan = GlobalPoolPlan::new(context.isa, context.threads, &x.shape, &x.strides, self.0);
        Ok(Planned::Step {
            outputs: vec![TensorSpec::contiguous(DType::F32, &y)],
            in_place: vec![],
            scratch_bytes: plan.scratch_bytes(),
            step: Box::new(GlobalPoolStep(plan)),
        })
    }
}

struct GlobalPoolStep(GlobalPoolPlan);

impl Step for GlobalPoolStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let Some(Some(x)) = context.inputs.first() else { return };
        let (x, out) = (x.as_ptr_of::<f32>(), context.outputs[0].as_mut_ptr_of::<f32>());
        // SAFETY: the views are as planned.
        unsafe { self.0.run(x, out, context.scratch, context.pool) };
    }
}

struct SqueezeExcite {
    inner: Option<Activation>,
    gate: Option<Activation>,
    residual: bool,
}

fn squeeze_excite(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    Ok(Box::new(SqueezeExcite {
        inner: attributes.activation("inner")?,
        gate: attributes.activation("gate")?,
        residual: attributes.flag_or("residual", false)?,
    }))
}

impl Operator for SqueezeExcite {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        require_f32(context, 0..5)?;
        let x = &context.input(0)?.spec;
        let (w1, w2) = (&context.input(1)?.spec, &context.input(3)?.spec);
        if !(3..=5).contains(&x.shape.len()) {
            return Err(EngineError::Unsupported(format!(
                "squeeze-excite of an input of shape {:?}",
                x.shape
            )));
        }
        let (channels, hidden) = (x.shape[1], w1.shape.first().copied().unwrap_or(0));
        let sized = |spec: &TensorSpec, rows: usize, columns: usize| {
            spec.len() == rows * columns && spec.shape.first() == Some(&rows)
        };
        let biases = [(2, hidden), (4, channels)];
        let fits = sized(w1, hidden, channels)
            && sized(w2, channels, hidden)
            && biases.iter().all(|&(i, len)| context.optional(i).is_none_or(|bias| bias.spec.len() == len));
        if !fits {
            return Err(EngineError::Invalid(format!(
                "squeeze-excite of {channels} channels with weights of shapes {:?} and {:?}",
                w1.shape, w2.shape
            )));
        }
        let in_order = |i: usize| {
            let order =
                |spec: &TensorSpec| TensorSpec::contiguous(spec.dtype, &spec.shape).strides == spec.strides;
            context.optional(i).is_none_or(|input| order(&input.spec))
        };
        if !(1..5).all(in_order) {
            return Err(EngineError::Unsupported(
                "squeeze-excite with weights that are strided views".into(),
            ));
        }
        let contiguous = TensorSpec::contiguous(DType::F32, &x.shape);
        let output =
            if *x == contiguous { contiguous } else { TensorSpec::channels_last(DType::F32, &x.shape) };
        let plan = SqueezeExcitePlan::new(
            context.isa,
            context.threads,
            &x.shape,
            (&x.strides, &output.strides),
            hidden,
            (self.inner, self.gate),
            self.residual,
        );
        Ok(Planned::Step {
            in_place: if output == *x { vec![0] } else { vec![] },
            outputs: vec![output],
            scratch_bytes: plan.scratch_bytes(),
            step: Box::new(SqueezeExciteStep(plan)),
        })
    }
}

struct SqueezeExciteStep(SqueezeExcitePlan);

impl Step for SqueezeExciteStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let input = |i: usize| match context.inputs.get(i).and_then(Option::as_ref) {
            Some(view) => view.as_ptr_of::<f32>(),
            None => std::ptr::null(),
        };
        let arguments = SqueezeExciteArguments {
            x: input(0),
            w1: input(1),
            b1: input(2),
            w2: input(3),
            b2: input(4),
            out: context.outputs[0].as_mut_ptr_of::<f32>(),
        };
        // SAFETY: the views are as planned; only the input may share the output's memory.
        unsafe { self.0.run(&arguments, context.scratch, context.pool) };
    }
}
