use super::*;
use crate::matmul::Epilogue;
use crate::shape::{channels_last_strides, contiguous_strides};
use crate::{Activation, DType, View};
use std::sync::Arc;
use vedette_memory::AlignedBuffer;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

/// Small numbers with an exact sum in any order.
fn integers(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| (((i * 7 + seed * 13 + i / 5) % 11) as f32) - 5.0).collect()
}

/// The elements of a C-order tensor in channels-last order.
fn channels_last(shape: &[usize], data: &[f32]) -> Vec<f32> {
    let axes: Vec<usize> = std::iter::once(0).chain(2..shape.len()).chain(std::iter::once(1)).collect();
    View::of(shape, data).permuted(&axes).to_vec::<f32>()
}

fn attributes(strides: &[i64], dilations: &[i64], pads: &[i64], auto_pad: AutoPad) -> WindowAttributes {
    WindowAttributes {
        strides: strides.to_vec(),
        dilations: dilations.to_vec(),
        pads: pads.to_vec(),
        auto_pad,
        ceil_mode: false,
    }
}

#[track_caller]
fn check_conv(x_shape: &[usize], w_shape: &[usize], groups: usize, attributes: &WindowAttributes) {
    let shape = ConvShape::new(x_shape, w_shape, groups as i64, attributes).unwrap();
    let x = integers(x_shape.iter().product(), 1);
    let w = integers(w_shape.iter().product(), 2);
    let y_shape = shape.output();
    let (bias, residual) = (integers(w_shape[0], 3), integers(y_shape.iter().product(), 4));
    let sums = scalar::conv(&shape, &x, &w);
    let expected: Vec<f32> = {
        let plane: usize = y_shape[2..].iter().product();
        let with_bias: Vec<f32> =
            sums.iter().enumerate().map(|(i, sum)| sum + bias[i / plane.max(1) % w_shape[0]]).collect();
        let sums = channels_last(&y_shape, &with_bias);
        sums.iter().zip(&residual).map(|(sum, r)| (sum + r).clamp(-40.0, 60.0)).collect()
    };
    let epilogue = Epilogue { activation: Some(Activation::Clip { min: -40.0, max: 60.0 }) };
    let x_last = channels_last(x_shape, &x);
    let w_view = View::of(w_shape, &w);
    for isa in Isa::available() {
        for (last, constant, threads) in
            [(true, true, 1), (true, false, 3), (false, true, 2), (false, false, 1)]
        {
            let strides = if last { channels_last_strides(x_shape) } else { contiguous_strides(x_shape) };
            let weights = constant.then(|| Arc::new(ConvWeights::new(isa, &shape, &w_view)));
            let plan =
                ConvPlan::new(isa, threads, shape.clone(), &strides, w_view.strides(), weights, epilogue);
            let mut scratch = AlignedBuffer::new(plan.scratch_bytes());
            scratch.as_mut_slice().fill(0xff);
            // In place over the residual.
            let mut out = residual.clone();
            let arguments = ConvArguments {
                x: if last { x_last.as_ptr() } else { x.as_ptr() },
                further: [std::ptr::null(); MAX_INPUTS - 1],
                w: w.as_ptr(),
                bias: bias.as_ptr(),
                residual: out.as_ptr(),
                out: out.as_mut_ptr(),
            };
            // SAFETY: the slices have the sizes planned for.
            unsafe { plan.run(&arguments, scratch.as_mut_slice(), &ThreadPool::new(threads)) };
            assert_eq!(
                out,
                expected,
                "{} {x_shape:?} {w_shape:?} {groups} {attributes:?} {last} {constant}",
                isa.name()
            );
        }
    }
}

#[test]
fn dense_convolutions_agree_with_the_oracle() {
    let same = |pads: &[i64]| attributes(&[], &[], pads, AutoPad::NotSet);
    check_conv(&[1, 16, 5, 7], &[24, 16, 1, 1], 1, &same(&[]));
    check_conv(&[2, 13, 9, 11], &[19, 13, 3, 3], 1, &same(&[1, 1, 1, 1]));
    check_conv(&[1, 3, 17, 15], &[24, 3, 3, 3], 1, &attributes(&[2, 2], &[], &[1, 1, 1, 1], AutoPad::NotSet));
    check_conv(&[1, 24, 6, 9], &[12, 24, 2, 2], 1, &same(&[0, 0, 1, 1]));
    check_conv(
        &[1, 20, 8, 8],
        &[33, 20, 3, 3],
        1,
        &attributes(&[2, 1], &[1, 2], &[2, 0, 1, 3], AutoPad::NotSet),
    );
    check_conv(&[1, 5, 9, 9], &[4, 5, 5, 5], 1, &attributes(&[2, 3], &[], &[], AutoPad::SameLower));
    check_conv(&[1, 5, 9, 9], &[4, 5, 4, 4], 1, &attributes(&[2, 3], &[], &[], AutoPad::SameUpper));
    check_conv(&[1, 4, 32, 32], &[50, 4, 16, 16], 1, &attributes(&[16, 16], &[], &[], AutoPad::Valid));
    check_conv(&[1, 600, 3, 3], &[17, 600, 3, 3], 1, &same(&[1, 1, 1, 1]));
    check_conv(&[1, 2, 12, 12], &[3, 2, 11, 11], 1, &same(&[5, 5, 5, 5]));
}

