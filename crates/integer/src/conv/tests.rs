use super::scalar::{conv_sums, transpose_sums};
use super::*;
use crate::epilogue::tests::{numbers, outputs};
use crate::{Epilogue, EpilogueSpec, Quantization};
use std::sync::Arc;
use vedette_memory::AlignedBuffer;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
use vedette_tensor::conv::{AutoPad, ConvShape, TransposeAttributes, TransposeShape, WindowAttributes};
use vedette_tensor::{Activation, View, channels_last_strides, contiguous_strides};

/// `[N, C, ...]`, output channels, groups, and per spatial axis kernel, stride, dilation, pads.
struct Case {
    x: &'static [usize],
    out: usize,
    groups: usize,
    window: &'static [(usize, i64, i64, [i64; 2])],
}

const CASES: &[Case] = &[
    // Read as it lies: 1x1, and windows without padding.
    Case { x: &[1, 16, 5, 7], out: 70, groups: 1, window: &[(1, 1, 1, [0, 0]), (1, 1, 1, [0, 0])] },
    Case { x: &[2, 8, 9, 8], out: 33, groups: 1, window: &[(1, 2, 1, [0, 0]), (1, 2, 1, [0, 0])] },
    Case { x: &[1, 12, 6, 7], out: 20, groups: 1, window: &[(3, 1, 1, [0, 0]), (2, 1, 2, [0, 0])] },
    Case { x: &[1, 16, 6, 9], out: 24, groups: 2, window: &[(3, 2, 1, [0, 0]), (3, 1, 1, [0, 0])] },
    // Strips: padding, odd channels, few channels, dilation, groups, one and three axes.
    Case { x: &[1, 64, 7, 7], out: 130, groups: 1, window: &[(3, 1, 1, [1, 1]), (3, 1, 1, [1, 1])] },
    Case { x: &[1, 3, 17, 19], out: 32, groups: 1, window: &[(3, 2, 1, [1, 0]), (3, 2, 1, [0, 1])] },
    Case { x: &[1, 3, 20, 22], out: 64, groups: 1, window: &[(7, 2, 1, [3, 3]), (7, 2, 1, [3, 3])] },
    Case { x: &[1, 1, 9, 9], out: 5, groups: 1, window: &[(5, 1, 1, [2, 2]), (5, 1, 1, [2, 2])] },
    Case { x: &[2, 6, 8, 5], out: 16, groups: 1, window: &[(3, 1, 2, [2, 2]), (3, 1, 2, [2, 2])] },
    Case { x: &[1, 15, 6, 5], out: 9, groups: 3, window: &[(3, 1, 1, [1, 1]), (3, 1, 2, [2, 2])] },
    Case { x: &[1, 7, 5, 5], out: 7, groups: 7, window: &[(3, 1, 1, [1, 1]), (3, 1, 1, [1, 1])] },
    Case { x: &[1, 5, 40], out: 48, groups: 1, window: &[(9, 3, 1, [4, 4])] },
    Case {
        x: &[2, 4, 4, 5, 6],
        out: 17,
        groups: 1,
        window: &[(3, 1, 1, [1, 1]), (2, 2, 1, [0, 1]), (3, 1, 1, [1, 1])],
    },
    // So deep that the sums of several pieces, or of one, wait for the rest of the depth.
    Case { x: &[1, 160, 6, 7], out: 40, groups: 1, window: &[(3, 1, 1, [1, 1]), (3, 1, 1, [1, 1])] },
    Case { x: &[1, 160, 3, 4], out: 70, groups: 1, window: &[(3, 1, 1, [1, 1]), (3, 1, 1, [1, 1])] },
    Case { x: &[1, 4, 1, 1], out: 3, groups: 1, window: &[(3, 1, 1, [1, 1]), (3, 1, 1, [1, 1])] },
];

fn shape_of(case: &Case) -> (ConvShape, Vec<usize>) {
    let mut w_shape = vec![case.out, case.x[1] / case.groups];
    w_shape.extend(case.window.iter().map(|axis| axis.0));
    let attributes = WindowAttributes {
        strides: case.window.iter().map(|axis| axis.1).collect(),
        dilations: case.window.iter().map(|axis| axis.2).collect(),
        pads: (0..2).flat_map(|end| case.window.iter().map(move |axis| axis.3[end])).collect(),
        auto_pad: AutoPad::NotSet,
        ceil_mode: false,
    };
    (ConvShape::new(case.x, &w_shape, case.groups as i64, &attributes).unwrap(), w_shape)
}

