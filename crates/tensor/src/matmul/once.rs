//! Products of tensors that are made once, so that there is no plan to keep: each by the way that suits its size.

use super::blocked::{self, Strided};
use super::matrix::Matrix;
use super::micro::Kernels;
use super::plan::{MatMulArguments, MatMulOperands, MatMulPlan};
use super::product::Epilogue;
use super::split::{chunk, parts_for};
use crate::shape::broadcast_shape;
use crate::{DType, Element, TensorError, View, ViewMut};
use vedette_memory::default_pool;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

/// Multiply-accumulates of one product up to which planning it would show.
const SMALL: usize = 1 << 21;

/// `out = a x b` by `numpy.matmul`'s rules, of `f32` or `f64`; the last axis of `out` has unit stride.
///
/// # Panics
/// Where `out` is not as said.
pub fn multiply(
    isa: Isa,
    a: &View<'_>,
    b: &View<'_>,
    out: &mut ViewMut<'_>,
    pool: &ThreadPool,
) -> Result<(), TensorError> {
    let operands = MatMulOperands {
        a_shape: a.shape(),
        a_strides: a.strides(),
        trans_a: false,
        b_shape: b.shape(),
        b_strides: b.strides(),
        trans_b: false,
    };
    let (left, right) = operands.matrices()?;
    assert!(out.shape().last().is_none_or(|&n| n <= 1) || b.rank() == 1 || out.strides().last() == Some(&1));
    match out.dtype() {
        DType::F32 => {
            let few = left.rows.min(right.columns) <= FEW;
            if few || left.rows * left.columns * right.columns <= SMALL {
                return each::<f32>(isa, &left, &right, (a, b, out), pool);
            }
            let plan = MatMulPlan::new(
                isa,
                pool.threads(),
                &operands,
                out.strides(),
                1.0,
                None,
                Epilogue::default(),
            )?;
            let mut scratch = default_pool()
                .acquire(plan.scratch_bytes())
                .map_err(|error| TensorError(error.to_string()))?;
            let arguments = MatMulArguments {
                a: a.as_ptr_of(),
                b: b.as_ptr_of(),
                bias: std::ptr::null(),
                residual: std::ptr::null(),
                out: out.as_mut_ptr_of(),
            };
            // SAFETY: the views have the shapes and strides planned for, and the output is borrowed exclusively.
            unsafe { plan.run(&arguments, &mut scratch, pool) };
            Ok(())
        }
        DType::F64 => each::<f64>(isa, &left, &right, (a, b, out), pool),
        dtype => Err(TensorError(format!("matrix products are of float32 or float64, not {dtype}"))),
    }
}

/// Rows or columns that leave nothing to gain from packing the other operand.
const FEW: usize = 4;

/// One product after the other, or several at once where they are many.
fn each<T: Kernels + Element>(
    isa: Isa,
    a: &Matrix,
    b: &Matrix,
    (a_view, b_view, out): (&View<'_>, &View<'_>, &mut ViewMut<'_>),
    pool: &ThreadPool,
) -> Result<(), TensorError> {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    let axes = out.rank() - usize::from(a_view.rank() > 1) - usize::from(b_view.rank() > 1);
    let row = if a_view.rank() > 1 { out.strides()[axes] } else { 0 };
    let target = Strided { start: out.as_mut_ptr_of::<T>(), row, column: 1 };
    let matrix = |view: &View<'_>, of: &Matrix, offset: isize| Strided {
        start: view.as_ptr_of::<T>().cast_mut().wrapping_offset(offset),
        row: of.row_stride,
        column: of.column_stride,
    };
    let product = |a: Strided<T>, b: Strided<T>, out: Strided<T>, pool: &ThreadPool| {
        // SAFETY: the matrices are those of the views, and the output is borrowed exclusively.
        unsafe {
            if n == 1 && m > 1 && a.column != 1 && a.row == 1 && out.row == 1 {
                // A column times a matrix whose columns are runs: the transposed product reads it as it lies.
                let turned = |x: Strided<T>| Strided { row: x.column, column: x.row, ..x };
                blocked::multiply(isa, (1, k, m), turned(b), turned(a), turned(out), pool);
            } else if n == 1 && a.column == 1 {
                blocked::times_vector(isa, (m, k), a, b, out, pool);
            } else {
                blocked::multiply(isa, (m, k, n), a, b, out, pool);
            }
        }
    };
    if axes == 0 {
        product(matrix(a_view, a, 0), matrix(b_view, b, 0), target, pool);
        return Ok(());
    }
    let batch = broadcast_shape(&a.batch, &b.batch)?;
    let out_matrix = Matrix {
        batch: batch.clone(),
        batch_strides: out.strides()[..axes].into(),
        rows: m,
        columns: n,
        row_stride: row,
        column_stride: 1,
    };
    let (from_a, from_b) = (a.batch_offsets(&batch), b.batch_offsets(&batch));
    let to = out_matrix.own_offsets();
    let run = |i: usize, pool: &ThreadPool| {
        product(matrix(a_view, a, from_a[i].0), matrix(b_view, b, from_b[i].0), target.offset(to[i]), pool);
    };
    let count = to.len();
    let work = (m * n) as u64 * k as u64;
    if count < pool.threads() {
        (0..count).for_each(|i| run(i, pool));
        return Ok(());
    }
    let parts = parts_for(work * count as u64, pool.threads()).min(count);
    let alone = ThreadPool::new(1);
    pool.run(parts, |part| chunk(count, parts, part, 1).for_each(|i| run(i, &alone)));
    Ok(())
}
