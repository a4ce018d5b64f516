//! ConvInteger, MatMulInteger, QLinearConv and QLinearMatMul, as the standard has them.

use super::Build;
use super::conv::{check_kernel, window};
use super::planning::{check, expect_dtype, input, invalid, layout, no_kernel, operator};
use super::scratch::{ScratchPlan, ScratchTensor};
use crate::attributes::Attributes;
use crate::op::{EngineError, Operator, PlanContext, Planned, RunContext, Step, TensorSpec};
use vedette_integer::elementwise::Bytes;
use vedette_integer::standard::{convolve, requantize_by};
use vedette_simd::Isa;
use vedette_tensor::conv::{ConvShape, WindowAttributes};
use vedette_tensor::elementwise::{BinaryOp, Map, binary, cast};
use vedette_tensor::matmul::{MatMulOperands, matmul_shape, multiply_generic};
use vedette_tensor::{DType, Dims, Strides, View, ViewMut, f16};

pub(super) const OPERATORS: &[(&str, Build)] = &[
    ("ConvInteger", |attributes| conv(attributes, [0, 1], [2, 3], None)),
    ("QLinearConv", |attributes| {
        let scales = Scales { a: 1, b: 4, y: 6, zero_point: 7 };
        conv(attributes, [0, 3], [2, 5], Some((scales, 8)))
    }),
    ("MatMulInteger", |_| operator(|context| plan_matmul(context, [0, 1], [2, 3], None))),
    ("QLinearMatMul", |_| {
        let scales = Scales { a: 1, b: 4, y: 6, zero_point: 7 };
        operator(move |context| plan_matmul(context, [0, 3], [2, 5], Some(scales)))
    }),
];

/// Positions of the inputs that turn sums into bytes.
#[derive(Clone, Copy)]
struct Scales {
    a: usize,
    b: usize,
    y: usize,
    zero_point: usize,
}

/// A tensor of bytes, widened to i32 without its zero point, in C order.
struct Widened {
    input: usize,
    cast: Map<2>,
    to: ScratchTensor,
    zero: Option<Zero>,
}

/// A zero point that is taken away.
struct Zero {
    input: usize,
    /// How it is seen from the tensor.
    seen: (Dims, Strides),
    cast: Map<2>,
    wide: ScratchTensor,
    subtract: Map<3>,
    to: ScratchTensor,
}

impl Widened {
    /// `seen` tells how a zero point that is not one value lies beside the tensor.
    fn new(
        context: &PlanContext<'_>,
        position: usize,
        zero_point: usize,
        seen: impl Fn(&TensorSpec) -> Result<(Dims, Strides), EngineError>,
        scratch: &mut ScratchPlan,
    ) -> Result<Widened, EngineError> {
        let spec = &context.input(position)?.spec;
        if Bytes::new(spec.dtype).is_none() {
            return Err(no_kernel("an integer product", spec.dtype));
        }
        let wide = TensorSpec::contiguous(DType::I32, &spec.shape);
        check(context, &wide)?;
        let cast_all = Map::new(cast(spec.dtype, DType::I32), [layout(&wide), layout(spec)])?;
        let to = scratch.tensor(&wide)?;
        let zero = match context.optional(zero_point) {
            None => None,
            Some(zero) => {
                expect_dtype(zero, spec.dtype)?;
                let (shape, strides) = match zero.spec.len() {
                    1 => (Dims::new(), Strides::new()),
                    _ => seen(&zero.spec)?,
                };
                let from = TensorSpec { dtype: spec.dtype, shape: shape.clone(), strides: strides.clone() };
                let wide_zero = TensorSpec::contiguous(DType::I32, &shape);
                let kernel = binary(BinaryOp::Sub, DType::I32, Isa::SCALAR)
                    .ok_or_else(|| no_kernel("Sub", DType::I32))?;
                Some(Zero {
                    input: zero_point,
                    cast: Map::new(cast(spec.dtype, DType::I32), [layout(&wide_zero), layout(&from)])?,
                    subtract: Map::new(kernel, [layout(&wide), layout(&wide), layout(&wide_zero)])?,
                    seen: (shape, strides),
                    wide: scratch.tensor(&wide_zero)?,
                    to: scratch.tensor(&wide)?,
                })
            }
        };
        Ok(Widened { input: position, cast: cast_all, to, zero })
    }

