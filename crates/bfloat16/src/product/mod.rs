//! Products of bfloat16 rows, read where they lie, and packed columns.

mod blocks;
mod epilogue;
mod packing;
#[cfg(target_arch = "x86_64")]
mod tiles;

pub(crate) use blocks::{Product, Surface};
pub(crate) use epilogue::{Finish, Rounded, SumBlock};
pub(crate) use packing::ColumnLayout;
pub use packing::PackedColumns;
