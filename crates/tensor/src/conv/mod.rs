//! Convolution and transposed convolution on channels-last memory.

mod direct;
mod geometry;
pub(crate) mod interleave;
mod plan;
mod rows;
pub mod scalar;
mod strip;
mod transpose;
mod windows;

pub(crate) use geometry::three;
pub use geometry::{AutoPad, Axis, WindowAttributes, five};
pub use plan::{ConvArguments, ConvPlan, ConvShape, ConvWeights, MAX_INPUTS};
pub use transpose::{
    Axis as TransposeAxis, TransposeAttributes, TransposePlan, TransposeShape, TransposeWeights,
};
pub use windows::{WindowAxis, Windows};

#[cfg(test)]
mod tests;
