//! Products of u8 rows, read where they lie, and packed s8 columns.

mod blocks;
mod kernel;
mod packing;

pub(crate) use blocks::{Product, Surface};
pub use packing::{ColumnWeights, PackedColumns};
