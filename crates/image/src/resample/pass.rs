//! Both passes over the rows of one layer.

use super::aligned::Aligned;
use super::compact;
use super::kernels;
use super::layer::Layer;
#[cfg(target_arch = "x86_64")]
use super::x86;
use std::ops::Range;
use vedette_simd::Isa;

/// Memory a thread keeps from call to call.
#[derive(Default)]
pub struct Scratch {
    combined: Aligned,
    split: Aligned,
    pub(super) results: Aligned,
    rows: Vec<*const u8>,
    pub(super) staged: Vec<Vec<u8>>,
}

impl Layer<'_> {
    /// Rows of results that are made together.
    pub(super) fn rows_at_once(&self, isa: Isa) -> usize {
        #[cfg(target_arch = "x86_64")]
        if takes_sparse(isa, self) {
            return 1;
        }
        kernels::joint_rows(isa, &self.plan.horizontal, self.step)
    }
}

/// A layer on its way to rows of planes, `stride` apart within a row and `pitch` from row to row.
pub struct Pass<'a> {
    pub isa: Isa,
    pub layer: &'a Layer<'a>,
    pub stride: usize,
    pub pitch: usize,
    /// Rows of results in the scratch.
    pub at_once: usize,
    /// The layer's number, and the end of its rows that were staged.
    pub index: usize,
    pub staged_end: &'a mut usize,
}

