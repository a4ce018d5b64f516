//! Resampling of images and other grids, axis by axis.

mod axis;
mod pass;

pub use axis::{AxisMap, Coordinates, Interpolation, Nearest, Sampling};

use crate::elementwise::Layout;
use crate::movement::Copy;
use crate::softmax::Blocks;
use crate::{DType, Dims, Strides, TensorError, View, ViewMut, is_dense};
use pass::Pass;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

/// A planned resampling of an f32 tensor by weights.
#[derive(Debug)]
pub struct Resize {
    /// Brings the input into the order of the output first, where they differ.
    reorder: Option<Copy>,
    passes: Vec<Pass>,
    /// Values that the tensor before each pass has.
    lens: Vec<usize>,
    input: (Dims, Strides),
    output: (Dims, Strides),
    isa: Isa,
}

impl Resize {
    /// Plans it; axes without a map keep their size. The output is dense.
    pub fn new(
        input: Layout<'_>,
        maps: Vec<Option<AxisMap>>,
        output: Layout<'_>,
        isa: Isa,
    ) -> Result<Resize, TensorError> {
        let rank = input.shape.len();
        let fits = maps.len() == rank
            && output.shape.len() == rank
            && (0..rank).all(|axis| match &maps[axis] {
                None => output.shape[axis] == input.shape[axis],
                Some(map) => {
                    output.shape[axis] == map.len() && map.indices.iter().all(|&i| i < input.shape[axis])
                }
            });
        let types = [input.dtype, output.dtype] == [DType::F32; 2];
        if !fits || !types || !is_dense(output.shape, output.strides) {
            let (from, to) = (input.shape, output.shape);
            return Err(TensorError(format!("cannot resample {} {from:?} to {to:?}", input.dtype)));
        }
        let mut order: Vec<usize> = (0..rank).collect();
        order.sort_by_key(|&axis| std::cmp::Reverse(output.strides[axis]));
        let mut shape = Dims::from_slice(input.shape);
        let mut strides = crate::movement::dense_strides_in_order(&shape, &order);
        let same = is_dense(input.shape, input.strides)
            && (0..rank).all(|axis| shape[axis] == 1 || strides[axis] == input.strides[axis]);
        let reorder = (!same).then(|| Copy::new(input.shape, input.strides, &strides, 4));
        let mut maps: Vec<(usize, AxisMap)> =
            maps.into_iter().enumerate().filter_map(|(axis, map)| Some((axis, map?))).collect();
        // What shrinks goes first, so that the others have less to do.
        maps.sort_by_key(|(axis, map)| map.len() * 4096 / shape[*axis].max(1));
        let (mut passes, mut lens) = (Vec::new(), Vec::new());
        for (axis, map) in maps {
            lens.push(shape.iter().product());
            let blocks = Blocks::of(&shape, &strides, axis);
            shape[axis] = map.len();
            strides = crate::movement::dense_strides_in_order(&shape, &order);
            passes.push(Pass { outer: blocks.outer, count: blocks.count, inner: blocks.inner, map });
        }
        Ok(Resize {
            reorder,
            passes,
            lens,
            input: (input.shape.into(), input.strides.into()),
            output: (output.shape.into(), output.strides.into()),
            isa,
        })
    }

    /// Values of scratch memory that [`run`](Self::run) needs.
    pub fn scratch_len(&self) -> usize {
        let [a, b] = self.halves();
        a + b
    }

    /// Sizes of the two buffers that take turns.
    fn halves(&self) -> [usize; 2] {
        let mut halves = [0, 0];
        for (pass, &len) in self.lens.iter().enumerate() {
            if pass > 0 || self.reorder.is_some() {
                halves[pass % 2] = halves[pass % 2].max(len);
            }
        }
        halves
    }

    /// Resamples.
    ///
    /// # Panics
    /// Where a tensor does not lie as planned, or the scratch memory is too small.
    pub fn run(&self, input: &View<'_>, output: &mut ViewMut<'_>, scratch: &mut [f32], pool: &ThreadPool) {
        assert!(input.dtype() == DType::F32 && output.dtype() == DType::F32);
        assert!(input.shape() == &self.input.0[..] && input.strides() == &self.input.1[..]);
        assert!(output.shape() == &self.output.0[..] && output.strides() == &self.output.1[..]);
        if output.is_empty() {
            return;
        }
        let [first, second] = self.halves();
        assert!(scratch.len() >= first + second);
        let (first, second) = scratch.split_at_mut(first);
        let Some(last) = self.passes.len().checked_sub(1) else {
            let to = output.as_mut_ptr();
            let copy = Copy::new(&self.input.0, &self.input.1, &self.output.1, 4);
            // SAFETY: without passes input and output have one shape, and both lie as planned.
            unsafe { copy.run_raw(input.as_ptr(), to, pool) }
            return;
        };
        let mut from = input.as_ptr().cast::<f32>();
        let halves = [first.as_mut_ptr(), second.as_mut_ptr()];
        if let Some(copy) = &self.reorder {
            // SAFETY: the first half has room for the input's elements in the dense order of the copy.
            unsafe { copy.run_raw(input.as_ptr(), halves[0].cast(), pool) }
            from = halves[0];
        }
        for (i, pass) in self.passes.iter().enumerate() {
            let to = if i == last { output.as_mut_ptr().cast() } else { halves[(i + 1) % 2] };
            // SAFETY: `from` holds the tensor before the pass, dense; `to`, another block, has room for the one after it.
            unsafe { pass.run(from, to, self.isa, pool) }
            from = to;
        }
    }
}

#[cfg(test)]
mod tests;
