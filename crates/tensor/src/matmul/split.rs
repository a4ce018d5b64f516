//! How a product is divided among threads.

use std::ops::Range;
use vedette_runtime::ThreadPool;

/// Multiply-accumulates (or as much other work) below which another thread costs more than it brings: about 10
/// microseconds of one core.
pub(crate) const GRAIN: u64 = 500_000;

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
pub struct Grid {
    batches: usize,
    rows: usize,
    panels: usize,
    row_chunks: usize,
    panel_chunks: usize,
    /// What chunks of rows begin at multiples of.
    multiple: usize,
    parts: usize,
}

/// Every kernel's number of rows divides this, or nearly so.
pub(crate) const ROW_MULTIPLE: usize = 24;

impl Grid {
    /// A grid for products of `rows` rows, cut at multiples of `multiple`, and `panels` panels that take `work`
    /// multiply-accumulates together.
    pub fn new(
        batches: usize,
        (rows, multiple): (usize, usize),
        panels: usize,
        work: u64,
        threads: usize,
    ) -> Grid {
        let parts = parts_for(work, threads).div_ceil(batches.max(1));
        let (row_chunks, panel_chunks) = if rows >= parts * multiple {
            (parts, 1)
        } else if panels >= parts {
            (1, parts)
        } else {
            let row_chunks = (rows / multiple).clamp(1, parts);
            (row_chunks, (parts / row_chunks).clamp(1, panels.max(1)))
        };
        let cells = row_chunks * panel_chunks;
        let parts = if cells > 1 || batches <= 1 {
            batches * cells
        } else if threads == 1 {
            1
        } else {
            // Whole batches: as many together as leave a few parts for each thread.
            batches.min(threads * PARTS_PER_THREAD)
        };
        Grid { batches, rows, panels, row_chunks, panel_chunks, multiple, parts }
    }

    /// Parts that [`run`](Self::run) makes.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// Whether several cells have the same rows.
    pub fn splits_panels(&self) -> bool {
        self.panel_chunks > 1
    }

    /// Calls `f(part, batch, rows, panels)` for every cell; what one part calls is called in turn.
    pub fn run(&self, pool: &ThreadPool, f: impl Fn(usize, usize, Range<usize>, Range<usize>) + Sync) {
        let cells = self.row_chunks * self.panel_chunks;
        let total = self.batches * cells;
        pool.run(self.parts, |part| {
            for cell in chunk(total, self.parts, part, 1) {
                let (batch, cell) = (cell / cells, cell % cells);
                let rows = chunk(self.rows, self.row_chunks, cell / self.panel_chunks, self.multiple);
                let panels = chunk(self.panels, self.panel_chunks, cell % self.panel_chunks, 1);
                if !rows.is_empty() && !panels.is_empty() {
                    f(part, batch, rows, panels);
                }
            }
        });
    }
}
