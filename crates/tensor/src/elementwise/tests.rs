//! Kernels over tensors of every layout against plain loops over logical indices.

use super::number::Integer;
use super::*;
use crate::view::for_each_offset;
use crate::{Activation, DType, Tensor, View, broadcast_shape, channels_last_strides};
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

fn layout<'a>(view: &'a View<'_>) -> Layout<'a> {
    Layout { dtype: view.dtype(), shape: view.shape(), strides: view.strides() }
}

fn run<const N: usize>(kernel: Kernel<N>, inputs: [&View<'_>; 2], threads: usize) -> Vec<f32> {
    let inputs = &inputs[..N - 1];
    let shape =
        inputs.iter().fold(crate::Dims::new(), |shape, view| broadcast_shape(&shape, view.shape()).unwrap());
    let mut output = Tensor::zeros(DType::F32, &shape).unwrap();
    let written = output.view();
    let layouts = std::array::from_fn(|k| layout(if k == 0 { &written } else { inputs[k - 1] }));
    let map = Map::new(kernel, layouts).unwrap();
    map.run(inputs, &mut output.view_mut(), &ThreadPool::new(threads));
    output.slice::<f32>().to_vec()
}

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919) % 1013) as f32 / 100.0 - 5.0).collect()
}

/// Views of one block of memory: plain, transposed, with a negative stride, channels-last, with gaps, broadcast.
fn layouts(data: &[f32]) -> Vec<View<'_>> {
    let plain = View::of(&[2, 3, 5, 7], &data[..210]);
    let channels_last = View::of(&[2, 5, 7, 3], &data[..210]).permuted(&[0, 3, 1, 2]);
    // SAFETY: every element reached is one of the 420.
    let gaps = unsafe {
        View::of(&[420], &data[..420]).reinterpret(
            [2, 3, 5, 7].as_slice().into(),
            [210, -70, 14, 2].as_slice().into(),
            140,
        )
    };
    let channel = View::of(&[3, 1, 1], &data[..3]);
    vec![
        plain,
        channels_last,
        gaps,
        channel,
        View::of(&[7], &data[..7]),
        View::of(&[2, 1, 5, 1], &data[..10]),
        View::of(&[], &data[..1]),
    ]
}

#[test]
fn binary_kernels_broadcast_over_every_layout() {
    let data = values(420);
    for a in layouts(&data) {
        for b in layouts(&data) {
            let shape = broadcast_shape(a.shape(), b.shape()).unwrap();
            let (x, y) = (a.broadcast_to(&shape).unwrap(), b.broadcast_to(&shape).unwrap());
            let expected: Vec<f32> =
                x.to_vec::<f32>().iter().zip(y.to_vec::<f32>()).map(|(x, y)| x - y).collect();
            for isa in Isa::available() {
                let found = run(binary(BinaryOp::Sub, DType::F32, isa).unwrap(), [&a, &b], 1);
                assert_eq!(found, expected, "{} {:?} {:?}", isa.name(), layout(&a), layout(&b));
            }
        }
    }
}

#[test]
fn large_maps_use_threads_and_agree() {
    let data = values(3 * 211 * 197);
    let image = View::of(&[3, 211, 197], &data);
    let turned = View::of(&[197, 3, 211], &data).permuted(&[1, 2, 0]);
    let row = View::of(&[197], &data[..197]);
    for (a, b) in [(&image, &image), (&image, &turned), (&turned, &row), (&image, &row)] {
        let kernel = || binary(BinaryOp::Mul, DType::F32, Isa::SCALAR).unwrap();
        assert_eq!(run(kernel(), [a, b], 1), run(kernel(), [a, b], 3));
    }
}

