use crate::Dims;
use smallvec::SmallVec;
use vedette_runtime::ThreadPool;

/// Elements below which a second thread costs more than it saves.
pub(crate) const PARALLEL_GRAIN: usize = 32 * 1024;

/// The loops over several tensors of one shape, as few and as long as their strides allow.
///
/// Axes are ordered by the first operand's memory (the one written), and neighbours are merged where every operand
/// steps through both evenly. The two innermost loops make up a [`Tile`], which kernels run themselves.
#[derive(Clone, Debug)]
pub(crate) struct Nest<const N: usize> {
    outer: Dims,
    outer_strides: SmallVec<[[isize; N]; 4]>,
    rows: usize,
    columns: usize,
    row_strides: [isize; N],
    column_strides: [isize; N],
}

/// The two innermost loops at one place of the others. Strides count bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile<const N: usize> {
    pub pointers: [*mut u8; N],
    pub rows: usize,
    pub columns: usize,
    pub row_strides: [isize; N],
    pub column_strides: [isize; N],
}

impl<const N: usize> Tile<N> {
    /// The operands' pointers at a row and column of the tile.
    #[inline(always)]
    pub fn at(&self, row: usize, column: usize) -> [*mut u8; N] {
        std::array::from_fn(|k| {
            self.pointers[k].wrapping_offset(
                self.row_strides[k] * row as isize + self.column_strides[k] * column as isize,
            )
        })
    }
}

impl<const N: usize> Nest<N> {
    /// Loops over `shape` for operands with these strides (in elements) and element sizes (in bytes).
    pub fn new(shape: &[usize], strides: [&[isize]; N], sizes: [usize; N]) -> Nest<N> {
        let mut axes: SmallVec<[(usize, [isize; N]); 6]> = shape
            .iter()
            .enumerate()
            .filter(|&(_, &dim)| dim != 1)
            .map(|(axis, &dim)| (dim, std::array::from_fn(|k| strides[k][axis] * sizes[k] as isize)))
            .collect();
        if shape.contains(&0) {
            axes.clear();
        }
        axes.sort_by_key(|&(_, steps)| std::cmp::Reverse(steps[0].unsigned_abs()));
        let mut merged: SmallVec<[(usize, [isize; N]); 6]> = SmallVec::new();
        for (dim, steps) in axes {
            if let Some(last) = merged.last_mut()
                && (0..N).all(|k| last.1[k] == steps[k] * dim as isize)
            {
                *last = (last.0 * dim, steps);
            } else {
                merged.push((dim, steps));
            }
        }
        let (columns, column_strides) =
            merged.pop().unwrap_or((1, std::array::from_fn(|k| sizes[k] as isize)));
        // Where an operand strides along the columns, the axis along which it is contiguous makes the best rows: a
        // tile then touches whole cache lines of both.
        let strided = (1..N).find(|&k| column_strides[k] != 0 && column_strides[k] != sizes[k] as isize);
        let row_axis = strided
            .and_then(|k| {
                (0..merged.len())
                    .filter(|&axis| merged[axis].1[k] != 0)
                    .min_by_key(|&axis| merged[axis].1[k].unsigned_abs())
            })
            .or(merged.len().checked_sub(1));
        let (mut rows, row_strides) = row_axis.map_or((1, [0; N]), |axis| merged.remove(axis));
        if shape.contains(&0) {
            rows = 0;
        }
        Nest {
            outer: merged.iter().map(|axis| axis.0).collect(),
            outer_strides: merged.iter().map(|axis| axis.1).collect(),
            rows,
            columns,
            row_strides,
            column_strides,
        }
    }

    /// Calls `f` with every tile in turn, on this thread.
    #[inline(always)]
    pub fn for_each_tile(&self, pointers: [*mut u8; N], mut f: impl FnMut(&Tile<N>)) {
        let pointers = Pointers(pointers);
        if self.rows > 0 {
            for outer in 0..self.outer.iter().product() {
                f(&self.tile(&pointers, outer, 0, self.rows));
            }
        }
    }

    /// Whether the innermost loop steps through operand `k` without gaps.
    pub fn is_contiguous_inside(&self, k: usize, size: usize) -> bool {
        self.columns == 1 || self.column_strides[k] == size as isize
    }

    /// Calls `f` with tiles that together cover the loops once, on several threads where that pays.
    ///
    /// `pointers` are those of the operands' first elements. The tiles' pointers are within the operands as far as
    /// the shape and strides given to [`Nest::new`] are.
    pub fn run(&self, pool: &ThreadPool, pointers: [*mut u8; N], f: &(dyn Fn(&Tile<N>) + Sync)) {
        self.run_costly(pool, pointers, 1, f);
    }

