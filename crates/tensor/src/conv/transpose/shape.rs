//! Sizes of transposed convolutions.

use crate::conv::geometry::{AutoPad, pads, positive};
use crate::conv::rows::PADDING;
use crate::{Dims, TensorError};

/// The attributes of a transposed convolution, empty where absent.
#[derive(Clone, Debug)]
pub struct TransposeAttributes {
    /// One a spatial axis, or empty for ones.
    pub strides: Vec<i64>,
    /// One a spatial axis, or empty for ones.
    pub dilations: Vec<i64>,
    /// Begins of all axes, then ends; or empty for zeros.
    pub pads: Vec<i64>,
    /// Added at the end of each axis; or empty for zeros.
    pub output_padding: Vec<i64>,
    /// The spatial output sizes, which decide the pads; or empty.
    pub output_shape: Vec<i64>,
    /// How padding is given.
    pub auto_pad: AutoPad,
}

/// One spatial axis of a transposed convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Input size.
    pub input: usize,
    /// Output size.
    pub output: usize,
    /// Taps of the kernel.
    pub kernel: usize,
    /// Distance of the windows that inputs write.
    pub stride: usize,
    /// Distance of taps.
    pub dilation: usize,
    /// Positions cut off before the output.
    pub pad: usize,
}

impl Axis {
    const ONE: Axis = Axis { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, pad: 0 };

    /// Whether windows lie side by side, so that each output position has one tap.
    fn is_tiling(&self) -> bool {
        self.kernel == self.stride
            && self.dilation == 1
            && self.pad == 0
            && self.output == self.input * self.stride
    }

    /// Output positions of a phase.
    pub fn positions(&self, phase: usize) -> usize {
        self.output.saturating_sub(phase).div_ceil(self.stride)
    }

    /// Taps that reach the output positions of a phase.
    pub fn taps(&self, phase: usize) -> Vec<usize> {
        (0..self.kernel)
            .filter(|tap| {
                (phase + self.pad) as isize % self.stride as isize
                    == (tap * self.dilation) as isize % self.stride as isize
            })
            .collect()
    }

    /// Offsets `[position][tap]` of what a phase reads.
    pub(super) fn table(&self, phase: usize, step: isize) -> Vec<isize> {
        let taps = self.taps(phase);
        (0..self.positions(phase))
            .flat_map(|position| taps.iter().map(move |tap| (position, tap * self.dilation)))
            .map(|(position, reach)| {
                let at = (position * self.stride + phase + self.pad) as isize - reach as isize;
                let input = at / self.stride as isize;
                if at < 0 || input >= self.input as isize { PADDING } else { input * step }
            })
            .collect()
    }
}

/// Sizes of a transposed convolution, its spatial axes brought to three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransposeShape {
    /// Images.
    pub batch: usize,
    /// Groups of channels.
    pub groups: usize,
    /// Input channels of all groups.
    pub in_channels: usize,
    /// Output channels of all groups.
    pub out_channels: usize,
    /// Depth, height, width.
    pub axes: [Axis; 3],
    /// Spatial axes the tensors have.
    pub rank: usize,
}

