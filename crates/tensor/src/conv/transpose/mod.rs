//! Transposed convolution without scattering: the output positions of one remainder by the strides see the same taps,
//! so each such phase is a convolution with stride 1.

mod plan;
mod shape;
mod weights;

pub use plan::TransposePlan;
pub use shape::{Axis, TransposeAttributes, TransposeShape};
pub use weights::TransposeWeights;
