use super::*;
use crate::test_data::bytes;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
use vedette_tensor::Activation;
use vedette_tensor::conv::{AutoPad, WindowAttributes};
use vedette_tensor::pool::PoolShape;

fn quantization(scale: f32, zero_point: i64) -> Quantization {
    Quantization::new(scale, zero_point).unwrap()
}

/// `[N, C, D, H, W]` in channels-last memory, the sizes of the missing axes 1.
fn at(x: &[u8], shape: [usize; 5], index: [usize; 5]) -> u8 {
    let [_, c, d, h, w] = shape;
    let [n, channel, z, y, column] = index;
    x[(((n * d + z) * h + y) * w + column) * c + channel]
}

fn strides([_, c, d, h, w]: [usize; 5]) -> [isize; 3] {
    [(d * h * w * c) as isize, (h * w * c) as isize, (w * c) as isize]
}

/// Every window's bytes, and how many positions it has within input and padding.
fn windows(shape: &PoolShape, x: &[u8], size: [usize; 5], mut f: impl FnMut(Vec<u8>, usize)) {
    let [depth, height, width] = shape.axes;
    for n in 0..shape.batch {
        for z in 0..depth.output {
            for y in 0..height.output {
                for column in 0..width.output {
                    for c in 0..shape.channels {
                        let (mut bytes, mut padded) = (Vec::new(), 0);
                        for kz in 0..depth.kernel {
                            for ky in 0..height.kernel {
                                for kx in 0..width.kernel {
                                    let taps = [(depth, z, kz), (height, y, ky), (width, column, kx)];
                                    padded += usize::from(taps.iter().all(|&(axis, o, k)| {
                                        let end = axis.input + axis.pad_begin + axis.pad_end;
                                        o * axis.stride + k * axis.dilation < end
                                    }));
                                    let within = taps.map(|(axis, o, k)| axis.at(o, k));
                                    if let [Some(z), Some(y), Some(column)] = within {
                                        bytes.push(at(x, size, [n, c, z, y, column]));
                                    }
                                }
                            }
                        }
                        f(bytes, padded);
                    }
                }
            }
        }
    }
}

fn run(plan: &PoolPlan, x: &[u8], outputs: usize) -> Vec<u8> {
    let mut scratch = vec![0u64; plan.scratch_bytes().div_ceil(8)];
    let mut out = vec![0u8; outputs];
    // SAFETY: the input is as planned, the output has the size of the reduction's, the scratch memory is aligned.
    unsafe {
        let scratch = std::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast(), plan.scratch_bytes());
        plan.run(x.as_ptr(), out.as_mut_ptr(), scratch, &ThreadPool::new(2));
    }
    out
}

fn attributes(strides: &[i64], dilations: &[i64], pads: &[i64], ceil_mode: bool) -> WindowAttributes {
    let (strides, dilations, pads) = (strides.to_vec(), dilations.to_vec(), pads.to_vec());
    WindowAttributes { strides, dilations, pads, auto_pad: AutoPad::NotSet, ceil_mode }
}

