//! The oracle: the sums of a convolution in plain loops.

use vedette_tensor::conv::{ConvShape, TransposeShape};

/// Sums of C-order `x` `[N, C, D, H, W]` and `w` `[O, C / groups, D, H, W]`; the result is `[N, D, H, W, O]`.
pub(super) fn conv_sums(shape: &ConvShape, x: &[u8], w: &[i8], zero_point: u8) -> Vec<i32> {
    let [depth, height, width] = &shape.axes;
    let (in_step, out_step) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let mut sums = Vec::new();
    for pixel in 0..shape.pixels() {
        let (rest, p) = (pixel / width.output, pixel % width.output);
        let (rest, y) = (rest / height.output, rest % height.output);
        let (n, z) = (rest / depth.output, rest % depth.output);
        for o in 0..shape.out_channels {
            let mut sum = 0i32;
            for tap in 0..shape.taps() * in_step {
                let (rest, kx) = (tap / width.kernel, tap % width.kernel);
                let (rest, ky) = (rest / height.kernel, rest % height.kernel);
                let (c, kz) = (rest / depth.kernel, rest % depth.kernel);
                if let (Some(z), Some(y), Some(p)) = (depth.at(z, kz), height.at(y, ky), width.at(p, kx)) {
                    let plane = n * shape.in_channels + o / out_step * in_step + c;
                    let i = ((plane * depth.input + z) * height.input + y) * width.input + p;
                    let weight = w[o * in_step * shape.taps() + tap];
                    sum = sum.wrapping_add((i32::from(x[i]) - i32::from(zero_point)) * i32::from(weight));
                }
            }
            sums.push(sum);
        }
    }
    sums
}

/// Sums of C-order `x` `[N, C, D, H, W]` and `w` `[C, O / groups, D, H, W]`; the result is `[N, D, H, W, O]`.
pub(super) fn transpose_sums(shape: &TransposeShape, x: &[u8], w: &[i8], zero_point: u8) -> Vec<i32> {
    let [depth, height, width] = &shape.axes;
    let (in_step, out_step) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let taps: usize = shape.axes.iter().map(|axis| axis.kernel).product();
    let inputs: usize = shape.axes.iter().map(|axis| axis.input).product();
    let outputs: usize = shape.axes.iter().map(|axis| axis.output).product();
    let mut sums = vec![0i32; shape.batch * outputs * shape.out_channels];
    for (i, &value) in x.iter().enumerate() {
        let (plane, at) = (i / inputs, i % inputs);
        let (n, c) = (plane / shape.in_channels, plane % shape.in_channels);
        let position = [at / (height.input * width.input), at / width.input % height.input, at % width.input];
        for tap in 0..taps {
            let kernel = [
                tap / (height.kernel * width.kernel),
                tap / width.kernel % height.kernel,
                tap % width.kernel,
            ];
            let target = [depth, height, width].into_iter().enumerate().map(|(axis, sizes)| {
                let at = position[axis] * sizes.stride + kernel[axis] * sizes.dilation;
                at.checked_sub(sizes.pad).filter(|&at| at < sizes.output)
            });
            let Some(target) = target.collect::<Option<Vec<usize>>>() else { continue };
            let pixel =
                ((n * depth.output + target[0]) * height.output + target[1]) * width.output + target[2];
            for o in 0..out_step {
                let weight = i32::from(w[(c * out_step + o) * taps + tap]);
                let sum = &mut sums[pixel * shape.out_channels + c / in_step * out_step + o];
                *sum = sum.wrapping_add((i32::from(value) - i32::from(zero_point)) * weight);
            }
        }
    }
    sums
}
