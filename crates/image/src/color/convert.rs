use super::space::{self, Rgba};
#[cfg(target_arch = "x86_64")]
use crate::gray;
use crate::gray::{Luma, Weights};
use crate::interleaved::{BLOCK, Interleaved, Plane, each_block};
use vedette_simd::{Isa, dispatch};

/// A colour space of interleaved pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    Rgb,
    Bgr,
    Rgba,
    Bgra,
    Gray,
    Hsv,
    Yuv,
}

impl Space {
    fn from_name(name: &str) -> Option<Space> {
        Some(match name {
            "rgb" => Space::Rgb,
            "bgr" => Space::Bgr,
            "rgba" => Space::Rgba,
            "bgra" => Space::Bgra,
            "gray" => Space::Gray,
            "hsv" => Space::Hsv,
            "yuv" => Space::Yuv,
            _ => return None,
        })
    }

    fn channels(self) -> usize {
        match self {
            Space::Gray => 1,
            Space::Rgba | Space::Bgra => 4,
            _ => 3,
        }
    }

    /// Whether its channels are red, green and blue in some order, or gray.
    fn is_plain(self) -> bool {
        !matches!(self, Space::Hsv | Space::Yuv)
    }
}

/// From one colour space to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversion {
    from: Space,
    to: Space,
}

/// An element type of colours.
pub trait Tone: Luma {
    /// Alpha of what hides everything behind it.
    const OPAQUE: Self;

    /// Converts a row of packed pixels.
    #[doc(hidden)]
    fn convert(isa: Isa, conversion: Conversion, row: &[Self], out: &mut [Self]);
}

impl Tone for u8 {
    const OPAQUE: u8 = 255;

    fn convert(isa: Isa, conversion: Conversion, row: &[u8], out: &mut [u8]) {
        #[cfg(target_arch = "x86_64")]
        let done = conversion.registers(isa, row, out);
        #[cfg(not(target_arch = "x86_64"))]
        let done = 0;
        let (row, out) =
            (&row[done * conversion.from_channels()..], &mut out[done * conversion.to_channels()..]);
        dispatch!(isa, S => conversion.blocks::<S>(row, out));
    }
}

impl Tone for u16 {
    const OPAQUE: u16 = u16::MAX;

    fn convert(isa: Isa, conversion: Conversion, row: &[u16], out: &mut [u16]) {
        dispatch!(isa, S => conversion.plain::<S, u16>(row, out));
    }
}

impl Tone for f32 {
    const OPAQUE: f32 = 1.0;

    fn convert(isa: Isa, conversion: Conversion, row: &[f32], out: &mut [f32]) {
        dispatch!(isa, S => conversion.plain::<S, f32>(row, out));
    }
}

impl Conversion {
    /// Between the spaces of these names: rgb, bgr, rgba, bgra, gray, hsv (hue 0 to 179), yuv.
    pub fn from_names(from: &str, to: &str) -> Option<Conversion> {
        Some(Conversion { from: Space::from_name(from)?, to: Space::from_name(to)? })
    }

    /// Channels of the input.
    pub fn from_channels(self) -> usize {
        self.from.channels()
    }

    /// Channels of the output.
    pub fn to_channels(self) -> usize {
        self.to.channels()
    }

    /// Whether it is defined for elements of any type: hue and chroma are for bytes alone.
    pub fn is_plain(self) -> bool {
        self.from.is_plain() && self.to.is_plain()
    }

    /// Whether nothing changes.
    pub fn is_copy(self) -> bool {
        self.from == self.to
    }

    /// What needs no planes: as many pixels as whole registers hold; returns how many.
    #[cfg(target_arch = "x86_64")]
    fn registers(self, isa: Isa, row: &[u8], out: &mut [u8]) -> usize {
        use super::rearrange::rearrange;
        let reversed = matches!(self.from, Space::Bgr | Space::Bgra);
        if !self.is_plain() {
            return 0;
        }
        if self.to == Space::Gray {
            let done = gray::packed_row(isa, row, self.from_channels(), reversed, Weights::OPENCV, out);
            return if done { out.len() } else { 0 };
        }
        let turned = reversed != matches!(self.to, Space::Bgr | Space::Bgra);
        let alpha = (self.from_channels() == 4).then_some(3);
        let sources = match (self.from, turned) {
            (Space::Gray, _) => [Some(0), Some(0), Some(0), None],
            (_, false) => [Some(0), Some(1), Some(2), alpha],
            (_, true) => [Some(2), Some(1), Some(0), alpha],
        };
        match (self.from_channels(), self.to_channels()) {
            (1, 3) => rearrange::<1, 3>(isa, sources, row, out),
            (1, _) => rearrange::<1, 4>(isa, sources, row, out),
            (3, 3) => rearrange::<3, 3>(isa, sources, row, out),
            (3, _) => rearrange::<3, 4>(isa, sources, row, out),
            (_, 3) => rearrange::<4, 3>(isa, sources, row, out),
            _ => rearrange::<4, 4>(isa, sources, row, out),
        }
    }

