//! Attention, `softmax(alpha Q x K^T) x V`, a few rows of queries at a time: no matrix of all scores exists.

mod plan;
mod weights;

pub use plan::{AttentionArguments, AttentionOperands, AttentionPlan};

#[cfg(test)]
mod tests;
