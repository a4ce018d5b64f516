//! Products of two matrices made once, of either float type and any strides.
//!
//! Small ones read both operands where they lie. Large ones are cut so that a block of `A` stays in L2 and a panel of `B`
//! in L1 or L2, both packed, as in K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication",
//! ACM TOMS 34 (2008).

use super::micro::{Block, Kernel, Kernels};
use super::split::{Grid, ROW_MULTIPLE, chunk, parts_for};
use std::ops::Range;
use vedette_memory::{Lease, default_pool};
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

/// A matrix by the place of its first element and its strides.
pub(super) struct Strided<T> {
    pub start: *mut T,
    pub row: isize,
    pub column: isize,
}

// Not derived: that would ask for a `T` that can be copied, which is not what is copied.
impl<T> Clone for Strided<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Strided<T> {}

// SAFETY: the pointer is only a value here; who dereferences it answers for it.
unsafe impl<T> Sync for Strided<T> {}
// SAFETY: as above.
unsafe impl<T> Send for Strided<T> {}

impl<T> Strided<T> {
    /// The matrix from this row and column on.
    fn from(&self, row: usize, column: usize) -> Strided<T> {
        Strided { start: self.at(row, column), ..*self }
    }

    /// The matrix that many elements further on.
    pub fn offset(&self, by: isize) -> Strided<T> {
        Strided { start: self.start.wrapping_offset(by), ..*self }
    }

    fn at(&self, row: usize, column: usize) -> *mut T {
        self.start.wrapping_offset(row as isize * self.row + column as isize * self.column)
    }
}

/// Depth of one pass: with the 24 columns of a panel of `f64`, 48 KB.
const DEPTH_BLOCK: usize = 256;

/// Rows of `A` packed together: 480 KB of `f64` at the depth above, a part of L2. Every kernel's rows divide it.
const ROW_BLOCK: usize = 240;

/// Bytes of `B` up to which it is read where it lies.
const NEAR: usize = 96 * 1024;

/// Rows of `A` up to which packing `B` costs more than reading it in place.
const FEW_ROWS: usize = 12;

/// Panels of `width` columns; the last may be narrower and then has a kernel of its own.
struct Panels<T: 'static> {
    main: &'static Kernel<T>,
    rest: &'static Kernel<T>,
    columns: usize,
}

impl<T: Kernels> Panels<T> {
    fn new(isa: Isa, columns: usize) -> Panels<T> {
        let kernels = T::kernels(isa);
        let covering = |columns: usize| {
            kernels.iter().find(|k| k.width >= columns).unwrap_or(&kernels[kernels.len() - 1])
        };
        let main = covering(columns);
        let rest = covering(columns - columns.saturating_sub(1) / main.width * main.width);
        Panels { main, rest, columns }
    }

    fn count(&self) -> usize {
        self.columns.div_ceil(self.main.width)
    }

    fn get(&self, index: usize) -> (&'static Kernel<T>, Range<usize>) {
        let start = index * self.main.width;
        let end = self.columns.min(start + self.main.width);
        (if index + 1 == self.count() { self.rest } else { self.main }, start..end)
    }
}

/// `out = a x b` of an `m x k` and a `k x n` matrix.
///
/// # Safety
/// The matrices' elements are readable, those of `out` writable, apart from the others and with unit stride along rows.
pub(super) unsafe fn multiply<T: Kernels>(
    isa: Isa,
    (m, k, n): (usize, usize, usize),
    a: Strided<T>,
    b: Strided<T>,
    out: Strided<T>,
    pool: &ThreadPool,
) {
    if m == 0 || n == 0 {
        return;
    }
    let panels = Panels::<T>::new(isa, n);
    let work = (m * n) as u64 * k as u64;
    let grid = Grid::new(1, (m, ROW_MULTIPLE), panels.count(), work, pool.threads());
    let near = k * n * size_of::<T>() <= NEAR;
    let in_place = k == 0 || b.column == 1 && (near || m <= FEW_ROWS);
    if in_place {
        // A panel of few rows of a large B is a small part of many lines: as many panels as fit follow each other.
        let step = if near { k.max(1) } else { DEPTH_BLOCK / 4 };
        grid.run(pool, |_, _, rows, columns| {
            let mut start = 0;
            loop {
                let depth = step.min(k - start);
                let pass = Pass {
                    a: a.from(rows.start, start),
                    out: out.from(rows.start, 0),
                    rows: rows.len(),
                    depth,
                    accumulate: start > 0,
                };
                for index in columns.clone() {
                    let (kernel, columns) = panels.get(index);
                    // SAFETY: as the caller grants; the cells of the grid do not overlap.
                    unsafe { pass.run(kernel, b.from(start, columns.start), columns) };
                }
                start += depth;
                if start == k {
                    break;
                }
            }
        });
        return;
    }
    let width = panels.main.width;
    let packed_b = scratch(DEPTH_BLOCK.min(k) * panels.count() * width * size_of::<T>());
    let packed_b = Strided { start: packed_b.as_raw().cast::<T>(), row: width as isize, column: 1 };
    let pack_a = a.column != 1 || m * k * size_of::<T>() > NEAR;
    let mut start = 0;
    while start < k {
        let depth = DEPTH_BLOCK.min(k - start);
        let panel = |index: usize| packed_b.offset((index * depth * width) as isize);
        let parts = parts_for((depth * n * 8) as u64, pool.threads());
        pool.run(parts, |part| {
            for index in chunk(panels.count(), parts, part, 1) {
                let columns = panels.get(index).1;
                let from = b.from(start, columns.start);
                // SAFETY: each panel has room of its own, and the elements are those of b.
                unsafe { copy(from, panel(index), depth, columns.len()) };
            }
        });
        grid.run(pool, |_, _, rows, columns| {
            // Rows a cache line more than a power of two apart do not all fall into the same sets of L1.
            let row = depth + LINE / size_of::<T>();
            let block = rows.len().min(ROW_BLOCK);
            let packed = scratch(if pack_a { row * block * size_of::<T>() } else { 0 });
            for first in rows.clone().step_by(ROW_BLOCK) {
                let count = ROW_BLOCK.min(rows.end - first);
                let mut a = a.from(first, start);
                if pack_a {
                    let to = Strided { start: packed.as_raw().cast::<T>(), row: row as isize, column: 1 };
                    // SAFETY: the scratch has room for the block, and the elements are those of a.
                    unsafe { copy(a, to, count, depth) };
                    a = to;
                }
                let pass = Pass { a, out: out.from(first, 0), rows: count, depth, accumulate: start > 0 };
                for index in columns.clone() {
                    let (kernel, columns) = panels.get(index);
                    // SAFETY: packed above; the cells of the grid do not overlap.
                    unsafe { pass.run(kernel, panel(index), columns) };
                }
            }
        });
        start += depth;
    }
}

