//! Squeeze and excite on bytes: the mean of each channel goes through a small network of floats, whose result scales
//! the channel.

use super::global::ChannelSums;
use super::rows;
use crate::elementwise::map2;
use crate::shared::Shared;
use crate::{Quantization, Requantize, at_level};
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
use vedette_tensor::Activation;
use vedette_tensor::matmul::{chunk, parts_for};

/// A planned block `y = x gate(W2 inner(W1 mean(x) + b1) + b2)`, plus `x` where `residual`.
pub struct SqueezeExcitePlan {
    isa: Isa,
    sums: ChannelSums,
    batch: usize,
    channels: usize,
    hidden: usize,
    sizes: [usize; 3],
    x: [isize; 3],
    input: Quantization,
    output: Requantize,
    inner: Option<Activation>,
    gate: Option<Activation>,
    residual: bool,
    parts: usize,
}

/// What a run of a [`SqueezeExcitePlan`] reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct SqueezeExciteArguments {
    /// First element of the input.
    pub x: *const u8,
    /// `[hidden, channels]` in C order.
    pub w1: *const f32,
    /// `[hidden]`, or null.
    pub b1: *const f32,
    /// `[channels, hidden]` in C order.
    pub w2: *const f32,
    /// `[channels]`, or null.
    pub b2: *const f32,
    /// First element of the channels-last output; may be the input where that is dense.
    pub out: *mut u8,
}

impl SqueezeExcitePlan {
    /// Plans a block for an input `[N, C, ...]` with these strides of images, slices and lines, whose channels lie
    /// next to each other, as do the pixels of a line.
    pub fn new(
        isa: Isa,
        threads: usize,
        (shape, x): (&[usize], [isize; 3]),
        (input, output): (Quantization, Requantize),
        hidden: usize,
        (inner, gate): (Option<Activation>, Option<Activation>),
        residual: bool,
    ) -> SqueezeExcitePlan {
        let mut sizes = [1; 3];
        sizes[5 - shape.len()..].copy_from_slice(&shape[2..]);
        SqueezeExcitePlan {
            isa,
            sums: ChannelSums::new(isa, threads, shape, x),
            batch: shape[0],
            channels: shape[1],
            hidden,
            sizes,
            x,
            input,
            output,
            inner,
            gate,
            residual,
            parts: parts_for(shape.iter().product::<usize>() as u64 / 2, threads),
        }
    }

    /// Factors of one image: those of the channels, repeated to long rows.
    fn period(&self) -> usize {
        rows::period(self.channels)
    }

    fn floats(&self) -> usize {
        self.batch * self.period() + self.channels + self.hidden
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        self.sums.scratch_len() * size_of::<u64>() + self.floats() * size_of::<f32>()
    }

