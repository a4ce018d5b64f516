//! Integer kernels: u8 activations times s8 weights, exact sums in i32, and one epilogue that turns the sums into
//! float32 or u8 again.
//!
//! An activation is asymmetric, `real = (q - zero_point) * scale`; weights are symmetric with a scale for each output
//! channel. Every level computes the same bits: the sums are exact, and the epilogue rounds each operation by itself.

mod epilogue;
mod quantization;

pub use epilogue::{Epilogue, EpilogueSpec, SumBlock};
pub use quantization::Quantization;
