//! Files and bytes to RGB pixels and back.

mod decode;
mod encode;
mod growing;
mod jpeg;
mod tiff;

pub use decode::{Background, MAX_FILE_BYTES, MAX_PIXELS, Pixels, Shrink, composite, decode, decode_file};
pub use encode::{Encoded, Format, encode};
