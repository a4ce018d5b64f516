//! Columns as the kernels read them: `[block of 16 columns][word of 2 in depth][16][2]`.
//!
//! A vector instruction multiplies two neighbouring values of a row with two of each of 16 columns, so the depth of every
//! run is padded with zeros to whole words, and the columns to whole blocks.

use crate::kernel::{BLOCK, Kernel, MAX_BLOCKS, WORD, kernel};
use std::ops::Range;
use vedette_memory::AlignedBuffer;
use vedette_simd::{Isa, bf16_bits};

/// Values of a word of all columns of a block.
pub(super) const LINE: usize = BLOCK * WORD;

/// Depth down to which L1 holds four blocks of columns beside two pieces of rows for the tile registers and what becomes
/// of them; beyond it holds two.
const SHALLOW: usize = 144;

/// How a matrix is packed for a level.
#[derive(Clone, Debug)]
pub(crate) struct ColumnLayout {
    isa: Isa,
    kernel: &'static Kernel,
    columns: usize,
    /// Runs of depth, all of as many values.
    runs: usize,
    depth: usize,
    /// Words of a run.
    words: usize,
    /// Blocks of every panel.
    panels: Vec<Range<usize>>,
}

impl ColumnLayout {
    /// The layout of `columns` columns whose depth is `runs` runs of `depth` values. Where rows are copied, so that they
    /// can be made as long as wished, `padded` lets the runs be padded to what tiles like.
    pub(crate) fn new(isa: Isa, columns: usize, (runs, depth): (usize, usize), padded: bool) -> ColumnLayout {
        let kernel = kernel(isa);
        let words = depth.div_ceil(WORD);
        #[cfg(target_arch = "x86_64")]
        let words = match kernel.has_tile_registers && padded {
            true => crate::kernel::amx::Chunks::padded(words),
            false => words,
        };
        let _ = padded;
        let blocks = columns.div_ceil(BLOCK);
        let most = match kernel.has_tile_registers && runs * words * WORD > SHALLOW {
            true => MAX_BLOCKS / 2,
            false => MAX_BLOCKS,
        };
        let count = blocks.div_ceil(most);
        let panels = (0..count).map(|i| blocks * i / count..blocks * (i + 1) / count).collect();
        ColumnLayout { isa, kernel, columns, runs, depth, words, panels }
    }

    /// The level it is for.
    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// Columns.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Values of a run, with its padding.
    pub(crate) fn run_len(&self) -> usize {
        self.words * WORD
    }

    /// Words of a run.
    pub(crate) fn words(&self) -> usize {
        self.words
    }

    pub(crate) fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// Panels: columns that are computed at once.
    pub(crate) fn panels(&self) -> &[Range<usize>] {
        &self.panels
    }

    /// Values of a block of columns.
    pub(crate) fn block_len(&self) -> usize {
        self.runs * self.words * LINE
    }

    /// Blocks.
    pub(crate) fn blocks(&self) -> usize {
        self.columns.div_ceil(BLOCK)
    }

    /// Values of a packed matrix.
    pub(crate) fn packed_len(&self) -> usize {
        self.blocks() * self.block_len()
    }

    /// Packs a matrix: the value of a column at depth `d` of a run lies at `source + runs[run][d] + columns[column]`,
    /// and is zero where there is no such offset.
    ///
    /// # Safety
    /// Those values are readable; `packed` has room for [`packed_len`](Self::packed_len) values.
    pub(crate) unsafe fn pack(
        &self,
        source: *const f32,
        columns: &[isize],
        runs: &[Vec<Option<isize>>],
        packed: *mut u16,
    ) {
        debug_assert!(columns.len() == self.columns && runs.len() == self.runs);
        // SAFETY: as granted by the caller.
        unsafe { packed.write_bytes(0, self.packed_len()) };
        for (column, &offset) in columns.iter().enumerate() {
            let (block, lane) = (column / BLOCK, column % BLOCK);
            for (number, run) in runs.iter().enumerate() {
                debug_assert_eq!(run.len(), self.depth);
                let first = block * self.block_len() + number * self.words * LINE + lane * WORD;
                for (d, at) in run.iter().enumerate().filter_map(|(d, at)| Some((d, (*at)?))) {
                    // SAFETY: a value the caller grants, and its place in the packed matrix.
                    unsafe {
                        let value = *source.wrapping_offset(offset).wrapping_offset(at);
                        packed.add(first + d / WORD * LINE + d % WORD).write(bf16_bits(value));
                    }
                }
            }
        }
    }

