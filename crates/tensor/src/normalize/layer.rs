use crate::elementwise::PARALLEL_GRAIN;
use crate::softmax::Shared;
use crate::{DType, TensorError, View, ViewMut};
use std::ops::Range;
use vedette_runtime::ThreadPool;
use vedette_simd::{AsFloat32, Isa, Simd, Store, dispatch, dispatch_rounding};

/// Where vectors lie, and what they are normalised with; statistics may be null.
struct Vectors<'a> {
    from: &'a Shared,
    to: &'a Shared,
    scale: &'a [f32],
    bias: Option<&'a [f32]>,
    means: &'a Shared,
    deviations: &'a Shared,
}

/// Normalises vectors of `size` contiguous values: by mean and variance, or by the root of the mean square alone.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    /// Values in a vector.
    pub size: usize,
    /// Added to the variance.
    pub epsilon: f32,
    /// Whether the mean is subtracted (LayerNormalization) or not (RMSNormalization).
    pub centred: bool,
    /// Level to run at.
    pub isa: Isa,
}

impl LayerNorm {
    /// Normalises every vector: `(x - mean) / sqrt(variance + epsilon) * scale + bias`.
    ///
    /// Input and output are f32, contiguous, and may be the same memory; or the output is bf16, elsewhere. Scale and bias
    /// have `size` values.
    /// Where asked for, the means and the inverse deviations are written, one for each vector.
    pub fn run(
        &self,
        input: &View<'_>,
        scale: &[f32],
        bias: Option<&[f32]>,
        output: &mut ViewMut<'_>,
        statistics: [Option<&mut [f32]>; 2],
        pool: &ThreadPool,
    ) -> Result<(), TensorError> {
        let size = self.size;
        let wrong = |what: &str| Err(TensorError(format!("layer normalisation: {what}")));
        let count = output.len().checked_div(size).unwrap_or(0);
        let rounds = output.dtype() == DType::BF16;
        if input.dtype() != DType::F32
            || !(rounds || output.dtype() == DType::F32)
            || input.len() != output.len()
        {
            return wrong("the input must be float32, the output that or bfloat16, and both of one size");
        }
        if !input.is_contiguous() || !output.is_contiguous() || count * size != input.len() {
            return wrong("input and output must be contiguous vectors");
        }
        if scale.len() != size || bias.is_some_and(|bias| bias.len() != size) {
            return wrong("scale and bias must have one value for each of a vector's");
        }
        let [means, deviations] = statistics;
        if [&means, &deviations].iter().any(|values| values.as_ref().is_some_and(|v| v.len() != count)) {
            return wrong("statistics must have one value for each vector");
        }
        let (from, to) = (Shared(input.as_ptr().cast_mut()), Shared(output.as_mut_ptr()));
        let pointer = |values: Option<&mut [f32]>| {
            Shared(values.map_or(std::ptr::null_mut(), |v| v.as_mut_ptr().cast()))
        };
        let (means, deviations) = (pointer(means), pointer(deviations));
        pool.run_ranges(count, PARALLEL_GRAIN.div_ceil(3 * size.max(1)), 1, |range| {
            let vectors =
                Vectors { from: &from, to: &to, scale, bias, means: &means, deviations: &deviations };
            // SAFETY: every tensor has `count` vectors or values; those of a range are this thread's alone.
            unsafe {
                if rounds {
                    dispatch_rounding!(self.isa, S, O => self.vectors::<S, O>(&vectors, range.clone()));
                } else {
                    dispatch!(self.isa, S => self.vectors::<S, AsFloat32>(&vectors, range.clone()));
                }
            }
        });
        Ok(())
    }

