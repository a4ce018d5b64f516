//! Matrix products: a left side rounded where it is read, a right side packed once or in every run.

mod plan;
mod rows;

pub use plan::{MatMulArguments, MatMulPlan};
pub(crate) use rows::{ROW_MULTIPLE, RowCopy, Rows};

#[cfg(test)]
mod tests;
