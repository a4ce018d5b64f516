//! Reductions over all pixels of an image, channel by channel.

use crate::conv::five;
use crate::matmul::split::{chunk, parts_for};
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, Simd, dispatch};

/// What becomes of the pixels of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalReduction {
    /// The mean.
    Average,
    /// The largest.
    Max,
    /// `(sum |x|^p)^(1/p)`
    Lp {
        /// The order of the norm, at least 1.
        p: u32,
    },
}

impl GlobalReduction {
    fn start(self) -> f32 {
        if self == GlobalReduction::Max { f32::NEG_INFINITY } else { 0.0 }
    }

    fn combine(self, a: f32, b: f32) -> f32 {
        if self == GlobalReduction::Max { a.max(b) } else { a + b }
    }

    fn finish(self, sum: f32, count: usize) -> f32 {
        match self {
            GlobalReduction::Average => sum / count as f32,
            GlobalReduction::Max => sum,
            GlobalReduction::Lp { p: 1 } => sum,
            GlobalReduction::Lp { p: 2 } => sum.sqrt(),
            GlobalReduction::Lp { p } => sum.powf(1.0 / p as f32),
        }
    }
}

/// A planned reduction of an `f32` tensor `[N, C, ...]` of any strides to `[N, C]`.
pub struct GlobalPoolPlan {
    isa: Isa,
    batch: usize,
    channels: usize,
    sizes: [usize; 3],
    x: [isize; 5],
    reduction: GlobalReduction,
    parts: usize,
}

impl GlobalPoolPlan {
    /// Plans the reduction of an input with this shape and these strides.
    pub fn new(
        isa: Isa,
        threads: usize,
        shape: &[usize],
        strides: &[isize],
        reduction: GlobalReduction,
    ) -> GlobalPoolPlan {
        let mut sizes = [1; 3];
        sizes[5 - shape.len()..].copy_from_slice(&shape[2..]);
        let work = shape.iter().product::<usize>() as u64 * 8;
        let (lines, parts) = (sizes[0] * sizes[1], parts_for(work, threads));
        GlobalPoolPlan {
            isa,
            batch: shape[0],
            channels: shape[1],
            sizes,
            x: five(strides),
            reduction,
            parts: parts.min(lines.max(1)),
        }
    }

    /// Pixels of an image.
    fn pixels(&self) -> usize {
        self.sizes.iter().product()
    }

    fn step(&self) -> usize {
        self.channels.next_multiple_of(16)
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        self.parts * self.step() * size_of::<f32>()
    }

    /// Runs the reduction.
    ///
    /// # Safety
    /// `x` is the first element of the input as planned, `out` has room for `[N, C]`; `scratch` has
    /// [`scratch_bytes`](Self::scratch_bytes) and is aligned for `f32`.
    pub unsafe fn run(&self, x: *const f32, out: *mut f32, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        let partial = scratch.as_mut_ptr().cast::<f32>();
        for n in 0..self.batch {
            let x = x.wrapping_offset(n as isize * self.x[0]);
            // SAFETY: an image of the input; scratch has room for every part's sums.
            unsafe { self.partial_sums(x, partial, pool) };
            for c in 0..self.channels {
                let mut sum = self.reduction.start();
                for part in 0..self.parts {
                    // SAFETY: written by partial_sums.
                    sum = self.reduction.combine(sum, unsafe { *partial.add(part * self.step() + c) });
                }
                // SAFETY: within [N, C].
                unsafe {
                    out.add(n * self.channels + c).write(self.reduction.finish(sum, self.pixels()));
                }
            }
        }
    }

    /// # Safety
    /// `x` is an image of the input; `partial` has room for [`scratch_bytes`](Self::scratch_bytes).
    unsafe fn partial_sums(&self, x: *const f32, partial: *mut f32, pool: &ThreadPool) {
        let [depth, height, width] = self.sizes;
        let pointers = (Shared(x.cast_mut()), Shared(partial));
        pool.run(self.parts, |part| {
            let (x, partial) = (&pointers.0, &pointers.1);
            // SAFETY: the sums of this part.
            let sums =
                unsafe { std::slice::from_raw_parts_mut(partial.0.add(part * self.step()), self.channels) };
            sums.fill(self.reduction.start());
            // Lines that follow one another are one.
            let joined = depth == 1 && self.x[3] == width as isize * self.x[4];
            let total = depth * height;
            let range = chunk(total, self.parts, part, 1);
            if joined {
                let first = x.0.wrapping_offset(range.start as isize * self.x[3]);
                let pixels = range.len() * width;
                // SAFETY: these lines of the image.
                dispatch!(self.isa, S => unsafe { self.add_line::<S>(first, pixels, &mut *sums) });
            } else {
                for line in range {
                    let (z, y) = (line / height, line % height);
                    let first = x.0.wrapping_offset(z as isize * self.x[2] + y as isize * self.x[3]);
                    // SAFETY: a line of the image.
                    dispatch!(self.isa, S => unsafe { self.add_line::<S>(first, width, &mut *sums) });
                }
            }
        });
    }

