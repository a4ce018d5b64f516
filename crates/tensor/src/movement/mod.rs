//! Elements brought from one place to another unchanged. What they mean does not matter, only their size.

mod copy;
mod strides;

pub use copy::{Copy, copy};
pub use strides::{dense_strides_in_order, dense_strides_like, reshape_strides};
