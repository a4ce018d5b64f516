//! The engine: a program is planned once for each input shape and then run without allocating.

pub mod op;

pub use op::EngineError;