    /// # Safety
    /// `line` has this many pixels.
    #[inline(always)]
    unsafe fn add_line<S: Simd>(&self, line: *const f32, pixels: usize, sums: &mut [f32]) {
        // SAFETY: as granted.
        unsafe {
            match self.reduction {
                GlobalReduction::Average => {
                    self.add_with::<S>(line, pixels, sums, |a, v| S::add(a, v), |v| v)
                }
                GlobalReduction::Max => self.add_with::<S>(line, pixels, sums, |a, v| S::max(a, v), |v| v),
                GlobalReduction::Lp { p: 1 } => {
                    self.add_with::<S>(line, pixels, sums, |a, v| S::add(a, S::abs(v)), f32::abs);
                }
                GlobalReduction::Lp { p: 2 } => {
                    self.add_with::<S>(line, pixels, sums, |a, v| S::mul_add(v, v, a), |v| v * v);
                }
                GlobalReduction::Lp { p } => {
                    for (c, sum) in sums.iter_mut().enumerate() {
                        let plane = line.wrapping_offset(c as isize * self.x[1]);
                        for pixel in 0..pixels as isize {
                            *sum += (*plane.offset(pixel * self.x[4])).abs().powf(p as f32);
                        }
                    }
                }
            }
        }
    }

    /// # Safety
    /// As for [`add_line`](Self::add_line).
    #[inline(always)]
    unsafe fn add_with<S: Simd>(
        &self,
        line: *const f32,
        pixels: usize,
        sums: &mut [f32],
        combine: impl Fn(S::V, S::V) -> S::V,
        term: impl Fn(f32) -> f32,
    ) {
        // Sums of this many pixels are added to the totals, so that a large image loses no more precision than this.
        const RUN: usize = 512;
        let start = S::splat(self.reduction.start());
        let (channel_step, pixel_step) = (self.x[1], self.x[4]);
        // SAFETY: channels and pixels of the line.
        unsafe {
            if channel_step == 1 {
                for first in (0..pixels).step_by(RUN) {
                    let run = RUN.min(pixels - first);
                    let mut channel = 0;
                    while channel < self.channels {
                        let left = self.channels - channel;
                        let mut at = line.wrapping_offset(first as isize * pixel_step).wrapping_add(channel);
                        let to = sums.as_mut_ptr().wrapping_add(channel);
                        // Even and odd pixels are summed apart, as each addition waits for the one before; and for
                        // every channel alike, so that equal channels have equal means.
                        if left >= 4 * S::LANES {
                            let (mut even, mut odd) = ([start; 4], [start; 4]);
                            for _ in 0..run / 2 {
                                let next = at.wrapping_offset(pixel_step);
                                for (i, (even, odd)) in even.iter_mut().zip(&mut odd).enumerate() {
                                    *even = combine(*even, S::load(at.add(i * S::LANES)));
                                    *odd = combine(*odd, S::load(next.add(i * S::LANES)));
                                }
                                at = next.wrapping_offset(pixel_step);
                            }
                            for (i, (mut even, odd)) in even.into_iter().zip(odd).enumerate() {
                                if run % 2 == 1 {
                                    even = combine(even, S::load(at.add(i * S::LANES)));
                                }
                                let to = to.add(i * S::LANES);
                                let sum = self.join::<S>(even, odd);
                                S::store(to, self.join::<S>(S::load(to), sum));
                            }
                            channel += 4 * S::LANES;
                        } else {
                            let lanes = S::LANES.min(left);
                            let (mut even, mut odd) = (start, start);
                            for _ in 0..run / 2 {
                                let next = at.wrapping_offset(pixel_step);
                                even = combine(even, S::load_partial(at, lanes));
                                odd = combine(odd, S::load_partial(next, lanes));
                                at = next.wrapping_offset(pixel_step);
                            }
                            if run % 2 == 1 {
                                even = combine(even, S::load_partial(at, lanes));
                            }
                            let sum = self.join::<S>(even, odd);
                            S::store_partial(to, self.join::<S>(S::load_partial(to, lanes), sum), lanes);
                            channel += lanes;
                        }
                    }
                }
            } else {
                for (c, total) in sums.iter_mut().enumerate() {
                    let plane = line.wrapping_offset(c as isize * channel_step);
                    let mut pixel = 0;
                    if pixel_step == 1 {
                        let mut sum = [start; 4];
                        while pixel + 4 * S::LANES <= pixels {
                            for (i, sum) in sum.iter_mut().enumerate() {
                                *sum = combine(*sum, S::load(plane.add(pixel + i * S::LANES)));
                            }
                            pixel += 4 * S::LANES;
                        }
                        let sum =
                            self.join::<S>(self.join::<S>(sum[0], sum[1]), self.join::<S>(sum[2], sum[3]));
                        let sum = if self.reduction == GlobalReduction::Max {
                            S::max_lane(sum)
                        } else {
                            S::sum(sum)
                        };
                        *total = self.reduction.combine(*total, sum);
                    }
                    for pixel in pixel as isize..pixels as isize {
                        *total = self.reduction.combine(*total, term(*plane.offset(pixel * pixel_step)));
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn join<S: Simd>(&self, a: S::V, b: S::V) -> S::V {
        if self.reduction == GlobalReduction::Max { S::max(a, b) } else { S::add(a, b) }
    }
}

struct Shared(*mut f32);

// SAFETY: each part has sums of its own.
unsafe impl Sync for Shared {}
