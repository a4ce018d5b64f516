use super::*;
use crate::conv::{AutoPad, WindowAttributes};
use crate::shape::{channels_last_strides, contiguous_strides};
use crate::{Activation, View, ViewMut};
use vedette_memory::AlignedBuffer;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 37 + i / 3) % 23) as f32 - 9.0).collect()
}

fn channels_last(shape: &[usize], data: &[f32]) -> Vec<f32> {
    let axes: Vec<usize> = std::iter::once(0).chain(2..shape.len()).chain(std::iter::once(1)).collect();
    View::of(shape, data).permuted(&axes).to_vec::<f32>()
}

/// Every value under a window, with its count of taps within input and padding: the plain statement of pooling.
fn reduce_plainly(shape: &PoolShape, x: &[f32], f: impl Fn(&[f32], usize) -> f32) -> Vec<f32> {
    let [depth, height, width] = shape.axes;
    let padded = |axis: &crate::conv::Axis, output: usize| {
        (0..axis.kernel)
            .filter(|tap| {
                output * axis.stride + tap * axis.dilation < axis.input + axis.pad_begin + axis.pad_end
            })
            .count()
    };
    let mut out = Vec::new();
    for plane in x.chunks(depth.input * height.input * width.input) {
        for oz in 0..depth.output {
            for oy in 0..height.output {
                for ox in 0..width.output {
                    let mut seen = Vec::new();
                    for kz in 0..depth.kernel {
                        for ky in 0..height.kernel {
                            for kx in 0..width.kernel {
                                if let (Some(z), Some(y), Some(x)) =
                                    (depth.at(oz, kz), height.at(oy, ky), width.at(ox, kx))
                                {
                                    seen.push(plane[(z * height.input + y) * width.input + x]);
                                }
                            }
                        }
                    }
                    out.push(f(&seen, padded(&depth, oz) * padded(&height, oy) * padded(&width, ox)));
                }
            }
        }
    }
    out
}

