//! Products of u8 rows with s8 columns, the rows given as u8 or quantized one by one.

mod core;
mod dynamic;
mod plan;
mod rows;

pub use dynamic::{DynamicArguments, DynamicParameters, DynamicPlan};
pub use plan::{MatMulArguments, MatMulPlan, pack_columns};

#[cfg(test)]
mod tests;
