//! bfloat16 kernels: float32 tensors whose operands are rounded to bfloat16 where a product reads them, summed in
//! float32.
//!
//! With `u = 2^-8`, the largest relative error of rounding to bfloat16, a product of depth `k` is within
//! `(2u + u^2 + k 2^-23) sum |a b|` of the exact one; against the exact product of the *rounded* operands it is within
//! `k 2^-23 sum |a b|`, at every level. The order of summation differs from level to level, and units of Intel's and
//! AMD's CPUs take subnormal operands, products and sums for zero, so results of two levels are near, not equal.

pub mod attention;
pub mod classes;
pub mod conv;
mod kernel;
pub mod matmul;
mod powers;
mod product;
mod shared;
#[cfg(test)]
mod test_data;
mod values;

pub use product::PackedColumns;
pub use values::Values;
pub use vedette_tensor::TensorError;

/// Depth of products below which rounding rows takes longer than multiplying them. Few columns are no reason: float32
/// kernels are no quicker with them.
pub const LEAST_DEPTH: usize = 8;

/// Whether products at this level are computed by bfloat16 units. Where they are not, float32 kernels are faster.
pub fn is_native(isa: vedette_simd::Isa) -> bool {
    isa.has_bf16()
}
