//! From camera frames to what networks take, in one pass: resample, convert, scale, and store into a slot of a batch.

mod element;
mod placement;
mod source;

pub use element::Element;
pub use placement::{Fit, Placement};
pub use source::{Source, SourceFrame};

use crate::resample::{Geometry, Layers, MAX_LAYERS, Pixel, Plan, PlanCache, Sampling, resample};
use crate::{Frame, FrameMut};
use std::ops::Range;
use std::sync::Arc;
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, dispatch};

/// Multiplications below which another thread costs more than it saves.
const WORK_PER_PART: usize = 1 << 19;

/// What is made of each frame.
#[derive(Debug)]
pub struct Preprocess {
    /// Height and width of the output.
    pub size: [usize; 2],
    /// How a frame is fitted to the size.
    pub fit: Fit,
    /// How it is sampled.
    pub sampling: Sampling,
    /// Factor on each channel's level.
    pub scale: Vec<f32>,
    /// Added afterwards.
    pub offset: Vec<f32>,
    /// The level that fills what a letterbox leaves free.
    pub fill: f32,
    /// Whether channels are planes (NCHW) rather than the last axis (NHWC).
    pub planar: bool,
    /// Plans by geometry.
    pub plans: PlanCache,
}

/// One slot of a batch, contiguous.
#[derive(Clone, Copy, Debug)]
pub struct Slot<T> {
    pointer: *mut T,
}

// SAFETY: a slot is lent exclusively by the contract of its constructor; threads write disjoint rows of it.
unsafe impl<T: Send> Send for Slot<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Slot<T> {}

impl<T> Slot<T> {
    /// A slot from its first element.
    ///
    /// # Safety
    /// As many elements as the output has must be writable, and reached by nothing else, while the slot is in use.
    pub unsafe fn new(pointer: *mut T) -> Slot<T> {
        Slot { pointer }
    }
}

/// One frame on its way, with the plans of its layers.
struct Job<'a, T> {
    frame: &'a SourceFrame<'a>,
    plans: [Option<Arc<Plan>>; MAX_LAYERS],
    placement: Placement,
    slot: Slot<T>,
    work: usize,
}

impl Preprocess {
    /// Channels of the output.
    pub fn channels(&self) -> usize {
        self.scale.len()
    }

    /// Where a frame of this size lands.
    pub fn placement(&self, input: [usize; 2]) -> Placement {
        Placement::new(input, self.size, self.fit)
    }

