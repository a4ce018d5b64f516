//! Matrix products: a packed right-hand side, a left-hand side read in place, and an epilogue in registers.

mod blocked;
mod generic;
mod matrix;
mod micro;
mod once;
mod panels;
mod plan;
pub(crate) mod product;
pub mod scalar;
pub mod split;
pub(crate) mod tile;

pub use generic::multiply_generic;
pub use matrix::{Matrix, Products};
pub use once::multiply;
pub use panels::{PackedMatrix, PanelLayout};
pub use plan::{MatMulArguments, MatMulOperands, MatMulPlan, matmul_shape};
pub use product::Epilogue;
pub use split::{Grid, chunk, parts_for};

#[cfg(test)]
mod tests;
