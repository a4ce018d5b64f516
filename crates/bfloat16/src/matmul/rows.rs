//! Rows, rounded to bfloat16 into a copy that stays in cache while it is multiplied; those that are so already where they
//! lie.

use crate::Values;
use crate::values::Value;
use vedette_simd::{Isa, Runs};

/// What chunks of rows begin at multiples of: a pair of tiles.
pub(crate) const ROW_MULTIPLE: usize = 32;

/// Bytes of rows that are copied and then multiplied with all columns: they stay in L2 beside a panel.
const BLOCK_BYTES: usize = 256 * 1024;

/// Rows that a block has at least, so that weights are not read too often.
const FEWEST: usize = 64;

/// How rows are copied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowCopy {
    pub isa: Isa,
    /// Values of a row, and elements from one to the next.
    pub depth: usize,
    pub value_step: isize,
    /// Values of a row of the copy; those behind the depth are zero.
    pub len: usize,
    /// Values from one row of the copy to the next.
    step: usize,
}

impl RowCopy {
    /// Rows of `len` values, one after the other.
    pub(crate) fn new(isa: Isa, depth: usize, value_step: isize, len: usize) -> RowCopy {
        RowCopy { isa, depth, value_step, len, step: len }
    }

    /// The copy of one of several equal parts of every row; the last writes what follows the depth as well.
    pub(crate) fn part(&self, number: usize, parts: usize) -> RowCopy {
        let depth = self.depth / parts;
        let len = if number + 1 == parts { self.len - number * depth } else { depth };
        RowCopy { depth, len, ..*self }
    }

    /// Rows that are copied at once.
    pub(crate) fn rows_at_once(&self) -> usize {
        let fitting = BLOCK_BYTES / (self.len * size_of::<u16>()).max(1);
        (fitting / ROW_MULTIPLE * ROW_MULTIPLE).max(FEWEST)
    }

    /// Copies `rows` rows that lie `step` elements apart.
    ///
    /// # Safety
    /// The rows are readable from `from` on; `to` has room for them.
    pub(crate) unsafe fn run<T: Value>(&self, from: *const T, step: isize, rows: usize, to: *mut u16) {
        let together = self.value_step == 1 || self.depth <= 1;
        // SAFETY: rows the caller grants, and their places in the copy.
        unsafe {
            if together {
                let runs =
                    Runs { count: rows, len: self.depth, from_step: step, to_step: self.step as isize };
                T::copy_runs(self.isa, from, to, runs);
            }
            if together && self.len == self.depth {
                return;
            }
            for row in 0..rows {
                let to = to.add(row * self.step);
                if !together {
                    let from = from.offset(row as isize * step);
                    for i in 0..self.depth {
                        to.add(i).write((*from.offset(i as isize * self.value_step)).bits());
                    }
                }
                to.add(self.depth).write_bytes(0, self.len - self.depth);
            }
        }
    }
}

/// Values that rows of tiles begin at multiples of: what crosses cache lines is read several times slower.
const LINE: isize = 32;

/// The rows of a product's left side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    pub values: Values,
    pub copy: RowCopy,
    /// Elements from one row to the next.
    pub step: isize,
}

impl Rows {
    /// Whether products read them where they lie.
    pub(crate) fn is_direct(&self) -> bool {
        let RowCopy { depth, value_step, len, .. } = self.copy;
        let together = (value_step == 1 || depth == 1) && depth == len;
        self.values == Values::Bfloat16 && together && self.step % LINE == 0
    }

    /// Values from one row to the next as products read them.
    pub(crate) fn pixel_step(&self) -> isize {
        if self.is_direct() { self.step } else { self.copy.len as isize }
    }

    /// Copies `rows` rows that are not read where they lie.
    ///
    /// # Safety
    /// As for [`RowCopy::run`].
    pub(crate) unsafe fn copy(&self, from: *const u8, rows: usize, to: *mut u16) {
        // SAFETY: as granted by the caller.
        unsafe {
            match self.values {
                Values::Float32 => self.copy.run(from.cast::<f32>(), self.step, rows, to),
                Values::Bfloat16 => self.copy.run(from.cast::<u16>(), self.step, rows, to),
            }
        }
    }
}