    /// # Safety
    /// The vectors of this range are there, and written by nobody else.
    #[inline(always)]
    unsafe fn vectors<S: Simd, O: Store>(&self, vectors: &Vectors<'_>, range: Range<usize>) {
        for vector in range {
            // SAFETY: as granted by the caller.
            unsafe {
                let from = vectors.from.get().cast::<f32>().add(vector * self.size);
                let to = vectors.to.get().add(vector * self.size * O::BYTES);
                let (mean, deviation) = self.vector::<S, O>(from, to, vectors.scale, vectors.bias);
                for (values, x) in [(vectors.means, mean), (vectors.deviations, deviation)] {
                    if !values.get().is_null() {
                        values.get().cast::<f32>().add(vector).write(x);
                    }
                }
            }
        }
    }

    /// # Safety
    /// `size` values are readable at `from` and writable at `to`; scale and bias have as many.
    #[inline(always)]
    unsafe fn vector<S: Simd, O: Store>(
        &self,
        from: *const f32,
        to: *mut u8,
        scale: &[f32],
        bias: Option<&[f32]>,
    ) -> (f32, f32) {
        let n = self.size;
        // SAFETY: every access is below n, as granted by the caller.
        unsafe {
            let mean = if self.centred {
                sum::<S>(
                    from,
                    n,
                    |x| x,
                    #[inline(always)]
                    |x| x,
                ) / n as f32
            } else {
                0.0
            };
            let centre = S::splat(mean);
            let squares = sum::<S>(
                from,
                n,
                |x| (x - mean) * (x - mean),
                #[inline(always)]
                |x| {
                    let x = S::sub(x, centre);
                    S::mul(x, x)
                },
            );
            let inverse = 1.0 / (squares / n as f32 + self.epsilon).sqrt();
            let factor = S::splat(inverse);
            // Compiled apart it would lack the level's instructions.
            let normalise = std::convert::identity(
                #[inline(always)]
                |x: S::V, scale: S::V, bias: Option<S::V>| {
                    let y = S::mul(S::mul(S::sub(x, centre), factor), scale);
                    bias.map_or(y, |bias| S::add(y, bias))
                },
            );
            let (scale, bias) = (scale.as_ptr(), bias.map(<[f32]>::as_ptr));
            let whole = n / S::LANES * S::LANES;
            let vector = std::convert::identity(
                #[inline(always)]
                |i: usize| {
                    let bias = bias.map(|bias| S::load(bias.add(i)));
                    normalise(S::load(from.add(i)), S::load(scale.add(i)), bias)
                },
            );
            let pairs = n / (2 * S::LANES) * (2 * S::LANES);
            for i in (0..pairs).step_by(2 * S::LANES) {
                O::store_pair::<S>(to, i, [vector(i), vector(i + S::LANES)]);
            }
            if pairs < whole {
                O::store::<S>(to, pairs, vector(pairs), S::LANES);
            }
            if whole < n {
                let lanes = n - whole;
                let load = |from: *const f32| S::load_partial(from.add(whole), lanes);
                O::store::<S>(to, whole, normalise(load(from), load(scale), bias.map(load)), lanes);
            }
            (mean, inverse)
        }
    }
}

/// # Safety
/// `n` values are readable at `from`.
#[inline(always)]
unsafe fn sum<S: Simd>(
    from: *const f32,
    n: usize,
    single: impl Fn(f32) -> f32,
    vector: impl Fn(S::V) -> S::V,
) -> f32 {
    let mut totals = [S::splat(0.0); 4];
    let mut i = 0;
    // SAFETY: accesses are at i.. with at most n - i values.
    unsafe {
        while i + 4 * S::LANES <= n {
            for (k, total) in totals.iter_mut().enumerate() {
                *total = S::add(*total, vector(S::load(from.add(i + k * S::LANES))));
            }
            i += 4 * S::LANES;
        }
        while i + S::LANES <= n {
            totals[0] = S::add(totals[0], vector(S::load(from.add(i))));
            i += S::LANES;
        }
        let total = S::add(S::add(totals[0], totals[1]), S::add(totals[2], totals[3]));
        (i..n).fold(S::sum(total), |sum, i| sum + single(*from.add(i)))
    }
}
