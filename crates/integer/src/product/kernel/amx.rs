//! AMX: a tile register holds 16 rows of 64 bytes, and `tdpbusd` multiplies one of 16 rows of bytes with one of 16
//! words by 16 columns in 16 cycles, eight times as much as VNNI.
//!
//! Stable Rust has no intrinsics for tiles, so the instructions stand as they are. Between two `asm!` blocks the tiles
//! are safe: the compiler uses none of them.

use super::super::packing::{BLOCK, WORD};
use std::arch::asm;

/// Rows of a tile.
pub(crate) const TILE_ROWS: usize = 16;

/// Words of a tile's row.
const TILE_WORDS: usize = 16;

/// How depth is cut: every run in chunks of equal length, as tiles have one shape for all of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunks {
    /// Chunks of a run, and words of a chunk.
    pub count: usize,
    pub words: usize,
}

impl Chunks {
    /// The longest chunks that fill a run of that many words, if tiles are worth it.
    pub(crate) fn new(words: usize) -> Option<Chunks> {
        // With shorter chunks a tile takes as long as vectors do.
        let longest = (4..=TILE_WORDS).rev().find(|&chunk| words.is_multiple_of(chunk))?;
        (words > 0).then_some(Chunks { count: words / longest, words: longest })
    }
}

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// The tile registers of this thread, configured until dropped: sums in 0 to 3, rows in 4 and 5, weights in 6 and 7.
pub(crate) struct Tiles(());

impl Tiles {
    /// Configures tiles for pieces of `rows` pixels and such chunks.
    ///
    /// # Safety
    /// The CPU has AMX-INT8 and the process may use it. No other `Tiles` exists on this thread.
    pub(crate) unsafe fn configure(rows: usize, chunks: Chunks) -> Tiles {
        debug_assert!((1..=TILE_ROWS).contains(&rows));
        let mut configuration =
            Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        let bytes = (chunks.words * WORD) as u16;
        for (tile, height, row_bytes) in [
            (0, rows, 64),
            (1, rows, 64),
            (2, rows, 64),
            (3, rows, 64),
            (4, rows, bytes),
            (5, rows, bytes),
            (6, chunks.words, 64),
            (7, chunks.words, 64),
        ] {
            configuration.rows[tile] = height as u8;
            configuration.row_bytes[tile] = row_bytes;
        }
        // SAFETY: the configuration is one of palette 1, whose tiles have at most 16 rows of 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &configuration, options(nostack, readonly)) };
        Tiles(())
    }

    /// Adds up two pieces of rows times one block, or where `TWO` times two, and leaves the sums in a buffer.
    ///
    /// # Safety
    /// The job describes memory that is readable and writable as its fields say, for the configured pieces.
    #[inline(always)]
    pub(crate) unsafe fn run<const TWO: bool>(&self, job: &TileJob) {
        // SAFETY: every load reads rows, weights or starts that the job vouches for; the sums have room for each piece.
        unsafe {
            // A stride of 0 repeats the starts in every row.
            asm!(
                "tileloadd tmm0, [{start} + {zero}*1]",
                "tileloadd tmm2, [{start} + {zero}*1]",
                start = in(reg) job.start,
                zero = in(reg) 0usize,
                options(nostack, readonly),
            );
            if TWO {
                asm!(
                    "tileloadd tmm1, [{start} + {zero}*1]",
                    "tileloadd tmm3, [{start} + {zero}*1]",
                    start = in(reg) job.start.add(BLOCK),
                    zero = in(reg) 0usize,
                    options(nostack, readonly),
                );
            }
            let chunk_bytes = job.chunks.words * WORD;
            let mut panel = job.panel;
            for run in 0..job.run_count {
                let offset = *job.runs.add(run);
                let mut upper = job.rows.0.offset(offset);
                let mut lower = job.rows.1.offset(offset);
                for _ in 0..job.chunks.count {
                    if TWO {
                        asm!(
                            "tileloadd tmm6, [{left} + {line}*1]",
                            "tileloadd tmm4, [{upper} + {step}*1]",
                            "tdpbusd tmm0, tmm4, tmm6",
                            "tileloadd tmm7, [{right} + {line}*1]",
                            "tdpbusd tmm1, tmm4, tmm7",
                            "tileloadd tmm5, [{lower} + {step}*1]",
                            "tdpbusd tmm2, tmm5, tmm6",
                            "tdpbusd tmm3, tmm5, tmm7",
                            left = in(reg) panel,
                            right = in(reg) panel.wrapping_add(job.block_bytes),
                            upper = in(reg) upper,
                            lower = in(reg) lower,
                            line = in(reg) BLOCK * WORD,
                            step = in(reg) job.row_step,
                            options(nostack, readonly),
                        );
                    } else {
                        asm!(
                            "tileloadd tmm6, [{left} + {line}*1]",
                            "tileloadd tmm4, [{upper} + {step}*1]",
                            "tdpbusd tmm0, tmm4, tmm6",
                            "tileloadd tmm5, [{lower} + {step}*1]",
                            "tdpbusd tmm2, tmm5, tmm6",
                            left = in(reg) panel,
                            upper = in(reg) upper,
                            lower = in(reg) lower,
                            line = in(reg) BLOCK * WORD,
                            step = in(reg) job.row_step,
                            options(nostack, readonly),
                        );
                    }
                    upper = upper.add(chunk_bytes);
                    lower = lower.add(chunk_bytes);
                    panel = panel.add(chunk_bytes * BLOCK);
                }
            }
            asm!(
                "tilestored [{upper} + {stride}*1], tmm0",
                "tilestored [{lower} + {stride}*1], tmm2",
                upper = in(reg) job.sums.0,
                lower = in(reg) job.sums.1,
                stride = in(reg) job.sums_stride * size_of::<i32>(),
                options(nostack),
            );
            if TWO {
                asm!(
                    "tilestored [{upper} + {stride}*1], tmm1",
                    "tilestored [{lower} + {stride}*1], tmm3",
                    upper = in(reg) job.sums.0.add(BLOCK),
                    lower = in(reg) job.sums.1.add(BLOCK),
                    stride = in(reg) job.sums_stride * size_of::<i32>(),
                    options(nostack),
                );
            }
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: the CPU has the instruction, as tiles were configured. Tiles that are in use would make every switch
        // of threads slower.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// Two pieces of rows, which may be the same one twice, times one or two blocks.
pub(crate) struct TileJob {
    /// The first row of each piece, and bytes from one row to the next.
    pub rows: (*const u8, *const u8),
    pub row_step: isize,
    pub runs: *const isize,
    pub run_count: usize,
    pub chunks: Chunks,
    /// The first block of weights, and bytes from it to the next.
    pub panel: *const i8,
    pub block_bytes: usize,
    /// What the sums of the columns begin with.
    pub start: *const i32,
    /// Where the sums of each piece go, `[rows][sums_stride]`.
    pub sums: (*mut i32, *mut i32),
    pub sums_stride: usize,
}
