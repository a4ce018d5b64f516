//! The oracles: every output is a sum in double precision, in plain loops.

use super::geometry::Axis;
use super::plan::ConvShape;
use super::transpose::TransposeShape;

/// Convolution of C-order `x` `[N, C, D, H, W]` and `w` `[O, C / groups, D, H, W]`; the result is C-order.
pub fn conv(shape: &ConvShape, x: &[f32], w: &[f32]) -> Vec<f32> {
    let [depth, height, width] = shape.axes;
    let (in_step, out_step) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let mut out = Vec::new();
    for n in 0..shape.batch {
        for o in 0..shape.out_channels {
            for z in 0..depth.output {
                for y in 0..height.output {
                    for p in 0..width.output {
                        let mut sum = 0.0;
                        for c in 0..in_step {
                            let plane = n * shape.in_channels + o / out_step * in_step + c;
                            for_taps([depth, height, width], [z, y, p], |[z, y, p], [kz, ky, kx]| {
                                let i = ((plane * depth.input + z) * height.input + y) * width.input + p;
                                let tap = ((o * in_step + c) * depth.kernel + kz) * height.kernel + ky;
                                sum += f64::from(x[i]) * f64::from(w[tap * width.kernel + kx]);
                            });
                        }
                        out.push(sum as f32);
                    }
                }
            }
        }
    }
    out
}

fn for_taps(axes: [Axis; 3], output: [usize; 3], mut f: impl FnMut([usize; 3], [usize; 3])) {
    let [depth, height, width] = axes;
    for kz in 0..depth.kernel {
        for ky in 0..height.kernel {
            for kx in 0..width.kernel {
                let at = (depth.at(output[0], kz), height.at(output[1], ky), width.at(output[2], kx));
                if let (Some(z), Some(y), Some(x)) = at {
                    f([z, y, x], [kz, ky, kx]);
                }
            }
        }
    }
}

/// Transposed convolution of C-order `x` `[N, C, D, H, W]` and `w` `[C, O / groups, D, H, W]`; the result is C-order.
pub fn conv_transpose(shape: &TransposeShape, x: &[f32], w: &[f32]) -> Vec<f32> {
    let [depth, height, width] = shape.axes;
    let (in_step, out_step) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let plane_len = depth.output * height.output * width.output;
    let mut out = vec![0.0f64; shape.batch * shape.out_channels * plane_len];
    let inputs = depth.input * height.input * width.input;
    let taps = depth.kernel * height.kernel * width.kernel;
    for (i, &value) in x.iter().enumerate() {
        let (plane, at) = (i / inputs, i % inputs);
        let (n, c) = (plane / shape.in_channels, plane % shape.in_channels);
        let (z, y, p) =
            (at / (height.input * width.input), at / width.input % height.input, at % width.input);
        for o in 0..out_step {
            for tap in 0..taps {
                let kernel = [
                    tap / (height.kernel * width.kernel),
                    tap / width.kernel % height.kernel,
                    tap % width.kernel,
                ];
                let mut index = (n * shape.out_channels + c / in_step * out_step + o) as isize;
                let mut within = true;
                for ((axis, position), tap) in shape.axes.iter().zip([z, y, p]).zip(kernel) {
                    let target = (position * axis.stride + tap * axis.dilation) as isize - axis.pad as isize;
                    within &= target >= 0 && target < axis.output as isize;
                    index = index * axis.output as isize + target;
                }
                if within {
                    out[index as usize] += f64::from(value) * f64::from(w[(c * out_step + o) * taps + tap]);
                }
            }
        }
    }
    out.into_iter().map(|sum| sum as f32).collect()
}
