use super::rows::{ROW_MULTIPLE, RowCopy, Rows};
use crate::Values;
use crate::product::{ColumnLayout, Finish, PackedColumns, Product, Rounded, Surface};
use crate::shared::{CACHE_LINE, Shared};
use std::sync::Arc;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
use vedette_tensor::TensorError;
use vedette_tensor::matmul::{Epilogue, Grid, MatMulOperands, Matrix, Products, chunk, parts_for};

/// What a run of a [`MatMulPlan`] reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct MatMulArguments {
    /// First element of `A`, of the values planned for.
    pub a: *const u8,
    /// First element of `B`; unused where the plan holds a packed `B`.
    pub b: *const f32,
    /// One value a column, or null.
    pub bias: *const f32,
    /// As the output, or null; may be the output where that is float32.
    pub residual: *const f32,
    /// First element of the output, of the values planned for.
    pub out: *mut u8,
}

// SAFETY: the pointers are only used by `run`, whose caller answers for concurrent use.
unsafe impl Sync for MatMulArguments {}

/// A planned product `act(alpha A x B + bias + residual)` of `f32` tensors whose elements (those of `B` times `alpha`)
/// are rounded to bfloat16. `A` may be rounded already, and the output be rounded for those who would do so.
#[derive(Debug)]
pub struct MatMulPlan {
    products: Products,
    rows: Rows,
    out: Values,
    layout: ColumnLayout,
    b: Source,
    alpha: f32,
    epilogue: Epilogue,
    grid: Grid,
}

#[derive(Debug)]
enum Source {
    Packed(Arc<PackedColumns>),
    /// Packed in every run: where each matrix begins, and its strides.
    EveryRun {
        offsets: Vec<isize>,
        strides: (isize, isize),
    },
}

fn layout_for(isa: Isa, b: &Matrix) -> ColumnLayout {
    ColumnLayout::new(isa, b.columns, (1, b.rows), true)
}

impl MatMulPlan {
    /// Packs a constant `B`, every matrix of its batch, for [`new`](Self::new).
    ///
    /// # Safety
    /// `b` is the first of the elements the operands describe, all readable.
    pub unsafe fn pack(
        isa: Isa,
        operands: &MatMulOperands<'_>,
        alpha: f32,
        b: *const f32,
    ) -> Result<PackedColumns, TensorError> {
        let (_, matrix) = operands.matrices()?;
        let offsets = matrix.own_offsets();
        let strides = (matrix.row_stride, matrix.column_stride);
        // SAFETY: as the caller grants; every matrix is packed to its own place.
        Ok(unsafe {
            PackedColumns::new(layout_for(isa, &matrix), offsets.len(), |layout, i, to| {
                let from = b.wrapping_offset(offsets[i]);
                layout.pack_strided(0..layout.blocks(), from, strides, alpha, to);
            })
        })
    }

    /// Plans a product. `out_strides` are those of the output, whose last axis has unit stride. A `packed` matrix has
    /// `alpha` in it already.
    pub fn new(
        isa: Isa,
        threads: usize,
        operands: &MatMulOperands<'_>,
        out_strides: &[isize],
        alpha: f32,
        packed: Option<Arc<PackedColumns>>,
        epilogue: Epilogue,
    ) -> Result<MatMulPlan, TensorError> {
        let (a, b) = operands.matrices()?;
        let products = Products::new(&a, &b, out_strides, operands.a_shape.len() > 1)?;
        let (layout, b_source) = match packed {
            Some(packed) => (packed.layout().clone(), Source::Packed(packed)),
            None => {
                let (offsets, strides) = (b.own_offsets(), (b.row_stride, b.column_stride));
                (layout_for(isa, &b), Source::EveryRun { offsets, strides })
            }
        };
        let work = (products.list.len() * products.rows) as u64 * (a.columns * b.columns) as u64;
        let (batches, rows) = (products.list.len(), (products.rows, ROW_MULTIPLE));
        let grid = Grid::new(batches, rows, layout.panels().len(), work / layout.kernel().speed, threads);
        let copy = RowCopy::new(isa, a.columns, a.column_stride, layout.run_len());
        let rows = Rows { values: Values::Float32, copy, step: products.a_row_stride };
        Ok(MatMulPlan { products, rows, out: Values::Float32, layout, b: b_source, alpha, epilogue, grid })
    }

    /// The same where `A` and the output are of these values.
    pub fn with_values(mut self, a: Values, out: Values) -> MatMulPlan {
        (self.rows.values, self.out) = (a, out);
        self
    }

    fn matrices(&self) -> usize {
        match &self.b {
            Source::Packed(_) => 0,
            Source::EveryRun { offsets, .. } => offsets.len(),
        }
    }

    /// Rows of the copy that one part, or where panels are split every product, has.
    fn copied_rows(&self) -> usize {
        let rows = self.products.rows;
        if self.grid.splits_panels() || self.rows.is_direct() {
            rows
        } else {
            self.rows.copy.rows_at_once().min(rows)
        }
    }

    /// Bytes of such a copy.
    fn copy_bytes(&self) -> usize {
        let rows = if self.rows.is_direct() { 0 } else { self.copied_rows() };
        (rows * self.rows.copy.len * size_of::<u16>()).next_multiple_of(CACHE_LINE)
    }

    fn packed_bytes(&self) -> usize {
        self.matrices() * self.layout.packed_len() * size_of::<u16>()
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        let copies = if self.grid.splits_panels() { self.products.list.len() } else { self.grid.parts() };
        self.packed_bytes() + copies * self.copy_bytes()
    }

    /// Multiply-accumulates of a run.
    pub fn work(&self) -> u64 {
        let rows = (self.products.list.len() * self.products.rows) as u64;
        rows * (self.rows.copy.depth * self.layout.columns()) as u64
    }

