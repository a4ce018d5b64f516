use crate::conv::interleave::copy_channels_last;
use crate::conv::{Axis, WindowAttributes, five, three};
use crate::matmul::split::{chunk, parts_for};
use crate::{Dims, TensorError};
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, Simd, dispatch};

/// What becomes of the values under a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// The largest; padding does not count.
    Max,
    /// The mean, over the padding too where `include_pad`.
    Average {
        /// Whether padding counts as zeros.
        include_pad: bool,
    },
    /// `(sum |x|^p)^(1/p)`
    Lp {
        /// The order of the norm, at least 1.
        p: u32,
    },
}

/// Sizes of a pooling operation, its spatial axes brought to three.
#[derive(Clone, Debug)]
pub struct PoolShape {
    /// Images.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Depth, height and width.
    pub axes: [Axis; 3],
    rank: usize,
}

impl PoolShape {
    /// The sizes that follow from an input `[N, C, ...]`, the window and attributes.
    pub fn new(
        x: &[usize],
        kernel: &[usize],
        attributes: &WindowAttributes,
    ) -> Result<PoolShape, TensorError> {
        if !(3..=5).contains(&x.len()) {
            return Err(TensorError(format!("pooling of an input of shape {x:?}")));
        }
        let axes = attributes.resolve(&x[2..], kernel)?;
        Ok(PoolShape { batch: x[0], channels: x[1], axes: three(&axes), rank: axes.len() })
    }

    /// The pooling of a strip of rows, with padding `[above, below]` in place of the image's.
    pub fn with_row_padding(mut self, padding: [usize; 2]) -> PoolShape {
        self.axes[1] = self.axes[1].with_padding(padding);
        self
    }

    /// Shape of the output.
    pub fn output(&self) -> Dims {
        let spatial = self.axes[3 - self.rank..].iter().map(|axis| axis.output);
        [self.batch, self.channels].into_iter().chain(spatial).collect()
    }
}

/// The part of a window within the input, for one output position of one axis.
#[derive(Clone, Copy)]
struct Span {
    first: usize,
    taps: usize,
    /// Taps within input and padding.
    padded: usize,
}

/// A planned pooling of an `f32` tensor with a channels-last output.
pub struct PoolPlan {
    isa: Isa,
    shape: PoolShape,
    reduction: Reduction,
    spans: [Vec<Span>; 3],
    x: [isize; 5],
    copy: Option<[isize; 5]>,
    parts: usize,
}

impl PoolPlan {
    /// Plans pooling of an input with these strides.
    pub fn new(
        isa: Isa,
        threads: usize,
        shape: PoolShape,
        reduction: Reduction,
        x_strides: &[isize],
    ) -> PoolPlan {
        let mut x = five(x_strides);
        let copy = (x[1] != 1 && shape.channels != 1).then_some(x);
        if copy.is_some() {
            let line = (shape.channels * shape.axes[2].input) as isize;
            let slice = line * shape.axes[1].input as isize;
            x = [slice * shape.axes[0].input as isize, 1, slice, line, shape.channels as isize];
        }
        let spans = shape.axes.map(|axis| {
            let padded = axis.input + axis.pad_begin + axis.pad_end;
            (0..axis.output)
                .map(|output| {
                    let taps = axis.taps_within(output);
                    let begin = output * axis.stride;
                    Span {
                        first: (begin + taps.start * axis.dilation).saturating_sub(axis.pad_begin),
                        taps: taps.len(),
                        padded: padded.saturating_sub(begin).div_ceil(axis.dilation).min(axis.kernel),
                    }
                })
                .collect()
        });
        let taps: usize = shape.axes.iter().map(|axis| axis.kernel).product();
        let outputs: usize = shape.axes.iter().map(|axis| axis.output).product();
        let elements = shape.batch * shape.channels * outputs;
        let parts = parts_for((elements as u64).saturating_mul((taps + 3) as u64 * 2), threads);
        PoolPlan { isa, shape, reduction, spans, x, copy, parts }
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        let pixels: usize = self.shape.axes.iter().map(|axis| axis.input).product();
        let copied = if self.copy.is_some() { self.shape.batch * pixels * self.shape.channels } else { 0 };
        copied * size_of::<f32>()
    }

