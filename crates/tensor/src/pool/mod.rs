//! Pooling over windows and over whole images, and the squeeze-excite block built on the latter.

mod generic;
mod global;
mod squeeze_excite;
mod window;

pub use generic::max_pool;
pub use global::{GlobalPoolPlan, GlobalReduction};
pub use squeeze_excite::{SqueezeExciteArguments, SqueezeExcitePlan};
pub use window::{PoolPlan, PoolShape, Reduction};

#[cfg(test)]
mod tests;