#[test]
fn every_level_and_layout_computes_what_the_oracle_does() {
    for (number, case) in CASES.iter().enumerate() {
        let (shape, w_shape) = shape_of(case);
        let bytes = |seed, n: usize| numbers(seed, n).iter().map(|&x| (x >> 17) as u8).collect::<Vec<u8>>();
        let x = bytes(1, case.x.iter().product());
        let w: Vec<i8> = bytes(2, w_shape.iter().product()).iter().map(|&b| b as i8).collect();
        let zero_point = 131;
        let multiplier: Vec<f32> = (0..case.out).map(|i| 1e-3 + i as f32 * 1e-5).collect();
        let bias: Vec<f32> = (0..case.out).map(|i| i as f32 * 0.25 - 3.0).collect();
        let sums = conv_sums(&shape, &x, &w, zero_point);
        let residual = bytes(3, sums.len());
        let table: [u8; 256] = std::array::from_fn(|i| 255 - i as u8);
        let floats = EpilogueSpec { multiplier: &multiplier, bias: Some(&bias), ..EpilogueSpec::default() };
        let rounded = EpilogueSpec { rounded: true, ..floats.clone() };
        let quantized = EpilogueSpec { output: Some(Quantization::new(0.5, 120).unwrap()), ..floats.clone() };
        let added =
            EpilogueSpec { residual: Some(Quantization::new(0.1, 100).unwrap()), ..quantized.clone() };
        let specs = [
            EpilogueSpec { table: Some(&table), ..quantized.clone() },
            EpilogueSpec { table: Some(&table), clamp: Some((-2.0, 9.0)), ..added.clone() },
            EpilogueSpec { clamp: Some((-2.0, 9.0)), ..rounded.clone() },
            EpilogueSpec { activation: Some(Activation::Gelu), ..rounded.clone() },
            EpilogueSpec { activation: Some(Activation::Tanh), ..rounded },
            quantized,
            added,
            floats,
        ];
        let levels = || Isa::available().into_iter().flat_map(|isa| [(isa, true), (isa, false)]);
        for (kind, spec) in specs.iter().enumerate() {
            let residual = spec.residual.map(|_| &residual[..]);
            for (isa, is_bounded) in levels() {
                // Functions are as near the oracle's as their own tests say.
                let oracle = if spec.activation.is_some() { isa } else { Isa::SCALAR };
                let expected = outputs(&Epilogue::new(oracle, spec), &sums, residual);
                let weights = ConvWeights::new(isa, &shape, &View::of(&w_shape, &w), zero_point);
                let largest_sum = is_bounded.then(|| weights.largest_sum());
                let spec = EpilogueSpec { largest_sum, ..spec.clone() };
                let (weights, epilogue) = (Arc::new(weights), Arc::new(Epilogue::new(isa, &spec)));
                for (planar, threads) in [(true, 1), (false, 1), (false, 3)] {
                    let strides =
                        if planar { contiguous_strides(case.x) } else { channels_last_strides(case.x) };
                    let laid = lay(&x, case.x, &strides);
                    let plan = ConvPlan::new(
                        threads,
                        &shape,
                        &strides,
                        zero_point,
                        weights.clone(),
                        epilogue.clone(),
                    )
                    .unwrap();
                    let mut scratch = AlignedBuffer::new(plan.scratch_bytes());
                    let mut out = AlignedBuffer::new(expected.len());
                    let arguments = ConvArguments {
                        x: laid.as_ptr(),
                        residual: residual.map_or(std::ptr::null(), <[u8]>::as_ptr),
                        out: out.as_mut_ptr(),
                    };
                    // SAFETY: the buffers have the sizes the plan was made for.
                    unsafe { plan.run(&arguments, scratch.as_mut_slice(), &ThreadPool::new(threads)) };
                    assert!(
                        out.as_slice() == expected,
                        "case {number}, {}, planar {planar}, {threads} threads, outputs {kind}",
                        isa.name()
                    );
                }
            }
        }
    }
}

