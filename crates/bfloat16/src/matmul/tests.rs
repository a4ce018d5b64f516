use super::{MatMulArguments, MatMulPlan};
use crate::Values;
use crate::test_data::{bytes, numbers, rounded, scratch};
use std::sync::Arc;
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, bf16_bits, bf16_value};
use vedette_tensor::Activation;
use vedette_tensor::contiguous_strides;
use vedette_tensor::matmul::{Epilogue, MatMulOperands, matmul_shape};

struct Case<'a> {
    a: &'a [usize],
    b: &'a [usize],
    trans: (bool, bool),
    alpha: f32,
    constant: bool,
    bias: bool,
    residual: bool,
    activation: Option<Activation>,
    threads: usize,
}

impl Case<'_> {
    fn check(&self, isa: Isa) {
        let (a_strides, b_strides) = (contiguous_strides(self.a), contiguous_strides(self.b));
        let operands = MatMulOperands {
            a_shape: self.a,
            a_strides: &a_strides,
            trans_a: self.trans.0,
            b_shape: self.b,
            b_strides: &b_strides,
            trans_b: self.trans.1,
        };
        let shape = matmul_shape(&operands).unwrap();
        let len: usize = shape.iter().product();
        let a = numbers(1, self.a.iter().product());
        let b = numbers(2, self.b.iter().product());
        let n = if self.b.len() > 1 { shape[shape.len() - 1] } else { 1 };
        let bias = numbers(3, n);
        let residual = numbers(4, len);
        let mut out = if self.residual { residual.clone() } else { vec![7.0; len] };
        let epilogue = Epilogue { activation: self.activation };
        let packed = self.constant.then(|| {
            // SAFETY: the strides are those of the vector.
            Arc::new(unsafe { MatMulPlan::pack(isa, &operands, self.alpha, b.as_ptr()) }.unwrap())
        });
        let strides = contiguous_strides(&shape);
        let plan =
            MatMulPlan::new(isa, self.threads, &operands, &strides, self.alpha, packed, epilogue).unwrap();
        let mut scratch = scratch(plan.scratch_bytes());
        let arguments = MatMulArguments {
            a: a.as_ptr().cast(),
            b: b.as_ptr(),
            bias: if self.bias { bias.as_ptr() } else { std::ptr::null() },
            residual: if self.residual { out.as_ptr() } else { std::ptr::null() },
            out: out.as_mut_ptr().cast(),
        };
        // SAFETY: vectors of the sizes planned for.
        unsafe { plan.run(&arguments, bytes(&mut scratch), &ThreadPool::new(self.threads)) };

        let (left, right) = operands.matrices().unwrap();
        let (m, k) = (left.rows, left.columns);
        let batch = &shape[..shape.len() - usize::from(self.a.len() > 1) - usize::from(self.b.len() > 1)];
        let (from_a, from_b) = (left.batch_offsets(batch), right.batch_offsets(batch));
        for (index, y) in out.iter().enumerate() {
            let (product, i, j) = (index / (m * n), index / n % m, index % n);
            let at_a = |l: usize| {
                (from_a[product].0 + i as isize * left.row_stride + l as isize * left.column_stride) as usize
            };
            let at_b = |l: usize| {
                (from_b[product].0 + l as isize * right.row_stride + j as isize * right.column_stride)
                    as usize
            };
            let (mut exact, mut magnitude) = (0.0, 0.0);
            for l in 0..k {
                let term = rounded(a[at_a(l)]) * rounded(b[at_b(l)] * self.alpha);
                exact += term;
                magnitude += term.abs();
            }
            for (on, x) in [(self.bias, bias[j]), (self.residual, residual[index])] {
                if on {
                    exact += f64::from(x);
                    magnitude += f64::from(x).abs();
                }
            }
            // The bound stated for the crate, with two more terms; activations here are not steeper than 1.2.
            let bound = 1.2 * (k + 2) as f64 * 2f64.powi(-23) * magnitude + 1e-6;
            let mut expected = [exact as f32];
            if let Some(activation) = self.activation {
                activation.apply(Isa::SCALAR, &mut expected);
            }
            let error = (f64::from(*y) - f64::from(expected[0])).abs();
            // GELU is as precise as bfloat16 needs.
            let bound = bound + if self.activation == Some(Activation::Gelu) { 1e-4 } else { 0.0 };
            assert!(
                error <= bound + f64::from(expected[0].abs()) * 1e-6,
                "{} {:?} x {:?} at {index}: {y}, expected {}",
                isa.name(),
                self.a,
                self.b,
                expected[0]
            );
        }
    }
}

