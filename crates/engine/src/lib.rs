//! The engine: a program is planned once for each input shape and then run without allocating.

mod attributes;
mod cache;
mod engine;
mod execute;
#[doc(hidden)]
mod limits;
pub mod op;
mod ops;
mod plan;
mod profile;
mod program;

#[cfg(test)]
mod tests;

pub use attributes::Attributes;
pub use engine::{Engine, MemoryUse, Options};
pub use op::EngineError;
pub use ops::supported_operators;
pub use profile::ProfileEntry;
pub use program::{InputSpec, Node, OutputSpec, Program, ValueId};
