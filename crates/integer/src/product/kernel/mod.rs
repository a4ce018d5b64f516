//! Micro-kernels: a few rows times one panel, summed in registers and left in a buffer of sums.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod vnni;

use vedette_simd::Isa;

/// Most rows any kernel takes at once.
pub(crate) const MAX_ROWS: usize = 12;

/// Most blocks any kernel takes at once.
pub(crate) const MAX_BLOCKS: usize = 4;

/// One tile of work: `sums = start + sum over runs of rows[..] x panel`.
pub(crate) struct Tile {
    /// Where each row begins.
    pub rows: *const *const u8,
    pub height: usize,
    /// Where the runs begin, in bytes from the beginning of a row.
    pub runs: *const isize,
    pub run_count: usize,
    /// Words of every run.
    pub words: usize,
    /// The first block of the panel.
    pub panel: *const i8,
    pub blocks: usize,
    /// Bytes from one block to the next.
    pub block_bytes: usize,
    /// What the sums of each column begin with.
    pub start: *const i32,
    /// `[height][sums_stride]`
    pub sums: *mut i32,
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
    /// Most blocks of a panel.
    pub(crate) fn widest(&self) -> usize {
        self.tiles.len()
    }

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

/// Every kernel that serves a level on this CPU, the best first.
pub(crate) fn kernels(isa: Isa) -> Vec<&'static Kernel> {
    let mut kernels = vec![&scalar::KERNEL];
    #[cfg(target_arch = "x86_64")]
    {
        use vedette_simd::{Level, features};
        if isa.level() >= Level::Avx2 {
            kernels.push(&avx2::KERNEL);
        }
        if isa.level() >= Level::Avx2 && features().avx_vnni {
            kernels.push(&avx_vnni::KERNEL);
        }
        if isa.level() >= Level::Avx512 && features().avx512_vnni {
            kernels.push(&vnni::KERNEL);
            if isa.has_tiles() {
                kernels.push(&vnni::BESIDE_AMX);
            }
        }
    }
    let _ = isa;
    kernels.reverse();
    kernels
}

/// The best kernel for a level.
pub(crate) fn kernel(isa: Isa) -> &'static Kernel {
    kernels(isa)[0]
}

#[cfg(test)]
mod tests;
