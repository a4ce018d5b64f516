//! Weights as the kernels read them: `[block of 16 columns][word of 4 in depth][16][4]`.
//!
//! A vector instruction multiplies four neighbouring bytes of a row with four weights of each of 16 columns, so the
//! depth of every run is padded with zeros to whole words, and the columns to whole blocks.

use super::kernel::{Kernel, MAX_BLOCKS, kernel};
use std::ops::Range;
use vedette_memory::AlignedBuffer;
use vedette_simd::Isa;

/// Columns of a block.
pub(crate) const BLOCK: usize = 16;

/// Bytes of a word.
pub(crate) const WORD: usize = 4;

/// The weights of some columns, and how to find them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColumnWeights<'a> {
    /// What the offsets count from.
    pub weights: *const i8,
    /// For every column its offset.
    pub columns: &'a [isize],
    /// For every value of depth its offset; a run of depth is a slice.
    pub runs: &'a [Vec<isize>],
}

/// Packed columns, for a level.
#[derive(Debug)]
pub struct PackedColumns {
    kernel: &'static Kernel,
    columns: usize,
    /// Words of depth.
    words: usize,
    packed: AlignedBuffer,
    /// For every column, padded to blocks, `-zero_point * sum of its weights`: aligned, as loads of tiles that cross
    /// cache lines take seven times as long.
    starts: Option<AlignedBuffer>,
    /// For every column, padded to blocks, the sum of its weights; empty where there are starts.
    totals: Vec<i32>,
    largest_sum: u32,
    /// Blocks of every panel.
    panels: Vec<Range<usize>>,
}

/// What as many blocks begin with as any kernel takes at once, where rows have zero point 0.
#[repr(align(64))]
struct Zeros([i32; MAX_BLOCKS * BLOCK]);

static ZEROS: Zeros = Zeros([0; MAX_BLOCKS * BLOCK]);

impl PackedColumns {
    /// Packs columns for products with rows of this zero point.
    ///
    /// # Safety
    /// Every weight the runs and columns reach is readable.
    pub(crate) unsafe fn new(isa: Isa, source: &ColumnWeights<'_>, zero_point: u8) -> PackedColumns {
        let kernel = kernel(isa);
        let words: usize = source.runs.iter().map(|run| run.len().div_ceil(WORD)).sum();
        let blocks = source.columns.len().div_ceil(BLOCK);
        let mut packed = AlignedBuffer::new(blocks * words * BLOCK * WORD);
        let bytes = packed.as_mut_slice();
        let mut starts = (zero_point != 0).then(|| AlignedBuffer::new(blocks * BLOCK * size_of::<i32>()));
        let mut totals = vec![0i32; if zero_point == 0 { blocks * BLOCK } else { 0 }];
        let mut largest_sum = 0u32;
        for (column, &offset) in source.columns.iter().enumerate() {
            let (block, lane) = (column / BLOCK, column % BLOCK);
            let at = source.weights.wrapping_offset(offset);
            let (mut word, mut total, mut magnitude) = (block * words, 0i32, 0u32);
            for run in source.runs {
                for (i, &offset) in run.iter().enumerate() {
                    // SAFETY: a weight of the column.
                    let weight = unsafe { *at.wrapping_offset(offset) };
                    bytes[(word + i / WORD) * BLOCK * WORD + lane * WORD + i % WORD] = weight as u8;
                    total = total.wrapping_add(i32::from(weight));
                    magnitude = magnitude.saturating_add(u32::from(weight.unsigned_abs()));
                }
                word += run.len().div_ceil(WORD);
            }
            match &mut starts {
                Some(starts) => starts.as_mut_slice()[column * size_of::<i32>()..][..size_of::<i32>()]
                    .copy_from_slice(&total.wrapping_mul(-i32::from(zero_point)).to_ne_bytes()),
                None => totals[column] = total,
            }
            largest_sum = largest_sum.max(magnitude.saturating_mul(255));
        }
        let panels = match kernel.has_tile_registers {
            true => (0..blocks).step_by(4).map(|first| first..blocks.min(first + 4)).collect(),
            false => split_evenly(blocks, kernel.widest()),
        };
        PackedColumns {
            kernel,
            columns: source.columns.len(),
            words,
            packed,
            starts,
            totals,
            largest_sum,
            panels,
        }
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// No sum is larger than this, either way.
    pub fn largest_sum(&self) -> u32 {
        self.largest_sum
    }

    /// The sum of the weights of each column, zeros behind the last up to a multiple of 16; of columns packed for another
    /// zero point than 0, nothing.
    pub fn totals(&self) -> &[i32] {
        &self.totals
    }

    /// Bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        let starts = self.starts.as_ref().map_or(0, |starts| starts.len());
        self.packed.len() + starts + size_of_val(&self.totals[..])
    }

    /// Panels: columns that are computed at once.
    pub(crate) fn panels(&self) -> &[Range<usize>] {
        &self.panels
    }

    pub(crate) fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// Whether runs of so many words are multiplied in tile registers.
    pub(crate) fn takes_tiles(&self, words: usize) -> bool {
        #[cfg(target_arch = "x86_64")]
        if super::kernel::amx::Chunks::new(words).is_some() {
            return self.kernel.has_tile_registers;
        }
        let _ = words;
        false
    }

    /// Words of depth.
    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// Where a block begins; blocks follow each other.
    pub(crate) fn block(&self, block: usize) -> *const i8 {
        self.packed.as_ptr().wrapping_add(block * self.block_bytes()).cast()
    }

    pub(crate) fn block_bytes(&self) -> usize {
        self.words * BLOCK * WORD
    }

    /// What the sums of a block's columns begin with.
    pub(crate) fn start(&self, block: usize) -> *const i32 {
        match &self.starts {
            Some(starts) => starts.as_ptr().cast::<i32>().wrapping_add(block * BLOCK),
            None => ZEROS.0.as_ptr(),
        }
    }
}

/// `0..count` in as few ranges of at most `most` as there can be, of nearly equal length.
fn split_evenly(count: usize, most: usize) -> Vec<Range<usize>> {
    let ranges = count.div_ceil(most);
    (0..ranges).map(|i| count * i / ranges..count * (i + 1) / ranges).collect()
}
