use super::COLUMNS;
use crate::TensorError;
use half::f16;
use vedette_memory::AlignedBuffer;
use vedette_tensor::{DType, View};

/// Weights `[columns, depth]` of four or eight bits, packed in the order they are read in.
///
/// For every block of 16 columns: 16 scales of every group, then the chunks of every group, 64 bytes each, four of each
/// column. With four bits a chunk is eight deep: the low halves are the first four, the high halves the others.
///
/// A product with a vector takes as long as reading the weights, and with groups of 32, scales of f32 are a fifth of those.
/// They are kept as f16, in units of a power of two of their column, so that the greatest has 11 bits whatever its
/// size; scales that came as f16 are exact, unless they are 2^-14 of the column's greatest or less.
#[derive(Debug)]
pub struct BlockWeights {
    bits: usize,
    group: usize,
    columns: usize,
    depth: usize,
    packed: AlignedBuffer,
    /// Of every column, up to whole blocks, what a unit of its scales is: a power of two.
    units: Vec<f32>,
    /// A zero point for each column of each group of each block, unless all are alike.
    zero_points: Option<AlignedBuffer>,
    /// What all zero points are where they are alike.
    common: u8,
}

/// Bytes of the scales of a group.
const SCALES: usize = COLUMNS * size_of::<f16>();

/// Bytes of a chunk of weights.
pub(super) const CHUNK: usize = 64;

/// The power of two that takes the greatest of these scales to between 1 and 2, or as near as such a number can.
fn unit(scales: &[f32]) -> f32 {
    let finite = scales.iter().map(|scale| scale.abs()).filter(|scale| scale.is_finite());
    let exponent = finite.fold(0.0, f32::max).to_bits() >> 23;
    // Whose reciprocal is a normal number too.
    f32::from_bits(exponent.clamp(1, 253) << 23)
}

fn expect(name: &str, view: &View<'_>, dtype: DType, shape: &[usize]) -> Result<(), TensorError> {
    if view.dtype() == dtype && view.shape() == shape {
        return Ok(());
    }
    let (found, of) = (view.shape(), view.dtype());
    Err(TensorError(format!("{name} are {of} {found:?}, expected {dtype} {shape:?}")))
}

impl BlockWeights {
    /// Packs `b` u8 `[columns, groups, group bits / 8]` (low halves first) with `scales` f32 and `zero_points` u8, both
    /// `[columns, groups]`.
    pub fn new(
        bits: usize,
        group: usize,
        b: &View<'_>,
        scales: &View<'_>,
        zero_points: Option<&View<'_>>,
    ) -> Result<BlockWeights, TensorError> {
        if !matches!(bits, 4 | 8) {
            return Err(TensorError(format!("weights of {bits} bits, expected 4 or 8")));
        }
        if group == 0 || !group.is_multiple_of(8) || group > 1 << 16 {
            return Err(TensorError(format!("groups of {group}, expected a multiple of 8 up to 65536")));
        }
        let &[columns, groups, bytes] = b.shape() else {
            return Err(TensorError(format!("packed weights of shape {:?}, expected three axes", b.shape())));
        };
        expect("packed weights", b, DType::U8, &[columns, groups, group * bits / 8])?;
        expect("scales", scales, DType::F32, &[columns, groups])?;
        if let Some(zero_points) = zero_points {
            expect("zero points", zero_points, DType::U8, &[columns, groups])?;
        }
        let blocks = columns.div_ceil(COLUMNS);
        let mut weights = BlockWeights {
            bits,
            group,
            columns,
            depth: groups * group,
            packed: AlignedBuffer::new(0),
            units: vec![1.0; blocks * COLUMNS],
            zero_points: None,
            common: 1 << (bits - 1),
        };
        let no_memory = || TensorError("no memory for packed weights".to_owned());
        let len = blocks.checked_mul(weights.block_bytes()).ok_or_else(no_memory)?;
        weights.packed = AlignedBuffer::try_new(len).ok_or_else(no_memory)?;
        let (b, scales) = (b.to_vec::<u8>(), scales.to_vec::<f32>());
        let (block_bytes, first_chunk) = (weights.block_bytes(), weights.first_chunk());
        let group_bytes = weights.chunks() * CHUNK;
        let packed = weights.packed.as_mut_slice();
        for column in 0..columns {
            let (block, lane) = (column / COLUMNS, column % COLUMNS);
            let to = &mut packed[block * block_bytes..][..block_bytes];
            let scales = &scales[column * groups..][..groups];
            let unit = unit(scales);
            weights.units[column] = unit;
            for (g, &scale) in scales.iter().enumerate() {
                let scale = f16::from_f32(scale * (1.0 / unit)).to_ne_bytes();
                to[g * SCALES + lane * scale.len()..][..scale.len()].copy_from_slice(&scale);
                let from = &b[(column * groups + g) * bytes..][..bytes];
                let quad = |chunk: usize| first_chunk + g * group_bytes + chunk * CHUNK + lane * 4;
                if bits == 8 {
                    for (chunk, four) in from.chunks_exact(4).enumerate() {
                        to[quad(chunk)..quad(chunk) + 4].copy_from_slice(four);
                    }
                } else {
                    let half = |k: usize| from[k / 2] >> (k % 2 * 4) & 15;
                    for k in 0..group {
                        to[quad(k / 8) + k % 4] |= half(k) << (k % 8 / 4 * 4);
                    }
                }
            }
        }
        if let Some(zero_points) = zero_points {
            weights.take_zero_points(&zero_points.to_vec::<u8>(), groups, blocks)?;
        }
        Ok(weights)
    }