#[test]
fn windows_are_pooled_alike_at_every_level() {
    let cases: [(&[usize], &[usize], WindowAttributes); 10] = [
        // Lines that are combined piece by piece.
        (&[1, 130, 3, 150], &[2, 3], attributes(&[1, 1], &[1, 2], &[0, 1, 1, 2], false)),
        (&[1, 96, 5, 131], &[3, 3], attributes(&[2, 3], &[], &[1, 1, 1, 1], false)),
        (&[2, 5, 9, 7], &[3, 3], attributes(&[2, 2], &[], &[1, 1, 1, 1], false)),
        (&[1, 64, 8, 9], &[2, 2], attributes(&[2, 2], &[], &[], true)),
        (&[1, 130, 6, 21], &[3, 3], attributes(&[1, 1], &[], &[1, 1, 1, 1], false)),
        (&[1, 3, 12, 11], &[3, 2], attributes(&[3, 1], &[2, 3], &[2, 1, 0, 3], false)),
        (&[1, 17, 30], &[5], attributes(&[2], &[], &[2, 2], false)),
        (&[1, 4, 3, 4, 5], &[2, 3, 2], attributes(&[1, 2, 1], &[], &[1, 1, 1, 0, 1, 1], false)),
        (&[1, 1, 40, 50], &[40, 50], attributes(&[1, 1], &[], &[], false)),
        (&[3, 96, 50, 60], &[3, 3], attributes(&[2, 2], &[], &[0, 0, 1, 1], true)),
    ];
    for (shape, kernel, attributes) in cases {
        let pooled = PoolShape::new(shape, kernel, &attributes).unwrap();
        let mut size = [shape[0], shape[1], 1, 1, 1];
        size[7 - shape.len()..].copy_from_slice(&shape[2..]);
        let x = bytes(shape.iter().product(), 7);
        // Of two bytes the second alone differs: values of either sign, and of the same byte.
        let words: Vec<u8> = x.iter().flat_map(|&x| u16::from_be_bytes([x, 0x40]).to_ne_bytes()).collect();
        let value = |x: u8| f32::from_bits(u32::from(x) << 24 | 0x40 << 16);
        let (mut largest, mut signed, mut real) = (Vec::new(), Vec::new(), Vec::new());
        let mut sums = Vec::new();
        windows(&pooled, &x, size, |bytes, padded| {
            largest.push(bytes.iter().copied().max().unwrap_or(0));
            signed.push(bytes.iter().map(|&x| x as i8).max().unwrap_or(0) as u8);
            let most = bytes.iter().map(|&x| value(x)).fold(f32::NEG_INFINITY, f32::max);
            real.extend(((most.to_bits() >> 16) as u16).to_ne_bytes());
            sums.push((bytes.iter().map(|&x| i32::from(x) - 77).sum::<i32>(), bytes.len(), padded));
        });
        for isa in Isa::available() {
            let plan = |reduction| PoolPlan::new(isa, 2, pooled.clone(), reduction, strides(size)).unwrap();
            assert_eq!(run(&plan(WindowReduction::MaxU8), &x, largest.len()), largest, "{isa:?} {shape:?}");
            assert_eq!(run(&plan(WindowReduction::MaxI8), &x, signed.len()), signed, "{isa:?} {shape:?}");
            assert_eq!(run(&plan(WindowReduction::MaxBf16), &words, real.len()), real, "{isa:?} {shape:?}");
            for include_pad in [false, true] {
                let count = |sum: &(i32, usize, usize)| if include_pad { sum.2 } else { sum.1 }.max(1);
                let real: Vec<f32> =
                    sums.iter().map(|sum| sum.0 as f32 * (0.05 / count(sum) as f32)).collect();
                let requantize = Requantize::new(quantization(0.04, 30), None).unwrap();
                let mean = |output| Mean { x: quantization(0.05, 77), output };
                let reduction = |output| WindowReduction::Average { mean: mean(output), include_pad };
                let out = run(&plan(reduction(MeanOutput::Bytes(requantize))), &x, real.len());
                let expected: Vec<u8> = real.iter().map(|&f| requantize.apply(f)).collect();
                assert_eq!(out, expected, "{isa:?} {shape:?}");
                let out = run(&plan(reduction(MeanOutput::Real)), &x, 4 * real.len());
                let expected: Vec<u8> = real.iter().flat_map(|f| f.to_ne_bytes()).collect();
                assert_eq!(out, expected, "{isa:?} {shape:?}");
            }
        }
    }
}

#[test]
fn channels_have_the_mean_of_all_their_pixels() {
    for shape in
        [[2, 5, 1, 9, 7], [1, 64, 1, 30, 31], [1, 3, 2, 5, 300], [1, 1000, 1, 1, 2], [3, 70, 1, 64, 64]]
    {
        let x = bytes(shape.iter().product(), 3);
        let pixels = shape[2] * shape[3] * shape[4];
        let requantize = Requantize::new(quantization(0.002, 100), None).unwrap();
        let mut expected = Vec::new();
        for n in 0..shape[0] {
            for c in 0..shape[1] {
                let all = x[n * pixels * shape[1]..].iter().skip(c).step_by(shape[1]).take(pixels);
                let sum: i64 = all.map(|&x| i64::from(x) - 128).sum();
                expected.push(requantize.apply(sum as f32 * (0.01 / pixels as f32)));
            }
        }
        for isa in Isa::available() {
            let mean = Mean { x: quantization(0.01, 128), output: MeanOutput::Bytes(requantize) };
            let plan = GlobalAveragePlan::new(isa, 2, &shape, strides(shape), mean);
            let mut scratch = vec![0u64; plan.scratch_bytes().div_ceil(8)];
            let mut out = vec![0u8; expected.len()];
            // SAFETY: as planned; the scratch memory is aligned.
            unsafe {
                let bytes = plan.scratch_bytes();
                let scratch = std::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast(), bytes);
                plan.run(x.as_ptr(), out.as_mut_ptr(), scratch, &ThreadPool::new(2));
            }
            assert_eq!(out, expected, "{isa:?} {shape:?}");
        }
    }
}

