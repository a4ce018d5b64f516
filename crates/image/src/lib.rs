//! Image kernels: decoding, resizing, cropping and the geometry of text.

pub mod codec;
pub mod crop;
pub mod resize;
pub mod text;

mod error;
mod view;

pub use error::ImageError;
pub use view::{ImageView, Normalization};
