//! Inputs of kernels that want the channels of a pixel, and the pixels of a line, next to each other.

use crate::op::{EngineError, TensorSpec};
use crate::ops::planning::invalid;
use crate::ops::scratch::{ScratchPlan, ScratchTensor};
use vedette_runtime::ThreadPool;
use vedette_tensor::View;
use vedette_tensor::conv::five;
use vedette_tensor::movement::Copy;

/// An input `[N, C, ...]` with one to three spatial axes, copied where its memory order is another.
pub(super) struct ChannelsLast {
    copy: Option<(Copy, ScratchTensor)>,
    /// Strides of images, slices and lines.
    pub(super) strides: [isize; 3],
    /// Bytes of scratch memory that the copy takes.
    pub(super) bytes: usize,
}

/// The shape `[N, C, D, H, W]` of an input.
pub(super) fn five_sizes(shape: &[usize]) -> Result<[usize; 5], EngineError> {
    if !(3..=5).contains(&shape.len()) {
        return invalid(format!(
            "expected a tensor [N, C, ...] with one to three spatial axes, got {shape:?}"
        ));
    }
    let mut sizes = [shape[0], shape[1], 1, 1, 1];
    sizes[7 - shape.len()..].copy_from_slice(&shape[2..]);
    Ok(sizes)
}

impl ChannelsLast {
    pub(super) fn new(spec: &TensorSpec) -> Result<ChannelsLast, EngineError> {
        let [_, channels, _, _, width] = five_sizes(&spec.shape)?;
        let own = five(&spec.strides);
        let fits = (channels == 1 || own[1] == 1) && (width == 1 || own[4] == channels as isize);
        if fits {
            return Ok(ChannelsLast { copy: None, strides: [own[0], own[2], own[3]], bytes: 0 });
        }
        let to = TensorSpec::channels_last(spec.dtype, &spec.shape);
        let mut scratch = ScratchPlan::default();
        let tensor = scratch.tensor(&to)?;
        let copy = Copy::new(&spec.shape, &spec.strides, &to.strides, spec.dtype.size());
        let strides = five(&to.strides);
        let bytes = scratch.bytes();
        Ok(ChannelsLast { copy: Some((copy, tensor)), strides: [strides[0], strides[2], strides[3]], bytes })
    }

    /// The first element, and the scratch memory that is left.
    pub(super) fn get<'s>(
        &self,
        view: &View<'_>,
        scratch: &'s mut [u8],
        pool: &ThreadPool,
    ) -> (*const u8, &'s mut [u8]) {
        let (own, rest) = scratch.split_at_mut(self.bytes);
        match &self.copy {
            None => (view.as_ptr(), rest),
            Some((copy, tensor)) => {
                copy.run(view, &mut tensor.view_mut(own), pool);
                (own.as_ptr(), rest)
            }
        }
    }
}