#[test]
fn excited_channels_are_alike_at_every_level_and_near_the_floats() {
    for (shape, hidden) in [([2, 5, 1, 9, 7], 3), ([1, 64, 1, 30, 31], 16), ([1, 300, 1, 5, 300], 40)] {
        let channels = shape[1];
        let x = bytes(shape.iter().product(), 11);
        let weights = |n: usize, seed: u32| -> Vec<f32> {
            bytes(n, seed)
                .iter()
                .map(|&x| (f32::from(x) - 128.0) / 128.0 / (channels as f32).sqrt())
                .collect()
        };
        let (w1, b1) = (weights(hidden * channels, 1), weights(hidden, 2));
        let (w2, b2) = (weights(hidden * channels, 3), weights(channels, 4));
        let input = quantization(0.02, 100);
        let requantize = Requantize::new(quantization(0.02, 90), None).unwrap();
        let gate = Activation::HardSigmoid { alpha: 0.2, beta: 0.5 };
        for residual in [false, true] {
            let mut results = Vec::new();
            for isa in Isa::available() {
                let plan = SqueezeExcitePlan::new(
                    isa,
                    2,
                    (&shape, strides(shape)),
                    (input, requantize),
                    hidden,
                    (Some(Activation::Relu), Some(gate)),
                    residual,
                );
                let mut scratch = vec![0u64; plan.scratch_bytes().div_ceil(8)];
                let mut out = x.clone();
                let arguments = SqueezeExciteArguments {
                    x: out.as_ptr(),
                    w1: w1.as_ptr(),
                    b1: b1.as_ptr(),
                    w2: w2.as_ptr(),
                    b2: b2.as_ptr(),
                    out: out.as_mut_ptr(),
                };
                // SAFETY: as planned, in place; the scratch memory is aligned.
                unsafe {
                    let bytes = plan.scratch_bytes();
                    let scratch = std::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast(), bytes);
                    plan.run(&arguments, scratch, &ThreadPool::new(2));
                }
                results.push(out);
            }
            assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
            let pixels = shape[2] * shape[3] * shape[4];
            for n in 0..shape[0] {
                let image = &x[n * pixels * channels..(n + 1) * pixels * channels];
                let real = |x: u8| (f64::from(x) - 100.0) * 0.02;
                let mean = |c: usize| {
                    image.iter().skip(c).step_by(channels).map(|&x| real(x)).sum::<f64>() / pixels as f64
                };
                let means: Vec<f64> = (0..channels).map(mean).collect();
                let layer = |w: &[f32], b: &[f32], x: &[f64]| -> Vec<f64> {
                    let row = |(w, b): (&[f32], &f32)| {
                        w.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum::<f64>() + f64::from(*b)
                    };
                    w.chunks_exact(x.len()).zip(b).map(row).collect()
                };
                let inside: Vec<f64> = layer(&w1, &b1, &means).iter().map(|x| x.max(0.0)).collect();
                let gates = layer(&w2, &b2, &inside);
                for (i, (&x, &y)) in image.iter().zip(&results[0][n * pixels * channels..]).enumerate() {
                    let gate =
                        (gates[i % channels] * 0.2 + 0.5).clamp(0.0, 1.0) + f64::from(u8::from(residual));
                    let expected = (real(x) * gate / 0.02 + 90.0).clamp(0.0, 255.0);
                    // Half a step of rounding, and what float32 adds where the exact number is near a half.
                    assert!((f64::from(y) - expected).abs() < 0.5001, "{y} {expected}");
                }
            }
        }
    }
}
