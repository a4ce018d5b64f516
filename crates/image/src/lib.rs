//! Image kernels: decoding, resizing, cropping, preparing for networks, and the geometry of text.

pub mod blur;
pub mod change;
pub mod codec;
pub mod color;
pub mod crop;
pub mod gray;
pub mod histogram;
pub mod pointwise;
pub mod preprocess;
pub mod resample;
pub mod text;
pub mod warp;

mod error;
mod frame;
mod interleaved;
#[cfg(target_arch = "x86_64")]
mod registers;
mod view;

pub use error::ImageError;
pub use frame::{Frame, FrameMut, Sample};
pub use view::{ImageView, Normalization};
