//! Squeeze and excite: the mean of each channel goes through a small network, whose result scales the channel.

use super::global::{GlobalPoolPlan, GlobalReduction};
use crate::Activation;
use crate::conv::five;
use crate::matmul::split::{chunk, parts_for};
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, Simd, dispatch};

/// A planned squeeze-excite block `y = x * gate(W2 inner(W1 mean(x) + b1) + b2)`, plus `x` where `residual`.
pub struct SqueezeExcitePlan {
    isa: Isa,
    mean: GlobalPoolPlan,
    batch: usize,
    channels: usize,
    hidden: usize,
    sizes: [usize; 3],
    x: [isize; 5],
    out: [isize; 5],
    inner: Option<Activation>,
    gate: Option<Activation>,
    residual: bool,
    parts: usize,
}

/// What a run of a [`SqueezeExcitePlan`] reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct SqueezeExciteArguments {
    /// First element of the input.
    pub x: *const f32,
    /// `[hidden, channels]` in C order.
    pub w1: *const f32,
    /// `[hidden]`, or null.
    pub b1: *const f32,
    /// `[channels, hidden]` in C order.
    pub w2: *const f32,
    /// `[channels]`, or null.
    pub b2: *const f32,
    /// First element of the output; may be the input where their strides are the same.
    pub out: *mut f32,
}

// SAFETY: the pointers are only used by `run`, whose caller answers for concurrent use.
unsafe impl Sync for SqueezeExciteArguments {}

impl SqueezeExcitePlan {
    /// Plans a block for an input `[N, C, ...]` with these strides and an output with those.
    pub fn new(
        isa: Isa,
        threads: usize,
        shape: &[usize],
        (x_strides, out_strides): (&[isize], &[isize]),
        hidden: usize,
        (inner, gate): (Option<Activation>, Option<Activation>),
        residual: bool,
    ) -> SqueezeExcitePlan {
        let mut sizes = [1; 3];
        sizes[5 - shape.len()..].copy_from_slice(&shape[2..]);
        SqueezeExcitePlan {
            isa,
            mean: GlobalPoolPlan::new(isa, threads, shape, x_strides, GlobalReduction::Average),
            batch: shape[0],
            channels: shape[1],
            hidden,
            sizes,
            x: five(x_strides),
            out: five(out_strides),
            inner,
            gate,
            residual,
            parts: parts_for(shape.iter().product::<usize>() as u64 * 12, threads),
        }
    }

    fn scales_len(&self) -> usize {
        (self.batch * self.channels).next_multiple_of(16)
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        let values = 2 * self.scales_len() + self.hidden.next_multiple_of(16);
        values * size_of::<f32>() + self.mean.scratch_bytes()
    }

    /// Runs the block.
    ///
    /// # Safety
    /// The arguments point to elements laid out as planned; `scratch` has [`scratch_bytes`](Self::scratch_bytes) and
    /// is aligned for `f32`.
    pub unsafe fn run(&self, arguments: &SqueezeExciteArguments, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        let (scratch, rest) = scratch.split_at_mut(self.scratch_bytes() - self.mean.scratch_bytes());
        let means = scratch.as_mut_ptr().cast::<f32>();
        let scales = means.wrapping_add(self.scales_len());
        let hidden = scales.wrapping_add(self.scales_len());
        // SAFETY: scratch has room for means, scales and the hidden values; the caller grants the rest.
        unsafe {
            self.mean.run(arguments.x, means, rest, pool);
            dispatch!(self.isa, S => self.excite::<S>(arguments, means, hidden, scales));
        }
        let [depth, height, _] = self.sizes;
        let lines = self.batch * depth * height;
        let shared = (*arguments, Shared(scales));
        pool.run(self.parts, |part| {
            let (arguments, scales) = &shared;
            for line in chunk(lines, self.parts, part, 1) {
                let (slice, y) = (line / height, line % height);
                let (n, z) = (slice / depth, slice % depth);
                let offset = |strides: &[isize; 5]| {
                    n as isize * strides[0] + z as isize * strides[2] + y as isize * strides[3]
                };
                let from = arguments.x.wrapping_offset(offset(&self.x));
                let to = arguments.out.wrapping_offset(offset(&self.out));
                let scales = scales.0.wrapping_add(n * self.channels).cast_const();
                // SAFETY: a line of input and output, which is this part's own.
                dispatch!(self.isa, S => unsafe { self.scale_line::<S>(from, scales, to) });
            }
        });
    }

