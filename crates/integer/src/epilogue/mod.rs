//! From sums to outputs: `f = f32(sum) * multiplier + bias`, the residual, the activation, and back to u8.
//!
//! Where outputs are u8 all of it is counted in steps of the output, so that nothing is left to be scaled. Products are
//! added without being rounded: beside the tile registers' work Intel's cores have half their units for floats.

mod activation;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) mod quarters;
mod scalar;
#[cfg(test)]
pub(crate) mod tests;

use crate::Quantization;
use crate::quantization::BOUND;
use crate::table::Table;
use vedette_memory::AlignedBuffer;
use vedette_simd::{Isa, Level, Runs, round_runs_to_bf16};
use vedette_tensor::Activation;

/// Parameters kept for that many channels, so that a vector may begin at the last.
fn padded(channels: usize) -> usize {
    (channels + 15).next_multiple_of(16)
}

/// The channel of a block of 64 that is at lane `lane` of vector `vector`, where lines were interleaved by pairs of bytes
/// and then by pairs of words within each quarter of a vector.
pub(crate) fn interleaved_channel(vector: usize, lane: usize) -> usize {
    lane / 4 * 16 + vector * 4 + lane % 4
}

/// Pixels that share a vector where so many channels are left for the last block of 64.
fn pixels_of_last(channels: usize) -> usize {
    match channels % 64 {
        16 => 4,
        32 => 2,
        _ => 1,
    }
}

/// The channel at a place of a block of 64, which may hold the channels of several pixels one after the other.
pub(crate) fn channel_at(channels: usize, pixels: usize, block: usize, place: usize) -> Option<usize> {
    match pixels {
        1 if (block + 1) * 64 > channels && pixels_of_last(channels) > 1 => {
            Some(block * 64 + place % (channels % 64))
        }
        1 => Some(block * 64 + place).filter(|&channel| channel < channels),
        _ => (place < pixels * channels).then(|| place % channels),
    }
}

/// What an [`Epilogue`] is made from.
#[derive(Clone, Debug, Default)]
pub struct EpilogueSpec<'a> {
    /// For each output channel the scale of its sums.
    pub multiplier: &'a [f32],
    /// Added after the multiplier, one a channel.
    pub bias: Option<&'a [f32]>,
    /// What a u8 residual means, which is added before the activation.
    pub residual: Option<Quantization>,
    /// Bounds of the result; the upper one wins where they cross.
    pub clamp: Option<(f32, f32)>,
    /// Whether float32 outputs are rounded to bfloat16 last and written so.
    pub rounded: bool,
    /// Of float32 outputs what becomes of them after that. Levels agree as nearly as the activation's do.
    pub activation: Option<Activation>,
    /// What u8 outputs mean; `None` for float32 outputs.
    pub output: Option<Quantization>,
    /// Replaces every u8 output.
    pub table: Option<&'a [u8; 256]>,
    /// No sum is larger than this, either way.
    pub largest_sum: Option<u32>,
}

/// What follows an integer product: everything about it that is the same in every run.
#[derive(Debug)]
pub struct Epilogue {
    pub(crate) isa: Isa,
    channels: usize,
    /// `[2][padded channels]`: multipliers, biases.
    parameters: AlignedBuffer,
    residual: Option<Residual>,
    target: Target,
    /// Whether every u8 result fits an i32 with room before it is bounded.
    bounded: bool,
    /// What writes outputs of bytes or float32, without the latter's activation.
    kernel: Kernel,
}

/// What a residual means: its zero point, and a step of it in those of the result.
#[derive(Clone, Copy, Debug)]
struct Residual {
    zero_point: u8,
    scale: f32,
}

/// Writes the outputs of a block of the epilogue it was chosen for.
///
/// # Safety
/// As for [`Epilogue::run`].
type Kernel = unsafe fn(&Epilogue, &SumBlock);

#[derive(Debug)]
enum Target {
    Float { low: f32, high: f32, activation: Option<Activation>, rounded: bool },
    Bytes(Box<Bytes>),
}

/// How float results become bytes. The order of values survives rounding, so bounds are kept as bytes.
#[derive(Debug)]
struct Bytes {
    zero_point: u8,
    low: u8,
    high: u8,
    table: Option<Table>,
}

/// A block of sums and where its results go. Channels and strides count elements.
#[derive(Clone, Copy, Debug)]
pub struct SumBlock {
    /// `[rows][stride]`, columns from `channel` on; writable where outputs are rounded.
    pub sums: *const i32,
    /// Sums from one row to the next, at least `columns` rounded up to 16; what is there is readable.
    pub sums_stride: usize,
    /// Rows (pixels).
    pub rows: usize,
    /// The output channel of the first column.
    pub channel: usize,
    /// Channels.
    pub columns: usize,
    /// The first output: f32, bfloat16 or u8.
    pub out: *mut u8,
    /// Outputs from one row to the next.
    pub out_stride: usize,
    /// The first residual, if there is one; may be the output itself.
    pub residual: *const u8,
    /// Residuals from one row to the next.
    pub residual_stride: usize,
}