    /// Runs the pooling.
    ///
    /// # Safety
    /// `x` is the first element of the input as planned, `out` has room for a channels-last output; `scratch` has
    /// [`scratch_bytes`](Self::scratch_bytes) and is aligned for `f32`.
    pub unsafe fn run(&self, mut x: *const f32, out: *mut f32, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        let [depth, height, width] = &self.shape.axes;
        if let Some(strides) = self.copy {
            let sizes = self.shape.axes.map(|axis| axis.input);
            let to = scratch.as_mut_ptr().cast();
            // SAFETY: scratch has room for the copy.
            unsafe {
                copy_channels_last(x, strides, self.shape.batch, self.shape.channels, sizes, to, pool);
            }
            x = to;
        }
        let lines = self.shape.batch * depth.output * height.output;
        let pointers = (Shared(x.cast_mut()), Shared(out));
        pool.run(self.parts, |part| {
            let (x, out) = (&pointers.0, &pointers.1);
            for line in chunk(lines, self.parts, part, 1) {
                let (slice, y) = (line / height.output, line % height.output);
                let (batch, z) = (slice / depth.output, slice % depth.output);
                let x = x.0.wrapping_offset(batch as isize * self.x[0]).cast_const();
                let out = out.0.wrapping_add(line * width.output * self.shape.channels);
                // SAFETY: a line of the output, which is this part's own, from an image of the input.
                dispatch!(self.isa, S => unsafe { self.line::<S>(x, z, y, out) });
            }
        });
    }

    /// # Safety
    /// `x` is an image of the input; `out` the line `z, y` of its output.
    #[inline(always)]
    unsafe fn line<S: Simd>(&self, x: *const f32, z: usize, y: usize, out: *mut f32) {
        // SAFETY: as granted.
        unsafe {
            match self.reduction {
                Reduction::Max => {
                    self.reduce::<S>(
                        x,
                        [z, y],
                        out,
                        f32::NEG_INFINITY,
                        #[inline(always)]
                        |a, v| S::max(a, v),
                        #[inline(always)]
                        |sum, _, _| sum,
                    );
                }
                Reduction::Average { include_pad } => {
                    self.reduce::<S>(
                        x,
                        [z, y],
                        out,
                        0.0,
                        #[inline(always)]
                        |a, v| S::add(a, v),
                        #[inline(always)]
                        |sum, within: usize, padded: usize| {
                            let count = if include_pad { padded } else { within };
                            S::div(sum, S::splat(count as f32))
                        },
                    );
                }
                Reduction::Lp { p: 1 } => {
                    self.reduce::<S>(
                        x,
                        [z, y],
                        out,
                        0.0,
                        #[inline(always)]
                        |a, v| S::add(a, S::abs(v)),
                        #[inline(always)]
                        |sum, _, _| sum,
                    );
                }
                Reduction::Lp { p: 2 } => {
                    self.reduce::<S>(
                        x,
                        [z, y],
                        out,
                        0.0,
                        #[inline(always)]
                        |a, v| S::mul_add(v, v, a),
                        #[inline(always)]
                        |sum, _, _| S::sqrt(sum),
                    );
                }
                Reduction::Lp { p } => {
                    let powers = |a, v| S::add(a, lanes::<S>(v, |v| v.abs().powf(p as f32)));
                    let root = |sum, _, _| lanes::<S>(sum, |sum| sum.powf(1.0 / p as f32));
                    self.reduce::<S>(x, [z, y], out, 0.0, powers, root);
                }
            }
        }
    }

    /// # Safety
    /// As for [`line`](Self::line).
    #[inline(always)]
    unsafe fn reduce<S: Simd>(
        &self,
        x: *const f32,
        [z, y]: [usize; 2],
        out: *mut f32,
        start: f32,
        combine: impl Fn(S::V, S::V) -> S::V,
        finish: impl Fn(S::V, usize, usize) -> S::V,
    ) {
        let channels = self.shape.channels;
        let (z, y) = (self.spans[0][z], self.spans[1][y]);
        let [depth, height, width] = self.shape.axes.map(|axis| axis.dilation as isize);
        let steps = [self.x[2] * depth, self.x[3] * height, self.x[4] * width];
        let first = z.first as isize * self.x[2] + y.first as isize * self.x[3];
        for (pixel, span) in self.spans[2].iter().enumerate() {
            let window = x.wrapping_offset(first + span.first as isize * self.x[4]);
            let out = out.wrapping_add(pixel * channels);
            let within = z.taps * y.taps * span.taps;
            let padded = z.padded * y.padded * span.padded;
            let window = Window { x: window, taps: [z.taps, y.taps, span.taps], steps, within, padded };
            let mut channel = 0;
            while channel < channels {
                // SAFETY: the window lies within the input; the channels are those of this pixel.
                channel += unsafe {
                    match (channels - channel) / S::LANES {
                        0 => window.reduce_partial::<S>(start, &combine, &finish, out, channel, channels),
                        1 => window.reduce::<S, 1>(start, &combine, &finish, out, channel),
                        2 => window.reduce::<S, 2>(start, &combine, &finish, out, channel),
                        3 => window.reduce::<S, 3>(start, &combine, &finish, out, channel),
                        _ => window.reduce::<S, 4>(start, &combine, &finish, out, channel),
                    }
                };
            }
        }
    }
}