    /// Packs these blocks of a matrix of one run with these strides, scaled by `scale`.
    ///
    /// # Safety
    /// The matrix is readable; `packed` has room for [`packed_len`](Self::packed_len) values.
    pub(crate) unsafe fn pack_strided(
        &self,
        blocks: Range<usize>,
        source: *const f32,
        strides: (isize, isize),
        scale: f32,
        packed: *mut u16,
    ) {
        for block in blocks {
            let first = block * BLOCK;
            let columns = BLOCK.min(self.columns - first);
            let from = source.wrapping_offset(first as isize * strides.1);
            let to = packed.wrapping_add(block * self.block_len());
            // SAFETY: the columns of this block, and its place.
            unsafe {
                #[cfg(target_arch = "x86_64")]
                if self.isa.has_bf16() && columns == BLOCK && (strides.0 == 1 || strides.1 == 1) {
                    match strides {
                        (1, column) => x86::from_columns(from, column, self.depth, self.words, scale, to),
                        (row, _) => x86::from_rows(from, row, self.depth, self.words, scale, to),
                    }
                    continue;
                }
                self.pack_block(from, strides, columns, scale, to);
            }
        }
    }

    /// The same of values that are rounded already.
    ///
    /// # Safety
    /// As for [`pack_strided`](Self::pack_strided).
    pub(crate) unsafe fn pack_rounded(
        &self,
        blocks: Range<usize>,
        source: *const u16,
        (row, column): (isize, isize),
        packed: *mut u16,
    ) {
        for block in blocks {
            let first = block * BLOCK;
            let columns = BLOCK.min(self.columns - first);
            let from = source.wrapping_offset(first as isize * column);
            let to = packed.wrapping_add(block * self.block_len());
            // SAFETY: the columns of this block, and its place.
            unsafe {
                #[cfg(target_arch = "x86_64")]
                if self.isa.has_bf16() && columns == BLOCK && (row == 1 || column == 1) {
                    match row {
                        1 => x86::from_rounded_columns(from, column, self.depth, self.words, to),
                        _ => x86::from_rounded_rows(from, row, self.depth, self.words, to),
                    }
                    continue;
                }
                to.write_bytes(0, self.block_len());
                for k in 0..self.depth {
                    let (from, to) = (from.offset(k as isize * row), to.add(k / WORD * LINE + k % WORD));
                    for lane in 0..columns {
                        to.add(lane * WORD).write(*from.offset(lane as isize * column));
                    }
                }
            }
        }
    }

