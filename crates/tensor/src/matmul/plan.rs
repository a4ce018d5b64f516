use super::matrix::{Matrix, Products};
use super::panels::{PackedMatrix, PanelLayout};
use super::product::{Epilogue, Product, UniformRows};
use super::split::{GRAIN, Grid, ROW_MULTIPLE, chunk, parts_for};
use crate::TensorError;
use crate::shape::{Dims, broadcast_shape};
use std::ops::Range;
use std::sync::Arc;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

/// Shapes and strides of the operands of a product.
#[derive(Clone, Copy, Debug)]
pub struct MatMulOperands<'a> {
    /// Shape of `A`.
    pub a_shape: &'a [usize],
    /// Strides of `A`.
    pub a_strides: &'a [isize],
    /// Whether the last two axes of `A` are swapped.
    pub trans_a: bool,
    /// Shape of `B`.
    pub b_shape: &'a [usize],
    /// Strides of `B`.
    pub b_strides: &'a [isize],
    /// Whether the last two axes of `B` are swapped.
    pub trans_b: bool,
}

impl MatMulOperands<'_> {
    /// The operands as matrices that fit each other.
    pub fn matrices(&self) -> Result<(Matrix, Matrix), TensorError> {
        let a = Matrix::new(self.a_shape, self.a_strides, self.trans_a, false)?;
        let b = Matrix::new(self.b_shape, self.b_strides, self.trans_b, true)?;
        if a.columns != b.rows {
            return Err(TensorError(format!(
                "matrix product of shapes {:?} and {:?}: {} columns against {} rows",
                self.a_shape, self.b_shape, a.columns, b.rows
            )));
        }
        Ok((a, b))
    }
}

/// The shape of a product, by `numpy.matmul`'s rules.
pub fn matmul_shape(operands: &MatMulOperands<'_>) -> Result<Dims, TensorError> {
    let (a, b) = operands.matrices()?;
    let mut shape = broadcast_shape(&a.batch, &b.batch)?;
    if operands.a_shape.len() > 1 {
        shape.push(a.rows);
    }
    if operands.b_shape.len() > 1 {
        shape.push(b.columns);
    }
    Ok(shape)
}

/// Multiply-accumulates up to which a product ends before a thread that loses its core is worth waiting for in parts.
const SHORT: u64 = 1 << 25;

/// A planned product `act(alpha A x B + bias + residual)` of `f32` tensors.
///
/// `A` is read where it lies if its rows have unit stride, else it is copied to scratch first. A constant `B` is packed
/// once and shared; any other is packed to scratch in every run.
#[derive(Debug)]
pub struct MatMulPlan {
    m: usize,
    k: usize,
    n: usize,
    /// Rows of one matrix of `A`; `m` is a multiple where products were joined.
    a_rows: usize,
    /// For every product of the batch: offset in `A`, packed `B`, offset in the output.
    products: Vec<(isize, usize, isize)>,
    a_row_stride: isize,
    copy_a: Option<StridedRows>,
    b: Option<Arc<PackedMatrix>>,
    pack_b: Option<PackB>,
    /// Whether each thread packs the panels that it multiplies by, so that none waits for another's or fetches them.
    by_panels: bool,
    out_stride: usize,
    alpha: f32,
    epilogue: Epilogue,
    grid: Grid,
}

/// Rows to copy together, for an `A` whose rows do not have unit stride.
#[derive(Debug)]
struct StridedRows {
    offsets: Vec<isize>,
    row_stride: isize,
    column_stride: isize,
}

#[derive(Debug)]
struct PackB {
    layout: PanelLayout,
    offsets: Vec<isize>,
    row_stride: isize,
    column_stride: isize,
}

/// What a run of a [`MatMulPlan`] reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct MatMulArguments {
    /// First element of `A`.
    pub a: *const f32,
    /// First element of `B`; unused where the plan holds a packed `B`.
    pub b: *const f32,
    /// One value a column, or null.
    pub bias: *const f32,
    /// As the output, or null; may be the output.
    pub residual: *const f32,
    /// First element of the output.
    pub out: *mut f32,
}

// SAFETY: the pointers are only used by `run`, whose caller answers for concurrent use.
unsafe impl Sync for MatMulArguments {}

