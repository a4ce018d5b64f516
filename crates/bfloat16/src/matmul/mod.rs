//! Matrix products: a left side rounded where it is read, a right side packed once or in every run.

mod plan;
mod rows;

pub use plan::MatMulPlan;
pub(crate) use rows::RowCopy;

#[cfg(test)]
mod tests;