#[test]
fn the_output_keeps_the_order_it_is_given() {
    let data = values(210);
    let a = View::of(&[2, 5, 7, 3], &data).permuted(&[0, 3, 1, 2]);
    let b = View::of(&[3, 1, 1], &data[..3]);
    let strides = channels_last_strides(a.shape());
    let kernel = binary(BinaryOp::Add, DType::F32, Isa::SCALAR).unwrap();
    let output = Layout { dtype: DType::F32, shape: a.shape(), strides: &strides };
    let map = Map::new(kernel, [output, layout(&a), layout(&b)]).unwrap();
    let mut out = vec![0.0f32; 210];
    // SAFETY: dense strides reach exactly the 210 elements.
    let mut written = unsafe {
        crate::ViewMut::from_raw_parts(DType::F32, a.shape().into(), strides.clone(), out.as_mut_ptr().cast())
    };
    map.run(&[&a, &b], &mut written, &ThreadPool::new(1));
    let expected: Vec<f32> = (0..210).map(|i| data[i] + data[i % 3]).collect();
    assert_eq!(out, expected);
}

#[test]
fn edge_values_follow_numpy() {
    let both = |op, a: &[f32], b: &[f32]| {
        Isa::available()
            .into_iter()
            .map(|isa| {
                run(
                    binary(op, DType::F32, isa).unwrap(),
                    [&View::of(&[a.len()], a), &View::of(&[b.len()], b)],
                    1,
                )
            })
            .collect::<Vec<_>>()
    };
    for found in both(BinaryOp::Min, &[1., f32::NAN, 3., 2.], &[2., 1., f32::NAN, -2.]) {
        assert!(found[0] == 1. && found[1].is_nan() && found[2].is_nan() && found[3] == -2.);
    }
    for found in both(BinaryOp::Modulo, &[-7., 7., -6., 5.], &[3., -3., 3., f32::INFINITY]) {
        assert_eq!(found, [2., -2., 0., 5.]);
    }
    for found in both(BinaryOp::Fmod, &[-7., 7.], &[3., -3.]) {
        assert_eq!(found, [-1., 1.]);
    }
    assert_eq!(Number::modulo(-7i32, 3), 2);
    assert_eq!(Number::modulo(7u8, 0), 0);
    assert_eq!(Number::div(i8::MIN, -1), i8::MIN);
    assert_eq!(Number::pow(-2i64, 3), -8);
    assert_eq!(Number::pow(2i32, -1), 0);
    assert_eq!(Integer::shift_right(-8i8, 9), -1);
    assert_eq!(Integer::shift_right(200u8, 8), 0);
    assert_eq!(Integer::shift_left(1u8, 8), 0);
    assert!(Number::sign(f32::NAN).is_nan());
}

fn converted<A: crate::Element, B: crate::Element>(from: &[A]) -> Vec<B> {
    let mut output = Tensor::zeros(B::DTYPE, &[from.len()]).unwrap();
    let (input, written) = (View::of(&[from.len()], from), output.view());
    let map = Map::new(cast(A::DTYPE, B::DTYPE), [layout(&written), layout(&input)]).unwrap();
    map.run(&[&input], &mut output.view_mut(), &ThreadPool::new(1));
    output.slice::<B>().to_vec()
}

#[test]
fn casts_truncate_wrap_and_compare() {
    assert_eq!(converted::<f32, u8>(&[1.9, -1.0, 257.0, f32::NAN]), [1, 255, 1, 0]);
    assert_eq!(converted::<f64, i16>(&[-1.9, 40000.0]), [-1, -25536]);
    assert_eq!(converted::<f64, bool>(&[0.0, -0.0, 0.25, f64::NAN]), [false, false, true, true]);
    assert_eq!(converted::<i64, i8>(&[300, -1]), [44, -1]);
    assert_eq!(converted::<u64, f32>(&[u64::MAX]), [u64::MAX as f32]);
    assert_eq!(converted::<u64, i64>(&[5, u64::MAX]), [5, -1]);
    assert_eq!(converted::<bool, f64>(&[true, false]), [1.0, 0.0]);
    assert_eq!(converted::<u32, f32>(&[u32::MAX]), [u32::MAX as f32]);
    let halves = converted::<f64, half::f16>(&[1.5, 1e-8, 70000.0]);
    assert_eq!(converted::<half::f16, f32>(&halves), [1.5, 0.0, f32::INFINITY]);
    let many: Vec<i32> = (-700..700).collect();
    assert_eq!(converted::<i32, i64>(&many), (-700..700).collect::<Vec<i64>>());
}