fn align(values: usize) -> usize {
    values.next_multiple_of(16)
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
    ) -> Result<PackedMatrix, TensorError> {
        let (_, matrix) = operands.matrices()?;
        let rows: Vec<isize> = (0..matrix.rows as isize).map(|k| k * matrix.row_stride).collect();
        let columns = (matrix.columns, matrix.column_stride);
        // SAFETY: as the caller grants.
        Ok(unsafe { PackedMatrix::new(isa, b, &matrix.own_offsets(), &rows, columns, alpha) })
    }

    /// Plans a product. `out_strides` are those of the output, whose last axis has unit stride. A `packed` matrix has
    /// `alpha` in it already.
    pub fn new(
        isa: Isa,
        threads: usize,
        operands: &MatMulOperands<'_>,
        out_strides: &[isize],
        alpha: f32,
        packed: Option<Arc<PackedMatrix>>,
        epilogue: Epilogue,
    ) -> Result<MatMulPlan, TensorError> {
        let (a, b) = operands.matrices()?;
        let (k, n) = (a.columns, b.columns);
        let copied = k > 1 && a.column_stride != 1;
        let copy_a = copied.then(|| StridedRows {
            offsets: a.own_offsets(),
            row_stride: a.row_stride,
            column_stride: a.column_stride,
        });
        let a_rows = a.rows;
        let a = if copied { a.contiguous() } else { a };
        let Products { rows: m, list: products, a_row_stride, out_stride } =
            Products::new(&a, &b, out_strides, operands.a_shape.len() > 1)?;

        let pack_b = packed.is_none().then(|| PackB {
            layout: PanelLayout::new(isa, k, n),
            offsets: b.own_offsets(),
            row_stride: b.row_stride,
            column_stride: b.column_stride,
        });
        let panels = match (&packed, &pack_b) {
            (Some(packed), _) => packed.layout().panels.len(),
            (None, Some(pack)) => pack.layout.panels.len(),
            (None, None) => 0,
        };
        let work = (products.len() * m) as u64 * (k * n) as u64;
        let by_panels = pack_b.is_some()
            && products.len() == 1
            && threads > 1
            && panels.is_multiple_of(threads)
            && (2 * GRAIN..=SHORT).contains(&work);
        Ok(MatMulPlan {
            by_panels,
            grid: Grid::new(products.len(), (m, ROW_MULTIPLE), panels, work, threads),
            m,
            k,
            n,
            a_rows,
            products,
            a_row_stride,
            copy_a,
            b: packed,
            pack_b,
            out_stride: out_stride as usize,
            alpha,
            epilogue,
        })
    }

    fn copied_a_len(&self) -> usize {
        self.copy_a.as_ref().map_or(0, |copy| align(copy.offsets.len() * self.a_rows * self.k))
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        let packed = self.pack_b.as_ref().map_or(0, |pack| pack.layout.packed_step() * pack.offsets.len());
        (self.copied_a_len() + packed) * size_of::<f32>()
    }

    /// Multiply-accumulates of a run.
    pub fn work(&self) -> u64 {
        (self.products.len() * self.m) as u64 * (self.k * self.n) as u64
    }

    /// Runs the product.
    ///
    /// # Safety
    /// The arguments point to elements laid out as planned, the output to nothing else that is read except a residual
    /// that is the output itself; `scratch` has [`scratch_bytes`](Self::scratch_bytes) and is aligned for `f32`.
    pub unsafe fn run(&self, arguments: &MatMulArguments, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        let scratch = Shared(scratch.as_mut_ptr().cast::<f32>());
        let mut a = arguments.a;
        if let Some(copy) = &self.copy_a {
            // SAFETY: scratch begins with room for the copy.
            unsafe { self.copy_rows(copy, a, scratch, pool) };
            a = scratch.0;
        }
        let packed_b = Shared(scratch.0.wrapping_add(self.copied_a_len()));
        if let Some(pack) = self.pack_b.as_ref().filter(|_| !self.by_panels) {
            // SAFETY: scratch has room for every packed matrix behind the copy of A.
            unsafe { self.pack_b(pack, arguments.b, packed_b, pool) };
        }
        let a = Shared(a.cast_mut());
        let bias = arguments;
        let cell = |index: usize, rows: Range<usize>, panels: Range<usize>| {
            let (a, packed_b) = (&a, &packed_b);
            let (a_offset, b_number, out_offset) = self.products[index];
            let (layout, packed) = match (&self.b, &self.pack_b) {
                (Some(b), _) => (b.layout(), b.as_ptr(b_number)),
                (None, Some(pack)) => {
                    let step = pack.layout.packed_step();
                    (&pack.layout, packed_b.0.wrapping_add(b_number * step).cast_const())
                }
                (None, None) => return,
            };
            let residual = bias.residual;
            let product = Product {
                layout,
                packed,
                taps: 1,
                depth: self.k,
                out: bias.out.wrapping_offset(out_offset),
                out_stride: self.out_stride,
                bias: bias.bias,
                residual: if residual.is_null() { residual } else { residual.wrapping_offset(out_offset) },
                residual_stride: self.out_stride,
                epilogue: self.epilogue,
            };
            let source =
                UniformRows { base: a.0.wrapping_offset(a_offset).cast_const(), stride: self.a_row_stride };
            // SAFETY: rows and panels are within the product, cells do not overlap, and the caller grants the rest.
            unsafe { product.run(&source, rows, panels) };
        };
        match self.pack_b.as_ref().filter(|_| self.by_panels) {
            Some(pack) => {
                let (b, panels) = (Shared(arguments.b.cast_mut()), pack.layout.panels.len());
                let parts = pool.threads().min(panels);
                pool.run(parts, |part| {
                    let (b, to) = (&b, &packed_b);
                    let own = chunk(panels, parts, part, 1);
                    let strides = (pack.row_stride, pack.column_stride);
                    let source = b.0.wrapping_offset(pack.offsets[0]).cast_const();
                    // SAFETY: every part packs panels of its own, and scratch has room for them behind the copy of A.
                    unsafe { pack.layout.pack_strided(own.clone(), source, strides, self.alpha, to.0) };
                    cell(0, 0..self.m, own);
                });
            }
            None => self.grid.run(pool, |_, index, rows, panels| cell(index, rows, panels)),
        }
    }

    /// # Safety
    /// `a` is the first element of `A`; `to` has room for its elements.
    unsafe fn copy_rows(&self, copy: &StridedRows, a: *const f32, to: Shared, pool: &ThreadPool) {
        let (m, k) = (self.a_rows, self.k);
        let a = Shared(a.cast_mut());
        let rows = copy.offsets.len() * m;
        let parts = parts_for((rows * k * 8) as u64, pool.threads());
        pool.run(parts, |part| {
            let (a, to) = (&a, &to);
            // Element by element of a few rows at once: a column-major A is read along its columns.
            for row in chunk(rows, parts, part, 1) {
                let offset = copy.offsets[row / m] + (row % m) as isize * copy.row_stride;
                for column in 0..k {
                    // SAFETY: the element is within A, and its place within the copy.
                    unsafe {
                        let from = a.0.offset(offset + column as isize * copy.column_stride);
                        to.0.add(row * k + column).write(*from);
                    }
                }
            }
        });
    }

    /// # Safety
    /// `b` is the first element of `B`; `to` has room for every packed matrix.
    unsafe fn pack_b(&self, pack: &PackB, b: *const f32, to: Shared, pool: &ThreadPool) {
        let b = Shared(b.cast_mut());
        let panels = pack.layout.panels.len();
        let tasks = panels * pack.offsets.len();
        if tasks == 0 {
            return;
        }
        let parts = parts_for((pack.layout.packed_len() * pack.offsets.len() * 8) as u64, pool.threads());
        pool.run(parts, |part| {
            let (b, to) = (&b, &to);
            let mine = chunk(tasks, parts, part, 1);
            for number in mine.start / panels..mine.end.div_ceil(panels) {
                let first = number * panels;
                let own = mine.start.max(first) - first..mine.end.min(first + panels) - first;
                let source = b.0.wrapping_offset(pack.offsets[number]).cast_const();
                let packed = to.0.wrapping_add(number * pack.layout.packed_step());
                // SAFETY: as the caller grants; every part writes panels of its own.
                unsafe {
                    let strides = (pack.row_stride, pack.column_stride);
                    pack.layout.pack_strided(own, source, strides, self.alpha, packed);
                }
            }
        });
    }
}

/// A pointer whose parts different threads use.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: whoever dereferences it keeps the threads' parts apart.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}
