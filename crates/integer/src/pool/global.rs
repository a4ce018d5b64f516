//! The mean of each channel over all pixels.

use super::rows;
use super::{Mean, MeanOutput};
use crate::at_level;
use crate::shared::Shared;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
use vedette_tensor::matmul::{chunk, parts_for};

/// The sums of each channel over all pixels of each image.
pub(super) struct ChannelSums {
    isa: Isa,
    batch: usize,
    channels: usize,
    sizes: [usize; 3],
    x: [isize; 3],
    /// Columns that are summed apart: a multiple of the channels, so that short pixels make long rows.
    period: usize,
    parts: usize,
}

impl ChannelSums {
    pub(super) fn new(isa: Isa, threads: usize, shape: &[usize], x: [isize; 3]) -> ChannelSums {
        let (batch, channels) = (shape[0], shape[1]);
        let mut sizes = [1; 3];
        sizes[5 - shape.len()..].copy_from_slice(&shape[2..]);
        let pixels: usize = sizes.iter().product();
        let period = rows::period(channels).min(channels * sizes[2].max(1));
        let parts = parts_for((batch * channels * pixels) as u64 / 4, threads);
        ChannelSums { isa, batch, channels, sizes, x, period, parts }
    }

    pub(super) fn pixels(&self) -> usize {
        self.sizes.iter().product()
    }

    /// Values of scratch memory: sums of each part, then of each image and channel.
    pub(super) fn scratch_len(&self) -> usize {
        self.parts * self.period + self.channels
    }

    /// Calls `done` with the image and its sums, one image after the other.
    ///
    /// # Safety
    /// `x` is the first element of the input as planned.
    pub(super) unsafe fn run(
        &self,
        x: *const u8,
        scratch: &mut [u64],
        pool: &ThreadPool,
        mut done: impl FnMut(usize, &[u64]),
    ) {
        let [depth, height, width] = self.sizes;
        let lines = depth * height;
        let (partial, totals) = scratch[..self.scratch_len()].split_at_mut(self.parts * self.period);
        for n in 0..self.batch {
            partial.fill(0);
            let shared = Shared::new((x.wrapping_offset(n as isize * self.x[0]), partial.as_mut_ptr()));
            pool.run(self.parts, |part| {
                let (x, partial) = shared.get();
                // SAFETY: the sums of this part.
                let sums = unsafe {
                    std::slice::from_raw_parts_mut(partial.wrapping_add(part * self.period), self.period)
                };
                for line in chunk(lines, self.parts, part, 1) {
                    let (z, y) = ((line / height) as isize, (line % height) as isize);
                    let at = x.wrapping_offset(z * self.x[1] + y * self.x[2]);
                    // SAFETY: a line of the input, whose pixels follow one another.
                    let row = unsafe { std::slice::from_raw_parts(at, width * self.channels) };
                    at_level!(self.isa, rows::add_columns(row, self.period, &mut *sums));
                }
            });
            totals.fill(0);
            for sums in partial.chunks_exact(self.channels.max(1)) {
                for (total, sum) in totals.iter_mut().zip(sums) {
                    *total += sum;
                }
            }
            done(n, totals);
        }
    }
}

/// A planned mean of each channel of bytes whose channels lie next to each other, as do the pixels of a line.
pub struct GlobalAveragePlan {
    sums: ChannelSums,
    mean: Mean,
}

impl GlobalAveragePlan {
    /// Plans it for an input `[N, C, ...]` with these strides of images, slices and lines.
    pub fn new(isa: Isa, threads: usize, shape: &[usize], x: [isize; 3], mean: Mean) -> GlobalAveragePlan {
        GlobalAveragePlan { sums: ChannelSums::new(isa, threads, shape, x), mean }
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        self.sums.scratch_len() * size_of::<u64>()
    }

    /// Writes the means, `[N, C]`.
    ///
    /// # Safety
    /// `x` is the first element of the input as planned, `out` has room for the means; `scratch` has
    /// [`scratch_bytes`](Self::scratch_bytes) and is aligned for `u64`.
    pub unsafe fn run(&self, x: *const u8, out: *mut u8, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        let pixels = self.sums.pixels();
        let factor = self.mean.factor(pixels.max(1));
        let zeros = pixels as i64 * i64::from(self.mean.x.zero_point());
        // SAFETY: the memory is there and aligned; any bytes are numbers.
        let scratch = unsafe {
            std::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast::<u64>(), self.sums.scratch_len())
        };
        let channels = self.sums.channels;
        // SAFETY: as granted by the caller.
        unsafe {
            self.sums.run(x, scratch, pool, |n, sums| {
                for (c, &sum) in sums.iter().enumerate() {
                    let f = (sum as i64 - zeros) as f32 * factor;
                    match self.mean.output {
                        MeanOutput::Bytes(to) => out.add(n * channels + c).write(to.apply(f)),
                        MeanOutput::Real => out.cast::<f32>().add(n * channels + c).write(f),
                    }
                }
            });
        }
    }
}