impl Pass<'_> {
    /// Both passes for several rows, some columns after the other, so that what lies between the passes stays close.
    #[cfg(target_arch = "x86_64")]
    pub fn joint(&mut self, group: Range<usize>, scratch: &mut Scratch) {
        let (isa, plan) = (self.isa, self.layer.plan);
        scratch.rows.clear();
        let mut ends = [0; x86::joint::ROWS];
        for (y, end) in group.clone().zip(&mut ends) {
            self.add_rows(y, scratch);
            *end = scratch.rows.len();
        }
        let Scratch { combined, split, results, rows, .. } = scratch;
        let vertical = |columns: Range<usize>, row: usize, out: &mut [i16]| {
            let sources = &rows[if row == 0 { 0 } else { ends[row - 1] }..ends[row]];
            let weights = plan.vertical.weights(group.start + row);
            // SAFETY: each row has the bytes of the used columns, in the frame or staged.
            unsafe { kernels::vertical(isa, sources, weights, columns.start, out) }
        };
        let (start, _) = plan.vertical.rows(group.start);
        let (last, count) = plan.vertical.rows(group.end - 1);
        let len = self.layer.row_len(plan.samples());
        let columns = x86::joint::Columns::new(last + count - start, self.layer.step, len);
        let planes = self.layer.planes.map(|plane| plane.map(|plane| plane * self.stride));
        let results = (results.get(self.at_once * self.pitch), self.pitch);
        kernels::joint(
            isa,
            &plan.horizontal,
            group.len(),
            columns,
            vertical,
            (combined, split),
            planes,
            results,
        );
    }

    /// No level takes several rows.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn joint(&mut self, group: Range<usize>, scratch: &mut Scratch) {
        for (i, y) in group.enumerate() {
            self.single(y, i * self.pitch, scratch);
        }
    }

    /// Both passes for one row, whose results start at `offset`.
    pub fn single(&mut self, y: usize, offset: usize, scratch: &mut Scratch) {
        let plan = self.layer.plan;
        #[cfg(target_arch = "x86_64")]
        if self.sparse(y, offset, scratch) {
            return;
        }
        scratch.rows.clear();
        self.add_rows(y, scratch);
        let Scratch { combined, split, results, rows, .. } = scratch;
        let (channels, pixels) = (self.layer.step, plan.samples());
        let padded = plan.horizontal.padded_input;
        let combined = combined.grown(padded.max(pixels) * channels);
        let out = &mut combined[..self.layer.row_len(pixels)];
        // SAFETY: each row has these bytes of the used columns, in the frame or staged.
        unsafe { kernels::vertical(self.isa, rows, plan.vertical.weights(y), 0, out) }
        let split = if channels == 1 {
            combined
        } else {
            let split = split.grown(channels * padded);
            kernels::deinterleave(self.isa, combined, channels, pixels, split, padded);
            split
        };
        let results = results.get(self.at_once * self.pitch);
        for (channel, plane) in self.layer.planes.iter().enumerate() {
            if let Some(plane) = plane {
                let row = &split[channel * padded..][..padded];
                let out = &mut results[offset + plane * self.stride..][..plan.horizontal.padded_output()];
                kernels::horizontal(self.isa, &plan.horizontal, row, out);
            }
        }
    }

    /// Both passes for one row of results that are made of two pixels of two rows each, if they are.
    #[cfg(target_arch = "x86_64")]
    fn sparse(&self, y: usize, offset: usize, scratch: &mut Scratch) -> bool {
        let Pass { isa, layer, .. } = *self;
        let plan = layer.plan;
        let pairs = plan.compact.as_ref().and_then(compact::Compact::pairs);
        let weights = plan.vertical.weights(y);
        let (Some((starts, horizontal)), Some([bytes, ..])) = (pairs, weights.bytes) else { return false };
        if !takes_sparse(isa, layer) {
            return false;
        }
        let (start, count) = plan.vertical.rows(y);
        let (next, next_count) = plan.vertical.rows((y + 1).min(plan.height() - 1));
        let row = |row: usize| layer.frame.row_ptr(row);
        let input = x86::sparse::Sparse {
            rows: [row(start), row(start + count - 1)],
            readable: layer.row_len(layer.frame.width()),
            next: [row(next), row(next + next_count - 1)],
            starts,
            step: layer.step,
            vertical: (*bytes, weights.shift),
            horizontal,
        };
        let results = &mut scratch.results.get(self.at_once * self.pitch)[offset..];
        // SAFETY: the taps keep both pixels of each output within the rows.
        unsafe { kernels::sparse(isa, &input, &layer.planes, (results, self.stride)) }
        true
    }

    /// Adds the input's rows that make row `y`, an even number of them, to those in the scratch.
    fn add_rows(&mut self, y: usize, scratch: &mut Scratch) {
        let (layer, plan) = (self.layer, self.layer.plan);
        let (start, count) = plan.vertical.rows(y);
        let rows = &mut scratch.rows;
        let first = rows.len();
        if layer.staged || plan.compact.is_some() {
            // The last pixel may end before its step does.
            let len = layer.row_len(plan.samples());
            let held = plan.vertical.span(self.at_once);
            let pitch = len + compact::SLACK;
            let ring = &mut scratch.staged[self.index];
            if ring.len() < held * pitch {
                ring.resize(held * pitch, 0);
            }
            let ahead = plan.vertical.rows((y + 1).min(plan.height() - 1)).0 - start;
            for row in start.max(*self.staged_end)..start + count {
                let to = &mut ring[row % held * pitch..][..pitch];
                match &plan.compact {
                    Some(compact) => {
                        let ahead = (row + ahead).min(layer.frame.height() - 1);
                        compact.gather(layer, row, ahead, to);
                    }
                    None => layer.frame.gather_row(row, plan.columns.start, &mut to[..len]),
                }
            }
            *self.staged_end = start + count;
            rows.extend((start..start + count).map(|row| ring[row % held * pitch..].as_ptr()));
        } else {
            let offset = plan.columns.start * layer.step;
            rows.extend((start..start + count).map(|row| layer.frame.row_ptr(row).wrapping_add(offset)));
        }
        if count % 2 == 1 {
            rows.push(rows[first]);
        }
    }
}

/// Whether [`Pass::sparse`] makes the layer's rows.
#[cfg(target_arch = "x86_64")]
fn takes_sparse(isa: Isa, layer: &Layer<'_>) -> bool {
    let plan = layer.plan;
    let of_pairs = plan.compact.as_ref().is_some_and(|compact| compact.pairs().is_some());
    of_pairs && !layer.staged && plan.vertical.widest() <= 2 && kernels::takes_sparse(isa, layer.step)
}
