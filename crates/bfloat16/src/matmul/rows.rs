//! Rows of float32, rounded to bfloat16 into a copy that stays in cache while it is multiplied.

use vedette_simd::{Isa, bf16_bits, round_to_bf16};

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
}

impl RowCopy {
    /// Rows that are copied at once.
    pub(crate) fn rows_at_once(&self) -> usize {
        let fitting = BLOCK_BYTES / (self.len * size_of::<u16>()).max(1);
        (fitting / 32 * 32).max(FEWEST)
    }

    /// Copies `rows` rows that lie `step` elements apart.
    ///
    /// # Safety
    /// The rows are readable from `from` on; `to` has room for them.
    pub(crate) unsafe fn run(&self, from: *const f32, step: isize, rows: usize, to: *mut u16) {
        for row in 0..rows {
            // SAFETY: a row the caller grants, and its place in the copy.
            unsafe {
                let from = from.offset(row as isize * step);
                let to = to.add(row * self.len);
                if self.value_step == 1 || self.depth <= 1 {
                    round_to_bf16(self.isa, from, self.depth, to);
                } else {
                    for i in 0..self.depth {
                        to.add(i).write(bf16_bits(*from.offset(i as isize * self.value_step)));
                    }
                }
                to.add(self.depth).write_bytes(0, self.len - self.depth);
            }
        }
    }
}
