use thiserror::Error;

/// Why an image cannot be read or written. Each message is one line that says what was found and what to do.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ImageError {
    /// There are no bytes.
    #[error("empty: there is not a single byte to decode")]
    Empty,
    /// The bytes are of no supported format.
    #[error("not an image of a supported format (PNG, JPEG, WebP, BMP, TIFF); it starts with {start}")]
    UnknownFormat {
        /// The first bytes, printable.
        start: String,
    },
    /// The header announces more than is decoded.
    #[error(
        "the {format} header announces {width} x {height} pixels; at most {limit} are decoded, scale it down first"
    )]
    TooLarge {
        /// Name of the format.
        format: &'static str,
        /// Width the header announces.
        width: u32,
        /// Height the header announces.
        height: u32,
        /// Most pixels allowed.
        limit: u64,
    },
    /// More bytes than are read.
    #[error("more than {limit} bytes long, which is more than is read")]
    TooLong {
        /// Most bytes allowed.
        limit: u64,
    },
    /// The bytes end too early.
    #[error("truncated {format}: the data ends before the image does")]
    Truncated {
        /// Name of the format.
        format: &'static str,
    },
    /// The bytes contradict their format.
    #[error("damaged {format}: {reason}")]
    Damaged {
        /// Name of the format.
        format: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// A sound file with a feature that is not supported.
    #[error("this kind of {format} is not supported: {reason}")]
    Unsupported {
        /// Name of the format.
        format: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// There is no memory for the pixels.
    #[error("no memory for {width} x {height} pixels: {reason}")]
    Memory {
        /// Rows.
        height: usize,
        /// Pixels in a row.
        width: usize,
        /// The pool's words.
        reason: String,
    },
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    File(String),
    /// The image cannot be written.
    #[error("cannot be written as {format}: {reason}")]
    Encoding {
        /// Name of the format.
        format: &'static str,
        /// The encoder's words.
        reason: String,
    },
}
