use crate::TensorError;
use crate::shape::{Dims, Strides, broadcast_shape, contiguous_strides};

/// A matrix operand: how its elements lie, rows and columns as the product sees them.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Axes before the matrices'.
    pub batch: Dims,
    /// Strides of these axes.
    pub batch_strides: Strides,
    /// Rows of one matrix.
    pub rows: usize,
    /// Columns of one matrix.
    pub columns: usize,
    /// Elements from one row to the next.
    pub row_stride: isize,
    /// Elements from one column to the next.
    pub column_stride: isize,
}

impl Matrix {
    /// The last two axes as a matrix; a vector becomes a row (or, `as_column`, a column).
    pub fn new(
        shape: &[usize],
        strides: &[isize],
        transposed: bool,
        as_column: bool,
    ) -> Result<Matrix, TensorError> {
        let rank = shape.len();
        match rank {
            0 => Err(TensorError("a matrix product needs at least one axis, got a scalar".into())),
            1 => {
                let (rows, columns) = if as_column { (shape[0], 1) } else { (1, shape[0]) };
                let (row_stride, column_stride) = if as_column { (strides[0], 1) } else { (0, strides[0]) };
                let (batch, batch_strides) = Default::default();
                Ok(Matrix { batch, batch_strides, rows, columns, row_stride, column_stride })
            }
            _ => {
                let (mut row, mut column) = (rank - 2, rank - 1);
                if transposed {
                    (row, column) = (column, row);
                }
                Ok(Matrix {
                    batch: shape[..rank - 2].into(),
                    batch_strides: strides[..rank - 2].into(),
                    rows: shape[row],
                    columns: shape[column],
                    row_stride: strides[row],
                    column_stride: strides[column],
                })
            }
        }
    }

    /// Offsets of the matrices of a broadcast batch, and for each the number of the distinct matrix it is.
    pub fn batch_offsets(&self, batch: &[usize]) -> Vec<(isize, usize)> {
        let missing = batch.len() - self.batch.len();
        let mut offsets = vec![(0isize, 0usize)];
        for (axis, &dim) in batch.iter().enumerate() {
            let own = axis.checked_sub(missing).filter(|&own| self.batch[own] != 1);
            let (stride, count) = own.map_or((0, 1), |own| (self.batch_strides[own], self.batch[own]));
            let next = offsets.iter().flat_map(|&(offset, number)| {
                (0..dim).map(move |i| {
                    (offset + i as isize * stride, number * count + if count == 1 { 0 } else { i })
                })
            });
            offsets = next.collect();
        }
        offsets
    }

    /// Offsets of the distinct matrices, in their own order.
    pub fn own_offsets(&self) -> Vec<isize> {
        self.batch_offsets(&self.batch).into_iter().map(|(offset, _)| offset).collect()
    }

    /// The same matrices, one after the other in C order.
    pub fn contiguous(&self) -> Matrix {
        let shape: Dims = self.batch.iter().copied().chain([self.rows, self.columns]).collect();
        let mut batch_strides = contiguous_strides(&shape);
        batch_strides.truncate(self.batch.len());
        Matrix { batch_strides, row_stride: self.columns as isize, column_stride: 1, ..self.clone() }
    }
}

/// The products of a batch of matrices.
#[derive(Clone, Debug)]
pub struct Products {
    /// Rows of one product.
    pub rows: usize,
    /// For every product: offset in `A`, number of the matrix `B`, offset in the output.
    pub list: Vec<(isize, usize, isize)>,
    /// Elements from one row of `A` to the next.
    pub a_row_stride: isize,
    /// Elements from one row of the output to the next.
    pub out_stride: isize,
}

impl Products {
    /// The products of broadcast batches, those with the same `B` whose rows follow each other joined to one.
    pub fn new(
        a: &Matrix,
        b: &Matrix,
        out_strides: &[isize],
        a_has_rows: bool,
    ) -> Result<Products, TensorError> {
        let batch = broadcast_shape(&a.batch, &b.batch)?;
        let (mut rows, mut a_row_stride) = (a.rows, a.row_stride);
        let mut out_stride = if a_has_rows { out_strides[batch.len()] } else { b.columns as isize };
        let out_matrix = Matrix {
            batch: batch.clone(),
            batch_strides: out_strides[..batch.len()].into(),
            rows,
            columns: b.columns,
            row_stride: out_stride,
            column_stride: 1,
        };
        let pairs = a.batch_offsets(&batch).into_iter().zip(b.batch_offsets(&batch));
        let outputs = out_matrix.own_offsets();
        let mut list: Vec<(isize, usize, isize)> =
            pairs.zip(outputs).map(|(((offset, _), (_, number)), out)| (offset, number, out)).collect();

        if rows == 1 && list.len() > 1 {
            a_row_stride = list[1].0 - list[0].0;
            out_stride = list[1].2 - list[0].2;
        }
        let follow = |pair: &[(isize, usize, isize)]| {
            pair[1].0 - pair[0].0 == rows as isize * a_row_stride
                && pair[1].2 - pair[0].2 == rows as isize * out_stride
                && pair[1].1 == pair[0].1
        };
        if list.len() > 1 && list.windows(2).all(follow) {
            rows *= list.len();
            list.truncate(1);
        }
        Ok(Products { rows, list, a_row_stride, out_stride })
    }
}
