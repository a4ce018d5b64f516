//! Convolution of u8 images with s8 weights: a product whose rows are windows.

mod direct;
mod interleave;
mod plan;
#[cfg(test)]
mod scalar;
mod strips;
mod weights;

pub use plan::{ConvArguments, ConvPlan, TransposePlan};
pub use weights::{ConvWeights, TransposeWeights};

#[cfg(test)]
mod tests;
