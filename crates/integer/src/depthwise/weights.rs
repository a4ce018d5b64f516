use super::CHANNELS;
use crate::epilogue::{channel_at, interleaved_channel};
use vedette_memory::AlignedBuffer;
use vedette_simd::{Isa, Level, features};
use vedette_tensor::View;
use vedette_tensor::conv::{Axis, ConvShape};

/// Weights `[C, 1, ...]` of a depthwise convolution, packed for the kernel that reads them.
#[derive(Debug)]
pub struct DepthwiseWeights {
    isa: Isa,
    channels: usize,
    /// Output lines that share the lines they are computed from.
    lines: usize,
    /// Output pixels whose channels share a block, where one pixel's do not fill it.
    pixels: usize,
    form: Form,
    largest_sum: u32,
}

#[derive(Debug)]
enum Form {
    /// `[taps][channels]`, channels padded to whole blocks.
    Plain(AlignedBuffer),
    /// For every block of channels: first sums i32 `[4][16]`, then `[copies][kernel width][quads][4][64]`, four vertical
    /// taps of each channel together. A line of outputs has the weights of the line before some bytes further on: within
    /// one quad that is a shift of `step` bits, across quads there is a copy for each line.
    Interleaved { packed: AlignedBuffer, copies: usize, quads: usize, width: usize, step: u32 },
}

impl DepthwiseWeights {
    /// Packs weights for a level; sums are taken of `x - zero_point`.
    ///
    /// # Panics
    /// Where the view is not `s8` of the shape of a depthwise convolution.
    pub fn new(isa: Isa, shape: &ConvShape, w: &View<'_>, zero_point: u8) -> DepthwiseWeights {
        let (channels, taps) = (shape.in_channels, shape.taps());
        let values = w.to_vec::<i8>();
        assert_eq!(values.len(), channels * taps);
        let sum_of = |channel: &[i8]| channel.iter().map(|w| i32::from(*w).unsigned_abs() * 255).sum::<u32>();
        let largest_sum = values.chunks_exact(taps.max(1)).map(sum_of).max().unwrap_or(0);
        let vnni = isa.level() == Level::Avx512 && features().avx512_vnni;
        if vnni && shape.axes[0] == Axis::ONE {
            return interleave(isa, shape, &values, zero_point, largest_sum);
        }
        let padded = channels.next_multiple_of(CHANNELS);
        let mut buffer = AlignedBuffer::new(taps * padded);
        let plain = buffer.as_mut_slice();
        for (channel, values) in values.chunks_exact(taps.max(1)).enumerate() {
            for (tap, &w) in values.iter().enumerate() {
                plain[tap * padded + channel] = w as u8;
            }
        }
        DepthwiseWeights { isa, channels, lines: 1, pixels: 1, form: Form::Plain(buffer), largest_sum }
    }

    /// Channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// No sum is larger than this, either way.
    pub fn largest_sum(&self) -> u32 {
        self.largest_sum
    }

    /// Bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        match &self.form {
            Form::Plain(buffer) | Form::Interleaved { packed: buffer, .. } => buffer.len(),
        }
    }

    pub(super) fn isa(&self) -> Isa {
        self.isa
    }

    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    pub(super) fn pixels(&self) -> usize {
        self.pixels
    }

    pub(super) fn is_interleaved(&self) -> bool {
        matches!(self.form, Form::Interleaved { .. })
    }

    /// The weights of a tap, from a channel on.
    pub(super) fn tap(&self, tap: usize, channel: usize) -> *const i8 {
        match &self.form {
            Form::Plain(buffer) => {
                let at = tap * self.channels.next_multiple_of(CHANNELS) + channel;
                buffer.as_ptr().wrapping_add(at).cast()
            }
            Form::Interleaved { .. } => std::ptr::null(),
        }
    }

    /// The quads of vertical taps.
    pub(super) fn quads(&self) -> usize {
        match self.form {
            Form::Interleaved { quads, .. } => quads,
            Form::Plain(_) => 0,
        }
    }

    /// What the sums of a block of channels begin with.
    pub(super) fn first_sums(&self, block: usize) -> *const i32 {
        self.block(block).cast()
    }

    /// The weights of a block of channels for an output line, whose words are to be shifted left by so many bits.
    pub(super) fn line(&self, block: usize, line: usize) -> (*const i8, u32) {
        let at = self.block(block).wrapping_add(4 * CHANNELS);
        match &self.form {
            Form::Interleaved { copies: 1, step, .. } => (at.cast(), line as u32 * step),
            Form::Interleaved { quads, width, .. } => {
                (at.wrapping_add(line * width * quads * 4 * CHANNELS).cast(), 0)
            }
            Form::Plain(_) => (std::ptr::null(), 0),
        }
    }

    fn block(&self, block: usize) -> *const u8 {
        match &self.form {
            Form::Interleaved { packed, copies, quads, width, .. } => {
                let bytes = 4 * CHANNELS + copies * width * quads * 4 * CHANNELS;
                packed.as_ptr().wrapping_add(block * bytes)
            }
            Form::Plain(_) => std::ptr::null(),
        }
    }
}

fn interleave(
    isa: Isa,
    shape: &ConvShape,
    values: &[i8],
    zero_point: u8,
    largest_sum: u32,
) -> DepthwiseWeights {
    let channels = shape.in_channels;
    let [_, height, width] = &shape.axes;
    let quads = height.kernel.div_ceil(4);
    // As many lines as the quads have room for, where the lines between are read anyway.
    let lines = match height.dilation {
        1 => (4 * quads - height.kernel) / height.stride + 1,
        _ => 1,
    };
    // Neighbouring pixels follow one another in input and output, so they may be taken for more channels.
    let pixels = if width.stride == 1 { (CHANNELS / channels).max(1) } else { 1 };
    let blocks = channels.div_ceil(CHANNELS);
    let each = width.kernel * quads * 4 * CHANNELS;
    let copies = if quads == 1 { 1 } else { lines };
    let block_bytes = 4 * CHANNELS + copies * each;
    let mut packed = AlignedBuffer::new(blocks * block_bytes);
    let taps = height.kernel * width.kernel;
    for (block, to) in packed.as_mut_slice().chunks_exact_mut(block_bytes).enumerate() {
        let (sums, to) = to.split_at_mut(4 * CHANNELS);
        for vector in 0..4 {
            for lane in 0..16 {
                let Some(channel) = channel_at(channels, pixels, block, interleaved_channel(vector, lane))
                else {
                    continue;
                };
                let values = &values[channel * taps..(channel + 1) * taps];
                let sum: i32 = values.iter().map(|&w| i32::from(w)).sum();
                let first = (-i32::from(zero_point) * sum).to_ne_bytes();
                sums[(vector * 16 + lane) * 4..][..4].copy_from_slice(&first);
                for line in 0..copies {
                    for kx in 0..width.kernel {
                        for ky in 0..height.kernel {
                            let row = ky + line * height.stride;
                            let quad = (line * width.kernel + kx) * quads + row / 4;
                            to[((quad * 4 + vector) * 16 + lane) * 4 + row % 4] =
                                values[ky * width.kernel + kx] as u8;
                        }
                    }
                }
            }
        }
    }
    let step = 8 * height.stride as u32;
    let form = Form::Interleaved { packed, copies, quads, width: width.kernel, step };
    DepthwiseWeights { isa, channels, lines, pixels, form, largest_sum }
}
