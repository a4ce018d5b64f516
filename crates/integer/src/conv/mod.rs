//! Convolution of u8 images with s8 weights: a product whose rows are windows.

mod direct;
mod plan;
pub mod scalar;
mod strips;
mod weights;

pub use plan::{ConvArguments, ConvPlan};
pub use weights::ConvWeights;

#[cfg(test)]
mod tests;