    fn run(&self, context: &mut RunContext<'_, '_>) {
        let from = input(context.inputs, self.input);
        self.cast.run(&[from], &mut self.to.view_mut(context.scratch), context.pool);
        let Some(zero) = &self.zero else { return };
        let (shape, strides) = zero.seen.clone();
        // SAFETY: the zero points' own elements, seen with more axes.
        let from = unsafe { input(context.inputs, zero.input).reinterpret(shape, strides, 0) };
        zero.cast.run(&[&from], &mut zero.wide.view_mut(context.scratch), context.pool);
        let (mut to, [x, zeros]) = zero.to.view_mut_beside(context.scratch, [&self.to, &zero.wide]);
        zero.subtract.run(&[&x, &zeros], &mut to, context.pool);
    }

    /// Where the widened tensor is.
    fn result(&self) -> &ScratchTensor {
        self.zero.as_ref().map_or(&self.to, |zero| &zero.to)
    }
}

/// How sums become bytes.
struct Requantized {
    scales: Scales,
    /// Values of the multiplier.
    count: usize,
    multiplier: ScratchTensor,
    sums: ScratchTensor,
    map: Map<4>,
}

/// The scale of index `i`; one value counts for all.
fn scale_at(view: &View<'_>, i: usize) -> f32 {
    let at = if view.len() == 1 { 0 } else { i as isize * view.strides()[0] };
    // SAFETY: one value, or one of a vector of the length that was planned.
    unsafe {
        match view.dtype() {
            DType::F16 => view.as_ptr_of::<f16>().offset(at).read().to_f32(),
            _ => view.as_ptr_of::<f32>().offset(at).read(),
        }
    }
}

impl Requantized {
    /// For sums of a shape, `channels` of them along `axis`, which may have scales of their own.
    fn new(
        context: &PlanContext<'_>,
        scales: Scales,
        output: &TensorSpec,
        axis: usize,
        scratch: &mut ScratchPlan,
    ) -> Result<Requantized, EngineError> {
        let channels = output.shape.get(axis).copied().unwrap_or(1);
        let mut count = 1;
        for i in [scales.a, scales.b, scales.y] {
            let spec = &context.input(i)?.spec;
            if !matches!(spec.dtype, DType::F32 | DType::F16) {
                return Err(no_kernel("scales", spec.dtype));
            }
            if i == scales.b && spec.shape[..] == [channels] {
                count = channels;
            } else if spec.len() != 1 {
                let shape = &spec.shape[..];
                return Err(EngineError::Unsupported(format!("scales of shape {shape:?} (input {i})")));
            }
        }
        let zero_point = context.input(scales.zero_point)?;
        expect_dtype(zero_point, output.dtype)?;
        if zero_point.spec.len() != 1 {
            let shape = &zero_point.spec.shape[..];
            return Err(EngineError::Unsupported(format!("zero points of an output of shape {shape:?}")));
        }
        let bytes = Bytes::new(output.dtype).ok_or_else(|| no_kernel("an integer product", output.dtype))?;
        let one = TensorSpec::contiguous(output.dtype, &[]);
        let mut seen = Dims::from_elem(1, output.shape.len().saturating_sub(axis).max(1));
        seen[0] = count;
        let multiplier = TensorSpec::contiguous(DType::F32, &seen);
        let sums = TensorSpec::contiguous(DType::I32, &output.shape);
        check(context, &sums)?;
        let map = Map::new(
            requantize_by(bytes),
            [layout(output), layout(&sums), layout(&multiplier), layout(&one)],
        )?;
        let (multiplier, sums) = (scratch.tensor(&multiplier)?, scratch.tensor(&sums)?);
        Ok(Requantized { scales, count, multiplier, sums, map })
    }

