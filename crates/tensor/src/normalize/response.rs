use crate::elementwise::{Layout, PARALLEL_GRAIN};
use crate::softmax::{Blocks, Shared};
use crate::{DType, Dims, Strides, TensorError, View, ViewMut, is_dense};
use vedette_runtime::ThreadPool;

/// Local response normalisation across channels (axis 1), planned: every value is divided by a power of the squares
/// of its neighbouring channels.
#[derive(Clone, Debug)]
pub struct LocalResponse {
    blocks: Blocks,
    /// Channels before and after a channel that count as its neighbours.
    reach: (usize, usize),
    /// `alpha / size`
    weight: f32,
    beta: f32,
    bias: f32,
    layout: (Dims, Strides),
}

impl LocalResponse {
    /// Plans it for a dense f32 tensor `[N, C, ...]`; the output lies like it.
    pub fn new(
        input: Layout<'_>,
        size: usize,
        alpha: f32,
        beta: f32,
        bias: f32,
    ) -> Result<LocalResponse, TensorError> {
        let dense = is_dense(input.shape, input.strides);
        if input.dtype != DType::F32 || input.shape.len() < 2 || size == 0 || !dense {
            return Err(TensorError(format!(
                "no local response of size {size} of {} elements of shape {:?}",
                input.dtype, input.shape
            )));
        }
        Ok(LocalResponse {
            blocks: Blocks::of(input.shape, input.strides, 1),
            reach: ((size - 1) / 2, size / 2),
            weight: alpha / size as f32,
            beta,
            bias,
            layout: (input.shape.into(), input.strides.into()),
        })
    }

    /// Computes it; input and output must be separate.
    ///
    /// # Panics
    /// Where a tensor does not lie as planned.
    pub fn run(&self, input: &View<'_>, output: &mut ViewMut<'_>, pool: &ThreadPool) {
        let as_planned = |dtype: DType, shape: &[usize], strides: &[isize]| {
            dtype == DType::F32 && shape == &self.layout.0[..] && strides == &self.layout.1[..]
        };
        assert!(as_planned(input.dtype(), input.shape(), input.strides()));
        assert!(as_planned(output.dtype(), output.shape(), output.strides()));
        let (from, to) = (Shared(input.as_ptr().cast_mut()), Shared(output.as_mut_ptr()));
        let Blocks { outer, count, inner } = self.blocks;
        let (before, after) = self.reach;
        pool.run_ranges(outer * count, PARALLEL_GRAIN.div_ceil(16 * inner), 1, |rows| {
            for row in rows {
                let (block, channel) = (row / count * count * inner, row % count);
                let neighbours = channel.saturating_sub(before)..(channel + after + 1).min(count);
                for column in 0..inner {
                    let at = |channel: usize| block + channel * inner + column;
                    // SAFETY: both tensors are dense and lie in these blocks; the row is this thread's.
                    unsafe {
                        let from = from.get().cast::<f32>();
                        let squares: f32 =
                            neighbours.clone().map(|c| *from.add(at(c)) * *from.add(at(c))).sum();
                        let y = *from.add(at(channel)) / (self.bias + self.weight * squares).powf(self.beta);
                        to.get().cast::<f32>().add(at(channel)).write(y);
                    }
                }
            }
        });
    }
}
