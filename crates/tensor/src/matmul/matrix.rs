use crate::TensorError;
use crate::shape::{Dims, Strides};

/// A matrix operand: how its elements lie, rows and columns as the product sees them.
#[derive(Clone, Debug)]
pub(super) struct Matrix {
    pub batch: Dims,
    pub batch_strides: Strides,
    pub rows: usize,
    pub columns: usize,
    pub row_stride: isize,
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
}