    /// As [`run`](Self::run) where each index costs as much as `cost` simple elements.
    pub fn run_costly(
        &self,
        pool: &ThreadPool,
        pointers: [*mut u8; N],
        cost: usize,
        f: &(dyn Fn(&Tile<N>) + Sync),
    ) {
        let pointers = Pointers(pointers);
        let all_rows = self.outer.iter().product::<usize>() * self.rows;
        let grain = PARALLEL_GRAIN.div_ceil(cost.max(1));
        if all_rows < pool.threads() && self.columns >= 128 && self.outer.is_empty() {
            pool.run_ranges(self.columns, grain.div_ceil(all_rows.max(1)), 64, |range| {
                let tile = self.tile(&pointers, 0, 0, self.rows);
                f(&Tile { pointers: tile.at(0, range.start), columns: range.len(), ..tile });
            });
            return;
        }
        pool.run_ranges(all_rows, grain.div_ceil(self.columns), 1, |range| {
            let mut row = range.start;
            while row < range.end {
                let first = row % self.rows;
                let count = (self.rows - first).min(range.end - row);
                f(&self.tile(&pointers, row / self.rows, first, count));
                row += count;
            }
        });
    }

    fn tile(&self, pointers: &Pointers<N>, mut outer: usize, first_row: usize, rows: usize) -> Tile<N> {
        let mut offsets: [isize; N] = std::array::from_fn(|k| self.row_strides[k] * first_row as isize);
        for (&dim, strides) in self.outer.iter().zip(&self.outer_strides).rev() {
            let index = (outer % dim) as isize;
            outer /= dim;
            for k in 0..N {
                offsets[k] += strides[k] * index;
            }
        }
        Tile {
            pointers: std::array::from_fn(|k| pointers.0[k].wrapping_offset(offsets[k])),
            rows,
            columns: self.columns,
            row_strides: self.row_strides,
            column_strides: self.column_strides,
        }
    }
}

/// Pointers shared by the threads of one run; each thread writes through them at places of its own.
struct Pointers<const N: usize>([*mut u8; N]);

// SAFETY: the pointers are only values here; who dereferences them answers for it.
unsafe impl<const N: usize> Sync for Pointers<N> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contiguous_strides;
    use std::sync::Mutex;

    fn visited<const N: usize>(nest: &Nest<N>, threads: usize) -> Vec<[isize; N]> {
        let seen = Mutex::new(Vec::new());
        nest.run(&ThreadPool::new(threads), [std::ptr::null_mut(); N], &|tile| {
            let mut seen = seen.lock().unwrap();
            for row in 0..tile.rows {
                for column in 0..tile.columns {
                    seen.push(tile.at(row, column).map(|pointer| pointer as isize));
                }
            }
        });
        let mut seen = seen.into_inner().unwrap();
        seen.sort_unstable();
        seen
    }

    fn expected<const N: usize>(shape: &[usize], strides: [&[isize]; N], size: isize) -> Vec<[isize; N]> {
        let mut all = vec![[0; N]];
        for (axis, &dim) in shape.iter().enumerate() {
            all = all
                .iter()
                .flat_map(|at| {
                    (0..dim as isize)
                        .map(move |i| std::array::from_fn(|k| at[k] + i * strides[k][axis] * size))
                })
                .collect();
        }
        all.sort_unstable();
        all
    }

    #[test]
    fn every_index_is_visited_once() {
        let shapes: [&[usize]; 6] = [&[], &[5], &[2, 3, 4], &[3, 1, 70, 500], &[2, 0, 3], &[70_000]];
        for shape in shapes {
            let own = contiguous_strides(shape);
            let mut turned: Vec<isize> =
                contiguous_strides(&shape.iter().rev().copied().collect::<Vec<_>>()).to_vec();
            turned.reverse();
            let repeated: Vec<isize> =
                own.iter().enumerate().map(|(axis, &s)| if axis % 2 == 0 { 0 } else { -s }).collect();
            for threads in [1, 3] {
                let nest = Nest::new(shape, [&own, &turned, &repeated], [4; 3]);
                assert_eq!(
                    visited(&nest, threads),
                    expected(shape, [&own, &turned, &repeated], 4),
                    "{shape:?}"
                );
            }
        }
    }

    #[test]
    fn even_axes_merge() {
        let nest = Nest::new(&[4, 5, 6], [&[30, 6, 1], &[30, 6, 1]], [4, 8]);
        assert_eq!((nest.outer.len(), nest.rows, nest.columns), (0, 1, 120));
        let channels_last = Nest::new(&[1, 8, 5, 6], [&[240, 1, 48, 8], &[8, 1, 0, 0]], [4, 4]);
        assert_eq!((channels_last.outer.len(), channels_last.rows, channels_last.columns), (0, 30, 8));
    }
}
