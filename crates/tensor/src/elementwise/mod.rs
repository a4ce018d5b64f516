//! Elementwise functions of one, two or three tensors that broadcast, of any strides and types.
//!
//! A [`Kernel`] computes contiguous elements; a [`Map`] runs it over tensors that lie in memory however they do.

mod binary;
mod cast;
mod map;
mod nest;
mod number;
mod quantize;
mod ternary;
mod unary;

pub use binary::{BinaryOp, binary};
pub use cast::cast;
pub use map::{Kernel, Layout, Map};
pub use quantize::{dequantize, quantize};
pub use ternary::{clip, multiply_add, select};
pub use unary::{UnaryOp, activation, is_inf, power, scale, unary};

pub(crate) use nest::{Nest, PARALLEL_GRAIN, Tile};
pub(crate) use number::{Number, with_float, with_number, with_types};

#[cfg(test)]
mod tests;