const PLAIN: Case<'_> = Case {
    a: &[],
    b: &[],
    trans: (false, false),
    alpha: 1.0,
    constant: true,
    bias: false,
    residual: false,
    activation: None,
    threads: 1,
};

#[test]
fn every_shape_of_tile_is_within_the_bound() {
    for isa in Isa::available() {
        for m in [1, 2, 5, 7, 12, 13, 16, 17, 31, 32, 33, 47, 48, 65, 100] {
            for (k, n) in [(1, 1), (2, 17), (31, 16), (32, 33), (48, 100), (67, 48), (192, 65)] {
                Case { a: &[m, k], b: &[k, n], ..PLAIN }.check(isa);
                Case { a: &[m, k], b: &[k, n], bias: true, residual: true, threads: 2, ..PLAIN }.check(isa);
            }
        }
    }
}

#[test]
fn whatever_lies_otherwise_is_within_the_bound() {
    for isa in Isa::available() {
        for constant in [true, false] {
            for trans in [(false, false), (true, false), (false, true), (true, true)] {
                let a: &[usize] = if trans.0 { &[2, 3, 40, 33] } else { &[2, 3, 33, 40] };
                let b: &[usize] = if trans.1 { &[3, 50, 40] } else { &[3, 40, 50] };
                let alpha = 0.37;
                Case { a, b, trans, alpha, constant, threads: 2, bias: true, ..PLAIN }.check(isa);
            }
            // Few rows and many columns: panels are divided, and rows copied before.
            Case { a: &[3, 700], b: &[700, 900], constant, threads: 4, ..PLAIN }.check(isa);
            Case { a: &[2, 20, 300], b: &[2, 300, 900], constant, threads: 4, ..PLAIN }.check(isa);
            // Joined products, and vectors.
            Case { a: &[5, 8, 36], b: &[36, 20], constant, ..PLAIN }.check(isa);
            Case { a: &[36], b: &[36, 20], constant, ..PLAIN }.check(isa);
            Case { a: &[9, 36], b: &[36], constant, ..PLAIN }.check(isa);
            Case { a: &[2, 7, 0], b: &[0, 5], constant, ..PLAIN }.check(isa);
            Case { a: &[2, 0, 4], b: &[4, 5], constant, ..PLAIN }.check(isa);
        }
        // More rows than are copied at once.
        Case { a: &[1500, 260], b: &[260, 24], threads: 3, ..PLAIN }.check(isa);
    }
}

#[test]
fn activations_are_applied_last() {
    let activations = [
        Activation::Relu,
        Activation::Clip { min: -0.5, max: 0.75 },
        Activation::Gelu,
        Activation::Silu { alpha: 1.0 },
    ];
    for isa in Isa::available() {
        for activation in activations {
            for n in [16, 20, 32, 75] {
                let activation = Some(activation);
                Case { a: &[37, 24], b: &[24, n], bias: true, residual: true, activation, ..PLAIN }
                    .check(isa);
            }
        }
    }
}

