//! Operators small enough to check by eye, which between them use everything the planner offers.

use crate::op::*;
use crate::ops::Build;
use std::sync::OnceLock;
use vedette_tensor::{DType, Dims, Strides, Tensor, View, ViewMut};

pub(super) fn find(name: &str) -> Option<Build> {
    let build: Build = match name {
        "Add" => |_| Ok(Box::new(Add)),
        "Double" => |_| Ok(Box::new(Double)),
        "ChannelsLast" => |_| Ok(Box::new(ChannelsLast)),
        "Transpose" => |attributes| Ok(Box::new(Transpose(attributes.ints("perm")?.unwrap_or_default()))),
        "Reshape" => |_| Ok(Box::new(Reshape)),
        "Shape" => |_| Ok(Box::new(Shape)),
        "Halves" => |_| Ok(Box::new(Halves)),
        "Range" => |_| Ok(Box::new(Range)),
        "AddPacked" => |_| Ok(Box::new(AddPacked(OnceLock::new()))),
        "Zeros" => |_| Ok(Box::new(Zeros)),
        "Stray" => |_| Ok(Box::new(Stray)),
        "AsksAgain" => |_| Ok(Box::new(AsksAgain)),
        _ => return None,
    };
    Some(build)
}

/// Calls `f` with the offsets, by each of the strides, of every index.
fn walk(shape: &[usize], strides: [&[isize]; 3], at: [isize; 3], f: &mut impl FnMut([isize; 3])) {
    match shape {
        [] => f(at),
        [dim, rest @ ..] => {
            for i in 0..*dim as isize {
                let next = std::array::from_fn(|operand| at[operand] + i * strides[operand][0]);
                walk(rest, strides.map(|strides| &strides[1..]), next, f);
            }
        }
    }
}

/// `to[i] = f(a[i], b[i])`, element by element, so that memory taken over wrongly shows.
fn combine(a: &View<'_>, b: &View<'_>, to: &mut ViewMut<'_>, f: impl Fn(f32, f32) -> f32) {
    let (shape, strides): (Dims, Strides) = (to.shape().into(), to.strides().into());
    let (first, second, target) = (a.as_ptr_of::<f32>(), b.as_ptr_of::<f32>(), to.as_mut_ptr_of::<f32>());
    walk(&shape, [a.strides(), b.strides(), &strides], [0; 3], &mut |[a, b, to]| {
        // SAFETY: the offsets come from indexes within the shape that all three have.
        unsafe { *target.offset(to) = f(*first.offset(a), *second.offset(b)) }
    });
}

fn copy(from: &View<'_>, to: &mut ViewMut<'_>) {
    combine(from, from, to, |x, _| x);
}

fn dense_like(spec: &TensorSpec) -> TensorSpec {
    match vedette_tensor::is_dense(&spec.shape, &spec.strides) {
        true => spec.clone(),
        false => TensorSpec::contiguous(spec.dtype, &spec.shape),
    }
}

fn step(outputs: Vec<TensorSpec>, in_place: Vec<usize>, step: impl Step + 'static) -> Planned {
    Planned::Step { outputs, in_place, scratch_bytes: 0, step: Box::new(step) }
}

struct Add;
struct AddStep;

impl Operator for Add {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        let (a, b) = (&context.input(0)?.spec, &context.input(1)?.spec);
        if a.shape != b.shape {
            return Err(EngineError::Invalid(format!("shapes {:?} and {:?} differ", a.shape, b.shape)));
        }
        let spec = dense_like(a);
        let in_place = [a, b].iter().enumerate().filter(|(_, x)| ***x == spec).map(|(i, _)| i).collect();
        Ok(step(vec![spec], in_place, AddStep))
    }
}

impl Step for AddStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let [Some(a), Some(b)] = context.inputs else { panic!("two inputs") };
        combine(a, b, &mut context.outputs[0], |a, b| a + b);
    }
}

/// `x + x`, half of it by way of scratch memory.
struct Double;
struct DoubleStep;

impl Operator for Double {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        let mut spec = dense_like(&context.input(0)?.spec);
        if let Some(order) = context.preferred_order {
            let mut step = 1;
            for &axis in order.iter().rev() {
                spec.strides[axis] = step;
                step *= spec.shape[axis] as isize;
            }
        }
        let scratch_bytes = spec.len() * 4;
        Ok(Planned::Step { outputs: vec![spec], in_place: vec![], scratch_bytes, step: Box::new(DoubleStep) })
    }
}

impl Step for DoubleStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let Some(x) = &context.inputs[0] else { panic!("one input") };
        assert_eq!(context.scratch.as_ptr().addr() % 64, 0);
        let target = &mut context.outputs[0];
        let pointer = context.scratch.as_mut_ptr();
        // SAFETY: the scratch memory has room for the elements, as asked for.
        let mut scratch = unsafe {
            ViewMut::from_raw_parts(DType::F32, x.shape().into(), target.strides().into(), pointer)
        };
        copy(x, &mut scratch);
        combine(x, &scratch.as_view(), target, |a, b| a + b);
    }
}

struct CopyStep;

impl Step for CopyStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let Some(x) = &context.inputs[0] else { panic!("one input") };
        copy(x, &mut context.outputs[0]);
    }
}

struct ChannelsLast;

