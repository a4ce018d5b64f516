//! The likeliest class of each row, and how likely it is, without the softmax of the others.

use super::Shared;
use crate::activation::math;
use crate::elementwise::{Layout, PARALLEL_GRAIN};
use crate::{DType, TensorError, View, ViewMut, contiguous_strides};
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, Simd, dispatch};

/// Values looked at before the best of them is remembered: small enough to be found again in the first-level cache.
const BLOCK: usize = 1024;

/// Index of the largest value along the last axis (the first of equals) and its softmax, planned.
///
/// As the largest exponential is `exp(0)`, its share is one over the sum of all. Values that are not numbers are passed
/// over in the search and make the share no number.
pub struct BestClass {
    rows: usize,
    classes: usize,
    isa: Isa,
}

impl BestClass {
    /// Plans it for contiguous float32 rows.
    pub fn new(input: Layout<'_>, isa: Isa) -> Result<BestClass, TensorError> {
        let Some((&classes, outer)) = input.shape.split_last() else {
            return Err(TensorError("no best class of a scalar".into()));
        };
        let contiguous = *input.strides == contiguous_strides(input.shape)[..];
        if input.dtype != DType::F32 || !contiguous || classes == 0 {
            let (dtype, shape) = (input.dtype, input.shape);
            return Err(TensorError(format!("no best class of {dtype} elements of shape {shape:?}")));
        }
        Ok(BestClass { rows: outer.iter().product(), classes, isa })
    }

    /// Computes it: float32 shares and int64 indices, one a row, both contiguous.
    ///
    /// # Panics
    /// Where a tensor is not as planned.
    pub fn run(
        &self,
        input: &View<'_>,
        shares: &mut ViewMut<'_>,
        indices: &mut ViewMut<'_>,
        pool: &ThreadPool,
    ) {
        let (Some(values), Some(shares), Some(indices)) =
            (input.slice::<f32>(), shares.slice_mut::<f32>(), indices.slice_mut::<i64>())
        else {
            panic!("tensors of the best class are not as planned");
        };
        assert!(values.len() == self.rows * self.classes);
        assert!(shares.len() == self.rows && indices.len() == self.rows);
        let (to_shares, to_indices) =
            (Shared(shares.as_mut_ptr().cast()), Shared(indices.as_mut_ptr().cast()));
        let grain = PARALLEL_GRAIN.div_ceil(8 * self.classes);
        pool.run_ranges(self.rows, grain, 1, |rows| {
            for row in rows {
                let values = &values[row * self.classes..][..self.classes];
                let (index, share) = dispatch!(self.isa, S => best::<S>(values));
                // SAFETY: there are as many shares and indices as rows, and this row is this thread's alone.
                unsafe {
                    to_shares.get().cast::<f32>().add(row).write(share);
                    to_indices.get().cast::<i64>().add(row).write(index as i64);
                }
            }
        });
    }
}

#[inline(always)]
fn best<S: Simd>(row: &[f32]) -> (usize, f32) {
    let (mut largest, mut holder) = (f32::NEG_INFINITY, 0);
    for (number, block) in row.chunks(BLOCK).enumerate() {
        let candidate = peak::<S>(block);
        if candidate > largest {
            (largest, holder) = (candidate, number);
        }
    }
    let start = holder * BLOCK;
    let within = row[start..].iter().position(|&value| value == largest).unwrap_or(0);
    (start + within, 1.0 / sum_of_exponentials::<S>(row, largest))
}

#[inline(always)]
fn peak<S: Simd>(block: &[f32]) -> f32 {
    // Four independent chains hide the latency of the maximum.
    let mut best = [S::splat(f32::NEG_INFINITY); 4];
    let mut groups = block.chunks_exact(4 * S::LANES);
    for group in &mut groups {
        for (i, best) in best.iter_mut().enumerate() {
            // SAFETY: a group has four registers' values.
            let values = unsafe { S::load(group.as_ptr().add(i * S::LANES)) };
            // In this order a value that is not a number leaves the maximum as it was.
            *best = S::max(values, *best);
        }
    }
    let [a, b, c, d] = best;
    let start = S::max_lane(S::max(S::max(a, b), S::max(c, d)));
    groups.remainder().iter().copied().fold(start, f32::max)
}

