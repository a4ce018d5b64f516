use super::AxisMap;
use crate::elementwise::PARALLEL_GRAIN;
use crate::softmax::Shared;
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, Simd, dispatch};

/// Resampling along one axis of a dense tensor: `outer` blocks of `count` rows of `inner` contiguous values.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub outer: usize,
    pub count: usize,
    pub inner: usize,
    pub map: AxisMap,
}

impl Pass {
    /// # Safety
    /// `from` is readable for the tensor before the pass, `to` writable for the one after it; they are separate.
    pub unsafe fn run(&self, from: *const f32, to: *mut f32, isa: Isa, pool: &ThreadPool) {
        let (from, to) = (Shared(from.cast_mut().cast()), Shared(to.cast()));
        let rows = self.map.len();
        let cost = self.inner * self.map.taps;
        pool.run_ranges(self.outer * rows, PARALLEL_GRAIN.div_ceil(cost.max(1)), 1, |range| {
            let (from, to) = (from.get().cast::<f32>(), to.get().cast::<f32>());
            dispatch!(isa, S => {
                for row in range.clone() {
                    let (block, i) = (row / rows, row % rows);
                    // SAFETY: the block and the rows it names are within the tensors; the row written is this thread's.
                    unsafe {
                        let block = from.add(block * self.count * self.inner);
                        self.row::<S>(block, i, to.add(row * self.inner));
                    }
                }
            });
        });
    }

    /// Writes row `i` of a block.
    ///
    /// # Safety
    /// `block` is readable for `count` rows, `to` writable for one.
    #[inline(always)]
    unsafe fn row<S: Simd>(&self, block: *const f32, i: usize, to: *mut f32) {
        let taps = i * self.map.taps..(i + 1) * self.map.taps;
        let (indices, weights) = (&self.map.indices[taps.clone()], &self.map.weights[taps]);
        let n = self.inner;
        // SAFETY: the indices are those of rows, and columns are below n.
        unsafe {
            if n < 4 {
                for column in 0..n {
                    let terms = indices.iter().zip(weights);
                    let sum = terms.map(|(&row, &weight)| *block.add(row * n + column) * weight).sum();
                    to.add(column).write(sum);
                }
                return;
            }
            let mut column = 0;
            while column < n {
                let lanes = S::LANES.min(n - column);
                let mut sum = S::splat(0.0);
                for (&row, &weight) in indices.iter().zip(weights) {
                    let from = block.add(row * n + column);
                    let x = if lanes == S::LANES { S::load(from) } else { S::load_partial(from, lanes) };
                    sum = S::mul_add(x, S::splat(weight), sum);
                }
                S::store_partial(to.add(column), sum, lanes);
                column += lanes;
            }
        }
    }
}
