use thiserror::Error;

/// What a kernel refuses, in words for the person who called it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct TensorError(pub String);