    #[inline(always)]
    fn blocks<S: Interleaved>(self, row: &[u8], out: &mut [u8]) {
        match (self.from.channels(), self.to.channels()) {
            (1, 1) => self.pairs::<S, 1, 1>(row, out),
            (1, 3) => self.pairs::<S, 1, 3>(row, out),
            (1, _) => self.pairs::<S, 1, 4>(row, out),
            (3, 1) => self.pairs::<S, 3, 1>(row, out),
            (3, 3) => self.pairs::<S, 3, 3>(row, out),
            (3, _) => self.pairs::<S, 3, 4>(row, out),
            (_, 1) => self.pairs::<S, 4, 1>(row, out),
            (_, 3) => self.pairs::<S, 4, 3>(row, out),
            (_, _) => self.pairs::<S, 4, 4>(row, out),
        }
    }

    #[inline(always)]
    fn pairs<S: Interleaved, const A: usize, const B: usize>(self, row: &[u8], out: &mut [u8]) {
        let mut rgba: Rgba = [[u8::OPAQUE; BLOCK]; 4];
        each_block::<S, A, B>(
            row,
            out,
            #[inline(always)]
            |planes, results| {
                self.read(planes, &mut rgba);
                self.write(&rgba, results);
            },
        );
    }

    #[inline(always)]
    fn read<const A: usize>(self, planes: &[Plane; A], rgba: &mut Rgba) {
        if let (Space::Hsv, Some(planes)) = (self.from, planes.first_chunk::<3>()) {
            space::hsv_to_rgb(planes, rgba);
        } else if let (Space::Yuv, Some(planes)) = (self.from, planes.first_chunk::<3>()) {
            space::yuv_to_rgb(planes, rgba);
        } else if let Some(gray) = planes.first().filter(|_| A == 1) {
            rgba[..3].fill(*gray);
        } else {
            rgba[..A].copy_from_slice(planes);
            if matches!(self.from, Space::Bgr | Space::Bgra) {
                rgba.swap(0, 2);
            }
        }
    }

    #[inline(always)]
    fn write<const B: usize>(self, rgba: &Rgba, results: &mut [Plane; B]) {
        match (self.to, results.first_chunk_mut::<3>()) {
            (Space::Hsv, Some(planes)) => space::rgb_to_hsv(rgba, planes),
            (Space::Yuv, Some(planes)) => space::rgb_to_yuv(rgba, planes),
            (_, None) => space::luma(rgba, &mut results[0]),
            _ => {
                results.copy_from_slice(&rgba[..B]);
                if matches!(self.to, Space::Bgr | Space::Bgra) {
                    results.swap(0, 2);
                }
            }
        }
    }

    #[inline(always)]
    fn plain<S, T: Tone>(self, row: &[T], out: &mut [T]) {
        let _level = std::marker::PhantomData::<S>;
        match self.from {
            Space::Bgr => self.store::<T, 3>(row, out, |[b, g, r]| [r, g, b, T::OPAQUE]),
            Space::Rgba => self.store::<T, 4>(row, out, |rgba| rgba),
            Space::Bgra => self.store::<T, 4>(row, out, |[b, g, r, a]| [r, g, b, a]),
            Space::Gray => self.store::<T, 1>(row, out, |[l]| [l, l, l, T::OPAQUE]),
            _ => self.store::<T, 3>(row, out, |[r, g, b]| [r, g, b, T::OPAQUE]),
        }
    }

    #[inline(always)]
    fn store<T: Tone, const C: usize>(self, row: &[T], out: &mut [T], read: impl Fn([T; C]) -> [T; 4]) {
        match self.to {
            Space::Bgr => each::<T, C, 3>(row, out, read, |[r, g, b, _]| [b, g, r]),
            Space::Rgba => each::<T, C, 4>(row, out, read, |rgba| rgba),
            Space::Bgra => each::<T, C, 4>(row, out, read, |[r, g, b, a]| [b, g, r, a]),
            Space::Gray => each(row, out, read, |[r, g, b, _]| [T::luma(Weights::OPENCV, [r, g, b])]),
            _ => each::<T, C, 3>(row, out, read, |[r, g, b, _]| [r, g, b]),
        }
    }
}

#[inline(always)]
fn each<T: Copy, const A: usize, const B: usize>(
    row: &[T],
    out: &mut [T],
    read: impl Fn([T; A]) -> [T; 4],
    write: impl Fn([T; 4]) -> [T; B],
) {
    for (target, pixel) in out.as_chunks_mut::<B>().0.iter_mut().zip(row.as_chunks::<A>().0) {
        *target = write(read(*pixel));
    }
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