    /// Prepares each frame into its slot.
    ///
    /// # Panics
    /// Where a frame is empty or has other channels than the output.
    pub fn run<T: Element>(&self, isa: Isa, frames: &[(SourceFrame<'_>, Slot<T>)], pool: &ThreadPool) {
        match frames {
            [] => {}
            [(frame, slot)] => {
                let job = self.job(frame, *slot);
                let rows = (WORK_PER_PART * self.size[0] / job.work.max(1)).max(1);
                pool.run_ranges(self.size[0], rows, 1, |range| self.run_rows(isa, &job, range));
            }
            _ => {
                let jobs: Vec<Job<'_, T>> =
                    frames.iter().map(|(frame, slot)| self.job(frame, *slot)).collect();
                let total: usize = jobs.iter().map(|job| job.work).sum();
                // Parts small enough that the threads end together, and no smaller than is worth handing over.
                let part = (total / (8 * pool.threads())).max(WORK_PER_PART);
                let mut parts: Vec<(usize, Range<usize>)> = Vec::new();
                for (index, job) in jobs.iter().enumerate() {
                    let step = (self.size[0] * part / job.work.max(1)).clamp(1, self.size[0]);
                    let starts = (0..self.size[0]).step_by(step);
                    parts.extend(starts.map(|start| (index, start..(start + step).min(self.size[0]))));
                }
                let narrow = ThreadPool::new(if total < 2 * WORK_PER_PART { 1 } else { pool.threads() });
                narrow.run(parts.len(), |part| {
                    let (index, range) = &parts[part];
                    self.run_rows(isa, &jobs[*index], range.clone());
                });
            }
        }
    }

    fn job<'a, T>(&self, frame: &'a SourceFrame<'a>, slot: Slot<T>) -> Job<'a, T> {
        assert_eq!(frame.channels(), self.channels(), "channels of the frame and of the output");
        let placement = self.placement(frame.size());
        let mut plans = [const { None }; MAX_LAYERS];
        for (plan, part) in plans.iter_mut().zip(frame.parts()) {
            let layer = [part.frame.height(), part.frame.width()];
            // A layer of chroma has half the frame's samples over the same picture.
            let shrink = |axis: usize| layer[axis] as f64 / frame.size()[axis] as f64;
            let interval = |[start, len]: [f64; 2], axis: usize| [start * shrink(axis), len * shrink(axis)];
            *plan = Some(self.plans.get(Geometry {
                input: layer,
                output: placement.inner,
                rows: interval(placement.rows, 0),
                columns: interval(placement.columns, 1),
                sampling: self.sampling,
                mirrored: part.is_mirrored(),
            }));
        }
        let seen = placement.rows[1] * placement.columns[1];
        let work = seen as usize * frame.channels() * 2 + self.size[0] * self.size[1] * frame.channels() * 8;
        Job { frame, plans, placement, slot, work }
    }

    fn run_rows<T: Element>(&self, isa: Isa, job: &Job<'_, T>, range: Range<usize>) {
        let Placement { inner, top, left, .. } = job.placement;
        let fill = self.fill_values::<T>();
        for y in range.clone() {
            if y < top || y >= top + inner[0] {
                self.fill_row(job, y, 0..self.size[1], &fill);
            } else if inner[1] < self.size[1] {
                self.fill_row(job, y, 0..left, &fill);
                self.fill_row(job, y, left + inner[1]..self.size[1], &fill);
            }
        }
        let rows = range.start.clamp(top, top + inner[0]) - top..range.end.clamp(top, top + inner[0]) - top;
        if rows.is_empty() || inner[1] == 0 {
            return;
        }
        let mut layers = Layers::empty();
        let mut fraction = 0;
        for (part, plan) in job.frame.parts().zip(job.plans.iter().flatten()) {
            fraction = plan.fraction();
            layers.add(part.frame, plan, &part.planes[..part.frame.channels()]);
        }
        let levels = 1.0 / f32::from(1u16 << fraction);
        let yuv = job.frame.is_yuv();
        layers.with(|layers| {
            resample(isa, layers, rows, |y, planes| {
                if yuv {
                    let (stride, width) = (planes.stride, planes.width);
                    source::yuv_to_rgb(isa, planes.data, stride, width, fraction);
                }
                for channel in 0..self.channels() {
                    let (scale, offset) = (self.scale[channel] * levels, self.offset[channel]);
                    let row = &planes.data[channel * planes.stride..][..planes.width];
                    // SAFETY: the row lies in the slot, and threads have disjoint rows.
                    unsafe {
                        let (start, step) = self.place(channel, top + y, left);
                        let out = job.slot.pointer.add(start);
                        if step == 1 {
                            let out = std::slice::from_raw_parts_mut(out, row.len());
                            dispatch!(isa, S => element::affine::<S, T>(row, scale, offset, out));
                        } else {
                            for (x, &value) in row.iter().enumerate() {
                                out.add(x * step).write(T::from_f32(f32::from(value) * scale + offset));
                            }
                        }
                    }
                }
            });
        });
    }

    /// Offset of an element in its slot, and elements from there to its right neighbour.
    fn place(&self, channel: usize, y: usize, x: usize) -> (usize, usize) {
        let [height, width] = self.size;
        if self.planar {
            ((channel * height + y) * width + x, 1)
        } else {
            ((y * width + x) * self.channels() + channel, self.channels())
        }
    }

    fn fill_values<T: Element>(&self) -> Vec<T> {
        let value = |(scale, offset): (&f32, &f32)| T::from_f32(self.fill * scale + offset);
        self.scale.iter().zip(&self.offset).map(value).collect()
    }

    fn fill_row<T: Element>(&self, job: &Job<'_, T>, y: usize, columns: Range<usize>, fill: &[T]) {
        for (channel, &value) in fill.iter().enumerate() {
            for x in columns.clone() {
                let (offset, _) = self.place(channel, y, x);
                // SAFETY: the row lies in the slot, and threads have disjoint rows.
                unsafe { job.slot.pointer.add(offset).write(value) }
            }
        }
    }
}

/// Resizes a frame into the middle of `out` and fills the rest; returns where it lies.
///
/// # Panics
/// Where the image is empty or the channels differ.
pub fn letterbox<T: Pixel>(
    isa: Isa,
    image: Frame<'_, T>,
    out: FrameMut<'_, T>,
    sampling: Sampling,
    fill: T,
    pool: &ThreadPool,
) -> Placement {
    let size = [out.height(), out.width()];
    let placement = Placement::new([image.height(), image.width()], size, Fit::Letterbox);
    let Placement { inner, top, left, .. } = placement;
    let [row, pixel, channel] = out.strides();
    let part = |y: usize, x: usize, height: usize, width: usize| {
        let offset = y as isize * row + x as isize * pixel;
        let pointer = out.row_ptr(0).wrapping_byte_offset(offset);
        // SAFETY: a rectangle of the output, written by one call at a time.
        unsafe { FrameMut::from_raw_parts(pointer, [height, width, out.channels()], [row, pixel, channel]) }
    };
    let (bottom, right) = (top + inner[0], left + inner[1]);
    for (y, x, height, width) in [
        (0, 0, top, size[1]),
        (bottom, 0, size[0] - bottom, size[1]),
        (top, 0, inner[0], left),
        (top, right, inner[0], size[1] - right),
    ] {
        let border = part(y, x, height, width);
        let mut scratch = Vec::new();
        for y in 0..if width == 0 { 0 } else { height } {
            // SAFETY: this thread alone writes.
            unsafe { border.write_row(y, &mut scratch, |row| row.fill(fill)) }
        }
    }
    crate::resample::resize(isa, image, part(top, left, inner[0], inner[1]), sampling, pool);
    placement
}

#[cfg(test)]
mod tests;