    /// Runs the product.
    ///
    /// # Safety
    /// The arguments point to elements laid out as planned, the output to nothing else that is read except a residual
    /// that is the output itself; `scratch` has [`scratch_bytes`](Self::scratch_bytes).
    pub unsafe fn run(&self, arguments: &MatMulArguments, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        let packed = Shared(scratch.as_mut_ptr());
        let copies = Shared(packed.0.wrapping_add(self.packed_bytes()));
        if let Source::EveryRun { offsets, strides } = &self.b {
            // SAFETY: scratch begins with room for every matrix.
            unsafe { self.pack_all(arguments.b, offsets, *strides, packed, pool) };
        }
        let shared = self.grid.splits_panels();
        let direct = self.rows.is_direct();
        if shared && !direct {
            // SAFETY: scratch has room for the rows of every product.
            unsafe { self.copy_all(arguments.a, copies, pool) };
        }
        self.grid.run(pool, |part, index, rows, panels| {
            let (packed, copies) = (&packed, &copies);
            let (a_offset, b_number, out_offset) = self.products.list[index];
            let at_once = if shared { rows.len() } else { self.copied_rows() };
            for start in rows.clone().step_by(at_once.max(1)) {
                let count = at_once.min(rows.end - start);
                let from = self.rows.values.at(arguments.a, a_offset + start as isize * self.rows.step);
                // SAFETY: copies of this part, or rows that were copied before; rows and panels are within the product,
                // cells do not overlap, and the caller grants the rest.
                unsafe {
                    let base = if direct {
                        from.cast::<u16>()
                    } else if shared {
                        let copy = copies.0.add(index * self.copy_bytes()).cast::<u16>();
                        copy.add(start * self.rows.copy.len).cast_const()
                    } else {
                        let to = copies.0.add(part * self.copy_bytes()).cast::<u16>();
                        self.rows.copy(from, count, to);
                        to.cast_const()
                    };
                    let b = match &self.b {
                        Source::Packed(packed) => packed.as_ptr(b_number),
                        Source::EveryRun { .. } => {
                            packed.0.cast::<u16>().add(b_number * self.layout.packed_len()).cast_const()
                        }
                    };
                    let at = out_offset + start as isize * self.products.out_stride;
                    let (rows, epilogue) = ((base, count), self.epilogue);
                    match self.out {
                        Values::Float32 => {
                            self.product(arguments, rows, b, at, epilogue).run(0..1, panels.clone());
                        }
                        Values::Bfloat16 => {
                            self.product(arguments, rows, b, at, Rounded(epilogue)).run(0..1, panels.clone());
                        }
                    }
                }
            }
        });
    }

    fn product<F: Finish>(
        &self,
        arguments: &MatMulArguments,
        (base, count): (*const u16, usize),
        packed: *const u16,
        at: isize,
        epilogue: F,
    ) -> Product<'_, F> {
        let residual = arguments.residual;
        Product {
            columns: &self.layout,
            packed,
            runs: &[0],
            epilogue,
            width: count,
            input: Surface { base, line_step: 0, pixel_step: self.rows.pixel_step() },
            out: Surface {
                base: arguments.out.cast::<F::Output>().wrapping_offset(at),
                line_step: 0,
                pixel_step: self.products.out_stride,
            },
            bias: arguments.bias,
            residual: if residual.is_null() { residual } else { residual.wrapping_offset(at) },
            plain: false,
        }
    }

    /// # Safety
    /// `a` is the first element of `A`; `to` has room for the rows of every product.
    unsafe fn copy_all(&self, a: *const u8, to: Shared, pool: &ThreadPool) {
        let (a, rows) = (Shared(a.cast_mut()), self.products.rows);
        let total = rows * self.products.list.len();
        let parts = parts_for((total * self.rows.copy.depth * 4) as u64, pool.threads());
        pool.run(parts, |part| {
            let (a, to) = (&a, &to);
            for row in chunk(total, parts, part, 1) {
                let (index, row) = (row / rows, row % rows);
                let from = self.products.list[index].0 + row as isize * self.rows.step;
                // SAFETY: a row of `A`, and its place in scratch, which no other part writes.
                unsafe {
                    let to = to.0.add(index * self.copy_bytes()).cast::<u16>().add(row * self.rows.copy.len);
                    self.rows.copy(self.rows.values.at(a.0.cast_const(), from), 1, to);
                }
            }
        });
    }

    /// # Safety
    /// `b` is the first element of `B`; `to` has room for every packed matrix.
    unsafe fn pack_all(
        &self,
        b: *const f32,
        offsets: &[isize],
        strides: (isize, isize),
        to: Shared,
        pool: &ThreadPool,
    ) {
        let b = Shared(b.cast_mut().cast());
        let blocks = self.layout.blocks();
        let tasks = blocks * offsets.len();
        let parts = parts_for((self.layout.packed_len() * offsets.len() * 2) as u64, pool.threads());
        pool.run(parts, |part| {
            let (b, to) = (&b, &to);
            let mine = chunk(tasks, parts, part, 1);
            if mine.is_empty() {
                return;
            }
            for number in mine.start / blocks..mine.end.div_ceil(blocks) {
                let first = number * blocks;
                let own = mine.start.max(first) - first..mine.end.min(first + blocks) - first;
                let source = b.0.cast::<f32>().cast_const().wrapping_offset(offsets[number]);
                // SAFETY: as the caller grants; every part writes blocks of its own.
                unsafe {
                    let to = to.0.cast::<u16>().add(number * self.layout.packed_len());
                    self.layout.pack_strided(own, source, strides, self.alpha, to);
                }
            }
        });
    }
}
