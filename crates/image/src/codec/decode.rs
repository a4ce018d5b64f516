use super::{jpeg, tiff};
use crate::resample::{Filter, Sampling, resize};
use crate::{Frame, FrameMut, ImageError};
use image::error::{ImageError as DecoderError, LimitErrorKind};
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use jpeg_decoder::PixelFormat;
use std::io::{Cursor, ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use vedette_memory::{Lease, default_pool};
use vedette_runtime::ThreadPool;
use vedette_simd::isa;

/// Most pixels an image may have: the point from which Pillow, too, suspects a decompression bomb.
pub const MAX_PIXELS: u64 = 178_000_000;

/// Most bytes read from one file.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// What a decoder may allocate beside the pixels themselves: profiles, strips, tables.
const DECODER_OVERHEAD_BYTES: u64 = 64 << 20;

/// What shows through transparent pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// This colour.
    Color([u8; 3]),
    /// White where the visible pixels are dark on average, else black: text stays readable on it.
    Contrast,
}

/// How much smaller than it is stored an image is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shrink {
    /// Not at all.
    Full,
    /// To this part of each side: 2, 4 or 8.
    By(u32),
}

impl Shrink {
    /// From the divisor of the sides.
    pub fn new(divisor: u32) -> Option<Shrink> {
        match divisor {
            1 => Some(Shrink::Full),
            2 | 4 | 8 => Some(Shrink::By(divisor)),
            _ => None,
        }
    }
}

/// Interleaved RGB, 8 bits a channel, rows without gaps, in a block of the process's pool.
#[derive(Debug)]
pub struct Pixels {
    /// Rows.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// `height * width * 3` values.
    pub data: Lease,
}

impl Pixels {
    /// Pixels whose values `fill` writes into a block that may hold anything.
    pub fn new(
        height: usize,
        width: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), ImageError>,
    ) -> Result<Pixels, ImageError> {
        let mut data = default_pool().acquire(height * width * 3).map_err(|error| ImageError::Memory {
            height,
            width,
            reason: error.to_string(),
        })?;
        fill(&mut data)?;
        Ok(Pixels { height, width, data })
    }

    fn copied(height: usize, width: usize, values: &[u8]) -> Result<Pixels, ImageError> {
        Pixels::new(height, width, |data| {
            data.copy_from_slice(values);
            Ok(())
        })
    }
}

/// Decodes a file, upright (its Exif orientation applied).
pub fn decode_file(path: &Path, background: Background, shrink: Shrink) -> Result<Pixels, ImageError> {
    let failed = |error: std::io::Error| {
        ImageError::File(match error.kind() {
            ErrorKind::NotFound => "no such file".to_owned(),
            ErrorKind::PermissionDenied => "permission denied".to_owned(),
            ErrorKind::IsADirectory => "it is a directory".to_owned(),
            _ => error.to_string(),
        })
    };
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(ImageError::File("it is a directory".to_owned()));
    }
    // The start decides first, so that a huge file which is no image is not read at all.
    let mut bytes = Vec::with_capacity(metadata.len().min(MAX_FILE_BYTES) as usize);
    file.by_ref().take(64).read_to_end(&mut bytes).map_err(failed)?;
    recognise(&bytes)?;
    file.take(MAX_FILE_BYTES + 1 - bytes.len() as u64).read_to_end(&mut bytes).map_err(failed)?;
    decode(&bytes, background, shrink)
}

/// Decodes PNG, JPEG, WebP, BMP or TIFF bytes, upright (their Exif orientation applied).
///
/// Gray becomes RGB, 16-bit values are scaled to 8 bits, palettes are looked up, and transparent pixels show
/// `background`. Of an animation or a multi-page file the first image is read. A JPEG is shrunk by transforming fewer of
/// its frequencies, what else there is by averaging the whole.
pub fn decode(bytes: &[u8], background: Background, shrink: Shrink) -> Result<Pixels, ImageError> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ImageError::TooLong { limit: MAX_FILE_BYTES });
    }
    let (format, name) = recognise(bytes)?;
    // Decoders of other hands: should damaged bytes make one panic, the caller learns it as damage.
    let decoded = catch_unwind(AssertUnwindSafe(|| {
        if let (ImageFormat::Jpeg, Shrink::By(divisor)) = (format, shrink)
            && let Some(pixels) = decode_scaled(bytes, divisor)?
        {
            return Ok((pixels, Shrink::Full));
        }
        if format == ImageFormat::Tiff
            && let Some((gray, colors)) = tiff::without_palette(bytes)
        {
            let mut pixels = decode_as(&gray, format, name, background)?;
            for pixel in pixels.data.as_chunks_mut::<3>().0 {
                *pixel = colors[usize::from(pixel[0])];
            }
            return Ok((pixels, shrink));
        }
        Ok((decode_as(bytes, format, name, background)?, shrink))
    }))
    .unwrap_or_else(|_| Err(ImageError::Damaged { format: name, reason: "its decoder gave up".to_owned() }));
    match decoded? {
        (pixels, Shrink::By(divisor)) => averaged(&pixels, divisor as usize),
        (pixels, Shrink::Full) => Ok(pixels),
    }
}

