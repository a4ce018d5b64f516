use super::direct::Direct;
use super::geometry::{Axis, WindowAttributes, five, three};
use super::strip::Strips;
use crate::depthwise::Depthwise;
use crate::matmul::product::Product;
use crate::matmul::{Epilogue, PackedMatrix, PanelLayout};
use crate::{Dims, TensorError, View};
use std::sync::Arc;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

/// Sizes of a convolution, its spatial axes brought to three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvShape {
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

impl ConvShape {
    /// The sizes that follow from an input `[N, C, ...]`, weights `[O, C / groups, ...]` and attributes.
    pub fn new(
        x: &[usize],
        w: &[usize],
        groups: i64,
        attributes: &WindowAttributes,
    ) -> Result<ConvShape, TensorError> {
        let invalid = |message: String| Err(TensorError(message));
        if !(3..=5).contains(&x.len()) || w.len() != x.len() {
            return invalid(format!("convolution of an input of shape {x:?} with weights of shape {w:?}"));
        }
        let groups = match usize::try_from(groups) {
            Ok(groups) if groups > 0 => groups,
            _ => return invalid(format!("group {groups} is not positive")),
        };
        let fits = !w.contains(&0) && x[1].is_multiple_of(groups) && w[0].is_multiple_of(groups);
        if !fits || w[1] != x[1] / groups {
            return invalid(format!(
                "{} input channels in {groups} groups with weights of shape {w:?}",
                x[1]
            ));
        }
        let axes = attributes.resolve(&x[2..], &w[2..])?;
        Ok(ConvShape {
            batch: x[0],
            groups,
            in_channels: x[1],
            out_channels: w[0],
            axes: three(&axes),
            rank: axes.len(),
        })
    }

    /// The convolution of a strip of rows, with padding `[above, below]` in place of the image's.
    pub fn with_row_padding(mut self, padding: [usize; 2]) -> ConvShape {
        self.axes[1] = self.axes[1].with_padding(padding);
        self
    }

    /// Shape of the output.
    pub fn output(&self) -> Dims {
        let spatial = self.axes[3 - self.rank..].iter().map(|axis| axis.output);
        [self.batch, self.out_channels].into_iter().chain(spatial).collect()
    }

    /// Taps of the kernel.
    pub fn taps(&self) -> usize {
        self.axes.iter().map(|axis| axis.kernel).product()
    }

    /// Output positions of all images.
    pub fn pixels(&self) -> usize {
        self.batch * self.axes.iter().map(|axis| axis.output).product::<usize>()
    }

    /// Whether every output channel reads one input channel of its own, over at most two axes.
    pub fn is_depthwise(&self) -> bool {
        self.groups == self.in_channels
            && self.groups == self.out_channels
            && self.axes[0].kernel == 1
            && self.groups > 1
    }

    /// Multiply-accumulates.
    pub fn work(&self) -> u64 {
        (self.pixels() * self.taps()) as u64 * (self.out_channels * self.in_channels / self.groups) as u64
    }
}

/// Where the weights `[O, C / groups, ...]` lie.
#[derive(Clone, Debug)]
struct WeightOrder {
    /// Offset of the first weight of each group.
    starts: Vec<isize>,
    /// Offsets in the order of the product's depth: taps, then channels.
    row_offsets: Vec<isize>,
    column_stride: isize,
    columns: usize,
}

impl WeightOrder {
    fn new(shape: &ConvShape, strides: &[isize]) -> WeightOrder {
        let [out, channel, d, h, w] = five(strides);
        let [kd, kh, kw] = shape.axes.map(|axis| axis.kernel as isize);
        let columns = shape.out_channels / shape.groups;
        let channels = (shape.in_channels / shape.groups) as isize;
        let mut row_offsets = Vec::new();
        for z in 0..kd {
            for y in 0..kh {
                for x in 0..kw {
                    row_offsets.extend((0..channels).map(|c| z * d + y * h + x * w + c * channel));
                }
            }
        }
        let starts = (0..shape.groups).map(|group| (group * columns) as isize * out).collect();
        WeightOrder { starts, row_offsets, column_stride: out, columns }
    }
}

/// Weights packed for a level.
#[derive(Debug)]
pub struct ConvWeights(Packed);

#[derive(Debug)]
enum Packed {
    Product(PackedMatrix),
    Depthwise(vedette_memory::AlignedBuffer),
}

