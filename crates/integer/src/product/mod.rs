//! Products of u8 rows, read where they lie, and packed s8 columns.

mod blocks;
mod kernel;
mod packing;
#[cfg(target_arch = "x86_64")]
mod tiles;

pub(crate) use blocks::{Product, Surface};
pub use packing::PackedColumns;
pub(crate) use packing::{BLOCK, ColumnWeights, WORD};