/// The image with each side divided, rounded up, each pixel the mean of those it covers.
fn averaged(pixels: &Pixels, divisor: usize) -> Result<Pixels, ImageError> {
    let (height, width) = (pixels.height.div_ceil(divisor), pixels.width.div_ceil(divisor));
    Pixels::new(height, width, |data| {
        let image = Frame::packed(&pixels.data, [pixels.height, pixels.width, 3]);
        let out = FrameMut::packed(data, [height, width, 3]);
        resize(isa(), image, out, Sampling::new(Filter::Area, true), &ThreadPool::new(1));
        Ok(())
    })
}

/// A JPEG of RGB or gray at that part of its size, or `None` where it has other colours or a precision beyond 8 bits.
fn decode_scaled(bytes: &[u8], divisor: u32) -> Result<Option<Pixels>, ImageError> {
    let header = Header::new(bytes, ImageFormat::Jpeg, "JPEG")?;
    let damaged = |error: jpeg_decoder::Error| match error {
        jpeg_decoder::Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            ImageError::Truncated { format: "JPEG" }
        }
        error => ImageError::Damaged { format: "JPEG", reason: error.to_string() },
    };
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    let side = |side: u32| u16::try_from(side.div_ceil(divisor)).unwrap_or(u16::MAX);
    decoder.set_max_decoding_buffer_size(header.decoder.total_bytes() as usize);
    decoder.scale(side(header.width), side(header.height)).map_err(damaged)?;
    let Some(info) = decoder.info() else { return Ok(None) };
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    if width != header.width.div_ceil(divisor) || height != header.height.div_ceil(divisor) {
        return Ok(None);
    }
    let image = match info.pixel_format {
        PixelFormat::RGB24 => {
            RgbImage::from_raw(width, height, decoder.decode().map_err(damaged)?).map(DynamicImage::ImageRgb8)
        }
        PixelFormat::L8 => GrayImage::from_raw(width, height, decoder.decode().map_err(damaged)?)
            .map(DynamicImage::ImageLuma8),
        _ => None,
    };
    let Some(mut image) = image else { return Ok(None) };
    image.apply_orientation(header.orientation);
    let image = image.into_rgb8();
    Pixels::copied(image.height() as usize, image.width() as usize, image.as_raw()).map(Some)
}

/// A decoder whose header was found sound.
struct Header<'a> {
    decoder: Box<dyn ImageDecoder + 'a>,
    width: u32,
    height: u32,
    orientation: Orientation,
}

fn recognise(bytes: &[u8]) -> Result<(ImageFormat, &'static str), ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    match image::guess_format(bytes) {
        Ok(ImageFormat::Png) => Ok((ImageFormat::Png, "PNG")),
        Ok(ImageFormat::Jpeg) => Ok((ImageFormat::Jpeg, "JPEG")),
        Ok(ImageFormat::WebP) => Ok((ImageFormat::WebP, "WebP")),
        Ok(ImageFormat::Bmp) => Ok((ImageFormat::Bmp, "BMP")),
        Ok(ImageFormat::Tiff) => Ok((ImageFormat::Tiff, "TIFF")),
        _ => {
            let start = &bytes[..bytes.len().min(12)];
            Err(ImageError::UnknownFormat { start: format!("\"{}\"", start.escape_ascii()) })
        }
    }
}

