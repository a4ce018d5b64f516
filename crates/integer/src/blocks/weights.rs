use super::COLUMNS;
use crate::TensorError;
use vedette_memory::AlignedBuffer;
use vedette_tensor::{DType, View};

/// Weights `[columns, depth]` of four or eight bits, packed in the order they are read in.
///
/// For every block of 16 columns and every group: 16 scales (f32), then chunks of 64 bytes, four of each column. With
/// four bits a chunk is eight deep: the low halves are the first four, the high halves the others.
#[derive(Debug)]
pub struct BlockWeights {
    bits: usize,
    group: usize,
    columns: usize,
    depth: usize,
    packed: AlignedBuffer,
    /// A zero point for each column of each group of each block, unless all are alike.
    zero_points: Option<AlignedBuffer>,
    /// What all zero points are where they are alike.
    common: u8,
}

/// Bytes of the scales of a group.
const SCALES: usize = COLUMNS * size_of::<f32>();

/// Bytes of a chunk of weights.
pub(super) const CHUNK: usize = 64;

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
            zero_points: None,
            common: 1 << (bits - 1),
        };
        let no_memory = || TensorError("no memory for packed weights".to_owned());
        let len = (blocks * groups).checked_mul(weights.entry()).ok_or_else(no_memory)?;
        weights.packed = AlignedBuffer::try_new(len).ok_or_else(no_memory)?;
        let (b, scales) = (b.to_vec::<u8>(), scales.to_vec::<f32>());
        let entry = weights.entry();
        let packed = weights.packed.as_mut_slice();
        for column in 0..columns {
            for g in 0..groups {
                let (block, lane) = (column / COLUMNS, column % COLUMNS);
                let to = &mut packed[(block * groups + g) * entry..][..entry];
                let scale = scales[column * groups + g].to_ne_bytes();
                to[lane * 4..lane * 4 + 4].copy_from_slice(&scale);
                let from = &b[(column * groups + g) * bytes..][..bytes];
                let quad = |chunk: usize| SCALES + chunk * CHUNK + lane * 4;
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

    /// Bytes of a group of a block.
    pub(super) fn entry(&self) -> usize {
        SCALES + self.chunks() * CHUNK
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
        self.packed.len() + self.zero_points.as_ref().map_or(0, |buffer| buffer.len())
    }

    /// The scales and weights of a group of a block of columns.
    pub(super) fn scales(&self, block: usize, g: usize) -> *const f32 {
        self.packed.as_ptr().wrapping_add((block * self.groups() + g) * self.entry()).cast()
    }

    /// The first chunk of a group of a block of columns.
    pub(super) fn chunk(&self, block: usize, g: usize) -> *const u8 {
        self.scales(block, g).cast::<u8>().wrapping_add(SCALES)
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
