//! Micro-kernels: a few rows times one panel, summed in registers and left in a buffer of sums.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

use vedette_simd::Isa;

/// Columns of a block.
pub(crate) const BLOCK: usize = 16;

/// Values of a word: neighbours in depth, which the units multiply and add as one.
pub(crate) const WORD: usize = 2;

/// Most rows any kernel takes at once.
pub(crate) const MAX_ROWS: usize = 12;

/// Most blocks any kernel takes at once.
pub(crate) const MAX_BLOCKS: usize = 4;

/// One tile of work: `sums = sum over runs of rows[..] x panel`.
pub(crate) struct Tile {
    /// Where each row begins.
    pub rows: *const *const u16,
    pub height: usize,
    /// Where the runs begin, in values from the beginning of a row.
    pub runs: *const isize,
    pub run_count: usize,
    /// Words of every run.
    pub words: usize,
    /// The first block of the panel.
    pub panel: *const u16,
    pub blocks: usize,
    /// Values from one block to the next.
    pub block_len: usize,
    /// `[height][sums_stride]`
    pub sums: *mut f32,
    pub sums_stride: usize,
}

pub(crate) type TileFn = unsafe fn(&Tile);

/// The kernels of a level.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// `tiles[b][r]` takes `b + 1` blocks and `r + 1` rows.
    tiles: &'static [&'static [TileFn]],
    /// Multiply-accumulates that take as long as one of the float32 kernels, about.
    pub speed: u64,
    /// Whether products go to the tile registers of AMX where their shape allows it.
    pub has_tile_registers: bool,
}

impl Kernel {
    /// Most rows for a panel of that many blocks.
    pub(crate) fn tallest(&self, blocks: usize) -> usize {
        self.tiles[blocks - 1].len()
    }

    /// Computes a tile.
    ///
    /// # Safety
    /// The tile describes memory that is readable and writable as its fields say.
    #[inline(always)]
    pub(crate) unsafe fn run(&self, tile: &Tile) {
        // SAFETY: as granted by the caller; a kernel is only reached through an `Isa` that the CPU has.
        unsafe { self.tiles[tile.blocks - 1][tile.height - 1](tile) };
    }
}

/// The kernel for a level.
pub(crate) fn kernel(isa: Isa) -> &'static Kernel {
    #[cfg(target_arch = "x86_64")]
    if isa.has_bf16_tiles() {
        return &avx512::BESIDE_AMX;
    } else if isa.has_bf16() {
        return &avx512::KERNEL;
    }
    let _ = isa;
    &scalar::KERNEL
}
