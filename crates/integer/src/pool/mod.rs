//! Pooling of bytes in channels-last memory, and the largest of bfloat16, whose order is that of integers.

mod global;
mod rows;
mod squeeze_excite;
mod window;

pub use global::GlobalAveragePlan;
pub use squeeze_excite::{SqueezeExciteArguments, SqueezeExcitePlan};
pub use window::{PoolPlan, WindowReduction};

use crate::{Quantization, Requantize};

/// What the means of bytes become.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MeanOutput {
    /// Real numbers, as float32.
    Real,
    /// Bytes again.
    Bytes(Requantize),
}

/// Means of bytes: what they stand for, and what becomes of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// What the bytes stand for.
    pub x: Quantization,
    /// What their means become.
    pub output: MeanOutput,
}

impl Mean {
    /// The factor of a sum of `count` steps.
    pub(crate) fn factor(&self, count: usize) -> f32 {
        self.x.scale() / count as f32
    }

    /// Bytes of one output.
    pub fn output_bytes(&self) -> usize {
        match self.output {
            MeanOutput::Real => size_of::<f32>(),
            MeanOutput::Bytes(_) => 1,
        }
    }
}

#[cfg(test)]
mod tests;
