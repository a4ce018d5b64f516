//! Transposed convolution without scattering: the output positions of one remainder by the strides see the same taps,
//! so each such phase is a convolution with stride 1.

use super::geometry::{AutoPad, five, pads, positive};
use super::plan::ConvArguments;
use super::rows::{PADDING, WindowRows, WindowTables};
use crate::matmul::product::Product;
use crate::matmul::split::{chunk, parts_for};
use crate::matmul::{Epilogue, PanelLayout};
use crate::{Dims, TensorError};
use std::sync::Arc;
use vedette_memory::AlignedBuffer;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

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
    fn table(&self, phase: usize, step: isize) -> Vec<isize> {
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

/// How the weights of one phase are packed.
#[derive(Debug)]
struct PhasePacking {
    layout: PanelLayout,
    row_offsets: Vec<isize>,
    column_offsets: Vec<isize>,
    group_step: isize,
    /// Values before it in the packed block.
    offset: usize,
}

/// Weights packed for a level, phase by phase.
#[derive(Debug)]
pub struct TransposeWeights {
    phases: Vec<PhasePacking>,
    groups: usize,
    len: usize,
    data: Option<AlignedBuffer>,
}

impl TransposeWeights {
    /// How weights with these strides are packed; they are packed in every run.
    pub fn layout(isa: Isa, shape: &TransposeShape, strides: &[isize]) -> TransposeWeights {
        let [channel, out, d, h, w] = five(strides);
        let (depth, columns) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
        let mut len = 0;
        let mut phases = Vec::new();
        for [z, y, x] in shape.phases() {
            let joined = shape.joins_columns();
            let x_taps = if joined { vec![0] } else { shape.axes[2].taps(x) };
            let mut row_offsets = Vec::new();
            for &z in &shape.axes[0].taps(z) {
                for &y in &shape.axes[1].taps(y) {
                    for &x in &x_taps {
                        let tap = z as isize * d + y as isize * h + x as isize * w;
                        row_offsets.extend((0..depth).map(|c| tap + c as isize * channel));
                    }
                }
            }
            let side_by_side = if joined { shape.axes[2].kernel } else { 1 };
            let column_offsets: Vec<isize> = (0..side_by_side as isize)
                .flat_map(|x| (0..columns as isize).map(move |o| x * w + o * out))
                .collect();
            let layout = PanelLayout::new(isa, row_offsets.len(), column_offsets.len());
            let step = layout.packed_step() * shape.groups;
            let group_step = depth as isize * channel;
            phases.push(PhasePacking { layout, row_offsets, column_offsets, group_step, offset: len });
            len += step;
        }
        TransposeWeights { phases, groups: shape.groups, len, data: None }
    }

    /// Packs weights once.
    ///
    /// # Safety
    /// `w` is the first of the weights, all readable at the strides given to [`layout`](Self::layout).
    pub unsafe fn pack(mut self, w: *const f32) -> TransposeWeights {
        let mut data = AlignedBuffer::new(self.len * size_of::<f32>());
        // SAFETY: as the caller grants; the buffer has the length needed.
        unsafe { self.pack_to(w, data.as_mut_ptr().cast()) };
        self.data = Some(data);
        self
    }

    /// # Safety
    /// As for [`pack`](Self::pack); `to` has room for `len` values.
    unsafe fn pack_to(&self, w: *const f32, to: *mut f32) {
        for phase in &self.phases {
            for group in 0..self.groups {
                let source = w.wrapping_offset(group as isize * phase.group_step);
                let to = to.wrapping_add(phase.offset + group * phase.layout.packed_step());
                let (rows, columns) = (&phase.row_offsets, &phase.column_offsets);
                // SAFETY: the offsets are those of weights.
                unsafe {
                    phase.layout.pack(
                        0..phase.layout.panels.len(),
                        source,
                        |k| rows[k],
                        |n| columns[n],
                        1.0,
                        to,
                    );
                }
            }
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.data.as_ref().map_or(0, AlignedBuffer::len)
    }
}

struct Phase {
    start: [usize; 3],
    positions: [usize; 3],
    tables: WindowTables,
}

/// A planned transposed convolution with a channels-last output.
pub struct TransposePlan {
    shape: TransposeShape,
    weights: Arc<TransposeWeights>,
    phases: Vec<Phase>,
    /// Input strides to copy from, where its channels do not have unit stride.
    copy: Option<[isize; 5]>,
    zeros: AlignedBuffer,
    epilogue: Epilogue,
    parts: usize,
}

impl TransposePlan {
    /// Plans a transposed convolution of an input with these strides.
    pub fn new(
        threads: usize,
        shape: TransposeShape,
        x_strides: &[isize],
        weights: Arc<TransposeWeights>,
        epilogue: Epilogue,
    ) -> TransposePlan {
        let mut x = five(x_strides);
        let copy = (x[1] != 1 && shape.in_channels != 1).then_some(x);
        if copy.is_some() {
            let channels = shape.in_channels as isize;
            let line = channels * shape.axes[2].input as isize;
            let slice = line * shape.axes[1].input as isize;
            x = [slice * shape.axes[0].input as isize, 1, slice, line, channels];
        }
        let phases = shape
            .phases()
            .map(|start| {
                let mut axes = shape.axes;
                if shape.joins_columns() {
                    axes[2] = Axis { output: axes[2].input, kernel: 1, stride: 1, ..axes[2] };
                }
                let table = |i: usize| axes[i].table(start[i], x[i + 2]);
                let positions = [0, 1, 2].map(|i| axes[i].positions(start[i]));
                let taps = [0, 1, 2].map(|i| axes[i].taps(start[i]).len());
                let tables =
                    WindowTables::from_tables([table(0), table(1), table(2)], positions, taps, x[0], x[4]);
                Phase { start, positions, tables }
            })
            .collect();
        TransposePlan {
            zeros: AlignedBuffer::new(shape.in_channels * size_of::<f32>()),
            parts: parts_for(shape.work(), threads),
            shape,
            weights,
            phases,
            copy,
            epilogue,
        }
    }

    /// The sizes.
    pub fn shape(&self) -> &TransposeShape {
        &self.shape
    }

    fn packed_len(&self) -> usize {
        if self.weights.data.is_some() { 0 } else { self.weights.len.next_multiple_of(16) }
    }

    fn bias_len(&self) -> usize {
        if self.shape.joins_columns() {
            (self.shape.axes[2].kernel * self.shape.out_channels).next_multiple_of(16)
        } else {
            0
        }
    }

    fn copy_len(&self) -> usize {
        let pixels: usize = self.shape.axes.iter().map(|axis| axis.input).product();
        if self.copy.is_some() { self.shape.batch * pixels * self.shape.in_channels } else { 0 }
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        (self.packed_len() + self.bias_len() + self.copy_len()) * size_of::<f32>()
    }

    /// Runs the transposed convolution; the residual is not used.
    ///
    /// # Safety
    /// The arguments point to elements laid out as planned, the output to nothing else that is read; `scratch` has
    /// [`scratch_bytes`](Self::scratch_bytes) and is aligned for `f32`.
    pub unsafe fn run(&self, arguments: &ConvArguments, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        let scratch = scratch.as_mut_ptr().cast::<f32>();
        let packed = match &self.weights.data {
            Some(data) => data.as_ptr().cast(),
            None => {
                // SAFETY: scratch begins with room for the packed weights.
                unsafe { self.weights.pack_to(arguments.w, scratch) };
                scratch.cast_const()
            }
        };
        let mut arguments = *arguments;
        let repeated = scratch.wrapping_add(self.packed_len());
        if !arguments.bias.is_null() && self.bias_len() > 0 {
            for x in 0..self.shape.axes[2].kernel {
                // SAFETY: scratch has room for a bias for each column.
                unsafe {
                    let to = repeated.add(x * self.shape.out_channels);
                    std::ptr::copy_nonoverlapping(arguments.bias, to, self.shape.out_channels);
                }
            }
            arguments.bias = repeated;
        }
        if let Some(strides) = self.copy {
            let to = repeated.wrapping_add(self.bias_len());
            // SAFETY: scratch has room for the copy.
            unsafe { self.copy_input(arguments.x, strides, to, pool) };
            arguments.x = to;
        }
        let [depth, height, _] = self.shape.axes;
        let lines = self.shape.batch * depth.output * height.output;
        let shared = (arguments, Shared(packed.cast_mut()));
        pool.run(self.parts, |part| {
            let (arguments, packed) = &shared;
            for line in chunk(lines, self.parts, part, 1) {
                // SAFETY: the parts' lines are their own; the rest is the caller's promise.
                unsafe { self.run_line(arguments, packed.0, line) };
            }
        });
    }

    /// # Safety
    /// As for [`run`](Self::run).
    unsafe fn run_line(&self, arguments: &ConvArguments, packed: *const f32, line: usize) {
        let [depth, height, width] = &self.shape.axes;
        let (slice, y) = (line / height.output, line % height.output);
        let (batch, z) = (slice / depth.output, slice % depth.output);
        let channels = self.shape.out_channels;
        let (in_step, out_step) = (self.shape.in_channels / self.shape.groups, channels / self.shape.groups);
        for (phase, packing) in self.phases.iter().zip(&self.weights.phases) {
            if phase.start[0] != z % depth.stride || phase.start[1] != y % height.stride {
                continue;
            }
            let pixels = phase.positions[2];
            let row = ((batch * phase.positions[0] + z / depth.stride) * phase.positions[1]
                + y / height.stride)
                * pixels;
            let out_stride = channels * if self.bias_len() > 0 { width.kernel } else { width.stride };
            let first = (line * width.output + phase.start[2]) * channels;
            let product = Product {
                layout: &packing.layout,
                packed: packed.wrapping_add(packing.offset),
                taps: phase.tables.taps(),
                depth: in_step,
                // Rows count from the first of the phase, this line's begin at `row`.
                out: arguments.out.wrapping_add(first).wrapping_sub(row * out_stride),
                out_stride,
                bias: arguments.bias,
                residual: std::ptr::null(),
                residual_stride: 0,
                epilogue: self.epilogue,
            };
            for group in 0..self.shape.groups {
                let source = WindowRows {
                    tables: &phase.tables,
                    bases: [arguments.x.wrapping_add(group * in_step)],
                    zeros: self.zeros.as_ptr().cast(),
                };
                let panels = 0..packing.layout.panels.len();
                // SAFETY: the tables stay within the input, the rows within this line of the output.
                unsafe { product.group(group, out_step).run(&source, row..row + pixels, panels) };
            }
        }
    }

    /// # Safety
    /// `x` is the input; `to` has room for its values.
    unsafe fn copy_input(&self, x: *const f32, strides: [isize; 5], to: *mut f32, pool: &ThreadPool) {
        let sizes = self.shape.axes.map(|axis| axis.input);
        // SAFETY: as the caller grants.
        unsafe {
            super::interleave::copy_channels_last(
                x,
                strides,
                self.shape.batch,
                self.shape.in_channels,
                sizes,
                to,
                pool,
            );
        }
    }
}

struct Shared(*mut f32);

// SAFETY: whoever dereferences it keeps the threads' parts apart.
unsafe impl Sync for Shared {}