impl TransposeShape {
    /// The sizes that follow from an input `[N, C, ...]`, weights `[C, O / groups, ...]` and attributes.
    pub fn new(
        x: &[usize],
        w: &[usize],
        groups: i64,
        attributes: &TransposeAttributes,
    ) -> Result<TransposeShape, TensorError> {
        let invalid = |message: String| Err(TensorError(message));
        if !(3..=5).contains(&x.len()) || w.len() != x.len() {
            return invalid(format!(
                "transposed convolution of an input of shape {x:?} with weights of shape {w:?}"
            ));
        }
        let groups = match usize::try_from(groups) {
            Ok(groups) if groups > 0 => groups,
            _ => return invalid(format!("group {groups} is not positive")),
        };
        if w.contains(&0) || x[1] != w[0] || !x[1].is_multiple_of(groups) {
            return invalid(format!(
                "{} input channels in {groups} groups with weights of shape {w:?}",
                x[1]
            ));
        }
        let rank = x.len() - 2;
        let strides = positive("strides", &attributes.strides, rank)?;
        let dilations = positive("dilations", &attributes.dilations, rank)?;
        let pads = pads(&attributes.pads, rank)?;
        let sizes = |name: &str, given: &[i64]| -> Result<Option<Vec<usize>>, TensorError> {
            if given.is_empty() {
                return Ok(None);
            }
            // Some exporters give the whole output shape.
            let spatial = &given[given.len().saturating_sub(rank)..];
            let sizes: Option<Vec<usize>> = spatial.iter().map(|&size| usize::try_from(size).ok()).collect();
            match sizes.filter(|sizes| sizes.len() == rank) {
                Some(sizes) => Ok(Some(sizes)),
                None => Err(TensorError(format!("{name} {given:?} for {rank} spatial axes"))),
            }
        };
        let output_padding = sizes("output_padding", &attributes.output_padding)?.unwrap_or(vec![0; rank]);
        let output_shape = sizes("output_shape", &attributes.output_shape)?;
        let mut axes = [Axis::ONE; 3];
        for i in 0..rank {
            let (input, kernel, stride, dilation) = (x[i + 2], w[i + 2], strides[i], dilations[i]);
            let full = input
                .saturating_sub(1)
                .checked_mul(stride)
                .zip(kernel.checked_sub(1).and_then(|taps| taps.checked_mul(dilation)))
                .and_then(|(steps, taps)| {
                    steps.checked_add(taps)?.checked_add(1)?.checked_add(output_padding[i])
                });
            let Some(full) = full.filter(|&full| full < isize::MAX as usize / 2) else {
                return invalid(format!("a kernel of {kernel} taps, stride {stride}, dilation {dilation}"));
            };
            let same = matches!(attributes.auto_pad, AutoPad::SameUpper | AutoPad::SameLower);
            let wanted = match &output_shape {
                Some(shape) => Some(shape[i]),
                None => same.then_some(input * stride),
            };
            let (output, pad) = match wanted {
                Some(output) => {
                    let total = full.saturating_sub(output);
                    let half = total / 2;
                    (output, if attributes.auto_pad == AutoPad::SameUpper { half } else { total - half })
                }
                None if attributes.auto_pad == AutoPad::Valid => (full, 0),
                None => {
                    let (begin, end) = (pads[i], pads[i + rank]);
                    let Some(output) = full.checked_sub(begin).and_then(|rest| rest.checked_sub(end)) else {
                        return invalid(format!("pads {:?} exceed an output of {full}", attributes.pads));
                    };
                    (output, begin)
                }
            };
            axes[3 - rank + i] = Axis { input, output, kernel, stride, dilation, pad };
        }
        let (batch, in_channels, out_channels) = (x[0], x[1], w[1] * groups);
        Ok(TransposeShape { batch, groups, in_channels, out_channels, axes, rank })
    }

    /// Shape of the output.
    pub fn output(&self) -> Dims {
        let spatial = self.axes[3 - self.rank..].iter().map(|axis| axis.output);
        [self.batch, self.out_channels].into_iter().chain(spatial).collect()
    }

    /// Output rows for each input row, where every output row is made of one input row alone.
    pub fn rows_by_row(&self) -> Option<usize> {
        self.axes[1].is_tiling().then_some(self.axes[1].stride)
    }

    /// Multiply-accumulates.
    pub fn work(&self) -> u64 {
        let taps: usize = self.axes.iter().map(|axis| axis.kernel * axis.input).product();
        (self.batch * taps) as u64 * (self.in_channels * self.out_channels / self.groups) as u64
    }

    /// What the packing of the weights depends on, besides the weights.
    pub fn packing_key(&self) -> Vec<usize> {
        let axes =
            self.axes.iter().flat_map(|axis| [axis.pad % axis.stride, axis.stride.min(axis.output.max(1))]);
        axes.chain([usize::from(self.joins_columns())]).collect()
    }

    /// Whether the output pixels of an input pixel on a line are computed together, as columns of one product.
    pub fn joins_columns(&self) -> bool {
        self.axes[2].is_tiling() && self.groups == 1
    }

    /// Every phase, as a remainder for each axis.
    pub fn phases(&self) -> impl Iterator<Item = [usize; 3]> {
        let [d, h, w] = self.axes.map(|axis| axis.stride.min(axis.output.max(1)));
        let w = if self.joins_columns() { 1 } else { w };
        (0..d * h * w).map(move |i| [i / (h * w), i / w % h, i % w])
    }
}
