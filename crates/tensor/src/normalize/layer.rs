use crate::elementwise::PARALLEL_GRAIN;
use crate::softmax::Shared;
use crate::{DType, TensorError, View, ViewMut};
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, Simd, dispatch};

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
    /// Input and output are f32, contiguous, and may be the same memory; scale and bias have `size` values.
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
        if input.dtype() != DType::F32 || output.dtype() != DType::F32 || input.len() != output.len() {
            return wrong("input and output must be float32 and of one size");
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
            dispatch!(self.isa, S => {
                for vector in range.clone() {
                    // SAFETY: vector < count, and every tensor has that many vectors or values; those of a range are
                    // this thread's alone.
                    unsafe {
                        let from = from.get().cast::<f32>().add(vector * size);
                        let to = to.get().cast::<f32>().add(vector * size);
                        let (mean, deviation) = self.vector::<S>(from, to, scale, bias);
                        for (values, x) in [(means, mean), (deviations, deviation)] {
                            if !values.get().is_null() {
                                values.get().cast::<f32>().add(vector).write(x);
                            }
                        }
                    }
                }
            });
        });
        Ok(())
    }

    /// # Safety
    /// `size` values are readable at `from` and writable at `to`; scale and bias have as many.
    #[inline(always)]
    unsafe fn vector<S: Simd>(
        &self,
        from: *const f32,
        to: *mut f32,
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
            let mut i = 0;
            while i < n {
                let lanes = S::LANES.min(n - i);
                let x = S::load_partial(from.add(i), lanes);
                let scale = S::load_partial(scale.as_ptr().add(i), lanes);
                let mut y = S::mul(S::mul(S::sub(x, centre), factor), scale);
                if let Some(bias) = bias {
                    y = S::add(y, S::load_partial(bias.as_ptr().add(i), lanes));
                }
                S::store_partial(to.add(i), y, lanes);
                i += lanes;
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
