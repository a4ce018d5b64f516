//! The engine: a program is planned once for each input shape and then run without allocating.

mod attributes;
pub mod op;
mod ops;

pub use attributes::Attributes;
pub use op::EngineError;
pub use ops::supported_operators;
