//! ONNX's own integer operators, in plain loops: right for every combination of types and zero points. Graphs meant to
//! be fast are brought to the form that the other kernels take.

use crate::elementwise::Bytes;
use crate::shared::Shared;
use vedette_runtime::ThreadPool;
use vedette_tensor::DType;
use vedette_tensor::conv::ConvShape;
use vedette_tensor::elementwise::Kernel;
use vedette_tensor::matmul::{chunk, parts_for};

/// The convolution of `x` with `w`, both without zero points and in C order as is the output; sums begin with `bias`,
/// one a channel, where there is one, and wrap around.
///
/// # Panics
/// Where a slice is too short for the shape.
pub fn convolve(
    shape: &ConvShape,
    x: &[i32],
    w: &[i32],
    bias: Option<&[i32]>,
    out: &mut [i32],
    pool: &ThreadPool,
) {
    let outputs: usize = shape.axes.iter().map(|axis| axis.output).product();
    let planes = shape.batch * shape.out_channels;
    assert_eq!(out.len(), planes * outputs);
    let parts = parts_for(shape.work(), pool.threads()).min(planes.max(1));
    let shared = Shared::new(out.as_mut_ptr());
    pool.run(parts, |part| {
        for plane in chunk(planes, parts, part, 1) {
            // SAFETY: the planes of the output are apart, and each is one part's own.
            let out = unsafe {
                std::slice::from_raw_parts_mut(shared.get().wrapping_add(plane * outputs), outputs)
            };
            let (n, o) = (plane / shape.out_channels, plane % shape.out_channels);
            convolve_plane(shape, x, w, bias.map_or(0, |bias| bias[o]), (n, o), out);
        }
    });
}

fn convolve_plane(
    shape: &ConvShape,
    x: &[i32],
    w: &[i32],
    first: i32,
    (n, o): (usize, usize),
    out: &mut [i32],
) {
    let [depth, height, width] = &shape.axes;
    let (inside, pixels) = (shape.in_channels / shape.groups, depth.input * height.input * width.input);
    let group = o / (shape.out_channels / shape.groups);
    let w = &w[o * inside * shape.taps()..][..inside * shape.taps()];
    for (at, out) in out.iter_mut().enumerate() {
        let (ox, rest) = (at % width.output, at / width.output);
        let (oy, oz) = (rest % height.output, rest / height.output);
        let mut sum = first;
        for c in 0..inside {
            let x = &x[(n * shape.in_channels + group * inside + c) * pixels..][..pixels];
            let w = &w[c * shape.taps()..][..shape.taps()];
            for kz in depth.taps_within(oz) {
                for ky in height.taps_within(oy) {
                    for kx in width.taps_within(ox) {
                        let at = (depth.at(oz, kz), height.at(oy, ky), width.at(ox, kx));
                        let (Some(z), Some(y), Some(column)) = at else { continue };
                        let w = w[(kz * height.kernel + ky) * width.kernel + kx];
                        let x = x[(z * height.input + y) * width.input + column];
                        sum = sum.wrapping_add(w.wrapping_mul(x));
                    }
                }
            }
        }
        *out = sum;
    }
}

/// `saturate(rint(sum multiplier) + zero_point)`, computed in f64: operands are the output, the sum, the multiplier and
/// the zero point.
pub fn requantize_by(to: Bytes) -> Kernel<4> {
    fn rows<Q: Copy>(
        [out, sum, multiplier, zero_point]: [*mut u8; 4],
        n: usize,
        real: impl Fn(Q) -> f64,
        byte: impl Fn(f64) -> Q,
    ) {
        for i in 0..n {
            // SAFETY: the kernel's contract grants n elements of these types at each pointer.
            unsafe {
                let sum = f64::from(sum.cast::<i32>().add(i).read());
                let steps = (sum * f64::from(multiplier.cast::<f32>().add(i).read())).round_ties_even();
                let zero_point = real(zero_point.cast::<Q>().add(i).read());
                out.cast::<Q>().add(i).write(byte(steps + zero_point));
            }
        }
    }
    let (dtype, unsigned) = match to {
        Bytes::U8 => (DType::U8, true),
        Bytes::I8 => (DType::I8, false),
    };
    let run = move |pointers: [*mut u8; 4], n: usize| match unsigned {
        true => rows::<u8>(pointers, n, f64::from, |x| x.clamp(0.0, 255.0) as u8),
        false => rows::<i8>(pointers, n, f64::from, |x| x.clamp(-128.0, 127.0) as i8),
    };
    // SAFETY: only the n elements are accessed.
    unsafe { Kernel::new([dtype, DType::I32, DType::F32, dtype], run) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::bytes;
    use vedette_tensor::conv::{AutoPad, WindowAttributes};

    #[test]
    fn groups_strides_and_padding_are_those_of_the_float_convolution() {
        let attributes = WindowAttributes {
            strides: vec![2, 1],
            dilations: vec![1, 2],
            pads: vec![1, 2, 0, 1],
            auto_pad: AutoPad::NotSet,
            ceil_mode: false,
        };
        let (x_shape, w_shape) = ([2, 4, 7, 9], [6, 2, 3, 2]);
        let shape = ConvShape::new(&x_shape, &w_shape, 2, &attributes).unwrap();
        let small = |n: usize, seed: u32| -> Vec<i32> {
            bytes(n, seed).into_iter().map(|x| i32::from(x % 16) - 8).collect()
        };
        let (x, w, bias) = (small(2 * 4 * 63, 1), small(6 * 2 * 6, 2), small(6, 3));
        let outputs: usize = shape.output().iter().product();
        let mut out = vec![0; outputs];
        convolve(&shape, &x, &w, Some(&bias), &mut out, &ThreadPool::new(2));
        let [_, height, width] = shape.axes;
        for (i, &y) in out.iter().enumerate() {
            let (ox, rest) = (i % width.output, i / width.output);
            let (oy, rest) = (rest % height.output, rest / height.output);
            let (o, n) = (rest % 6, rest / 6);
            let mut sum = bias[o];
            for c in 0..2 {
                for ky in 0..3 {
                    for kx in 0..2 {
                        let (row, column) = (2 * oy + ky, ox + 2 * kx);
                        if (1..8).contains(&row) && (2..11).contains(&column) {
                            let channel = o / 3 * 2 + c;
                            let x = x[((n * 4 + channel) * 7 + row - 1) * 9 + column - 2];
                            sum += x * w[((o * 2 + c) * 3 + ky) * 2 + kx];
                        }
                    }
                }
            }
            assert_eq!(y, sum);
        }
    }
}