impl SumBlock {
    /// A block without rows.
    pub(crate) const NOTHING: SumBlock = SumBlock {
        sums: std::ptr::null(),
        sums_stride: 0,
        rows: 0,
        channel: 0,
        columns: 0,
        out: std::ptr::null_mut(),
        out_stride: 0,
        residual: std::ptr::null(),
        residual_stride: 0,
    };
}

impl Epilogue {
    /// An epilogue for kernels of a level.
    ///
    /// # Panics
    /// Where there is a bias of another length than the multipliers.
    pub fn new(isa: Isa, spec: &EpilogueSpec<'_>) -> Epilogue {
        let channels = spec.multiplier.len();
        let padded = padded(channels);
        let mut parameters = AlignedBuffer::new(2 * padded * size_of::<f32>());
        let mut write = |at: usize, values: &[f32]| {
            assert_eq!(values.len(), channels);
            let bytes = values.iter().flat_map(|value| value.to_ne_bytes());
            let to = &mut parameters.as_mut_slice()[at * size_of::<f32>()..];
            to.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
        };
        let step = spec.output.map_or(1.0, |output| f64::from(output.scale()));
        // What was finite stays so: zero times it is zero.
        let in_steps = |real: f32| match (f64::from(real) / step) as f32 {
            steps if steps.is_infinite() && real.is_finite() => f32::MAX.copysign(steps),
            steps => steps,
        };
        let all_in_steps = |values: &[f32]| values.iter().copied().map(in_steps).collect::<Vec<_>>();
        write(0, &all_in_steps(spec.multiplier));
        if let Some(bias) = spec.bias {
            write(padded, &all_in_steps(bias));
        }
        let residual =
            spec.residual.map(|q| Residual { zero_point: q.zero_point(), scale: in_steps(q.scale()) });
        let (low, high) = spec.clamp.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let target = match spec.output {
            None => Target::Float { low, high, activation: spec.activation, rounded: spec.rounded },
            Some(output) => Target::Bytes(Box::new(Bytes {
                zero_point: output.zero_point(),
                low: output.quantize(low),
                high: output.quantize(high),
                table: spec.table.map(|table| Table::new(isa, *table)),
            })),
        };
        let bounded = is_bounded(spec);
        let kernel: Kernel = match isa.level() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512::kernel(&target, residual.is_some(), bounded),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::run,
            _ => scalar::run,
        };
        Epilogue { isa, channels, parameters, residual, target, bounded, kernel }
    }

    /// Output channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Bytes of one output.
    pub fn output_bytes(&self) -> usize {
        match self.target {
            Target::Float { rounded: true, .. } => size_of::<u16>(),
            Target::Float { rounded: false, .. } => size_of::<f32>(),
            Target::Bytes(_) => 1,
        }
    }

    /// Bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        self.parameters.len()
    }

    fn multiplier(&self) -> *const f32 {
        self.parameters.as_ptr().cast()
    }

    fn bias(&self) -> *const f32 {
        self.multiplier().wrapping_add(padded(self.channels))
    }

    /// Writes the outputs of a block of sums.
    ///
    /// # Safety
    /// The block describes memory that is readable and writable as its fields say; its channels are below
    /// [`channels`](Self::channels); the residual is there if one is added.
    #[inline]
    pub unsafe fn run(&self, block: &SumBlock) {
        if let Target::Float { rounded: true, .. } = self.target {
            // SAFETY: as granted by the caller; sums have room for outputs of as many bytes.
            unsafe { self.run_rounded(block) };
            return;
        }
        // SAFETY: as granted by the caller.
        unsafe { self.run_at_level(block) };
    }

    /// Makes float32 outputs where the sums are, then rounds them.
    ///
    /// # Safety
    /// As for [`run`](Self::run).
    unsafe fn run_rounded(&self, block: &SumBlock) {
        let (out, out_stride) = (block.sums.cast_mut().cast::<u8>(), block.sums_stride);
        let runs = Runs {
            count: block.rows,
            len: block.columns,
            from_step: block.sums_stride as isize,
            to_step: block.out_stride as isize,
        };
        // SAFETY: as granted by the caller.
        unsafe {
            self.run_at_level(&SumBlock { out, out_stride, ..*block });
            round_runs_to_bf16(self.isa, block.sums.cast(), block.out.cast(), runs);
        }
    }

    /// Writes outputs of bytes or float32.
    ///
    /// # Safety
    /// As for [`run`](Self::run).
    #[inline]
    unsafe fn run_at_level(&self, block: &SumBlock) {
        // SAFETY: as granted by the caller; an `Isa` exists only where the CPU has its level.
        unsafe {
            (self.kernel)(self, block);
            if let Target::Float { activation: Some(activation), .. } = self.target {
                activation::run(self.isa, activation, block);
            }
        }
    }
}