    /// Runs the block.
    ///
    /// # Safety
    /// The arguments point to elements as planned; `scratch` has [`scratch_bytes`](Self::scratch_bytes) and is aligned
    /// for `u64`.
    pub unsafe fn run(&self, arguments: &SqueezeExciteArguments, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        let (channels, hidden, period) = (self.channels, self.hidden, self.period());
        // SAFETY: the memory is there, apart and aligned; any bytes are numbers.
        let (sums, floats) = unsafe {
            let (sums, floats) = scratch.split_at_mut(self.sums.scratch_len() * size_of::<u64>());
            (
                std::slice::from_raw_parts_mut(sums.as_mut_ptr().cast::<u64>(), self.sums.scratch_len()),
                std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast::<f32>(), self.floats()),
            )
        };
        let (factors, floats) = floats.split_at_mut(self.batch * period);
        let (means, inside) = floats.split_at_mut(channels);
        let pixels = self.sums.pixels();
        let step = self.input.scale() / pixels.max(1) as f32;
        let zeros = pixels as i64 * i64::from(self.input.zero_point());
        // SAFETY: the input is as planned, and the matrices have these sizes.
        unsafe {
            let SqueezeExciteArguments { w1, b1, w2, b2, .. } = *arguments;
            self.sums.run(arguments.x, sums, pool, |n, sums| {
                for (mean, &sum) in means.iter_mut().zip(sums) {
                    *mean = (sum as i64 - zeros) as f32 * step;
                }
                at_level!(self.isa, dense(w1, b1, &*means, &mut *inside));
                if let Some(inner) = self.inner {
                    // The portable form at every level, so that all compute the same bytes.
                    inner.apply(Isa::SCALAR, inside);
                }
                let factors = &mut factors[n * period..(n + 1) * period];
                let (gates, repeats) = factors.split_at_mut(channels);
                at_level!(self.isa, dense(w2, b2, &*inside, &mut *gates));
                if let Some(gate) = self.gate {
                    gate.apply(Isa::SCALAR, gates);
                }
                for gate in gates.iter_mut() {
                    *gate = (if self.residual { *gate + 1.0 } else { *gate }) * self.input.scale();
                }
                for repeat in repeats.chunks_exact_mut(channels.max(1)) {
                    repeat.copy_from_slice(gates);
                }
            });
        }
        debug_assert_eq!(inside.len(), hidden);
        let [depth, height, width] = self.sizes;
        let (lines, row) = (self.batch * depth * height, width * channels);
        let shared = Shared::new((arguments.x, arguments.out, factors.as_ptr()));
        pool.run(self.parts, |part| {
            let (x, out, factors) = shared.get();
            for line in chunk(lines, self.parts, part, 1) {
                let (slice, y) = (line / height, line % height);
                let (n, z) = (slice / depth, slice % depth);
                let offset = n as isize * self.x[0] + z as isize * self.x[1] + y as isize * self.x[2];
                let (from, to) = (x.wrapping_offset(offset), out.wrapping_add(line * row));
                // SAFETY: a line of input and output, which is this part's own, and the factors of its image.
                unsafe {
                    let factors = std::slice::from_raw_parts(factors.wrapping_add(n * period), period);
                    at_level!(self.isa, self.scale_line(from, to, row, factors));
                }
            }
        });
    }

    /// # Safety
    /// `row` bytes are readable at `from` and writable at `to`, which may be the same memory.
    #[inline(always)]
    unsafe fn scale_line(&self, from: *const u8, to: *mut u8, row: usize, factors: &[f32]) {
        let (zero, output) = (f32::from(self.input.zero_point()), self.output);
        for start in (0..row).step_by(factors.len()) {
            let n = factors.len().min(row - start);
            let pointers = [
                to.wrapping_add(start),
                from.wrapping_add(start).cast_mut(),
                factors.as_ptr().cast_mut().cast(),
            ];
            // SAFETY: bytes of the row, and a factor for each.
            unsafe {
                map2(
                    pointers,
                    n,
                    #[inline(always)]
                    |x: u8, factor: f32| output.apply((f32::from(x) - zero) * factor),
                );
            }
        }
    }
}

/// `out = w x + b` for `w` in C order. Sums are taken in sixteen lanes at every level, so that all compute the same.
///
/// # Safety
/// `w` has `out.len() x.len()` values, and `b` `out.len()` if it is not null.
#[inline(always)]
unsafe fn dense(w: *const f32, b: *const f32, x: &[f32], out: &mut [f32]) {
    /// Rows whose sums are taken together, as each addition waits for the one before.
    const ROWS: usize = 4;
    let columns = x.len();
    let mut row = 0;
    // SAFETY: rows of the matrix, and a value for each.
    unsafe {
        while row + ROWS <= out.len() {
            let sums = dot::<ROWS>(w.add(row * columns), x);
            for (i, sum) in sums.into_iter().enumerate() {
                out[row + i] = sum + if b.is_null() { 0.0 } else { *b.add(row + i) };
            }
            row += ROWS;
        }
        while row < out.len() {
            let [sum] = dot::<1>(w.add(row * columns), x);
            out[row] = sum + if b.is_null() { 0.0 } else { *b.add(row) };
            row += 1;
        }
    }
}

/// The products of `N` rows of a matrix with `x`.
///
/// # Safety
/// `w` has `N x.len()` values.
#[inline(always)]
unsafe fn dot<const N: usize>(w: *const f32, x: &[f32]) -> [f32; N] {
    const LANES: usize = 16;
    let columns = x.len();
    let whole = columns / LANES * LANES;
    let mut sums = [[0.0f32; LANES]; N];
    // SAFETY: columns of the rows.
    unsafe {
        for column in (0..whole).step_by(LANES) {
            let x = x.as_ptr().add(column).cast::<[f32; LANES]>().read();
            for (i, sums) in sums.iter_mut().enumerate() {
                let w = w.add(i * columns + column).cast::<[f32; LANES]>().read();
                for lane in 0..LANES {
                    sums[lane] += w[lane] * x[lane];
                }
            }
        }
        for column in whole..columns {
            for (i, sums) in sums.iter_mut().enumerate() {
                sums[column - whole] += *w.add(i * columns + column) * x[column];
            }
        }
    }
    sums.map(|mut sums| {
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                sums[lane] += sums[lane + half];
            }
        }
        sums[0]
    })
}
