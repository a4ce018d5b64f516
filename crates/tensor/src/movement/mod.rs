//! Elements brought from one place to another unchanged. What they mean does not matter, only their size.

mod copy;
mod fill;
mod grid;
mod join;
mod rearrange;
mod strides;

pub use copy::{Copy, copy};
pub use fill::fill;
pub use grid::GridGather;
pub use join::Join;
pub use rearrange::{Placement, Rearrange};
pub use strides::{dense_strides_in_order, dense_strides_like, reshape_strides};