/// What makes outputs of the sums of a product.
pub(crate) trait Finish: Sync {
    /// Bytes of one output.
    fn output_bytes(&self) -> usize;

    /// Bytes of one residual.
    fn residual_bytes(&self) -> usize;

    /// Writes the outputs of a block whose first row has that number.
    ///
    /// # Safety
    /// As for [`Epilogue::run`].
    unsafe fn finish(&self, block: &SumBlock, first_row: usize);

    /// Does what is compiled for every writer with the one for these outputs.
    ///
    /// # Safety
    /// The CPU has AVX-512 F, BW, DQ and VL; as for the work itself.
    #[cfg(target_arch = "x86_64")]
    unsafe fn choose(&self, work: &impl WithWriter<Self>)
    where
        Self: Sized,
    {
        // SAFETY: as granted by the caller.
        unsafe { work.run::<Called<'_, Self>>() };
    }
}

/// Elements from one row of a block to the next.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Strides {
    pub sums: usize,
    pub out: usize,
    pub residual: usize,
}

/// Writes outputs as part of the work that makes the sums: what it needs for that stays in registers.
#[cfg(target_arch = "x86_64")]
pub(crate) trait Writer<F> {
    /// What is left to write of a block.
    type Rows: Copy;

    /// Rows that are worth a call.
    const FEWEST_ROWS: usize;

    /// # Safety
    /// The CPU has AVX-512 F, BW, DQ and VL; the writer was chosen for this epilogue, and is not used after it is gone.
    unsafe fn new(epilogue: *const F) -> Self;

    /// A block of up to 32 columns whose first row has that number.
    fn begin(&self, block: &SumBlock, first_row: usize) -> Self::Rows;

    /// Writes so many more rows, or those that are left.
    ///
    /// # Safety
    /// As for [`Finish::finish`] of the block.
    unsafe fn write(&self, rows: &mut Self::Rows, count: usize, strides: &Strides);
}

/// Work that makes sums, compiled for each writer.
#[cfg(target_arch = "x86_64")]
pub(crate) trait WithWriter<F> {
    /// # Safety
    /// As for [`Finish::choose`].
    unsafe fn run<W: Writer<F>>(&self);
}

/// Calls the epilogue.
#[cfg(target_arch = "x86_64")]
struct Called<'a, F>(&'a F);

#[cfg(target_arch = "x86_64")]
impl<F: Finish> Writer<F> for Called<'_, F> {
    type Rows = (SumBlock, usize);

    // A call takes about as long as some rows do.
    const FEWEST_ROWS: usize = 16;

    #[inline(always)]
    unsafe fn new(epilogue: *const F) -> Self {
        // SAFETY: as granted by the caller.
        Called(unsafe { &*epilogue })
    }

    #[inline(always)]
    fn begin(&self, block: &SumBlock, first_row: usize) -> Self::Rows {
        (*block, first_row)
    }

    #[inline(always)]
    unsafe fn write(&self, (block, first_row): &mut Self::Rows, count: usize, _: &Strides) {
        let rows = count.min(block.rows);
        if rows == 0 {
            return;
        }
        // SAFETY: as granted by the caller.
        unsafe { self.0.finish(&SumBlock { rows, ..*block }, *first_row) };
        block.rows -= rows;
        block.sums = block.sums.wrapping_add(rows * block.sums_stride);
        block.out = block.out.wrapping_add(rows * block.out_stride * self.0.output_bytes());
        if !block.residual.is_null() {
            let step = block.residual_stride * self.0.residual_bytes();
            block.residual = block.residual.wrapping_add(rows * step);
        }
        *first_row += rows;
    }
}

impl Finish for Epilogue {
    #[inline(always)]
    fn output_bytes(&self) -> usize {
        Epilogue::output_bytes(self)
    }

    #[inline(always)]
    fn residual_bytes(&self) -> usize {
        1
    }

    #[inline(always)]
    unsafe fn finish(&self, block: &SumBlock, _: usize) {
        // SAFETY: as granted by the caller.
        unsafe { self.run(block) };
    }

    #[cfg(target_arch = "x86_64")]
    unsafe fn choose(&self, work: &impl WithWriter<Self>) {
        // SAFETY: as granted by the caller.
        unsafe { avx512::choose(self, work) };
    }
}

/// Whether every result, counted in steps of the output, stays well within i32.
fn is_bounded(spec: &EpilogueSpec<'_>) -> bool {
    let (Some(largest), Some(output)) = (spec.largest_sum, spec.output) else { return false };
    let residual = spec.residual.map_or(0.0, |residual| 255.0 * residual.scale());
    (0..spec.multiplier.len()).all(|channel| {
        let bias = spec.bias.map_or(0.0, |bias| bias[channel].abs());
        (largest as f32 * spec.multiplier[channel].abs() + bias + residual) / output.scale() < 1e9
    })
}
