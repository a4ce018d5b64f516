use super::growing::Growing;
use crate::ImageError;
use image::codecs::{
    bmp::BmpEncoder, jpeg::JpegEncoder, png::PngEncoder, tiff::TiffEncoder, webp::WebPEncoder,
};
use image::{ExtendedColorType, ImageEncoder};
use vedette_memory::Lease;

/// A format to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lossless.
    Png,
    /// Lossy, quality 1 to 100.
    Jpeg(u8),
    /// Lossless.
    WebP,
    /// Uncompressed.
    Bmp,
    /// Uncompressed.
    Tiff,
}

impl Format {
    /// By the usual file extension, in lower case and without its dot.
    pub fn from_extension(extension: &str, quality: u8) -> Option<Format> {
        match extension {
            "png" => Some(Format::Png),
            "jpg" | "jpeg" => Some(Format::Jpeg(quality.clamp(1, 100))),
            "webp" => Some(Format::WebP),
            "bmp" => Some(Format::Bmp),
            "tif" | "tiff" => Some(Format::Tiff),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Format::Png => "PNG",
            Format::Jpeg(_) => "JPEG",
            Format::WebP => "WebP",
            Format::Bmp => "BMP",
            Format::Tiff => "TIFF",
        }
    }
}

/// The bytes of a file, in a block of the process's pool.
#[derive(Debug)]
pub struct Encoded {
    block: Lease,
    len: usize,
}

impl Encoded {
    /// The block, and how many of its bytes are the file's.
    pub fn into_parts(self) -> (Lease, usize) {
        (self.block, self.len)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.block[..self.len]
    }
}

/// Encodes interleaved RGB pixels.
///
/// # Panics
/// Where the slice is not `height * width * 3` long.
pub fn encode(pixels: &[u8], height: usize, width: usize, format: Format) -> Result<Encoded, ImageError> {
    assert_eq!(pixels.len(), height * width * 3);
    let failed = |reason: String| ImageError::Encoding { format: format.name(), reason };
    let (Ok(rows), Ok(columns)) = (u32::try_from(height), u32::try_from(width)) else {
        return Err(failed(format!("{height} x {width} pixels")));
    };
    // Photographs shrink to a tenth as JPEG and to a half as PNG; what is not compressed has a header besides.
    let expected = match format {
        Format::Jpeg(_) => pixels.len() / 8,
        Format::Png | Format::WebP => pixels.len() / 2,
        Format::Bmp | Format::Tiff => pixels.len(),
    };
    let mut bytes = Growing::with_capacity(expected + 1024).map_err(|error| failed(error.to_string()))?;
    let rgb = ExtendedColorType::Rgb8;
    match format {
        Format::Png => PngEncoder::new(&mut bytes).write_image(pixels, columns, rows, rgb),
        Format::Jpeg(quality) => {
            JpegEncoder::new_with_quality(&mut bytes, quality).write_image(pixels, columns, rows, rgb)
        }
        Format::WebP => WebPEncoder::new_lossless(&mut bytes).write_image(pixels, columns, rows, rgb),
        Format::Bmp => BmpEncoder::new(&mut bytes).write_image(pixels, columns, rows, rgb),
        Format::Tiff => TiffEncoder::new(&mut bytes).write_image(pixels, columns, rows, rgb),
    }
    .map_err(|error| failed(error.to_string()))?;
    let (block, len) = bytes.finish();
    Ok(Encoded { block, len })
}
