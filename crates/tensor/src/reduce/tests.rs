//! Reductions against plain loops over logical indices.

use super::*;
use crate::{Tensor, channels_last_strides, contiguous_strides};
use vedette_simd::Isa;

fn layout<'a>(view: &'a View<'_>) -> Layout<'a> {
    Layout { dtype: view.dtype(), shape: view.shape(), strides: view.strides() }
}

fn reduced_shape(shape: &[usize], axes: &[usize]) -> Dims {
    (0..shape.len()).map(|axis| if axes.contains(&axis) { 1 } else { shape[axis] }).collect()
}

/// For every output in C order, the inputs that are reduced to it.
fn groups(view: &View<'_>, axes: &[usize]) -> Vec<Vec<f64>> {
    let shape = reduced_shape(view.shape(), axes);
    let strides = contiguous_strides(&shape);
    let mut groups = vec![Vec::new(); shape.iter().product()];
    let steps: Strides =
        (0..shape.len()).map(|axis| if axes.contains(&axis) { 0 } else { strides[axis] }).collect();
    let values = view.to_vec::<f32>();
    let mut places = Vec::new();
    crate::view::for_each_offset(view.shape(), &steps, |place| places.push(place));
    for (x, place) in values.into_iter().zip(places) {
        groups[place as usize].push(f64::from(x));
    }
    groups
}

fn expected(op: ReduceOp, group: &[f64]) -> f64 {
    let sum = |f: fn(f64) -> f64| group.iter().map(|&x| f(x)).sum::<f64>();
    let mean = sum(|x| x) / group.len() as f64;
    match op {
        ReduceOp::Sum => sum(|x| x),
        ReduceOp::Mean => mean,
        ReduceOp::Min => group.iter().copied().fold(f64::INFINITY, f64::min),
        ReduceOp::Max => group.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        ReduceOp::Prod => group.iter().product(),
        ReduceOp::L1 => sum(f64::abs),
        ReduceOp::L2 => sum(|x| x * x).sqrt(),
        ReduceOp::SumSquare => sum(|x| x * x),
        ReduceOp::LogSum => sum(|x| x).ln(),
        ReduceOp::LogSumExp => sum(f64::exp).ln(),
        ReduceOp::Variance => group.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / group.len() as f64,
    }
}

fn run(op: ReduceOp, view: &View<'_>, axes: &[usize], isa: Isa, threads: usize) -> Vec<f32> {
    let shape = reduced_shape(view.shape(), axes);
    let mut output = Tensor::zeros(DType::F32, &shape).unwrap();
    let mut means = Tensor::zeros(DType::F32, &shape).unwrap();
    let pool = ThreadPool::new(threads);
    let to = means.view();
    let mean = Reduce::new(ReduceOp::Mean, layout(view), axes, layout(&to), isa).unwrap();
    let reduce = Reduce::new(op, layout(view), axes, layout(&to), isa).unwrap();
    mean.run(view, None, &mut means.view_mut(), &pool);
    reduce.run(
        view,
        (op == ReduceOp::Variance).then(|| means.view()).as_ref(),
        &mut output.view_mut(),
        &pool,
    );
    output.slice::<f32>().to_vec()
}

#[test]
fn every_reduction_over_every_axes_and_order() {
    let data: Vec<f32> = (0..2 * 6 * 5 * 37).map(|i| ((i * 7919) % 1013) as f32 / 506.0 + 0.01).collect();
    let plain = View::of(&[2, 6, 5, 37], &data);
    let last = View::of(&[2, 5, 37, 6], &data).permuted(&[0, 3, 1, 2]);
    let ops = [
        ReduceOp::Sum,
        ReduceOp::Mean,
        ReduceOp::Min,
        ReduceOp::Max,
        ReduceOp::Prod,
        ReduceOp::L1,
        ReduceOp::L2,
        ReduceOp::SumSquare,
        ReduceOp::LogSum,
        ReduceOp::LogSumExp,
        ReduceOp::Variance,
    ];
    let axes: [&[usize]; 7] = [&[], &[0], &[3], &[1], &[2, 3], &[0, 2], &[0, 1, 2, 3]];
    for view in [&plain, &last] {
        for axes in axes {
            let groups = groups(view, axes);
            for op in ops {
                for isa in Isa::available() {
                    let found = run(op, view, axes, isa, 1);
                    for (group, y) in groups.iter().zip(found) {
                        let exact = expected(op, group);
                        // Rounding errors of a sum of positive terms grow with the logarithm of their number.
                        let bound = 2e-6 * exact.abs() + 1e-6;
                        let fits = (exact - f64::from(y)).abs() <= bound || exact as f32 == y;
                        assert!(fits, "{op:?} {axes:?} {} {exact} {y}", isa.name());
                    }
                }
            }
        }
    }
}

#[test]
fn threads_agree_and_long_sums_stay_exact() {
    let data: Vec<f32> = (0..3 * 300 * 301).map(|i| 0.1 + (i % 7) as f32).collect();
    let image = View::of(&[1, 300, 301, 3], &data).permuted(&[0, 3, 1, 2]);
    for axes in [&[2usize, 3][..], &[1], &[0, 1, 2, 3]] {
        let one = run(ReduceOp::Sum, &image, axes, Isa::SCALAR, 1);
        assert_eq!(one, run(ReduceOp::Sum, &image, axes, Isa::SCALAR, 3));
        for (group, y) in groups(&image, axes).iter().zip(one) {
            let exact: f64 = group.iter().sum();
            assert!((exact - f64::from(y)).abs() < 2e-6 * exact, "{exact} {y}");
        }
    }
}

