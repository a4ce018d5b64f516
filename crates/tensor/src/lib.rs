//! Tensors as strided views, and the kernels that compute on them.
//!
//! Shapes are logical and follow ONNX (`[N, C, H, W]`); the order in memory is whatever the strides say, so a
//! channels-last image is a view like any other. Strides count elements.

pub mod activation;
pub mod conv;
mod depthwise;
pub mod elementwise;
pub mod indexing;
pub mod matmul;
pub mod movement;
pub mod normalize;
pub mod pool;
pub mod reduce;
pub mod resize;
pub mod rows;
pub mod softmax;

mod dtype;
mod error;
mod shape;
mod tensor;
mod view;

pub use activation::Activation;
pub use dtype::{DType, Element};
pub use error::TensorError;
pub use half::{bf16, f16};
pub use shape::{Dims, Strides, broadcast_shape, channels_last_strides, contiguous_strides, element_count};
pub use tensor::Tensor;
pub use view::{View, ViewMut, is_dense};
