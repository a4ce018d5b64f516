//! Separable resampling of 8-bit images in 16-bit fixed point: the one mechanism behind resizing, letterboxing and
//! preprocessing.
//!
//! Rows are combined first, straight from the caller's memory, because that pass streams through whole registers
//! whatever the pixels look like; what is left of a row is then spread over planes and combined along the columns.
//! Values between the passes carry [`Plan::fraction`] fraction bits. Every step is integer arithmetic, so every level
//! and every split over threads gives the same bits.

mod cache;
mod compact;
mod float;
mod image;
mod kernels;
mod layer;
mod nearest;
mod plan;
mod scalar;
mod taps;
mod turned;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use cache::{Geometry, PlanCache};
pub use image::{Pixel, resize};
pub use layer::{Layer, Layers, MAX_LAYERS, is_mirrored};
pub use taps::{Edge, Filter, Sampling, Taps};

pub(crate) use kernels::interleave;

use compact::Compact;
use plan::{HorizontalPlan, VerticalPlan};
use std::cell::RefCell;
use std::ops::Range;
use vedette_simd::Isa;

/// What is resampled: intervals of the input's rows and columns become all rows and columns of the output.
#[derive(Debug)]
pub struct Plan {
    vertical: VerticalPlan,
    horizontal: HorizontalPlan,
    columns: Range<usize>,
    compact: Option<Compact>,
    fraction: u32,
}

impl Plan {
    /// From the taps of rows and columns, both made with `sampling`.
    pub fn new(rows: &Taps, columns: &Taps, sampling: Sampling) -> Plan {
        let used = columns.used();
        // 255 with seven fraction bits just fits 15 bits; a filter that overshoots leaves one bit for it.
        let fraction = if sampling.overshoots() { 6 } else { 7 };
        let (compact, horizontal) = match Compact::new(columns) {
            Some((compact, taps)) => (Some(compact), HorizontalPlan::new(&taps, 0)),
            None => (None, HorizontalPlan::new(columns, used.start)),
        };
        Plan { vertical: VerticalPlan::new(rows, fraction), horizontal, columns: used, compact, fraction }
    }

    /// Fraction bits of the results.
    pub fn fraction(&self) -> u32 {
        self.fraction
    }

    /// Rows of the output.
    pub fn height(&self) -> usize {
        self.vertical.len()
    }

    /// Columns of the output.
    pub fn width(&self) -> usize {
        self.horizontal.output
    }

    /// Samples of a row that take part in the passes.
    fn samples(&self) -> usize {
        self.compact.as_ref().map_or(self.columns.len(), Compact::len)
    }
}

/// Memory a thread keeps from call to call.
#[derive(Default)]
struct Scratch {
    combined: Vec<i16>,
    split: Vec<i16>,
    results: Vec<i16>,
    rows: Vec<*const u8>,
    staged: Vec<Vec<u8>>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// One row of results: plane `p` starts at `p * stride`.
#[derive(Debug)]
pub struct PlaneRows<'a> {
    /// All planes.
    pub data: &'a mut [i16],
    /// Elements from plane to plane.
    pub stride: usize,
    /// Elements of a plane that count.
    pub width: usize,
}

impl PlaneRows<'_> {
    /// One plane.
    pub fn plane(&self, index: usize) -> &[i16] {
        &self.data[index * self.stride..index * self.stride + self.width]
    }
}

/// Resamples the output rows `range` of all layers, whose plans agree on the output's size, and hands each row of
/// planes to `each`.
pub fn resample(
    isa: Isa,
    layers: &[Layer<'_>],
    range: Range<usize>,
    mut each: impl FnMut(usize, PlaneRows<'_>),
) {
    SCRATCH.with_borrow_mut(|scratch| {
        let planes = layers.iter().map(Layer::planes_end).max().unwrap_or(0);
        let stride = layers.iter().map(|layer| layer.plan.horizontal.padded_output()).max().unwrap_or(0);
        grow(&mut scratch.results, planes * stride);
        scratch.staged.resize_with(scratch.staged.len().max(layers.len()), Vec::new);
        let mut staged_end = [0; MAX_LAYERS];
        for y in range {
            for (index, layer) in layers.iter().enumerate() {
                resample_layer(isa, layer, y, stride, scratch, index, &mut staged_end[index]);
            }
            let width = layers.first().map_or(0, |layer| layer.plan.width());
            each(y, PlaneRows { data: &mut scratch.results[..planes * stride], stride, width });
        }
    });
}

fn grow<T: Default + Clone>(buffer: &mut Vec<T>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, T::default());
    }
}