    fn run(&self, context: &mut RunContext<'_, '_>) {
        let scale = |i: usize, at: usize| scale_at(input(context.inputs, i), at);
        let Scales { a, b, y, zero_point } = self.scales;
        self.multiplier
            .fill(context.scratch, |i| scale(a, 0) * scale(b, i.min(self.count - 1)) / scale(y, 0));
        // SAFETY: one value, seen without axes.
        let zero = unsafe { input(context.inputs, zero_point).reinterpret(Dims::new(), Strides::new(), 0) };
        let (sums, multiplier) = (self.sums.view(context.scratch), self.multiplier.view(context.scratch));
        self.map.run(&[&sums, &multiplier, &zero], &mut context.outputs[0], context.pool);
    }
}

fn conv(
    attributes: &Attributes,
    operands: [usize; 2],
    zero_points: [usize; 2],
    quantized: Option<(Scales, usize)>,
) -> Result<Box<dyn Operator>, EngineError> {
    let window = window(attributes)?;
    let kernel = attributes.ints("kernel_shape")?;
    let groups = attributes.int_or("group", 1)?;
    operator(move |context| {
        check_kernel(&kernel, &context.input(operands[1])?.spec.shape)?;
        plan_conv(context, operands, zero_points, quantized, (&window, groups))
    })
}

/// The sums, in the output or in scratch memory.
fn sums_of<'s>(
    requantized: Option<&Requantized>,
    scratch: &'s mut [u8],
    output: &'s mut ViewMut<'_>,
    operands: [&ScratchTensor; 2],
) -> (ViewMut<'s>, [View<'s>; 2]) {
    match requantized {
        Some(requantized) => requantized.sums.view_mut_beside(scratch, operands),
        None => {
            let scratch: &'s [u8] = scratch;
            (output.reborrow(), operands.map(|operand| operand.view(scratch)))
        }
    }
}

struct ConvStep {
    shape: ConvShape,
    x: Widened,
    w: Widened,
    bias: Option<usize>,
    requantized: Option<Requantized>,
}

impl Step for ConvStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        self.x.run(context);
        self.w.run(context);
        let bias = self.bias.and_then(|i| context.inputs.get(i)?.as_ref()?.slice::<i32>());
        let operands = [self.x.result(), self.w.result()];
        let (mut sums, [x, w]) =
            sums_of(self.requantized.as_ref(), context.scratch, &mut context.outputs[0], operands);
        if let (Some(x), Some(w), Some(out)) = (x.slice(), w.slice(), sums.slice_mut::<i32>()) {
            convolve(&self.shape, x, w, bias, out, context.pool);
        }
        if let Some(requantized) = &self.requantized {
            requantized.run(context);
        }
    }

    fn multiply_accumulates(&self) -> u64 {
        self.shape.work()
    }
}

