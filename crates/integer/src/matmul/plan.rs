use super::core::Core;
use crate::Epilogue;
use crate::product::{ColumnWeights, PackedColumns};
use crate::shared::Shared;
use std::ops::Range;
use std::sync::Arc;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
use vedette_tensor::View;
use vedette_tensor::matmul::split::chunk;

/// Packs an int8 matrix `[K, N]` for rows of a zero point.
///
/// # Panics
/// Where the view has not two axes.
pub fn pack_columns(isa: Isa, b: &View<'_>, zero_point: u8) -> PackedColumns {
    let (&[depth, columns], &[row_stride, column_stride]) = (b.shape(), b.strides()) else {
        panic!("a matrix has two axes, got shape {:?}", b.shape())
    };
    let run: Vec<isize> = (0..depth as isize).map(|k| k * row_stride).collect();
    let columns: Vec<isize> = (0..columns as isize).map(|n| n * column_stride).collect();
    let source = ColumnWeights { weights: b.as_ptr_of::<i8>(), columns: &columns, runs: &[run] };
    // SAFETY: the offsets are those of the view's own elements.
    unsafe { PackedColumns::new(isa, &source, zero_point) }
}

/// What a run of a product reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct MatMulArguments {
    /// First element of `A`.
    pub a: *const u8,
    /// As the output, or null; may be the output.
    pub residual: *const u8,
    /// First element of the output: f32 or u8, C order.
    pub out: *mut u8,
}

// SAFETY: the pointers are only used by `run`, whose caller answers for concurrent use.
unsafe impl Sync for MatMulArguments {}

/// A planned product of u8 rows with packed columns.
#[derive(Debug)]
pub struct MatMulPlan {
    core: Core,
    epilogue: Arc<Epilogue>,
    /// Whether rows are copied to scratch first: kernels read whole words of neighbouring values.
    copies: bool,
}

impl MatMulPlan {
    /// Plans a product of `A [..., K]` with columns packed for its zero point.
    ///
    /// # Panics
    /// Where the depth of `A` is not that of the columns.
    pub fn new(
        threads: usize,
        a: (&[usize], &[isize]),
        columns: Arc<PackedColumns>,
        epilogue: Arc<Epilogue>,
    ) -> MatMulPlan {
        let core = Core::new(threads, a.0, a.1, columns);
        assert_eq!(core.row_bytes() / 4, core.columns.words());
        let apart = (core.value_step != 1 && core.depth > 1) || !core.depth.is_multiple_of(4);
        MatMulPlan { copies: apart || core.layout.all_lines() != 1, core, epilogue }
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        if self.copies { self.core.rows * self.core.row_bytes() } else { 0 }
    }

    /// Multiply-accumulates of a run.
    pub fn work(&self) -> u64 {
        (self.core.rows * self.core.depth) as u64 * self.core.columns.columns() as u64
    }

    /// Runs the product.
    ///
    /// # Safety
    /// The arguments point to elements laid out as planned, the output to nothing else that is read except a residual
    /// that is the output itself; `scratch` has [`scratch_bytes`](Self::scratch_bytes).
    pub unsafe fn run(&self, arguments: &MatMulArguments, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        let scratch = Shared::new(scratch.as_mut_ptr());
        let core = &self.core;
        if self.copies && core.split.splits_panels() {
            let parts = core.split.parts();
            pool.run(parts, |part| {
                let (arguments, scratch) = (&arguments, scratch.get());
                // SAFETY: every part copies rows of its own.
                unsafe { self.copy_rows(arguments.a, scratch, chunk(core.rows, parts, part, 1)) };
            });
        }
        core.split.run(pool, |_, rows, panels| {
            let (arguments, scratch) = (&arguments, scratch.get());
            let outputs = (arguments.out, arguments.residual);
            // SAFETY: the parts' rows and outputs are their own; the rest is the caller's promise.
            unsafe {
                let (base, step) = if self.copies {
                    if !core.split.splits_panels() {
                        self.copy_rows(arguments.a, scratch, rows.clone());
                    }
                    (scratch.add(rows.start * core.row_bytes()).cast_const(), core.row_bytes() as isize)
                } else {
                    (arguments.a.offset(core.offset(rows.start)), core.layout.pixel_step.input)
                };
                core.multiply((base, step), &*self.epilogue, outputs, rows, panels);
            }
        });
    }

    /// # Safety
    /// `a` is the first element of `A`; `to` has room for every row.
    unsafe fn copy_rows(&self, a: *const u8, to: *mut u8, rows: Range<usize>) {
        let core = &self.core;
        for row in rows {
            // SAFETY: a row of `A`, and its place in scratch.
            unsafe {
                let (from, to) = (a.offset(core.offset(row)), to.add(row * core.row_bytes()));
                if core.value_step == 1 {
                    std::ptr::copy_nonoverlapping(from, to, core.depth);
                } else {
                    for i in 0..core.depth {
                        *to.add(i) = *from.offset(i as isize * core.value_step);
                    }
                }
                to.add(core.depth).write_bytes(0, core.row_bytes() - core.depth);
            }
        }
    }
}
