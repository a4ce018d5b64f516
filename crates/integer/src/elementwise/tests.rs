use super::*;
use crate::test_data::bytes;
use crate::{Quantization, Requantize};
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
use vedette_tensor::elementwise::{Kernel, Layout, Map};
use vedette_tensor::{DType, Tensor, View};

fn numbers(n: usize) -> Vec<f32> {
    let special = [0.0, -0.0, 1e30, -1e30, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.5, 1.5, 2.5, -0.5];
    (0..n).map(|i| special.get(i % 97).copied().unwrap_or((i as f32 - 400.0) * 0.17)).collect()
}

fn layout<'a>(view: &'a View<'_>) -> Layout<'a> {
    Layout { dtype: view.dtype(), shape: view.shape(), strides: view.strides() }
}

fn run<const N: usize>(kernel: Kernel<N>, inputs: &[&View<'_>]) -> Tensor {
    let mut out = Tensor::zeros(kernel.output_dtype(), inputs[0].shape()).unwrap();
    let output = out.view();
    let map = Map::new(
        kernel,
        std::array::from_fn(|k| if k == 0 { layout(&output) } else { layout(inputs[k - 1]) }),
    )
    .unwrap();
    map.run(inputs, &mut out.view_mut(), &ThreadPool::new(2));
    out
}

const SIZES: [usize; 9] = [0, 1, 31, 32, 63, 64, 65, 200, 70_001];

fn quantization(scale: f32, zero_point: i64) -> Quantization {
    Quantization::new(scale, zero_point).unwrap()
}

#[test]
fn every_level_looks_the_same_bytes_up() {
    let table: [u8; 256] = bytes(256, 5).try_into().unwrap();
    for isa in Isa::available() {
        for n in SIZES {
            let x = bytes(n, n as u32);
            let expected: Vec<u8> = x.iter().map(|&x| table[usize::from(x)]).collect();
            assert_eq!(
                run(lookup(isa, table), &[&View::of(&[n], &x)]).slice::<u8>(),
                expected,
                "{isa:?} {n}"
            );
        }
        let every: Vec<u8> = (0..=255).collect();
        assert_eq!(run(lookup(isa, table), &[&View::of(&[256], &every)]).slice::<u8>(), table);
    }
}

#[test]
fn quantised_numbers_follow_the_standard_at_every_level() {
    for isa in Isa::available() {
        for n in SIZES {
            let x = numbers(n);
            let view = View::of(&[n], &x);
            for (scale, zero) in [(0.1f32, 0u8), (0.33, 255), (2.0, 128), (1e-20, 7)] {
                let plain = |least: f64, most: f64, zero: f64| {
                    x.iter().map(move |&x| {
                        let steps = f64::from((x / scale).round_ties_even()) + zero;
                        if steps.is_nan() { least } else { steps.clamp(least, most) }
                    })
                };
                let unsigned: Vec<u8> = plain(0.0, 255.0, f64::from(zero)).map(|q| q as u8).collect();
                let out = run(quantize(isa, Bytes::U8, scale, zero), &[&view]);
                assert_eq!(out.slice::<u8>(), unsigned, "{isa:?} {n} {scale} {zero}");
                let signed: Vec<i8> = plain(-128.0, 127.0, f64::from(zero as i8)).map(|q| q as i8).collect();
                let out = run(quantize(isa, Bytes::I8, scale, zero), &[&view]);
                assert_eq!(out.slice::<i8>(), signed, "{isa:?} {n} {scale} {zero}");
                let (scales, zeros) = (vec![scale; n], vec![zero; n]);
                let parameters = [View::of(&[n], &scales), View::of(&[n], &zeros)];
                let out = run(quantize_by(isa, Bytes::U8), &[&view, &parameters[0], &parameters[1]]);
                assert_eq!(out.slice::<u8>(), unsigned);
            }
        }
    }
}

#[test]
fn dequantised_bytes_follow_the_standard_at_every_level() {
    let q: Vec<u8> = (0..=255).chain(0..77).collect();
    let signed: Vec<i8> = q.iter().map(|&q| q as i8).collect();
    let n = q.len();
    for isa in Isa::available() {
        for (scale, zero) in [(0.1f32, 0u8), (0.33, 255), (2.0, 128)] {
            let out = run(dequantize(isa, Bytes::U8, scale, zero), &[&View::of(&[n], &q)]);
            let expected: Vec<f32> = q.iter().map(|&q| (f32::from(q) - f32::from(zero)) * scale).collect();
            assert_eq!(out.slice::<f32>(), expected);
            let out = run(dequantize(isa, Bytes::I8, scale, zero), &[&View::of(&[n], &signed)]);
            let real = |&q: &i8| (f32::from(q) - f32::from(zero as i8)) * scale;
            let expected: Vec<f32> = signed.iter().map(real).collect();
            assert_eq!(out.slice::<f32>(), expected);
            let (scales, zeros) = (vec![scale; n], vec![zero as i8; n]);
            let parameters = [View::of(&[n], &scales), View::of(&[n], &zeros)];
            let signed = View::of(&[n], &signed);
            let out = run(dequantize_by(isa, Bytes::I8), &[&signed, &parameters[0], &parameters[1]]);
            assert_eq!(out.slice::<f32>(), expected);
        }
    }
}

#[test]
fn sums_and_products_are_those_of_the_reals_at_every_level() {
    let (a, b) = (quantization(0.02, 130), quantization(0.7, 3));
    let all: Vec<(u8, u8)> = (0..=255u8).flat_map(|a| (0..=255u8).map(move |b| (a, b))).collect();
    let (x, y): (Vec<u8>, Vec<u8>) = all.iter().copied().unzip();
    let views = [View::of(&[x.len()], &x), View::of(&[y.len()], &y)];
    for to in [quantization(0.9, 0), quantization(0.013, 200)] {
        let requantize = Requantize::new(to, None).unwrap();
        let sums: Vec<u8> = all
            .iter()
            .map(|&(x, y)| {
                let sum = (f32::from(x) - 130.0) * 0.02 + (f32::from(y) - 3.0) * 0.7;
                ((sum * (1.0 / to.scale())).round_ties_even() + f32::from(to.zero_point())).clamp(0.0, 255.0)
                    as u8
            })
            .collect();
        let products: Vec<u8> = all
            .iter()
            .map(|&(x, y)| {
                let steps = (i32::from(x) - 130) * (i32::from(y) - 3);
                let product = steps as f32 * (0.02f32 * 0.7);
                ((product * (1.0 / to.scale())).round_ties_even() + f32::from(to.zero_point()))
                    .clamp(0.0, 255.0) as u8
            })
            .collect();
        for isa in Isa::available() {
            assert_eq!(run(add(isa, a, b, requantize), &[&views[0], &views[1]]).slice::<u8>(), sums);
            assert_eq!(run(multiply(isa, a, b, requantize), &[&views[0], &views[1]]).slice::<u8>(), products);
        }
    }
}

#[test]
fn in_place_and_strided_operands_make_no_difference() {
    let (a, b) = (quantization(0.1, 10), quantization(0.2, 20));
    let to = Requantize::new(quantization(0.3, 30), None).unwrap();
    let (x, y) = (bytes(6 * 50 * 7, 1), bytes(50, 2));
    for isa in Isa::available() {
        let plain = View::of(&[6, 50, 7], &x);
        let turned = plain.permuted(&[0, 2, 1]);
        let channel = View::of(&[50], &y);
        let whole = channel.broadcast_to(&[6, 7, 50]).unwrap().to_vec::<u8>();
        let expected = run(
            add(isa, a, b, to),
            &[&View::of(&[6, 7, 50], &turned.to_vec::<u8>()), &View::of(&[6, 7, 50], &whole)],
        );
        assert_eq!(run(add(isa, a, b, to), &[&turned, &channel]).slice::<u8>(), expected.slice::<u8>());
        let mut own = Tensor::from_slice(&[x.len()], &x);
        let pointer = own.as_mut_ptr();
        let kernel = lookup(isa, std::array::from_fn(|i| 255 - i as u8));
        let map = Map::new(kernel, [layout(&own.view()), layout(&own.view())]).unwrap();
        // SAFETY: the same dense bytes, which the kernel may compute in place.
        let input = unsafe {
            View::from_raw_parts(DType::U8, [x.len()].as_slice().into(), [1].as_slice().into(), pointer)
        };
        map.run(&[&input], &mut own.view_mut(), &ThreadPool::new(1));
        assert_eq!(own.slice::<u8>(), x.iter().map(|&x| 255 - x).collect::<Vec<_>>());
    }
}