/// Input channels and sizes; output channels, groups; kernel, stride, dilation, pad, output padding of every axis.
const TRANSPOSED: &[(&[usize], usize, usize, [i64; 5])] = &[
    // Side by side: each output pixel has one tap.
    (&[1, 24, 5, 7], 6, 1, [2, 2, 1, 0, 0]),
    (&[2, 5, 4, 3], 3, 1, [2, 2, 1, 0, 0]),
    (&[1, 8, 4, 5], 8, 2, [2, 2, 1, 0, 0]),
    // Overlapping, cut off, with phases that see nothing, dilated, over one axis and three.
    (&[1, 8, 4, 5], 17, 1, [4, 2, 1, 1, 0]),
    (&[1, 6, 5, 4], 6, 3, [3, 2, 1, 1, 1]),
    (&[1, 4, 3, 3], 4, 1, [2, 3, 1, 0, 0]),
    (&[1, 4, 4, 4], 4, 1, [3, 2, 2, 2, 0]),
    (&[1, 4, 6, 6], 4, 1, [2, 2, 1, 3, 0]),
    (&[1, 4, 9], 3, 1, [3, 1, 1, 1, 0]),
    (&[1, 3, 2, 3, 2], 4, 1, [3, 2, 1, 0, 0]),
];

#[test]
fn transposed_convolutions_compute_what_the_oracle_does() {
    for (number, &(x_shape, out, groups, [kernel, stride, dilation, pad, end])) in
        TRANSPOSED.iter().enumerate()
    {
        let rank = x_shape.len() - 2;
        let mut w_shape = vec![x_shape[1], out / groups];
        w_shape.extend(vec![kernel as usize; rank]);
        let attributes = TransposeAttributes {
            strides: vec![stride; rank],
            dilations: vec![dilation; rank],
            pads: vec![pad; 2 * rank],
            output_padding: vec![end; rank],
            output_shape: vec![],
            auto_pad: AutoPad::NotSet,
        };
        let shape = TransposeShape::new(x_shape, &w_shape, groups as i64, &attributes).unwrap();
        let bytes = |seed, n: usize| numbers(seed, n).iter().map(|&x| (x >> 17) as u8).collect::<Vec<u8>>();
        let x = bytes(1, x_shape.iter().product());
        let w: Vec<i8> = bytes(2, w_shape.iter().product()).iter().map(|&b| b as i8).collect();
        let sums = transpose_sums(&shape, &x, &w, 99);
        let multiplier: Vec<f32> = (0..out).map(|i| 1e-3 + i as f32 * 1e-4).collect();
        let spec = EpilogueSpec {
            multiplier: &multiplier,
            output: Some(Quantization::new(0.25, 120).unwrap()),
            ..EpilogueSpec::default()
        };
        let expected = outputs(&Epilogue::new(Isa::SCALAR, &spec), &sums, None);
        for isa in Isa::available() {
            let weights = Arc::new(TransposeWeights::new(isa, &shape, &View::of(&w_shape, &w), 99));
            let multiplier = multiplier.repeat(TransposeWeights::repeats(&shape));
            let epilogue =
                Arc::new(Epilogue::new(isa, &EpilogueSpec { multiplier: &multiplier, ..spec.clone() }));
            for strides in [contiguous_strides(x_shape), channels_last_strides(x_shape)] {
                let laid = lay(&x, x_shape, &strides);
                let plan =
                    TransposePlan::new(3, &shape, &strides, 99, weights.clone(), epilogue.clone()).unwrap();
                let mut scratch = AlignedBuffer::new(plan.scratch_bytes());
                let mut out = AlignedBuffer::new(expected.len());
                let arguments =
                    ConvArguments { x: laid.as_ptr(), residual: std::ptr::null(), out: out.as_mut_ptr() };
                // SAFETY: the buffers have the sizes the plan was made for.
                unsafe { plan.run(&arguments, scratch.as_mut_slice(), &ThreadPool::new(3)) };
                assert!(out.as_slice() == expected, "case {number} at {}", isa.name());
            }
        }
    }
}

/// C-order bytes laid out by strides.
fn lay(x: &[u8], shape: &[usize], strides: &[isize]) -> Vec<u8> {
    let mut laid = vec![0u8; x.len()];
    for (i, &value) in x.iter().enumerate() {
        let (mut rest, mut at) = (i, 0);
        for (dim, stride) in shape.iter().zip(strides).rev() {
            at += (rest % dim) * *stride as usize;
            rest /= dim;
        }
        laid[at] = value;
    }
    laid
}
