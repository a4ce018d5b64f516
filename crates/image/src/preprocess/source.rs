//! Frames as cameras and decoders give them.

use crate::Frame;
use vedette_simd::{Isa, dispatch};

/// A pixel format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// Red, green, blue, and alpha, which is passed over.
    Rgba,
    /// Blue, green, red, and alpha, which is passed over.
    Bgra,
    /// Luma alone.
    Gray,
    /// A plane of luma, then rows of U and V in turn for each 2 x 2 pixels.
    Nv12,
    /// A plane of luma, one of U and one of V for each 2 x 2 pixels.
    I420,
    /// Luma, U, luma, V for two pixels side by side.
    Yuyv,
}

impl Source {
    /// The format of that name.
    pub fn from_name(name: &str) -> Option<Source> {
        Some(match name {
            "rgb" => Source::Rgb,
            "bgr" => Source::Bgr,
            "rgba" => Source::Rgba,
            "bgra" => Source::Bgra,
            "gray" => Source::Gray,
            "nv12" => Source::Nv12,
            "i420" => Source::I420,
            "yuyv" => Source::Yuyv,
            _ => return None,
        })
    }

    /// Channels of what is made of it.
    pub fn channels(self) -> usize {
        if self == Source::Gray { 1 } else { 3 }
    }
}

/// A part of a frame, and the plane that each of its channels becomes.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    pub(super) frame: Frame<'a, u8>,
    pub(super) planes: [Option<usize>; 4],
}

impl Part<'_> {
    pub(super) fn is_mirrored(&self) -> bool {
        crate::resample::is_mirrored(&self.frame)
    }
}

/// A frame of some [`Source`].
#[derive(Clone, Copy, Debug)]
pub struct SourceFrame<'a> {
    parts: [Option<Part<'a>>; 3],
    count: usize,
    size: [usize; 2],
    yuv: bool,
    channels: usize,
}

impl<'a> SourceFrame<'a> {
    /// The frame an array holds: `height` x `width` x channels, for YUYV `height` x `width` x 2, for NV12 and I420 the
    /// planes under each other as `height * 3 / 2` x `width`.
    ///
    /// # Errors
    /// What shape or strides were expected.
    pub fn new(array: Frame<'a, u8>, source: Source) -> Result<SourceFrame<'a>, &'static str> {
        let [row, pixel, channel] = array.strides();
        let (height, width) = (array.height(), array.width());
        let mut frame = SourceFrame {
            parts: [None; 3],
            count: 0,
            size: [height, width],
            yuv: false,
            channels: source.channels(),
        };
        let channels = match source {
            Source::Rgb | Source::Bgr => 3,
            Source::Rgba | Source::Bgra => 4,
            Source::Yuyv => 2,
            _ => 1,
        };
        if array.channels() != channels {
            return Err(match channels {
                4 => "shape (height, width, 4)",
                3 => "shape (height, width, 3)",
                2 => "shape (height, width, 2)",
                _ => "shape (height, width)",
            });
        }
        if array.is_empty() {
            return Err("at least one pixel");
        }
        match source {
            Source::Rgb | Source::Rgba => frame.push(array, [Some(0), Some(1), Some(2), None]),
            Source::Bgr | Source::Bgra => frame.push(array, [Some(2), Some(1), Some(0), None]),
            Source::Gray => frame.push(array, [Some(0), None, None, None]),
            Source::Yuyv => {
                if width % 2 != 0 {
                    return Err("an even width");
                }
                frame.yuv = true;
                // SAFETY: each view lists elements of the array itself.
                unsafe {
                    frame.push(
                        array.reinterpret(0, [height, width, 1], [row, pixel, 1]),
                        [Some(0), None, None, None],
                    );
                    for (offset, plane) in [(channel, 1), (pixel + channel, 2)] {
                        let half = array.reinterpret(offset, [height, width / 2, 1], [row, 2 * pixel, 1]);
                        frame.push(half, [Some(plane), None, None, None]);
                    }
                }
            }
            Source::Nv12 | Source::I420 => {
                if height % 3 != 0 || width % 2 != 0 || (height / 3 * 2) % 2 != 0 {
                    return Err("shape (height * 3 / 2, width) with even height and width");
                }
                let luma = height / 3 * 2;
                frame.size = [luma, width];
                frame.yuv = true;
                let quarter = [luma / 2, width / 2, 1];
                // SAFETY: each view lists elements of the array itself; those of I420 only where its rows lie
                // without gaps.
                unsafe {
                    frame.push(
                        array.reinterpret(0, [luma, width, 1], [row, pixel, 1]),
                        [Some(0), None, None, None],
                    );
                    let chroma = luma as isize * row;
                    if source == Source::Nv12 {
                        let [height, width, _] = quarter;
                        let view = array.reinterpret(chroma, [height, width, 2], [row, 2 * pixel, pixel]);
                        frame.push(view, [Some(1), Some(2), None, None]);
                    } else if pixel == 1 && row == width as isize {
                        let size = (quarter[0] * quarter[1]) as isize;
                        for plane in 0..2 {
                            let offset = chroma + plane * size;
                            let view = array.reinterpret(offset, quarter, [quarter[1] as isize, 1, 1]);
                            frame.push(view, [Some(1 + plane as usize), None, None, None]);
                        }
                    } else {
                        return Err("rows without gaps between them");
                    }
                }
            }
        }
        Ok(frame)
    }

    fn push(&mut self, frame: Frame<'a, u8>, planes: [Option<usize>; 4]) {
        self.parts[self.count] = Some(Part { frame, planes });
        self.count += 1;
    }

    /// Height and width in pixels.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Channels of what is made of it.
    pub fn channels(&self) -> usize {
        self.channels
    }

    pub(super) fn is_yuv(&self) -> bool {
        self.yuv
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Part<'a>> {
        self.parts.iter().flatten()
    }
}

/// ITU-R BT.601, luma of 16 to 235, in 13 fraction bits: factors of luma, V to red, U and V to green, U to blue.
const LUMA: i32 = 9539;
const RED: i32 = 13075;
const GREEN: [i32; 2] = [-3209, -6660];
const BLUE: i32 = 16525;

/// Turns three planes of Y, U and V with `fraction` fraction bits into red, green and blue, in place.
pub fn yuv_to_rgb(isa: Isa, planes: &mut [i16], stride: usize, width: usize, fraction: u32) {
    let (luma, rest) = planes.split_at_mut(stride);
    let (u, rest) = rest.split_at_mut(stride);
    let (luma, u, v) = (&mut luma[..width], &mut u[..width], &mut rest[..width]);
    dispatch!(isa, S => convert::<S>(luma, u, v, fraction));
}

#[inline(always)]
fn convert<S>(first: &mut [i16], second: &mut [i16], third: &mut [i16], fraction: u32) {
    let _level = std::marker::PhantomData::<S>;
    let (black, middle, white) = (16 << fraction, 128 << fraction, 255 << fraction);
    for ((first, second), third) in first.iter_mut().zip(second).zip(third) {
        let luma = (i32::from(*first) - black).max(0) * LUMA + (1 << 12);
        let (u, v) = (i32::from(*second) - middle, i32::from(*third) - middle);
        *first = level(luma + RED * v, white);
        *second = level(luma + GREEN[0] * u + GREEN[1] * v, white);
        *third = level(luma + BLUE * u, white);
    }
}

/// Drops 13 fraction bits and keeps within black and white.
#[inline(always)]
fn level(value: i32, white: i32) -> i16 {
    (value >> 13).clamp(0, white) as i16
}