impl<'a> Header<'a> {
    fn new(bytes: &'a [u8], format: ImageFormat, name: &'static str) -> Result<Header<'a>, ImageError> {
        let explain = |error| explain(name, error);
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        // The decoder's own limits start from what the header costs; the pixels are added once their number is known.
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(DECODER_OVERHEAD_BYTES);
        reader.limits(limits.clone());
        let mut decoder = reader.into_decoder().map_err(explain)?;
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > MAX_PIXELS {
            return Err(ImageError::TooLarge { format: name, width, height, limit: MAX_PIXELS });
        }
        if width == 0 || height == 0 {
            return Err(ImageError::Damaged { format: name, reason: format!("{width} x {height} pixels") });
        }
        if format == ImageFormat::Jpeg && !jpeg::is_complete(bytes) {
            return Err(ImageError::Truncated { format: name });
        }
        limits.max_alloc = Some(decoder.total_bytes() + DECODER_OVERHEAD_BYTES);
        decoder.set_limits(limits).map_err(explain)?;
        let orientation = match format {
            // A TIFF file has the very layout of an Exif block, and its decoder does not tell the orientation.
            ImageFormat::Tiff => Orientation::from_exif_chunk(bytes).unwrap_or(Orientation::NoTransforms),
            // Damaged metadata does not make the pixels unreadable.
            _ => decoder.orientation().unwrap_or(Orientation::NoTransforms),
        };
        Ok(Header { decoder: Box::new(decoder), width, height, orientation })
    }
}

fn decode_as(
    bytes: &[u8],
    format: ImageFormat,
    name: &'static str,
    background: Background,
) -> Result<Pixels, ImageError> {
    let explain = |error| explain(name, error);
    let Header { decoder, width, height, orientation } = Header::new(bytes, format, name)?;
    if decoder.color_type() == ColorType::Rgb8 && orientation == Orientation::NoTransforms {
        // What most images are needs no other memory than the block it ends in.
        return Pixels::new(height as usize, width as usize, |data| {
            decoder.read_image_boxed(data).map_err(explain)
        });
    }
    let mut image = DynamicImage::from_decoder(decoder).map_err(explain)?;
    image.apply_orientation(orientation);
    let (height, width) = (image.height() as usize, image.width() as usize);
    if image.color().has_alpha() {
        Pixels::copied(height, width, &composite(image.into_rgba8().as_raw(), background))
    } else {
        Pixels::copied(height, width, image.into_rgb8().as_raw())
    }
}

fn explain(format: &'static str, error: DecoderError) -> ImageError {
    let reason = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    match error {
        DecoderError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            ImageError::Truncated { format }
        }
        DecoderError::Unsupported(error) => {
            ImageError::Unsupported { format, reason: reason(error.to_string()) }
        }
        DecoderError::Limits(error) if error.kind() == LimitErrorKind::InsufficientMemory => {
            ImageError::Damaged {
                format,
                reason: "decoding it needs far more memory than its pixels".to_owned(),
            }
        }
        error => {
            // Decoders wrap the end of the data in errors of their own.
            let mut source: Option<&dyn std::error::Error> = Some(&error);
            while let Some(inner) = source {
                let at_end = inner
                    .downcast_ref::<std::io::Error>()
                    .is_some_and(|error| error.kind() == ErrorKind::UnexpectedEof);
                if at_end {
                    return ImageError::Truncated { format };
                }
                source = inner.source();
            }
            ImageError::Damaged { format, reason: reason(error.to_string()) }
        }
    }
}

/// Lays interleaved RGBA over a background; returns interleaved RGB.
pub fn composite(rgba: &[u8], background: Background) -> Vec<u8> {
    let pixels = rgba.as_chunks::<4>().0;
    let background = match background {
        Background::Color(color) => color,
        Background::Contrast => contrasting(pixels),
    };
    let mut data = Vec::with_capacity(pixels.len() * 3);
    for &[red, green, blue, alpha] in pixels {
        if alpha == 255 {
            data.extend_from_slice(&[red, green, blue]);
            continue;
        }
        let alpha = u32::from(alpha);
        for (value, behind) in [red, green, blue].into_iter().zip(background) {
            let sum = u32::from(value) * alpha + u32::from(behind) * (255 - alpha);
            data.push(((sum + 127) / 255) as u8);
        }
    }
    data
}

fn contrasting(pixels: &[[u8; 4]]) -> [u8; 3] {
    let mut visible = 0u64;
    let mut luminance = 0u64;
    for &[red, green, blue, alpha] in pixels {
        if alpha > 0 {
            visible += 1;
            // ITU-R BT.601 luma in thousandths.
            luminance += 299 * u64::from(red) + 587 * u64::from(green) + 114 * u64::from(blue);
        }
    }
    if luminance < visible * 128_000 || visible == 0 { [255; 3] } else { [0; 3] }
}
