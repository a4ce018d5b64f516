use crate::product::{ColumnWeights, PackedColumns};
use vedette_simd::Isa;
use vedette_tensor::View;
use vedette_tensor::conv::{ConvShape, five};

/// Weights of a convolution, packed for a level and for inputs of one zero point.
#[derive(Debug)]
pub struct ConvWeights {
    groups: Vec<PackedColumns>,
}

/// Whether the taps of a line are one run of bytes: where nothing lies between the pixels under a kernel.
pub(super) fn joins_taps(shape: &ConvShape) -> bool {
    shape.groups == 1 && shape.axes[2].dilation == 1
}

/// For every run of a window the offsets of its weights from the first of a column.
fn runs(shape: &ConvShape, strides: &[isize]) -> Vec<Vec<isize>> {
    let [_, channel, d, h, w] = five(strides);
    let [kd, kh, kw] = shape.axes.map(|axis| axis.kernel as isize);
    let channels = (shape.in_channels / shape.groups) as isize;
    let tap = |z: isize, y: isize, x: isize| (0..channels).map(move |c| z * d + y * h + x * w + c * channel);
    let mut runs = Vec::new();
    for z in 0..kd {
        for y in 0..kh {
            if joins_taps(shape) {
                runs.push((0..kw).flat_map(|x| tap(z, y, x)).collect());
            } else {
                runs.extend((0..kw).map(|x| tap(z, y, x).collect::<Vec<_>>()));
            }
        }
    }
    runs
}

impl ConvWeights {
    /// Packs int8 `w`, which has the sizes `shape` was made from.
    pub fn new(isa: Isa, shape: &ConvShape, w: &View<'_>, zero_point: u8) -> ConvWeights {
        let runs = runs(shape, w.strides());
        let columns = shape.out_channels / shape.groups;
        let column_stride = w.strides()[0];
        let groups = (0..shape.groups).map(|group| {
            let first = (group * columns) as isize * column_stride;
            let weights = w.as_ptr_of::<i8>().wrapping_offset(first);
            let source = ColumnWeights { weights, column_stride, columns, runs: &runs };
            // SAFETY: the offsets are those of the view's own weights.
            unsafe { PackedColumns::new(isa, &source, zero_point) }
        });
        ConvWeights { groups: groups.collect() }
    }

    /// The packed columns of each group.
    pub(super) fn groups(&self) -> &[PackedColumns] {
        &self.groups
    }

    /// No sum is larger than this, either way.
    pub fn largest_sum(&self) -> u32 {
        self.groups.iter().map(PackedColumns::largest_sum).max().unwrap_or(0)
    }

    /// Bytes of memory they take.
    pub fn bytes(&self) -> usize {
        self.groups.iter().map(PackedColumns::bytes).sum()
    }
}