#[test]
fn nothing_reduces_to_the_neutral_element() {
    let empty = View::of::<f32>(&[2, 0, 3], &[]);
    let of = |op| run(op, &empty, &[1], Isa::SCALAR, 1);
    assert_eq!(of(ReduceOp::Sum), [0.0; 6]);
    assert_eq!(of(ReduceOp::Prod), [1.0; 6]);
    assert_eq!(of(ReduceOp::Max), [f32::NEG_INFINITY; 6]);
    assert_eq!(of(ReduceOp::Min), [f32::INFINITY; 6]);
    assert_eq!(of(ReduceOp::LogSumExp), [f32::NEG_INFINITY; 6]);
    assert!(of(ReduceOp::Mean)[0].is_nan());
}

#[test]
fn nan_and_infinity_pass_through() {
    let data = [1.0, f32::NAN, 3.0, f32::INFINITY, 2.0, 2.0];
    let view = View::of(&[3, 2], &data);
    assert!(run(ReduceOp::Max, &view, &[1], Isa::SCALAR, 1)[0].is_nan());
    assert_eq!(run(ReduceOp::LogSumExp, &view, &[1], Isa::SCALAR, 1)[1], f32::INFINITY);
}

#[test]
fn other_types_reduce_too() {
    let data: Vec<i32> = (0..24).collect();
    let view = View::of(&[4, 6], &data);
    let mut sums = [0i32; 6];
    let mut output = ViewMut::of(&[1, 6], &mut sums);
    let to = output.as_view();
    let reduce = Reduce::new(ReduceOp::Sum, layout(&view), &[0], layout(&to), Isa::SCALAR).unwrap();
    drop(to);
    reduce.run(&view, None, &mut output, &ThreadPool::new(1));
    assert_eq!(sums, [36, 40, 44, 48, 52, 56]);
    let truth = [true, false, true, true];
    let view = View::of(&[2, 2], &truth);
    for (op, expected) in [(ReduceOp::Max, [true, true]), (ReduceOp::Min, [false, true])] {
        let mut found = [false; 2];
        let mut output = ViewMut::of(&[2, 1], &mut found);
        let strides = output.strides().to_vec();
        let to = Layout { dtype: DType::Bool, shape: &[2, 1], strides: &strides };
        Reduce::new(op, layout(&view), &[1], to, Isa::SCALAR).unwrap().run(
            &view,
            None,
            &mut output,
            &ThreadPool::new(1),
        );
        assert_eq!(found, expected);
    }
    let wrong = Layout { dtype: DType::Bool, shape: &[2, 1], strides: &[1, 1] };
    assert!(Reduce::new(ReduceOp::Sum, layout(&view), &[1], wrong, Isa::SCALAR).is_err());
}

#[test]
fn arguments_take_the_first_or_last_of_equals() {
    let data = [1.0f32, 3.0, 3.0, f32::NAN, 0.0, 2.0, 2.0, 0.0, 5.0, 4.0, 5.0, 1.0];
    let view = View::of(&[3, 4], &data);
    let search = |view: &View<'_>, axis: usize, largest, last| {
        let mut shape = Dims::from_slice(view.shape());
        shape[axis] = 1;
        let mut found = vec![0i64; shape.iter().product()];
        let strides = contiguous_strides(&shape);
        let to = Layout { dtype: DType::I64, shape: &shape, strides: &strides };
        let plan = ArgReduce::new(layout(view), axis, to, largest, last).unwrap();
        plan.run(view, &mut ViewMut::of(&shape, &mut found), &ThreadPool::new(1));
        found
    };
    assert_eq!(search(&view, 1, true, false), [3, 1, 0]);
    assert_eq!(search(&view, 1, true, true), [3, 2, 2]);
    assert_eq!(search(&view, 1, false, true), [3, 3, 3]);
    assert_eq!(search(&view, 0, true, false), [2, 2, 2, 0]);
    assert_eq!(search(&view.permuted(&[1, 0]), 0, true, false), [3, 1, 0]);
}

#[test]
fn running_sums_go_both_ways() {
    let data: Vec<f64> = (1..=6).map(f64::from).collect();
    let strides = channels_last_strides(&[2, 3]);
    let view = View::of(&[2, 3], &data);
    let run = |op, axis, exclusive, reverse| {
        let mut found = vec![0.0; 6];
        let to = Layout { dtype: DType::F64, shape: &[2, 3], strides: &strides };
        let plan = Cumulative::new(op, layout(&view), axis, to, exclusive, reverse).unwrap();
        plan.run(&view, &mut ViewMut::of(&[2, 3], &mut found), &ThreadPool::new(1));
        found
    };
    assert_eq!(run(CumulativeOp::Sum, 1, false, false), [1., 3., 6., 4., 9., 15.]);
    assert_eq!(run(CumulativeOp::Sum, 1, true, true), [5., 3., 0., 11., 6., 0.]);
    assert_eq!(run(CumulativeOp::Product, 0, false, true), [4., 10., 18., 4., 5., 6.]);
}