#[test]
fn half_precision_goes_through_f32() {
    let from: Vec<half::f16> = (0..600).map(|i| half::f16::from_f32(i as f32 / 64.0 - 4.0)).collect();
    let input = View::of(&[600], &from);
    let mut output = Tensor::zeros(DType::F16, &[600]).unwrap();
    let kernel = activation(Activation::Tanh, DType::F16, Isa::SCALAR).unwrap();
    let written = output.view();
    let map = Map::new(kernel, [layout(&written), layout(&input)]).unwrap();
    map.run(&[&input], &mut output.view_mut(), &ThreadPool::new(1));
    for (x, y) in from.iter().zip(output.slice::<half::f16>()) {
        assert!((x.to_f32().tanh() - y.to_f32()).abs() < 6e-4);
    }
    let less = binary(BinaryOp::Less, DType::BF16, Isa::SCALAR).unwrap();
    assert_eq!(less.dtypes(), [DType::Bool, DType::BF16, DType::BF16]);
}

#[test]
fn unary_functions_are_those_of_the_standard_library() {
    let data = values(300);
    let view = View::of(&[300], &data);
    type Pair = (UnaryOp, fn(f32) -> f32);
    let pairs: [Pair; 6] = [
        (UnaryOp::Abs, f32::abs),
        (UnaryOp::Neg, |x| -x),
        (UnaryOp::Floor, f32::floor),
        (UnaryOp::Round, f32::round_ties_even),
        (UnaryOp::Atan, f32::atan),
        (UnaryOp::Reciprocal, |x| 1.0 / x),
    ];
    for isa in Isa::available() {
        for (op, f) in pairs {
            let expected: Vec<f32> = data.iter().map(|&x| f(x)).collect();
            assert_eq!(run(unary(op, DType::F32, isa).unwrap(), [&view, &view], 1), expected, "{op:?}");
        }
        for exponent in [2.0, 3.0, 0.5, 1.0, -1.0, 1.5] {
            for (x, y) in data.iter().zip(run(power(exponent, isa), [&view, &view], 1)) {
                let exact = x.powf(exponent);
                assert!((exact - y).abs() <= 1e-6 * exact.abs() || exact.is_nan(), "{x}^{exponent}");
            }
        }
    }
}

#[test]
fn offsets_are_those_of_the_view() {
    let mut seen = Vec::new();
    for_each_offset(&[2, 2], &[10, -1], |offset| seen.push(offset));
    assert_eq!(seen, [0, -1, 10, 9]);
}

#[test]
fn quantised_values_round_and_saturate() {
    let x = [0.0f32, 2.5, 3.5, 1000.0, -1000.0, f32::NAN];
    let (scale, zero_point) = ([1.0f32], [128u8]);
    let (x, scale, zero_point) = (View::of(&[6], &x), View::of(&[], &scale), View::of(&[], &zero_point));
    let mut codes = Tensor::zeros(DType::U8, &[6]).unwrap();
    let to = codes.view();
    let kernel = quantize(DType::U8).unwrap();
    let map = Map::new(kernel, [layout(&to), layout(&x), layout(&scale), layout(&zero_point)]).unwrap();
    map.run(&[&x, &scale, &zero_point], &mut codes.view_mut(), &ThreadPool::new(1));
    assert_eq!(codes.slice::<u8>(), [128, 130, 132, 255, 0, 0]);
    let codes = codes.view();
    let mut back = Tensor::zeros(DType::F32, &[6]).unwrap();
    let to = back.view();
    let kernel = dequantize(DType::U8).unwrap();
    let map = Map::new(kernel, [layout(&to), layout(&codes), layout(&scale), layout(&zero_point)]).unwrap();
    map.run(&[&codes, &scale, &zero_point], &mut back.view_mut(), &ThreadPool::new(1));
    assert_eq!(back.slice::<f32>(), [0.0, 2.0, 4.0, 127.0, -128.0, -128.0]);
}
