use crate::LEAST_DEPTH;
use crate::product::{ColumnLayout, PackedColumns};
use vedette_simd::Isa;
use vedette_tensor::View;
use vedette_tensor::conv::{ConvShape, TransposeShape, Windows, five};

/// Weights of a convolution, packed for a level.
#[derive(Debug)]
pub struct ConvWeights {
    pub(super) columns: PackedColumns,
}

/// Channels of a pixel in the copies that windows are read from: kernels read pairs.
pub(super) fn padded_channels(windows: &Windows) -> usize {
    windows.channels.next_multiple_of(2)
}

/// Whether every window is one pixel of the input, so that pixels are copied as rows of any length.
pub(super) fn is_pointwise(windows: &Windows) -> bool {
    windows.taps() == 1 && windows.axes.iter().all(|axis| axis.origin == 0 && axis.is_inside())
}

/// Where the weights of some windows lie.
struct Order {
    /// The taps of each axis, in the order of what they see.
    taps: [Vec<usize>; 3],
    tap_strides: [isize; 3],
    channel_stride: isize,
    column_offsets: Vec<isize>,
}

impl ConvWeights {
    /// Whether there are kernels for such a convolution. The answer is the same for every size of input.
    pub fn supports(shape: &ConvShape) -> bool {
        shape.groups == 1 && shape.in_channels * shape.taps() > 0
    }

    /// Whether they are quicker than those of float32 where the input is yet to be rounded. The answer is the same for
    /// every size of input.
    pub fn pays(shape: &ConvShape) -> bool {
        shape.in_channels * shape.taps() >= LEAST_DEPTH
    }

    /// Packs `w` `[O, C, ...]`, which has the sizes `shape` was made from.
    pub fn new(isa: Isa, shape: &ConvShape, w: &View<'_>) -> ConvWeights {
        let [column, channel, d, h, x] = five(w.strides());
        let order = Order {
            taps: shape.axes.map(|axis| (0..axis.kernel).collect()),
            tap_strides: [d, h, x],
            channel_stride: channel,
            column_offsets: (0..shape.out_channels as isize).map(|o| o * column).collect(),
        };
        pack(isa, &Windows::of_convolution(shape), &order, w)
    }

    /// Bytes of memory they take.
    pub fn bytes(&self) -> usize {
        self.columns.bytes()
    }
}

/// Weights of a transposed convolution, packed phase by phase.
#[derive(Debug)]
pub struct TransposeWeights {
    pub(super) phases: Vec<ConvWeights>,
}

impl TransposeWeights {
    /// Whether there are kernels for such a transposed convolution and they are quicker than those of float32. The answer
    /// is the same for every size of input.
    pub fn supports(shape: &TransposeShape) -> bool {
        shape.groups == 1 && shape.in_channels >= LEAST_DEPTH
    }

    /// Packs `w` `[C, O, ...]`, which has the sizes `shape` was made from.
    pub fn new(isa: Isa, shape: &TransposeShape, w: &View<'_>) -> TransposeWeights {
        let [channel, column, d, h, x] = five(w.strides());
        let side_by_side = TransposeWeights::repeats(shape);
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
                    .flat_map(|tap| (0..shape.out_channels as isize).map(move |o| tap * x + o * column))
                    .collect(),
            };
            pack(isa, &Windows::of_phase(shape, phase), &order, w)
        });
        TransposeWeights { phases: phases.collect() }
    }

    /// How often the output channels follow each other as columns: once for each pixel that is computed at once.
    pub fn repeats(shape: &TransposeShape) -> usize {
        if shape.joins_columns() { shape.axes[2].kernel } else { 1 }
    }

    /// Bytes of memory they take.
    pub fn bytes(&self) -> usize {
        self.phases.iter().map(ConvWeights::bytes).sum()
    }
}

fn pack(isa: Isa, windows: &Windows, order: &Order, w: &View<'_>) -> ConvWeights {
    let [d, h, x] = order.tap_strides;
    let pointwise = is_pointwise(windows);
    let padding = if pointwise { 0 } else { padded_channels(windows) - windows.channels };
    let channels = windows.channels as isize;
    let tap = |at: isize| {
        let weights = (0..channels).map(move |c| Some(at + c * order.channel_stride));
        weights.chain((0..padding).map(|_| None))
    };
    let mut runs: Vec<Vec<Option<isize>>> = Vec::new();
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
    let depth = runs.first().map_or(0, Vec::len);
    let layout = ColumnLayout::new(isa, order.column_offsets.len(), (runs.len(), depth), pointwise);
    // SAFETY: the offsets are those of the view's own weights.
    let columns = unsafe {
        PackedColumns::new(layout, 1, |layout, _, to| {
            layout.pack(w.as_ptr_of::<f32>(), &order.column_offsets, &runs, to);
        })
    };
    ConvWeights { columns }
}