fn plan_conv(
    context: &PlanContext<'_>,
    operands: [usize; 2],
    zero_points: [usize; 2],
    quantized: Option<(Scales, usize)>,
    (window, groups): (&WindowAttributes, i64),
) -> Result<Planned, EngineError> {
    let (x, w) = (&context.input(operands[0])?.spec, &context.input(operands[1])?.spec);
    let shape = ConvShape::new(&x.shape, &w.shape, groups, window)?;
    let mut scratch = ScratchPlan::default();
    let one_value = |spec: &TensorSpec| invalid(format!("a zero point of shape {:?}", &spec.shape[..]));
    let x = Widened::new(context, operands[0], zero_points[0], one_value, &mut scratch)?;
    let (outputs, rank) = (w.shape[0], w.shape.len());
    let by_output = |spec: &TensorSpec| {
        if spec.shape[..] != [outputs] {
            return invalid(format!("zero points of shape {:?} for {outputs} channels", &spec.shape[..]));
        }
        let mut seen = (Dims::from_elem(1, rank), Strides::from_elem(0, rank));
        (seen.0[0], seen.1[0]) = (outputs, spec.strides[0]);
        Ok(seen)
    };
    let w = Widened::new(context, operands[1], zero_points[1], by_output, &mut scratch)?;
    let dtype = match quantized {
        Some((scales, _)) => context.input(scales.zero_point)?.spec.dtype,
        None => DType::I32,
    };
    let output = TensorSpec::contiguous(dtype, &shape.output());
    check(context, &output)?;
    let mut requantized = None;
    let mut bias = None;
    if let Some((scales, at)) = quantized {
        requantized = Some(Requantized::new(context, scales, &output, 1, &mut scratch)?);
        if let Some(input) = context.optional(at) {
            if input.spec != TensorSpec::contiguous(DType::I32, &[outputs]) {
                let (dtype, shape) = (input.spec.dtype, &input.spec.shape[..]);
                return invalid(format!("a bias {dtype} {shape:?}, expected int32 [{outputs}]"));
            }
            bias = Some(at);
        }
    }
    Ok(Planned::Step {
        outputs: vec![output],
        in_place: Vec::new(),
        scratch_bytes: scratch.bytes(),
        step: Box::new(ConvStep { shape, x, w, bias, requantized }),
    })
}

struct MatMulStep {
    a: Widened,
    b: Widened,
    requantized: Option<Requantized>,
}

impl Step for MatMulStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        self.a.run(context);
        self.b.run(context);
        let operands = [self.a.result(), self.b.result()];
        let (mut sums, [a, b]) =
            sums_of(self.requantized.as_ref(), context.scratch, &mut context.outputs[0], operands);
        multiply_generic((&a, false), (&b, false), &mut sums);
        if let Some(requantized) = &self.requantized {
            requantized.run(context);
        }
    }
}

fn plan_matmul(
    context: &PlanContext<'_>,
    positions: [usize; 2],
    zero_points: [usize; 2],
    quantized: Option<Scales>,
) -> Result<Planned, EngineError> {
    let (a, b) = (&context.input(positions[0])?.spec, &context.input(positions[1])?.spec);
    let operands = MatMulOperands {
        a_shape: &a.shape,
        a_strides: &a.strides,
        trans_a: false,
        b_shape: &b.shape,
        b_strides: &b.strides,
        trans_b: false,
    };
    let shape = matmul_shape(&operands)?;
    let mut scratch = ScratchPlan::default();
    // One zero point a row of the one, a column of the other.
    let by_row = |spec: &TensorSpec| match spec.shape.len() {
        1 => {
            let (mut shape, mut strides) = (spec.shape.clone(), spec.strides.clone());
            shape.push(1);
            strides.push(0);
            Ok((shape, strides))
        }
        _ => Ok((spec.shape.clone(), spec.strides.clone())),
    };
    let as_it_is = |spec: &TensorSpec| Ok((spec.shape.clone(), spec.strides.clone()));
    let a = Widened::new(context, positions[0], zero_points[0], by_row, &mut scratch)?;
    let b = Widened::new(context, positions[1], zero_points[1], as_it_is, &mut scratch)?;
    let dtype = match quantized {
        Some(scales) => context.input(scales.zero_point)?.spec.dtype,
        None => DType::I32,
    };
    let output = TensorSpec::contiguous(dtype, &shape);
    check(context, &output)?;
    let requantized = match quantized {
        Some(scales) => {
            let last = shape.len().saturating_sub(1);
            Some(Requantized::new(context, scales, &output, last, &mut scratch)?)
        }
        None => None,
    };
    Ok(Planned::Step {
        outputs: vec![output],
        in_place: Vec::new(),
        scratch_bytes: scratch.bytes(),
        step: Box::new(MatMulStep { a, b, requantized }),
    })
}
