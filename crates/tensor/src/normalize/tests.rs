use super::*;
use crate::elementwise::Layout;
use crate::{DType, Tensor, View, ViewMut, channels_last_strides};
use half::bf16;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

#[test]
fn vectors_of_every_length_are_normalised() {
    for size in [1, 3, 16, 37, 192, 257] {
        let data: Vec<f32> = (0..5 * size).map(|i| ((i * 7919) % 1013) as f32 / 100.0 + 30.0).collect();
        let scale: Vec<f32> = (0..size).map(|i| 1.0 + i as f32 / 10.0).collect();
        let bias: Vec<f32> = (0..size).map(|i| i as f32 / 7.0).collect();
        for isa in Isa::available() {
            for centred in [true, false] {
                let norm = LayerNorm { size, epsilon: 1e-5, centred, isa };
                let mut found = vec![0.0f32; 5 * size];
                let (mut means, mut deviations) = ([0.0f32; 5], [0.0f32; 5]);
                let statistics = [Some(&mut means[..]), Some(&mut deviations[..])];
                norm.run(
                    &View::of(&[5, size], &data),
                    &scale,
                    centred.then_some(&bias[..]),
                    &mut ViewMut::of(&[5, size], &mut found),
                    statistics,
                    &ThreadPool::new(2),
                )
                .unwrap();
                for vector in 0..5 {
                    let x: Vec<f64> = data[vector * size..][..size].iter().map(|&x| f64::from(x)).collect();
                    let mean = if centred { x.iter().sum::<f64>() / size as f64 } else { 0.0 };
                    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / size as f64;
                    let inverse = 1.0 / (variance + 1e-5).sqrt();
                    assert!((f64::from(means[vector]) - mean).abs() < 1e-5 * mean.abs() + 1e-9);
                    assert!((f64::from(deviations[vector]) - inverse).abs() < 1e-3 * inverse);
                    if size == 1 && centred {
                        continue;
                    }
                    for i in 0..size {
                        let offset = if centred { f64::from(bias[i]) } else { 0.0 };
                        let exact = (x[i] - mean) * inverse * f64::from(scale[i]) + offset;
                        // The mean, of values near 35, is known to half an ULP of it.
                        let bound = 1e-5 * (exact.abs() + f64::from(scale[i]));
                        let y = f64::from(found[vector * size + i]);
                        assert!((y - exact).abs() <= bound, "{size} {} {y} {exact}", isa.name());
                    }
                }
            }
        }
    }
}

#[test]
fn a_rounded_output_is_the_other_one_rounded() {
    for size in [1, 15, 16, 40, 192] {
        let data: Vec<f32> = (0..3 * size).map(|i| ((i * 7919) % 1013) as f32 / 100.0 - 4.0).collect();
        let scale: Vec<f32> = (0..size).map(|i| 1.0 + i as f32 / 10.0).collect();
        for isa in Isa::available() {
            for bias in [None, Some(&scale[..])] {
                let norm = LayerNorm { size, epsilon: 1e-5, centred: true, isa };
                let (x, pool) = (View::of(&[3, size], &data), ThreadPool::new(1));
                let mut plain = vec![0.0f32; 3 * size];
                let mut rounded = vec![bf16::ZERO; 3 * size];
                let mut to = ViewMut::of(&[3, size], &mut plain);
                norm.run(&x, &scale, bias, &mut to, [None, None], &pool).unwrap();
                let mut to = ViewMut::of(&[3, size], &mut rounded);
                norm.run(&x, &scale, bias, &mut to, [None, None], &pool).unwrap();
                for (x, y) in plain.iter().zip(&rounded) {
                    assert_eq!(bf16::from_f32(*x), *y, "{size} {}", isa.name());
                }
            }
        }
    }
}

#[test]
fn local_responses_divide_by_their_neighbours() {
    let data: Vec<f32> = (0..2 * 7 * 3).map(|i| (i % 11) as f32 - 5.0).collect();
    let view = View::of(&[2, 7, 3], &data);
    let strides = channels_last_strides(&[2, 7, 3]);
    let mut turned = Tensor::zeros(DType::F32, &[2, 7, 3]).unwrap();
    // SAFETY: the strides are dense, so they reach exactly the tensor's elements.
    let mut last =
        unsafe { ViewMut::from_raw_parts(DType::F32, view.shape().into(), strides, turned.as_mut_ptr()) };
    crate::movement::copy(&view, &mut last, &ThreadPool::new(1)).unwrap();
    for size in [1, 2, 3, 4, 20] {
        for input in [&view, &last.as_view()] {
            let layout = Layout { dtype: DType::F32, shape: input.shape(), strides: input.strides() };
            let plan = LocalResponse::new(layout, size, 0.5, 0.75, 1.5).unwrap();
            let mut tensor = Tensor::zeros(DType::F32, &[2, 7, 3]).unwrap();
            // SAFETY: as above.
            let mut output = unsafe {
                ViewMut::from_raw_parts(
                    DType::F32,
                    input.shape().into(),
                    input.strides().into(),
                    tensor.as_mut_ptr(),
                )
            };
            plan.run(input, &mut output, &ThreadPool::new(1));
            let found = output.as_view().to_vec::<f32>();
            for (i, y) in found.iter().enumerate() {
                let (n, c, x) = (i / 21, i / 3 % 7, i % 3);
                let near = (c.saturating_sub((size - 1) / 2)..(c + size / 2 + 1).min(7))
                    .map(|c| data[n * 21 + c * 3 + x].powi(2));
                let exact = data[i] / (1.5 + 0.5 / size as f32 * near.sum::<f32>()).powf(0.75);
                assert!((exact - y).abs() < 1e-6, "{size} {exact} {y}");
            }
        }
    }
}