fn resample_layer(
    isa: Isa,
    layer: &Layer<'_>,
    y: usize,
    stride: usize,
    scratch: &mut Scratch,
    index: usize,
    staged_end: &mut usize,
) {
    let plan = layer.plan;
    #[cfg(target_arch = "x86_64")]
    if let Some(sparse) = sparse(isa, layer, y) {
        // SAFETY: the taps keep both pixels of each output within the rows.
        unsafe { kernels::sparse(isa, sparse, &layer.planes, (&mut scratch.results, stride)) }
        return;
    }
    let (start, count) = plan.vertical.rows(y);
    let channels = layer.step;
    let pixels = plan.samples();
    // The last pixel may end before its step does.
    let len = layer.row_len(pixels);
    scratch.rows.clear();
    if layer.staged || plan.compact.is_some() {
        let held = plan.vertical.widest();
        let pitch = len + compact::SLACK;
        let ring = &mut scratch.staged[index];
        grow(ring, held * pitch);
        let ahead = plan.vertical.rows((y + 1).min(plan.height() - 1)).0 - start;
        for row in start.max(*staged_end)..start + count {
            let to = &mut ring[row % held * pitch..][..pitch];
            match &plan.compact {
                Some(compact) => {
                    let ahead = (row + ahead).min(layer.frame.height() - 1);
                    compact.gather(layer, row, ahead, to);
                }
                None => layer.frame.gather_row(row, plan.columns.start, &mut to[..len]),
            }
        }
        *staged_end = start + count;
        scratch.rows.extend((start..start + count).map(|row| ring[row % held * pitch..].as_ptr()));
    } else {
        let offset = plan.columns.start * channels;
        scratch.rows.extend((start..start + count).map(|row| layer.frame.row_ptr(row).wrapping_add(offset)));
    }
    let first = scratch.rows[0];
    scratch.rows.resize(count.next_multiple_of(2), first);
    let padded = plan.horizontal.padded_input;
    grow(&mut scratch.combined, padded.max(pixels) * channels);
    // SAFETY: each row has the `len` bytes of the used columns, in the frame or staged.
    unsafe {
        kernels::vertical(isa, &scratch.rows, plan.vertical.weights(y), &mut scratch.combined[..len]);
    }
    let split = if channels == 1 {
        &scratch.combined
    } else {
        grow(&mut scratch.split, channels * padded);
        kernels::deinterleave(isa, &scratch.combined, channels, pixels, &mut scratch.split, padded);
        &scratch.split
    };
    for (channel, plane) in layer.planes.iter().enumerate() {
        if let Some(plane) = plane {
            let row = &split[channel * padded..][..padded];
            let out = &mut scratch.results[plane * stride..][..plan.horizontal.padded_output()];
            kernels::horizontal(isa, &plan.horizontal, row, out);
        }
    }
}

/// What [`kernels::sparse`] takes, where a row of results is made of two pixels of two rows each.
#[cfg(target_arch = "x86_64")]
fn sparse<'a>(isa: Isa, layer: &Layer<'a>, y: usize) -> Option<x86::sparse::Sparse<'a>> {
    let plan = layer.plan;
    if layer.staged || plan.vertical.widest() > 2 || !kernels::takes_sparse(isa, layer.step) {
        return None;
    }
    let (starts, horizontal) = plan.compact.as_ref()?.pairs()?;
    let weights = plan.vertical.weights(y);
    let rows = |y: usize| {
        let (start, count) = plan.vertical.rows(y);
        [start, start + count - 1].map(|row| layer.frame.row_ptr(row))
    };
    Some(x86::sparse::Sparse {
        rows: rows(y),
        readable: layer.row_len(layer.frame.width()),
        next: rows((y + 1).min(plan.height() - 1)),
        starts,
        step: layer.step,
        vertical: (*weights.bytes?.first()?, weights.shift),
        horizontal,
    })
}
