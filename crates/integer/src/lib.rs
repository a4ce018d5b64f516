//! Integer kernels: u8 activations times s8 weights, exact sums in i32, and one epilogue that turns the sums into
//! float32, bfloat16 or u8 again; and what else a quantised network does with bytes.
//!
//! An activation is asymmetric, `real = (q - zero_point) * scale`; weights are symmetric with a scale for each output
//! channel. Every level computes the same bits: the sums are exact, and whatever is done in floats rounds each
//! operation by itself.

pub mod blocks;
pub mod conv;
pub mod depthwise;
pub mod elementwise;
mod epilogue;
mod lanes;
pub mod matmul;
pub mod pool;
mod product;
mod quantization;
mod requantize;
pub mod resize;
mod shared;
mod split;
pub mod standard;
pub mod stored;
mod table;
#[cfg(test)]
mod test_data;

pub use epilogue::{Epilogue, EpilogueSpec, SumBlock};
pub use product::PackedColumns;
pub use quantization::Quantization;
pub use requantize::Requantize;
pub use vedette_tensor::TensorError;

/// Runs an expression compiled for a level; the compiler makes vector code of the loops inside.
macro_rules! at_level {
    ($isa:expr, $body:expr) => {
        vedette_simd::dispatch!($isa, _Level => $body)
    };
}
pub(crate) use at_level;