#[test]
fn what_is_no_number_stays_so_and_touches_nothing_else() {
    for isa in Isa::available() {
        let (m, k, n) = (20, 35, 18);
        let mut a = vec![1.0f32; m * k];
        a[3 * k + 34] = f32::NAN;
        a[5 * k] = f32::INFINITY;
        let b = vec![0.5f32; k * n];
        let operands = MatMulOperands {
            a_shape: &[m, k],
            a_strides: &[k as isize, 1],
            trans_a: false,
            b_shape: &[k, n],
            b_strides: &[n as isize, 1],
            trans_b: false,
        };
        // SAFETY: the strides are those of the vector.
        let packed = unsafe { MatMulPlan::pack(isa, &operands, 1.0, b.as_ptr()) }.unwrap();
        let strides = [n as isize, 1];
        let plan =
            MatMulPlan::new(isa, 1, &operands, &strides, 1.0, Some(packed.into()), Epilogue::default())
                .unwrap();
        let mut scratch = scratch(plan.scratch_bytes());
        let mut out = vec![0.0f32; m * n];
        let null = std::ptr::null();
        let arguments = MatMulArguments {
            a: a.as_ptr().cast(),
            b: null,
            bias: null,
            residual: null,
            out: out.as_mut_ptr().cast(),
        };
        // SAFETY: vectors of the sizes planned for.
        unsafe { plan.run(&arguments, bytes(&mut scratch), &ThreadPool::new(1)) };
        for (i, row) in out.chunks(n).enumerate() {
            assert!(row.iter().all(|y| match i {
                3 => y.is_nan(),
                5 => *y == f32::INFINITY,
                _ => *y == 17.5,
            }));
        }
    }
}

#[test]
fn what_is_rounded_before_and_after_gives_the_same_bits() {
    for isa in Isa::available() {
        for (rows, depth, columns, threads) in
            [(40, 64, 48, 1), (33, 40, 20, 1), (200, 96, 200, 2), (1, 32, 16, 1)]
        {
            for trans_a in [false, true] {
                let a_shape = if trans_a { [depth, rows] } else { [rows, depth] };
                let (a, b, residual) =
                    (numbers(1, rows * depth), numbers(2, depth * columns), numbers(3, rows * columns));
                let a_strides = [a_shape[1] as isize, 1];
                let operands = MatMulOperands {
                    a_shape: &a_shape,
                    a_strides: &a_strides,
                    trans_a,
                    b_shape: &[depth, columns],
                    b_strides: &[columns as isize, 1],
                    trans_b: false,
                };
                let narrow: Vec<u16> = a.iter().map(|&x| bf16_bits(x)).collect();
                let run = |values: (Values, Values), activation, residual: *const f32| {
                    let epilogue = Epilogue { activation };
                    let strides = [columns as isize, 1];
                    let plan = MatMulPlan::new(isa, threads, &operands, &strides, 0.5, None, epilogue);
                    let plan = plan.unwrap().with_values(values.0, values.1);
                    let mut room = scratch(plan.scratch_bytes());
                    let mut out = vec![0.0f32; rows * columns];
                    let arguments = MatMulArguments {
                        a: if values.0 == Values::Float32 {
                            a.as_ptr().cast()
                        } else {
                            narrow.as_ptr().cast()
                        },
                        b: b.as_ptr(),
                        bias: std::ptr::null(),
                        residual,
                        out: out.as_mut_ptr().cast(),
                    };
                    // SAFETY: vectors of the sizes planned for.
                    unsafe { plan.run(&arguments, bytes(&mut room), &ThreadPool::new(threads)) };
                    out
                };
                for activation in
                    [None, Some(Activation::Relu), Some(Activation::Gelu), Some(Activation::Tanh)]
                {
                    for residual in [std::ptr::null(), residual.as_ptr()] {
                        let expected = run((Values::Float32, Values::Float32), activation, residual);
                        let found = run((Values::Bfloat16, Values::Float32), activation, residual);
                        assert!(expected == found, "{} {rows} x {depth} x {columns}", isa.name());
                        let found = run((Values::Bfloat16, Values::Bfloat16), activation, residual);
                        // SAFETY: twice as many halves as there are values.
                        let halves = unsafe {
                            std::slice::from_raw_parts(found.as_ptr().cast::<u16>(), expected.len())
                        };
                        for (x, &y) in expected.iter().zip(halves) {
                            let near =
                                f32::abs(bf16_value(bf16_bits(*x)) - bf16_value(y)) <= f32::MIN_POSITIVE;
                            assert!(near, "{} {x} {y}", isa.name());
                        }
                    }
                }
            }
        }
    }
}