    /// # Safety
    /// As for [`pack_strided`](Self::pack_strided), for one block.
    unsafe fn pack_block(
        &self,
        from: *const f32,
        (row, column): (isize, isize),
        columns: usize,
        scale: f32,
        to: *mut u16,
    ) {
        // SAFETY: as granted by the caller.
        unsafe {
            to.write_bytes(0, self.block_len());
            for k in 0..self.depth {
                let from = from.offset(k as isize * row);
                let to = to.add(k / WORD * LINE + k % WORD);
                for lane in 0..columns {
                    to.add(lane * WORD).write(bf16_bits(*from.offset(lane as isize * column) * scale));
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{BLOCK, LINE, WORD};
    use std::arch::x86_64::*;

    type Lines = [__m512i; BLOCK];

    /// Packs 16 columns that are runs of `depth` values, one every `step`, as `words` words.
    ///
    /// # Safety
    /// The columns are readable, `to` is writable for the words; the CPU has AVX-512 BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    pub(super) unsafe fn from_columns(
        from: *const f32,
        step: isize,
        depth: usize,
        words: usize,
        scale: f32,
        to: *mut u16,
    ) {
        let scale = _mm512_set1_ps(scale);
        let lanes = |n: usize| ((1u32 << n.min(16)) - 1) as __mmask16;
        for first in (0..words).step_by(BLOCK) {
            let k = first * WORD;
            let left = depth.saturating_sub(k);
            let (low, high) = (lanes(left), lanes(left.saturating_sub(16)));
            // SAFETY: masked lanes are not read; the words end with `words`.
            unsafe {
                let line = |column: usize| {
                    let at = from.offset(column as isize * step).wrapping_add(k);
                    let a = _mm512_mul_ps(_mm512_maskz_loadu_ps(low, at), scale);
                    let b = _mm512_mul_ps(_mm512_maskz_loadu_ps(high, at.wrapping_add(16)), scale);
                    std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(b, a))
                };
                let turned = transpose(std::array::from_fn(line));
                for (word, line) in turned.into_iter().enumerate().take(words - first) {
                    _mm512_storeu_si512(to.add((first + word) * LINE).cast(), line);
                }
            }
        }
    }

    /// The same of values that are rounded already.
    ///
    /// # Safety
    /// As for [`from_columns`].
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) unsafe fn from_rounded_columns(
        from: *const u16,
        step: isize,
        depth: usize,
        words: usize,
        to: *mut u16,
    ) {
        for first in (0..words).step_by(BLOCK) {
            let k = first * WORD;
            let lanes = ((1u64 << depth.saturating_sub(k).min(32)) - 1) as __mmask32;
            // SAFETY: masked lanes are not read; the words end with `words`.
            unsafe {
                let line = |column: usize| {
                    let at = from.offset(column as isize * step).wrapping_add(k);
                    _mm512_maskz_loadu_epi16(lanes, at.cast())
                };
                let turned = transpose(std::array::from_fn(line));
                for (word, line) in turned.into_iter().enumerate().take(words - first) {
                    _mm512_storeu_si512(to.add((first + word) * LINE).cast(), line);
                }
            }
        }
    }

    /// The transposed matrix of 16 x 16 words.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn transpose(x: Lines) -> Lines {
        // Words of two lines, then pairs of words of four lines, then quarters of vectors change places.
        let mut y = x;
        for i in (0..16).step_by(2) {
            y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
            y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
        }
        let mut z = y;
        for i in (0..16).step_by(4) {
            z[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
            z[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
            z[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
            z[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
        }
        // z[4 q + r] holds in quarter p the words of lines 4 q .. 4 q + 4 at column 4 p + r.
        let mut turned = z;
        for r in 0..4 {
            let (a, b, c, d) = (z[r], z[4 + r], z[8 + r], z[12 + r]);
            let ab_even = _mm512_shuffle_i32x4::<0x88>(a, b);
            let ab_odd = _mm512_shuffle_i32x4::<0xdd>(a, b);
            let cd_even = _mm512_shuffle_i32x4::<0x88>(c, d);
            let cd_odd = _mm512_shuffle_i32x4::<0xdd>(c, d);
            turned[r] = _mm512_shuffle_i32x4::<0x88>(ab_even, cd_even);
            turned[4 + r] = _mm512_shuffle_i32x4::<0x88>(ab_odd, cd_odd);
            turned[8 + r] = _mm512_shuffle_i32x4::<0xdd>(ab_even, cd_even);
            turned[12 + r] = _mm512_shuffle_i32x4::<0xdd>(ab_odd, cd_odd);
        }
        turned
    }

    /// Packs 16 neighbouring columns of `depth` rows, one every `step`, as `words` words.
    ///
    /// # Safety
    /// As for [`from_columns`].
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    pub(super) unsafe fn from_rows(
        from: *const f32,
        step: isize,
        depth: usize,
        words: usize,
        scale: f32,
        to: *mut u16,
    ) {
        let scale = _mm512_set1_ps(scale);
        // The values of the first row stand in the lower half, those of the second in the upper.
        let order: [u16; 32] = std::array::from_fn(|i| (i / 2 + i % 2 * 16) as u16);
        // SAFETY: rows below the depth are readable for 16 values, words below `words` writable.
        unsafe {
            let order = _mm512_loadu_si512(order.as_ptr().cast());
            let row = |k: usize| match k < depth {
                true => _mm512_mul_ps(_mm512_loadu_ps(from.offset(k as isize * step)), scale),
                false => _mm512_setzero_ps(),
            };
            for word in 0..words {
                let both = _mm512_cvtne2ps_pbh(row(2 * word + 1), row(2 * word));
                let line = _mm512_permutexvar_epi16(order, std::mem::transmute::<__m512bh, __m512i>(both));
                _mm512_storeu_si512(to.add(word * LINE).cast(), line);
            }
        }
    }

    /// The same of values that are rounded already.
    ///
    /// # Safety
    /// As for [`from_columns`].
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) unsafe fn from_rounded_rows(
        from: *const u16,
        step: isize,
        depth: usize,
        words: usize,
        to: *mut u16,
    ) {
        let order: [u16; 32] = std::array::from_fn(|i| (i / 2 + i % 2 * 16) as u16);
        // SAFETY: rows below the depth are readable for 16 values, words below `words` writable.
        unsafe {
            let order = _mm512_loadu_si512(order.as_ptr().cast());
            let row = |k: usize| match k < depth {
                true => _mm256_loadu_si256(from.offset(k as isize * step).cast()),
                false => _mm256_setzero_si256(),
            };
            for word in 0..words {
                let both = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(row(2 * word)), row(2 * word + 1));
                _mm512_storeu_si512(to.add(word * LINE).cast(), _mm512_permutexvar_epi16(order, both));
            }
        }
    }
}

/// Matrices of one layout packed once, for products with many others.
#[derive(Debug)]
pub struct PackedColumns {
    layout: ColumnLayout,
    data: AlignedBuffer,
}

impl PackedColumns {
    /// Packs matrices by a function that is given the layout, the number of a matrix and where it goes.
    ///
    /// # Safety
    /// The function must be sound for memory of [`ColumnLayout::packed_len`] values.
    pub(crate) unsafe fn new(
        layout: ColumnLayout,
        count: usize,
        mut pack: impl FnMut(&ColumnLayout, usize, *mut u16),
    ) -> PackedColumns {
        let mut data = AlignedBuffer::new(layout.packed_len() * count * size_of::<u16>());
        for i in 0..count {
            let to = data.as_mut_ptr().cast::<u16>().wrapping_add(i * layout.packed_len());
            pack(&layout, i, to);
        }
        PackedColumns { layout, data }
    }

    /// How they are packed.
    pub(crate) fn layout(&self) -> &ColumnLayout {
        &self.layout
    }

    /// Where a matrix begins.
    pub(crate) fn as_ptr(&self, number: usize) -> *const u16 {
        self.data.as_ptr().cast::<u16>().wrapping_add(number * self.layout.packed_len())
    }

    /// Bytes of memory they take.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_pack_gives_the_same() {
        for (depth, columns) in [(1, 16), (7, 33), (32, 16), (40, 48), (65, 20)] {
            let values: Vec<f32> =
                (0..depth * columns).map(|i| ((i * 7919) % 1013) as f32 / 37.0 - 13.0).collect();
            let turned: Vec<f32> = (0..columns)
                .flat_map(|n| (0..depth).map(move |k| (k, n)))
                .map(|(k, n)| values[k * columns + n])
                .collect();
            for isa in Isa::available() {
                for padded in [false, true] {
                    let layout = ColumnLayout::new(isa, columns, (1, depth), padded);
                    let blocks = 0..layout.blocks();
                    let room = || vec![1u16; layout.packed_len()];
                    let (mut plain, mut rows, mut runs, mut strided) = (room(), room(), room(), room());
                    let spread: Vec<f32> = values.iter().flat_map(|&x| [x, 9.0]).collect();
                    let (down, across) = (columns as isize, depth as isize);
                    let offsets: Vec<isize> = (0..columns as isize).collect();
                    let run = vec![(0..depth as isize).map(|k| Some(k * down)).collect::<Vec<_>>()];
                    // SAFETY: the strides are those of the vectors, the buffers as long as the layout says.
                    unsafe {
                        layout.pack(values.as_ptr(), &offsets, &run, plain.as_mut_ptr());
                        layout.pack_strided(
                            blocks.clone(),
                            values.as_ptr(),
                            (down, 1),
                            1.0,
                            rows.as_mut_ptr(),
                        );
                        layout.pack_strided(
                            blocks.clone(),
                            turned.as_ptr(),
                            (1, across),
                            1.0,
                            runs.as_mut_ptr(),
                        );
                        let strides = (2 * down, 2);
                        layout.pack_strided(blocks, spread.as_ptr(), strides, 1.0, strided.as_mut_ptr());
                    }
                    // Values that bfloat16 holds are packed alike, rounded before or then.
                    let bits = |values: &[f32]| values.iter().map(|&x| bf16_bits(x)).collect::<Vec<u16>>();
                    let (mut by_row, mut by_column, mut apart) = (room(), room(), room());
                    let all = || 0..layout.blocks();
                    // SAFETY: as above.
                    unsafe {
                        layout.pack_rounded(all(), bits(&values).as_ptr(), (down, 1), by_row.as_mut_ptr());
                        layout.pack_rounded(
                            all(),
                            bits(&turned).as_ptr(),
                            (1, across),
                            by_column.as_mut_ptr(),
                        );
                        layout.pack_rounded(all(), bits(&spread).as_ptr(), (2 * down, 2), apart.as_mut_ptr());
                    }
                    for found in [rows, runs, strided, by_row, by_column, apart] {
                        assert!(found == plain, "{} {depth} x {columns}", isa.name());
                    }
                    for (k, n) in (0..depth).flat_map(|k| (0..columns).map(move |n| (k, n))) {
                        let at = n / 16 * layout.block_len() + k / 2 * LINE + n % 16 * 2 + k % 2;
                        assert_eq!(plain[at], bf16_bits(values[k * columns + n]));
                    }
                }
            }
        }
    }
}
