use crate::product::{ColumnWeights, PackedColumns};
use vedette_simd::Isa;
use vedette_tensor::View;
use vedette_tensor::conv::Windows;
use vedette_tensor::conv::{ConvShape, TransposeShape, five};

/// Weights of a convolution, packed for a level and for inputs of one zero point.
#[derive(Debug)]
pub struct ConvWeights {
    groups: Vec<PackedColumns>,
}

/// Where the weights of some windows lie.
struct Order {
    /// The taps of each axis, in the order of what they see.
    taps: [Vec<usize>; 3],
    tap_strides: [isize; 3],
    channel_stride: isize,
    column_offsets: Vec<isize>,
    group_step: isize,
}

impl ConvWeights {
    /// Packs int8 `w` `[O, C / groups, ...]`, which has the sizes `shape` was made from.
    pub fn new(isa: Isa, shape: &ConvShape, w: &View<'_>, zero_point: u8) -> ConvWeights {
        let [column, channel, d, h, x] = five(w.strides());
        let columns = (shape.out_channels / shape.groups) as isize;
        let order = Order {
            taps: shape.axes.map(|axis| (0..axis.kernel).collect()),
            tap_strides: [d, h, x],
            channel_stride: channel,
            column_offsets: (0..columns).map(|o| o * column).collect(),
            group_step: columns * column,
        };
        pack(isa, &Windows::of_convolution(shape), &order, w, zero_point)
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

/// Weights of a transposed convolution, packed phase by phase.
#[derive(Debug)]
pub struct TransposeWeights {
    pub(super) phases: Vec<ConvWeights>,
}

impl TransposeWeights {
    /// Packs int8 `w` `[C, O / groups, ...]`, which has the sizes `shape` was made from.
    pub fn new(isa: Isa, shape: &TransposeShape, w: &View<'_>, zero_point: u8) -> TransposeWeights {
        let [channel, column, d, h, x] = five(w.strides());
        let (channels, columns) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
        let side_by_side = if shape.joins_columns() { shape.axes[2].kernel } else { 1 };
        let phases = shape.phases().map(|phase| {
            let mut taps = [0, 1, 2].map(|i| {
                let mut taps = shape.axes[i].taps(phase[i]);
                taps.reverse();
                taps
            });
            if shape.joins_columns() {
                taps[2] = vec![0];
            }
            let order = Order {
                taps,
                tap_strides: [d, h, x],
                channel_stride: channel,
                column_offsets: (0..side_by_side as isize)
                    .flat_map(|tap| (0..columns as isize).map(move |o| tap * x + o * column))
                    .collect(),
                group_step: channels as isize * channel,
            };
            pack(isa, &Windows::of_phase(shape, phase), &order, w, zero_point)
        });
        TransposeWeights { phases: phases.collect() }
    }

    /// How often an epilogue has to know the output channels: once for each pixel that is computed at once.
    pub fn repeats(shape: &TransposeShape) -> usize {
        if shape.joins_columns() { shape.axes[2].kernel } else { 1 }
    }

    /// No sum is larger than this, either way.
    pub fn largest_sum(&self) -> u32 {
        self.phases.iter().map(ConvWeights::largest_sum).max().unwrap_or(0)
    }

    /// Bytes of memory they take.
    pub fn bytes(&self) -> usize {
        self.phases.iter().map(ConvWeights::bytes).sum()
    }
}

fn pack(isa: Isa, windows: &Windows, order: &Order, w: &View<'_>, zero_point: u8) -> ConvWeights {
    let [d, h, x] = order.tap_strides;
    let channels = windows.channels as isize;
    let tap = |at: isize| (0..channels).map(move |c| at + c * order.channel_stride);
    let mut runs: Vec<Vec<isize>> = Vec::new();
    for &tap_z in &order.taps[0] {
        for &tap_y in &order.taps[1] {
            let line = tap_z as isize * d + tap_y as isize * h;
            let mut line_taps = order.taps[2].iter().map(|&tap_x| tap(line + tap_x as isize * x));
            if windows.joins_taps() {
                runs.push(line_taps.flatten().collect());
            } else {
                runs.extend(line_taps.by_ref().map(Iterator::collect));
            }
        }
    }
    let groups = (0..windows.groups).map(|group| {
        let weights = w.as_ptr_of::<i8>().wrapping_offset(group as isize * order.group_step);
        let source = ColumnWeights { weights, columns: &order.column_offsets, runs: &runs };
        // SAFETY: the offsets are those of the view's own weights.
        unsafe { PackedColumns::new(isa, &source, zero_point) }
    });
    ConvWeights { groups: groups.collect() }
}