#[test]
fn one_and_three_axes_are_like_two() {
    check_conv(&[2, 14, 9], &[7, 14, 3], 1, &attributes(&[2], &[2], &[1, 2], AutoPad::NotSet));
    check_conv(&[1, 2, 9], &[7, 2, 3], 1, &attributes(&[], &[], &[1, 1], AutoPad::NotSet));
    check_conv(
        &[2, 3, 5, 6, 7],
        &[4, 3, 3, 2, 3],
        1,
        &attributes(&[2, 1, 1], &[], &[1, 0, 1, 1, 1, 1], AutoPad::NotSet),
    );
    check_conv(
        &[1, 16, 4, 5, 6],
        &[8, 16, 3, 3, 3],
        1,
        &attributes(&[1, 2, 2], &[], &[1; 6], AutoPad::NotSet),
    );
    check_conv(&[1, 6, 4, 5, 6], &[6, 1, 3, 3, 3], 6, &attributes(&[], &[], &[1; 6], AutoPad::NotSet));
    check_conv(&[1, 6, 9], &[6, 1, 3], 6, &attributes(&[], &[], &[1, 1], AutoPad::NotSet));
}

#[test]
fn grouped_and_depthwise_convolutions_agree_with_the_oracle() {
    let pads = |p: i64| [p, p, p, p];
    check_conv(&[1, 12, 7, 7], &[18, 4, 3, 3], 3, &attributes(&[], &[], &pads(1), AutoPad::NotSet));
    check_conv(&[1, 8, 7, 7], &[16, 1, 3, 3], 8, &attributes(&[2, 2], &[], &pads(1), AutoPad::NotSet));
    for channels in [3, 16, 37, 96] {
        for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (7, 2), (2, 1), (1, 1)] {
            let attributes = attributes(&[stride, stride], &[], &pads(kernel / 2), AutoPad::NotSet);
            let kernel = kernel as usize;
            check_conv(&[1, channels, 9, 21], &[channels, 1, kernel, kernel], channels, &attributes);
        }
    }
    check_conv(&[2, 20, 9, 2], &[20, 1, 3, 3], 20, &attributes(&[], &[2, 2], &pads(2), AutoPad::NotSet));
    check_conv(&[2, 20, 1, 40], &[20, 1, 1, 7], 20, &attributes(&[], &[], &[0, 3, 0, 3], AutoPad::NotSet));
    check_conv(&[1, 40, 12, 700], &[40, 1, 7, 7], 40, &attributes(&[], &[], &pads(3), AutoPad::NotSet));
    // More padding than input.
    check_conv(&[1, 16, 2, 2], &[16, 1, 3, 3], 16, &attributes(&[2, 2], &[], &pads(4), AutoPad::NotSet));
}

#[test]
fn channels_may_lie_in_several_tensors() {
    let attributes = WindowAttributes {
        strides: vec![1, 2],
        dilations: vec![],
        pads: vec![1, 0, 0, 1],
        auto_pad: AutoPad::NotSet,
        ceil_mode: false,
    };
    for (channels, inputs) in [(24, 2), (12, 3), (64, 4), (16, 1)] {
        let (x_shape, w_shape) = ([2, channels, 5, 7], [9, channels, 3, 2]);
        let shape = ConvShape::new(&x_shape, &w_shape, 1, &attributes).unwrap();
        let x = integers(x_shape.iter().product(), 1);
        let w = integers(w_shape.iter().product(), 2);
        let expected = channels_last(&shape.output(), &scalar::conv(&shape, &x, &w));
        let part_shape = [2, channels / inputs, 5, 7];
        let plane = 5 * 7 * channels / inputs;
        let parts: Vec<Vec<f32>> = (0..inputs)
            .map(|input| {
                let of_image = |image: usize| &x[(image * inputs + input) * plane..][..plane];
                channels_last(&part_shape, &[of_image(0), of_image(1)].concat())
            })
            .collect();
        let part = |i: usize| parts.get(i).map_or(std::ptr::null(), |part| part.as_ptr());
        for isa in Isa::available() {
            let weights = Some(Arc::new(ConvWeights::new(isa, &shape, &View::of(&w_shape, &w))));
            let strides = channels_last_strides(&part_shape);
            let w_strides = contiguous_strides(&w_shape);
            let epilogue = Epilogue::default();
            let plan = ConvPlan::new(isa, 2, shape.clone(), &strides, &w_strides, weights, epilogue);
            let plan = plan.with_inputs(inputs).unwrap();
            let mut out = vec![f32::NAN; expected.len()];
            let arguments = ConvArguments {
                x: part(0),
                further: [part(1), part(2), part(3)],
                w: w.as_ptr(),
                bias: std::ptr::null(),
                residual: std::ptr::null(),
                out: out.as_mut_ptr(),
            };
            let mut scratch = AlignedBuffer::new(plan.scratch_bytes());
            // SAFETY: the slices have the sizes planned for.
            unsafe { plan.run(&arguments, scratch.as_mut_slice(), &ThreadPool::new(2)) };
            assert_eq!(out, expected, "{} {channels} in {inputs}", isa.name());
        }
    }
}

