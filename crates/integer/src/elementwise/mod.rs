//! Elementwise kernels, to be run over tensors of any strides by [`vedette_tensor::elementwise::Map`].

mod binary;
mod block;
mod lookup;
mod quantize;

pub use binary::{add, multiply};
pub(crate) use block::map2;
pub use lookup::{lookup, with_table};
pub(crate) use quantize::byte;
pub use quantize::{Bytes, dequantize, dequantize_by, quantize, quantize_by};

#[cfg(test)]
mod tests;