impl ConvWeights {
    /// Packs `w`, which has the sizes `shape` was made from.
    pub fn new(isa: Isa, shape: &ConvShape, w: &View<'_>) -> ConvWeights {
        let source = w.as_ptr_of::<f32>();
        if shape.is_depthwise() {
            let len = Depthwise::packed_len(shape.taps(), shape.out_channels);
            let mut packed = vedette_memory::AlignedBuffer::new(len * size_of::<f32>());
            // SAFETY: the strides are those of w, and the buffer has the length asked for.
            unsafe { pack_depthwise(shape, source, w.strides(), packed.as_mut_ptr().cast()) };
            return ConvWeights(Packed::Depthwise(packed));
        }
        let order = WeightOrder::new(shape, w.strides());
        // SAFETY: the offsets are those of the elements of w.
        let packed = unsafe {
            let columns = (order.columns, order.column_stride);
            PackedMatrix::new(isa, source, &order.starts, &order.row_offsets, columns, 1.0)
        };
        ConvWeights(Packed::Product(packed))
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Packed::Product(packed) => packed.bytes(),
            Packed::Depthwise(packed) => packed.len(),
        }
    }
}

/// # Safety
/// `source` and `strides` are those of weights of this shape; `to` has room for [`Depthwise::packed_len`].
unsafe fn pack_depthwise(shape: &ConvShape, source: *const f32, strides: &[isize], to: *mut f32) {
    let order = WeightOrder::new(shape, strides);
    let step = Depthwise::packed_len(1, shape.out_channels);
    for (tap, &offset) in order.row_offsets.iter().enumerate() {
        for channel in 0..step {
            let value = match order.starts.get(channel) {
                // SAFETY: a weight that exists, as the caller grants.
                Some(&start) => unsafe { *source.offset(start + offset) },
                None => 0.0,
            };
            // SAFETY: within the packed length.
            unsafe { to.add(tap * step + channel).write(value) };
        }
    }
}

/// Most tensors that the channels of a convolution's input may lie in.
pub const MAX_INPUTS: usize = 4;

/// What a run of a [`ConvPlan`] reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct ConvArguments {
    /// First element of the input.
    pub x: *const f32,
    /// First elements of further inputs, where the channels lie in several tensors.
    pub further: [*const f32; MAX_INPUTS - 1],
    /// First element of the weights; unused where the plan holds packed weights.
    pub w: *const f32,
    /// A value an output channel, or null.
    pub bias: *const f32,
    /// As the output, or null; may be the output.
    pub residual: *const f32,
    /// First element of the output.
    pub out: *mut f32,
}

// SAFETY: the pointers are only used by `run`, whose caller answers for concurrent use.
unsafe impl Sync for ConvArguments {}

enum Method {
    Direct(Direct),
    Strips(Strips),
    Depthwise(Depthwise),
}

/// A planned convolution with a channels-last output.
pub struct ConvPlan {
    shape: ConvShape,
    method: Method,
    weights: Option<Arc<ConvWeights>>,
    /// Weights packed in every run: how they lie, and how they are packed.
    pack: Option<(WeightOrder, PanelLayout)>,
    w_strides: Vec<isize>,
    epilogue: Epilogue,
    /// Tensors that the input's channels lie in.
    inputs: usize,
}

impl ConvPlan {
    /// Plans a convolution of an input and weights with these strides. Where `weights` is `None` they are packed in
    /// every run.
    pub fn new(
        isa: Isa,
        threads: usize,
        shape: ConvShape,
        x_strides: &[isize],
        w_strides: &[isize],
        weights: Option<Arc<ConvWeights>>,
        epilogue: Epilogue,
    ) -> ConvPlan {
        let x = five(x_strides);
        let depth = shape.in_channels / shape.groups;
        let panels = |layout: &PanelLayout| layout.panels.len();
        let columns = shape.out_channels / shape.groups;
        let layout = PanelLayout::new(isa, shape.taps() * depth, columns);
        let channels_last = x[1] == 1 || shape.in_channels == 1;
        // Runs of few values keep the product's loop too short: a copy of a few lines with its padding joins the taps
        // of a line to one run.
        let short_runs = shape.groups == 1 && depth < 12 && shape.axes[2].kernel > 1;
        let method = if shape.is_depthwise() {
            Method::Depthwise(Depthwise::new(isa, threads, &shape, x))
        } else if channels_last && !short_runs {
            Method::Direct(Direct::new(&shape, x, panels(&layout), threads))
        } else {
            Method::Strips(Strips::new(&shape, x, threads))
        };
        let pack = weights.is_none().then(|| (WeightOrder::new(&shape, w_strides), layout));
        ConvPlan { shape, method, weights, pack, w_strides: w_strides.to_vec(), epilogue, inputs: 1 }
    }

