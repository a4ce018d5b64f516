//! How a product is divided among threads.

use std::ops::Range;
use vedette_runtime::ThreadPool;

/// Multiply-accumulates (or as much other work) below which another thread costs more than it brings: about 10
/// microseconds of one core.
const GRAIN: u64 = 500_000;

/// More parts than threads, so that a thread that loses its core for a while does not hold up the rest.
const PARTS_PER_THREAD: usize = 4;

/// Parts worth making of that many multiply-accumulates.
pub fn parts_for(work: u64, threads: usize) -> usize {
    if threads == 1 {
        return 1;
    }
    let most = (work / GRAIN).min((threads * PARTS_PER_THREAD) as u64) as usize;
    // Below two parts a thread, parts that do not divide evenly would leave a thread waiting.
    if most < 2 * threads { most.clamp(1, threads) } else { most / threads * threads }
}

/// The rows or columns `0..len` in `count` nearly equal ranges, cut at multiples of `multiple`.
pub fn chunk(len: usize, count: usize, index: usize, multiple: usize) -> Range<usize> {
    let units = len.div_ceil(multiple);
    let at = |i: usize| (units * i / count * multiple).min(len);
    at(index)..at(index + 1)
}

/// A grid of `batches x row chunks x panel chunks`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    batches: usize,
    rows: usize,
    panels: usize,
    row_chunks: usize,
    panel_chunks: usize,
}

/// Every kernel's number of rows divides this, or nearly so.
const ROW_MULTIPLE: usize = 24;

impl Grid {
    /// A grid for products of `rows` rows and `panels` panels that take `work` multiply-accumulates together.
    pub(crate) fn new(batches: usize, rows: usize, panels: usize, work: u64, threads: usize) -> Grid {
        let parts = parts_for(work, threads).div_ceil(batches.max(1));
        let (row_chunks, panel_chunks) = if rows >= parts * ROW_MULTIPLE {
            (parts, 1)
        } else if panels >= parts {
            (1, parts)
        } else {
            let row_chunks = (rows / ROW_MULTIPLE).clamp(1, parts);
            (row_chunks, (parts / row_chunks).clamp(1, panels.max(1)))
        };
        Grid { batches, rows, panels, row_chunks, panel_chunks }
    }

    /// Calls `f(batch, rows, panels)` for every cell.
    pub(crate) fn run(&self, pool: &ThreadPool, f: impl Fn(usize, Range<usize>, Range<usize>) + Sync) {
        let cells = self.row_chunks * self.panel_chunks;
        let call = |batch: usize, cell: usize| {
            let rows = chunk(self.rows, self.row_chunks, cell / self.panel_chunks, ROW_MULTIPLE);
            let panels = chunk(self.panels, self.panel_chunks, cell % self.panel_chunks, 1);
            if !rows.is_empty() && !panels.is_empty() {
                f(batch, rows, panels);
            }
        };
        if cells == 1 && self.batches > 1 {
            // Whole batches: as many together as leave a few parts for each thread.
            let parts = self.batches.min(pool.threads() * PARTS_PER_THREAD);
            let parts = if pool.threads() == 1 { 1 } else { parts };
            pool.run(parts, |part| {
                for batch in chunk(self.batches, parts, part, 1) {
                    call(batch, 0);
                }
            });
        } else {
            pool.run(self.batches * cells, |part| call(part / cells, part % cells));
        }
    }
}
