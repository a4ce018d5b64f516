use super::*;
use crate::shape::contiguous_strides;
use crate::{Activation, DType};
use std::sync::Arc;
use vedette_memory::AlignedBuffer;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

/// Small numbers with an exact sum in any order.
pub(crate) fn integers(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| (((i * 7 + seed * 13 + i / 5) % 17) as f32) - 8.0).collect()
}

fn run(
    plan: &MatMulPlan,
    a: &[f32],
    b: &[f32],
    bias: &[f32],
    residual: &[f32],
    out: &mut [f32],
    threads: usize,
) {
    let mut scratch = AlignedBuffer::new(plan.scratch_bytes());
    let or_null = |x: &[f32]| if x.is_empty() { std::ptr::null() } else { x.as_ptr() };
    let arguments = MatMulArguments {
        a: a.as_ptr(),
        b: b.as_ptr(),
        bias: or_null(bias),
        residual: or_null(residual),
        out: out.as_mut_ptr(),
    };
    // SAFETY: the slices have the sizes the plan was made for.
    unsafe { plan.run(&arguments, scratch.as_mut_slice(), &ThreadPool::new(threads)) };
}

#[test]
fn products_of_all_sizes_agree_with_the_oracle() {
    let sizes = [
        (1, 1, 1),
        (1, 3, 5),
        (2, 7, 16),
        (5, 16, 8),
        (7, 33, 24),
        (12, 9, 31),
        (13, 20, 48),
        (24, 5, 33),
        (25, 64, 65),
        (49, 40, 120),
        (3, 1100, 70),
        (100, 600, 40),
        (6, 0, 9),
        (0, 4, 4),
        (64, 12, 200),
        (60, 97, 192),
    ];
    for isa in Isa::available() {
        for (m, k, n) in sizes {
            for (trans_a, trans_b) in [(false, false), (true, false), (false, true), (true, true)] {
                let (a, b) = (integers(m * k, 1), integers(k * n, 2));
                let expected = scalar::matmul(&a, &b, (m, k, n));
                let (a_shape, b_shape) =
                    (if trans_a { [k, m] } else { [m, k] }, if trans_b { [n, k] } else { [k, n] });
                let turn = |x: &[f32], rows: usize, columns: usize, turned: bool| -> Vec<f32> {
                    if !turned {
                        return x.to_vec();
                    }
                    (0..columns * rows).map(|i| x[(i % rows) * columns + i / rows]).collect()
                };
                let (a, b) = (turn(&a, m, k, trans_a), turn(&b, k, n, trans_b));
                let (a_strides, b_strides) = (contiguous_strides(&a_shape), contiguous_strides(&b_shape));
                let operands = MatMulOperands {
                    a_shape: &a_shape,
                    a_strides: &a_strides,
                    trans_a,
                    b_shape: &b_shape,
                    b_strides: &b_strides,
                    trans_b,
                };
                let (bias, residual) = (integers(n, 3), integers(m * n, 4));
                for (constant, threads) in [(false, 1), (true, 1), (false, 3), (true, 2)] {
                    // SAFETY: b has the elements described.
                    let packed =
                        constant.then(|| unsafe { MatMulPlan::pack(isa, &operands, 2.0, b.as_ptr()) });
                    let packed = packed.transpose().unwrap().map(Arc::new);
                    let epilogue = Epilogue { activation: Some(Activation::Relu) };
                    let strides = contiguous_strides(&[m, n]);
                    let plan =
                        MatMulPlan::new(isa, threads, &operands, &strides, 2.0, packed, epilogue).unwrap();
                    let mut out = vec![f32::NAN; m * n];
                    run(&plan, &a, &b, &bias, &residual, &mut out, threads);
                    let expected: Vec<f32> = expected
                        .iter()
                        .enumerate()
                        .map(|(i, x)| (2.0 * x + bias[i % n] + residual[i]).max(0.0))
                        .collect();
                    assert_eq!(out, expected, "{} {m} {k} {n} {trans_a} {trans_b} {constant}", isa.name());
                }
            }
        }
    }
}

