//! What the bindings share: operators and steps from closures, and checked readings of inputs and attributes.

use crate::attributes::Attributes;
use crate::op::{
    EngineError, Operator, PlanContext, PlanInput, Planned, ReadInput, RowWindow, RunContext, Step,
    TensorSpec, ViewOf,
};
use vedette_tensor::elementwise::{Kernel, Layout, Map};
use vedette_tensor::movement::{Copy, dense_strides_like};
use vedette_tensor::{DType, Dims, Element, Strides, Tensor, View, broadcast_shape, is_dense};

struct PlanFn<F, R> {
    plan: F,
    row_window: R,
}

impl<F, R> Operator for PlanFn<F, R>
where
    F: Fn(&PlanContext<'_>) -> Result<Planned, EngineError> + Send + Sync,
    R: Fn(&PlanContext<'_>) -> Option<RowWindow> + Send + Sync,
{
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        (self.plan)(context)
    }

    fn row_window(&self, context: &PlanContext<'_>, _: usize) -> Option<RowWindow> {
        (self.row_window)(context)
    }
}

/// An operator that plans by a closure.
pub(super) fn operator(
    plan: impl Fn(&PlanContext<'_>) -> Result<Planned, EngineError> + Send + Sync + 'static,
) -> Result<Box<dyn Operator>, EngineError> {
    operator_by_rows(plan, |_| None)
}

struct Moving<F>(F);

impl<F> Operator for Moving<F>
where
    F: Fn(&PlanContext<'_>) -> Result<Planned, EngineError> + Send + Sync,
{
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        (self.0)(context)
    }

    fn rounds_input(&self, input: &ReadInput<'_>) -> bool {
        // Rounded values are moved as any.
        input.position == 0 && input.rounded
    }
}

/// An operator that plans by a closure, and moves the elements of its first input whatever they are.
pub(super) fn moving(
    plan: impl Fn(&PlanContext<'_>) -> Result<Planned, EngineError> + Send + Sync + 'static,
) -> Result<Box<dyn Operator>, EngineError> {
    Ok(Box::new(Moving(plan)))
}

/// An operator that plans by a closure, strips of rows too where the other says by what rows they are made.
pub(super) fn operator_by_rows(
    plan: impl Fn(&PlanContext<'_>) -> Result<Planned, EngineError> + Send + Sync + 'static,
    row_window: impl Fn(&PlanContext<'_>) -> Option<RowWindow> + Send + Sync + 'static,
) -> Result<Box<dyn Operator>, EngineError> {
    Ok(Box::new(PlanFn { plan, row_window }))
}

/// An elementwise operator that plans by a closure.
pub(super) fn elementwise(
    plan: impl Fn(&PlanContext<'_>) -> Result<Planned, EngineError> + Send + Sync + 'static,
) -> Result<Box<dyn Operator>, EngineError> {
    operator_by_rows(plan, same_rows)
}

/// Row by row, where every input is a map that is not known yet, or has no rows of its own.
fn same_rows(context: &PlanContext<'_>) -> Option<RowWindow> {
    let rows = |input: &PlanInput<'_>| match input.spec.shape[..] {
        [1, _, _, _] if !input.constant && input.value.is_none() => true,
        [.., rows, _] => rows == 1,
        _ => true,
    };
    context.inputs.iter().flatten().all(rows).then_some(RowWindow::SAME)
}

/// Row by row, where maps that are not known yet are joined along their channels.
pub(super) fn concat_rows(context: &PlanContext<'_>, axis: i64) -> Option<RowWindow> {
    let map = |input: &PlanInput<'_>| input.spec.shape.len() == 4 && !input.constant && input.value.is_none();
    ([1, -3].contains(&axis) && context.inputs.iter().flatten().all(map)).then_some(RowWindow::SAME)
}

struct StepFn<F>(F);

impl<F: Fn(&mut RunContext<'_, '_>) + Send + Sync> Step for StepFn<F> {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        (self.0)(context);
    }
}

/// A step that runs a closure.
pub(super) fn step(run: impl Fn(&mut RunContext<'_, '_>) + Send + Sync + 'static) -> Box<dyn Step> {
    Box::new(StepFn(run))
}

/// One output, made by a closure.
pub(super) fn plan_step(
    output: TensorSpec,
    run: impl Fn(&mut RunContext<'_, '_>) + Send + Sync + 'static,
) -> Result<Planned, EngineError> {
    Ok(Planned::Step { outputs: vec![output], in_place: Vec::new(), scratch_bytes: 0, step: step(run) })
}

/// One output that is a view of input 0.
pub(super) fn plan_view(spec: TensorSpec, offset: isize) -> Result<Planned, EngineError> {
    Ok(Planned::Views { input: 0, views: vec![ViewOf { spec, offset }] })
}

/// An error about what the program says.
pub(super) fn invalid<T>(message: impl Into<String>) -> Result<T, EngineError> {
    Err(EngineError::Invalid(message.into()))
}

/// The refusal of an operator for an element type.
pub(super) fn no_kernel(name: &str, dtype: DType) -> EngineError {
    EngineError::Unsupported(format!("{name} of {dtype} elements"))
}

/// How a tensor lies.
pub(super) fn layout(spec: &TensorSpec) -> Layout<'_> {
    Layout { dtype: spec.dtype, shape: &spec.shape, strides: &spec.strides }
}

/// The axis meant by an ONNX number, which counts from the end where it is negative.
pub(super) fn axis_of(axis: i64, rank: usize) -> Result<usize, EngineError> {
    let from_start = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(from_start).ok().filter(|&axis| axis < rank).ok_or_else(|| {
        EngineError::Invalid(format!("axis {axis} is out of range for a tensor of rank {rank}"))
    })
}

/// Distinct axes, in the order given.
pub(super) fn axes_of(axes: &[i64], rank: usize) -> Result<Dims, EngineError> {
    let resolved: Dims = axes.iter().map(|&axis| axis_of(axis, rank)).collect::<Result<_, _>>()?;
    for (i, axis) in resolved.iter().enumerate() {
        if resolved[..i].contains(axis) {
            return invalid(format!("axis {axis} appears twice in {axes:?}"));
        }
    }
    Ok(resolved)
}

/// The elements of an integer tensor, in C order.
pub(super) fn integers_of(view: &View<'_>) -> Result<Vec<i64>, EngineError> {
    match view.dtype() {
        DType::I64 => Ok(view.to_vec::<i64>()),
        DType::I32 => Ok(view.to_vec::<i32>().into_iter().map(i64::from).collect()),
        dtype => invalid(format!("expected int64 or int32 values, got {dtype}")),
    }
}

/// The integers of an input where they are known.
pub(super) fn known_integers(input: &PlanInput<'_>) -> Result<Option<Vec<i64>>, EngineError> {
    input.value.as_ref().map(integers_of).transpose()
}

/// The one element of an input where it is known.
pub(super) fn known_scalar<T: Element>(input: &PlanInput<'_>) -> Result<Option<T>, EngineError> {
    expect_dtype(input, T::DTYPE)?;
    match &input.value {
        None => Ok(None),
        Some(view) if view.len() == 1 => Ok(Some(view.to_vec::<T>()[0])),
        Some(view) => invalid(format!("expected one element, got shape {:?}", view.shape())),
    }
}

/// An optional input of integers: absent, known, or to be waited for.
pub(super) enum Integers {
    Absent,
    Known(Vec<i64>),
    Unknown,
}

/// Reads an optional input of integers.
pub(super) fn optional_integers(context: &PlanContext<'_>, i: usize) -> Result<Integers, EngineError> {
    Ok(match context.optional(i) {
        None => Integers::Absent,
        Some(input) => known_integers(input)?.map_or(Integers::Unknown, Integers::Known),
    })
}

/// Refuses an input of another type.
pub(super) fn expect_dtype(input: &PlanInput<'_>, dtype: DType) -> Result<(), EngineError> {
    match input.spec.dtype {
        found if found == dtype => Ok(()),
        found => invalid(format!("expected a {dtype} input, got {found}")),
    }
}

/// A size from the program, which must not be negative.
pub(super) fn size_of_dim(dim: i64) -> Result<usize, EngineError> {
    usize::try_from(dim).map_err(|_| EngineError::Invalid(format!("a size of {dim} is negative")))
}

/// A list of sizes from the program.
pub(super) fn shape_of(dims: &[i64]) -> Result<Dims, EngineError> {
    dims.iter().map(|&dim| size_of_dim(dim)).collect()
}

/// Strides for a dense output of this shape: those of the first input of that shape that is dense, else the memory
/// order of the first input of that shape, else C order.
pub(super) fn output_strides(shape: &[usize], inputs: &[&TensorSpec]) -> Strides {
    let same_shape = || inputs.iter().filter(|input| input.shape[..] == *shape);
    if let Some(input) = same_shape().find(|input| is_dense(&input.shape, &input.strides)) {
        return input.strides.clone();
    }
    match same_shape().next() {
        Some(input) => dense_strides_like(shape, &input.strides),
        None => vedette_tensor::contiguous_strides(shape),
    }
}

/// An output with the shape and memory order of an input.
pub(super) fn output_like(dtype: DType, input: &TensorSpec) -> TensorSpec {
    TensorSpec { dtype, shape: input.shape.clone(), strides: output_strides(&input.shape, &[input]) }
}

/// Plans a kernel over inputs that broadcast.
pub(super) fn plan_map<const N: usize>(
    context: &PlanContext<'_>,
    kernel: Kernel<N>,
    inputs: [usize; N],
) -> Result<Planned, EngineError> {
    // The first entry stands for the output, so that the positions are those of the kernel's operands.
    let inputs = &inputs[1..];
    let specs: Vec<&TensorSpec> =
        inputs.iter().map(|&i| context.input(i).map(|input| &input.spec)).collect::<Result<_, _>>()?;
    let mut shape = Dims::new();
    for spec in &specs {
        shape = broadcast_shape(&shape, &spec.shape)?;
    }
    let strides = output_strides(&shape, &specs);
    let output = TensorSpec { dtype: kernel.output_dtype(), shape, strides };
    let in_place =
        inputs.iter().copied().zip(&specs).filter(|(_, spec)| ***spec == output).map(|(i, _)| i).collect();
    let map = Map::new(kernel, std::array::from_fn(|k| layout(if k == 0 { &output } else { specs[k - 1] })))?;
    let positions = inputs.to_vec();
    let step = step(move |context| {
        let last = positions.len() - 1;
        let views: [&View<'_>; 4] = std::array::from_fn(|k| input(context.inputs, positions[k.min(last)]));
        map.run(&views[..=last], &mut context.outputs[0], context.pool);
    });
    Ok(Planned::Step { outputs: vec![output], in_place, scratch_bytes: 0, step })
}

/// The view of an input that the plan has made sure of.
pub(super) fn input<'c, 'b>(inputs: &'c [Option<View<'b>>], i: usize) -> &'c View<'b> {
    match &inputs[i] {
        Some(view) => view,
        None => unreachable!("input {i} was there when planning"),
    }
}

/// A copy of input 0 into the first output, which is dense and has as many elements, in the same logical order.
///
/// `shape` and `strides` say how the output is seen with the input's axes.
pub(super) fn plan_copy(
    from: &TensorSpec,
    output: TensorSpec,
    strides: Strides,
) -> Result<Planned, EngineError> {
    let copy = Copy::new(&from.shape, &from.strides, &strides, from.dtype.size());
    let shape = from.shape.clone();
    plan_step(output, move |context| {
        let mut seen = relaid(&mut context.outputs[0], &shape, &strides);
        copy.run(input(context.inputs, 0), &mut seen, context.pool);
    })
}

/// A dense output seen through another shape and other dense strides.
///
/// # Panics
/// Where they do not cover exactly the elements of the output.
pub(super) fn relaid<'v>(
    output: &'v mut vedette_tensor::ViewMut<'_>,
    shape: &[usize],
    strides: &[isize],
) -> vedette_tensor::ViewMut<'v> {
    let dtype = output.dtype();
    assert!(is_dense(shape, strides) && output.is_dense());
    assert_eq!(shape.iter().product::<usize>(), output.len());
    // SAFETY: dense strides over as many elements reach exactly those of the output, which is borrowed exclusively.
    unsafe {
        vedette_tensor::ViewMut::from_raw_parts(dtype, shape.into(), strides.into(), output.as_mut_ptr())
    }
}

/// One value, known now.
pub(super) fn plan_value(tensor: Tensor) -> Result<Planned, EngineError> {
    Ok(Planned::Values(vec![tensor]))
}

/// An attribute that must have one of these values.
pub(super) fn one_of<T: std::marker::Copy>(
    attributes: &Attributes,
    name: &str,
    default: &str,
    choices: &[(&str, T)],
) -> Result<T, EngineError> {
    let text = attributes.string_or(name, default)?;
    match choices.iter().find(|choice| choice.0 == text) {
        Some(choice) => Ok(choice.1),
        None => {
            let names: Vec<&str> = choices.iter().map(|choice| choice.0).collect();
            Err(EngineError::Unsupported(format!(
                "attribute `{name}` is `{text}`, expected one of {names:?}"
            )))
        }
    }
}

/// Refuses an output whose size overflows or exceeds the memory limit, before anything is computed from its strides.
pub(super) fn check(context: &PlanContext<'_>, output: &TensorSpec) -> Result<(), EngineError> {
    crate::op::check_size(output.dtype, &output.shape, context.memory_limit).map(drop)
}

/// For every element in C order whether it differs from zero.
pub(super) fn truth(view: &View<'_>) -> Result<Vec<bool>, EngineError> {
    let mut flags = Tensor::zeros(DType::Bool, view.shape()).map_err(|error| EngineError::Memory(error.0))?;
    let to = TensorSpec::contiguous(DType::Bool, view.shape());
    let from = Layout { dtype: view.dtype(), shape: view.shape(), strides: view.strides() };
    let map = Map::new(vedette_tensor::elementwise::cast(view.dtype(), DType::Bool), [layout(&to), from])?;
    map.run(&[view], &mut flags.view_mut(), &vedette_runtime::ThreadPool::new(1));
    Ok(flags.slice::<bool>().to_vec())
}
