//! How a product is divided among threads: by lines of pixels where there are many, by panels where weights weigh more.

use crate::product::PackedColumns;
use std::ops::Range;
use vedette_runtime::ThreadPool;
use vedette_tensor::matmul::split::{chunk, parts_for};

/// A grid of chunks of units (lines, pixels) and chunks of panels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Split {
    units: usize,
    multiple: usize,
    panels: usize,
    unit_chunks: usize,
    panel_chunks: usize,
}

/// What a [`Split`] divides.
pub(crate) struct Job<'a> {
    /// Units, and the multiple of them at which chunks begin.
    pub units: usize,
    pub multiple: usize,
    /// Pixels of a unit.
    pub unit_pixels: usize,
    /// Columns of one group, and groups.
    pub columns: &'a PackedColumns,
    pub groups: usize,
    /// Bytes read as rows, each once.
    pub input_bytes: usize,
}

/// Pixels of a part below which the edges of tiles weigh too much.
const FEWEST_PIXELS: usize = 24;

impl Split {
    pub(crate) fn new(job: &Job<'_>, threads: usize) -> Split {
        let Job { units, multiple, unit_pixels, columns, groups, input_bytes } = *job;
        let panels = columns.panels().len() * groups;
        let work = (units * unit_pixels) as u64 * (columns.bytes() * groups) as u64;
        let parts = parts_for(work / columns.kernel().speed, threads);
        let even = |most: usize| if most >= threads { most / threads * threads } else { most };
        let by_units = parts.min(units.div_ceil(multiple)).min((units * unit_pixels / FEWEST_PIXELS).max(1));
        let by_panels = parts.min(panels);
        let weights_weigh_more = columns.bytes() * groups > input_bytes;
        let (unit_chunks, panel_chunks) = if parts <= 1 {
            (1, 1)
        } else if by_panels >= threads && (weights_weigh_more || by_units < threads) {
            (1, even(by_panels))
        } else if by_units >= threads {
            (even(by_units), 1)
        } else {
            (by_units.max(1), (parts / by_units.max(1)).clamp(1, panels.max(1)))
        };
        Split { units, multiple, panels, unit_chunks, panel_chunks }
    }

    /// Whether several parts have the same units.
    pub(crate) fn splits_panels(&self) -> bool {
        self.panel_chunks > 1
    }

    /// Parts, each run once.
    pub(crate) fn parts(&self) -> usize {
        self.unit_chunks * self.panel_chunks
    }

    /// The most units a part has.
    pub(crate) fn most_units(&self) -> usize {
        let chunks =
            (0..self.unit_chunks).map(|i| chunk(self.units, self.unit_chunks, i, self.multiple).len());
        chunks.max().unwrap_or(0)
    }

    /// Calls `f(part, units, panels)` for every part that is not empty.
    pub(crate) fn run(&self, pool: &ThreadPool, f: impl Fn(usize, Range<usize>, Range<usize>) + Sync) {
        pool.run(self.parts(), |part| {
            let units = chunk(self.units, self.unit_chunks, part / self.panel_chunks, self.multiple);
            let panels = chunk(self.panels, self.panel_chunks, part % self.panel_chunks, 1);
            if !units.is_empty() && !panels.is_empty() {
                f(part, units, panels);
            }
        });
    }
}

/// Calls `f(group, panels of it)` for a range of the panels of all groups.
pub(crate) fn by_group(panels: Range<usize>, each: usize, mut f: impl FnMut(usize, Range<usize>)) {
    let mut panel = panels.start;
    while panel < panels.end {
        let (group, first) = (panel / each, panel % each);
        let last = each.min(first + panels.end - panel);
        f(group, first..last);
        panel += last - first;
    }
}