    /// # Safety
    /// As for [`run`](Self::run), with room for the hidden values and the scales of every image.
    #[inline(always)]
    unsafe fn excite<S: Simd>(
        &self,
        arguments: &SqueezeExciteArguments,
        means: *const f32,
        hidden: *mut f32,
        scales: *mut f32,
    ) {
        for n in 0..self.batch {
            let (means, scales) =
                (means.wrapping_add(n * self.channels), scales.wrapping_add(n * self.channels));
            // SAFETY: the matrices have these sizes.
            unsafe {
                dense::<S>(arguments.w1, arguments.b1, means, self.channels, hidden, self.hidden);
                if let Some(inner) = self.inner {
                    inner.map_raw::<S>(hidden, hidden, self.hidden);
                }
                dense::<S>(arguments.w2, arguments.b2, hidden, self.hidden, scales, self.channels);
                if let Some(gate) = self.gate {
                    gate.map_raw::<S>(scales, scales, self.channels);
                }
                if self.residual {
                    for c in 0..self.channels {
                        *scales.add(c) += 1.0;
                    }
                }
            }
        }
    }

    /// # Safety
    /// `from` and `to` are the same line of input and output; `scales` has a value for each channel.
    #[inline(always)]
    unsafe fn scale_line<S: Simd>(&self, from: *const f32, scales: *const f32, to: *mut f32) {
        let width = self.sizes[2] as isize;
        // SAFETY: pixels and channels of the line.
        unsafe {
            if self.x[1] == 1 && self.out[1] == 1 {
                for pixel in 0..width {
                    let (from, to) =
                        (from.wrapping_offset(pixel * self.x[4]), to.wrapping_offset(pixel * self.out[4]));
                    let mut c = 0;
                    while c + S::LANES <= self.channels {
                        S::store(to.add(c), S::mul(S::load(from.add(c)), S::load(scales.add(c))));
                        c += S::LANES;
                    }
                    let left = self.channels - c;
                    if left > 0 {
                        let (x, scale) =
                            (S::load_partial(from.add(c), left), S::load_partial(scales.add(c), left));
                        S::store_partial(to.add(c), S::mul(x, scale), left);
                    }
                }
            } else {
                for c in 0..self.channels {
                    let scale = *scales.add(c);
                    let (from, to) = (
                        from.wrapping_offset(c as isize * self.x[1]),
                        to.wrapping_offset(c as isize * self.out[1]),
                    );
                    if self.x[4] == 1 && self.out[4] == 1 {
                        for pixel in 0..width as usize {
                            to.add(pixel).write(*from.add(pixel) * scale);
                        }
                    } else {
                        for pixel in 0..width {
                            to.offset(pixel * self.out[4]).write(*from.offset(pixel * self.x[4]) * scale);
                        }
                    }
                }
            }
        }
    }
}

/// `out = w x + b` for `w` `[rows, columns]` in C order.
///
/// # Safety
/// The pointers have these sizes.
#[inline(always)]
unsafe fn dense<S: Simd>(
    w: *const f32,
    b: *const f32,
    x: *const f32,
    columns: usize,
    out: *mut f32,
    rows: usize,
) {
    for row in 0..rows {
        // SAFETY: within the sizes granted.
        unsafe {
            let w = w.add(row * columns);
            let mut sum = S::splat(0.0);
            let mut i = 0;
            while i < columns {
                let lanes = S::LANES.min(columns - i);
                sum = S::mul_add(S::load_partial(w.add(i), lanes), S::load_partial(x.add(i), lanes), sum);
                i += lanes;
            }
            let bias = if b.is_null() { 0.0 } else { *b.add(row) };
            out.add(row).write(S::sum(sum) + bias);
        }
    }
}

struct Shared(*mut f32);

// SAFETY: only read, while the parts write lines of their own.
unsafe impl Sync for Shared {}
