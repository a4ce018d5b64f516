//! Tensors: arrays, nested lists and numbers in, the kernels of `vedette_tensor` over them.

pub mod elementwise;
pub mod matmul;
mod operand;
pub mod reductions;
mod target;
pub mod windows;