const LINE: usize = 64;

/// A block that the next product finds again, so that its pages are not taken from the system each time.
///
/// # Panics
/// Where the system has no memory for it.
fn scratch(bytes: usize) -> Lease {
    match default_pool().acquire(bytes) {
        Ok(lease) => lease,
        Err(error) => panic!("{error}"),
    }
}

/// Copies a matrix of that many rows and columns to one whose columns have unit stride.
///
/// # Safety
/// The elements of `from` are readable, those of `to` writable and apart from them.
unsafe fn copy<T: Copy>(from: Strided<T>, to: Strided<T>, rows: usize, columns: usize) {
    // Blocks of few columns: whatever the strides, the cache lines touched in one are used up before they go.
    const BLOCK: usize = 16;
    if from.column == 1 {
        for row in 0..rows {
            // SAFETY: a row of both.
            unsafe { std::ptr::copy_nonoverlapping(from.at(row, 0), to.at(row, 0), columns) }
        }
        return;
    }
    for first in (0..columns).step_by(BLOCK) {
        for row in 0..rows {
            for column in first..columns.min(first + BLOCK) {
                // SAFETY: within rows and columns.
                unsafe { to.at(row, column).write(from.at(row, column).read()) }
            }
        }
    }
}

/// A block of rows of `A` that meets one panel of `B` after the other.
struct Pass<T> {
    a: Strided<T>,
    out: Strided<T>,
    rows: usize,
    depth: usize,
    accumulate: bool,
}

impl<T: Kernels> Pass<T> {
    /// # Safety
    /// The operands have these rows, depth and columns.
    unsafe fn run(&self, kernel: &Kernel<T>, b: Strided<T>, columns: Range<usize>) {
        let tiles = self.rows.div_ceil(kernel.tiles.len());
        let mut row = 0;
        // Tiles of nearly equal height: a last tile of one row would leave most of the arithmetic units idle.
        for left in (1..=tiles).rev() {
            let height = (self.rows - row).div_ceil(left);
            let block = Block {
                a: self.a.at(row, 0).cast_const(),
                a_row: self.a.row,
                a_step: self.a.column,
                b: b.start.cast_const(),
                b_step: b.row,
                depth: self.depth,
                columns: columns.len(),
                out: self.out.at(row, columns.start),
                out_stride: self.out.row,
                accumulate: self.accumulate,
            };
            // SAFETY: the tile is within rows and columns, and the kernel is of a level this CPU has.
            unsafe { kernel.tiles[height - 1](&block) };
            row += height;
        }
    }
}

/// `out = a x b` of an `m x k` matrix whose rows are runs and a vector.
///
/// # Safety
/// As for [`multiply`]; the columns of `a` have unit stride.
pub(super) unsafe fn times_vector<T: Kernels>(
    isa: Isa,
    (m, k): (usize, usize),
    a: Strided<T>,
    b: Strided<T>,
    out: Strided<T>,
    pool: &ThreadPool,
) {
    let gathered;
    let mut vector = b.start.cast_const();
    if b.row != 1 && k > 1 {
        gathered = scratch(k * size_of::<T>());
        let to = Strided { start: gathered.as_raw().cast::<T>(), row: 1, column: 1 };
        // SAFETY: the scratch has room for the vector's k elements.
        unsafe { copy(Strided { column: b.column, ..b }, to, k, 1) };
        vector = to.start;
    }
    let b = Strided { start: vector.cast_mut(), row: 1, column: 1 };
    let parts = parts_for((m * k) as u64, pool.threads());
    pool.run(parts, |part| {
        let rows = chunk(m, parts, part, 1);
        let (first, to) = (a.at(rows.start, 0).cast_const(), out.at(rows.start, 0));
        // SAFETY: rows of a, and the elements of the output that they give.
        unsafe { T::dots(isa, rows.len(), (first, a.row), b.at(0, 0).cast_const(), k, (to, out.row)) };
    });
}