#[test]
fn batches_broadcast_as_in_numpy() {
    for isa in Isa::available() {
        for (a_batch, b_batch, m) in [
            (&[3usize, 1][..], &[1usize, 2][..], 4usize),
            (&[2, 3], &[], 1),
            (&[], &[4], 5),
            (&[2], &[2], 1),
            (&[5, 2], &[2], 3),
        ] {
            let (k, n) = (6, 10);
            let batch = crate::broadcast_shape(a_batch, b_batch).unwrap();
            let with = |batch: &[usize], rest: [usize; 2]| [batch, &rest[..]].concat();
            let (a_shape, b_shape, shape) =
                (with(a_batch, [m, k]), with(b_batch, [k, n]), with(&batch, [m, n]));
            let (a, b) = (integers(a_shape.iter().product(), 1), integers(b_shape.iter().product(), 2));
            let (a_strides, b_strides) = (contiguous_strides(&a_shape), contiguous_strides(&b_shape));
            let operands = MatMulOperands {
                a_shape: &a_shape,
                a_strides: &a_strides,
                trans_a: false,
                b_shape: &b_shape,
                b_strides: &b_strides,
                trans_b: false,
            };
            assert_eq!(matmul_shape(&operands).unwrap().as_slice(), shape);
            let plan = MatMulPlan::new(
                isa,
                2,
                &operands,
                &contiguous_strides(&shape),
                1.0,
                None,
                Epilogue { activation: Some(Activation::Sigmoid) },
            )
            .unwrap();
            let mut out = vec![f32::NAN; shape.iter().product()];
            run(&plan, &a, &b, &[], &[], &mut out, 2);
            let a_all =
                crate::View::of(&a_shape, &a).broadcast_to(&with(&batch, [m, k])).unwrap().to_vec::<f32>();
            let b_all =
                crate::View::of(&b_shape, &b).broadcast_to(&with(&batch, [k, n])).unwrap().to_vec::<f32>();
            let expected: Vec<f32> = a_all
                .chunks(m * k)
                .zip(b_all.chunks(k * n))
                .flat_map(|(a, b)| scalar::matmul(a, b, (m, k, n)))
                .map(|x| 1.0 / (1.0 + (-x).exp()))
                .collect();
            for (x, y) in out.iter().zip(&expected) {
                assert!((x - y).abs() < 1e-6, "{x} {y}");
            }
            assert_eq!(crate::View::of(&shape, &out).dtype(), DType::F32);
        }
    }
}

/// Every shape and order of strides, at every level, against sums in double precision.
#[test]
fn products_made_once_agree_with_the_oracle() {
    fn check<T: crate::Element>(isa: Isa, (m, k, n): (usize, usize, usize), of: impl Fn(f32) -> T) {
        let (a, b) = (integers(m * k, 5), integers(k * n, 6));
        let expected: Vec<T> = scalar::matmul(&a, &b, (m, k, n)).into_iter().map(&of).collect();
        let turned = |x: &[f32], rows: usize, columns: usize| -> Vec<T> {
            (0..rows * columns).map(|i| of(x[i % rows * columns + i / rows])).collect()
        };
        let plain = |x: &[f32]| -> Vec<T> { x.iter().map(|&x| of(x)).collect() };
        for (turn_a, turn_b, threads) in
            [(false, false, 1), (true, false, 2), (false, true, 3), (true, true, 1)]
        {
            let a = if turn_a { turned(&a, m, k) } else { plain(&a) };
            let b = if turn_b { turned(&b, k, n) } else { plain(&b) };
            let a = if turn_a {
                crate::View::of(&[k, m], &a).permuted(&[1, 0])
            } else {
                crate::View::of(&[m, k], &a)
            };
            let b = if turn_b {
                crate::View::of(&[n, k], &b).permuted(&[1, 0])
            } else {
                crate::View::of(&[k, n], &b)
            };
            let mut out = vec![of(7.0); m * n];
            let mut view = crate::ViewMut::of(&[m, n], &mut out);
            multiply(isa, &a, &b, &mut view, &ThreadPool::new(threads)).unwrap();
            assert_eq!(out, expected, "{} {m} {k} {n} {turn_a} {turn_b}", isa.name());
        }
    }
    for isa in Isa::available() {
        for (m, k, n) in [
            (1, 1, 1),
            (1, 3, 5),
            (1, 700, 333),
            (333, 700, 1),
            (64, 129, 1),
            (2, 7, 16),
            (7, 33, 24),
            (13, 20, 49),
            (3, 1100, 70),
            (6, 0, 9),
            (0, 4, 4),
            (4, 4, 0),
            (70, 300, 65),
            (260, 270, 130),
            (300, 20, 1000),
        ] {
            check::<f32>(isa, (m, k, n), |x| x);
            check::<f64>(isa, (m, k, n), f64::from);
        }
    }
}

#[test]
fn batches_and_vectors_made_once_broadcast_as_in_numpy() {
    for isa in Isa::available() {
        for (a_shape, b_shape) in [
            (&[5usize][..], &[5usize][..]),
            (&[5], &[2, 5, 3]),
            (&[4, 3, 5], &[5]),
            (&[3, 1, 4, 5], &[2, 5, 6]),
            (&[4, 5], &[7, 5, 6]),
            (&[40, 9, 5], &[40, 5, 8]),
        ] {
            let (a, b) = (integers(a_shape.iter().product(), 1), integers(b_shape.iter().product(), 2));
            let operands = MatMulOperands {
                a_shape,
                a_strides: &contiguous_strides(a_shape),
                trans_a: false,
                b_shape,
                b_strides: &contiguous_strides(b_shape),
                trans_b: false,
            };
            let shape = matmul_shape(&operands).unwrap();
            let (mut expected, mut out) =
                (vec![0.0; shape.iter().product()], vec![f32::NAN; shape.iter().product()]);
            let (a, b) = (crate::View::of(a_shape, &a), crate::View::of(b_shape, &b));
            multiply_generic((&a, false), (&b, false), &mut crate::ViewMut::of(&shape, &mut expected));
            multiply(isa, &a, &b, &mut crate::ViewMut::of(&shape, &mut out), &ThreadPool::new(2)).unwrap();
            assert_eq!(out, expected, "{} {a_shape:?} {b_shape:?}", isa.name());
        }
    }
}
