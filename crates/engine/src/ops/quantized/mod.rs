//! Operators on quantised activations: u8 tensors whose scales and zero points are attributes.

mod blocks;
mod channels_last;
mod concat;
mod conv;
mod conv_transpose;
mod elementwise;
mod matmul;
mod parameters;
mod pool;
mod product;
mod resize;
mod squeeze_excite;
#[cfg(test)]
mod tests;

use super::Build;

/// One table for each group.
pub(super) const GROUPS: &[&[(&str, Build)]] = &[
    blocks::OPERATORS,
    concat::OPERATORS,
    conv::OPERATORS,
    conv_transpose::OPERATORS,
    elementwise::OPERATORS,
    matmul::OPERATORS,
    pool::OPERATORS,
    resize::OPERATORS,
    squeeze_excite::OPERATORS,
];

pub(super) use pool::max_pool;