    /// The same convolution of an input whose channels lie, one part after the other, in `inputs` tensors of as many
    /// channels each and the strides planned; `None` where this one needs them in one tensor.
    pub fn with_inputs(self, inputs: usize) -> Option<ConvPlan> {
        let depth = self.shape.in_channels / self.shape.groups;
        let fits =
            (1..=MAX_INPUTS).contains(&inputs) && depth.is_multiple_of(inputs) && self.shape.groups == 1;
        (fits && matches!(self.method, Method::Direct(_))).then_some(ConvPlan { inputs, ..self })
    }

    /// The sizes.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    fn packed_len(&self) -> usize {
        match &self.pack {
            None => 0,
            Some(_) if self.shape.is_depthwise() => {
                Depthwise::packed_len(self.shape.taps(), self.shape.out_channels).next_multiple_of(16)
            }
            Some((order, layout)) => layout.packed_step() * order.starts.len(),
        }
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        let method = match &self.method {
            Method::Direct(_) => 0,
            Method::Strips(strips) => strips.scratch_len(),
            Method::Depthwise(depthwise) => depthwise.scratch_len(),
        };
        (self.packed_len() + method) * size_of::<f32>()
    }

    /// Runs the convolution.
    ///
    /// # Safety
    /// The arguments point to elements laid out as planned, the output to nothing else that is read except a residual
    /// that is the output itself; `scratch` has [`scratch_bytes`](Self::scratch_bytes) and is aligned for `f32`.
    pub unsafe fn run(&self, arguments: &ConvArguments, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        let packed_here = scratch.as_mut_ptr().cast::<f32>();
        let scratch = packed_here.wrapping_add(self.packed_len());
        let depth = self.shape.in_channels / self.shape.groups;
        let (layout, packed) = match (&self.weights, &self.pack) {
            (Some(weights), _) => match &weights.0 {
                Packed::Product(packed) => (Some(packed.layout()), packed.as_ptr(0)),
                Packed::Depthwise(packed) => (None, packed.as_ptr().cast()),
            },
            (None, Some(_)) if self.shape.is_depthwise() => {
                // SAFETY: the weights lie as planned; scratch begins with room for them.
                unsafe { pack_depthwise(&self.shape, arguments.w, &self.w_strides, packed_here) };
                (None, packed_here.cast_const())
            }
            (None, Some((order, layout))) => {
                for (i, &start) in order.starts.iter().enumerate() {
                    let to = packed_here.wrapping_add(i * layout.packed_step());
                    let (from, rows) = (arguments.w.wrapping_offset(start), &order.row_offsets);
                    // SAFETY: as above.
                    unsafe {
                        let columns = |n| n as isize * order.column_stride;
                        layout.pack(0..layout.panels.len(), from, |k| rows[k], columns, 1.0, to);
                    }
                }
                (Some(layout), packed_here.cast_const())
            }
            (None, None) => return,
        };
        match (&self.method, layout) {
            (Method::Depthwise(depthwise), _) => {
                // SAFETY: planned for these shapes, on memory the caller grants.
                unsafe { depthwise.run(arguments, packed, self.epilogue, scratch, pool) };
            }
            (Method::Direct(direct), Some(layout)) => {
                // The weights of a tap follow each other by channel, as do those of the inputs it is made of.
                let (taps, depth) = (self.shape.taps() * self.inputs, depth / self.inputs);
                let product = self.product(arguments, layout, packed, taps, depth);
                // SAFETY: as above.
                unsafe { direct.run(arguments, self.inputs, &product, pool) };
            }
            (Method::Strips(strips), Some(layout)) => {
                let (taps, depth) = strips.runs();
                let product = self.product(arguments, layout, packed, taps, depth);
                // SAFETY: as above; the scratch is behind the packed weights.
                unsafe { strips.run(arguments, &product, scratch, pool) };
            }
            (_, None) => {}
        }
    }

    fn product<'a>(
        &self,
        arguments: &ConvArguments,
        layout: &'a PanelLayout,
        packed: *const f32,
        taps: usize,
        depth: usize,
    ) -> Product<'a> {
        Product {
            layout,
            packed,
            taps,
            depth,
            out: arguments.out,
            out_stride: self.shape.out_channels,
            bias: arguments.bias,
            residual: arguments.residual,
            residual_stride: self.shape.out_channels,
            epilogue: self.epilogue,
        }
    }
}
