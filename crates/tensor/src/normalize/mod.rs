//! Normalisations.

mod layer;
mod response;

pub use layer::LayerNorm;
pub use response::LocalResponse;

#[cfg(test)]
mod tests;