#[track_caller]
fn check_transpose(x_shape: &[usize], w_shape: &[usize], groups: usize, attributes: &TransposeAttributes) {
    let shape = TransposeShape::new(x_shape, w_shape, groups as i64, attributes).unwrap();
    let x = integers(x_shape.iter().product(), 1);
    let w = integers(w_shape.iter().product(), 2);
    let y_shape = shape.output();
    let bias = integers(y_shape[1], 3);
    let plane: usize = y_shape[2..].iter().product();
    let sums = scalar::conv_transpose(&shape, &x, &w);
    let expected: Vec<f32> =
        sums.iter().enumerate().map(|(i, sum)| (sum + bias[i / plane % y_shape[1]]).max(0.0)).collect();
    let expected = channels_last(&y_shape, &expected);
    let x_last = channels_last(x_shape, &x);
    let w_strides = contiguous_strides(w_shape);
    for isa in Isa::available() {
        for (last, constant, threads) in [(true, true, 1), (true, false, 3), (false, true, 2)] {
            let strides = if last { channels_last_strides(x_shape) } else { contiguous_strides(x_shape) };
            let mut weights = TransposeWeights::layout(isa, &shape, &w_strides);
            if constant {
                // SAFETY: w has the shape given.
                weights = unsafe { weights.pack(w.as_ptr()) };
            }
            let epilogue = Epilogue { activation: Some(Activation::Relu) };
            let plan = TransposePlan::new(threads, shape.clone(), &strides, Arc::new(weights), epilogue);
            let mut scratch = AlignedBuffer::new(plan.scratch_bytes());
            scratch.as_mut_slice().fill(0xff);
            let mut out = vec![f32::NAN; y_shape.iter().product()];
            let arguments = ConvArguments {
                x: if last { x_last.as_ptr() } else { x.as_ptr() },
                further: [std::ptr::null(); MAX_INPUTS - 1],
                w: w.as_ptr(),
                bias: bias.as_ptr(),
                residual: std::ptr::null(),
                out: out.as_mut_ptr(),
            };
            // SAFETY: the slices have the sizes planned for.
            unsafe { plan.run(&arguments, scratch.as_mut_slice(), &ThreadPool::new(threads)) };
            assert_eq!(out, expected, "{} {x_shape:?} {w_shape:?} {groups} {attributes:?}", isa.name());
        }
    }
    assert_eq!(View::of(&y_shape, &expected).dtype(), DType::F32);
}

#[test]
fn transposed_convolutions_agree_with_scattering() {
    let none = TransposeAttributes {
        strides: vec![],
        dilations: vec![],
        pads: vec![],
        output_padding: vec![],
        output_shape: vec![],
        auto_pad: AutoPad::NotSet,
    };
    let stride = |s: i64| TransposeAttributes { strides: vec![s, s], ..none.clone() };
    check_transpose(&[1, 24, 5, 7], &[24, 24, 2, 2], 1, &stride(2));
    check_transpose(&[2, 24, 5, 7], &[24, 1, 2, 2], 1, &stride(2));
    check_transpose(&[1, 6, 5, 7], &[6, 5, 3, 3], 1, &none);
    check_transpose(&[1, 6, 5, 7], &[6, 5, 3, 3], 2, &stride(3));
    check_transpose(
        &[2, 16, 5, 4],
        &[16, 9, 4, 4],
        1,
        &TransposeAttributes { pads: vec![1; 4], ..stride(2) },
    );
    check_transpose(&[1, 3, 5, 4], &[3, 4, 2, 2], 1, &stride(3));
    check_transpose(
        &[1, 3, 5, 4],
        &[3, 4, 3, 3],
        1,
        &TransposeAttributes {
            pads: vec![1, 2, 1, 2],
            output_padding: vec![1, 1],
            dilations: vec![2, 3],
            ..stride(2)
        },
    );
    check_transpose(
        &[1, 3, 5, 4],
        &[3, 4, 3, 3],
        1,
        &TransposeAttributes { output_shape: vec![12, 8], ..stride(2) },
    );
    for auto_pad in [AutoPad::SameUpper, AutoPad::SameLower, AutoPad::Valid] {
        check_transpose(&[1, 3, 5, 4], &[3, 4, 3, 3], 1, &TransposeAttributes { auto_pad, ..stride(2) });
    }
    check_transpose(&[1, 3, 6], &[3, 4, 3], 1, &none);
    check_transpose(
        &[1, 3, 2, 3, 4],
        &[3, 2, 3, 3, 3],
        1,
        &TransposeAttributes { strides: vec![2, 1, 2], ..none.clone() },
    );
    check_transpose(&[1, 4, 5, 4], &[4, 1, 3, 3], 4, &stride(2));
}