impl Operator for ChannelsLast {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        let spec = &context.input(0)?.spec;
        Ok(step(vec![TensorSpec::channels_last(spec.dtype, &spec.shape)], vec![], CopyStep))
    }
}

struct Transpose(Vec<i64>);

impl Operator for Transpose {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        let from = &context.input(0)?.spec;
        let axes: Vec<usize> = self.0.iter().map(|&axis| axis as usize).collect();
        let spec = TensorSpec {
            dtype: from.dtype,
            shape: axes.iter().map(|&axis| from.shape[axis]).collect(),
            strides: axes.iter().map(|&axis| from.strides[axis]).collect(),
        };
        Ok(Planned::Views { input: 0, views: vec![ViewOf { spec, offset: 0 }] })
    }
}

struct Reshape;

impl Operator for Reshape {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        let (from, shape) = (&context.input(0)?.spec, context.input(1)?);
        let Some(shape) = &shape.value else { return Ok(Planned::NeedsValue(1)) };
        let shape: Vec<usize> = shape.to_vec::<i64>().iter().map(|&dim| dim as usize).collect();
        let spec = TensorSpec::contiguous(from.dtype, &shape);
        if *from == TensorSpec::contiguous(from.dtype, &from.shape) {
            return Ok(Planned::Views { input: 0, views: vec![ViewOf { spec, offset: 0 }] });
        }
        Ok(step(vec![spec], vec![], ReshapeStep))
    }
}

struct ReshapeStep;

impl Step for ReshapeStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let Some(x) = &context.inputs[0] else { panic!("one input") };
        context.outputs[0].slice_mut::<f32>().unwrap().copy_from_slice(&x.to_vec::<f32>());
    }
}

struct Shape;

impl Operator for Shape {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        let dims: Vec<i64> = context.input(0)?.spec.shape.iter().map(|&dim| dim as i64).collect();
        Ok(Planned::Values(vec![Tensor::from_slice(&[dims.len()], &dims)]))
    }
}

/// The two halves along axis 0 as views.
struct Halves;

impl Operator for Halves {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        let mut spec = context.input(0)?.spec.clone();
        spec.shape[0] /= 2;
        let offset = spec.strides[0] * spec.shape[0] as isize;
        let views = vec![ViewOf { spec: spec.clone(), offset: 0 }, ViewOf { spec, offset }];
        Ok(Planned::Views { input: 0, views: views.into_iter().take(context.outputs).collect() })
    }
}

/// `[0, 1, ..., n)` for an n that may only be known at run time.
struct Range;

impl Operator for Range {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        let Some(n) = &context.input(0)?.value else { return Ok(Planned::NeedsValue(0)) };
        let n = n.to_vec::<i64>()[0] as usize;
        let mut tensor = context.zeros(DType::F32, &[n])?;
        let mut view = tensor.view_mut();
        view.slice_mut::<f32>().unwrap().iter_mut().enumerate().for_each(|(i, x)| *x = i as f32);
        Ok(Planned::Values(vec![tensor]))
    }
}

/// `x + c`, where `c` is a constant that the operator takes over.
struct AddPacked(OnceLock<Vec<f32>>);
struct AddPackedStep(Vec<f32>);

impl Operator for AddPacked {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        let constant = context.input(1)?;
        assert!(constant.constant && constant.value.is_some() != self.0.get().is_some());
        let packed = self.0.get_or_init(|| constant.value.as_ref().unwrap().to_vec());
        let spec = dense_like(&context.input(0)?.spec);
        Ok(step(vec![spec], vec![], AddPackedStep(packed.clone())))
    }

    fn released_inputs(&self) -> &[usize] {
        if self.0.get().is_some() { &[1] } else { &[] }
    }

    fn packed_bytes(&self) -> usize {
        self.0.get().map_or(0, |packed| packed.len() * 4)
    }
}

impl Step for AddPackedStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        let [Some(x), None] = context.inputs else { panic!("a released input is absent") };
        let sum: Vec<f32> = x.to_vec::<f32>().iter().zip(&self.0).map(|(x, c)| x + c).collect();
        copy(&View::of(x.shape(), &sum), &mut context.outputs[0]);
    }
}

/// Zeros of a shape given as a value.
struct Zeros;

impl Operator for Zeros {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        let Some(shape) = &context.input(0)?.value else { return Ok(Planned::NeedsValue(0)) };
        let shape: Vec<usize> = shape.to_vec::<i64>().iter().map(|&dim| dim as usize).collect();
        Ok(step(vec![TensorSpec::contiguous(DType::F32, &shape)], vec![], ZerosStep))
    }
}

struct ZerosStep;

impl Step for ZerosStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        context.outputs[0].slice_mut::<f32>().unwrap().fill(0.0);
    }
}

/// Claims a view beyond its input's memory.
struct Stray;

impl Operator for Stray {
    fn plan(&self, context: &PlanContext<'_>) -> Result<Planned, EngineError> {
        let spec = context.input(0)?.spec.clone();
        Ok(Planned::Views { input: 0, views: vec![ViewOf { spec, offset: 1 }] })
    }
}

/// Asks for its input even when it is known.
struct AsksAgain;

impl Operator for AsksAgain {
    fn plan(&self, _: &PlanContext<'_>) -> Result<Planned, EngineError> {
        Ok(Planned::NeedsValue(0))
    }
}
