//! AMX: a tile register holds 16 rows of 64 bytes, and `tdpbf16ps` multiplies one of 16 rows of 32 values with one of
//! 16 words by 16 columns in 16 cycles, four to eight times as much as `vdpbf16ps`.
//!
//! Stable Rust has no intrinsics for tiles, so the instructions stand as they are. Between two `asm!` blocks the tiles
//! are safe: the compiler uses none of them.

use super::{BLOCK, WORD};
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

    /// Words that hold so many in few chunks: where rows are copied anyway, the copy may end in zeros. Rows of a tile
    /// then never cross a cache line, which would make loading it several times slower.
    pub(crate) fn padded(words: usize) -> usize {
        match words {
            0..=TILE_WORDS => words.next_power_of_two().max(4),
            _ => words.next_multiple_of(TILE_WORDS),
        }
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
    /// The CPU has AMX-BF16 and the process may use it. No other `Tiles` exists on this thread.
    pub(crate) unsafe fn configure(rows: usize, chunks: Chunks) -> Tiles {
        debug_assert!((1..=TILE_ROWS).contains(&rows));
        let mut configuration =
            Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        let bytes = (chunks.words * WORD * size_of::<u16>()) as u16;
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

    /// Adds up one piece of rows, or where `PAIR` two, times one block, or where `TWO` two, and stores the sums. After
    /// every chunk `between` is called.
    ///
    /// # Safety
    /// The job describes memory that is readable and writable as its fields say, for the configured pieces.
    #[inline(always)]
    pub(crate) unsafe fn run<const PAIR: bool, const TWO: bool>(
        &self,
        job: &TileJob,
        mut between: impl FnMut(),
    ) {
        // SAFETY: every load reads rows or weights that the job vouches for; the sums have room for each piece.
        unsafe {
            asm!("tilezero tmm0", options(nostack, nomem));
            if TWO {
                asm!("tilezero tmm1", options(nostack, nomem));
            }
            if PAIR {
                asm!("tilezero tmm2", options(nostack, nomem));
            }
            if PAIR && TWO {
                asm!("tilezero tmm3", options(nostack, nomem));
            }
            let chunk_len = job.chunks.words * WORD;
            let mut panel = job.panel;
            for run in 0..job.run_count {
                let offset = *job.runs.add(run);
                let mut upper = job.rows.0.offset(offset);
                let mut lower = job.rows.1.offset(offset);
                for _ in 0..job.chunks.count {
                    self.step::<PAIR, TWO>(job, panel, upper, lower);
                    upper = upper.add(chunk_len);
                    lower = lower.add(chunk_len);
                    panel = panel.add(chunk_len * BLOCK);
                    between();
                }
            }
            let stride = job.sums_stride * size_of::<f32>();
            asm!(
                "tilestored [{sums} + {stride}*1], tmm0",
                sums = in(reg) job.sums.0, stride = in(reg) stride, options(nostack),
            );
            if TWO {
                asm!(
                    "tilestored [{sums} + {stride}*1], tmm1",
                    sums = in(reg) job.sums.0.add(BLOCK), stride = in(reg) stride, options(nostack),
                );
            }
            if PAIR {
                asm!(
                    "tilestored [{sums} + {stride}*1], tmm2",
                    sums = in(reg) job.sums.1, stride = in(reg) stride, options(nostack),
                );
            }
            if PAIR && TWO {
                asm!(
                    "tilestored [{sums} + {stride}*1], tmm3",
                    sums = in(reg) job.sums.1.add(BLOCK), stride = in(reg) stride, options(nostack),
                );
            }
        }
    }

    /// One chunk of depth.
    ///
    /// # Safety
    /// As for [`run`](Self::run).
    #[inline(always)]
    unsafe fn step<const PAIR: bool, const TWO: bool>(
        &self,
        job: &TileJob,
        panel: *const u16,
        upper: *const u16,
        lower: *const u16,
    ) {
        let line = BLOCK * WORD * size_of::<u16>();
        let right = panel.wrapping_add(job.block_len);
        let step = job.row_step * size_of::<u16>() as isize;
        // SAFETY: as granted by the caller.
        unsafe {
            match (PAIR, TWO) {
                (true, true) => asm!(
                    "tileloadd tmm6, [{left} + {line}*1]",
                    "tileloadd tmm4, [{upper} + {step}*1]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm7, [{right} + {line}*1]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tileloadd tmm5, [{lower} + {step}*1]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    left = in(reg) panel, right = in(reg) right, upper = in(reg) upper, lower = in(reg) lower,
                    line = in(reg) line, step = in(reg) step, options(nostack, readonly),
                ),
                (true, false) => asm!(
                    "tileloadd tmm6, [{left} + {line}*1]",
                    "tileloadd tmm4, [{upper} + {step}*1]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm5, [{lower} + {step}*1]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    left = in(reg) panel, upper = in(reg) upper, lower = in(reg) lower,
                    line = in(reg) line, step = in(reg) step, options(nostack, readonly),
                ),
                (false, true) => asm!(
                    "tileloadd tmm4, [{upper} + {step}*1]",
                    "tileloadd tmm6, [{left} + {line}*1]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm7, [{right} + {line}*1]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    left = in(reg) panel, right = in(reg) right, upper = in(reg) upper,
                    line = in(reg) line, step = in(reg) step, options(nostack, readonly),
                ),
                (false, false) => asm!(
                    "tileloadd tmm4, [{upper} + {step}*1]",
                    "tileloadd tmm6, [{left} + {line}*1]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    left = in(reg) panel, upper = in(reg) upper,
                    line = in(reg) line, step = in(reg) step, options(nostack, readonly),
                ),
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

/// One or two pieces of rows times one or two blocks.
pub(crate) struct TileJob {
    /// The first row of each piece, and values from one row to the next.
    pub rows: (*const u16, *const u16),
    pub row_step: isize,
    pub runs: *const isize,
    pub run_count: usize,
    pub chunks: Chunks,
    /// The first block of weights, and values from it to the next.
    pub panel: *const u16,
    pub block_len: usize,
    /// Where the sums of each piece go, `[rows][sums_stride]`.
    pub sums: (*mut f32, *mut f32),
    pub sums_stride: usize,
}
