//! Separable resampling of 8-bit images in 16-bit fixed point: the one mechanism behind resizing, letterboxing and
//! preprocessing.
//!
//! Rows are combined first, straight from the caller's memory, because that pass streams through whole registers
//! whatever the pixels look like; what is left of them is then combined along the columns, for several rows and all
//! channels at once, or spread over planes and combined plane by plane. Values between the passes carry
//! [`Plan::fraction`] fraction bits. Every step is integer arithmetic, so every level and every split over threads gives the
//! same bits.

mod aligned;
mod cache;
mod compact;
mod float;
mod image;
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(unused, reason = "what vector levels take stands beside the oracle")
)]
mod kernels;
mod layer;
mod nearest;
mod pass;
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "only vector levels take every form of the weights")
)]
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
use pass::{Pass, Scratch};
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
        let at_once = layers.iter().map(|layer| layer.rows_at_once(isa)).max().unwrap_or(1);
        let pitch = planes * stride;
        let width = layers.first().map_or(0, |layer| layer.plan.width());
        scratch.results.grow(at_once * pitch);
        scratch.staged.resize_with(scratch.staged.len().max(layers.len()), Vec::new);
        let mut staged_end = [0; MAX_LAYERS];
        for start in range.clone().step_by(at_once) {
            let group = start..(start + at_once).min(range.end);
            for (index, layer) in layers.iter().enumerate() {
                let staged_end = &mut staged_end[index];
                let mut pass = Pass { isa, layer, stride, pitch, at_once, index, staged_end };
                if at_once > 1 && layer.rows_at_once(isa) > 1 {
                    pass.joint(group.clone(), scratch);
                } else {
                    for y in group.clone() {
                        pass.single(y, (y - start) * pitch, scratch);
                    }
                }
            }
            let results = scratch.results.get(at_once * pitch);
            for (y, data) in group.zip(results.chunks_exact_mut(pitch.max(1))) {
                each(y, PlaneRows { data, stride, width });
            }
        }
    });
}