/// The window of one output pixel: the first tap's channels, and how many taps lie how far apart on each axis.
#[derive(Clone, Copy)]
struct Window {
    x: *const f32,
    taps: [usize; 3],
    steps: [isize; 3],
    /// Taps within the input, and within input and padding.
    within: usize,
    padded: usize,
}

impl Window {
    /// Calls `f` with every tap's first channel.
    #[inline(always)]
    fn each(&self, mut f: impl FnMut(*const f32)) {
        for z in 0..self.taps[0] as isize {
            for y in 0..self.taps[1] as isize {
                let mut at = self.x.wrapping_offset(z * self.steps[0] + y * self.steps[1]);
                for _ in 0..self.taps[2] {
                    f(at);
                    at = at.wrapping_offset(self.steps[2]);
                }
            }
        }
    }

    /// Reduces `N` vectors of channels side by side, as the loop over few taps costs more than the taps. Returns the
    /// number of channels.
    ///
    /// # Safety
    /// The taps are readable and `out` is writable for these channels.
    #[inline(always)]
    unsafe fn reduce<S: Simd, const N: usize>(
        self,
        start: f32,
        combine: &impl Fn(S::V, S::V) -> S::V,
        finish: &impl Fn(S::V, usize, usize) -> S::V,
        out: *mut f32,
        channel: usize,
    ) -> usize {
        let mut sums = [S::splat(start); N];
        self.each(
            #[inline(always)]
            |at| {
                for (i, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: as the caller grants.
                    *sum = combine(*sum, unsafe { S::load(at.wrapping_add(channel + i * S::LANES)) });
                }
            },
        );
        for (i, sum) in sums.into_iter().enumerate() {
            // SAFETY: as the caller grants.
            unsafe {
                S::store(out.wrapping_add(channel + i * S::LANES), finish(sum, self.within, self.padded))
            };
        }
        N * S::LANES
    }

    /// Reduces the last channels, fewer than a vector has. Returns their number.
    ///
    /// # Safety
    /// As for [`reduce`](Self::reduce).
    #[inline(always)]
    unsafe fn reduce_partial<S: Simd>(
        self,
        start: f32,
        combine: &impl Fn(S::V, S::V) -> S::V,
        finish: &impl Fn(S::V, usize, usize) -> S::V,
        out: *mut f32,
        channel: usize,
        channels: usize,
    ) -> usize {
        let lanes = channels - channel;
        let mut sum = S::splat(start);
        self.each(
            #[inline(always)]
            |at| {
                // SAFETY: as the caller grants.
                sum = combine(sum, unsafe { S::load_partial(at.wrapping_add(channel), lanes) });
            },
        );
        // SAFETY: as the caller grants.
        unsafe { S::store_partial(out.wrapping_add(channel), finish(sum, self.within, self.padded), lanes) };
        lanes
    }
}

/// A function of each lane, for what has no vector form.
#[inline(always)]
fn lanes<S: Simd>(v: S::V, f: impl Fn(f32) -> f32) -> S::V {
    let mut values = [0.0f32; 16];
    // SAFETY: no level has more than 16 lanes.
    unsafe {
        S::store(values.as_mut_ptr(), v);
        for value in &mut values[..S::LANES] {
            *value = f(*value);
        }
        S::load(values.as_ptr())
    }
}

struct Shared(*mut f32);

// SAFETY: the parts' lines are their own.
unsafe impl Sync for Shared {}