#[inline(always)]
fn sum_of_exponentials<S: Simd>(row: &[f32], peak: f32) -> f32 {
    let shift = S::splat(peak);
    let mut sums = [S::splat(0.0); 2];
    let mut pairs = row.chunks_exact(2 * S::LANES);
    for pair in &mut pairs {
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: a pair has two registers' values.
            let values = unsafe { S::load(pair.as_ptr().add(i * S::LANES)) };
            *sum = S::add(*sum, math::exp::<S>(S::sub(values, shift)));
        }
    }
    let mut total = S::sum(S::add(sums[0], sums[1]));
    for rest in pairs.remainder().chunks(S::LANES) {
        let mut lanes = [0.0; 64];
        // SAFETY: the rest has that many values, fewer than there are lanes.
        unsafe {
            let exponentials = math::exp::<S>(S::sub(S::load_partial(rest.as_ptr(), rest.len()), shift));
            S::store_partial(lanes.as_mut_ptr(), exponentials, rest.len());
        }
        total += lanes[..rest.len()].iter().sum::<f32>();
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tensor, contiguous_strides};
    use proptest::prelude::*;

    fn run(rows: usize, classes: usize, values: &[f32], isa: Isa, threads: usize) -> (Vec<f32>, Vec<i64>) {
        let shape = [rows, classes];
        let strides = contiguous_strides(&shape);
        let plan =
            BestClass::new(Layout { dtype: DType::F32, shape: &shape, strides: &strides }, isa).unwrap();
        let mut shares = Tensor::zeros(DType::F32, &[rows]).unwrap();
        let mut indices = Tensor::zeros(DType::I64, &[rows]).unwrap();
        let input = View::of(&shape, values);
        plan.run(&input, &mut shares.view_mut(), &mut indices.view_mut(), &ThreadPool::new(threads));
        (shares.slice::<f32>().to_vec(), indices.slice::<i64>().to_vec())
    }

    fn oracle(row: &[f32]) -> (i64, f64) {
        let (index, best) = row.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (index, &value)| {
            if value > best.1 { (index, value) } else { best }
        });
        let sum: f64 = row.iter().map(|&value| (f64::from(value) - f64::from(best)).exp()).sum();
        (index as i64, 1.0 / sum)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn equals_a_plain_search_and_softmax(
            classes in 1..3000usize,
            rows in 1..6usize,
            seed in any::<u64>(),
            levels in 1..200u64,
            threads in 1..3usize,
        ) {
            let mut state = seed | 1;
            let values: Vec<f32> = (0..rows * classes)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    (state % levels) as f32 / 8.0 - 20.0
                })
                .collect();
            for isa in Isa::available() {
                let (shares, indices) = run(rows, classes, &values, isa, threads);
                for (row, (share, index)) in values.chunks(classes).zip(shares.into_iter().zip(indices)) {
                    let (best, likelihood) = oracle(row);
                    prop_assert_eq!(best, index);
                    prop_assert!((f64::from(share) - likelihood).abs() <= 1e-5 * likelihood);
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_is_never_the_best() {
        for isa in Isa::available() {
            let mut values = vec![1.0; 70];
            (values[3], values[40], values[41]) = (f32::NAN, 2.0, f32::NAN);
            let (shares, indices) = run(1, 70, &values, isa, 1);
            assert_eq!(indices, [40]);
            assert!(shares[0].is_nan());
            assert_eq!(run(1, 70, &[f32::NAN; 70], isa, 1).1, [0]);
        }
    }
}