    fn take_zero_points(&mut self, from: &[u8], groups: usize, blocks: usize) -> Result<(), TensorError> {
        if let Some(&first) = from.first()
            && from.iter().all(|&zero_point| zero_point == first)
        {
            self.common = first;
            return Ok(());
        }
        let mut buffer = AlignedBuffer::try_new(blocks * groups * COLUMNS)
            .ok_or_else(|| TensorError("no memory for zero points".to_owned()))?;
        for (i, &zero_point) in from.iter().enumerate() {
            let (column, g) = (i / groups, i % groups);
            let at = ((column / COLUMNS) * groups + g) * COLUMNS + column % COLUMNS;
            buffer.as_mut_slice()[at] = zero_point;
        }
        self.zero_points = Some(buffer);
        Ok(())
    }

    /// Where the chunks of a block begin: behind its scales, on a cache line of their own.
    fn first_chunk(&self) -> usize {
        (self.groups() * SCALES).next_multiple_of(CHUNK)
    }

    /// Bytes of a block.
    fn block_bytes(&self) -> usize {
        self.first_chunk() + self.groups() * self.chunks() * CHUNK
    }

    /// Chunks of a group.
    pub(super) fn chunks(&self) -> usize {
        self.group * self.bits / 32
    }

    /// Bits of a weight.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// Depth of a group.
    pub fn group(&self) -> usize {
        self.group
    }

    /// Groups of a column.
    pub(super) fn groups(&self) -> usize {
        self.depth / self.group
    }

    /// Outputs.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Inputs.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        let zero_points = self.zero_points.as_ref().map_or(0, |buffer| buffer.len());
        self.packed.len() + size_of_val(&self.units[..]) + zero_points
    }

    /// The scales of a group of a block of columns, in units of their columns.
    pub(super) fn scales(&self, block: usize, g: usize) -> *const f16 {
        self.packed.as_ptr().wrapping_add(block * self.block_bytes() + g * SCALES).cast()
    }

    /// What the units of the scales of a block are.
    pub(super) fn units(&self, block: usize) -> *const f32 {
        self.units.as_ptr().wrapping_add(block * COLUMNS)
    }

    /// The first chunk of a group of a block of columns.
    pub(super) fn chunk(&self, block: usize, g: usize) -> *const u8 {
        let at = block * self.block_bytes() + self.first_chunk() + g * self.chunks() * CHUNK;
        self.packed.as_ptr().wrapping_add(at)
    }

    /// The zero points of a group of a block of columns, null where all are alike.
    pub(super) fn zero_points(&self, block: usize, g: usize) -> *const u8 {
        match &self.zero_points {
            Some(buffer) => buffer.as_ptr().wrapping_add((block * self.groups() + g) * COLUMNS),
            None => std::ptr::null(),
        }
    }

    /// What all zero points are where they are alike.
    pub(super) fn common_zero_point(&self) -> u8 {
        self.common
    }
}
