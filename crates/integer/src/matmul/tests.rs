use super::rows::{RowScale, quantize_row};
use super::*;
use crate::epilogue::tests::{numbers, outputs};
use crate::{Epilogue, EpilogueSpec, Quantization};
use std::sync::Arc;
use vedette_memory::AlignedBuffer;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
use vedette_tensor::{Activation, View};

fn bytes(seed: u32, n: usize) -> Vec<u8> {
    numbers(seed, n).iter().map(|&x| (x >> 17) as u8).collect()
}

/// Matrices, rows, depth, columns; what each axis of `A` steps over besides its elements.
const SIZES: &[[usize; 4]] =
    &[[1, 1, 4, 1], [1, 197, 192, 576], [3, 5, 7, 17], [2, 13, 66, 64], [1, 6, 1, 33], [2, 1, 40, 70]];

#[test]
fn every_level_and_layout_computes_what_the_oracle_does() {
    for &[batch, m, k, n] in SIZES {
        let (a, b) = (bytes(1, batch * m * k), bytes(2, k * n).iter().map(|&b| b as i8).collect::<Vec<_>>());
        let zero_point = 77;
        let mut sums = Vec::new();
        for row in a.chunks(k) {
            for column in 0..n {
                let product = |i: usize| (i32::from(row[i]) - zero_point) * i32::from(b[i * n + column]);
                sums.push((0..k).map(product).sum::<i32>());
            }
        }
        let multiplier: Vec<f32> = (0..n).map(|i| 1e-3 + i as f32 * 1e-5).collect();
        let residual = bytes(3, sums.len());
        let spec = EpilogueSpec {
            multiplier: &multiplier,
            residual: Some(Quantization::new(0.2, 9).unwrap()),
            output: Some(Quantization::new(0.4, 128).unwrap()),
            ..EpilogueSpec::default()
        };
        let expected = outputs(&Epilogue::new(Isa::SCALAR, &spec), &sums, Some(&residual));
        // Rows as they are, rows far apart, and columns of A one after the other.
        let shape = [batch, m, k];
        let layouts =
            [[m * k, k, 1], [m * (k + 3) + 1, k + 3, 1], [m * k, 1, m]].map(|s| s.map(|s| s as isize));
        for isa in Isa::available() {
            let columns = Arc::new(pack_columns(isa, &View::of(&[k, n], &b), zero_point as u8));
            let spec = EpilogueSpec { largest_sum: Some(columns.largest_sum()), ..spec.clone() };
            let epilogue = Arc::new(Epilogue::new(isa, &spec));
            for (strides, threads) in layouts.iter().flat_map(|strides| [(strides, 1), (strides, 3)]) {
                let laid = lay(&a, &shape, strides);
                let plan = MatMulPlan::new(threads, (&shape, strides), columns.clone(), epilogue.clone());
                let mut scratch = AlignedBuffer::new(plan.scratch_bytes());
                let mut out = residual.clone();
                let arguments =
                    MatMulArguments { a: laid.as_ptr(), residual: out.as_ptr(), out: out.as_mut_ptr() };
                // SAFETY: the buffers have the sizes the plan was made for; the residual is the output.
                unsafe { plan.run(&arguments, scratch.as_mut_slice(), &ThreadPool::new(threads)) };
                assert!(out == expected, "{shape:?} x {n}, {strides:?}, {}, {threads} threads", isa.name());
            }
        }
    }
}

fn lay<T: Copy + Default>(values: &[T], shape: &[usize; 3], strides: &[isize; 3]) -> Vec<T> {
    let len = 1 + shape.iter().zip(strides).map(|(dim, stride)| (dim - 1) * *stride as usize).sum::<usize>();
    let mut laid = vec![T::default(); len];
    for (i, &value) in values.iter().enumerate() {
        let index = [i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]];
        laid[(0..3).map(|axis| index[axis] * strides[axis] as usize).sum::<usize>()] = value;
    }
    laid
}

#[test]
fn rows_quantized_by_themselves_give_the_same_bits_at_every_level() {
    for &[batch, m, k, n] in SIZES {
        let a: Vec<f32> = bytes(1, batch * m * k).iter().map(|&x| f32::from(x) * 0.013 - 1.1).collect();
        let b: Vec<i8> = bytes(2, k * n).iter().map(|&b| b as i8).collect();
        let scales: Vec<f32> = (0..n).map(|i| 1e-2 + i as f32 * 1e-4).collect();
        let bias: Vec<f32> = (0..n).map(|i| i as f32 * 0.5 - 1.0).collect();
        let residual: Vec<f32> = (0..batch * m * n).map(|i| (i % 19) as f32).collect();
        let mut expected = Vec::new();
        for (row, values) in a.chunks(k).enumerate() {
            let mut q = vec![0u8; k];
            // SAFETY: the slices have k values.
            let RowScale { scale, zero_point } =
                unsafe { quantize_row(Isa::SCALAR, values.as_ptr(), 1, k, q.as_mut_ptr()) };
            for column in 0..n {
                let product = |i: usize| (i32::from(q[i]) - zero_point) * i32::from(b[i * n + column]);
                let sum = (0..k).map(product).sum::<i32>();
                let f = sum as f32 * scales[column] * scale + bias[column] + residual[row * n + column];
                expected.push(f.max(0.0));
            }
        }
        let shape = [batch, m, k];
        for isa in Isa::available() {
            let columns = Arc::new(pack_columns(isa, &View::of(&[k, n], &b), 0));
            let parameters =
                Arc::new(DynamicParameters::new(isa, &scales, Some(&bias), Some(Activation::Relu)));
            for strides in [[m * k, k, 1], [m * k, 1, m]].map(|s| s.map(|s| s as isize)) {
                let laid = lay(&a, &shape, &strides);
                let plan = DynamicPlan::new(2, (&shape, &strides), columns.clone(), parameters.clone());
                let mut scratch = AlignedBuffer::new(plan.scratch_bytes());
                let mut out = vec![0f32; expected.len()];
                let arguments =
                    DynamicArguments { a: laid.as_ptr(), residual: residual.as_ptr(), out: out.as_mut_ptr() };
                // SAFETY: the buffers have the sizes the plan was made for.
                unsafe { plan.run(&arguments, scratch.as_mut_slice(), &ThreadPool::new(2)) };
                assert!(out == expected, "{shape:?} x {n}, {}", isa.name());
            }
        }
    }
}

#[test]
fn rows_are_quantized_over_their_range_with_zero() {
    for isa in Isa::available() {
        let quantized = |row: &[f32]| {
            let mut q = vec![0u8; row.len()];
            // SAFETY: the slices are equally long.
            let scale = unsafe { quantize_row(isa, row.as_ptr(), 1, row.len(), q.as_mut_ptr()) };
            (scale, q)
        };
        let (scale, q) = quantized(&[-5.1, 0.0, 20.4, 0.04]);
        assert!((scale.scale - 0.1).abs() < 1e-6);
        assert_eq!((scale.zero_point, &q[..]), (51, &[0, 51, 255, 51][..]));
        assert_eq!(quantized(&[2.55; 3]).1, [255; 3]);
        assert_eq!(quantized(&[0.0; 40]), (RowScale::default(), vec![0; 40]));
        assert_eq!(quantized(&[1e-44, 0.0]).0.scale, 0.0);
        let (wide, q) = quantized(&[-3e38, 3e38]);
        assert!(wide.scale.is_finite() && q == [0, 255]);
        for odd in [f32::NAN, f32::INFINITY] {
            let mut row = vec![1.0; 37];
            row[20] = odd;
            assert!(quantized(&row).0.scale.is_nan());
        }
    }
}
