//! Operators on quantised activations: u8 tensors whose scales and zero points are attributes.

mod channels_last;
mod concat;
mod elementwise;
mod parameters;
mod pool;
mod resize;
mod squeeze_excite;
#[cfg(test)]
mod tests;

use super::Build;

/// One table for each group.
pub(super) const GROUPS: &[&[(&str, Build)]] = &[
    concat::OPERATORS,
    elementwise::OPERATORS,
    pool::OPERATORS,
    resize::OPERATORS,
    squeeze_excite::OPERATORS,
];

pub(super) use pool::max_pool;
