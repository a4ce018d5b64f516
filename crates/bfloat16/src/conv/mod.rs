//! Convolution: a product whose rows are windows over a rounded copy of the input that stays in cache.

mod interleave;
mod plan;
mod pointwise;
mod strips;
mod weights;

pub(crate) use interleave::interleave;
pub use plan::{ConvPlan, TransposePlan};
pub use weights::{ConvWeights, TransposeWeights};

#[cfg(test)]
mod tests;
