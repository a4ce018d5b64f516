use crate::matmul::split::{chunk, parts_for};
use smallvec::SmallVec;
use vedette_runtime::ThreadPool;

/// A planned concatenation of blocks that lie in one memory order: row by row, a run of each input.
///
/// Copying one input after the other would bring every cache line of the output twice.
#[derive(Clone, Debug)]
pub struct Join {
    /// Bytes of a run of each input.
    runs: Vec<usize>,
    rows: usize,
}

impl Join {
    /// Plans `rows` rows that consist of one run of each input, `runs` bytes long.
    pub fn new(runs: Vec<usize>, rows: usize) -> Join {
        Join { runs, rows }
    }

    /// Copies the rows.
    ///
    /// # Safety
    /// `inputs(i)` is readable for every row's run of input `i`, and `out` writable for all of them.
    pub unsafe fn run(&self, inputs: impl Fn(usize) -> *const u8 + Sync, out: *mut u8, pool: &ThreadPool) {
        let row_bytes: usize = self.runs.iter().sum();
        let parts = parts_for((row_bytes * self.rows) as u64, pool.threads());
        let out = Output(out);
        pool.run(parts, |part| {
            let out = &out;
            let rows = chunk(self.rows, parts, part, 1);
            let first = |(i, &run): (usize, &usize)| (inputs(i).wrapping_add(rows.start * run), run);
            let mut runs: SmallVec<[_; 8]> = self.runs.iter().enumerate().map(first).collect();
            let mut to = out.0.wrapping_add(rows.start * row_bytes);
            for _ in rows {
                for (from, run) in &mut runs {
                    // SAFETY: as the caller grants; rows and parts write bytes of their own.
                    unsafe { copy_run(*from, to, *run) };
                    *from = from.wrapping_add(*run);
                    to = to.wrapping_add(*run);
                }
            }
        });
    }
}

struct Output(*mut u8);

// SAFETY: parts write rows of their own.
unsafe impl Sync for Output {}

/// Copies a run, a short one without a call.
///
/// # Safety
/// `n` bytes are readable at `from` and writable at `to`, and the two do not overlap.
#[inline(always)]
unsafe fn copy_run(from: *const u8, to: *mut u8, n: usize) {
    // SAFETY: as granted by the caller; a run is at least as long as the blocks it is copied in.
    unsafe {
        match n {
            64..=512 => copy_blocks::<64>(from, to, n),
            32..64 => copy_blocks::<32>(from, to, n),
            16..32 => copy_blocks::<16>(from, to, n),
            8..16 => copy_blocks::<8>(from, to, n),
            4..8 => copy_blocks::<4>(from, to, n),
            _ => std::ptr::copy_nonoverlapping(from, to, n),
        }
    }
}

/// Copies a run in blocks, the last of which ends with it and may repeat bytes of the one before.
///
/// # Safety
/// As for [`copy_run`], with `n` at least a block.
#[inline(always)]
unsafe fn copy_blocks<const BLOCK: usize>(from: *const u8, to: *mut u8, n: usize) {
    // SAFETY: every block is within the n bytes.
    unsafe {
        let copy = |at: usize| {
            from.add(at).cast::<[u8; BLOCK]>().copy_to_nonoverlapping(to.add(at).cast(), 1);
        };
        for at in (0..n - BLOCK).step_by(BLOCK) {
            copy(at);
        }
        copy(n - BLOCK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold_the_runs_in_order() {
        for runs in
            [vec![3, 5], vec![64, 96, 1], vec![700, 130], vec![0, 65], vec![24, 16, 47], vec![2, 4, 9, 33]]
        {
            let rows = 37;
            let inputs: Vec<Vec<u8>> = runs
                .iter()
                .enumerate()
                .map(|(i, run)| (0..run * rows).map(|at| (at * 7 + i * 31) as u8).collect())
                .collect();
            let mut expected = Vec::new();
            for row in 0..rows {
                for (input, &run) in inputs.iter().zip(&runs) {
                    expected.extend_from_slice(&input[row * run..(row + 1) * run]);
                }
            }
            let mut out = vec![0; expected.len()];
            let join = Join::new(runs, rows);
            let addresses: Vec<usize> = inputs.iter().map(|input| input.as_ptr() as usize).collect();
            // SAFETY: the vectors have the lengths planned.
            unsafe { join.run(|i| addresses[i] as *const u8, out.as_mut_ptr(), &ThreadPool::new(2)) };
            assert_eq!(out, expected);
        }
    }
}