#[test]
fn windows_agree_with_plain_loops() {
    let cases: [(&[usize], &[usize], WindowAttributes); 5] = [
        (&[1, 24, 9, 11], &[2, 2], window(&[1, 1], &[], &[0, 0, 1, 1], false)),
        (&[2, 37, 8, 7], &[3, 3], window(&[2, 2], &[], &[1, 1, 1, 1], true)),
        (&[1, 5, 10, 10], &[3, 2], window(&[3, 2], &[2, 3], &[], true)),
        (&[1, 20, 13], &[3], window(&[2], &[], &[2, 1], true)),
        (&[1, 70, 4, 5, 6], &[2, 2, 3], window(&[1, 2, 2], &[], &[1, 0, 1, 1, 1, 1], false)),
    ];
    for (x_shape, kernel, attributes) in &cases {
        let shape = PoolShape::new(x_shape, kernel, attributes).unwrap();
        let x = values(x_shape.iter().product());
        let y_shape = shape.output();
        for reduction in [
            Reduction::Max,
            Reduction::Average { include_pad: false },
            Reduction::Average { include_pad: true },
            Reduction::Lp { p: 1 },
            Reduction::Lp { p: 2 },
            Reduction::Lp { p: 3 },
        ] {
            let expected = reduce_plainly(&shape, &x, |seen, padded| match reduction {
                Reduction::Max => seen.iter().copied().fold(f32::NEG_INFINITY, f32::max),
                Reduction::Average { include_pad } => {
                    seen.iter().sum::<f32>() / if include_pad { padded } else { seen.len() } as f32
                }
                Reduction::Lp { p } => {
                    seen.iter().map(|v| v.abs().powi(p as i32)).sum::<f32>().powf(1.0 / p as f32)
                }
            });
            let expected = channels_last(&y_shape, &expected);
            for isa in Isa::available() {
                for last in [true, false] {
                    let (data, strides) = if last {
                        (channels_last(x_shape, &x), channels_last_strides(x_shape))
                    } else {
                        (x.clone(), contiguous_strides(x_shape))
                    };
                    let plan = PoolPlan::new(isa, 2, shape.clone(), reduction, &strides);
                    let mut scratch = AlignedBuffer::new(plan.scratch_bytes());
                    let mut out = vec![f32::NAN; expected.len()];
                    // SAFETY: the slices have the sizes planned for.
                    unsafe {
                        plan.run(
                            data.as_ptr(),
                            out.as_mut_ptr(),
                            scratch.as_mut_slice(),
                            &ThreadPool::new(2),
                        );
                    }
                    for (got, expected) in out.iter().zip(&expected) {
                        // Roots of sums in another order differ in the last places.
                        assert!((got - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{got} {expected}");
                    }
                }
            }
        }
    }
}

fn window(strides: &[i64], dilations: &[i64], pads: &[i64], ceil_mode: bool) -> WindowAttributes {
    WindowAttributes {
        strides: strides.to_vec(),
        dilations: dilations.to_vec(),
        pads: pads.to_vec(),
        auto_pad: AutoPad::NotSet,
        ceil_mode,
    }
}

#[test]
fn indices_point_at_the_maxima() {
    let shape = PoolShape::new(&[1, 2, 4, 5], &[2, 2], &window(&[2, 2], &[], &[], true)).unwrap();
    let x: Vec<u8> = (0..40).map(|i| ((i * 37) % 41) as u8).collect();
    let y_shape = shape.output();
    let len = y_shape.iter().product();
    for column_major in [false, true] {
        let (mut y, mut indices) = (vec![0u8; len], vec![0i64; len]);
        max_pool::<u8>(
            &shape,
            column_major,
            &View::of(&[1, 2, 4, 5], &x),
            &mut ViewMut::of(&y_shape, &mut y),
            Some(&mut ViewMut::of(&y_shape, &mut indices)),
        );
        for (value, &index) in y.iter().zip(&indices) {
            let (plane, place) = (index as usize / 20, index as usize % 20);
            let place = if column_major { place % 4 * 5 + place / 4 } else { place };
            assert_eq!(x[plane * 20 + place], *value);
        }
    }
}

#[test]
fn global_reductions_agree_with_plain_sums() {
    let x_shape = [2, 37, 13, 41];
    let x = values(x_shape.iter().product());
    for reduction in [
        GlobalReduction::Average,
        GlobalReduction::Max,
        GlobalReduction::Lp { p: 1 },
        GlobalReduction::Lp { p: 2 },
        GlobalReduction::Lp { p: 3 },
    ] {
        let expected: Vec<f64> = x
            .chunks(13 * 41)
            .map(|plane| {
                let plane = plane.iter().map(|&v| f64::from(v));
                match reduction {
                    GlobalReduction::Average => plane.sum::<f64>() / (13.0 * 41.0),
                    GlobalReduction::Max => plane.fold(f64::NEG_INFINITY, f64::max),
                    GlobalReduction::Lp { p } => {
                        plane.map(|v| v.abs().powi(p as i32)).sum::<f64>().powf(1.0 / f64::from(p))
                    }
                }
            })
            .collect();
        for isa in Isa::available() {
            for last in [true, false] {
                let (data, strides) = if last {
                    (channels_last(&x_shape, &x), channels_last_strides(&x_shape))
                } else {
                    (x.clone(), contiguous_strides(&x_shape))
                };
                let plan = GlobalPoolPlan::new(isa, 3, &x_shape, &strides, reduction);
                let mut scratch = AlignedBuffer::new(plan.scratch_bytes());
                let mut out = vec![f32::NAN; 2 * 37];
                // SAFETY: the slices have the sizes planned for.
                unsafe {
                    plan.run(data.as_ptr(), out.as_mut_ptr(), scratch.as_mut_slice(), &ThreadPool::new(3))
                };
                for (got, expected) in out.iter().zip(&expected) {
                    // A few hundred additions in single precision.
                    assert!((f64::from(*got) - expected).abs() <= 1e-5 * expected.abs().max(1.0));
                }
            }
        }
    }
}

#[test]
fn squeeze_excite_scales_every_channel_by_its_gate() {
    let (shape, hidden) = ([2, 35, 6, 9], 11);
    let x = values(shape.iter().product());
    let small = |len: usize| values(len).iter().map(|v| v / 50.0).collect::<Vec<f32>>();
    let (w1, b1, w2, b2) = (small(hidden * 35), small(hidden), small(35 * hidden), small(35));
    let gate = Activation::HardSigmoid { alpha: 0.2, beta: 0.5 };
    for residual in [false, true] {
        let mut expected = Vec::new();
        for image in x.chunks(35 * 54) {
            let means: Vec<f32> = image.chunks(54).map(|plane| plane.iter().sum::<f32>() / 54.0).collect();
            let h: Vec<f32> = (0..hidden)
                .map(|i| (0..35).map(|c| w1[i * 35 + c] * means[c]).sum::<f32>() + b1[i])
                .map(|h| h.max(0.0))
                .collect();
            for (c, plane) in image.chunks(54).enumerate() {
                let s = (0..hidden).map(|i| w2[c * hidden + i] * h[i]).sum::<f32>() + b2[c];
                let s = (0.2 * s + 0.5).clamp(0.0, 1.0) + f32::from(u8::from(residual));
                expected.extend(plane.iter().map(|v| v * s));
            }
        }
        for isa in Isa::available() {
            for last in [true, false] {
                let strides = if last { channels_last_strides(&shape) } else { contiguous_strides(&shape) };
                let mut data = if last { channels_last(&shape, &x) } else { x.clone() };
                let expected = if last { channels_last(&shape, &expected) } else { expected.clone() };
                let plan = SqueezeExcitePlan::new(
                    isa,
                    2,
                    &shape,
                    (&strides, &strides),
                    hidden,
                    (Some(Activation::Relu), Some(gate)),
                    residual,
                );
                let mut scratch = AlignedBuffer::new(plan.scratch_bytes());
                let arguments = SqueezeExciteArguments {
                    x: data.as_ptr(),
                    w1: w1.as_ptr(),
                    b1: b1.as_ptr(),
                    w2: w2.as_ptr(),
                    b2: b2.as_ptr(),
                    out: data.as_mut_ptr(),
                };
                // SAFETY: the slices have the sizes planned for.
                unsafe { plan.run(&arguments, scratch.as_mut_slice(), &ThreadPool::new(2)) };
                for (got, expected) in data.iter().zip(&expected) {
                    assert!((got - expected).abs() < 1e-4, "{got} {expected}");
                }
            }
        }
    }
}
