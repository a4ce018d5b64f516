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

/// The tile registers of this thread, configured until dropped: two sets of sums in 0 and 1 and in 2 and 3, the rows of
/// each in 4 and 5, weights in 6 and 7.
///
/// Registers are not renamed: a product waits until the sums that its registers held are stored. So the sums of one set
/// are stored while the other one is multiplied, and the vector units finish what was stored before.
pub(crate) struct Tiles(());

/// One of the two sets of sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    First,
    Second,
}

impl Set {
    /// The other one.
    pub(crate) fn other(self) -> Set {
        match self {
            Set::First => Set::Second,
            Set::Second => Set::First,
        }
    }
}

macro_rules! multiply {
    ($job:ident, $between:ident, one: $sum:literal, $rows:literal) => {
        multiply!(@ $job, $between,
            [concat!("tileloadd ", $sum, ", [{begin} + {stride}*1]")],
            [
                "tileloadd tmm6, [{left} + {line}*1]",
                concat!("tileloadd ", $rows, ", [{rows} + {step}*1]"),
                concat!("tdpbusd ", $sum, ", ", $rows, ", tmm6"),
                "/* {right} */",
            ])
    };
    ($job:ident, $between:ident, two: $left:literal, $right:literal, $rows:literal) => {
        multiply!(@ $job, $between,
            [
                concat!("tileloadd ", $left, ", [{begin} + {stride}*1]"),
                concat!("tileloadd ", $right, ", [{begin} + {stride}*1 + 64]"),
            ],
            [
                "tileloadd tmm6, [{left} + {line}*1]",
                concat!("tileloadd ", $rows, ", [{rows} + {step}*1]"),
                concat!("tdpbusd ", $left, ", ", $rows, ", tmm6"),
                "tileloadd tmm7, [{right} + {line}*1]",
                concat!("tdpbusd ", $right, ", ", $rows, ", tmm7"),
            ])
    };
    (@ $job:ident, $between:ident, [$($begin:expr),+ $(,)?], [$($step:expr),+ $(,)?]) => {{
        asm!(
            $($begin),+,
            begin = in(reg) $job.begin,
            stride = in(reg) $job.begin_stride * size_of::<i32>(),
            options(nostack, readonly),
        );
        let chunk_bytes = $job.chunks.words * WORD;
        let (mut panel, mut right) = ($job.panel, $job.panel.wrapping_add($job.block_bytes));
        let (mut run, first_chunk) = $job.first;
        let mut rows = $job.rows.wrapping_offset(*$job.runs.add(run)).wrapping_add(first_chunk * chunk_bytes);
        let mut left_of_run = $job.chunks.count - first_chunk;
        for _ in 0..$job.count {
            if left_of_run == 0 {
                run += 1;
                rows = $job.rows.wrapping_offset(*$job.runs.add(run));
                left_of_run = $job.chunks.count;
            }
            asm!(
                $($step),+,
                left = in(reg) panel,
                right = in(reg) right,
                rows = in(reg) rows,
                line = in(reg) BLOCK * WORD,
                step = in(reg) $job.row_step,
                options(nostack, readonly),
            );
            rows = rows.wrapping_add(chunk_bytes);
            panel = panel.wrapping_add(chunk_bytes * BLOCK);
            right = right.wrapping_add(chunk_bytes * BLOCK);
            left_of_run -= 1;
            $between();
        }
    }};
}

macro_rules! store {
    ($to:ident, $stride:ident, $($store:expr),+) => {
        asm!(
            $($store),+,
            to = in(reg) $to,
            stride = in(reg) $stride * size_of::<i32>(),
            options(nostack),
        )
    };
}

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

    /// Adds a piece of rows times one block, or two where `two`, to the sums it begins with, in a set of registers.
    /// After every chunk `between` is called.
    ///
    /// # Safety
    /// The job describes memory that is readable as its fields say, for the configured pieces.
    #[inline(always)]
    pub(crate) unsafe fn multiply(&self, set: Set, two: bool, job: &TileJob, mut between: impl FnMut()) {
        // SAFETY: every load reads rows, weights or first sums that the job vouches for.
        unsafe {
            match (set, two) {
                (Set::First, true) => multiply!(job, between, two: "tmm0", "tmm1", "tmm4"),
                (Set::First, false) => multiply!(job, between, one: "tmm0", "tmm4"),
                (Set::Second, true) => multiply!(job, between, two: "tmm2", "tmm3", "tmm5"),
                (Set::Second, false) => multiply!(job, between, one: "tmm2", "tmm5"),
            }
        }
    }

    /// Stores the sums of a set as rows of `stride` sums.
    ///
    /// # Safety
    /// As many rows as were configured are writable.
    #[inline(always)]
    pub(crate) unsafe fn store(&self, set: Set, two: bool, to: *mut i32, stride: usize) {
        // SAFETY: as granted by the caller.
        unsafe {
            match (set, two) {
                (Set::First, true) => store!(
                    to,
                    stride,
                    "tilestored [{to} + {stride}*1], tmm0",
                    "tilestored [{to} + {stride}*1 + 64], tmm1"
                ),
                (Set::First, false) => store!(to, stride, "tilestored [{to} + {stride}*1], tmm0"),
                (Set::Second, true) => store!(
                    to,
                    stride,
                    "tilestored [{to} + {stride}*1], tmm2",
                    "tilestored [{to} + {stride}*1 + 64], tmm3"
                ),
                (Set::Second, false) => store!(to, stride, "tilestored [{to} + {stride}*1], tmm2"),
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

/// A piece of rows times one or two blocks, over a part of the depth.
pub(crate) struct TileJob {
    /// The first row, and bytes from one row to the next.
    pub rows: *const u8,
    pub row_step: isize,
    /// Where the runs begin.
    pub runs: *const isize,
    pub chunks: Chunks,
    /// The first run and its first chunk, and how many chunks.
    pub first: (usize, usize),
    pub count: usize,
    /// The weights of the first chunk, and bytes from one block to the next.
    pub panel: *const i8,
    pub block_bytes: usize,
    /// What the sums begin with, and from one row of it to the next; 0 where every row begins alike.
    pub begin: *const i32,
    pub begin_stride: usize,
}
